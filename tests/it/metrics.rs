//! accelerator-metrics on a real control plane, with stand-ins for exporters behind the pods of simulated nodes.

use std::sync::OnceLock;

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::exporter::Exporters;
use crate::trial::{Site, Trial};

/// The shipped recipe with this check alone.
fn site() -> Site {
    let site = Site::new();
    site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", "    - accelerator-metrics\n");
    site
}

#[track_caller]
fn trial(site: &Site, cluster: &LeasedCluster, code: i32) -> Trial {
    site.run(&cluster.kubeconfig(), &site.workflow("training", &["snapshot", "conformance"]), &[], code)
}

#[track_caller]
fn fails(site: &Site, cluster: &LeasedCluster, words: &str) {
    trial(site, cluster, 1).has("accelerator-metrics", "fail", words);
}

fn without(text: &str, part: &str) -> String {
    text.lines().filter(|line| !line.contains(part)).map(|line| format!("{line}\n")).collect()
}

// case: accelerator-metrics | healthy | an exporter on each of four nodes tells of its eight GPUs, by device plugin and by DRA: all 32 are seen to move
// case: accelerator-metrics | wrong | one exporter tells of seven of eight GPUs: fail, with the node and the GPU or the counts
// case: accelerator-metrics | wrong | one exporter sends HELP and TYPE lines only: fail, never taken for metrics
// case: accelerator-metrics | wrong | one exporter's values carry time stamps of a quarter of an hour ago: fail, with their age
// case: accelerator-metrics | wrong | one exporter tells of another node's GPUs: fail, with both nodes
// case: accelerator-metrics | wrong | one exporter answers 500: fail, with the pod and the status
#[tokio::test(flavor = "multi_thread")]
async fn exporters_of_all_nodes_are_read_and_each_wrong_one_is_named() {
    let cluster = lease().await;
    let exporters = Exporters::behind(&cluster);
    let site = site();
    let healthy = trial(&site, &cluster, 0);
    healthy.has("accelerator-metrics", "pass", "32 GPUs on 4 nodes, each with values that move");
    let subjects = &healthy.result("accelerator-metrics")["subjects"];
    assert_eq!((subjects["seen"].as_array().map(Vec::len), &subjects["exist"]), (Some(4), &4.into()));
    assert_eq!(healthy.report["hardware"], "simulated");

    exporters.only("sim-node-2", |text| without(&text, "device=\"nvidia7\""));
    fails(&site, &cluster, "node sim-node-2: its exporter has series of 7 GPUs, the node says 8");
    exporters.only("sim-node-3", |text| without(&text, "device=\"nvidia7\""));
    fails(&site, &cluster, "node sim-node-3: its exporter has no series of GPU GPU-");
    exporters.only("sim-node-1", |text| text.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect());
    fails(&site, &cluster, "node sim-node-1: its exporter has no series of a GPU, only descriptions of metrics");
    let old = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(15)).as_millisecond();
    exporters.only("sim-node-4", move |text| {
        text.lines().map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} {old}\n") }).collect()
    });
    fails(&site, &cluster, "node sim-node-4: its exporter's values are 9");
    exporters.only("sim-node-2", |text| text.replace("sim-node-2", "sim-node-1"));
    fails(&site, &cluster, "sim-node-1");
    exporters.only("sim-node-1", |_| "500".to_owned());
    fails(&site, &cluster, "answers 500 for /metrics on port 9400");
}

// case: accelerator-metrics | wrong | one exporter says the same for ever: fail after 45 s, with the node
#[tokio::test(flavor = "multi_thread")]
#[ignore = "matrix"]
async fn an_exporter_that_says_the_same_for_ever_is_named() {
    let cluster = lease().await;
    let exporters = Exporters::behind(&cluster);
    let first = OnceLock::new();
    exporters.only("sim-node-3", move |text| first.get_or_init(|| text).clone());
    fails(&site(), &cluster, "node sim-node-3: the values of all 8 GPUs have not moved for");
}

// case: accelerator-metrics | wrong | the exporter's pod of one node is gone, or its DaemonSet of all nodes: fail, with the node or the DaemonSet
// case: accelerator-metrics | fault | nobody answers behind the ready pod of one node: error(unavailable), as that may be the way there
#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_is_not_there_is_a_fail_and_one_that_cannot_be_reached_an_error() {
    let cluster = lease().await;
    let _exporters = Exporters::behind(&cluster);
    let site = site();
    let pods = cluster.get(&["pods", "-n", "gpu-operator", "-l", "app=nvidia-dcgm-exporter"]);
    let on = |node: &str| {
        let pod = pods["items"].as_array().expect("a list").iter().find(|pod| pod["spec"]["nodeName"] == node).cloned();
        pod.expect("is there")["metadata"]["name"].as_str().expect("has a name").to_owned()
    };
    cluster.kubectl(&["delete", "portforwards.kwok.x-k8s.io", &on("sim-node-1"), "-n", "gpu-operator"]);
    let silent = trial(&site, &cluster, 3);
    silent.has("accelerator-metrics", "error(unavailable)", "node sim-node-1: GET /metrics from port 9400 of pod gpu-operator/");
    cluster.kubectl(&["label", "node", "sim-node-2", "nvidia.com/gpu.present-"]);
    cluster.kubectl(&["wait", "pod", &on("sim-node-2"), "-n", "gpu-operator", "--for=delete", "--timeout=20s"]);
    fails(&site, &cluster, "node sim-node-2: no pod of the metrics exporter is there; 1 nodes could not be asked");
    cluster.kubectl(&["delete", "daemonset/nvidia-dcgm-exporter", "-n", "gpu-operator", "--wait"]);
    fails(&site, &cluster, "there is no DaemonSet nvidia-dcgm-exporter");
}
