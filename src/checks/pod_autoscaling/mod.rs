//! The number of GPU pods follows a metric, up and down, and stays while the metric does.

mod judge;
mod trial;

use std::time::Duration;

use crate::checks::{Check, Cx, Fidelity, Phase, no_more};
use crate::cluster::{Access, Cluster, Place, Query};
use crate::error::Result;
use crate::limits;
use crate::recipe::{Load, MetricSource, Recipe, ScalingMetric};
use crate::results::{ErrorReason, Outcome};
use trial::Trial;

/// An image with a shell, for the load that needs no GPU.
const SHELL_IMAGE: &str = "registry.k8s.io/e2e-test-images/busybox:1.36.1-1";

pub(super) static CHECK: Check = Check {
    id: "pod-autoscaling",
    version: 1,
    title: "The number of GPU pods follows a metric, up and down",
    requirement: Some("pod_autoscaling"),
    phase: Phase::Conformance,
    gpus: 2,
    access: &[
        Access::read("apiregistration.k8s.io", "apiservices"),
        Access::read("", "nodes"),
        Access::read("", "pods"),
        Access::read("", "events"),
        Access::new("apps", "deployments", &["create", "delete", "get", "list", "patch", "watch"], Place::Scratch),
        Access::scratch("autoscaling", "horizontalpodautoscalers"),
        Access::scratch("resource.k8s.io", "resourceclaimtemplates"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(
        3 * limits::SCALING_WINDOW.as_secs() + 2 * limits::SCALING_HOLD.as_secs() + 3 * limits::CLEANUP.as_secs() + 30,
    ),
    fidelity: Fidelity::Api,
    behavioural: true,
    docs: "\
# What it checks
The API of the metric is served and available: `custom.metrics.k8s.io` or `external.metrics.k8s.io` for the metric of the recipe (`spec.autoscaling.metric`),
`metrics.k8s.io` for CPU, which is taken where the recipe names none.
Then a Deployment of one GPU pod and a HorizontalPodAutoscaler (autoscaling/v2) for 1 to 2 pods, without a stabilisation window: without load there must be
one pod, and the metric must be read. The pods are put under load: a second must come and be ready. As long as the load stays (45 s), none may go. The load is
taken away: the second pod must go, and none may come back while it stays away. Load is a container of the recipe; for CPU it is a busy loop; simulated pods
have an annotation that kwok's usage (`kwok.x-k8s.io/usage-cpu`) or an adapter (`sim.seatrial.dev/metric`) reads. Seconds up and down are measured.

# Why it matters
A model server that does not get a second replica under load is slow; one that does not give it back wastes a GPU. CNCF AI conformance requires that pods with
accelerators scale on metrics, custom ones too: name such a metric in the recipe to show that.

# How to fix it
Not served: metrics-server or an adapter. Cannot be read: the adapter's rule for the metric, and its labels `namespace` and `pod`. Does not follow: the metric is
not of these pods, or old. Flaps: the metric is noisy, or drops to nothing between two scrapes. No place for the second pod is `error(busy)`.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let services = cx.cluster.list("apiregistration.k8s.io/v1", "APIService", &Query::all()).await?;
    let metric = metric(cx.recipe);
    if let Some(problem) = judge::not_served(&services, metric.source) {
        return Ok(problem.asserted(0, 1));
    }
    let Some(load) = load(&metric, cx.simulated) else {
        let message = format!("nothing is known that makes {} rise, so it cannot be told whether pods follow it", metric.name);
        return Ok(Outcome::error(ErrorReason::NoSubject, message).fix("say it under spec.autoscaling.metric.load of the recipe"));
    };
    let group = judge::group(metric.source);
    let Some(scratch) = cx.scratch else {
        return Ok(Outcome::pass(format!("{group} is available")).seen("metrics APIs", vec![group.to_owned()], 1).asserted(1, 1));
    };
    let plugin = offers(&cx.cluster, &cx.vendor.resource).await?;
    Trial { cx, scratch, metric: &metric, load: &load, plugin }.run().await
}

/// The recipe's metric, else the CPU of the pods.
fn metric(recipe: &Recipe) -> ScalingMetric {
    recipe.spec.autoscaling.as_ref().and_then(|declared| declared.metric.clone()).unwrap_or_else(|| ScalingMetric {
        source: MetricSource::Resource,
        name: "cpu".to_owned(),
        selector: std::collections::BTreeMap::new(),
        target: 50,
        gpus_per_pod: 1,
        load: None,
        window_seconds: None,
        hold_seconds: None,
    })
}

/// What makes the metric rise; none where nobody knows.
fn load(metric: &ScalingMetric, simulated: bool) -> Option<Load> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let busy = || Load { image: SHELL_IMAGE.to_owned(), command: words(&["sh", "-c", "while :; do :; done"]) };
    match &metric.load {
        Some(load) => Some(load.clone()),
        None if simulated || (metric.source == MetricSource::Resource && metric.name == "cpu") => Some(busy()),
        None => None,
    }
}

/// True if a node offers this resource to pods.
async fn offers(cluster: &Cluster, resource: &str) -> Result<bool> {
    let nodes = cluster.list("v1", "Node", &Query::all()).await?;
    Ok(nodes.iter().any(|node| node["status"]["allocatable"][resource].as_str().is_some_and(|number| number != "0")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_load_that_is_known_to_raise_the_metric_is_tried() {
        let named = |metric: Value| serde_json::from_value::<ScalingMetric>(metric).expect("is a metric");
        let gpu = named(json!({"source": "pods", "name": "gpu_utilization", "target": 50}));
        assert!(load(&gpu, false).is_none() && load(&gpu, true).is_some());
        assert!(load(&named(json!({"source": "resource", "name": "cpu", "target": 50})), false).is_some());
        assert!(load(&named(json!({"source": "resource", "name": "memory", "target": 50})), false).is_none());
        let own = named(json!({"source": "pods", "name": "x", "target": 50, "load": {"image": "burn:1", "command": ["burn"]}}));
        assert_eq!(load(&own, false).map(|load| load.image).as_deref(), Some("burn:1"));
    }

    #[test]
    fn the_waits_of_the_trial_fit_into_its_timeout() {
        // At rest, up, stays, down, stays, the removal of autoscaler, deployment and pods.
        let waits = 3 * limits::SCALING_WINDOW + 2 * limits::SCALING_HOLD + 3 * limits::CLEANUP;
        assert!(waits < CHECK.timeout, "To fix: raise the timeout of pod-autoscaling above {waits:?}");
    }
}
