//! A healthy cluster is green, every time; each planted defect turns the check red that is there for it, and nothing else.

use crate::support::cluster::{LeasedCluster, lease};
use crate::trial::{Site, nothing_left};

/// Without set-up and health, which most defects do not touch.
const SHORT: &[&str] = &["snapshot", "conformance", "collect"];
/// With the intent.
const LONG: &[&str] = &["snapshot", "inventory", "conformance", "intent", "collect"];
/// All of it.
const WHOLE: &[&str] = &["snapshot", "inventory", "setup", "health", "conformance", "intent", "collect"];

const PLUGIN_NODE: &str = "name: sim-node-2, profile: h100-sxm-8, mode: device-plugin, zone: sim-b";
const DRA_NODE: &str = "name: sim-node-4, profile: h100-sxm-8, mode: dra, zone: sim-b";

/// Loads one node with something wrong, or as it was.
fn plant(cluster: &LeasedCluster, node: &str, defect: &str) {
    cluster.load(&format!("apiVersion: seatrial.dev/v1alpha1\nkind: SimCluster\nname: planted\nnodes:\n- {{{node}{defect}}}\n"));
}

// case: dra-support | healthy | two nodes with DRA; passes five times
// case: gpu-capacity | healthy | two nodes by device plugin, two by DRA; passes five times
// case: platform-health | healthy | everything runs; passes five times
#[tokio::test]
async fn five_runs_of_a_healthy_cluster_are_green_with_the_same_plan_and_snapshot() {
    let cluster = lease().await;
    let site = Site::new();
    let mut first = None;
    for _ in 0..5 {
        let trial = site.run_as(&cluster.kubeconfig(), &["run", "conformance"], 0);
        trial.only(&[]);
        let plan = std::fs::read_to_string(trial.out.join("plan.json")).expect("the plan is written");
        let seen = (plan, trial.report["snapshot"].clone());
        assert!(seen.1.as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{}", seen.1);
        assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen);
        nothing_left(&cluster);
    }
}

#[tokio::test]
async fn the_training_and_inference_workflows_are_green_too() {
    let cluster = lease().await;
    let site = Site::new();
    for (workflow, says) in [("training", "2 × 8 GPU pods running together"), ("inference", "2 × 1 GPU pods available")] {
        let trial = site.run_as(&cluster.kubeconfig(), &["run", workflow, "--namespace", "default"], 0);
        trial.has(&format!("intent/{workflow}"), "pass", says).only(&[]);
        nothing_left(&cluster);
    }
}

// case: gpu-capacity | wrong | one device, or one of the capacity, less than the node's label says; fails and names the node
// case: gpu-capacity | wrong | one GPU is not allocatable; fails and names the node
#[tokio::test]
async fn a_node_whose_advertisers_disagree_is_named_by_gpu_capacity() {
    let cluster = lease().await;
    let site = Site::new();
    let workflow = site.workflow("training", SHORT);
    for (node, defect, says) in [
        (DRA_NODE, ", devices: 7", "node sim-node-4: label nvidia.com/gpu.count says 8, its ResourceSlice has 7 devices"),
        (PLUGIN_NODE, ", capacity: 7", "node sim-node-2: label nvidia.com/gpu.count says 8, its capacity has 7 nvidia.com/gpu"),
        (PLUGIN_NODE, ", allocatable: 7", "node sim-node-2: 1 of 8 nvidia.com/gpu are not allocatable"),
    ] {
        plant(&cluster, node, defect);
        let trial = site.run(&cluster.kubeconfig(), &workflow, &[], 1);
        trial.has("gpu-capacity", "fail", says).only(&["gpu-capacity"]);
        assert!(trial.stderr.contains(says), "{}", trial.stderr);
        plant(&cluster, node, "");
    }
    site.run(&cluster.kubeconfig(), &workflow, &[], 0).only(&[]);
    nothing_left(&cluster);
}

// case: dra-support | wrong | a pool has one of two ResourceSlices; fails and names the pool
// case: gpu-capacity | wrong | a pool has one of two ResourceSlices; fails and names the node
#[tokio::test]
async fn a_pool_that_lacks_a_slice_is_named_by_both_checks_that_look_at_pools() {
    let cluster = lease().await;
    let site = Site::new();
    plant(&cluster, DRA_NODE, ", sliceCount: 2");
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", SHORT), &[], 1);
    trial.has("gpu-capacity", "fail", "node sim-node-4: pool sim-node-4 of gpu.nvidia.com has 1 of 2 ResourceSlices");
    trial.has("dra-support", "fail", "pool sim-node-4 of gpu.nvidia.com has 1 of 2 ResourceSlices");
    trial.only(&["dra-support", "gpu-capacity"]);
}

