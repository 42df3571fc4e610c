//! Asks the API server, by server-side dry run, whether it would let in what a run creates. Nothing is stored.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::scratch::{self, MANAGED_BY, OWNER, RUN};
use crate::cluster::{Cluster, Missing, ObjectRef};
use crate::error::{Error, Kind, Result};
use crate::preflight::findings::{Line, Status};
use crate::preflight::samples::{Sample, Samples};

/// Namespaces that every cluster has, asked in place of one that does not exist yet.
const STAND_INS: [&str; 2] = ["default", "kube-public"];

/// What the API server says of one object.
enum Answer {
    /// It would be let in.
    Yes,
    /// It would not, with the server's words.
    No(String),
    /// It would not: a quota has no room.
    NoRoom(String),
    /// It cannot be asked here, and why.
    Unasked(String),
}

/// Asks for everything; lines about admission and quota.
///
/// # Errors
/// If the API server cannot be asked at all.
pub(super) async fn ask(cluster: &Cluster, samples: &Samples, place: &scratch::Place, missing: &[Missing]) -> Result<Vec<Line>> {
    let mut asked = Asked::default();
    if place.namespace.is_none() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace(), "labels": labels(place)}});
        let answer = one(cluster, &namespace, missing).await?;
        asked.take("namespace", &namespace, answer);
    }
    for sample in &samples.scratch {
        match &place.namespace {
            Some(namespace) => in_namespace(cluster, sample, place, namespace, missing, &mut asked).await?,
            None => in_stand_ins(cluster, sample, place, missing, &mut asked).await?,
        }
    }
    for manifest in &samples.setup {
        let answer = one(cluster, manifest, missing).await?;
        asked.take("what set-up applies", manifest, answer);
    }
    asked.unasked.extend(samples.unknown.iter().map(|resource| format!("no sample of {resource} is known")));
    Ok(asked.lines(place))
}

/// What was asked, and what came of it.
#[derive(Default)]
struct Asked {
    let_in: BTreeSet<String>,
    refused: BTreeSet<String>,
    no_room: BTreeSet<String>,
    unsure: BTreeSet<String>,
    unasked: BTreeSet<String>,
    /// True if room was asked for everything at once.
    room: bool,
}

impl Asked {
    fn take(&mut self, what: &str, object: &Value, answer: Answer) {
        let named = ObjectRef::of(object);
        let kind = named.kind.to_lowercase();
        match answer {
            Answer::Yes => self.let_in.insert(kind),
            Answer::No(why) => self.refused.insert(format!("{what} would not take a {kind}: {why}")),
            Answer::NoRoom(why) => self.no_room.insert(format!("{what} has no room for a {kind}: {why}")),
            Answer::Unasked(why) => self.unasked.insert(format!("{kind}: {why}")),
        };
    }

    fn lines(self, place: &scratch::Place) -> Vec<Line> {
        let list = |set: &BTreeSet<String>, by: &str| set.iter().map(String::as_str).collect::<Vec<_>>().join(by);
        let mut lines = Vec::new();
        if !self.refused.is_empty() {
            lines.push(Line::missing("admission", Kind::Denied, list(&self.refused, "; ")).fix(
                "have the policy exempt our objects (label app.kubernetes.io/managed-by: seatrial), or give --namespace with a namespace that takes them",
            ));
        } else if !self.let_in.is_empty() {
            let place = place.namespace.as_ref().map_or_else(
                || format!("namespaces {}, in place of the run's own", STAND_INS.join(" and ")),
                |namespace| format!("namespace {namespace}"),
            );
            lines.push(Line::new("admission", Status::Ok, format!("{} would be let in, asked in {place}", list(&self.let_in, ", "))));
        }
        if !self.unsure.is_empty() {
            lines.push(
                Line::new("admission", Status::Unsure, list(&self.unsure, "; "))
                    .fix("the run's own namespace does not exist yet: make one, and give it with --namespace, to know for certain"),
            );
        }
        if !self.unasked.is_empty() {
            lines.push(Line::new("admission", Status::NotTried, list(&self.unasked, "; ")));
        }
        if !self.no_room.is_empty() {
            lines.push(
                Line::missing("quota", Kind::Denied, list(&self.no_room, "; "))
                    .fix("raise the ResourceQuota of the namespace, or give --max-gpus with fewer GPUs"),
            );
        } else if place.namespace.is_some() && self.room {
            lines.push(Line::new("quota", Status::Ok, "room for what the run holds at once"));
        } else if place.namespace.is_none() {
            lines.push(Line::new("quota", Status::NotTried, "the run's own namespace does not exist yet, nor does a quota of it"));
        }
        lines
    }
}

fn labels(place: &scratch::Place) -> Value {
    json!({MANAGED_BY: OWNER, RUN: place.run})
}

fn put(object: &Value, place: &scratch::Place, namespace: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["labels"] = labels(place);
    object
}

