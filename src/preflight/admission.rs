//! Asks the API server, by server-side dry run, whether it would let in what a run creates. Nothing is stored.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::cluster::scratch::{self, MANAGED_BY, OWNER, RUN};
use crate::cluster::{Cluster, Missing, ObjectRef, Query};
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
    let each = samples.scratch.iter().map(|sample| async move {
        match &place.namespace {
            Some(namespace) => in_namespace(cluster, sample, place, namespace, missing).await,
            None => in_stand_ins(cluster, sample, place, missing).await,
        }
    });
    for found in try_join_all(each).await? {
        asked.merge(found);
    }
    if let Some(namespace) = &place.namespace {
        let pods = samples.scratch.iter().filter(|sample| sample.object["kind"] == "Pod").map(|sample| sample.times).max().unwrap_or(0);
        asked.count_pods(namespace, u64::from(pods), fewest_left(cluster, namespace).await?);
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
    /// True if quotas could be read, so that pods could be counted.
    counted: bool,
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

    /// Compares the pods that run at once with what quotas leave; a dry run asks for one pod only.
    fn count_pods(&mut self, namespace: &str, wanted: u64, left: Left) {
        self.counted = !matches!(left, Left::Unread);
        if let Left::Pods(left, quota) = left
            && left < wanted
        {
            self.no_room.insert(format!("namespace {namespace}: quota {quota} leaves room for {left} pods, {wanted} are wanted at once"));
        }
    }

    fn merge(&mut self, other: Self) {
        self.let_in.extend(other.let_in);
        self.refused.extend(other.refused);
        self.no_room.extend(other.no_room);
        self.unsure.extend(other.unsure);
        self.unasked.extend(other.unasked);
        self.room |= other.room;
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
            let found = match self.counted {
                true => "room for what the run holds at once",
                false => {
                    "room for one of each object and for all GPUs together; how many pods fit was not asked, as quotas may not be read"
                }
            };
            lines.push(Line::new("quota", Status::Ok, found));
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
async fn in_namespace(cluster: &Cluster, sample: &Sample, place: &scratch::Place, namespace: &str, missing: &[Missing]) -> Result<Asked> {
    let what = format!("namespace {namespace}");
    let mut asked = Asked::default();
    let object = put(&sample.object, place, namespace);
    let answer = one(cluster, &object, missing).await?;
    asked.room = matches!(answer, Answer::Yes);
    asked.take(&what, &object, answer);
    if let (true, Some(whole)) = (asked.room, sample.all_at_once()) {
        // One object that wants as much as all: only a quota's word on it means anything.
        if let Answer::NoRoom(why) = one(cluster, &put(&whole, place, namespace), missing).await? {
            asked.take(&format!("{what}, for {} of them together,", sample.times), &object, Answer::NoRoom(why));
        }
    }
    Ok(asked)
}

/// Asks in namespaces that exist, in place of one that does not: two that agree are taken at their word.
async fn in_stand_ins(cluster: &Cluster, sample: &Sample, place: &scratch::Place, missing: &[Missing]) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut yes = Vec::new();
    let mut no = Vec::new();
    let mut unasked = None;
    for namespace in STAND_INS {
        let object = put(&sample.object, place, namespace);
        match one(cluster, &object, missing).await? {
            Answer::Yes => yes.push(namespace),
            Answer::No(why) => no.push((namespace, why)),
            // A quota there is none of the run's own namespace.
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
    Ok(asked)
}

/// How many more pods the quotas of a namespace let in.
enum Left {
    /// Quotas may not be read; no role of ours asks for that.
    Unread,
    /// None of them counts pods.
    Uncounted,
    /// So many, by the quota of this name.
    Pods(u64, String),
}

async fn fewest_left(cluster: &Cluster, namespace: &str) -> Result<Left> {
    let quotas = match cluster.list("v1", "ResourceQuota", &Query::within(namespace)).await {
        Ok(quotas) => quotas,
        Err(error) if error.kind() == Kind::Denied => return Ok(Left::Unread),
        Err(error) => return Err(error),
    };
    let fewest = quotas.iter().filter_map(pods_left).min();
    Ok(fewest.map_or(Left::Uncounted, |(left, quota)| Left::Pods(left, quota)))
}

/// What one quota leaves. One that is for some pods only may not be for ours.
fn pods_left(quota: &Value) -> Option<(u64, String)> {
    if !quota["spec"]["scopes"].is_null() || !quota["spec"]["scopeSelector"].is_null() {
        return None;
    }
    let number = |part: &str, key: &str| quota["status"][part][key].as_str()?.parse::<u64>().ok();
    let left = |key: &str| Some(number("hard", key)?.saturating_sub(number("used", key)?));
    let left = ["pods", "count/pods"].into_iter().filter_map(left).min()?;
    Some((left, quota["metadata"]["name"].as_str().unwrap_or_default().to_owned()))
}

/// Asks for one object.
async fn one(cluster: &Cluster, object: &Value, missing: &[Missing]) -> Result<Answer> {
    // A permission that is missing has a line of its own.
    let plural = |kind: &str| format!("{}s", kind.to_lowercase());
    let named = ObjectRef::of(object);
    let resource = plural(&named.kind);
    let denied = |missing: &&Missing| missing.verb == "create" && missing.resource.split('.').next() == Some(resource.as_str());
    if missing.iter().any(|missing| denied(&missing)) {
        return Ok(Answer::Unasked("the permission to create it is missing".to_owned()));
    }
    match cluster.dry_run_create(object).await {
        Ok(_) => Ok(Answer::Yes),
        Err(error) => answer(error),
    }
}

/// What a refusal means. A server that cannot be asked is an error.
fn answer(error: Error) -> Result<Answer> {
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
        // What is there was let in. Whether it is ours, of a run that goes on, or in the way, is the step's business.
        Kind::Conflict => Answer::Yes,
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
        let of = |kind, words: &str| answer(Error::new(kind, format!("create pod n/p: the API server answers 403 Forbidden: {words}")));
        assert!(matches!(of(Kind::Denied, "exceeded quota: q"), Ok(Answer::NoRoom(why)) if why == "exceeded quota: q"));
        assert!(matches!(of(Kind::Denied, "failed quota: q: must specify limits.cpu"), Ok(Answer::NoRoom(_))));
        assert!(matches!(of(Kind::Denied, "User \"x\" cannot create resource \"pods\""), Ok(Answer::Unasked(_))));
        assert!(matches!(of(Kind::Schema, "ValidatingAdmissionPolicy 'p' denied request: no"), Ok(Answer::No(_))));
        assert!(matches!(of(Kind::NotFound, "namespaces \"n\" not found"), Ok(Answer::Unasked(_))));
        assert!(matches!(of(Kind::Conflict, "namespaces \"n\" already exists"), Ok(Answer::Yes)));
        assert!(of(Kind::Unavailable, "x").is_err() && of(Kind::Timeout, "x").is_err());
    }
}