#[tokio::test]
async fn gpus_that_the_cluster_does_not_have_are_a_failure_of_the_intent_and_not_busy() {
    let cluster = lease().await;
    let site = Site::new();
    plant(&cluster, PLUGIN_NODE, ", capacity: 7");
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", LONG), &[], 1);
    trial.has("intent/training", "fail", "2 pods with 8 GPUs each are wanted, 1 would fit if nothing else ran");
}

// case: dra-support | wrong | the DeviceClass matches nothing; fails with the scheduler's words
#[tokio::test]
async fn a_device_class_that_matches_nothing_fails_dra_support_with_the_schedulers_words() {
    let cluster = lease().await;
    let site = Site::new();
    plant(&cluster, DRA_NODE, "}\ndeviceClasses:\n- {name: gpu.nvidia.com, expression: 'false'");
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("inference", LONG), &[], 1);
    let says = "the scheduler allocates no device of class gpu.nvidia.com although 16 are free: 0/4 nodes are available";
    trial.has("dra-support", "fail", says).has("intent/inference", "fail", "cannot allocate all claims");
    trial.only(&["dra-support", "intent/inference"]);
    nothing_left(&cluster);
}

// case: dra-support | wrong | the scheduler has stopped; fails
#[tokio::test]
async fn a_scheduler_that_has_stopped_fails_dra_support_and_the_intent() {
    let mut cluster = lease().await;
    let site = Site::new();
    cluster.stop("kube-scheduler");
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", LONG), &[], 1);
    trial.has("dra-support", "fail", "no scheduler has looked at pod default/dra-support for 30 s");
    trial.has("intent/training", "fail", "0 of 2 pods of job default/intent run after 4 s: no scheduler has looked");
    trial.only(&["dra-support", "intent/training"]);
    nothing_left(&cluster);
}