/// Asks in the administrator's namespace, where the objects will really go.
async fn in_namespace(
    cluster: &Cluster,
    sample: &Sample,
    place: &scratch::Place,
    namespace: &str,
    missing: &[Missing],
    asked: &mut Asked,
) -> Result<()> {
    let what = format!("namespace {namespace}");
    let object = put(&sample.object, place, namespace);
    let answer = one(cluster, &object, missing).await?;
    let let_in = matches!(answer, Answer::Yes);
    asked.take(&what, &object, answer);
    if !let_in {
        return Ok(());
    }
    asked.room = true;
    if let Some(whole) = sample.all_at_once() {
        // One object that wants as much as all: only a quota's word on it means anything.
        if let Answer::NoRoom(why) = one(cluster, &put(&whole, place, namespace), missing).await? {
            asked.take(&format!("{what}, for {} of them together,", sample.times), &object, Answer::NoRoom(why));
        }
    }
    Ok(())
}

/// Asks in namespaces that exist, in place of one that does not: two that agree are taken at their word.
async fn in_stand_ins(cluster: &Cluster, sample: &Sample, place: &scratch::Place, missing: &[Missing], asked: &mut Asked) -> Result<()> {
    let mut yes = Vec::new();
    let mut no = Vec::new();
    let mut unasked = None;
    for namespace in STAND_INS {
        let object = put(&sample.object, place, namespace);
        match one(cluster, &object, missing).await? {
            Answer::Yes => yes.push(namespace),
            Answer::No(why) => no.push((namespace, why)),
            // A quota there is none here.
            Answer::NoRoom(why) | Answer::Unasked(why) => unasked = Some(why),
        }
    }
    let kind = ObjectRef::of(&sample.object).kind.to_lowercase();
    match (yes.as_slice(), no.pop(), unasked) {
        ([_, ..], None, _) => asked.take("", &sample.object, Answer::Yes),
        ([], Some((_, why)), _) => asked.take("the cluster", &sample.object, Answer::No(why)),
        ([there, ..], Some((here, why)), _) => {
            asked.unsure.insert(format!("namespace {there} would take a {kind}, namespace {here} would not: {why}"));
        }
        ([], None, why) => asked.take("", &sample.object, Answer::Unasked(why.unwrap_or_default())),
    }
    Ok(())
}

/// Asks for one object.
async fn one(cluster: &Cluster, object: &Value, missing: &[Missing]) -> Result<Answer> {
    // A permission that is missing has a line of its own.
    let plural = |kind: &str| format!("{}s", kind.to_lowercase());
    let named = ObjectRef::of(object);
    let resource = plural(&named.kind);
    let denied = |missing: &&Missing| missing.verb == "create" && missing.resource.split('.').next() == Some(resource.as_str());
    if missing.iter().find(denied).is_some() {
        return Ok(Answer::Unasked("the permission to create it is missing".to_owned()));
    }
    match cluster.dry_run_create(object).await {
        Ok(_) => Ok(Answer::Yes),
        Err(error) => answer(error, &named),
    }
}

/// What a refusal means. A server that cannot be asked is an error.
fn answer(error: Error, named: &ObjectRef) -> Result<Answer> {
    let said = error.chain();
    // What was being done and the status code are not what a person wants to read here.
    let words = said
        .split_once(": the API server answers ")
        .map_or(said.as_str(), |(_, rest)| rest.split_once(": ").map_or(rest, |(_, rest)| rest));
    let words = words.to_owned();
    Ok(match error.kind() {
        Kind::Denied | Kind::Schema if words.contains("exceeded quota") || words.contains("failed quota") => Answer::NoRoom(words),
        Kind::Denied if words.contains("cannot create resource") => Answer::Unasked("the permission to create it is missing".to_owned()),
        Kind::Denied | Kind::Schema => Answer::No(words),
        Kind::Conflict => Answer::No(format!("{named} exists already")),
        // No such namespace, or no such kind: lines about these say so.
        Kind::NotFound => Answer::Unasked(words),
        _ => return Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_a_quota_from_a_permission_and_from_trouble() {
        let named = ObjectRef::new("v1", "Pod", Some("n"), "p");
        let of =
            |kind, words: &str| answer(Error::new(kind, format!("create pod n/p: the API server answers 403 Forbidden: {words}")), &named);
        assert!(matches!(of(Kind::Denied, "exceeded quota: q"), Ok(Answer::NoRoom(why)) if why == "exceeded quota: q"));
        assert!(matches!(of(Kind::Denied, "failed quota: q: must specify limits.cpu"), Ok(Answer::NoRoom(_))));
        assert!(matches!(of(Kind::Denied, "User \"x\" cannot create resource \"pods\""), Ok(Answer::Unasked(_))));
        assert!(matches!(of(Kind::Schema, "ValidatingAdmissionPolicy 'p' denied request: no"), Ok(Answer::No(_))));
        assert!(
            matches!(of(Kind::NotFound, "namespaces \"n\" not found"), Ok(Answer::No(why)) if why.contains("kubectl create namespace"))
        );
        assert!(of(Kind::Unavailable, "x").is_err() && of(Kind::Timeout, "x").is_err());
    }
}
