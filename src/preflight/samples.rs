//! Objects as a run will create them, made from what its steps and checks declare: what the API server is asked to let in.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::checks::probe;
use crate::cluster::{Access, Place};
use crate::error::Result;
use crate::recipe::{Allocation, IntentSpec};
use crate::steps::Inputs;

/// The name of samples; nothing is ever stored under it.
const NAME: &str = "seatrial-preflight";

/// One object as a run will create it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// The object, without a namespace where it goes into the run's.
    pub(super) object: Value,
    /// How many such objects there will be at once.
    pub(super) times: u32,
}

/// What the API server is asked to let in.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Into the run's namespace.
    pub(super) scratch: Vec<Sample>,
    /// What set-up applies, wherever that goes.
    pub(super) setup: Vec<Value>,
    /// Resources that will be created and that there is no sample of.
    pub(super) unknown: BTreeSet<String>,
    /// Images of the pods.
    pub(super) images: Vec<String>,
}

/// True if pods come of this access, made by us or by a controller.
pub(super) fn makes_pods(access: &Access) -> bool {
    creates(access) && ["pods", "jobs", "deployments"].contains(&access.resource.as_ref())
}

fn creates(access: &Access) -> bool {
    access.place == Place::Scratch && access.verbs.contains(&"create")
}

/// Samples of everything that a run creates, by what it declares. `dra` is the served `apiVersion` of DRA.
pub(super) fn of(inputs: &Inputs, accesses: &[Access], dra: Option<&str>) -> Result<Samples> {
    let vendor = inputs.vendor()?;
    let probe = probe::pod_spec(vendor, &inputs.pods, probe::IDLE_IMAGE, &[], &json!({}));
    let claim =
        |count| dra.map(|version| json!({"devices": {"requests": [probe::gpu_request(version, "gpu", &vendor.device_class, count)]}}));
    let mut samples = Samples { setup: inputs.workflow.manifests.clone(), ..Samples::default() };
    let mut images = BTreeSet::new();
    for access in accesses.iter().filter(|access| creates(access)) {
        let (api_version, kind, spec) = match (access.group.as_ref(), access.resource.as_ref()) {
            ("", "pods") => ("v1", "Pod", probe.clone()),
            ("batch", "jobs") => ("batch/v1", "Job", json!({"backoffLimit": 0, "template": {"spec": probe}})),
            ("apps", "deployments") => ("apps/v1", "Deployment", deployment(&probe)),
            ("autoscaling", "horizontalpodautoscalers") => {
                let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME});
                ("autoscaling/v2", "HorizontalPodAutoscaler", json!({"scaleTargetRef": target, "maxReplicas": 2}))
            }
            ("coordination.k8s.io", "leases") => {
                ("coordination.k8s.io/v1", "Lease", json!({"holderIdentity": NAME, "leaseDurationSeconds": 1}))
            }
            ("resource.k8s.io", resource @ ("resourceclaims" | "resourceclaimtemplates")) => match (dra, claim(1)) {
                (Some(version), Some(spec)) if resource == "resourceclaims" => (version, "ResourceClaim", spec),
                (Some(version), Some(spec)) => (version, "ResourceClaimTemplate", json!({"spec": spec})),
                _ => continue,
            },
            ("", "configmaps") => ("v1", "ConfigMap", Value::Null),
            _ => {
                samples.unknown.insert(access.name());
                continue;
            }
        };
        if access.resource == "pods" {
            images.insert(inputs.pods.image(probe::IDLE_IMAGE));
        }
        samples.scratch.push(Sample { object: object(api_version, kind, NAME, spec), times: 1 });
    }
    if let Some(spec) = intent(inputs) {
        images.insert(inputs.pods.image(&spec.image));
        let resources = match spec.allocation {
            Allocation::DevicePlugin => json!({"limits": {vendor.resource.as_str(): spec.gpus_per_pod.to_string()}}),
            Allocation::Dra => json!({}),
        };
        let pod = probe::pod_spec(vendor, &inputs.pods, &spec.image, &spec.command, &resources);
        samples.scratch.push(Sample { object: object("v1", "Pod", "seatrial-preflight-intent", pod), times: spec.pods });
        let claims = accesses.iter().any(|access| creates(access) && access.resource == "resourceclaims");
        if let (Allocation::Dra, true, Some(version), Some(claim)) = (spec.allocation, claims, dra, claim(spec.gpus_per_pod)) {
            let object = object(version, "ResourceClaim", "seatrial-preflight-intent", claim);
            samples.scratch.push(Sample { object, times: spec.pods });
        }
    }
    samples.images = images.into_iter().collect();
    Ok(samples)
}

