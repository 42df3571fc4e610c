//! Read-only checks on a real control plane: green on the healthy cluster, red for the right reason on a wrong one.

use crate::support::cluster::{LeasedCluster, lease};
use crate::trial::{Site, Trial};

const NAMES: [&str; 6] =
    ["convergence", "expected-resources", "gpu-operator-health", "gpu-operator-version", "node-uniformity", "operator-health"];

/// The shipped recipe with these checks alone, and the version of the operator that the simulated cluster has.
fn site() -> Site {
    let site = restless();
    site.edit("    - gpu-operator-health\n", "    - convergence\n    - gpu-operator-health\n");
    site
}

/// The same without the check that waits.
fn restless() -> Site {
    let site = Site::new();
    site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", "    - gpu-operator-health\n");
    site.edit("  checks:\n", "  checks:\n    deployment: [expected-resources, gpu-operator-version, node-uniformity, operator-health]\n");
    site.edit(
        "  checks:\n",
        "  components: [{name: gpu-operator, version: v25.10.0}]\n  thresholds: [{id: time-to-rest, value: '<= 14', unit: s, per: job, source: a test}]\n  checks:\n",
    );
    site
}

/// Runs health and conformance; `wrong` are the checks that do not pass.
#[track_caller]
fn trial(site: &Site, cluster: &LeasedCluster, wrong: &[&str]) -> Trial {
    let workflow = site.workflow("training", &["snapshot", "setup", "health", "conformance"]);
    let trial = site.run(&cluster.kubeconfig(), &workflow, &[], i32::from(!wrong.is_empty()));
    trial.only(wrong);
    trial
}

// case: convergence | healthy | the demo cluster; passes
// case: expected-resources | healthy | the demo cluster; passes
// case: gpu-operator-health | healthy | the demo cluster; passes
// case: gpu-operator-version | healthy | the demo cluster; passes
// case: node-uniformity | healthy | the demo cluster; passes
// case: operator-health | healthy | the demo cluster; passes
#[tokio::test]
async fn a_healthy_cluster_is_green_and_says_what_was_seen() {
    let cluster = lease().await;
    let trial = trial(&site(), &cluster, &[]);
    for name in NAMES {
        trial.has(name, "pass", "");
    }
    trial.has("convergence", "pass", "4 GPU nodes with 32 GPUs, unchanged for 10 s");
    trial.has("gpu-operator-version", "pass", "has version v25.10.0 (label), wanted == v25.10.0");
    trial.has("node-uniformity", "pass", "4 GPU nodes, alike within each kind");
}

// case: operator-health | wrong | the operator wants no replica; fails
// case: operator-health | wrong | the operator is in CrashLoopBackOff; fails
// case: gpu-operator-health | wrong | the ClusterPolicy is not ready and a DaemonSet is gone; fails and names both
// case: gpu-operator-health | wrong | the operator wants no replica; fails
// case: expected-resources | wrong | a DaemonSet is gone; fails and names it
// case: expected-resources | wrong | a Deployment wants no replica; fails and names it
#[tokio::test]
async fn an_operator_that_crashes_or_is_scaled_to_zero_is_red_and_so_is_what_it_does_not_install() {
    let cluster = lease().await;
    let site = restless();
    cluster.kubectl(&["scale", "deployment/gpu-operator", "--namespace", "gpu-operator", "--replicas", "0"]);
    cluster.kubectl(&[
        "wait",
        "deployment/gpu-operator",
        "--namespace",
        "gpu-operator",
        "--for=jsonpath={.status.observedGeneration}=2",
        "--timeout=20s",
    ]);
    cluster.kubectl(&["wait", "pod", "--selector", "app=gpu-operator", "--namespace", "gpu-operator", "--for=delete", "--timeout=20s"]);
    let zero = trial(&site, &cluster, &["expected-resources", "operator-health", "gpu-operator-health"]);
    zero.has("operator-health", "fail", "wants no replica, so nothing of it runs");
    zero.has("expected-resources", "fail", "deployment gpu-operator/gpu-operator: wants no replica");

    let crashing =
        r#"{"spec": {"replicas": 1, "template": {"metadata": {"annotations": {"sim.seatrial.dev/waiting": "CrashLoopBackOff"}}}}}"#;
    cluster.kubectl(&["patch", "deployment/gpu-operator", "--namespace", "gpu-operator", "--type", "merge", "--patch", crashing]);
    let policy = r#"{"status": {"state": "notReady"}}"#;
    cluster.kubectl(&["patch", "clusterpolicy/cluster-policy", "--subresource", "status", "--type", "merge", "--patch", policy]);
    cluster.kubectl(&["delete", "daemonset/nvidia-dcgm-exporter", "--namespace", "gpu-operator", "--wait"]);
    let reason = "{.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff";
    cluster.kubectl(&[
        "wait",
        "pod",
        "--selector",
        "app=gpu-operator",
        "--namespace",
        "gpu-operator",
        &format!("--for=jsonpath={reason}"),
        "--timeout=20s",
    ]);
    let crashing = trial(&site, &cluster, &["expected-resources", "operator-health", "gpu-operator-health"]);
    crashing.has("operator-health", "fail", "container gpu-operator is in CrashLoopBackOff");
    crashing.has("gpu-operator-health", "fail", "its state is notReady, not ready");
    crashing.has("gpu-operator-health", "fail", "there is no DaemonSet nvidia-dcgm-exporter");
    crashing.has("expected-resources", "fail", "daemonset gpu-operator/nvidia-dcgm-exporter: does not exist");
}

