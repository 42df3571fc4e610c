//! The pod that looks at one node, and what its end says. Pure.

use serde_json::{Value, json};

use crate::checks::probe;
use crate::node_facts::room::Ask;
use crate::node_facts::{HOST, HOST_PATHS, Mode, Options};
use crate::vendor;

/// The name of its only container.
pub(super) const CONTAINER: &str = "facts";

/// The claim for one GPU, where GPUs are had by claims.
pub(super) fn claim(name: &str, ask: Ask, dra: &str) -> Option<Value> {
    let Ask::Claim(vendor) = ask else { return None };
    let request = probe::gpu_request(dra, "gpu", &vendor.device_class, 1);
    Some(json!({
        "apiVersion": dra, "kind": "ResourceClaim", "metadata": {"name": name}, "spec": {"devices": {"requests": [request]}},
    }))
}

/// A pod for one node. It fits the restricted pod security standard, unless the host's own files are asked for.
pub(super) fn pod(name: &str, node: &str, ask: Ask, options: &Options) -> Value {
    // What reads files and runs a few tools; a namespace with a quota wants numbers.
    let mut resources = json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}});
    let mut command = vec!["seatrial", "node-facts"];
    let mut spec = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        // Also if nobody is there any more to remove it.
        "activeDeadlineSeconds": options.timeout.as_secs().max(1),
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    });
    let mut container = json!({
        "name": CONTAINER, "image": options.image,
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
    });
    // Nodes with GPUs keep others away by a taint of the resource's name.
    let taints: Vec<Value> =
        vendor::all().unwrap_or(&[]).iter().map(|vendor| json!({"key": vendor.resource, "operator": "Exists"})).collect();
    spec["tolerations"] = json!(taints);
    match ask {
        Ask::Bare => {}
        Ask::Resource(vendor) => resources["limits"][&vendor.resource] = json!("1"),
        Ask::Claim(_) => {
            resources["claims"] = json!([{"name": "gpu"}]);
            spec["resourceClaims"] = json!([{"name": "gpu", "resourceClaimName": name}]);
        }
    }
    if options.mode == Mode::Host {
        command.extend(["--root", HOST]);
        // Network settings below /proc/sys are those of the network namespace of whoever reads them.
        spec["hostNetwork"] = json!(true);
        let volume = |at: usize| format!("host-{at}");
        let paths = || HOST_PATHS.iter().enumerate();
        spec["volumes"] = paths().map(|(at, path)| json!({"name": volume(at), "hostPath": {"path": path}})).collect();
        container["volumeMounts"] =
            paths().map(|(at, path)| json!({"name": volume(at), "mountPath": format!("{HOST}{path}"), "readOnly": true})).collect();
    }
    container["command"] = json!(command);
    container["resources"] = resources;
    spec["containers"] = json!([container]);
    options.pods.apply(&mut spec);
    // By the scheduler, which knows of cordons, taints and claims; last, because it is what the pod is about.
    spec["affinity"]["nodeAffinity"] = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
    ]}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

/// Where a pod is, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not begun: what it waits for, if anything says so.
    Waiting(Option<String>),
    /// It runs.
    Running,
    /// It has ended well: its log is complete.
    Done,
    /// It will not do any more: why.
    Dead(String),
}

