//! Autoscalers of nodes: a pod that fits no node there is gets one, and the node goes with it. Wrong ones are scripted.

use crate::faults::proxied;
use crate::support::autoscaler::{self, Script};
use crate::support::cluster::{LeasedCluster, lease, lease_with, may_isolate};
use crate::support::fault_proxy::{Fault, Rule};
use crate::trial::{Site, Trial, nothing_left};

const ID: &str = "cluster-autoscaling";

/// The shipped recipe with this check alone, and these pools.
fn site(pools: &str) -> Site {
    let site = Site::new();
    site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", "    - cluster-autoscaling\n");
    site.edit("  checks:\n", &format!("  autoscaling: {{pools: [{pools}]}}\n  checks:\n"));
    site
}

/// Karpenter's own pool of the simulated cluster, of whose types only one has eight GPUs.
const SHIPPED: &str = "{name: sim-nvidia, gpusPerNode: 8, upSeconds: 60, downSeconds: 120}";

/// The pool that the script keeps.
fn scripted() -> Site {
    site("{name: scripted, nodeSelector: {pool: scripted}, gpusPerNode: 8, upSeconds: 15, downSeconds: 10}")
}

#[track_caller]
fn trial(site: &Site, cluster: &LeasedCluster, code: i32) -> Trial {
    site.run(&cluster.kubeconfig(), &site.workflow("training", &["snapshot", "conformance"]), &[], code)
}

/// Runs the check against a script, on a cluster of its own.
async fn against(script: Script, verdict: &str, words: &str) {
    let cluster = lease().await;
    let _running = autoscaler::start(&cluster.kubeconfig(), script).await;
    let code = i32::from(verdict != "pass");
    trial(&scripted(), &cluster, code).has(ID, verdict, words);
    nothing_left(&cluster);
}

// case: cluster-autoscaling | healthy | Karpenter adds a node of the right type for a pod of each of two pools, side by side, and removes both; pools for other GPUs are named
#[tokio::test]
async fn karpenter_adds_a_node_of_the_right_type_in_each_pool_and_removes_it() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_with(&["karpenter"]).await;
    // A second pool, of which the recipe says nothing.
    let mut small = cluster.get(&["nodepool", "sim-nvidia"]);
    small["metadata"] = serde_json::json!({"name": "small"});
    small["spec"]["template"]["spec"]["requirements"][0]["values"] = serde_json::json!(["g6.4xlarge"]);
    cluster.apply(&small.to_string());
    cluster.kubectl(&["wait", "nodepool/small", "--for=condition=Ready", "--timeout=30s"]);
    let site = site(SHIPPED);
    let workflow = site.workflow("training", &["snapshot", "conformance"]);
    let trial = site.run(&site.with_printed_roles(&cluster, &workflow), &workflow, &[], 0);
    trial.has(ID, "pass", "pool sim-nvidia: ").has(
        ID,
        "pass",
        "not tried: sim-amd (not for nvidia.com/gpu), sim-cpu (not for nvidia.com/gpu)",
    );
    let metrics: Vec<&str> =
        trial.result(ID)["measurements"].as_array().expect("a list").iter().filter_map(|one| one["metric"].as_str()).collect();
    assert_eq!(metrics, ["node_seconds", "running_seconds", "gone_seconds"]);
    assert_eq!(trial.result(ID)["subjects"]["seen"], serde_json::json!(["sim-nvidia", "small"]));
    nothing_left(&cluster);
    assert_eq!(cluster.kubectl(&["get", "nodes", "--selector", "karpenter.sh/nodepool", "-o", "name"]), "", "the node is gone");
}

// case: cluster-autoscaling | wrong | a NodePool of Karpenter makes the cheapest type, and the recipe declares another: both are named
// case: cluster-autoscaling | wrong | a NodePool with consolidation off, one with a disruption budget of 0, one whose limit forbids growing: told before a node is bought
#[tokio::test]
async fn karpenter_pools_that_make_another_type_or_cannot_shrink_or_grow_are_told() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_with(&["karpenter"]).await;
    let declared = "{name: sim-nvidia, labels: {node.kubernetes.io/instance-type: p5.48xlarge}, upSeconds: 60}";
    let says = "is of the wrong type: its label node.kubernetes.io/instance-type is g6.4xlarge, not p5.48xlarge";
    trial(&site(declared), &cluster, 1).has(ID, "fail", says);
    let patch = |patch: &str| cluster.kubectl(&["patch", "nodepool/sim-nvidia", "--type", "merge", "--patch", patch]);
    patch(r#"{"spec": {"disruption": {"consolidateAfter": "Never"}}}"#);
    trial(&site(SHIPPED), &cluster, 1).has(ID, "fail", "nodepool sim-nvidia never removes an empty node: its consolidateAfter is Never");
    patch(r#"{"spec": {"disruption": {"consolidateAfter": "5s", "budgets": [{"nodes": "0"}]}}}"#);
    trial(&site(SHIPPED), &cluster, 1).has(ID, "fail", "never removes an empty node: a disruption budget of 0 nodes");
    patch(r#"{"spec": {"disruption": {"budgets": [{"nodes": "10%"}]}, "limits": {"nvidia.com/gpu": "4"}}}"#);
    trial(&site(SHIPPED), &cluster, 1).has(ID, "fail", "nodepool sim-nvidia may have 4 nvidia.com/gpu and has ");
    nothing_left(&cluster);
}

// case: cluster-autoscaling | wrong | Karpenter is told by an annotation never to disrupt the pool's nodes: the node that stays is named
#[tokio::test]
#[ignore = "matrix"]
async fn a_node_that_karpenter_may_not_disrupt_stays_and_is_named() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_with(&["karpenter"]).await;
    let patch = r#"{"spec": {"template": {"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}}}}"#;
    cluster.kubectl(&["patch", "nodepool/sim-nvidia", "--type", "merge", "--patch", patch]);
    let site = site("{name: sim-nvidia, gpusPerNode: 8, upSeconds: 60, downSeconds: 60}");
    trial(&site, &cluster, 1).has(ID, "fail", "of pool sim-nvidia is still there 65 s after the pod that it came for has gone");
    nothing_left(&cluster);
}

// case: cluster-autoscaling | wrong | a NodePool whose node class is gone is not ready: told with Karpenter's words before anything is tried
#[tokio::test]
#[ignore = "matrix"]
async fn karpenter_without_its_node_class_is_told_before_anything_is_tried() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_with(&["karpenter"]).await;
    cluster.kubectl(&[
        "patch",
        "nodepool/sim-nvidia",
        "--type",
        "merge",
        "--patch",
        r#"{"spec": {"template": {"spec": {"nodeClassRef": {"name": "gone"}}}}}"#,
    ]);
    cluster.kubectl(&["wait", "nodepool/sim-nvidia", "--for=condition=Ready=False", "--timeout=30s"]);
    trial(&site(SHIPPED), &cluster, 1).has(ID, "fail", "nodepool sim-nvidia is not ready: ");
    nothing_left(&cluster);
}

