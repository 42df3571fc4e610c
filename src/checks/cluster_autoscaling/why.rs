//! Why a pool does not grow or shrink, from the nodes that are there and from what the autoscaler says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pools::wrong_type;
use super::trial::{Came, STATEMENTS, Trial, uid_of};
use crate::checks::probe;
use crate::checks::settled::node_problem;
use crate::cluster::{ObjectRef, Query};
use crate::error::Result;
use crate::results::{ErrorReason, Outcome};

impl Trial<'_> {
    /// Why the pod did not come to run: the nodes that came, else the autoscaler's words, else the scheduler's.
    pub(super) async fn none_came(&self, pod: &ObjectRef, came: &[Came]) -> Result<Outcome> {
        let (pool, waited) = (&self.pool.name, self.pool.up.as_secs());
        let now = self.cx.cluster.list("v1", "Node", &Query::all()).await?;
        let fresh = |node: &&Value| !self.before.iter().any(|old| uid_of(old) == uid_of(node));
        let of_pool = |node: &Value| self.pool.selector.iter().all(|(key, value)| node["metadata"]["labels"][key] == value.as_str());
        let seen = self.cx.cluster.get("v1", "Pod", pod.namespace.as_deref(), &pod.name).await?.unwrap_or_default();
        let lasting = now.iter().find(|node| fresh(node) && of_pool(node)).or_else(|| now.iter().find(fresh));
        let gone: Vec<&str> = came.iter().filter(|came| came.gone).map(|came| came.name.as_str()).collect();
        if let Some(node) = lasting {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            let problem = wrong_type(node, self.pool, self.cx.vendor).or_else(|| node_problem(node));
            let problem = problem
                .or_else(|| probe::unschedulable(&seen).map(str::to_owned))
                .unwrap_or_else(|| "the pod was placed and does not run".to_owned());
            let message = format!("node {name} came for pool {pool}, and the pod does not run there after {waited} s: {problem}");
            return Ok(Outcome::fail(message).fix(format!("kubectl describe node {name}")).asserted(0, STATEMENTS));
        }
        if !gone.is_empty() {
            let message = format!("nodes came for pool {pool} and went before the pod could run on them: {}", gone.join(", "));
            return Ok(Outcome::fail(message)
                .fix("look at the log of the autoscaler: it adds nodes and takes them away at once")
                .asserted(0, STATEMENTS));
        }
        let said = match self.said(pod).await? {
            Some(said) => format!("the autoscaler says: {said}"),
            None => match probe::unschedulable(&seen) {
                Some(scheduler) => format!("no autoscaler has said anything of the pod; the scheduler says: {scheduler}"),
                None => "neither an autoscaler nor a scheduler has said anything of the pod".to_owned(),
            },
        };
        let claims = self.claims().await?;
        let claims = if claims.is_empty() { String::new() } else { format!("; {}", claims.join("; ")) };
        let message = format!("no node came for pool {pool} within {waited} s: {said}{claims}");
        Ok(Outcome::fail(message)
            .fix("is the autoscaler running, and may it make nodes? look at its log, and at its pool")
            .asserted(0, STATEMENTS))
    }

    /// The last thing that an autoscaler said of the pod.
    async fn said(&self, pod: &ObjectRef) -> Result<Option<String>> {
        let query = Query {
            fields: Some(format!("involvedObject.name={}", pod.name)),
            ..Query::within(pod.namespace.as_deref().unwrap_or_default())
        };
        let events = self.cx.cluster.list("v1", "Event", &query).await?;
        let source = |event: &Value| format!("{}{}", event["source"]["component"], event["reportingComponent"]);
        let of_autoscaler = |event: &&Value| ["karpenter", "autoscaler"].iter().any(|name| source(event).contains(name));
        let when = |event: &&Value| event["lastTimestamp"].as_str().unwrap_or_default().to_owned();
        let last = events.iter().filter(of_autoscaler).max_by_key(when);
        Ok(last.and_then(|event| event["message"].as_str()).map(str::to_owned))
    }

    /// What `NodeClaim`s of the pool wait for.
    async fn claims(&self) -> Result<Vec<String>> {
        if !self.pool.karpenter {
            return Ok(Vec::new());
        }
        let query = Query::all().labelled(format!("karpenter.sh/nodepool={}", self.pool.name));
        let claims = self.cx.cluster.list("karpenter.sh/v1", "NodeClaim", &query).await?;
        let waits = claims.iter().filter_map(|claim| {
            let conditions = claim["status"]["conditions"].as_array()?;
            let open = conditions.iter().find(|one| one["status"] != "True" && one["type"] != "Ready" && one["type"] != "Drifted")?;
            let text = |field: &str| open[field].as_str().unwrap_or_default();
            Some(format!("{}: {} is {}: {}", ObjectRef::of(claim), text("type"), text("status"), text("message")))
        });
        Ok(waits.collect())
    }

    /// A node that does not go: because it is in use, or for no reason that could be seen.
    pub(super) async fn stays(&self, new: &BTreeMap<String, Came>) -> Result<Outcome> {
        let nodes = self.cx.cluster.list("v1", "Node", &self.query()).await?;
        let left: Vec<&Value> = nodes.iter().filter(|node| new.contains_key(uid_of(node))).collect();
        let names: Vec<&str> = left.iter().filter_map(|node| node["metadata"]["name"].as_str()).collect();
        let used = self.user_of(&names).await?;
        let waited = self.pool.down.as_secs();
        if let Some(pod) = used {
            let message = format!("{} came for pool {} and cannot be seen to go: {} runs there now", names.join(", "), self.pool.name, pod);
            return Ok(Outcome::error(ErrorReason::Busy, message).fix("run again when nobody else starts pods on this pool"));
        }
        let mut words = Vec::new();
        for name in &names {
            let query = Query { fields: Some(format!("involvedObject.name={name},involvedObject.kind=Node")), ..Query::all() };
            let events = self.cx.cluster.list("v1", "Event", &query).await?;
            let about =
                |event: &&Value| matches!(event["reason"].as_str(), Some("DisruptionBlocked" | "Unconsolidatable" | "ScaleDownFailed"));
            words.extend(events.iter().filter(about).filter_map(|event| event["message"].as_str().map(str::to_owned)));
        }
        let said =
            words.last().map_or_else(|| "the autoscaler says nothing of it".to_owned(), |said| format!("the autoscaler says: {said}"));
        let message = format!(
            "{} of pool {} is still there {waited} s after the pod that it came for has gone: {said}",
            names.join(", "),
            self.pool.name
        );
        let fix = if self.pool.karpenter { "kubectl delete nodeclaim" } else { "remove it by the autoscaler's pool" };
        Ok(Outcome::fail(message)
            .fix(format!("it costs money until it is removed: {fix}; then look at why the autoscaler leaves empty nodes")))
    }

    /// A pod that keeps one of these nodes in use.
    pub(super) async fn user_of(&self, nodes: &[&str]) -> Result<Option<ObjectRef>> {
        let pods = self.cx.cluster.list("v1", "Pod", &Query::all()).await?;
        Ok(pods.iter().find(|pod| in_use(pod, nodes)).map(ObjectRef::of))
    }

    pub(super) fn flapped(&self, lost: &Came) -> Outcome {
        let message = format!(
            "node {} of pool {} came after {:.1} s, was Ready, and was taken away while a pod needed it",
            lost.name, self.pool.name, lost.at
        );
        Outcome::fail(message).fix("look at the log of the autoscaler: it adds nodes and takes them away at once").asserted(0, STATEMENTS)
    }

    pub(super) async fn diagnosed(&self, outcome: Outcome, pod: &ObjectRef) -> Outcome {
        let events = probe::events(&self.cx.cluster, pod.namespace.as_deref().unwrap_or_default()).await;
        outcome.artifact(&format!("events of pool {}", self.pool.name), Some("kubectl get events"), events)
    }
}

/// True if a pod keeps one of these nodes in use: one that runs there and that no DaemonSet brings.
fn in_use(pod: &Value, nodes: &[&str]) -> bool {
    let there = pod["spec"]["nodeName"].as_str().is_some_and(|node| nodes.contains(&node));
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let of_daemon_set = pod["metadata"]["ownerReferences"]
        .as_array()
        .is_some_and(|owners| owners.iter().any(|owner| matches!(owner["kind"].as_str(), Some("DaemonSet" | "Node"))));
    there && !ended && !of_daemon_set
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_pods_that_run_and_that_no_daemon_set_brings_keep_a_node() {
        let pod = |node: &str, phase: &str, owner: &str| json!({"spec": {"nodeName": node}, "status": {"phase": phase}, "metadata": {"ownerReferences": [{"kind": owner}]}});
        assert!(in_use(&pod("a", "Running", "ReplicaSet"), &["a"]));
        for other in [pod("b", "Running", "ReplicaSet"), pod("a", "Succeeded", "Job"), pod("a", "Running", "DaemonSet")] {
            assert!(!in_use(&other, &["a"]));
        }
    }
}
