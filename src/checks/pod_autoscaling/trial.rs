//! One Deployment under one autoscaler: at rest, under load, at rest again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::judge::{Now, Way, reading, why};
use crate::checks::Cx;
use crate::checks::probe::{self, IDLE_IMAGE};
use crate::checks::unbroken::broken_within;
use crate::cluster::scratch::OWNER;
use crate::cluster::{ObjectRef, Query, Scratch};
use crate::error::{Kind, Result};
use crate::limits;
use crate::recipe::{Load, MetricSource, ScalingMetric};
use crate::results::{Outcome, Verdict};

/// Statements: read at rest, up, stays up, down, stays down.
const STATEMENTS: usize = 5;
/// The name of everything that is made.
const NAME: &str = "pod-autoscaling";
/// The annotation by which an adapter of a simulated cluster plays a metric of a pod.
const PLAYED: &str = "sim.seatrial.dev/metric";
/// The annotations by which kwok plays what a pod uses.
const PLAYED_CPU: &str = "kwok.x-k8s.io/usage-cpu";
const PLAYED_MEMORY: &str = "kwok.x-k8s.io/usage-memory";

/// The trial.
pub(super) struct Trial<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) scratch: &'a Scratch,
    pub(super) metric: &'a ScalingMetric,
    pub(super) load: &'a Load,
    /// True if GPUs are asked for as a resource of nodes, not by claims.
    pub(super) plugin: bool,
}

