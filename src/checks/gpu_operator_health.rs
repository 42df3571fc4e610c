//! What the GPU operator installs is there: the operator itself, its policy is ready, its exporter runs on every node that it should.

use std::time::Duration;

use serde_json::Value;

use crate::checks::operator::{self, WORKLOADS};
use crate::checks::settled::running_problem;
use crate::checks::{Check, Cx, Fidelity, Phase};
use crate::cluster::{Access, ObjectRef, Query};
use crate::error::Result;
use crate::results::Outcome;
use crate::vendor::{Vendor, is_one_of};

pub(super) static CHECK: Check = Check {
    id: "gpu-operator-health",
    version: 1,
    title: "The GPU operator has installed what its policy says",
    requirement: None,
    phase: Phase::Conformance,
    gpus: 0,
    access: WORKLOADS,
    reads: |_, vendor| vec![Access::read_kind(&vendor.operator.policy.api_version, &vendor.operator.policy.kind)],
    timeout: Duration::from_secs(60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
The operator's Deployment is complete. Its policy exists (NVIDIA: ClusterPolicy, AMD: DeviceConfig); where the operator keeps a word for it, each policy
says that it is ready. The DaemonSet of the metrics exporter is there, wants one pod or more, and all that it wants are ready.

# Why it matters
A policy that is not ready names a driver, toolkit or plugin that did not come up; jobs then fail one by one, each for another reason.

# How to fix it
`kubectl describe` the policy: its conditions name the component. For the exporter, look at its pods on the nodes where it is not ready.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let everywhere = Query::all();
    let (deployments, daemon_sets, policies) = tokio::try_join!(
        cx.cluster.list("apps/v1", "Deployment", &everywhere),
        cx.cluster.list("apps/v1", "DaemonSet", &everywhere),
        operator::policies(cx),
    )?;
    Ok(judge(&deployments, &daemon_sets, &policies, cx.vendor))
}

/// Judges the operator and what it installed; pure.
fn judge(deployments: &[Value], daemon_sets: &[Value], policies: &[Value], vendor: &Vendor) -> Outcome {
    let spec = &vendor.operator;
    let mut seen = Vec::new();
    let mut problems = Vec::new();
    let mut look = |object: &Value, problem: Option<String>| {
        let name = ObjectRef::of(object).to_string();
        problems.extend(problem.map(|problem| format!("{name}: {problem}")));
        seen.push(name);
    };
    let mut absent = Vec::new();
    match operator::find(deployments, vendor) {
        Some(deployment) => look(deployment, running_problem(deployment)),
        None => absent.push(operator::absent(vendor)),
    }
    for policy in policies {
        let state = policy["status"]["state"].as_str();
        let problem = spec.ready_problem(state);
        look(policy, problem);
    }
    if policies.is_empty() {
        absent.push(format!("there is no {}: the operator was not told what to install", spec.policy.kind));
    }
    let in_its_namespace =
        |object: &&Value| object["metadata"]["namespace"].as_str().is_some_and(|name| spec.namespaces.iter().any(|known| known == name));
    let named = |object: &&Value| object["metadata"]["name"].as_str().is_some_and(|name| is_one_of(name, &spec.exporters));
    match daemon_sets.iter().filter(in_its_namespace).find(named) {
        Some(exporter) => look(exporter, running_problem(exporter)),
        None => absent.push(format!("there is no DaemonSet {} in namespace {}", spec.exporters.join(" or "), spec.namespaces.join(" or "))),
    }
    let total = seen.len() + absent.len();
    problems.extend(absent);
    let outcome = if problems.is_empty() {
        Outcome::pass(format!("operator, {} {} and exporter are ready", policies.len(), spec.policy.kind))
    } else {
        Outcome::fail(problems.join("; ")).fix("kubectl describe what is named; its conditions and events say why")
    };
    outcome.seen("objects", seen, total).asserted(total - problems.len().min(total), total)
}

impl crate::vendor::Operator {
    /// What a policy's `status.state` is wrong with, if anything.
    fn ready_problem(&self, state: Option<&str>) -> Option<String> {
        let ready = self.policy.ready.as_deref()?;
        match state {
            Some(state) if state == ready => None,
            Some(state) => Some(format!("its state is {state}, not {ready}")),
            None => Some("has no state yet".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::Verdict;
    use crate::vendor;

    fn judged(state: &str, exporter_ready: i64, exporter_wanted: i64) -> Outcome {
        let deployment = json!({"kind": "Deployment", "metadata": {"name": "gpu-operator", "namespace": "gpu-operator", "generation": 1},
            "spec": {"replicas": 1}, "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}});
        let exporter = json!({"kind": "DaemonSet", "metadata": {"name": "nvidia-dcgm-exporter", "namespace": "gpu-operator", "generation": 1},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": exporter_wanted, "updatedNumberScheduled": exporter_wanted, "numberReady": exporter_ready}});
        let policy = json!({"kind": "ClusterPolicy", "metadata": {"name": "cluster-policy"}, "status": {"state": state}});
        judge(&[deployment], &[exporter], &[policy], vendor::named("nvidia").expect("is known")).guarded()
    }

    #[test]
    fn a_ready_operator_passes_and_what_is_not_ready_is_named() {
        assert_eq!(judged("ready", 2, 2).verdict, Verdict::Pass);
        let cases = [
            (judged("notReady", 2, 2), "its state is notReady"),
            (judged("ready", 1, 2), "1 of 2"),
            (judged("ready", 0, 0), "wants no replica"),
        ];
        for (outcome, part) in cases {
            assert_eq!(outcome.verdict, Verdict::Fail);
            assert!(outcome.message.contains(part), "{}", outcome.message);
        }
    }

    #[test]
    fn an_operator_that_is_not_there_fails_with_all_that_is_missing() {
        for name in ["nvidia", "amd"] {
            let outcome = judge(&[], &[], &[], vendor::named(name).expect("is known"));
            assert_eq!(outcome.verdict, Verdict::Fail);
            assert_eq!(outcome.message.matches("there is no").count(), 3, "{}", outcome.message);
        }
    }
}
