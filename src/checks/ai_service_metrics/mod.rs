//! Prometheus finds a workload that asks for it, and counts its requests exactly.

mod prometheus;

use std::time::{Duration, Instant};

use backon::Retryable;
use serde_json::{Value, json};

use crate::checks::errand::{self, Silence};
use crate::checks::{Check, Cx, Fidelity, Phase, no_more, operator, probe};
use crate::cluster::scratch::RUN;
use crate::cluster::{Access, ObjectRef, Place, Query, Scratch};
use crate::error::Result;
use crate::limits;
use crate::results::{ErrorReason, Outcome};

use prometheus::{Prometheus, Target};

pub(super) static CHECK: Check = Check {
    id: "ai-service-metrics",
    version: 1,
    title: "Prometheus finds a workload that asks for it, and counts its requests exactly",
    requirement: Some("ai_service_metrics"),
    phase: Phase::Conformance,
    gpus: 0,
    access: &[
        Access::read("", "pods"),
        Access::read("", "events"),
        Access::read("monitoring.coreos.com", "prometheuses"),
        Access::forward(Place::Cluster),
        Access::scratch("", "pods"),
        Access::scratch("monitoring.coreos.com", "podmonitors"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(420),
    fidelity: Fidelity::Api,
    behavioural: true,
    docs: "\
# What it checks
A pod of Prometheus is ready (label app.kubernetes.io/name=prometheus), answers its API on port 9090, asked through the API server, and has targets that are up.
Then a pod that serves metrics, with the usual annotations prometheus.io/scrape, port and path, and, where the Prometheus operator's kinds are served, a
PodMonitor with the labels that Prometheus selects: 17 requests are made to it, and within four minutes Prometheus must have a counter with the label
seatrial_dev_run of this run that says exactly 17. The image is quay.io/brancz/prometheus-example-app; --image-mirror takes it from elsewhere.

# Why it matters
CNCF AI conformance requires that metrics of AI services in Prometheus' format are found and collected. A Prometheus that shows GPUs may still drop what users
bring, or lose the labels by which they find it.

# How to fix it
Not found: the selectors of Prometheus for PodMonitors, or a scrape configuration for annotated pods. Found and not scraped: network policies between Prometheus
and pods; its page of targets names the error. Without the label: relabelling that drops labels of pods.",
    run: |cx| Box::pin(run(cx)),
};

/// Serves its own metrics; counts each request for `/` in `http_requests_total`.
const IMAGE: &str = "quay.io/brancz/prometheus-example-app:v0.5.0";
/// Its port.
const PORT: u16 = 8080;
/// Labels of Prometheus' pods, as its operator and its charts set them.
const PODS: &str = "app.kubernetes.io/name=prometheus";
/// The port of Prometheus.
const API: u16 = 9090;
/// Requests that are made: a number that nothing else comes to by itself.
const REQUESTS: u32 = 17;

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let pods = cx.cluster.list("v1", "Pod", &Query::all().labelled(PODS)).await?;
    let Some(pod) = pods.iter().find(|pod| operator::pod_problem(pod).is_none()) else {
        let problem = pods.first().and_then(operator::pod_problem);
        let message = problem.unwrap_or_else(|| format!("there is no pod labelled {PODS}"));
        return Ok(Outcome::fail(format!("no Prometheus is ready: {message}"))
            .fix("install Prometheus, or look at its pod")
            .asserted(0, 1));
    };
    let prometheus = Prometheus { cluster: &cx.cluster, pod: ObjectRef::of(pod), port: API };
    let up = up(&prometheus).await?;
    let name = prometheus.pod.to_string();
    if up < 1.0 {
        let outcome = Outcome::fail(format!("{name} has no target that is up")).fix("look at its page of targets");
        return Ok(outcome.seen("Prometheus", vec![name], 1).asserted(0, 1));
    }
    let Some(scratch) = cx.scratch else {
        return Ok(Outcome::pass(format!("{name} has {up} targets that are up")).seen("Prometheus", vec![name], 1).asserted(1, 1));
    };
    let mut made = Vec::new();
    let outcome = Trial { cx, scratch, prometheus: &prometheus }.observe(&mut made).await;
    let passed = outcome.as_ref().is_ok_and(|outcome| outcome.verdict == crate::results::Verdict::Pass);
    for object in &made {
        scratch.dispose(object, passed).await?;
    }
    let outcome = outcome?;
    let total = outcome.assertions.total + 1;
    let held = outcome.assertions.passed + 1;
    Ok(outcome.seen("Prometheus", vec![name], 1).asserted(held, total).measured("targets_up", up, "1"))
}

/// Targets that are up, as soon as there is one: one that has just started has scraped nothing yet.
async fn up(prometheus: &Prometheus<'_>) -> Result<f64> {
    let look = || async {
        match prometheus.query("count(up == 1)").await {
            Ok(values) => values.first().copied().filter(|count| *count > 0.0).ok_or(Look::NotYet(None)),
            Err(error) => Err(Look::Over(error)),
        }
    };
    match look.retry(backoff(limits::TARGETS_UP)).when(|look| matches!(look, Look::NotYet(_))).await {
        Ok(count) => Ok(count),
        Err(Look::NotYet(_)) => Ok(0.0),
        Err(Look::Over(error)) => Err(error),
    }
}

/// Looks for so long, at growing distances.
fn backoff(limit: Duration) -> backon::ExponentialBuilder {
    backon::ExponentialBuilder::default()
        .with_min_delay(limits::METRICS_LOOK_MIN)
        .with_max_delay(limits::BACKOFF_MAX)
        .with_total_delay(Some(limit))
        .without_max_times()
}

struct Trial<'a> {
    cx: &'a Cx<'a>,
    scratch: &'a Scratch,
    prometheus: &'a Prometheus<'a>,
}