impl Trial<'_> {
    /// Tries it and removes everything, whatever comes of it.
    pub(super) async fn run(&self) -> Result<Outcome> {
        let template = match (self.plugin, self.metric.gpus_per_pod) {
            (true, _) | (_, 0) => None,
            (false, count) => {
                let version = probe::dra_required(&self.cx.cluster).await?;
                let request = probe::gpu_request(&version, "gpu", &self.cx.vendor.device_class, count);
                let spec = json!({"spec": {"devices": {"requests": [request]}}});
                Some(
                    self.scratch
                        .create(json!({"apiVersion": version, "kind": "ResourceClaimTemplate", "metadata": {"name": NAME}, "spec": spec}))
                        .await?,
                )
            }
        };
        let deployment = self.put(false).await?;
        let autoscaler = self.scratch.create(self.autoscaler()).await?;
        let outcome = self.course(&deployment, &autoscaler).await;
        let passed = outcome.as_ref().is_ok_and(|outcome| outcome.verdict == Verdict::Pass);
        let outcome = match outcome {
            Ok(outcome) if !passed => Ok(self.diagnosed(outcome, &autoscaler).await),
            outcome => outcome,
        };
        let mut gone = self.scratch.dispose(&autoscaler, passed).await;
        for object in [Some(&deployment), template.as_ref()].into_iter().flatten() {
            gone = gone.and(self.scratch.dispose(object, passed).await);
        }
        if gone.as_ref().is_ok_and(|gone| *gone) {
            let none = |pods: &[&Value]| pods.is_empty().then_some(());
            self.cx.cluster.wait_until(("v1", "Pod"), &self.pods(), "the pods to be gone", limits::CLEANUP, none).await?;
        }
        let outcome = outcome?;
        gone?;
        Ok(outcome)
    }

    fn window(&self) -> Duration {
        self.metric.window_seconds.map_or(limits::SCALING_WINDOW, |seconds| Duration::from_secs(seconds.into()).min(limits::SCALING_WINDOW))
    }

    fn hold(&self) -> Duration {
        self.metric.hold_seconds.map_or(limits::SCALING_HOLD, |seconds| Duration::from_secs(seconds.into()).min(limits::SCALING_HOLD))
    }

    fn pods(&self) -> Query {
        Query::within(&self.scratch.namespace()).labelled(format!("seatrial.dev/check={NAME}"))
    }

    /// Applies the Deployment with or without load. How many replicas it has is the autoscaler's alone.
    async fn put(&self, busy: bool) -> Result<ObjectRef> {
        let metric = self.metric;
        let mut resources = json!({"requests": {"cpu": "100m", "memory": "32Mi"}});
        if self.plugin && metric.gpus_per_pod > 0 {
            resources["limits"] = json!({self.cx.vendor.resource.as_str(): metric.gpus_per_pod.to_string()});
        } else if metric.gpus_per_pod > 0 {
            resources["claims"] = json!([{"name": "gpu"}]);
        }
        let (image, command): (&str, &[String]) = if busy { (&self.load.image, &self.load.command) } else { (IDLE_IMAGE, &[]) };
        let mut pod = probe::pod_spec(self.cx.vendor, self.cx.pods, image, command, &resources);
        pod["restartPolicy"] = json!("Always");
        if !self.plugin && metric.gpus_per_pod > 0 {
            pod["resourceClaims"] = json!([{"name": "gpu", "resourceClaimTemplateName": NAME}]);
        }
        let labels = json!({"seatrial.dev/check": NAME});
        let mut meta = json!({"labels": labels});
        if self.cx.simulated {
            // No container runs there, so what it would use is said.
            let value = if busy { metric.target.saturating_mul(4) } else { metric.target / 10 };
            meta["annotations"] = json!({
                PLAYED: value.to_string(), PLAYED_CPU: if busy { "400m" } else { "5m" }, PLAYED_MEMORY: if busy { "128Mi" } else { "1Mi" },
            });
        }
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME},
            // All at once, so that a change of the load needs no further GPU.
            "spec": {"selector": {"matchLabels": labels}, "strategy": {"type": "Recreate"}, "template": {"metadata": meta, "spec": pod}},
        });
        Ok(ObjectRef::of(&self.cx.cluster.apply(&self.scratch.own(object, true), OWNER, true).await?))
    }

    fn autoscaler(&self) -> Value {
        let metric = self.metric;
        let source = match metric.source {
            MetricSource::Resource => json!({
                "type": "Resource",
                "resource": {"name": metric.name, "target": {"type": "Utilization", "averageUtilization": metric.target}},
            }),
            MetricSource::Pods => json!({
                "type": "Pods",
                "pods": {"metric": {"name": metric.name}, "target": {"type": "AverageValue", "averageValue": metric.target.to_string()}},
            }),
            MetricSource::External => json!({
                "type": "External",
                "external": {
                    "metric": {"name": metric.name, "selector": {"matchLabels": metric.selector}},
                    "target": {"type": "AverageValue", "averageValue": metric.target.to_string()},
                },
            }),
        };
        // Without a window, so that every change of the metric shows.
        let at_once = json!({"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}]});
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
                "minReplicas": 1, "maxReplicas": 2, "metrics": [source], "behavior": {"scaleUp": at_once, "scaleDown": at_once},
            },
        })
    }

    async fn course(&self, deployment: &ObjectRef, autoscaler: &ObjectRef) -> Result<Outcome> {
        if let Some(outcome) = self.reads(autoscaler).await? {
            return Ok(outcome.asserted(0, STATEMENTS));
        }
        if let Some(outcome) = self.comes_to(1, deployment, Way::Rest).await? {
            return Ok(outcome.asserted(0, STATEMENTS));
        }
        let clock = Instant::now();
        self.put(true).await?;
        if let Some(outcome) = self.comes_to(2, deployment, Way::Up).await? {
            return Ok(outcome.asserted(1, STATEMENTS));
        }
        let up = clock.elapsed().as_secs_f64();
        if let Some(outcome) = self.stays(2, deployment).await? {
            return Ok(outcome.asserted(2, STATEMENTS));
        }
        let clock = Instant::now();
        self.put(false).await?;
        if let Some(outcome) = self.comes_to(1, deployment, Way::Down).await? {
            return Ok(outcome.asserted(3, STATEMENTS));
        }
        let down = clock.elapsed().as_secs_f64();
        if let Some(outcome) = self.stays(1, deployment).await? {
            return Ok(outcome.asserted(4, STATEMENTS));
        }
        let rounded = |seconds: f64| (seconds * 100.0).round() / 100.0;
        let limit = self.window().as_secs_f64();
        let what = if self.metric.source == MetricSource::Resource { "resource " } else { "" };
        let message =
            format!("1 to 2 GPU pods in {up:.1} s and back in {down:.1} s on {what}metric {}, steady in between", self.metric.name);
        Ok(Outcome::pass(message)
            .seen("metrics", vec![self.metric.name.clone()], 1)
            .asserted(STATEMENTS, STATEMENTS)
            .measured("up_seconds", rounded(up), "s")
            .held_against(limit)
            .measured("down_seconds", rounded(down), "s")
            .held_against(limit))
    }

    /// Waits until the autoscaler has read the metric.
    async fn reads(&self, autoscaler: &ObjectRef) -> Result<Option<Outcome>> {
        let what = format!("{autoscaler} to read {}", self.metric.name);
        self.cx.waiting(&what);
        let query = Query::within(autoscaler.namespace.as_deref().unwrap_or_default()).named(&autoscaler.name);
        let active = |seen: &[&Value]| {
            let conditions = seen.first()?["status"]["conditions"].as_array()?;
            conditions.iter().any(|one| one["type"] == "ScalingActive" && one["status"] == "True").then_some(())
        };
        let read = self.cx.cluster.wait_until(("autoscaling/v2", "HorizontalPodAutoscaler"), &query, &what, self.window(), active).await;
        self.or_why(read, Way::Rest).await
    }

    /// Waits until the deployment has just so many pods, all of its present template and ready.
    async fn comes_to(&self, wanted: u64, deployment: &ObjectRef, way: Way) -> Result<Option<Outcome>> {
        let what = format!("{deployment} to have {wanted} ready pods");
        self.cx.waiting(&what);
        let there = |seen: &[&Value]| {
            let object = seen.first()?;
            let status = &object["status"];
            let current = status["observedGeneration"] == object["metadata"]["generation"];
            let all = ["replicas", "updatedReplicas", "readyReplicas"].iter().all(|field| status[*field].as_u64() == Some(wanted));
            (current && all && object["spec"]["replicas"].as_u64() == Some(wanted)).then_some(())
        };
        let came = self.cx.cluster.wait_until(("apps/v1", "Deployment"), &self.one(deployment), &what, self.window(), there).await;
        self.or_why(came, way).await
    }

    /// Watches that the number of pods stays while the load does.
    async fn stays(&self, wanted: u64, deployment: &ObjectRef) -> Result<Option<Outcome>> {
        let what = format!("{deployment} to stay at {wanted}");
        self.cx.waiting(&what);
        let changed = |seen: &[&Value]| match seen.first() {
            None => Some("it was deleted".to_owned()),
            Some(object) => object["spec"]["replicas"].as_u64().filter(|now| *now != wanted).map(|now| format!("{now} pods")),
        };
        let broken = broken_within(&self.cx.cluster, ("apps/v1", "Deployment"), &self.one(deployment), &what, self.hold(), changed).await?;
        let Some(to) = broken else { return Ok(None) };
        let status = self.now().await?.autoscaler.map(|found| found["status"].clone()).unwrap_or_default();
        let state = if wanted == 2 { "the load stayed" } else { "there was no load" };
        Ok(Some(
            Outcome::fail(format!("it flaps: {to} instead of {wanted} although {state}; {}", reading(&status, self.metric)))
                .fix(format!("look at {} over time: it must not jump while the load stays", self.metric.name)),
        ))
    }

    async fn or_why(&self, waited: Result<()>, way: Way) -> Result<Option<Outcome>> {
        match waited {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == Kind::Timeout => Ok(Some(why(&self.now().await?, self.metric, way, self.window().as_secs()))),
            Err(error) => Err(error),
        }
    }

    fn one(&self, object: &ObjectRef) -> Query {
        Query::within(object.namespace.as_deref().unwrap_or_default()).named(&object.name)
    }

    async fn now(&self) -> Result<Now> {
        let namespace = self.scratch.namespace();
        let pods = self.pods();
        let (autoscaler, deployment, pods) = tokio::try_join!(
            self.cx.cluster.get("autoscaling/v2", "HorizontalPodAutoscaler", Some(&namespace), NAME),
            self.cx.cluster.get("apps/v1", "Deployment", Some(&namespace), NAME),
            self.cx.cluster.list("v1", "Pod", &pods),
        )?;
        Ok(Now { autoscaler, deployment, pods })
    }

    async fn diagnosed(&self, outcome: Outcome, autoscaler: &ObjectRef) -> Outcome {
        let events = probe::events(&self.cx.cluster, &self.scratch.namespace()).await;
        let outcome = outcome.artifact("events", Some("kubectl get events"), events);
        match self.now().await {
            Ok(Now { autoscaler: Some(seen), .. }) => {
                outcome.artifact("autoscaler", Some(&autoscaler.kubectl_get()), json!({"spec": seen["spec"], "status": seen["status"]}))
            }
            _ => outcome,
        }
    }
}
