//! Tests of readings by address.

use std::collections::BTreeMap;

use serde_json::json;

use crate::constraints::Over;
use crate::snapshot::{Address, At, Reading, Snapshot};

fn snapshot() -> Snapshot {
    let node = |name: &str, kubelet: &str, labels: serde_json::Value| {
        json!({"name": name, "hardware": "unknown", "marks": [], "labels": labels, "unschedulable": false, "capacity": {}, "allocatable": {},
            "conditions": {}, "providerId": "aws:///us-east-1a/i-0",
            "taints": [{"key": "dedicated", "value": "teamA", "effect": "NoSchedule"}, {"key": "dedicated", "value": "teamB", "effect": "NoSchedule"}],
            "versions": {"kubeletVersion": kubelet, "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.8.0"},
            "gpus": if name == "cpu" { json!({}) } else { json!({"vendor": "nvidia", "labelCount": 8, "product": "NVIDIA-H100-80GB-HBM3"}) }})
    };
    let gpu = json!({"nvidia.com/cuda.driver.major": "580", "nvidia.com/cuda.driver.minor": "95", "nvidia.com/cuda.driver.rev": "05"});
    let device = |name: &str| {
        json!({"name": name, "attributes": {"type": "gpu", "uuid": format!("GPU-{name}"), "productName": "NVIDIA H100 80GB HBM3"},
        "capacity": {"memory": "80Gi"}})
    };
    let workload = json!({"kind": "Deployment", "namespace": "gpu-operator", "name": "gpu-operator",
        "versions": {"app.kubernetes.io/version": "v25.10.1"}, "images": {"nvcr.io/nvidia/gpu-operator:v25.10.1": []}});
    let value = json!({
        "apiVersion": "seatrial.dev/v1alpha1", "kind": "Snapshot",
        "cluster": {"id": {"value": "x"}, "version": {"value": "v1.35.4"}, "hardware": "unknown"},
        "nodes": {"value": [node("cpu", "v1.35.4", json!({})), node("gpu-1", "v1.35.4", gpu.clone()), node("gpu-2", "v1.34.0", gpu)]},
        "pools": {"value": [{"driver": "gpu.nvidia.com", "name": "gpu-2", "node": "gpu-2", "generation": 1, "slices": 1, "slicesDeclared": 1,
            "staleSlices": 0, "devices": [device("gpu-0"), device("gpu-1")]}]},
        "deviceClasses": {"value": []}, "workloads": {"value": [workload]}, "crds": {"value": []}, "apis": {"unavailable": "denied"},
        "images": {"value": {"registry.k8s.io/pause:3.10": [], "quay.io/other/pause:3.9": [], "127.0.0.1:5000/a/b@sha256:00": []}},
    });
    serde_json::from_value(value).expect("is a snapshot")
}

fn read(address: &str, over: Option<Over>) -> Vec<At> {
    snapshot().readings(&Address::parse(address).expect("an address"), over)
}

/// Subject → value, or `!` and the reason.
fn said(found: &[At]) -> BTreeMap<String, String> {
    found
        .iter()
        .map(|at| {
            (
                at.subject.clone(),
                at.reading.value().cloned().unwrap_or_else(|| format!("!{}", at.reading.unavailable().unwrap_or_default())),
            )
        })
        .collect()
}

#[test]
fn a_cluster_has_one_reading_and_each_node_its_own() {
    assert_eq!(read("K8s.server.version", None)[0].reading, Reading::Value("v1.35.4".to_owned()));
    let kubelets = said(&read("K8s.node.kubelet-version", None));
    assert_eq!(kubelets.len(), 3);
    assert_eq!(kubelets["node gpu-2"], "v1.34.0");
    assert_eq!(said(&read("K8s.node.provider", None))["node cpu"], "eks");
    assert_eq!(said(&read("K8s.node.container-runtime-version", None))["node cpu"], "2.1.4");
    assert_eq!(
        read("K8s.node.kubelet-version", Some(Over::Cluster))[0].reading.unavailable(),
        Some("they differ: node gpu-2 v1.34.0, 2 v1.35.4")
    );
    assert_eq!(read("K8s.node.provider", Some(Over::Cluster))[0].reading, Reading::Value("eks".to_owned()));
    let wrong = read("K8s.server.version", Some(Over::Gpus));
    assert_eq!(wrong[0].reading.unavailable(), Some("K8s.server.version is one reading of the cluster, not of each GPU"));
}

#[test]
fn hardware_is_read_of_gpu_nodes_only_and_labels_stand_in_where_facts_were_not_taken() {
    let drivers = read("GPU.smi.driver", None);
    assert_eq!(
        said(&drivers),
        BTreeMap::from([("node gpu-1".to_owned(), "580.95.05".to_owned()), ("node gpu-2".to_owned(), "580.95.05".to_owned())])
    );
    assert_eq!(drivers[0].source, "label nvidia.com/cuda.driver-version.full");
    assert_eq!(said(&read("GPU.smi.gpu-count", None))["node gpu-1"], "8");
    assert_eq!(said(&read("Deployment.gpu-driver.version", None)).len(), 2);
    let vbios = said(&read("GPU.vbios", None));
    assert!(vbios["node gpu-1"].starts_with("!no node facts in this snapshot: take it with"), "{vbios:?}");
    assert_eq!(vbios.len(), 3, "one reading for gpu-1, which lists no devices, and two for gpu-2: {vbios:?}");
    assert_eq!(said(&read("GPU.uuid", None))["node gpu-2 GPU gpu-0"], "GPU-gpu-0");
    let kernel = read("OS.sysctl./proc/sys/kernel/osrelease", None);
    assert_eq!((kernel[0].reading.clone(), kernel[0].source.as_str()), (Reading::Value("6.8.0".to_owned()), "kubelet"));
}