// case: cluster-autoscaling | wrong | an autoscaler adds nodes with 1 GPU where 8 are asked for: the node and both numbers are named
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_the_wrong_type_are_named_with_what_they_offer() {
    let says = "node scripted-1 came for pool scripted, and the pod does not run there after 15 s: it offers 1 nvidia.com/gpu, and 8 were asked for";
    against(Script::WrongType, "fail", says).await;
}

// case: cluster-autoscaling | wrong | an autoscaler removes each node as soon as it is Ready, while a pod waits for it: told at once
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_taken_away_at_once_are_flapping() {
    against(Script::Flaps, "fail", "was Ready, and was taken away while a pod needed it").await;
}

// case: cluster-autoscaling | wrong | an autoscaler removes a node on which a pod runs
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_taken_from_a_running_pod_is_flapping() {
    against(Script::TakesAway, "fail", "node scripted-1 of pool scripted").await;
}

// case: cluster-autoscaling | wrong | an autoscaler never removes a node: the node that stays is named, with what it costs
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "matrix"]
async fn a_node_that_stays_when_nobody_needs_it_is_named() {
    against(Script::Keeps, "fail", "scripted-1 of pool scripted is still there 10 s after the pod that it came for has gone").await;
}

// case: cluster-autoscaling | wrong | an autoscaler removes the node and then adds one that nobody wants
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "matrix"]
async fn a_pool_that_does_not_come_to_rest_is_named() {
    against(Script::AddsForNobody, "fail", "pool scripted is not at rest after its node has gone: node scripted-2 came").await;
}

// case: cluster-autoscaling | wrong | no autoscaler serves the declared pool: what the scheduler says of the pod is told
#[tokio::test]
async fn a_declared_pool_that_nobody_grows_fails_with_the_schedulers_words() {
    let cluster = lease().await;
    let site = site("{name: scripted, nodeSelector: {pool: scripted}, upSeconds: 4}");
    let trial = trial(&site, &cluster, 1);
    trial.has(
        ID,
        "fail",
        "no node came for pool scripted within 4 s: no autoscaler has said anything of the pod; the scheduler says: 0/4 nodes",
    );
    nothing_left(&cluster);
}

// case: cluster-autoscaling | healthy | neither an autoscaler nor a declared pool: a skip with its reason, never a pass
#[tokio::test]
async fn no_autoscaler_at_all_is_a_skip_and_one_that_the_recipe_installs_a_failure() {
    let cluster = lease().await;
    let site = site("");
    trial(&site, &cluster, 3).has(ID, "skip(not-declared)", "no autoscaler of nodes was found");
    site.edit("  checks:\n", "  components: [{name: karpenter, version: 1.14.1}]\n  checks:\n");
    trial(&site, &cluster, 1).has(
        ID,
        "fail",
        "the recipe installs an autoscaler, and neither Karpenter's API nor cluster-autoscaler is here",
    );
}

// case: cluster-autoscaling | healthy | the script that adds and removes as it should passes, so that what the wrong ones fail for is what they do
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "matrix"]
async fn the_honest_script_passes() {
    against(Script::Honest, "pass", "scripted-1 came in").await;
}

// case: cluster-autoscaling | fault | the pod cannot be watched, as the API server answers 503: error(unavailable), although no node came
#[tokio::test]
async fn a_pod_that_cannot_be_watched_is_no_verdict_on_the_autoscaler() {
    let cluster = lease().await;
    let (proxy, _folder, kubeconfig) = proxied(&cluster);
    proxy.inject(Rule::new(Fault::Status(503)).on("GET", "/api/v1/namespaces/default/pods?").with("cluster-autoscaling-scripted").times(8));
    let site = site("{name: scripted, nodeSelector: {pool: scripted}, upSeconds: 3}");
    let trial = site.run(&kubeconfig, &site.workflow("training", &["snapshot", "conformance"]), &[], 3);
    trial.has(
        ID,
        "error(unavailable)",
        "try pool scripted: pod default/cluster-autoscaling-scripted to run on a new node: not seen within 3 s",
    );
    nothing_left(&cluster);
}
