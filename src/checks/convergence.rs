//! The cluster has come to rest: every GPU node is there, nothing is still to come, and so it stays for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::checks::settled::{node_problem, workload_problem};
use crate::checks::{Check, Cx, Fidelity, Phase, no_more, probe};
use crate::cluster::{Access, ObjectRef, Query};
use crate::error::Result;
use crate::limits;
use crate::recipe::Threshold;
use crate::results::{ErrorReason, Outcome};
use crate::snapshot::{Pool, nodes};

/// Taints that go when a node has come up, by key; each is documented by who sets it.
const PENDING: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "Kubernetes"),
    ("node.kubernetes.io/unreachable", "Kubernetes"),
    ("node.kubernetes.io/network-unavailable", "Kubernetes"),
    ("node.cloudprovider.kubernetes.io/uninitialized", "the cloud's controller"),
    ("node.cilium.io/agent-not-ready", "Cilium"),
    ("ebs.csi.aws.com/agent-not-ready", "the EBS CSI driver"),
    ("efs.csi.aws.com/agent-not-ready", "the EFS CSI driver"),
    ("karpenter.sh/unregistered", "Karpenter"),
    ("skyhook.nvidia.com", "Skyhook"),
];

pub(super) static CHECK: Check = Check {
    id: "convergence",
    version: 1,
    title: "The cluster has come to rest",
    requirement: None,
    phase: Phase::Conformance,
    gpus: 0,
    access: &[
        Access::read("", "nodes"),
        Access::read("", "pods"),
        Access::read("apps", "daemonsets"),
        Access::read("resource.k8s.io", "resourceslices"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(limits::CONVERGENCE.as_secs() + 60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
Every GPU node is Ready and has none of the taints that a node has while it comes up (Kubernetes, cloud, CNI, CSI, Karpenter, Skyhook); there are at least as
many as the recipe's criteria say; the pools of DRA devices are complete; DaemonSets in the namespaces of the recipe and in kube-system are complete, and no
pod there is Pending. All of that holds without a break for 10 s, in which no GPU node comes, goes, is replaced, or changes how many GPUs it offers.
It waits at most 180 s for that, or as long as the recipe's threshold
`time-to-rest` says (`<= 60`, in seconds). A cordoned node is disclosed and not waited for.

# Why it matters
Nodes reboot while drivers are installed, and late ones join: what is measured before is measured on another cluster.

# How to fix it
Wait for what the message names; if it does not come, look at that object: `kubectl describe` shows its conditions and events.",
    run: |cx| Box::pin(run(cx)),
};

/// GPU nodes by name: their identity and how many GPUs they offer.
type Census = BTreeMap<String, (String, u64)>;

/// One look at the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    /// Who is there.
    census: Census,
    /// Cordoned GPU nodes.
    cordoned: Vec<String>,
    /// What is still to come.
    pending: Vec<String>,
}

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let begun = Instant::now();
    let longest = longest(&cx.recipe.spec.thresholds);
    let mut rest = Rest::default();
    loop {
        let look = look(cx).await?;
        let now = Instant::now();
        if rest.lasts(now, &look) >= limits::CONVERGENCE_DWELL || now - begun >= longest {
            let outcome = judge(&look, rest.since.map(|(since, _)| now - since), now - begun, rest.changes);
            return Ok(outcome.held_against(longest.as_secs_f64()));
        }
        cx.waiting(
            &look
                .pending
                .first()
                .map_or_else(|| format!("{} GPU nodes stay as they are", look.census.len()), |what| format!("{what} no more")),
        );
        tokio::time::sleep(limits::CONVERGENCE_LOOK).await;
    }
}

/// How long to wait: as the recipe says, within what a check may take.
fn longest(thresholds: &[Threshold]) -> Duration {
    let own = thresholds.iter().find(|threshold| threshold.id == "time-to-rest").and_then(|threshold| threshold.bound().ok());
    own.map_or(limits::CONVERGENCE, |(_, seconds)| Duration::from_secs_f64(seconds.clamp(0.0, limits::CONVERGENCE.as_secs_f64())))
}

/// Since when the cluster has been at rest.
#[derive(Default)]
struct Rest {
    since: Option<(Instant, Census)>,
    changes: usize,
}

impl Rest {
    /// Takes note of a look, and says for how long the cluster has been at rest.
    fn lasts(&mut self, now: Instant, look: &Look) -> Duration {
        let settled = look.pending.is_empty() && !look.census.is_empty();
        let same = self.since.as_ref().filter(|(_, census)| settled && *census == look.census).map(|(since, _)| *since);
        if let (None, Some(_)) = (same, &self.since) {
            self.changes += 1;
        }
        if same.is_none() {
            self.since = settled.then(|| (now, look.census.clone()));
        }
        same.map_or(Duration::ZERO, |since| now - since)
    }
}

async fn look(cx: &Cx<'_>) -> Result<Look> {
    let everywhere = Query::all();
    let waiting = Query { fields: Some("status.phase=Pending".to_owned()), ..Query::all() };
    let (nodes, daemon_sets, pods, pools) = tokio::try_join!(
        cx.cluster.list("v1", "Node", &everywhere),
        cx.cluster.list("apps/v1", "DaemonSet", &everywhere),
        cx.cluster.list("v1", "Pod", &waiting),
        probe::dra_pools(&cx.cluster),
    )?;
    let ours: BTreeSet<&str> =
        cx.recipe.spec.expect.iter().filter_map(|object| object.namespace.as_deref()).chain(["kube-system"]).collect();
    let wanted = cx.recipe.spec.criteria.nodes;
    Ok(see(&nodes, &daemon_sets, &pods, &pools, &ours, wanted))
}

/// What one look comes to; pure.
fn see(objects: &[Value], daemon_sets: &[Value], pods: &[Value], pools: &[Pool], ours: &BTreeSet<&str>, wanted: Option<u32>) -> Look {
    let mut look = Look::default();
    let read = nodes::read(objects, Some(pools));
    for node in read.iter().filter(|node| node.gpus.any()) {
        let object = objects.iter().find(|object| object["metadata"]["name"] == node.name.as_str());
        let uid = object.and_then(|object| object["metadata"]["uid"].as_str()).unwrap_or_default().to_owned();
        look.census.insert(node.name.clone(), (uid, node.gpus.usable()));
        if node.unschedulable {
            look.cordoned.push(node.name.clone());
            continue;
        }
        look.pending.extend(object.and_then(node_problem).map(|problem| format!("node {}: {problem}", node.name)));
        let tainted = node.taints.iter().find_map(|taint| PENDING.iter().find(|(key, _)| *key == taint.key));
        look.pending.extend(tainted.map(|(key, who)| format!("node {}: has taint {key} of {who}", node.name)));
    }
    if let Some(wanted) = wanted.filter(|wanted| look.census.len() < *wanted as usize) {
        look.pending.push(format!("{} GPU nodes where the recipe says {wanted}", look.census.len()));
    }
    let incomplete = pools.iter().filter(|pool| !pool.complete());
    look.pending.extend(
        incomplete.map(|pool| format!("pool {} of {}: {} of {} ResourceSlices", pool.name, pool.driver, pool.slices, pool.slices_declared)),
    );
    let of_ours = |object: &&Value| object["metadata"]["namespace"].as_str().is_some_and(|namespace| ours.contains(namespace));
    for daemon_set in daemon_sets.iter().filter(of_ours) {
        look.pending.extend(workload_problem(daemon_set).map(|problem| format!("{}: {problem}", ObjectRef::of(daemon_set))));
    }
    look.pending.extend(pods.iter().filter(of_ours).map(|pod| format!("{}: is Pending", ObjectRef::of(pod))));
    look
}

/// Judges the last look and how long there has been rest; pure.
fn judge(look: &Look, rest: Option<Duration>, took: Duration, changes: usize) -> Outcome {
    if look.census.is_empty() {
        return Outcome::error(ErrorReason::NoSubject, format!("no node has advertised a GPU in {} s", took.as_secs()))
            .fix("check that the GPU operator or DRA driver is installed and that the recipe names the right vendor");
    }
    let gpus: u64 = look.census.values().map(|(_, gpus)| gpus).sum();
    let nodes = look.census.len();
    let names: Vec<String> = look.census.keys().cloned().collect();
    let rested = rest.is_some_and(|rest| rest >= limits::CONVERGENCE_DWELL);
    let disclosed = if look.cordoned.is_empty() { String::new() } else { format!(" (cordoned: {})", look.cordoned.join(", ")) };
    let outcome = if rested {
        Outcome::pass(format!("{nodes} GPU nodes with {gpus} GPUs, unchanged for {} s{disclosed}", limits::CONVERGENCE_DWELL.as_secs()))
    } else if look.pending.is_empty() {
        Outcome::fail(format!("GPU nodes still come, go or change: {changes} times in {} s{disclosed}", took.as_secs()))
            .fix("run again when no node is added or replaced")
    } else {
        Outcome::fail(format!("not at rest after {} s: {}{disclosed}", took.as_secs(), look.pending.join("; ")))
            .fix("kubectl describe what is named; its conditions and events say what it waits for")
    };
    let seconds = took.as_secs_f64();
    outcome.seen("nodes", names, nodes).asserted(usize::from(rested), 1).measured("rest_seconds", seconds, "s").artifact(
        "last look",
        Some("kubectl get nodes,daemonsets,resourceslices -A"),
        json!({"census": look.census, "pending": look.pending, "changes": changes}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Verdict;

    fn node(name: &str, ready: &str, taint: Option<&str>) -> Value {
        let taints: Vec<Value> = taint.into_iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        json!({"metadata": {"name": name, "uid": name, "labels": {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.present": "true"}}, "spec": {"taints": taints},
            "status": {"capacity": {"nvidia.com/gpu": "8"}, "allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn pending(nodes: &[Value], wanted: Option<u32>) -> Vec<String> {
        see(nodes, &[], &[], &[], &BTreeSet::new(), wanted).pending
    }

    #[test]
    fn what_is_still_to_come_is_named() {
        assert_eq!(pending(&[node("a", "True", None)], Some(1)), Vec::<String>::new());
        assert_eq!(pending(&[node("a", "False", None)], None), ["node a: Ready is False"]);
        assert_eq!(pending(&[node("a", "True", Some("skyhook.nvidia.com"))], None), ["node a: has taint skyhook.nvidia.com of Skyhook"]);
        assert_eq!(
            pending(&[node("a", "True", Some("dedicated"))], None),
            Vec::<String>::new(),
            "a taint that stays is nothing to wait for"
        );
        assert_eq!(pending(&[node("a", "True", None)], Some(2)), ["1 GPU nodes where the recipe says 2"]);
        let pod = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "gpu-operator"}});
        let seen = see(&[], &[], &[pod], &[], &BTreeSet::from(["gpu-operator"]), None);
        assert_eq!(seen.pending, ["pod gpu-operator/p: is Pending"]);
    }

    #[test]
    fn rest_begins_anew_when_a_node_joins_is_replaced_or_loses_a_gpu() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let look = |nodes: &[Value]| see(nodes, &[], &[], &[], &BTreeSet::new(), None);
        let one = look(&[node("a", "True", None)]);
        let mut replaced = one.clone();
        replaced.census.insert("a".to_owned(), ("another".to_owned(), 8));
        let mut rest = Rest::default();
        assert_eq!(rest.lasts(at(0), &one), Duration::ZERO);
        assert_eq!(rest.lasts(at(9), &one), Duration::from_secs(9));
        assert_eq!(rest.lasts(at(10), &look(&[node("a", "True", None), node("b", "True", None)])), Duration::ZERO);
        assert_eq!(rest.lasts(at(12), &one), Duration::ZERO);
        assert_eq!(rest.lasts(at(14), &replaced), Duration::ZERO);
        assert_eq!(rest.lasts(at(15), &look(&[node("a", "False", None)])), Duration::ZERO);
        assert_eq!(rest.lasts(at(16), &one), Duration::ZERO);
        assert_eq!(rest.changes, 4);
    }

    #[test]
    fn rest_passes_restlessness_fails_and_no_gpu_node_is_an_error() {
        let look = see(&[node("a", "True", None)], &[], &[], &[], &BTreeSet::new(), None);
        let took = Duration::from_secs(20);
        assert_eq!(judge(&look, Some(limits::CONVERGENCE_DWELL), took, 0).guarded().verdict, Verdict::Pass);
        assert_eq!(judge(&look, Some(Duration::from_secs(1)), took, 3).verdict, Verdict::Fail);
        let waiting = Look { pending: vec!["node a: Ready is False".to_owned()], ..look };
        let outcome = judge(&waiting, None, took, 0);
        assert!(outcome.verdict == Verdict::Fail && outcome.message.contains("node a: Ready is False"), "{}", outcome.message);
        assert_eq!(judge(&Look::default(), None, took, 0).verdict, Verdict::Error(ErrorReason::NoSubject));
    }
}
