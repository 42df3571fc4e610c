//! Redaction: what names a place or a person goes, what constraints read stays.

use seatrial::snapshot::{Address, Snapshot, read_text, redact};
use serde_json::{Value, json};

/// What must not be in a redacted document, wherever it was.
const SECRETS: &[&str] = &[
    "ip-10-0-12-34",
    "gpu-worker-7",
    "10.0.12.34",
    "fd00:10::7",
    "123456789012",
    "i-0123456789abcdef0",
    "admin@example.com",
    "hunter2",
    "eyJhbGciOiJI",
    "0a:58:0a:00:0c:22",
    "2b1d7c1e-1111-4222-8333-444455556666",
    "AKIAIOSFODNN7EXAMPLE",
    "198.51.100.7",
];

fn snapshot() -> Snapshot {
    let node = |name: &str| {
        json!({"name": name, "hardware": "unknown", "marks": [], "unschedulable": false, "capacity": {"nvidia.com/gpu": "8"}, "allocatable": {},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": "us-east-1a",
                "nvidia.com/cuda.driver-version.full": "580.95.05", "owner": "admin@example.com", "internal-ip": "10.0.12.34", "account": "123456789012",
                "join-token": "hunter2", "instance": "i-0123456789abcdef0", "asset": "2b1d7c1e-1111-4222-8333-444455556666", "mac": "0a:58:0a:00:0c:22",
                "peer": "fd00:10::7"},
            "taints": [{"key": "reserved-for", "value": name, "effect": "NoSchedule"}], "conditions": {"Ready": "True"},
            "versions": {"kubeletVersion": "v1.35.4", "kernelVersion": "6.8.0.1", "containerRuntimeVersion": "containerd://2.1.4"},
            "providerId": "aws:///us-east-1a/i-0123456789abcdef0", "gpus": {"vendor": "nvidia", "labelCount": 8}})
    };
    let mut snapshot = Snapshot::without_cluster("x");
    let nodes = [node("ip-10-0-12-34.ec2.internal"), node("gpu-worker-7")];
    snapshot.nodes = serde_json::from_value(json!({"value": nodes})).expect("nodes");
    snapshot.cluster.id = seatrial::snapshot::Reading::Value("0b6ac0d8-9d83-4a6c-9a3e-6a8f7f0f4f6b".to_owned());
    let pool = json!({"driver": "gpu.nvidia.com", "name": "gpu-worker-7", "node": "gpu-worker-7", "generation": 1, "slices": 1, "slicesDeclared": 1,
        "staleSlices": 0, "devices": [{"name": "gpu-0", "attributes": {"uuid": "GPU-2b1d7c1e-1111-4222-8333-444455556666"}, "capacity": {}}]});
    snapshot.pools = serde_json::from_value(json!({"value": [pool]})).expect("pools");
    snapshot.images = Some(
        serde_json::from_value(
            json!({"value": {"123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app:1.2.3.4": [], "registry.k8s.io/pause:3.10": []}}),
        )
        .expect("images"),
    );
    let mut value = serde_json::to_value(&snapshot).expect("JSON");
    let facts: Value = {
        let none = json!({"unavailable": "dial tcp 198.51.100.7:443: refused"});
        json!({"view": "host", "kernel": {"value": "6.8.0"}, "osRelease": none, "sysctl": {"value": {"/proc/sys/kernel/osrelease": "6.8.0"}}, "modules": none,
            "cmdline": {"value": ["iommu=pt", "ip=10.0.12.34::10.0.12.1", "k3s_token=hunter2", "user=AKIAIOSFODNN7EXAMPLE", "jwt=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc"]},
            "units": none, "runtimes": none, "pci": {"value": []}, "gpus": {"value": []}, "nics": none, "rdma": none})
    };
    value["nodes"]["value"][0]["facts"] = json!({"value": facts});
    serde_json::from_value(value).expect("a snapshot")
}

fn read(snapshot: &Snapshot, address: &str) -> Vec<Option<String>> {
    snapshot.readings(&Address::parse(address).expect(address), None).into_iter().map(|at| at.reading.value().cloned()).collect()
}

