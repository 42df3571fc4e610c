//! GPU nodes come when pods wait for them, and go when nobody needs them.

mod pools;
mod trial;
mod why;

use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::checks::settled::workload_problem;
use crate::checks::{Check, Cx, Fidelity, Phase, no_more};
use crate::cluster::{Access, ObjectRef, Query};
use crate::error::{Kind, Result};
use crate::limits;
use crate::recipe::Recipe;
use crate::results::{Outcome, Verdict};
use pools::{Pool, Seen};
use trial::Trial;

pub(super) static CHECK: Check = Check {
    id: "cluster-autoscaling",
    version: 1,
    title: "GPU nodes come for pods that wait for them, and go when nobody needs them",
    requirement: Some("cluster_autoscaling"),
    phase: Phase::Conformance,
    gpus: 0,
    access: &[
        Access::read("", "nodes"),
        Access::read("", "pods"),
        Access::read("", "events"),
        Access::read("apps", "deployments"),
        Access::read("coordination.k8s.io", "leases"),
        Access::read("karpenter.sh", "nodepools"),
        Access::read("karpenter.sh", "nodeclaims"),
        Access::scratch("", "pods"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(
        limits::NODE_ADDED.as_secs() + limits::NODE_REMOVED.as_secs() + 2 * limits::NODE_DWELL.as_secs() + 2 * limits::CLEANUP.as_secs() + 60,
    ),
    fidelity: Fidelity::Api,
    behavioural: true,
    docs: "\
# What it checks
What autoscales: the NodePools of Karpenter that are for GPUs (by limits, taints, labels, requirements or nodes), the pools under `spec.autoscaling.pools` of
the recipe, else cluster-autoscaler, found by its Deployment or its Lease. A pool that is not ready, that may not grow, or that never lets an empty node go is told
before anything is tried.
Then every pool is tried, all side by side: a pod that asks for its GPUs and may run on no node that is there already. A node must come that was never seen
before (by UID) and that is of the right type: its GPUs, its labels, the requirements of its NodePool. The pod must run on it, and the node must stay for 12 s. The pod
is removed; the node must go, and after that nothing may come or go in the pool for 12 s. Seconds to the node, to the running pod and to its going are measured.
**On a real cloud this buys one node per pool for some minutes.**

# Why it matters
GPUs are too dear to wait for and too dear to leave idle. CNCF AI conformance requires that groups of nodes with accelerators are scaled up and down on demand, where a
platform scales nodes at all.

# How to fix it
No node: the autoscaler's log, the pool's limits, the node class, the quota of the cloud. Wrong type: what the pool may make. A node that stays: consolidation,
disruption budgets, pods that may not be evicted. A pool at its limit is `error(busy)`: run again when it has fewer nodes. A provider that is found in none of
these ways is a skip; name its pools in the recipe.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let seen = look(cx).await?;
    let declared = cx.recipe.spec.autoscaling.as_ref();
    let (pools, left_out) = match pools::find(&seen, declared, installed(cx.recipe), cx.vendor) {
        Ok(found) => found,
        Err(outcome) => return Ok(*outcome),
    };
    let tried = join_all(pools.iter().map(|pool| try_pool(cx, pool, &seen.nodes))).await;
    let tried: Vec<(&Pool, Outcome)> = pools.iter().zip(tried).collect();
    Ok(combine(tried, &left_out))
}

/// One pool: what is already known against it, else a trial where trials are allowed.
async fn try_pool(cx: &Cx<'_>, pool: &Pool, nodes: &[Value]) -> Outcome {
    if let Some(problem) = &pool.problem {
        return problem.clone().asserted(0, 1);
    }
    let Some(scratch) = cx.scratch else {
        return Outcome::pass(format!("pool {} may grow and shrink", pool.name)).asserted(1, 1);
    };
    Trial { cx, scratch, pool, before: nodes }
        .run()
        .await
        .unwrap_or_else(|error| Outcome::from(error.context(format!("try pool {}", pool.name))))
}

/// One outcome of all pools: the worst verdict, and what each came to.
fn combine(tried: Vec<(&Pool, Outcome)>, left_out: &[String]) -> Outcome {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Fail => 0,
        Verdict::Error(_) => 1,
        Verdict::NotRun(_) => 2,
        Verdict::Skip(_) => 3,
        Verdict::Pass => 4,
    };
    let Some(worst) = tried.iter().map(|(_, outcome)| outcome).min_by_key(|outcome| rank(outcome.verdict)) else {
        return Outcome::error(crate::results::ErrorReason::NoSubject, "there is no pool to try");
    };
    let verdict = worst.verdict;
    let told: Vec<&str> = tried.iter().filter(|(_, one)| one.verdict == verdict).map(|(_, one)| one.message.as_str()).collect();
    let disclosed = if left_out.is_empty() { String::new() } else { format!(" (not tried: {})", left_out.join(", ")) };
    let names = tried.iter().map(|(pool, _)| pool.name.clone()).collect();
    let (passed, total) =
        tried.iter().fold((0, 0), |(passed, total), (_, one)| (passed + one.assertions.passed, total + one.assertions.total));
    let mut outcome =
        Outcome::new(verdict, format!("{}{disclosed}", told.join("; "))).seen("pools", names, tried.len()).asserted(passed, total);
    outcome.fix = tried.iter().find(|(_, one)| one.verdict == verdict).and_then(|(_, one)| one.fix.clone());
    for metric in ["node_seconds", "running_seconds", "gone_seconds"] {
        let of =
            |one: &Outcome| one.measurements.iter().find(|measurement| measurement.metric == metric).map(|measurement| measurement.value);
        let samples: Vec<(String, f64)> = tried.iter().filter_map(|(pool, one)| Some((pool.name.clone(), of(one)?))).collect();
        if let Some(slowest) = samples.iter().map(|(_, value)| *value).reduce(f64::max) {
            outcome = outcome.measured(metric, slowest, "s").sampled(samples);
        }
    }
    let each: Vec<Value> =
        tried.iter().map(|(pool, one)| json!({"pool": pool.name, "verdict": one.verdict.word(), "message": one.message})).collect();
    outcome = outcome.artifact("pools", Some("kubectl get nodepools,nodeclaims,nodes -o yaml"), json!(each));
    outcome.artifacts.extend(tried.into_iter().flat_map(|(_, one)| one.artifacts));
    outcome
}

/// True if the recipe says that an autoscaler of nodes is installed.
fn installed(recipe: &Recipe) -> bool {
    recipe
        .spec
        .components
        .iter()
        .any(|component| component.name.starts_with("karpenter") || component.name.starts_with("cluster-autoscaler"))
}

async fn look(cx: &Cx<'_>) -> Result<Seen> {
    let everything = Query::all();
    let groups = cx.cluster.api_groups().await?;
    let version = groups.get("karpenter.sh").and_then(|versions| versions.first()).map(|version| format!("karpenter.sh/{version}"));
    let node_pools = match version {
        Some(version) => match cx.cluster.list(&version, "NodePool", &everything).await {
            Ok(found) => Some(found),
            // The group alone may be served for other kinds.
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let (nodes, deployments, leases) = tokio::try_join!(
        cx.cluster.list("v1", "Node", &everything),
        cx.cluster.list("apps/v1", "Deployment", &everything),
        cx.cluster.list("coordination.k8s.io/v1", "Lease", &everything),
    )?;
    Ok(Seen { node_pools, others: cluster_autoscalers(&deployments, &leases, cx.cluster.now()), nodes })
}

/// Deployments and Leases of cluster-autoscaler, each with what is wrong with it; managed ones have a Lease only.
fn cluster_autoscalers(deployments: &[Value], leases: &[Value], now: Timestamp) -> Vec<(String, Option<String>)> {
    let labelled = |object: &Value| {
        let labels = &object["metadata"]["labels"];
        [&labels["app.kubernetes.io/name"], &labels["k8s-app"], &labels["app"]]
            .iter()
            .filter_map(|label| label.as_str())
            .any(|label| label.ends_with("cluster-autoscaler"))
    };
    let named = |object: &Value| object["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("cluster-autoscaler"));
    let mut found: Vec<(String, Option<String>)> = deployments
        .iter()
        .filter(|object| labelled(object) || named(object))
        .map(|object| {
            let asleep = object["spec"]["replicas"] == 0;
            let problem = if asleep { Some("wants no replica, so nothing of it runs".to_owned()) } else { workload_problem(object) };
            (ObjectRef::of(object).to_string(), problem)
        })
        .collect();
    for lease in leases.iter().filter(|lease| lease["metadata"]["name"] == "cluster-autoscaler") {
        let renewed = lease["spec"]["renewTime"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let lasts = SignedDuration::from_secs(lease["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(15) * 2);
        let problem = match renewed {
            Some(renewed) if renewed + lasts >= now => None,
            Some(renewed) => Some(format!("nobody has renewed it since {renewed}, so no cluster-autoscaler runs")),
            None => Some("nobody has ever renewed it, so no cluster-autoscaler runs".to_owned()),
        };
        found.push((ObjectRef::of(lease).to_string(), problem));
    }
    // What is wrong is told first.
    found.sort_by_key(|(_, problem)| problem.is_none());
    found
}

#[cfg(test)]
mod tests {
    use super::trial::STATEMENTS;
    use super::*;
    use crate::results::ErrorReason;

    fn pool(name: &str) -> Pool {
        Pool { name: name.to_owned(), ..Pool::default() }
    }

    fn gone(seconds: f64) -> Outcome {
        Outcome::pass("came and went").asserted(STATEMENTS, STATEMENTS).measured("gone_seconds", seconds, "s")
    }

    #[test]
    fn the_worst_pool_decides_and_every_pool_is_told() {
        let (a, b) = (pool("a"), pool("b"));
        let good = combine(vec![(&a, gone(3.0)), (&b, gone(5.0))], &["cpu (not for GPUs)".to_owned()]).guarded();
        assert_eq!(good.verdict, Verdict::Pass, "{}", good.message);
        assert_eq!((good.measurements[0].value, good.measurements[0].samples.len()), (5.0, 2));
        assert!(good.message.contains("(not tried: cpu (not for GPUs))"), "{}", good.message);
        let busy = || Outcome::error(ErrorReason::Busy, "b is full").asserted(0, 1);
        assert_eq!(combine(vec![(&a, gone(3.0)), (&b, busy())], &[]).verdict, Verdict::Error(ErrorReason::Busy));
        let bad = combine(vec![(&a, Outcome::fail("a stays").fix("look")), (&b, busy())], &[]);
        assert_eq!((bad.verdict, bad.message.as_str(), bad.fix.as_deref()), (Verdict::Fail, "a stays", Some("look")));
        assert_eq!(bad.artifacts[0].data[1]["message"], "b is full");
    }

    #[test]
    fn a_managed_cluster_autoscaler_is_known_by_its_lease_and_a_dead_one_by_that_nobody_renews_it() {
        let now: Timestamp = "2026-11-22T10:01:00Z".parse().expect("a time");
        let lease = |renewed: &str| json!({"kind": "Lease", "metadata": {"name": "cluster-autoscaler", "namespace": "kube-system"}, "spec": {"renewTime": renewed, "leaseDurationSeconds": 15}});
        let alive = cluster_autoscalers(&[], &[lease("2026-11-22T10:00:50.000000Z")], now);
        assert_eq!(alive, [("lease kube-system/cluster-autoscaler".to_owned(), None)]);
        let dead = cluster_autoscalers(&[], &[lease("2026-11-22T09:00:50.000000Z")], now);
        assert!(dead[0].1.as_ref().is_some_and(|problem| problem.contains("nobody has renewed it since")), "{dead:?}");
        let asleep = json!({"kind": "Deployment", "metadata": {"name": "aws-cluster-autoscaler", "namespace": "kube-system"}, "spec": {"replicas": 0}});
        assert!(cluster_autoscalers(&[asleep], &[], now)[0].1.is_some());
    }

    #[test]
    fn the_waits_of_a_trial_fit_into_the_timeout() {
        // Up, the node stays, the pod goes, down, at rest, the pod's removal.
        let waits = limits::NODE_ADDED + limits::NODE_DWELL + limits::CLEANUP + limits::NODE_REMOVED + limits::NODE_DWELL + limits::CLEANUP;
        assert!(waits < CHECK.timeout, "To fix: raise the timeout of cluster-autoscaling above {waits:?}");
    }
}
