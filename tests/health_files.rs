//! The health files of the simulated cluster: each passes on a healthy cluster and fails on each wrong one, by objects in memory.

#[path = "support/objects.rs"]
mod objects;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use objects::outcome;
use seatrial::error::Error;
use seatrial::health::{self, Beside, Test};
use seatrial::results::Verdict;
use serde_json::{Map, Value, json};

fn shipped() -> BTreeMap<String, Test> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/health/sim");
    let files = fs::read_dir(&folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let (read, values) = (|path: &str| Err(Error::usage(format!("{path} is not looked for here"))), Map::new());
    let beside = Beside { read: &read, values: &values };
    let tests = files.flat_map(|file| {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("is read");
        let tests = health::load(&name, &text, &beside).expect("is a health file");
        assert_eq!(format!("{}.yaml", tests[0].name), name, "a shipped file has one test, of the same name");
        tests
    });
    tests.map(|test| (test.name.clone(), test)).collect()
}

fn deployment(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "Deployment", "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "status": {
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            "conditions": [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True"}],
        },
    })
}

fn daemon_set(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "DaemonSet", "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "status": {"observedGeneration": 1, "desiredNumberScheduled": 4, "updatedNumberScheduled": 4, "numberReady": 4},
    })
}

fn node(name: &str) -> Value {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    json!({
        "kind": "Node", "metadata": {"name": name, "labels": {"nvidia.com/gpu.present": "true"}},
        "status": {"conditions": [condition("Ready", "True"), condition("MemoryPressure", "False"), condition("DiskPressure", "False")]},
    })
}

fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": "gpu-operator"}},
        "status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]},
    })
}

/// A cluster in which everything that the shipped files ask for is as it should be.
fn healthy() -> Vec<Value> {
    let namespace = |name: &str| json!({"kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}});
    vec![
        namespace("gpu-operator"),
        namespace("nvidia-dra-driver"),
        json!({
            "kind": "CustomResourceDefinition", "metadata": {"name": "clusterpolicies.nvidia.com"},
            "status": {"conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]},
        }),
        json!({"kind": "ClusterPolicy", "metadata": {"name": "cluster-policy"}, "status": {"state": "ready"}}),
        deployment("gpu-operator", "gpu-operator"),
        daemon_set("gpu-operator", "nvidia-device-plugin-daemonset"),
        daemon_set("gpu-operator", "gpu-feature-discovery"),
        daemon_set("gpu-operator", "nvidia-dcgm-exporter"),
        deployment("nvidia-dra-driver", "nvidia-dra-driver-controller"),
        daemon_set("nvidia-dra-driver", "nvidia-dra-driver-kubelet-plugin"),
        node("sim-node-1"),
        node("sim-node-2"),
        pod("gpu-operator", "gpu-operator-0"),
    ]
}

#[test]
fn every_shipped_file_passes_on_a_healthy_cluster() {
    let tests = shipped();
    assert!(tests.len() >= 8, "{:?}", tests.keys());
    for (name, test) in tests {
        let outcome = outcome(&test, healthy());
        assert_eq!(outcome.verdict, Verdict::Pass, "{name}: {}", outcome.message);
        assert!(outcome.assertions.total > 1, "{name} looked at next to nothing");
    }
}

#[test]
fn no_shipped_file_passes_on_an_empty_cluster() {
    for (name, test) in shipped() {
        assert_eq!(outcome(&test, Vec::new()).verdict, Verdict::Fail, "{name}");
    }
}

#[test]
fn each_defect_turns_its_file_red_and_is_named() {
    for (file, object, place, value, said) in [
        ("namespaces", "gpu-operator", "/status/phase", json!("Terminating"), "namespace gpu-operator: status.phase: expected \"Active\""),
        ("crds", "clusterpolicies.nvidia.com", "/status/conditions/1/status", json!("False"), "expected \"True\", got \"False\""),
        ("crds", "clusterpolicies.nvidia.com", "/status/conditions", json!([]), "expected 1 elements, got 0"),
        ("nodes", "sim-node-2", "/status/conditions/0/status", json!("Unknown"), "node sim-node-2 is as it must not be"),
        ("nodes", "sim-node-2", "/status/conditions", json!([]), "node sim-node-2 is as it must not be"),
        ("nodes", "sim-node-1", "/status/conditions/1/status", json!("True"), "MemoryPressure"),
        ("gpu-operator", "gpu-operator", "/status/availableReplicas", json!(0), "availableReplicas"),
        ("gpu-operator", "gpu-operator", "/status/conditions/0/status", json!("False"), "expected \"True\", got \"False\""),
        ("gpu-operator", "gpu-operator", "/metadata/generation", json!(2), "metadata.generation is 2, status.observedGeneration is 1"),
        ("gpu-operator", "gpu-operator", "/status", json!(null), "status.observedGeneration is null"),
        ("cluster-policy", "cluster-policy", "/status/state", json!("notReady"), "expected \"ready\", got \"notReady\""),
        (
            "device-plugin",
            "nvidia-device-plugin-daemonset",
            "/status/numberReady",
            json!(3),
            "numberReady is 3, desiredNumberScheduled is 4",
        ),
        ("gpu-feature-discovery", "gpu-feature-discovery", "/status/desiredNumberScheduled", json!(0), "desiredNumberScheduled is 0"),
        ("dcgm-exporter", "nvidia-dcgm-exporter", "/status/numberReady", json!(0), "numberReady is 0"),
        ("dra-driver", "nvidia-dra-driver-controller", "/status/availableReplicas", json!(0), "availableReplicas"),
        ("dra-driver", "nvidia-dra-driver-kubelet-plugin", "/status/numberReady", json!(1), "numberReady is 1"),
        ("pods", "gpu-operator-0", "/status/phase", json!("Failed"), "expected \"Running\", got \"Failed\""),
        (
            "pods",
            "gpu-operator-0",
            "/status/containerStatuses/0/state",
            json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            "CrashLoopBackOff",
        ),
    ] {
        let mut objects = healthy();
        let kind = if file == "namespaces" { "Namespace" } else { "" };
        let is_meant = |candidate: &&mut Value| {
            candidate["metadata"]["name"] == object
                && (if kind.is_empty() { candidate["kind"] != "Namespace" } else { candidate["kind"] == kind })
        };
        let broken = objects.iter_mut().find(is_meant).expect(object);
        *broken.pointer_mut(place).expect(place) = value;
        let outcome = outcome(&shipped()[file], objects);
        assert_eq!(outcome.verdict, Verdict::Fail, "{file}: {object}{place}: {}", outcome.message);
        assert!(outcome.message.contains(said), "{file}: {object}{place}: {}", outcome.message);
    }
}
