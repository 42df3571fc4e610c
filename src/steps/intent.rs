//! intent: the use that the cluster is for, seen to work: training pods together, or inference pods available.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checks::{Phase, probe};
use crate::cluster::{Access, ObjectRef, Query, Scratch};
use crate::error::{Kind, Result};
use crate::limits;
use crate::recipe::{Allocation, Intent, IntentSpec};
use crate::results::{Begun, ErrorReason, Outcome, SkipReason, TestResult, Verdict};
use crate::snapshot::{nodes, pools};
use crate::steps::tests::{finish, run_checks, sum_up};
use crate::steps::{Fact, GpuUse, Inputs, Selected, Step, StepCx, selected};
use crate::workflow::StepSpec;

pub(super) static STEP: Step = Step {
    id: "intent",
    title: "run the workload that the cluster is for",
    why: "last of the tests: it holds the most GPUs, and needs what all the others looked at",
    needs: &[Fact::Snapshot, Fact::Inventory],
    provides: None,
    cluster: true,
    access,
    gpus,
    tests: |inputs| {
        let intent = inputs.workflow.workflow.spec.intent;
        let own = intent.map(|intent| Selected { id: test_id(intent), version: VERSION, phase: Phase::Performance.word() });
        let mut tests: Vec<Selected> = own.into_iter().collect();
        tests.extend(selected(&inputs.recipe.recipe.spec.checks.performance, Phase::Performance)?);
        Ok(tests)
    },
    timeout: |inputs| limits::GPU_LOCK + limit(inputs) * 2 + limits::CLEANUP * 3 + Duration::from_secs(60),
    run: |cx| Box::pin(run(cx)),
};

/// The version of the verdict logic of the intent test.
const VERSION: u32 = 1;

fn test_id(intent: Intent) -> String {
    format!("intent/{}", intent.word())
}

/// The workload to try: the workflow's intent, as the recipe describes it.
fn spec(inputs: &Inputs) -> Option<(Intent, &IntentSpec)> {
    let intent = inputs.workflow.workflow.spec.intent?;
    Some((intent, inputs.recipe.recipe.spec.intent.get(&intent)?))
}

/// How long the workload may take to run; twice that in the step, because a Deployment is waited for once more.
fn limit(inputs: &Inputs) -> Duration {
    Duration::from_secs(u64::from(spec(inputs).map_or(0, |(_, spec)| spec.timeout_seconds)))
}

fn access(inputs: &Inputs, _: &StepSpec) -> Vec<Access> {
    let Some((intent, spec)) = spec(inputs).filter(|_| inputs.behavioral) else { return Vec::new() };
    let workload = match intent {
        Intent::Training => Access::scratch("batch", "jobs"),
        Intent::Inference => Access::scratch("apps", "deployments"),
    };
    let mut accesses = vec![Access::read("", "nodes"), Access::read("", "pods"), Access::read("", "events"), workload];
    if spec.allocation == Allocation::Dra {
        accesses.push(Access::read("resource.k8s.io", "resourceslices"));
        accesses.push(Access::read("resource.k8s.io", "resourceclaims"));
        accesses.push(Access::scratch("resource.k8s.io", "resourceclaimtemplates"));
    }
    accesses
}

fn gpus(inputs: &Inputs, step: &StepSpec) -> Vec<GpuUse> {
    let spec = spec(inputs).filter(|_| inputs.behavioral);
    spec.map(|(_, spec)| GpuUse { allocation: spec.allocation, count: spec.pods * spec.gpus_per_pod, kept: step.keep })
        .into_iter()
        .collect()
}

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    if let Some(intent) = cx.inputs.workflow.workflow.spec.intent {
        finish(cx, trial(cx, intent).await);
    }
    run_checks(cx, &cx.inputs.recipe.recipe.spec.checks.performance, Phase::Performance).await?;
    let ended = cx.sink.ended();
    let message = match ended.as_slice() {
        [only] => Some(only.outcome.message.clone()),
        _ => None,
    };
    let outcome = sum_up(&ended, "the workflow has no intent and the recipe no performance check");
    Ok(match message {
        Some(message) => Outcome { message, ..outcome },
        None => outcome,
    })
}

