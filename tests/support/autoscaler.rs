//! A scripted autoscaler of nodes, for what no real one does: it adds and removes simulated nodes for pods that want the label
//! `pool=scripted`, well or badly.

use std::path::Path;
use std::time::Duration;

use seatrial::cluster::{Cluster, ObjectRef, Query, Target};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Adds a node with eight GPUs for a pod that waits, and removes it when the pod has gone.
    Honest,
    /// Adds nodes with one GPU.
    WrongType,
    /// Takes a node away as soon as it is Ready, and adds the next.
    Flaps,
    /// Takes the node away some seconds after the pod runs on it.
    TakesAway,
    /// Never removes a node.
    Keeps,
    /// Removes the node when the pod has gone, and then adds one that nobody wants.
    AddsForNobody,
}

const LONG: Duration = Duration::from_secs(600);

/// Starts it; it ends with the answer. Needs a runtime with worker threads, as tests block theirs.
pub(crate) async fn start(kubeconfig: &Path, script: Script) -> AbortOnDropHandle<()> {
    let target = Target { kubeconfig: Some(kubeconfig.to_owned()), context: None };
    let cluster = Cluster::connect(&target).await.expect("connects");
    AbortOnDropHandle::new(tokio::spawn(async move { run(&cluster, script).await }))
}

async fn run(cluster: &Cluster, script: Script) {
    let mut number = 0;
    loop {
        let pod = waiting_pod(cluster).await;
        number += 1;
        let node = add(cluster, number, if script == Script::WrongType { 1 } else { 8 }).await;
        match script {
            Script::Flaps => {
                ready(cluster, &node).await;
                cluster.delete(&node).await.expect("is deleted");
            }
            Script::TakesAway => {
                running(cluster, &pod).await;
                cluster.delete(&node).await.expect("is deleted");
                gone(cluster, &pod).await;
            }
            Script::Honest | Script::WrongType => {
                gone(cluster, &pod).await;
                cluster.delete(&node).await.expect("is deleted");
            }
            Script::Keeps => gone(cluster, &pod).await,
            Script::AddsForNobody => {
                gone(cluster, &pod).await;
                cluster.delete(&node).await.expect("is deleted");
                removed(cluster, &node).await;
                number += 1;
                add(cluster, number, 8).await;
            }
        }
    }
}

async fn waiting_pod(cluster: &Cluster) -> ObjectRef {
    let waits = |pods: &[&Value]| {
        let of_pool = |pod: &&&Value| pod["spec"]["nodeSelector"]["pool"] == "scripted" && pod["metadata"]["deletionTimestamp"].is_null();
        pods.iter().filter(of_pool).find(|pod| pod["spec"]["nodeName"].is_null()).map(|pod| ObjectRef::of(pod))
    };
    cluster.wait_until(("v1", "Pod"), &Query::all(), "a pod that waits", LONG, waits).await.expect("comes")
}

async fn add(cluster: &Cluster, number: u32, gpus: u32) -> ObjectRef {
    let name = format!("scripted-{number}");
    let resources = json!({"cpu": "192", "memory": "2Ti", "pods": "110", "nvidia.com/gpu": gpus.to_string()});
    let labels = json!({"pool": "scripted", "kubernetes.io/hostname": name, "seatrial.dev/simulated": "true"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": resources, "allocatable": resources},
    });
    ObjectRef::of(&cluster.create(&node).await.expect("is created"))
}

async fn removed(cluster: &Cluster, node: &ObjectRef) {
    let none = |nodes: &[&Value]| nodes.is_empty().then_some(());
    cluster.wait_until(("v1", "Node"), &Query::all().named(&node.name), "the node to be gone", LONG, none).await.expect("goes");
}

async fn ready(cluster: &Cluster, node: &ObjectRef) {
    let is_ready = |nodes: &[&Value]| {
        let conditions = nodes.first()?["status"]["conditions"].as_array()?;
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True").then_some(())
    };
    cluster.wait_until(("v1", "Node"), &Query::all().named(&node.name), "the node to be Ready", LONG, is_ready).await.expect("is Ready");
}

async fn running(cluster: &Cluster, pod: &ObjectRef) {
    let query = Query::within(pod.namespace.as_deref().unwrap_or_default()).named(&pod.name);
    let runs = |pods: &[&Value]| pods.iter().any(|pod| pod["status"]["phase"] == "Running").then_some(());
    cluster.wait_until(("v1", "Pod"), &query, "the pod to run", LONG, runs).await.expect("runs");
}

async fn gone(cluster: &Cluster, pod: &ObjectRef) {
    let query = Query::within(pod.namespace.as_deref().unwrap_or_default()).named(&pod.name);
    let is_gone = |pods: &[&Value]| pods.iter().all(|seen| seen["metadata"]["uid"].as_str() != pod.uid.as_deref()).then_some(());
    cluster.wait_until(("v1", "Pod"), &query, "the pod to be gone", LONG, is_gone).await.expect("goes");
}
