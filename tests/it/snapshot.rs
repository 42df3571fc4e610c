//! Snapshots of real API servers: the same twice, without loss, and with the odd node named.

use seatrial::snapshot::{Address, Snapshot, read_text};
use serde_json::{Value, json};

use crate::faults::proxied;
use crate::support::Bin;
use crate::support::cluster::{LeasedCluster, lease};
use crate::support::fault_proxy::{Fault, Rule};

fn take(cluster: &LeasedCluster, more: &[&str]) -> (String, String) {
    let ran = Bin::seatrial().args(["snapshot", "--kubeconfig"]).args([&cluster.kubeconfig()]).args(more).exits(0);
    (ran.stdout, ran.stderr)
}

fn values(snapshot: &Snapshot, address: &str) -> Vec<String> {
    let found = snapshot.readings(&Address::parse(address).expect(address), None);
    found.into_iter().filter_map(|at| at.reading.value().cloned()).collect()
}

fn node(name: &str, kubelet: &str, taints: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.product": "A100",
            "nvidia.com/gpu.present": "true", "nvidia.com/cuda.driver-version.full": kubelet}},
        "spec": {"taints": taints, "providerID": format!("aws:///us-east-1a/{name}")}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_read_without_loss_the_same_twice_and_the_odd_node_is_named() {
    let mut cluster = lease().await;
    let taints = |value: &str| json!([{"key": "dedicated", "value": value, "effect": "NoSchedule"}]);
    let mut items: Vec<Value> = (1..=3).map(|n| node(&format!("a100-{n}"), "580.95.05", &taints("teamA"))).collect();
    items.push(node("a100-4", "570.86.15", &taints("teamB")));
    let pod = |name: &str, image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "nowhere", "containers": [{"name": "c", "image": image}]}})
    };
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}).to_string());
    items.extend([pod("one", "one.example/tools/agent:1.30"), pod("two", "two.example/agent:1.3")]);
    // Its taints of nodes that nobody plays come when they come.
    cluster.stop("kube-controller-manager");
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());

    let (first, said) = take(&cluster, &[]);
    assert!(said.contains("odd: a100-4: driver 570.86.15 (usual: 580.95.05, 3 nodes)"), "{said}");
    let snapshot = read_text(&first, "snapshot.json").expect("is read");
    let (second, _) = take(&cluster, &["-t", "yaml"]);
    assert_eq!(read_text(&second, "snapshot.yaml").expect("is read"), snapshot, "the same cluster gives the same document, in YAML too");

    let taints = values(&snapshot, "NodeTopology.taint.dedicated");
    assert_eq!(taints, ["teamA:NoSchedule", "teamA:NoSchedule", "teamA:NoSchedule", "teamB:NoSchedule"]);
    let mut agents = values(&snapshot, "K8s.image.agent");
    agents.sort();
    assert_eq!(agents, ["1.3", "1.30"], "two registries' images of one name");
    assert_eq!(values(&snapshot, "K8s.server.platform"), ["linux/amd64"]);
    assert!(values(&snapshot, "K8s.node.provider").contains(&"eks".to_owned()));
    assert!(snapshot.policies.as_ref().is_some_and(|policies| policies.value().is_some()), "{:?}", snapshot.policies);

    let (aicr, said) = take(&cluster, &["-t", "aicr"]);
    assert!(said.contains("left out, as that format has no place for it: DRA pools"), "{said}");
    let again = read_text(&aicr, "aicr.json").expect("is read");
    assert_eq!(values(&again, "NodeTopology.taint.dedicated"), taints);
    assert_eq!(values(&again, "K8s.server.version"), values(&snapshot, "K8s.server.version"));

    let (redacted, said) = take(&cluster, &["--redact"]);
    assert!(!redacted.contains("a100-4") && !redacted.contains("sim-node-1"), "names are gone");
    assert!(said.contains("node name"), "{said}");
    let redacted = read_text(&redacted, "redacted.json").expect("is read");
    assert_eq!(redacted.cluster, snapshot.cluster, "hardware and identity stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_or_no_longer_accepts_us_gives_no_snapshot_and_leaves_the_old_file() {
    let cluster = lease().await;
    let cases = [
        ("/api/v1/pods", Fault::Status(401), 4, "API server answers 401"),
        ("/api/v1/nodes", Fault::Status(403), 4, "a snapshot needs to list nodes"),
        ("/api/v1/nodes", Fault::Status(503), 6, "API server answers 503"),
        ("/apis/apps/v1/deployments", Fault::Status(503), 6, "API server answers 503"),
    ];
    for (path, fault, code, said) in cases {
        let (proxy, folder, kubeconfig) = proxied(&cluster);
        proxy.inject(Rule::new(fault).on("GET", path));
        let file = folder.path().join("snapshot.json");
        std::fs::write(&file, "precious").expect("is written");
        let ran = Bin::seatrial().args(["snapshot", "-o"]).args([&file]).args(["--kubeconfig"]).args([&kubeconfig]).exits(code);
        assert!(ran.stderr.contains(said), "{path}: {}", ran.stderr);
        assert_eq!(std::fs::read_to_string(&file).expect("is there"), "precious", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_in_the_document_with_its_reason() {
    let cluster = lease().await;
    for (path, address) in [("/api/v1/pods", "K8s.image.pause"), ("/apis/nvidia.com/v1/clusterpolicies", "K8s.policy.driver.enabled")] {
        let (proxy, _folder, kubeconfig) = proxied(&cluster);
        proxy.inject(Rule::new(Fault::Status(403)).on("GET", path));
        let ran = Bin::seatrial().args(["snapshot", "--kubeconfig"]).args([&kubeconfig]).exits(0);
        let snapshot = read_text(&ran.stdout, "snapshot.json").expect("is read");
        let found = snapshot.readings(&Address::parse(address).expect("an address"), None);
        assert!(found[0].reading.unavailable().is_some_and(|why| why.contains("denied")), "{path}: {found:?}");
        assert!(ran.stderr.contains("not read: "), "{}", ran.stderr);
    }
}
