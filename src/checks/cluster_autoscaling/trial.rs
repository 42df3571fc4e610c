//! One pool tried: a pod that fits no node there is, the node that comes for it, and that this node goes again.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::future::{Either, select};
use serde_json::{Value, json};

use super::pools::{Pool, wrong_type};
use crate::checks::Cx;
use crate::checks::probe::{self, IDLE_IMAGE};
use crate::checks::settled::node_problem;
use crate::checks::unbroken::broken_within;
use crate::cluster::{ObjectRef, Query, Scratch};
use crate::error::{Kind, Result};
use crate::limits;
use crate::results::{ErrorReason, Outcome, Verdict};

/// Statements about one pool: a new node came and the pod ran on it, it is of the right type, it stayed, it went, the pool is at rest.
pub(super) const STATEMENTS: usize = 5;

/// Annotations that ask autoscalers to leave a pod's node alone while the pod is there: one that takes it away does so unasked.
const LEAVE_ALONE: [(&str, &str); 2] =
    [("karpenter.sh/do-not-disrupt", "true"), ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false")];

/// A trial of one pool.
pub(super) struct Trial<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) scratch: &'a Scratch,
    pub(super) pool: &'a Pool,
    /// All nodes that were there before, whatever pool they are of.
    pub(super) before: &'a [Value],
}

/// What was seen of the nodes that came.
#[derive(Debug)]
struct Timeline {
    before: BTreeSet<String>,
    begun: Instant,
    /// True while our pod needs its node.
    load: bool,
    came: BTreeMap<String, Came>,
}

/// A node that came during the trial.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) name: String,
    /// Seconds after the pod was made.
    pub(super) at: f64,
    ready: bool,
    pub(super) gone: bool,
}

impl Timeline {
    /// Takes note of the nodes that are there; a Ready one that went while it was needed is returned.
    fn observe(&mut self, nodes: &[&Value], now: Instant) -> Option<Came> {
        let seconds = (now - self.begun).as_secs_f64();
        let mut there = BTreeSet::new();
        for node in nodes {
            let uid = uid_of(node);
            if self.before.contains(uid) {
                continue;
            }
            there.insert(uid.to_owned());
            let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let known = self.came.entry(uid.to_owned()).or_insert(Came { name, at: seconds, ready: false, gone: false });
            known.ready |= node_problem(node).is_none();
        }
        let mut lost = None;
        for (_, came) in self.came.iter_mut().filter(|(uid, came)| !came.gone && !there.contains(*uid)) {
            came.gone = true;
            if self.load && came.ready {
                lost = Some(came.clone());
            }
        }
        lost
    }
}

pub(super) fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