/// The intent's own test.
async fn trial(cx: &StepCx<'_>, intent: Intent) -> TestResult {
    let begun = Begun::now();
    // Retries of earlier steps are not this test's.
    cx.cluster.take_retries();
    let outcome = match cx.inputs.recipe.recipe.spec.intent.get(&intent) {
        None => Outcome::skip(SkipReason::NotDeclared, format!("the recipe declares no {} workload", intent.word())),
        Some(_) if !cx.inputs.behavioral => Outcome::skip(SkipReason::BehavioralTestsOff, "creates workloads"),
        Some(spec) => match cx.inputs.max_gpus {
            Some(limit) if spec.pods * spec.gpus_per_pod > limit => {
                Outcome::skip(SkipReason::ByRequest, format!("wants {} GPUs, --max-gpus allows {limit}", spec.pods * spec.gpus_per_pod))
            }
            _ => try_out(cx, intent, spec).await.unwrap_or_else(Outcome::from),
        },
    };
    let result = TestResult::of(test_id(intent), VERSION, &cx.spec.id, Phase::Performance.word(), outcome.guarded());
    result.since(begun, cx.cluster.take_retries())
}

async fn try_out(cx: &StepCx<'_>, intent: Intent, spec: &IntentSpec) -> Result<Outcome> {
    let scratch = cx.scratch().await?;
    let lock = cx.lock_gpus().await?;
    let outcome = match no_room(cx, spec).await {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => Workload { cx, scratch, intent, spec }.run().await,
        Err(error) => Err(error),
    };
    lock.release(cx.cluster).await?;
    outcome
}

/// An outcome instead of a trial: a failure if the pods would not fit even if nothing else ran, an error if GPUs that would do are taken.
async fn no_room(cx: &StepCx<'_>, spec: &IntentSpec) -> Result<Option<Outcome>> {
    let vendor = cx.inputs.vendor()?;
    let everything = Query::all();
    // GPUs per place from which one pod can have them: when nothing runs, and now.
    let (all, free): (Vec<u64>, Vec<u64>) = match spec.allocation {
        Allocation::DevicePlugin => {
            let (objects, pods) = tokio::try_join!(cx.cluster.list("v1", "Node", &everything), cx.cluster.list("v1", "Pod", &everything))?;
            let nodes = nodes::read(&objects, None);
            let room = |pods: &[Value]| probe::free_gpus(&nodes, pods, vendor).into_values().collect();
            (room(&[]), room(&pods))
        }
        Allocation::Dra => {
            let version = probe::dra_required(cx.cluster).await?;
            let (slices, claims) = tokio::try_join!(
                cx.cluster.list(&version, "ResourceSlice", &everything),
                cx.cluster.list(&version, "ResourceClaim", &everything)
            )?;
            let pools = pools::group(&slices);
            let room = |claims: &[Value]| {
                pools.iter().map(|pool| probe::free_devices(std::slice::from_ref(pool), claims, vendor).len() as u64).collect()
            };
            (room(&[]), room(&claims))
        }
    };
    Ok(judge_room(spec, &all, &free))
}

/// Judges GPUs per node or pool, all and free, against what the intent wants; pure.
fn judge_room(spec: &IntentSpec, all: &[u64], free: &[u64]) -> Option<Outcome> {
    let fitting = |room: &[u64]| room.iter().map(|gpus| gpus / u64::from(spec.gpus_per_pod)).sum::<u64>();
    let (ever, now) = (fitting(all), fitting(free));
    let wanted = format!("{} pods with {} GPUs each are wanted", spec.pods, spec.gpus_per_pod);
    if ever < u64::from(spec.pods) {
        let message = format!("{wanted}, {ever} would fit if nothing else ran");
        return Some(
            Outcome::fail(message).fix("compare what each node advertises with what a pod wants: `seatrial explain gpu-capacity`"),
        );
    }
    let busy = || Outcome::error(ErrorReason::Busy, format!("{wanted}, {now} would find them free"));
    (now < u64::from(spec.pods)).then(|| busy().fix("free GPUs, or wait until other workloads have ended"))
}

/// One Job or Deployment, from creation to removal.
struct Workload<'a> {
    cx: &'a StepCx<'a>,
    scratch: &'a Scratch,
    intent: Intent,
    spec: &'a IntentSpec,
}

