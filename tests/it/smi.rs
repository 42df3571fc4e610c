//! check-nvidia-smi on a real node, with a stand-in for the tool that says what a real one said.

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::node::{IMAGE, NodePlan};
use crate::trial::{Site, Trial};

const CHECK: &str = "check-nvidia-smi";
const HEALTHY: &str = include_str!("../fixtures/facts/nvidia/healthy.xml");

fn run(cluster: &LeasedCluster, code: i32) -> Trial {
    let site = Site::new();
    site.edit("  checks:\n", &format!("  checks:\n    deployment: [{CHECK}]\n"));
    let mirror = format!("nvcr.io/nvidia/cuda:13.0.0-base-ubuntu22.04={IMAGE}");
    let workflow = site.workflow("training", &["snapshot", "setup", "health"]);
    site.run(&cluster.kubeconfig(), &workflow, &["--image-mirror", &mirror], code)
}

// case: check-nvidia-smi | healthy | nvidia-smi on a real node lists both GPUs of the pod, of the product that the label says
// case: check-nvidia-smi | wrong | the driver asks for a reset of one GPU: fail, with the GPU and what to do
// case: check-nvidia-smi | wrong | the pod was given two GPUs and nvidia-smi lists one: fail, with both numbers
// case: check-nvidia-smi | wrong | the tool is not in the container: fail, with what the shell says
// case: check-nvidia-smi | fault | one of two GPUs is held: error(busy), as it was not looked at
#[tokio::test(flavor = "multi_thread")]
async fn the_tool_lists_what_the_node_says_and_what_is_wrong_is_named() {
    let cluster = lease().await;
    let Some(plan) = NodePlan::new(&cluster, "real-1") else { return };
    let node = plan.tool("nvidia-smi", "exec cat /opt/gpu/smi.xml").start(2);
    node.data("smi.xml", HEALTHY);
    // Set-up waits in vain for an exporter that a real node cannot pull.
    let healthy = run(&cluster, 3);
    healthy.has(CHECK, "pass", "nvidia-smi lists 2 GPUs on 1 nodes, as many and of the kind that the nodes say");
    assert_eq!(healthy.result(CHECK)["subjects"]["seen"][0], "real-1");
    assert_eq!(healthy.report["hardware"], "simulated");

    node.data("smi.xml", &HEALTHY.replacen("<ecc_mode>", "<gpu_recovery_action>Reset</gpu_recovery_action><ecc_mode>", 1));
    run(&cluster, 1).has(CHECK, "fail", "the driver asks for a recovery: Reset");
    node.data("smi.xml", include_str!("../fixtures/facts/nvidia/one-of-two.xml"));
    run(&cluster, 1).has(CHECK, "fail", "node real-1: nvidia-smi lists 1 GPUs in a pod that was given 2");
    node.without_tool("nvidia-smi");
    run(&cluster, 1).has(CHECK, "fail", "node real-1: nvidia-smi ended with 127");

    node.tool("nvidia-smi", "exec cat /opt/gpu/smi.xml");
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: holder, namespace: default}}\nspec:\n  nodeName: real-1\n  terminationGracePeriodSeconds: 1\n  \
         containers: [{{name: c, image: '{IMAGE}', command: [/bin/sleep, '600'], resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]\n"
    ));
    run(&cluster, 3).has(CHECK, "error(busy)", "node real-1: 1 of 2 GPUs are held");
    assert_eq!(cluster.left(), "");
}

// case: check-nvidia-smi | healthy | every GPU node is simulated, so that no container runs: skip(needs-node), never a pass
#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_that_runs_containers_it_is_skipped() {
    let cluster = lease().await;
    run(&cluster, 0).has(CHECK, "skip(needs-node)", "no container runs");
}