/// The intent's workload, if the run comes to it.
fn intent(inputs: &Inputs) -> Option<&IntentSpec> {
    let workflow = &inputs.workflow.workflow.spec;
    let intent = workflow.intent?;
    let spec = inputs.recipe.recipe.spec.intent.get(&intent).filter(|_| inputs.behavioral)?;
    let runs = workflow.steps.iter().any(|step| step.id == "intent");
    let allowed = inputs.max_gpus.is_none_or(|most| spec.pods * spec.gpus_per_pod <= most);
    (runs && allowed).then_some(spec)
}

fn deployment(pod: &Value) -> Value {
    let labels = json!({"seatrial.dev/preflight": "sample"});
    let mut pod = pod.clone();
    pod["restartPolicy"] = json!("Always");
    json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}})
}

fn object(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if !spec.is_null() {
        object["spec"] = spec;
    }
    object
}

impl Sample {
    /// One object that wants as much as all of them together, to ask whether there is room; none if one is all.
    pub(super) fn all_at_once(&self) -> Option<Value> {
        if self.times < 2 {
            return None;
        }
        let mut whole = self.object.clone();
        let mut grown = false;
        for container in whole.pointer_mut("/spec/containers").and_then(Value::as_array_mut).into_iter().flatten() {
            for (_, amount) in container["resources"]["limits"].as_object_mut().into_iter().flatten() {
                if let Some(one) = amount.as_str().and_then(|text| text.parse::<u64>().ok()) {
                    *amount = json!((one * u64::from(self.times)).to_string());
                    grown = true;
                }
            }
        }
        for request in whole.pointer_mut("/spec/devices/requests").and_then(Value::as_array_mut).into_iter().flatten() {
            for at in ["/exactly/count", "/count"] {
                if let Some(count) = request.pointer_mut(at)
                    && let Some(one) = count.as_u64()
                {
                    *count = json!(one * u64::from(self.times));
                    grown = true;
                }
            }
        }
        grown.then_some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::accesses;
    use crate::recipe::load;
    use crate::workflow::Loaded;

    fn inputs(workflow: &str, max_gpus: Option<u32>) -> Inputs {
        let workflow = Loaded::read(workflow).expect("a workflow");
        Inputs { max_gpus, ..Inputs::new(workflow, load::read("sim-h100").expect("a recipe")) }
    }

    #[test]
    fn everything_that_a_run_declares_to_create_has_a_sample() {
        for workflow in ["conformance", "training", "inference"] {
            let inputs = inputs(workflow, None);
            let samples = of(&inputs, &accesses(&inputs, false).expect("accesses"), Some("resource.k8s.io/v1")).expect("samples");
            assert_eq!(samples.unknown, BTreeSet::new(), "To fix: add a sample of it to src/preflight/samples.rs");
            assert!(samples.scratch.iter().any(|sample| sample.object["kind"] == "Pod"));
            assert!(samples.images.contains(&probe::IDLE_IMAGE.to_owned()));
        }
    }

    #[test]
    fn room_is_asked_for_all_pods_at_once_and_not_for_what_max_gpus_leaves_out() {
        let all = |max_gpus| {
            let inputs = inputs("conformance", max_gpus);
            let samples = of(&inputs, &accesses(&inputs, false).expect("accesses"), Some("resource.k8s.io/v1")).expect("samples");
            samples.scratch.iter().filter_map(Sample::all_at_once).collect::<Vec<_>>()
        };
        let [pod] = all(None).try_into().expect("the intent's pods");
        assert_eq!(pod.pointer("/spec/containers/0/resources/limits/nvidia.com~1gpu"), Some(&json!("16")));
        assert!(all(Some(8)).is_empty());
    }
}