// case: gpu-operator-version | wrong | an older version by its label; fails with both versions
// case: gpu-operator-version | wrong | neither a label nor a tag says the version; fails
// case: gpu-operator-version | healthy | no label: the tag of its image speaks; passes and says so
// case: expected-resources | wrong | an older version than the recipe wants; fails
#[tokio::test]
async fn another_version_and_one_that_is_not_said_are_red() {
    let cluster = lease().await;
    let site = restless();
    let label = |value: &str| cluster.kubectl(&["label", "deployment/gpu-operator", "--namespace", "gpu-operator", "--overwrite", value]);
    label("app.kubernetes.io/version=v24.6.0");
    let old = trial(&site, &cluster, &["expected-resources", "gpu-operator-version"]);
    old.has("gpu-operator-version", "fail", "has version v24.6.0 (label), wanted == v25.10.0");
    old.has("expected-resources", "fail", "version v24.6.0 is not >=25.3, <26");
    // Without the label the image's tag speaks.
    label("app.kubernetes.io/version-");
    let tagged = trial(&site, &cluster, &["expected-resources"]);
    tagged.has("gpu-operator-version", "pass", "(image tag)");
    let bare = format!("gpu-operator=example.invalid/gpu-operator@sha256:{}", "0".repeat(64));
    cluster.kubectl(&["set", "image", "deployment/gpu-operator", "--namespace", "gpu-operator", &bare]);
    cluster.kubectl(&["rollout", "status", "deployment/gpu-operator", "--namespace", "gpu-operator", "--timeout=30s"]);
    let silent = trial(&site, &cluster, &["expected-resources", "gpu-operator-version"]);
    silent.has("gpu-operator-version", "fail", "does not say its version: no label");
}

// case: node-uniformity | wrong | one node with another driver; fails and names it
// case: node-uniformity | wrong | one node with 7 GPUs; fails and names it
// case: node-uniformity | healthy | one node is cordoned; passes and says so
#[tokio::test]
async fn one_node_with_another_driver_or_fewer_gpus_is_named_and_a_cordoned_one_is_disclosed() {
    let cluster = lease().await;
    let site = restless();
    cluster.kubectl(&["cordon", "sim-node-1"]);
    trial(&site, &cluster, &[]).has("node-uniformity", "pass", "(cordoned: sim-node-1)");
    cluster.kubectl(&["label", "node/sim-node-3", "--overwrite", "nvidia.com/cuda.driver-version.full=550.54.15"]);
    trial(&site, &cluster, &["node-uniformity"]).has(
        "node-uniformity",
        "fail",
        "sim-node-3: driver 550.54.15 (usual: 570.148.08, 3 nodes)",
    );
    cluster.kubectl(&["label", "node/sim-node-3", "--overwrite", "nvidia.com/cuda.driver-version.full=570.148.08"]);
    cluster.kubectl(&["label", "node/sim-node-2", "--overwrite", "nvidia.com/gpu.count=7"]);
    trial(&site, &cluster, &["node-uniformity"]).has("node-uniformity", "fail", "sim-node-2: gpus 7 (usual: 8, 3 nodes)");
}

// case: convergence | wrong | a node has a start-up taint; fails and names it
// case: convergence | wrong | 4 nodes where the recipe says 5; fails
#[tokio::test]
async fn a_node_that_still_comes_up_and_nodes_that_are_not_there_are_no_rest() {
    let cluster = lease().await;
    let site = site();
    cluster.kubectl(&["cordon", "sim-node-1"]);
    cluster.kubectl(&["taint", "nodes", "sim-node-4", "skyhook.nvidia.com=runtime-required:NoSchedule"]);
    let tainted = trial(&site, &cluster, &["convergence"]);
    tainted.has("convergence", "fail", "node sim-node-4: has taint skyhook.nvidia.com of Skyhook");
    tainted.has("convergence", "fail", "(cordoned: sim-node-1)");
    cluster.kubectl(&["taint", "nodes", "sim-node-4", "skyhook.nvidia.com-"]);
    site.edit("criteria: {service: sim, accelerator: h100}", "criteria: {service: sim, accelerator: h100, nodes: 5}");
    trial(&site, &cluster, &["convergence"]).has("convergence", "fail", "4 GPU nodes where the recipe says 5");
}