impl Workload<'_> {
    async fn run(&self) -> Result<Outcome> {
        let vendor = self.cx.inputs.vendor()?;
        let mut template = None;
        let resources = match self.spec.allocation {
            Allocation::DevicePlugin => json!({"limits": {vendor.resource.as_str(): self.spec.gpus_per_pod.to_string()}}),
            Allocation::Dra => {
                template = Some(
                    self.scratch.create(self.claim_template(&probe::dra_required(self.cx.cluster).await?, &vendor.device_class)).await?,
                );
                json!({"claims": [{"name": "gpus"}]})
            }
        };
        let mut pod = probe::pod_spec(vendor, &self.cx.inputs.pods, &self.spec.image, &self.spec.command, &resources);
        if let Some(template) = &template {
            pod["resourceClaims"] = json!([{"name": "gpus", "resourceClaimTemplateName": template.name}]);
        }
        let workload = self.scratch.create(self.object(&pod)).await?;
        let mut outcome = self.observe(&workload).await.unwrap_or_else(Outcome::from);
        if outcome.verdict != Verdict::Pass {
            let events = probe::events(self.cx.cluster, &self.scratch.namespace()).await;
            outcome = outcome.artifact("events", Some("kubectl get events"), events);
        }
        if !self.cx.spec.keep {
            let passed = outcome.verdict == Verdict::Pass;
            if self.scratch.dispose(&workload, passed).await? {
                self.wait_until_gone().await?;
            }
            if let Some(template) = &template {
                self.scratch.dispose(template, passed).await?;
            }
        }
        Ok(outcome)
    }

    fn claim_template(&self, version: &str, class: &str) -> Value {
        let request = probe::gpu_request(version, "gpus", class, self.spec.gpus_per_pod);
        json!({
            "apiVersion": version, "kind": "ResourceClaimTemplate", "metadata": {"name": "intent"},
            "spec": {"spec": {"devices": {"requests": [request]}}},
        })
    }

    /// An Indexed Job whose pods all run at once, or a Deployment.
    fn object(&self, pod: &Value) -> Value {
        let labels = json!({"seatrial.dev/intent": self.intent.word()});
        let mut pod = pod.clone();
        match self.intent {
            Intent::Training => json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "intent"},
                "spec": {
                    "completionMode": "Indexed", "completions": self.spec.pods, "parallelism": self.spec.pods, "backoffLimit": 0,
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            }),
            Intent::Inference => {
                pod["restartPolicy"] = json!("Always");
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "intent"},
                    "spec": {
                        "replicas": self.spec.pods, "selector": {"matchLabels": labels},
                        "template": {"metadata": {"labels": labels}, "spec": pod},
                    },
                })
            }
        }
    }

    fn limit(&self) -> Duration {
        limit(self.cx.inputs)
    }

    fn pods(&self) -> Query {
        Query::within(&self.scratch.namespace()).labelled(format!("seatrial.dev/intent={}", self.intent.word()))
    }

    async fn observe(&self, workload: &ObjectRef) -> Result<Outcome> {
        let wanted = self.spec.pods as usize;
        let clock = Instant::now();
        let waiting_for = format!("{wanted} pods of {workload} to run together");
        self.cx.ui.waiting(&waiting_for);
        let mut last = Together::default();
        let state = self
            .cx
            .cluster
            .wait_until(("v1", "Pod"), &self.pods(), &waiting_for, self.limit(), |pods| {
                last = together(pods);
                (last.running.len() >= wanted || last.dead.is_some()).then_some(())
            })
            .await;
        let seconds = clock.elapsed().as_secs_f64();
        match state {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Timeout => {
                let why = last.waiting.clone().unwrap_or_else(|| "no scheduler has looked at the rest".to_owned());
                return Ok(Outcome::fail(format!(
                    "{} of {wanted} pods of {workload} run after {} s: {why}",
                    last.running.len(),
                    self.limit().as_secs()
                ))
                .fix("kubectl describe the pending pods; compare free GPUs per node with what a pod wants")
                .seen("pods", last.running, wanted)
                .asserted(0, wanted));
            }
            Err(error) => return Err(error),
        }
        if let Some(dead) = last.dead {
            let verdict = if dead.image { Outcome::error(ErrorReason::Image, dead.message) } else { Outcome::fail(dead.message) };
            return Ok(verdict.seen("pods", last.running, wanted).asserted(0, wanted));
        }
        if self.intent == Intent::Inference {
            self.wait_until_available(workload).await?;
        }
        let verb = if self.intent == Intent::Training { "running together" } else { "available" };
        Ok(Outcome::pass(format!("{wanted} × {} GPU pods {verb}", self.spec.gpus_per_pod))
            .seen("pods", last.running, wanted)
            .asserted(wanted, wanted)
            .measured("running_seconds", (seconds * 1000.0).round() / 1000.0, "s")
            .held_against(self.limit().as_secs_f64()))
    }

    async fn wait_until_available(&self, workload: &ObjectRef) -> Result<()> {
        let query = Query::within(&self.scratch.namespace()).named(&workload.name);
        let waiting_for = format!("{workload} to be available");
        self.cx.ui.waiting(&waiting_for);
        let available = |objects: &[&Value]| {
            let ready = objects.first()?["status"]["availableReplicas"].as_u64().unwrap_or(0);
            (ready >= u64::from(self.spec.pods)).then_some(())
        };
        self.cx.cluster.wait_until(("apps/v1", "Deployment"), &query, &waiting_for, self.limit(), available).await
    }

    /// The barrier after which the GPUs are free again.
    async fn wait_until_gone(&self) -> Result<()> {
        let waiting_for = "the workload's pods to be gone";
        self.cx.ui.waiting(waiting_for);
        let gone = |pods: &[&Value]| pods.is_empty().then_some(());
        self.cx.cluster.wait_until(("v1", "Pod"), &self.pods(), waiting_for, limits::CLEANUP, gone).await
    }
}