/// Where a pod is.
pub(super) fn stage(pod: &Value) -> Stage {
    let container = &pod["status"]["containerStatuses"][0]["state"];
    let text = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let both = |reason: &Value, message: &Value| [text(reason), text(message)].into_iter().flatten().collect::<Vec<_>>().join(": ");
    match pod["status"]["phase"].as_str() {
        Some("Succeeded") => Stage::Done,
        Some("Running") => Stage::Running,
        Some("Failed") => {
            let ended = &container["terminated"];
            let mut why = vec![both(&pod["status"]["reason"], &pod["status"]["message"]), both(&ended["reason"], &ended["message"])];
            why.extend(ended["exitCode"].as_i64().map(|code| format!("exit code {code}")));
            why.retain(|part| !part.is_empty());
            Stage::Dead(format!("its pod failed: {}", if why.is_empty() { "nothing says why".to_owned() } else { why.join(", ") }))
        }
        _ => {
            if let Some(reason) = probe::image_trouble(pod) {
                return Stage::Dead(format!("the image cannot be had: {reason}"));
            }
            if let Some(reason) = probe::unschedulable(pod) {
                return Stage::Waiting(Some(format!("the scheduler does not place its pod: {reason}")));
            }
            if pod["spec"]["nodeName"].is_null() {
                return Stage::Waiting(Some("no scheduler has looked at its pod".to_owned()));
            }
            let waiting = both(&container["waiting"]["reason"], &container["waiting"]["message"]);
            Stage::Waiting((!waiting.is_empty()).then(|| format!("its pod does not start: {waiting}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::pods::PodOptions;

    fn options(mode: Mode) -> Options {
        let pods = PodOptions {
            node_selector: BTreeMap::from([("pool".to_owned(), "gpu".to_owned())]),
            mirrors: vec![("ghcr.io".to_owned(), "mirror.example".to_owned())],
            template: Some(json!({"affinity": {"nodeAffinity": {"x": 1}, "podAffinity": {"y": 2}}, "priorityClassName": "low"})),
            ..PodOptions::default()
        };
        Options { mode, timeout: Duration::from_secs(30), pods, ..Options::new("ghcr.io/seatrial:1") }
    }

    #[test]
    fn the_pod_is_bound_to_its_node_and_restricted_whatever_the_user_lays_over_it() {
        let vendor = vendor::named("nvidia").expect("is shipped");
        let made = pod("facts-1", "gpu-7", Ask::Resource(vendor), &options(Mode::Container));
        let spec = &made["spec"];
        let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(terms, &json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gpu-7"]}]}]));
        assert_eq!((&spec["affinity"]["podAffinity"]["y"], &spec["priorityClassName"]), (&json!(2), &json!("low")));
        let container = &spec["containers"][0];
        assert_eq!(container["image"], "mirror.example/seatrial:1");
        assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], "1");
        assert_eq!(container["command"], json!(["seatrial", "node-facts"]));
        assert!(spec["volumes"].is_null() && spec["hostNetwork"].is_null() && container["volumeMounts"].is_null(), "{spec}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(spec["activeDeadlineSeconds"], 30);
    }

    #[test]
    fn the_host_is_mounted_read_only_path_by_path_and_a_claim_is_for_one_gpu() {
        let made = pod("facts-1", "gpu-7", Ask::Bare, &options(Mode::Host));
        let mounts = made["spec"]["containers"][0]["volumeMounts"].as_array().expect("a list");
        assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "{mounts:?}");
        let sources: Vec<&str> =
            made["spec"]["volumes"].as_array().expect("a list").iter().filter_map(|one| one["hostPath"]["path"].as_str()).collect();
        assert_eq!(sources, HOST_PATHS);
        let vendor = vendor::named("amd").expect("is shipped");
        assert_eq!(claim("c", Ask::Bare, "resource.k8s.io/v1"), None);
        let made = claim("c", Ask::Claim(vendor), "resource.k8s.io/v1").expect("is wanted");
        assert_eq!(made["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"], vendor.device_class.as_str());
    }

    #[test]
    fn every_end_and_every_wait_of_a_pod_has_a_reason() {
        let at = |status: Value| stage(&json!({"spec": {"nodeName": "a"}, "status": status}));
        let state = |phase: &str, state: Value| at(json!({"phase": phase, "containerStatuses": [{"state": state}]}));
        assert_eq!(at(json!({"phase": "Succeeded"})), Stage::Done);
        let dead = |stage: Stage| if let Stage::Dead(why) = stage { why } else { format!("not dead: {stage:?}") };
        let ended = state("Failed", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}));
        assert_eq!(dead(ended), "its pod failed: OOMKilled, exit code 137");
        let evicted = at(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}));
        assert_eq!(dead(evicted), "its pod failed: Evicted: low on memory");
        assert_eq!(dead(at(json!({"phase": "Failed"}))), "its pod failed: nothing says why");
        let image = state("Pending", json!({"waiting": {"reason": "ErrImagePull", "message": "no such host"}}));
        assert_eq!(dead(image), "the image cannot be had: ErrImagePull: no such host");
        let stuck = state("Pending", json!({"waiting": {"reason": "CreateContainerError", "message": "no runc"}}));
        assert_eq!(stuck, Stage::Waiting(Some("its pod does not start: CreateContainerError: no runc".to_owned())));
        assert_eq!(at(json!({})), Stage::Waiting(None));
        let refused = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/4 nodes"}]});
        assert_eq!(
            stage(&json!({"spec": {}, "status": refused})),
            Stage::Waiting(Some("the scheduler does not place its pod: 0/4 nodes".to_owned()))
        );
        assert_eq!(stage(&json!({})), Stage::Waiting(Some("no scheduler has looked at its pod".to_owned())));
    }
}