impl Trial<'_> {
    async fn observe(&self, made: &mut Vec<ObjectRef>) -> Result<Outcome> {
        let cx = self.cx;
        if let Some(monitor) = self.monitor().await? {
            made.push(self.scratch.create(monitor).await?);
        }
        let pod = match errand::create(self.scratch, self.workload()).await {
            Ok(pod) => pod,
            Err(Silence::Refused(error)) => return Ok(Outcome::from(error)),
            Err(Silence::Kept(outcome)) => return Ok(*outcome),
        };
        made.push(pod.clone());
        if let Err(silence) = errand::running(cx, &pod).await {
            return Ok(match silence {
                Silence::Refused(error) => Outcome::from(error),
                Silence::Kept(outcome) => *outcome,
            });
        }
        let mut way = cx.cluster.forward(&pod, PORT);
        for number in 1..=REQUESTS {
            let answer = way.get("/").await?;
            if !answer.status.is_success() {
                let message = format!("{pod} answers {} to request {number} of {REQUESTS}", answer.status.as_u16());
                return Ok(Outcome::error(ErrorReason::Unavailable, message).fix("look at that pod's log"));
            }
        }
        cx.waiting(&format!("Prometheus to count {REQUESTS} requests to {pod}"));
        let clock = Instant::now();
        let counted = self.counted().await?;
        let seconds = clock.elapsed().as_secs_f64();
        if counted == Some(f64::from(REQUESTS)) {
            let outcome =
                Outcome::pass(format!("{} has counted exactly {REQUESTS} requests to {pod} after {seconds:.0}s", self.prometheus.pod));
            return Ok(outcome
                .asserted(1, 1)
                .measured("collection_seconds", seconds.round(), "s")
                .held_against(limits::SERVICE_METRICS.as_secs_f64()));
        }
        let target = self.prometheus.target(&pod).await?;
        Ok(missed(counted, &target, &self.prometheus.pod, &pod).asserted(0, 1))
    }

    /// What Prometheus has counted of this run, as soon as it is as much as there is or more, or when the time is over.
    async fn counted(&self) -> Result<Option<f64>> {
        let query = format!("sum(http_requests_total{{seatrial_dev_run=\"{}\"}})", self.scratch.run());
        let look = || async {
            match self.prometheus.query(&query).await {
                Ok(values) => match values.first().copied() {
                    Some(count) if count >= f64::from(REQUESTS) => Ok(Some(count)),
                    count => Err(Look::NotYet(count)),
                },
                Err(error) => Err(Look::Over(error)),
            }
        };
        match look.retry(backoff(limits::SERVICE_METRICS)).when(|look| matches!(look, Look::NotYet(_))).await {
            Ok(count) | Err(Look::NotYet(count)) => Ok(count),
            Err(Look::Over(error)) => Err(error),
        }
    }

    fn workload(&self) -> Value {
        let resources = json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}});
        let mut spec = probe::pod_spec(self.cx.vendor, self.cx.pods, IMAGE, &[], &resources);
        spec["containers"][0]["ports"] = json!([{"name": "metrics", "containerPort": PORT}]);
        let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": PORT.to_string(), "prometheus.io/path": "/metrics"});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "service-metrics", "annotations": annotations}, "spec": spec})
    }

    /// The PodMonitor by which Prometheus' operator is told of the pod; none where there is no such operator.
    async fn monitor(&self) -> Result<Option<Value>> {
        let served = self.cx.cluster.api_groups().await?;
        if !served.get("monitoring.coreos.com").is_some_and(|versions| versions.iter().any(|version| version == "v1")) {
            return Ok(None);
        }
        let all = self.cx.cluster.list("monitoring.coreos.com/v1", "Prometheus", &Query::all()).await?;
        let labels = all.iter().find_map(|one| one["spec"]["podMonitorSelector"]["matchLabels"].as_object()).cloned().unwrap_or_default();
        Ok(Some(json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "service-metrics", "labels": labels},
            "spec": {
                "selector": {"matchLabels": {RUN: self.scratch.run()}},
                "podTargetLabels": [RUN],
                "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "5s"}],
            },
        })))
    }
}

