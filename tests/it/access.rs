//! secure-accelerator-access on a real node: what its containers see in /dev, with and without GPUs. The devices are stand-ins.

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::node::{IMAGE, NodePlan};
use crate::trial::{Site, Trial};

const CHECK: &str = "secure-accelerator-access";

fn run(cluster: &LeasedCluster, code: i32) -> Trial {
    let site = Site::new();
    site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", &format!("    - {CHECK}\n"));
    let mirror = format!("registry.k8s.io/e2e-test-images/busybox:1.36.1-1={IMAGE}");
    let workflow = site.workflow("training", &["snapshot", "conformance"]);
    site.run(&cluster.kubeconfig(), &workflow, &["--image-mirror", &mirror], code)
}

/// A run beside a real node with two GPUs, whose containers find these device nodes.
async fn with(nodes: &str, code: i32, check: impl FnOnce(&LeasedCluster, &Trial)) {
    let cluster = lease().await;
    let Some(plan) = NodePlan::new(&cluster, "real-1") else { return };
    let _node = plan.device_nodes(nodes).start(2);
    let trial = run(&cluster, code);
    check(&cluster, &trial);
    assert_eq!(cluster.left(), "");
}

// case: secure-accelerator-access | healthy | a real node whose device plugin hands out one device node for each GPU: two tenants see one each, not the same, and nobody else sees any
#[tokio::test(flavor = "multi_thread")]
async fn tenants_see_their_own_gpu_and_nobody_else_sees_any() {
    with("0 /dev/nvidia0\n1 /dev/nvidia1\n", 0, |_, trial| {
        trial.has(CHECK, "pass", "node real-1, nvidia.com/gpu: 2 containers see their one GPU, no device in common; 3 without see none");
        let result = trial.result(CHECK);
        assert_eq!(result["subjects"]["seen"].as_array().map(Vec::len), Some(5));
        assert_eq!(trial.report["hardware"], "simulated");
    })
    .await;
}

// case: secure-accelerator-access | wrong | the device plugin hands out two devices for one: fail, with the container and both devices
#[tokio::test(flavor = "multi_thread")]
async fn two_devices_for_one_are_red() {
    with("0 /dev/nvidia0\n0 /dev/nvidia2\n1 /dev/nvidia1\n1 /dev/nvidia3\n", 1, |_, trial| {
        trial.has(CHECK, "fail", "was given 1 GPU and sees 2: /dev/nvidia");
    })
    .await;
}

// case: secure-accelerator-access | wrong | the container runtime gives every container a GPU: fail, with the container that was given none
#[tokio::test(flavor = "multi_thread")]
#[ignore = "matrix"]
async fn a_device_for_everybody_is_red() {
    with("* /dev/nvidia9\n0 /dev/nvidia0\n1 /dev/nvidia1\n", 1, |_, trial| {
        trial.has(CHECK, "fail", "container sibling was given no GPU and sees /dev/nvidia9");
    })
    .await;
}

// case: secure-accelerator-access | wrong | two GPUs are one and the same device: fail, with both containers
#[tokio::test(flavor = "multi_thread")]
#[ignore = "matrix"]
async fn one_device_for_two_tenants_is_red() {
    with("0 /dev/nvidia0\n1 /dev/nvidia0\n", 1, |_, trial| {
        trial.has(CHECK, "fail", "containers one and two both see /dev/nvidia0");
    })
    .await;
}

// case: secure-accelerator-access | fault | both GPUs of the only node that runs containers are held: error(busy)
// case: secure-accelerator-access | fault | the image cannot be had: error(image), with the pod
#[tokio::test(flavor = "multi_thread")]
#[ignore = "matrix"]
async fn held_gpus_are_busy_and_an_image_that_cannot_be_had_is_an_error() {
    let cluster = lease().await;
    let Some(plan) = NodePlan::new(&cluster, "real-1") else { return };
    let _node = plan.device_nodes("0 /dev/nvidia0\n1 /dev/nvidia1\n").start(2);
    let site = Site::new();
    site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", &format!("    - {CHECK}\n"));
    let workflow = site.workflow("training", &["snapshot", "conformance"]);
    let unmirrored = site.run(&cluster.kubeconfig(), &workflow, &[], 3);
    unmirrored.has(CHECK, "error(image)", "cannot have its image");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: holder, namespace: default}}\nspec:\n  nodeName: real-1\n  terminationGracePeriodSeconds: 1\n  \
         containers: [{{name: c, image: '{IMAGE}', command: [/bin/sleep, '600'], resources: {{limits: {{nvidia.com/gpu: 2}}}}}}]\n"
    ));
    run(&cluster, 3).has(CHECK, "error(busy)", "GPUs are held");
    assert_eq!(cluster.left(), "");
}

// case: secure-accelerator-access | healthy | every GPU node is simulated, so that no container runs: skip(needs-node), never a pass
#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_that_runs_containers_it_is_skipped() {
    let cluster = lease().await;
    // Nothing else is in the step, so it has looked at nothing.
    run(&cluster, 3).has(CHECK, "skip(needs-node)", "no container runs");
}