impl Trial<'_> {
    /// Tries the pool and removes the pod, whatever comes of it.
    pub(super) async fn run(&self) -> Result<Outcome> {
        let query = self.query();
        let before: BTreeSet<String> = self.before.iter().map(|node| uid_of(node).to_owned()).collect();
        let pod = self.scratch.create(self.pod()).await?;
        let timeline = Mutex::new(Timeline { before, begun: Instant::now(), load: true, came: BTreeMap::new() });
        let limit = super::CHECK.timeout;
        let what = format!("nodes of pool {}", self.pool.name);
        let watching = self.cx.cluster.wait_until(("v1", "Node"), &query, &what, limit, |nodes| {
            timeline.lock().unwrap_or_else(PoisonError::into_inner).observe(nodes, Instant::now())
        });
        let course = self.course(&pod, &timeline);
        let (mut course, mut watching) = (pin!(course), pin!(watching));
        let outcome = match select(&mut course, &mut watching).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((Ok(lost), _)) => Ok(self.flapped(&lost)),
            Either::Right((Err(error), _)) => Err(error),
        };
        let passed = outcome.as_ref().is_ok_and(|outcome| outcome.verdict == Verdict::Pass);
        let outcome = match outcome {
            Ok(outcome) if !passed => Ok(self.diagnosed(outcome, &pod).await),
            outcome => outcome,
        };
        let gone = self.scratch.dispose(&pod, passed).await;
        let outcome = outcome?;
        gone?;
        Ok(outcome)
    }

    pub(super) fn query(&self) -> Query {
        let labels: Vec<String> = self.pool.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if labels.is_empty() { Query::all() } else { Query::all().labelled(labels.join(",")) }
    }

    /// A pod that may run on nodes of the pool, but on none that is there already.
    fn pod(&self) -> Value {
        let vendor = self.cx.vendor;
        let asked = json!({"limits": {vendor.resource.as_str(): self.pool.gpus.to_string()}});
        let mut spec = probe::pod_spec(vendor, self.cx.pods, IDLE_IMAGE, &[], &asked);
        for (key, value) in &self.pool.selector {
            spec["nodeSelector"][key] = json!(value);
        }
        if let Some(tolerations) = spec["tolerations"].as_array_mut() {
            tolerations.extend(self.pool.tolerations.iter().cloned());
        }
        let of_pool = |node: &&Value| self.pool.selector.iter().all(|(key, value)| node["metadata"]["labels"][key] == value.as_str());
        let offers = |node: &&Value| !node["status"]["capacity"][&vendor.resource].is_null();
        let hosts: Vec<&str> = self
            .before
            .iter()
            .filter(of_pool)
            .filter(offers)
            .filter_map(|node| node["metadata"]["labels"]["kubernetes.io/hostname"].as_str())
            .collect();
        if !hosts.is_empty() {
            let others = json!([{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": hosts}]);
            let terms = json!({"nodeSelectorTerms": [{"matchExpressions": others}]});
            spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = terms;
        }
        let annotations: serde_json::Map<String, Value> =
            LEAVE_ALONE.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let name = format!("cluster-autoscaling-{}", self.pool.name.replace('.', "-"));
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations}, "spec": spec})
    }

    async fn course(&self, pod: &ObjectRef, timeline: &Mutex<Timeline>) -> Result<Outcome> {
        let pool = self.pool;
        let node = match self.node_of(pod, timeline).await? {
            Ok(node) => node,
            Err(outcome) => return Ok(*outcome),
        };
        let ran = timeline.lock().unwrap_or_else(PoisonError::into_inner).begun.elapsed().as_secs_f64();
        let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if let Some(problem) = wrong_type(&node, pool, self.cx.vendor).or_else(|| node_problem(&node)) {
            let outcome = Outcome::fail(format!("node {name} came for pool {} and is of the wrong type: {problem}", pool.name));
            return Ok(outcome
                .fix("compare the node with what the pool may make, and with the recipe's spec.autoscaling")
                .asserted(1, STATEMENTS));
        }
        self.cx.waiting(&format!("{name} of pool {} to stay while {pod} runs on it", pool.name));
        let uid = uid_of(&node).to_owned();
        let query = Query::all().named(&name);
        let leaving = |nodes: &[&Value]| match nodes.iter().find(|node| uid_of(node) == uid) {
            None => Some("it is gone".to_owned()),
            Some(node) if !node["metadata"]["deletionTimestamp"].is_null() => Some("it is being deleted".to_owned()),
            Some(node) => node_problem(node),
        };
        let what = format!("node {name} to stay");
        let broken = broken_within(&self.cx.cluster, ("v1", "Node"), &query, &what, limits::NODE_DWELL, leaving).await?;
        let still = self.cx.cluster.get("v1", "Pod", pod.namespace.as_deref(), &pod.name).await?;
        let runs = still.is_some_and(|seen| seen["status"]["phase"] == "Running" && pod.uid.as_deref() == Some(uid_of(&seen)));
        if let Some(why) = broken.or_else(|| (!runs).then(|| "the pod runs there no longer".to_owned())) {
            let outcome = Outcome::fail(format!("node {name} of pool {} did not stay while a pod ran on it: {why}", pool.name));
            return Ok(outcome.fix("look at what the autoscaler says of the node: kubectl get events -A").asserted(2, STATEMENTS));
        }
        self.shrink(pod, timeline, ran).await
    }

    /// Waits until the pod runs, and returns its node; an outcome if it does not come to that.
    async fn node_of(&self, pod: &ObjectRef, timeline: &Mutex<Timeline>) -> Result<Result<Value, Box<Outcome>>> {
        let pool = self.pool;
        self.cx.waiting(&format!("a new node of pool {} for {pod}", pool.name));
        let query = Query::within(pod.namespace.as_deref().unwrap_or_default()).named(&pod.name);
        let ended = self
            .cx
            .cluster
            .wait_until(("v1", "Pod"), &query, &format!("{pod} to run on a new node"), pool.up, |pods| {
                let Some(seen) = pods.first() else {
                    return Some(Err(Box::new(Outcome::error(ErrorReason::NoSubject, format!("{pod} was deleted by someone else")))));
                };
                match seen["status"]["phase"].as_str() {
                    Some("Running") => Some(Ok(seen["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())),
                    Some(phase @ ("Succeeded" | "Failed")) => {
                        Some(Err(Box::new(Outcome::fail(format!("{pod} ended as {phase} instead of running")))))
                    }
                    _ => probe::image_trouble(seen)
                        .map(|trouble| Err(Box::new(Outcome::error(ErrorReason::Image, format!("{pod}: {trouble}"))))),
                }
            })
            .await;
        let name = match ended {
            Ok(Ok(name)) => name,
            Ok(Err(outcome)) => return Ok(Err(Box::new(outcome.asserted(0, STATEMENTS)))),
            Err(error) if error.kind() == Kind::Timeout => {
                let came = timeline.lock().unwrap_or_else(PoisonError::into_inner).came.values().cloned().collect::<Vec<_>>();
                return Ok(Err(Box::new(self.none_came(pod, &came).await?)));
            }
            Err(error) => return Err(error),
        };
        let Some(node) = self.cx.cluster.get("v1", "Node", None, &name).await? else {
            let message = format!("{pod} runs on node {name}, which is not there any more");
            return Ok(Err(Box::new(Outcome::fail(message).asserted(0, STATEMENTS))));
        };
        if self.before.iter().any(|old| uid_of(old) == uid_of(&node)) {
            let message = format!("{pod} was placed on node {name}, which was there before, so nothing was shown of pool {}", pool.name);
            return Ok(Err(Box::new(Outcome::error(ErrorReason::NoSubject, message).asserted(0, STATEMENTS))));
        }
        // The watch may tell of it a moment later than we asked.
        timeline.lock().unwrap_or_else(PoisonError::into_inner).observe_one(&node);
        Ok(Ok(node))
    }

    /// Takes the load away, and watches that what came for it goes and that the pool is at rest then.
    async fn shrink(&self, pod: &ObjectRef, timeline: &Mutex<Timeline>, ran: f64) -> Result<Outcome> {
        let pool = self.pool;
        let (new, came_after) = {
            let mut timeline = timeline.lock().unwrap_or_else(PoisonError::into_inner);
            timeline.load = false;
            let first = timeline.came.values().map(|came| came.at).fold(f64::INFINITY, f64::min).min(ran);
            (timeline.came.clone(), first)
        };
        let clock = Instant::now();
        self.scratch.remove(pod).await?;
        let names: Vec<&str> = new.values().map(|came| came.name.as_str()).collect();
        self.cx.waiting(&format!("{} of pool {} to go", names.join(", "), pool.name));
        let left = |nodes: &[&Value]| {
            nodes.iter().filter(|node| new.contains_key(uid_of(node))).map(|node| ObjectRef::of(node).name).collect::<Vec<_>>()
        };
        let what = format!("nodes {} to go", names.join(", "));
        let gone =
            self.cx.cluster.wait_until(("v1", "Node"), &self.query(), &what, pool.down, |nodes| left(nodes).is_empty().then_some(())).await;
        let measured =
            |outcome: Outcome| outcome.measured("node_seconds", rounded(came_after), "s").measured("running_seconds", rounded(ran), "s");
        match gone {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Timeout => return Ok(measured(self.stays(&new).await?).asserted(3, STATEMENTS)),
            Err(error) => return Err(error),
        }
        let took = clock.elapsed().as_secs_f64();
        self.cx.waiting(&format!("pool {} to be at rest", pool.name));
        // Others' nodes may go; one more that comes is what an autoscaler at rest does not do.
        let one_more = |nodes: &[&Value]| {
            let fresh = nodes.iter().find(|node| !self.before.iter().any(|old| uid_of(old) == uid_of(node)))?;
            Some(ObjectRef::of(fresh).name)
        };
        let what = format!("pool {} to stay as it is", pool.name);
        let broken = broken_within(&self.cx.cluster, ("v1", "Node"), &self.query(), &what, limits::NODE_DWELL, one_more).await?;
        let outcome = match broken {
            None => {
                let message = format!(
                    "pool {}: {} came in {came_after:.1} s, the pod ran after {ran:.1} s, it was gone {took:.1} s after the pod",
                    pool.name,
                    names.join(", ")
                );
                Outcome::pass(message).asserted(STATEMENTS, STATEMENTS)
            }
            Some(name) => match self.user_of(&[&name]).await? {
                Some(pod) => Outcome::error(
                    ErrorReason::Busy,
                    format!("node {name} came to pool {} for {pod}, so it cannot be seen to be at rest", pool.name),
                )
                .fix("run again when nobody else starts pods on this pool"),
                None => Outcome::fail(format!(
                    "pool {} is not at rest after its node has gone: node {name} came, and nothing asks for it",
                    pool.name
                ))
                .fix("look at the log of the autoscaler: it adds nodes that no pod waits for")
                .asserted(4, STATEMENTS),
            },
        };
        Ok(measured(outcome).measured("gone_seconds", rounded(took), "s").held_against(pool.down.as_secs_f64()))
    }
}

impl Timeline {
    fn observe_one(&mut self, node: &Value) {
        let at = self.begun.elapsed().as_secs_f64();
        let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.came.entry(uid_of(node).to_owned()).or_insert(Came { name, at, ready: true, gone: false });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn node(name: &str, ready: &str) -> Value {
        json!({"metadata": {"name": name, "uid": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    #[test]
    fn a_ready_node_that_goes_while_it_is_needed_flaps_and_one_that_goes_afterwards_does_not() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut timeline = Timeline { before: BTreeSet::from(["old".to_owned()]), begun, load: true, came: BTreeMap::new() };
        let (old, new, ready) = (node("old", "True"), node("new", "False"), node("new", "True"));
        assert!(timeline.observe(&[&old], at(1)).is_none() && timeline.came.is_empty());
        assert!(timeline.observe(&[&old, &new], at(2)).is_none());
        let mut failed = Timeline { came: timeline.came.clone(), before: timeline.before.clone(), ..timeline };
        assert!(failed.observe(&[&old], at(3)).is_none() && failed.came["new"].gone, "it never was Ready");
        failed.came.remove("new");
        assert!(failed.observe(&[&old, &ready], at(4)).is_none());
        let mut shrinking = Timeline { load: false, came: failed.came.clone(), before: failed.before.clone(), begun };
        assert!(shrinking.observe(&[&old], at(5)).is_none());
        assert!(failed.observe(&[], at(5)).is_some_and(|lost| lost.name == "new"), "the old one is not ours to judge");
    }
}
