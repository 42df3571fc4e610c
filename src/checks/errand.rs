//! Pods that say something: what a container sees is what its script prints, read from its log.

use backon::Retryable;
use serde_json::{Value, json};

use crate::checks::{Cx, probe};
use crate::cluster::{ObjectRef, Query, Scratch};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::results::{ErrorReason, Outcome};

/// A small image with a shell, as Kubernetes' own conformance tests use it; a mirror may put another one with a shell in its place.
pub(super) const SHELL_IMAGE: &str = "registry.k8s.io/e2e-test-images/busybox:1.36.1-1";

/// The line with which a script's words end: until it is there, more may come.
const END: &str = "seatrial: end of words";

/// How a container is given its GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gpus {
    /// None.
    None,
    /// So many of the device plugin's resource.
    Resource(u32),
    /// By a claim of this name.
    Claim(String),
}

/// One container of an errand.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    /// Its name.
    pub(super) name: &'static str,
    /// What it prints; it keeps still afterwards, so that it holds what it holds.
    pub(super) script: String,
    /// Its GPUs.
    pub(super) gpus: Gpus,
    /// Its environment.
    pub(super) env: Vec<(&'static str, &'static str)>,
}

/// Why a pod does not say anything.
#[derive(Debug)]
pub(super) enum Silence {
    /// The API server, or an admission webhook, does not let it be.
    Refused(Error),
    /// It does not run, and this is not what was asked about: what kept it.
    Kept(Box<Outcome>),
}

/// The pod for some voices on one node.
pub(super) fn pod(cx: &Cx<'_>, name: &str, node: &str, voices: &[Voice]) -> Value {
    let mut spec = probe::pod_spec(cx.vendor, cx.pods, SHELL_IMAGE, &[], &json!({}));
    let first = spec["containers"][0].take();
    let containers = voices.iter().map(|voice| {
        let mut container = first.clone();
        // A shell does not heed SIGTERM while it waits for another program.
        let script = format!("{}\necho '{END}'\nexec sleep 600", voice.script);
        container["name"] = json!(voice.name);
        container["command"] = json!(["/bin/sh", "-c", script]);
        container["env"] = voice.env.iter().map(|(key, value)| json!({"name": key, "value": value})).collect();
        container["resources"] = json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}});
        match &voice.gpus {
            Gpus::None => {}
            Gpus::Resource(count) => container["resources"]["limits"][&cx.vendor.resource] = json!(count.to_string()),
            Gpus::Claim(claim) => container["resources"]["claims"] = json!([{"name": claim}]),
        }
        container
    });
    spec["containers"] = containers.collect();
    let claims: Vec<Value> = voices
        .iter()
        .filter_map(
            |voice| if let Gpus::Claim(claim) = &voice.gpus { Some(json!({"name": claim, "resourceClaimName": claim})) } else { None },
        )
        .collect();
    if !claims.is_empty() {
        spec["resourceClaims"] = json!(claims);
    }
    // By the scheduler, which knows of cordons, taints and claims.
    spec["affinity"]["nodeAffinity"] = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
    ]}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

/// Creates a pod.
pub(super) async fn create(scratch: &Scratch, pod: Value) -> std::result::Result<ObjectRef, Silence> {
    scratch.create(pod).await.map_err(|error| match error.kind() {
        Kind::Denied | Kind::Schema => Silence::Refused(error),
        _ => Silence::Kept(Box::new(Outcome::from(error))),
    })
}

