//! Nodes and platform workloads are in the state that their controllers want.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::checks::settled::{node_problem, workload_problem};
use crate::checks::{Check, Cx, Fidelity, Phase, no_more};
use crate::cluster::{Access, ObjectRef, Query};
use crate::error::Result;
use crate::results::{ErrorReason, Outcome};

pub(super) static CHECK: Check = Check {
    id: "platform-health",
    version: 1,
    title: "Nodes are ready and platform workloads are complete",
    requirement: None,
    phase: Phase::Conformance,
    gpus: 0,
    access: &[
        Access::read("", "nodes"),
        Access::read("", "namespaces"),
        Access::read("apps", "daemonsets"),
        Access::read("apps", "deployments"),
        Access::read("apps", "statefulsets"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
Every node is Ready and under no pressure. Every namespace in which the recipe expects something is Active. Every Deployment, DaemonSet and StatefulSet
there and in kube-system has been seen by its controller in its current generation and has all the replicas it wants, up to date and ready.

# Why it matters
Whatever is tested on a platform that is half there says nothing about the platform.

# How to fix it
Look at the object that the message names: `kubectl describe` shows its conditions and events.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let everywhere = Query::all();
    let (nodes, namespaces, deployments, daemon_sets, stateful_sets) = tokio::try_join!(
        cx.cluster.list("v1", "Node", &everywhere),
        cx.cluster.list("v1", "Namespace", &everywhere),
        cx.cluster.list("apps/v1", "Deployment", &everywhere),
        cx.cluster.list("apps/v1", "DaemonSet", &everywhere),
        cx.cluster.list("apps/v1", "StatefulSet", &everywhere),
    )?;
    let wanted: BTreeSet<&str> = cx.recipe.spec.expect.iter().filter_map(|object| object.namespace.as_deref()).collect();
    let workloads: Vec<Value> = [deployments, daemon_sets, stateful_sets].concat();
    Ok(judge(&nodes, &namespaces, &workloads, &wanted))
}

/// Judges nodes, namespaces and workloads; pure.
fn judge(nodes: &[Value], namespaces: &[Value], workloads: &[Value], wanted: &BTreeSet<&str>) -> Outcome {
    if nodes.is_empty() {
        return Outcome::error(ErrorReason::NoSubject, "the cluster has no nodes");
    }
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    let mut total = 0;
    let mut state = |subject: String, problem: Option<String>| {
        total += 1;
        wrong.extend(problem.map(|problem| format!("{subject}: {problem}")));
        seen.push(subject);
    };
    for node in nodes {
        state(ObjectRef::of(node).to_string(), node_problem(node));
    }
    for name in wanted {
        let namespace = namespaces.iter().find(|namespace| namespace["metadata"]["name"] == *name);
        let problem = match namespace {
            None => Some("does not exist, and the recipe expects objects there".to_owned()),
            Some(namespace) if namespace["status"]["phase"] != "Active" => {
                Some(format!("is {}", namespace["status"]["phase"].as_str().unwrap_or("in no phase")))
            }
            Some(_) => None,
        };
        state(format!("namespace {name}"), problem);
    }
    let of_platform =
        |object: &&Value| object["metadata"]["namespace"].as_str().is_some_and(|name| name == "kube-system" || wanted.contains(name));
    for workload in workloads.iter().filter(of_platform) {
        state(ObjectRef::of(workload).to_string(), workload_problem(workload));
    }
    let outcome = match wrong.first() {
        None => Outcome::pass(format!("{} nodes ready, {} platform objects complete", nodes.len(), total - nodes.len())),
        Some(first) => {
            let more = if wrong.len() > 1 { format!(" (and {} more)", wrong.len() - 1) } else { String::new() };
            Outcome::fail(format!("{first}{more}")).fix("kubectl describe that object; its conditions and events say why")
        }
    };
    let exist = seen.len();
    outcome.seen("objects", seen, exist).asserted(total - wrong.len(), total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::Verdict;

    fn node(ready: &str) -> Value {
        json!({"kind": "Node", "metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn deployment(ready: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "gpu-operator", "generation": 2},
            "spec": {"replicas": 2}, "status": {"observedGeneration": 2, "updatedReplicas": 2, "readyReplicas": ready}})
    }

    fn judged(node: Value, deployment: Value) -> Outcome {
        let namespace = json!({"metadata": {"name": "gpu-operator"}, "status": {"phase": "Active"}});
        judge(&[node], &[namespace], &[deployment], &BTreeSet::from(["gpu-operator"])).guarded()
    }

    #[test]
    fn a_healthy_platform_passes() {
        assert_eq!(judged(node("True"), deployment(2)).verdict, Verdict::Pass);
    }

    #[test]
    fn one_replica_of_two_fails_and_is_named() {
        let outcome = judged(node("True"), deployment(1));
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.message, "deployment gpu-operator/d: 1 of 2 replicas ready");
    }

    #[test]
    fn a_node_that_is_not_ready_fails_and_a_cluster_without_nodes_is_an_error() {
        assert_eq!(judged(node("Unknown"), deployment(2)).message, "node n: Ready is Unknown");
        assert_eq!(judge(&[], &[], &[], &BTreeSet::new()).verdict, Verdict::Error(ErrorReason::NoSubject));
    }

    #[test]
    fn a_namespace_that_the_recipe_expects_and_is_not_there_fails() {
        let outcome = judge(&[node("True")], &[], &[], &BTreeSet::from(["gpu-operator"]));
        assert_eq!(outcome.verdict, Verdict::Fail);
    }
}
