//! GPU nodes of one kind are alike: driver, number of GPUs, kernel, kubelet, operating system.

use std::time::Duration;

use serde_json::json;

use crate::checks::{Check, Cx, Fidelity, Phase, no_more, probe};
use crate::cluster::{Access, Query};
use crate::error::Result;
use crate::results::{ErrorReason, Outcome};
use crate::snapshot::groups::{self, Group};
use crate::snapshot::{Reading, Snapshot, nodes};

pub(super) static CHECK: Check = Check {
    id: "node-uniformity",
    version: 1,
    title: "GPU nodes of one kind are alike",
    requirement: None,
    phase: Phase::Deployment,
    gpus: 0,
    access: &[Access::read("", "nodes"), Access::read("resource.k8s.io", "resourceslices")],
    reads: no_more,
    timeout: Duration::from_secs(60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
GPU nodes with the same product and architecture agree in driver version, number of GPUs, kernel, kubelet, operating system and container runtime, as node
objects, labels and ResourceSlices tell. The nodes that are not as most of their kind are named, with how they differ. Where no state is the usual one, as
with one node of each of two, the kind is not uniform either. Cordoned nodes are looked at too, and disclosed.

# Why it matters
A job spans nodes: one with another driver or with 7 of 8 GPUs makes it fail, or makes it as slow as its slowest member.

# How to fix it
Bring the named node to the state of the others, or drain it. While a roll-out is under way, run again after it.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let pools = probe::dra_pools(&cx.cluster).await?;
    let objects = cx.cluster.list("v1", "Node", &Query::all()).await?;
    let mut snapshot = Snapshot::without_cluster("not asked for");
    let mut nodes = nodes::read(&objects, Some(&pools));
    nodes.retain(|node| node.gpus.any());
    let cordoned: Vec<String> = nodes.iter().filter(|node| node.unschedulable).map(|node| node.name.clone()).collect();
    (snapshot.nodes, snapshot.pools) = (Reading::Value(nodes), Reading::Value(pools));
    Ok(judge(&groups::groups(&snapshot), &cordoned))
}

/// Judges groups of GPU nodes; pure.
fn judge(groups: &[Group], cordoned: &[String]) -> Outcome {
    let names: Vec<String> = groups.iter().flat_map(|group| group.nodes.clone()).collect();
    if names.is_empty() {
        return Outcome::error(ErrorReason::NoSubject, "no node advertises a GPU in any way")
            .fix("check that the GPU operator or DRA driver is installed and that the recipe names the right vendor");
    }
    let mut problems: Vec<String> = Vec::new();
    let mut odd = 0;
    for group in groups.iter().filter(|group| !group.odd.is_empty()) {
        odd += group.nodes.len();
        let differences = group.odd.iter().map(|one| {
            let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
            format!("{} {} (usual: {}, {} nodes)", one.what, word(&one.here), word(&one.usual), one.nodes)
        });
        problems.push(format!("{}: {}", groups::some_of(&group.nodes), differences.collect::<Vec<_>>().join(", ")));
    }
    problems.extend(ties(groups));
    let total = names.len();
    let disclosed = if cordoned.is_empty() { String::new() } else { format!(" (cordoned: {})", groups::some_of(cordoned)) };
    let outcome = if problems.is_empty() {
        Outcome::pass(format!("{total} GPU nodes, alike within each kind{disclosed}"))
    } else {
        Outcome::fail(format!("{}{disclosed}", problems.join("; "))).fix("bring the named nodes to the state of the others, or drain them")
    };
    let held = if problems.is_empty() { total } else { total - odd.max(1).min(total) };
    outcome.seen("nodes", names, total).asserted(held, total).artifact("groups of nodes", Some("kubectl get nodes -o yaml"), json!(groups))
}

/// Groups of one kind that are equally large: they differ, and none is the usual one.
fn ties(groups: &[Group]) -> Vec<String> {
    let kind = |group: &Group| (group.fingerprint.get("arch").cloned(), group.fingerprint.get("product").cloned());
    let mut found = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        for other in &groups[at + 1..] {
            if kind(group) == kind(other) && group.nodes.len() == other.nodes.len() && group.odd.is_empty() && other.odd.is_empty() {
                let what = group.fingerprint.iter().find(|(what, value)| other.fingerprint.get(*what) != Some(value));
                let word = |group: &Group| {
                    what.and_then(|(what, _)| group.fingerprint.get(what)).cloned().unwrap_or_else(|| "not known".to_owned())
                };
                let what = what.map_or("what is known of them", |(what, _)| what);
                let (one, two) = (groups::some_of(&group.nodes), groups::some_of(&other.nodes));
                found.push(format!("{what} is {} on {one} and {} on {two}", word(group), word(other)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Verdict;

    fn judged(drivers: &[&str]) -> Outcome {
        let objects: Vec<serde_json::Value> = drivers
            .iter()
            .enumerate()
            .map(|(at, driver)| {
                json!({"metadata": {"name": format!("n{at}"), "labels": {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.present": "true",
                    "nvidia.com/gpu.product": "H100", "nvidia.com/cuda.driver-version.full": driver}}})
            })
            .collect();
        let mut snapshot = Snapshot::without_cluster("not asked for");
        snapshot.nodes = Reading::Value(nodes::read(&objects, None));
        judge(&groups::groups(&snapshot), &[])
    }

    #[test]
    fn nodes_that_are_alike_pass_and_the_odd_one_is_named() {
        assert_eq!(judged(&["580", "580", "580"]).guarded().verdict, Verdict::Pass);
        let outcome = judged(&["580", "570", "580"]);
        assert_eq!((outcome.verdict, outcome.message.as_str()), (Verdict::Fail, "n1: driver 570 (usual: 580, 2 nodes)"));
    }

    #[test]
    fn two_states_of_which_none_is_usual_fail_and_no_gpu_node_is_an_error() {
        let outcome = judged(&["580", "570"]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.message.contains("driver is 580 on n0 and 570 on n1"), "{}", outcome.message);
        assert_eq!(judge(&[], &[]).verdict, Verdict::Error(ErrorReason::NoSubject));
    }
}