// case: dra-support | fault | ResourceSlices may not be listed; refused beforehand, else error(denied)
// case: gpu-capacity | fault | ResourceSlices may not be listed; refused beforehand, else error(denied)
#[tokio::test]
async fn a_denied_read_is_refused_beforehand_and_an_error_of_the_checks_that_need_it() {
    let cluster = lease().await;
    let site = Site::new();
    let workflow = site.workflow("training", SHORT);
    let kubeconfig = cluster.kubeconfig_without("list", "resourceslices.resource.k8s.io");

    let refused = site.run(&kubeconfig, &workflow, &[], 4);
    assert!(refused.stderr.contains("permissions are missing: list resourceslices.resource.k8s.io cluster-wide"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: `seatrial rbac"), "{}", refused.stderr);
    assert!(!refused.out.join("results.json").exists(), "nothing was run, so there is no result");
    nothing_left(&cluster);

    let trial = site.run(&kubeconfig, &workflow, &["--skip-preflight"], 3);
    for check in ["gpu-capacity", "dra-support"] {
        trial.has(check, "error(denied)", "list ResourceSlice of resource.k8s.io/v1: the API server answers 403 Forbidden");
    }
    trial.only(&["dra-support", "gpu-capacity"]);
    trial.has("snapshot", "pass", "DRA) (unavailable: ResourceSlices)");
    nothing_left(&cluster);
}

#[tokio::test]
async fn all_missing_objects_are_listed_at_once_and_block_the_intent() {
    let cluster = lease().await;
    let site = Site::new();
    let missing = "  expect:
  - {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, name: widgets.example.com}
  - {apiVersion: example.com/v1, kind: Widget, name: first}
";
    site.edit("  expect:\n", missing);
    site.edit("name: gpu-operator, version: \">=25.3, <26\"", "name: gpu-operator, version: \">=99\"");
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", LONG), &[], 1);
    trial.has("inventory", "fail", "3 of 13 expected objects missing or wrong: ");
    trial.has("inventory", "fail", "customresourcedefinition widgets.example.com does not exist");
    trial.has("inventory", "fail", "widget first cannot exist: the API server serves no kind Widget in example.com/v1");
    trial.has("inventory", "fail", "deployment gpu-operator/gpu-operator version v25.10.0 is not >=99");
    trial.has("intent/training", "not-run(blocked-by)", "needs a complete inventory").only(&["intent/training"]);
    nothing_left(&cluster);
}

#[tokio::test]
async fn a_check_that_this_version_cannot_run_is_an_error_and_never_skipped() {
    let cluster = lease().await;
    let site = Site::new();
    site.edit("  checks:\n", "  checks:\n    performance: [nccl-all-reduce-bw]\n");
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", LONG), &[], 3);
    trial.has("nccl-all-reduce-bw", "error(unsupported)", "cannot run nccl-all-reduce-bw yet").only(&["nccl-all-reduce-bw"]);
}

const UNHEALTHY: &str = "
apiVersion: chainsaw.kyverno.io/v1alpha1
kind: Test
metadata: {name: operator}
spec:
  timeouts: {assert: 1s, error: 1s}
  steps:
  - try:
    - assert:
        resource:
          apiVersion: apps/v1
          kind: Deployment
          metadata: {name: gpu-operator, namespace: gpu-operator}
          status: {(availableReplicas == replicas): true}
";

// case: platform-health | wrong | an operator's new image never starts; fails and names the Deployment
// case: platform-health | wrong | a node is not ready; fails and names it
#[tokio::test]
async fn an_unhealthy_deployment_and_a_node_that_is_not_ready_are_named_by_setup_health_and_platform_health() {
    let cluster = lease().await;
    let site = Site::new();
    site.write("operator.yaml", UNHEALTHY);
    site.edit("[quick.yaml]", "[quick.yaml, operator.yaml]");
    // A new image that never starts, as the simulator is told: the old replicas stay, the new one does not come.
    let patch = r#"{"spec":{"template":{"metadata":{"annotations":{"sim.seatrial.dev/waiting":"ErrImagePull"}}}}}"#;
    cluster.kubectl(&["patch", "deployment", "gpu-operator", "-n", "gpu-operator", "--type=merge", "-p", patch]);
    let surplus = "--for=jsonpath={.status.unavailableReplicas}=1";
    cluster.kubectl(&["wait", surplus, "--timeout=20s", "deployment/gpu-operator", "-n", "gpu-operator"]);
    let workflow = site.workflow("inference", WHOLE);
    let trial = site.run(&cluster.kubeconfig(), &workflow, &[], 1);
    trial.has("setup", "error(timeout)", "not settled after 3 s: deployment gpu-operator/gpu-operator: ");
    trial.has("health/operator", "fail", "deployment gpu-operator/gpu-operator: status.(availableReplicas == replicas)");
    trial.has("platform-health", "fail", "deployment gpu-operator/gpu-operator: ");
    trial.only(&["health/operator", "platform-health"]);

    cluster.kubectl(&["rollout", "undo", "deployment/gpu-operator", "-n", "gpu-operator"]);
    plant(&cluster, PLUGIN_NODE, ", annotations: {sim.seatrial.dev/ready: 'false'}");
    cluster.kubectl(&["wait", "--for=condition=Ready=False", "--timeout=20s", "node/sim-node-2"]);
    let trial = site.run(&cluster.kubeconfig(), &workflow, &[], 1);
    trial.has("setup", "error(timeout)", "not settled after 3 s: node sim-node-2: Ready is False");
    trial.has("platform-health", "fail", "node sim-node-2: Ready is False").only(&["platform-health"]);
    nothing_left(&cluster);
}

const HOLDERS: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: eight, namespace: default}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com, count: 8}}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: by-claim, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {holds: by-claim}}
  template:
    metadata: {labels: {holds: by-claim}}
    spec:
      containers: [{name: c, image: example.invalid/c:1, resources: {claims: [{name: gpu}]}}]
      resourceClaims: [{name: gpu, resourceClaimTemplateName: eight}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: by-plugin, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {holds: by-plugin}}
  template:
    metadata: {labels: {holds: by-plugin}}
    spec: {containers: [{name: c, image: example.invalid/c:1, resources: {limits: {nvidia.com/gpu: 8}}}]}
";

// case: dra-support | wrong | others hold every GPU; error(busy)
#[tokio::test]
async fn gpus_that_others_hold_are_busy_which_is_an_error_and_not_a_failure() {
    let cluster = lease().await;
    let site = Site::new();
    cluster.apply(HOLDERS);
    cluster.kubectl(&["wait", "--for=condition=Available", "--timeout=30s", "deployment", "--all", "-n", "default"]);
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("training", LONG), &[], 3);
    trial.has("dra-support", "error(busy)", "no device of gpu.nvidia.com is free: every one is held by a claim");
    trial.has("intent/training", "error(busy)", "2 pods with 8 GPUs each are wanted, 0 would find them free");
    trial.only(&["dra-support", "intent/training"]);
    let trial = site.run(&cluster.kubeconfig(), &site.workflow("inference", LONG), &[], 3);
    trial.has("intent/inference", "error(busy)", "2 pods with 1 GPUs each are wanted, 0 would find them free");
    nothing_left(&cluster);
}
