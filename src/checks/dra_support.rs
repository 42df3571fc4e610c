//! A GPU is allocated to a pod by a ResourceClaim, and released afterwards.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checks::probe::{self, IDLE_IMAGE};
use crate::checks::{Check, Cx, Fidelity, Phase, no_more};
use crate::cluster::{Access, ObjectRef, Query, Scratch};
use crate::error::{Kind, Result};
use crate::limits;
use crate::results::{ErrorReason, Outcome, Verdict};
use crate::snapshot::{Pool, pools};
use crate::vendor::Vendor;

pub(super) static CHECK: Check = Check {
    id: "dra-support",
    version: 1,
    title: "A GPU is allocated to a pod by a ResourceClaim, and released afterwards",
    requirement: Some("dra_support"),
    phase: Phase::Conformance,
    gpus: 1,
    access: &[
        Access::read("resource.k8s.io", "resourceslices"),
        Access::read("resource.k8s.io", "deviceclasses"),
        Access::read("resource.k8s.io", "resourceclaims"),
        Access::read("", "events"),
        Access::scratch("", "pods"),
        Access::scratch("resource.k8s.io", "resourceclaims"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(150),
    fidelity: Fidelity::Api,
    behavioural: true,
    docs: "\
# What it checks
The API server serves DRA (the generally available version first). The vendor's DeviceClass exists and its driver publishes at least one complete pool.
Then a ResourceClaim for one GPU and a pod that uses it: the scheduler allocates a device of a complete pool, the allocation is seen while the pod runs
and is reserved for that pod, and it is gone after the pod is deleted.

# Why it matters
DRA is how Kubernetes hands out GPUs with attributes, sharing and topology; CNCF AI conformance requires it.

# How to fix it
No API: Kubernetes 1.34 or newer, or the DynamicResourceAllocation feature gate. No slices or incomplete pools: the DRA driver's kubelet plugin on the named
node. Cannot allocate although devices are free: the CEL expression of the DeviceClass. Nothing looks at the pod: the scheduler.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let Some(version) = probe::dra_api_version(&cx.cluster).await? else {
        return Ok(Outcome::fail("the API server serves no resource.k8s.io").fix("use Kubernetes 1.34 or newer"));
    };
    let everything = Query::all();
    let (slices, classes, claims) = tokio::try_join!(
        cx.cluster.list(&version, "ResourceSlice", &everything),
        cx.cluster.list(&version, "DeviceClass", &everything),
        cx.cluster.list(&version, "ResourceClaim", &everything),
    )?;
    let pools = pools::group(&slices);
    let structure = judge_structure(&pools, &classes, cx.vendor);
    let (Some(scratch), Verdict::Pass) = (cx.scratch, structure.verdict) else { return Ok(structure) };
    let free = probe::free_devices(&pools, &claims, cx.vendor);
    if free.is_empty() {
        return Ok(Outcome::error(ErrorReason::Busy, format!("no device of {} is free: every one is held by a claim", cx.vendor.driver))
            .fix("run again when a GPU is free"));
    }
    let tried = Trial { cx, scratch, version: &version, pools: &pools, free: free.len() }.run().await;
    match tried {
        Ok(outcome) => Ok(outcome),
        Err(error) => Ok(Outcome::from(error).artifact("events", None, probe::events(&cx.cluster, &scratch.namespace()).await)),
    }
}

/// Judges what is there before anything is created; pure.
fn judge_structure(pools: &[Pool], classes: &[Value], vendor: &Vendor) -> Outcome {
    let own: Vec<&Pool> = pools.iter().filter(|pool| pool.driver == vendor.driver).collect();
    let names: Vec<String> = own.iter().map(|pool| pool.name.clone()).collect();
    let has_class = classes.iter().any(|class| class["metadata"]["name"] == vendor.device_class.as_str());
    let incomplete = own.iter().find(|pool| !pool.complete());
    let problem = if own.is_empty() {
        Some((format!("driver {} publishes no ResourceSlice", vendor.driver), "look at the DRA driver's kubelet plugin"))
    } else if let Some(pool) = incomplete {
        let message = format!("pool {} of {} has {} of {} ResourceSlices", pool.name, pool.driver, pool.slices, pool.slices_declared);
        Some((message, "look at the DRA driver on that node"))
    } else if !has_class {
        Some((format!("there is no DeviceClass {}", vendor.device_class), "install the DRA driver's DeviceClass"))
    } else {
        None
    };
    let held = own.iter().filter(|pool| pool.complete()).count() + usize::from(has_class);
    let outcome = match problem {
        Some((message, fix)) => Outcome::fail(message).fix(fix),
        None => Outcome::pass(format!("{} complete pools of {} and DeviceClass {}", own.len(), vendor.driver, vendor.device_class)),
    };
    outcome.seen("pools", names, own.len()).asserted(held, own.len() + 1)
}

/// One claim and one pod, from creation to release.
struct Trial<'a> {
    cx: &'a Cx<'a>,
    scratch: &'a Scratch,
    version: &'a str,
    pools: &'a [Pool],
    free: usize,
}

impl Trial<'_> {
    async fn run(&self) -> Result<Outcome> {
        let vendor = self.cx.vendor;
        let claim = self.scratch.create(self.claim()).await?;
        let mut spec = probe::pod_spec(vendor, self.cx.pods, IDLE_IMAGE, &[], &json!({"claims": [{"name": "gpu"}]}));
        spec["resourceClaims"] = json!([{"name": "gpu", "resourceClaimName": claim.name}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dra-support"}, "spec": spec});
        let pod = self.scratch.create(pod).await?;
        let outcome = self.observe(&pod, &claim).await;
        // Objects of a trial that went wrong are kept until here, for the diagnostics; then they go in any case.
        let diagnosis = match &outcome {
            Ok(outcome) if outcome.verdict == Verdict::Pass => None,
            _ => Some(probe::events(&self.cx.cluster, &self.scratch.namespace()).await),
        };
        let passed = outcome.as_ref().is_ok_and(|outcome| outcome.verdict == Verdict::Pass);
        let pod_gone = self.scratch.dispose(&pod, passed).await;
        let claim_gone = self.scratch.dispose(&claim, passed).await;
        let outcome = outcome?;
        pod_gone?;
        claim_gone?;
        Ok(match diagnosis {
            Some(events) => outcome.artifact("events", Some("kubectl get events"), events),
            None => outcome,
        })
    }

    fn claim(&self) -> Value {
        let request = probe::gpu_request(self.version, "gpu", &self.cx.vendor.device_class, 1);
        json!({
            "apiVersion": self.version, "kind": "ResourceClaim", "metadata": {"name": "dra-support"},
            "spec": {"devices": {"requests": [request]}},
        })
    }

    async fn observe(&self, pod: &ObjectRef, claim: &ObjectRef) -> Result<Outcome> {
        if let Some(problem) = self.wait_until_running(pod).await? {
            return Ok(problem);
        }
        let namespace = claim.namespace.as_deref();
        let Some(seen) = self.cx.cluster.get(self.version, "ResourceClaim", namespace, &claim.name).await? else {
            return Ok(Outcome::fail(format!("{claim} is gone while its pod runs")));
        };
        let mut outcome = judge_allocation(&seen, pod, self.pools, self.cx.vendor).artifact(
            "claim while the pod runs",
            Some(&claim.kubectl_get()),
            seen["status"].clone(),
        );
        if outcome.verdict != Verdict::Pass {
            return Ok(outcome);
        }
        let clock = Instant::now();
        self.scratch.remove(pod).await?;
        self.cx.waiting(&format!("{claim} to be released"));
        let query = Query::within(namespace.unwrap_or_default()).named(&claim.name);
        let released = self
            .cx
            .cluster
            .wait_until((self.version, "ResourceClaim"), &query, "the claim to be released", limits::GPU_RELEASE, |claims| {
                claims.iter().all(|claim| claim["status"]["allocation"].is_null()).then_some(())
            })
            .await;
        let seconds = clock.elapsed().as_secs_f64();
        outcome.assertions.total += 1;
        match released {
            Ok(()) => {
                outcome.assertions.passed += 1;
                outcome.message = format!("{}, released after {seconds:.1}s", outcome.message);
                let measured = outcome.measured("release_seconds", (seconds * 1000.0).round() / 1000.0, "s");
                Ok(measured.held_against(limits::GPU_RELEASE.as_secs_f64()))
            }
            Err(error) if error.kind() == Kind::Timeout => Ok(Outcome {
                verdict: Verdict::Fail,
                message: format!("{claim} is still allocated {} s after its pod was deleted", limits::GPU_RELEASE.as_secs()),
                ..outcome
            }
            .fix("look at kube-controller-manager's resource-claim controller")),
            Err(error) => Err(error),
        }
    }

    /// Waits until the pod runs; a verdict if it is seen that it will not.
    async fn wait_until_running(&self, pod: &ObjectRef) -> Result<Option<Outcome>> {
        self.cx.waiting(&format!("{pod} to be scheduled with its claim, and to run"));
        let running = |pods: &[&Value]| pods.first().and_then(|pod| pod_state(pod));
        let state = self.wait_for_pod(pod, limits::POD_RUNNING, running).await;
        let refusal = match state {
            Ok(PodState::Running) => return Ok(None),
            Ok(PodState::Ended(phase)) => return Ok(Some(Outcome::fail(format!("{pod} ended as {phase} instead of running")))),
            Ok(PodState::Image(reason)) => return Ok(Some(Outcome::error(ErrorReason::Image, format!("{pod}: {reason}")))),
            Err(error) if error.kind() == Kind::Timeout => self.cx.cluster.get("v1", "Pod", pod.namespace.as_deref(), &pod.name).await?,
            Err(error) => return Err(error),
        };
        let waited = limits::POD_RUNNING.as_secs();
        Ok(Some(
            match refusal {
                None => Outcome::fail(format!("{pod} was deleted by someone else")),
                Some(pod_now) => match probe::unschedulable(&pod_now) {
                    Some(reason) => Outcome::fail(format!(
                        "the scheduler allocates no device of class {} although {} are free: {reason}",
                        self.cx.vendor.device_class, self.free
                    ))
                    .fix(format!(
                        "compare the CEL of the class with the devices: kubectl get deviceclass {} -o yaml",
                        self.cx.vendor.device_class
                    )),
                    None if pod_now["spec"]["nodeName"].is_null() => {
                        Outcome::fail(format!("no scheduler has looked at {pod} for {waited} s")).fix("look at kube-scheduler")
                    }
                    None => Outcome::fail(format!(
                        "{pod} was placed on node {} and does not run",
                        pod_now["spec"]["nodeName"].as_str().unwrap_or_default()
                    ))
                    .fix("kubectl describe that pod; look at the kubelet and the DRA driver on that node"),
                },
            }
            .seen("pools", self.pools.iter().map(|pool| pool.name.clone()).collect(), self.pools.len())
            .asserted(0, 1),
        ))
    }

    async fn wait_for_pod<T>(&self, pod: &ObjectRef, limit: Duration, condition: impl FnMut(&[&Value]) -> Option<T>) -> Result<T> {
        let query = Query::within(pod.namespace.as_deref().unwrap_or_default()).named(&pod.name);
        self.cx.cluster.wait_until(("v1", "Pod"), &query, &format!("{pod} to run"), limit, condition).await
    }
}

enum PodState {
    Running,
    Ended(String),
    Image(String),
}

/// The state of a pod that ends the waiting, if it is in one.
fn pod_state(pod: &Value) -> Option<PodState> {
    match pod["status"]["phase"].as_str() {
        Some("Running") => Some(PodState::Running),
        Some(phase @ ("Succeeded" | "Failed")) => Some(PodState::Ended(phase.to_owned())),
        _ => probe::image_trouble(pod).map(PodState::Image),
    }
}

/// Judges the claim as it was while the pod ran; pure.
fn judge_allocation(claim: &Value, pod: &ObjectRef, pools: &[Pool], vendor: &Vendor) -> Outcome {
    let results = claim["status"]["allocation"]["devices"]["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [result] = results else {
        return Outcome::fail(format!("the pod runs, but its claim holds {} devices instead of 1", results.len())).asserted(0, 1);
    };
    let text = |field: &str| result[field].as_str().unwrap_or_default();
    let (driver, pool_name, device) = (text("driver"), text("pool"), text("device"));
    let pool = pools.iter().find(|pool| pool.driver == driver && pool.name == pool_name);
    let reserved = claim["status"]["reservedFor"].as_array().into_iter().flatten().any(|user| user["name"] == pod.name.as_str());
    let statements = [
        (driver == vendor.driver, format!("the device is of driver {driver}, not of {}", vendor.driver)),
        (pool.is_some_and(Pool::complete), format!("the device is of pool {pool_name}, which is not a complete pool")),
        (
            pool.is_some_and(|pool| pool.devices.iter().any(|known| known.name == device)),
            format!("pool {pool_name} has no device {device}"),
        ),
        (reserved, format!("the claim is not reserved for {pod}")),
    ];
    let held = statements.iter().filter(|(holds, _)| *holds).count();
    let outcome = match statements.iter().find(|(holds, _)| !holds) {
        Some((_, problem)) => Outcome::fail(problem.clone()),
        None => Outcome::pass(format!("{device} of pool {pool_name} allocated")),
    };
    outcome.seen("devices", vec![format!("{pool_name}/{device}")], 1).asserted(held, statements.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor;

    fn pool(slices: usize, declared: i64) -> Pool {
        let device = crate::snapshot::Device {
            name: "gpu-3".to_owned(),
            attributes: [("type".to_owned(), "gpu".to_owned())].into(),
            capacity: [].into(),
            taints: vec![],
        };
        Pool {
            driver: "gpu.nvidia.com".to_owned(),
            name: "n1".to_owned(),
            node: Some("n1".to_owned()),
            generation: 1,
            slices,
            slices_declared: declared,
            stale_slices: 0,
            devices: vec![device],
        }
    }

    fn claim(pool: &str, device: &str, user: &str) -> Value {
        json!({"status": {
            "allocation": {"devices": {"results": [{"driver": "gpu.nvidia.com", "pool": pool, "device": device, "request": "gpu"}]}},
            "reservedFor": [{"resource": "pods", "name": user}],
        }})
    }

    fn judged(claim: &Value) -> Outcome {
        let pod = ObjectRef::new("v1", "Pod", Some("ns"), "dra-support");
        judge_allocation(claim, &pod, &[pool(1, 1)], vendor::named("nvidia").expect("known")).guarded()
    }

    #[test]
    fn a_device_of_a_complete_pool_reserved_for_the_pod_passes() {
        let outcome = judged(&claim("n1", "gpu-3", "dra-support"));
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
        assert_eq!(outcome.message, "gpu-3 of pool n1 allocated");
    }

    #[test]
    fn an_allocation_that_names_no_known_device_or_another_pod_or_nothing_fails() {
        for wrong in [claim("n2", "gpu-3", "dra-support"), claim("n1", "gpu-9", "dra-support"), claim("n1", "gpu-3", "other"), json!({})] {
            assert_eq!(judged(&wrong).verdict, Verdict::Fail);
        }
    }

    #[test]
    fn missing_slices_class_or_completeness_fail_before_anything_is_created() {
        let vendor = vendor::named("nvidia").expect("known");
        let class = json!({"metadata": {"name": "gpu.nvidia.com"}});
        assert_eq!(judge_structure(&[pool(1, 1)], std::slice::from_ref(&class), vendor).guarded().verdict, Verdict::Pass);
        assert_eq!(judge_structure(&[pool(1, 2)], std::slice::from_ref(&class), vendor).verdict, Verdict::Fail);
        assert_eq!(judge_structure(&[], &[class], vendor).verdict, Verdict::Fail);
        assert_eq!(judge_structure(&[pool(1, 1)], &[], vendor).verdict, Verdict::Fail);
    }

    #[test]
    fn the_waits_of_the_trial_fit_into_its_timeout() {
        // Running, the pod's removal, release, the claim's removal.
        let waits = limits::POD_RUNNING + limits::CLEANUP + limits::GPU_RELEASE;
        assert!(waits < CHECK.timeout, "To fix: raise the timeout of dra-support above {waits:?}");
    }
}