#[test]
fn nothing_that_names_a_place_or_a_person_is_left_and_what_was_taken_is_listed() {
    let before = snapshot();
    let after = redact::redact(&before, &redact::Pseudonyms::Numbered).expect("is redacted");
    let text = serde_json::to_string_pretty(&after).expect("JSON");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is still there:\n{text}");
    }
    let removed = &after.redaction.as_ref().expect("is said").removed;
    for what in [
        "node name",
        "provider id",
        "account",
        "IP address",
        "email address",
        "secret",
        "hardware address",
        "identifier",
        "device id",
        "network name",
    ] {
        assert!(removed.iter().any(|one| one.what == what && one.count > 0), "{what}: {removed:#?}");
    }
    assert!(removed.iter().any(|one| one.place == "nodes[].labels.kubernetes.io/hostname"), "{removed:#?}");
    assert_eq!(read_text(&text, "redacted.json").expect("is read again"), after);
    let again = redact::redact(&before, &redact::Pseudonyms::Numbered).expect("is redacted");
    assert_eq!(after, again, "the same input gives the same output");
}

#[test]
fn what_constraints_read_stays_and_a_name_is_the_same_everywhere() {
    let before = snapshot();
    let after = redact::redact(&before, &redact::Pseudonyms::Numbered).expect("is redacted");
    for address in [
        "K8s.server.version",
        "K8s.node.kubelet-version",
        "K8s.node.kernel-version",
        "K8s.node.provider",
        "K8s.node.container-runtime-version",
        "NodeTopology.label.kubernetes.io/os",
        "NodeTopology.label.topology.kubernetes.io/zone",
        "GPU.smi.driver",
        "GPU.smi.gpu-count",
        "OS.grub.iommu",
        "K8s.image.pause",
        "K8s.image.app",
        "OS.sysctl./proc/sys/kernel/osrelease",
        "NodeTopology.summary.node-count",
    ] {
        let mut values = (read(&before, address), read(&after, address));
        // Nodes are in the order of their names, which are others now.
        values.0.sort();
        values.1.sort();
        assert_eq!(values.0, values.1, "{address}");
    }
    assert_eq!(after.cluster.id, before.cluster.id, "a cluster can still be told from another");
    let nodes = after.nodes.value().expect("are there");
    let pool = &after.pools.value().expect("are there")[0];
    let owner = nodes.iter().find(|node| Some(&node.name) == pool.node.as_ref()).expect("a pool's node is a node");
    assert_eq!(owner.labels["kubernetes.io/hostname"], owner.name);
    assert_eq!(owner.taints[0].value, owner.name);
}

#[test]
fn with_a_key_pseudonyms_are_the_same_in_every_snapshot_and_others_with_another_key() {
    let names = |snapshot: &Snapshot, key: &str| {
        let after = redact::redact(snapshot, &redact::Pseudonyms::Keyed(key.as_bytes().to_vec())).expect("is redacted");
        after.nodes.value().expect("are there").iter().map(|node| node.name.clone()).collect::<Vec<_>>()
    };
    let both = snapshot();
    let mut one = both.clone();
    if let seatrial::snapshot::Reading::Value(nodes) = &mut one.nodes {
        nodes.truncate(1);
    }
    let (all, less) = (names(&both, "a secret of sixteen bytes"), names(&one, "a secret of sixteen bytes"));
    assert!(all.contains(&less[0]), "{all:?} {less:?}");
    assert!(!names(&both, "another secret of enough bytes").contains(&less[0]));
}

#[test]
fn packed_labels_of_another_tool_are_redacted_too() {
    let text = std::fs::read_to_string(crate::fixture("snapshots/aicr-v1alpha1.yaml")).expect("a fixture");
    let text = text.replace("gpu-node-2", "gpu-worker-7").replace(
        "kubernetes.io/os: linux",
        "kubernetes.io/hostname.gpu-worker-7: gpu-worker-7|gpu-worker-7\n          kubernetes.io/os: linux",
    );
    let after = redact::redact(&read_text(&text, "a.yaml").expect("is read"), &redact::Pseudonyms::Numbered).expect("is redacted");
    let json = serde_json::to_string(&after).expect("JSON");
    assert!(!json.contains("gpu-worker-7") && !json.contains("gpu-node-1") && !json.contains("0123456789abcdef0"), "{json}");
    assert_eq!(read(&after, "NodeTopology.label.kubernetes.io/os").len(), 3);
    assert_eq!(read(&after, "GPU.smi.driver"), [Some("570.86.15".to_owned())]);
}