/// Waits until all containers of a pod run.
pub(super) async fn running(cx: &Cx<'_>, pod: &ObjectRef) -> std::result::Result<(), Silence> {
    cx.waiting(&format!("{pod} to run"));
    let query = Query::within(pod.namespace.as_deref().unwrap_or_default()).named(&pod.name);
    let state = |pods: &[&Value]| pods.first().and_then(|pod| state_of(pod));
    let running = cx.cluster.wait_until(("v1", "Pod"), &query, &format!("{pod} to run"), limits::ERRAND_RUNNING, state).await;
    match running {
        Ok(Ok(())) => Ok(()),
        Ok(Err((reason, why))) => Err(Silence::Kept(kept(reason, pod, &why))),
        Err(error) if error.kind() == Kind::Timeout => {
            let now = cx.cluster.get("v1", "Pod", pod.namespace.as_deref(), &pod.name).await;
            let why = match now {
                Ok(Some(now)) => waits_for(&now),
                Ok(None) => "someone else removed it".to_owned(),
                Err(error) => error.chain(),
            };
            let waited = limits::ERRAND_RUNNING.as_secs();
            Err(Silence::Kept(kept(ErrorReason::Timeout, pod, &format!("does not run after {waited} s: {why}"))))
        }
        Err(error) => Err(Silence::Kept(Box::new(Outcome::from(error)))),
    }
}

fn kept(reason: ErrorReason, pod: &ObjectRef, why: &str) -> Box<Outcome> {
    Box::new(
        Outcome::error(reason, format!("{pod} {why}")).fix(format!("kubectl describe pod {} while it is there (--no-cleanup)", pod.name)),
    )
}

/// What a container has printed, once it has printed all of it.
///
/// # Errors
/// [`Kind::Timeout`] if it does not come to its end; as [`crate::cluster::Cluster::logs`] otherwise.
pub(super) async fn words(cx: &Cx<'_>, pod: &ObjectRef, container: &str) -> Result<Vec<String>> {
    // A log cannot be watched without losing what a cut connection has eaten, so it is read again.
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(limits::BACKOFF_MIN)
        .with_max_delay(limits::BACKOFF_MAX)
        .with_total_delay(Some(limits::ERRAND_WORDS))
        .without_max_times();
    let read = || async {
        let log = cx.cluster.logs(pod, container, limits::TOOL_BYTES).await?;
        let mut lines: Vec<String> = log.lines().map(|line| line.trim_end().to_owned()).collect();
        if lines.last().is_some_and(|line| line == END) {
            lines.pop();
            return Ok(lines);
        }
        let waited = limits::ERRAND_WORDS.as_secs();
        Err(Error::new(Kind::Timeout, format!("container {container} of {pod} has not said all within {waited} s")))
    };
    read.retry(backoff).when(|error: &Error| error.kind() == Kind::Timeout).await
}

/// The state of a pod that ends the waiting: it runs, or it never will.
fn state_of(pod: &Value) -> Option<std::result::Result<(), (ErrorReason, String)>> {
    let all_run = || {
        let statuses = pod["status"]["containerStatuses"].as_array();
        statuses.is_some_and(|all| !all.is_empty() && all.iter().all(|status| !status["state"]["running"].is_null()))
    };
    match pod["status"]["phase"].as_str() {
        Some("Running") if all_run() => Some(Ok(())),
        Some(phase @ ("Succeeded" | "Failed")) => {
            let why =
                [&pod["status"]["reason"], &pod["status"]["message"]].into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(": ");
            Some(Err((ErrorReason::Unavailable, format!("ended as {phase} {why}").trim().to_owned())))
        }
        _ => probe::image_trouble(pod).map(|why| Err((ErrorReason::Image, format!("cannot have its image: {why}")))),
    }
}

/// What a pod that does not run waits for.
fn waits_for(pod: &Value) -> String {
    if let Some(reason) = probe::unschedulable(pod) {
        return format!("the scheduler does not place it: {reason}");
    }
    if pod["spec"]["nodeName"].is_null() {
        return "no scheduler has looked at it".to_owned();
    }
    let waiting = pod["status"]["containerStatuses"].as_array().into_iter().flatten().find_map(|status| {
        let waiting = &status["state"]["waiting"];
        Some(format!("{}: {}", waiting["reason"].as_str()?, waiting["message"].as_str().unwrap_or_default()))
    });
    waiting.unwrap_or_else(|| "nothing says why".to_owned())
}