#[test]
fn two_taints_of_one_key_and_two_images_of_one_name_are_both_there() {
    let taints: Vec<String> = read("NodeTopology.taint.dedicated", None).into_iter().filter_map(|at| at.reading.value().cloned()).collect();
    assert_eq!(taints.iter().filter(|taint| *taint == "teamA:NoSchedule").count(), 3);
    assert_eq!(taints.iter().filter(|taint| *taint == "teamB:NoSchedule").count(), 3);
    let images = said(&read("K8s.image.pause", None));
    assert_eq!(images.values().collect::<Vec<_>>(), ["3.9", "3.10"]);
    assert_eq!(said(&read("K8s.image.b", None))["image 127.0.0.1:5000/a/b@sha256:00"], "sha256:00");
    assert_eq!(read("K8s.image.puase", None)[0].reading.unavailable(), Some("no pod runs an image named `puase`; did you mean `pause`?"));
    assert_eq!(said(&read("NodeTopology.summary.taint-count", None))["cluster"], "2");
}

#[test]
fn a_component_is_found_by_name_and_what_seatrial_does_not_read_says_so() {
    let found = read("Deployment.gpu-operator.version", None);
    assert_eq!(
        (found[0].subject.as_str(), found[0].reading.value().map(String::as_str)),
        ("Deployment gpu-operator/gpu-operator", Some("v25.10.1"))
    );
    assert!(
        read("Deployment.gpu-operatr.version", None)[0]
            .reading
            .unavailable()
            .is_some_and(|why| why.ends_with("did you mean `gpu-operator`?"))
    );
    assert!(read("K8s.slinky-slurm.detected", None)[0].reading.unavailable().is_some());
    assert!(read("NetworkTopology.identity.pf-count", None)[0].reading.unavailable().is_some());
}

#[test]
fn without_nodes_every_reading_of_nodes_says_why() {
    let snapshot = Snapshot { nodes: Reading::Unavailable("denied: list nodes".to_owned()), ..snapshot() };
    for address in ["K8s.node.kubelet-version", "OS.release.ID", "GPU.smi.driver", "GPU.vbios", "NodeTopology.label.a"] {
        let found = snapshot.readings(&Address::parse(address).expect(address), None);
        assert_eq!(found.len(), 1);
        assert!(found[0].reading.unavailable().is_some_and(|why| why.contains("denied")), "{address}: {found:?}");
    }
}

#[test]
fn an_imported_snapshot_is_read_as_it_was_written_and_its_labels_node_by_node() {
    let measurements = json!({
        "K8s": {"server": {"data": {"version": "v1.33.0-eks-1"}}, "image": {"data": {"gpu-operator": "v25.10.1"}}},
        "GPU": {"smi": {"data": {"driver": "570.86.15", "gpu-count": "8", "gpu.model": "NVIDIA H100 80GB HBM3"}}},
        "NodeTopology": {
            "label": {"data": {"kubernetes.io/os": "linux|n1,n2,n3", "zone.a": "a|n1", "zone.b": "b|n2", "nvidia.com/gpu.present": "true|n1,n2"}},
            "taint": {"items": [
                {"context": {"key": "dedicated", "value": "teamA", "effect": "NoSchedule"}, "data": {"node-list": "n1", "node-count": "1", "truncated": "false"}},
                {"context": {"key": "dedicated", "value": "teamB", "effect": "NoSchedule"}, "data": {"node-list": "n2", "node-count": "1", "truncated": "false"}}]}},
    });
    let mut imported = Snapshot::without_cluster("read from another tool's snapshot");
    imported.imported = Some(
        serde_json::from_value(
            json!({"apiVersion": "aicr.nvidia.com/v1alpha1", "metadata": {"source-node": "n1"}, "measurements": measurements}),
        )
        .expect("is imported"),
    );
    let read = |address: &str| imported.readings(&Address::parse(address).expect(address), None);
    assert_eq!(said(&read("K8s.server.version"))["cluster"], "v1.33.0-eks-1");
    assert_eq!(said(&read("GPU.smi.gpu-count"))["node n1"], "8");
    assert_eq!(said(&read("Deployment.gpu-operator.version"))["cluster"], "v25.10.1");
    let zones = said(&read("NodeTopology.label.zone"));
    assert_eq!((zones["node n1"].as_str(), zones["node n2"].as_str()), ("a", "b"));
    assert!(zones["node n3"].starts_with("!it has no label zone"));
    let taints = said(&read("NodeTopology.taint.dedicated"));
    assert_eq!((taints["node n1"].as_str(), taints["node n2"].as_str()), ("teamA:NoSchedule", "teamB:NoSchedule"));
    assert!(read("OS.release.ID")[0].reading.unavailable().is_some_and(|why| why.contains("no OS.release")));
    assert!(
        read("GPU.vbios")[0].reading.unavailable().is_some_and(|why| why.contains("each GPU")),
        "the first of eight does not speak for all"
    );
    let labels = imported.gpu_node_labels();
    assert_eq!(labels.len(), 2, "{labels:?}");
    assert_eq!(labels[0].1.value().map(|labels| labels["zone"].clone()), Some("a".to_owned()));
}