/// Why a look was not the last one, or was.
enum Look {
    NotYet(Option<f64>),
    Over(crate::error::Error),
}

/// What is wrong where the count is not the number of requests; pure.
fn missed(counted: Option<f64>, target: &Target, prometheus: &ObjectRef, pod: &ObjectRef) -> Outcome {
    let waited = limits::SERVICE_METRICS.as_secs();
    match (counted, target) {
        (Some(count), _) if count > f64::from(REQUESTS) => {
            Outcome::fail(format!("{prometheus} counts {count} requests to {pod}, {REQUESTS} were made"))
                .fix("is it scraped twice, by two jobs? look at Prometheus' page of targets")
        }
        (Some(count), _) => Outcome::fail(format!("{prometheus} counts {count} of {REQUESTS} requests to {pod} after {waited} s"))
            .fix("look at how often Prometheus scrapes, and at its page of targets"),
        (None, Target::Absent) => Outcome::fail(format!("{prometheus} has not found {pod} in {waited} s"))
            .fix("look at the selectors of Prometheus for PodMonitors, or add a scrape configuration for annotated pods"),
        (None, Target::Down(why)) => Outcome::fail(format!("{prometheus} has found {pod} and cannot scrape it: {why}"))
            .fix("look at network policies between Prometheus and pods"),
        (None, Target::Up) => {
            Outcome::fail(format!("{prometheus} scrapes {pod}, and has no counter of it with the label seatrial_dev_run"))
                .fix("look at relabelling that drops labels of pods, or metrics")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Verdict;

    #[test]
    fn every_way_of_missing_the_count_is_told_from_the_others() {
        let pod = |name: &str| ObjectRef::new("v1", "Pod", Some("a"), name);
        let say = |counted: Option<f64>, target: Target| {
            let outcome = missed(counted, &target, &pod("prometheus-0"), &pod("service-metrics"));
            assert!(outcome.verdict == Verdict::Fail && outcome.fix.is_some());
            outcome.message
        };
        assert!(say(Some(18.0), Target::Up).contains("counts 18 requests to pod a/service-metrics, 17 were made"));
        assert!(say(Some(16.0), Target::Up).contains("counts 16 of 17 requests"));
        assert!(say(None, Target::Absent).contains("has not found pod a/service-metrics"));
        assert!(say(None, Target::Down("connection refused".to_owned())).ends_with("cannot scrape it: connection refused"));
        assert!(say(None, Target::Up).contains("no counter of it with the label seatrial_dev_run"));
    }

    #[test]
    fn the_waits_fit_into_the_timeout() {
        let waits = limits::TARGETS_UP + limits::ERRAND_RUNNING + limits::SERVICE_METRICS + limits::CLEANUP;
        assert!(waits < CHECK.timeout, "To fix: raise the timeout above {waits:?}");
    }
}