/// What the pods of a workload do.
#[derive(Default)]
struct Together {
    running: Vec<String>,
    waiting: Option<String>,
    dead: Option<Dead>,
}

struct Dead {
    message: String,
    image: bool,
}

/// Reads the pods of a workload; pure.
fn together(pods: &[&Value]) -> Together {
    let mut seen = Together::default();
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match pod["status"]["phase"].as_str() {
            Some("Running") if pod["metadata"]["deletionTimestamp"].is_null() => seen.running.push(name),
            Some(phase @ ("Failed" | "Succeeded")) => {
                seen.dead = Some(Dead { message: format!("pod {name} ended as {phase} instead of running"), image: false })
            }
            _ => match probe::image_trouble(pod) {
                Some(reason) => seen.dead = Some(Dead { message: format!("pod {name}: {reason}"), image: true }),
                None => seen.waiting = probe::unschedulable(pod).map(|reason| format!("pod {name}: {reason}")).or(seen.waiting),
            },
        }
    }
    seen
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn pods_that_never_fit_are_a_failure_and_gpus_that_are_taken_are_busy() {
        let spec = IntentSpec {
            pods: 2,
            gpus_per_pod: 8,
            allocation: Allocation::DevicePlugin,
            image: String::new(),
            command: vec![],
            timeout_seconds: 1,
        };
        let verdict = |all: &[u64], free: &[u64]| judge_room(&spec, all, free).map(|outcome| outcome.verdict);
        assert_eq!(verdict(&[8, 8], &[8, 8]), None);
        assert_eq!(verdict(&[8, 8], &[8, 7]), Some(Verdict::Error(ErrorReason::Busy)));
        assert_eq!(verdict(&[8, 7], &[8, 7]), Some(Verdict::Fail));
        // One pod cannot have GPUs of two nodes.
        assert_eq!(verdict(&[7, 7, 8], &[7, 7, 8]), Some(Verdict::Fail));
    }

    #[test]
    fn a_pod_that_ended_or_cannot_be_pulled_ends_the_waiting() {
        let pod = |phase: &str| json!({"metadata": {"name": "p"}, "status": {"phase": phase}});
        assert_eq!(together(&[&pod("Running")]).running, ["p"]);
        assert!(together(&[&pod("Failed")]).dead.is_some_and(|dead| !dead.image));
        let stuck = json!({"metadata": {"name": "p"}, "status": {"phase": "Pending",
            "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "x"}}}]}});
        assert!(together(&[&stuck]).dead.is_some_and(|dead| dead.image));
    }
}
