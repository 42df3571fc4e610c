//! The vendor's GPU operator runs: its Deployment is complete and every one of its pods is ready.

use std::time::Duration;

use serde_json::Value;

use crate::checks::operator::{self, pod_problem};
use crate::checks::settled::running_problem;
use crate::checks::{Check, Cx, Fidelity, Phase, no_more};
use crate::cluster::{Access, ObjectRef};
use crate::error::Result;
use crate::results::Outcome;

pub(super) static CHECK: Check = Check {
    id: "operator-health",
    version: 1,
    title: "The GPU operator runs, all of it",
    requirement: None,
    phase: Phase::Deployment,
    gpus: 0,
    access: &[Access::read("apps", "deployments"), Access::read("", "pods")],
    reads: no_more,
    timeout: Duration::from_secs(60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
The Deployment of the vendor's GPU operator exists, its controller has seen its current generation, and all replicas that it wants, one or more, are up to date
and ready. Each of its pods is ready, and no container of one waits (CrashLoopBackOff, ImagePullBackOff). NVIDIA: `gpu-operator`; AMD: `amd-gpu-operator…`.

# Why it matters
An operator that is down leaves drivers, device plugins and exporters as they were, until the first node joins.

# How to fix it
No Deployment: install the operator. A pod that is not ready: its log, `kubectl logs -n NAMESPACE POD --previous`, and its events.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let deployment = match operator::deployment(cx).await? {
        Ok(deployment) => deployment,
        Err(absent) => return Ok(Outcome::fail(absent).fix("install the GPU operator, or take this check out of the recipe")),
    };
    let pods = operator::pods_of(cx, &deployment).await?;
    Ok(judge(&deployment, &pods))
}

/// Judges the Deployment and its pods; pure.
fn judge(deployment: &Value, pods: &[Value]) -> Outcome {
    let name = ObjectRef::of(deployment).to_string();
    let own = match running_problem(deployment) {
        None if pods.is_empty() => Some("has no pod".to_owned()),
        problem => problem,
    };
    let problems: Vec<String> =
        own.map(|problem| format!("{name}: {problem}")).into_iter().chain(pods.iter().filter_map(pod_problem)).collect();
    let mut seen = vec![name.clone()];
    seen.extend(pods.iter().map(|pod| ObjectRef::of(pod).to_string()));
    let total = seen.len();
    let outcome = if problems.is_empty() {
        Outcome::pass(format!("{name} is complete, {} of {} pods ready", pods.len(), pods.len()))
    } else {
        Outcome::fail(problems.join("; ")).fix("look at the log and the events of what is named")
    };
    outcome.seen("objects", seen, total).asserted(total - problems.len().min(total), total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::Verdict;

    fn deployment(wanted: i64, ready: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "gpu-operator", "namespace": "gpu-operator", "generation": 1}, "spec": {"replicas": wanted},
            "status": {"observedGeneration": 1, "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": ready}})
    }

    fn pod(ready: &str, waiting: Option<&str>) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "gpu-operator"}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "c", "restartCount": 7, "state": waiting.map_or(json!({"running": {}}), |reason| json!({"waiting": {"reason": reason}}))}]}})
    }

    #[test]
    fn a_complete_operator_passes() {
        assert_eq!(judge(&deployment(1, 1), &[pod("True", None)]).guarded().verdict, Verdict::Pass);
    }

    #[test]
    fn one_running_pod_of_two_scaled_to_zero_and_a_crashing_pod_all_fail() {
        let cases = [
            (judge(&deployment(2, 1), &[pod("True", None), pod("False", None)]), "1 of 2 replicas ready"),
            (judge(&deployment(0, 0), &[]), "wants no replica"),
            (judge(&deployment(1, 1), &[]), "has no pod"),
            (judge(&deployment(1, 1), &[pod("False", Some("CrashLoopBackOff"))]), "container c is in CrashLoopBackOff (7 restarts)"),
        ];
        for (outcome, part) in cases {
            assert_eq!(outcome.verdict, Verdict::Fail);
            assert!(outcome.message.contains(part), "{}", outcome.message);
        }
    }
}
