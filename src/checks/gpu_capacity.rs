//! What is advertised on every GPU node agrees with itself.

use std::time::Duration;

use crate::checks::{Check, Cx, Fidelity, Phase, no_more, probe};
use crate::cluster::{Access, Query};
use crate::error::Result;
use crate::results::{ErrorReason, Outcome};
use crate::snapshot::{Node, Pool, nodes};
use crate::vendor::Vendor;

pub(super) static CHECK: Check = Check {
    id: "gpu-capacity",
    version: 1,
    title: "What is advertised on every GPU node agrees with itself",
    requirement: None,
    phase: Phase::Conformance,
    gpus: 0,
    access: &[Access::read("", "nodes"), Access::read("resource.k8s.io", "resourceslices")],
    reads: no_more,
    timeout: Duration::from_secs(60),
    fidelity: Fidelity::Api,
    behavioural: false,
    docs: "\
# What it checks
On every GPU node: the count by label, the device plugin's capacity and allocatable, and the devices in the node's ResourceSlices say the same number;
the node's DRA pools are complete. Time-slicing and MPS replicas are divided out first; partitions are not compared with whole GPUs.
An advertiser that is not there is not a contradiction.

# Why it matters
A node with 7 of 8 GPUs still schedules, and a job that wants 8 hangs there for ever. A scheduler allocates from no incomplete pool.

# How to fix it
Look at the component whose number differs: label → GPU feature discovery; capacity → device plugin; allocatable below capacity → a GPU that the device
plugin calls unhealthy (look for Xid errors); ResourceSlice → the DRA driver's kubelet plugin on that node.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let pools = probe::dra_pools(&cx.cluster).await?;
    let objects = cx.cluster.list("v1", "Node", &Query::all()).await?;
    let nodes = nodes::read(&objects, Some(&pools));
    Ok(judge(&nodes, &pools, cx.vendor).artifact(
        "what each node advertises",
        Some("kubectl get nodes,resourceslices -o yaml"),
        serde_json::json!(nodes.iter().filter(|node| node.gpus.any()).map(|node| (&node.name, &node.gpus)).collect::<Vec<_>>()),
    ))
}

/// Judges what nodes and pools advertise; pure.
fn judge(nodes: &[Node], pools: &[Pool], vendor: &Vendor) -> Outcome {
    let gpu_nodes: Vec<&Node> = nodes.iter().filter(|node| node.gpus.any()).collect();
    if gpu_nodes.is_empty() {
        return Outcome::error(ErrorReason::NoSubject, "no node advertises a GPU in any way")
            .fix("check that the GPU operator or DRA driver is installed and that the recipe names the right vendor");
    }
    let names: Vec<String> = gpu_nodes.iter().map(|node| node.name.clone()).collect();
    let mut wrong: Vec<(String, &str)> = Vec::new();
    let mut compared = 0;
    let mut alone = Vec::new();
    for node in &gpu_nodes {
        let before = compared;
        for (holds, message, fix) in statements(node, pools, vendor) {
            compared += 1;
            if !holds {
                wrong.push((format!("node {}: {message}", node.name), fix));
            }
        }
        if compared == before {
            alone.push(node.name.as_str());
        }
    }
    let cordoned: Vec<&str> = gpu_nodes.iter().filter(|node| node.unschedulable).map(|node| node.name.as_str()).collect();
    let disclosed = if cordoned.is_empty() { String::new() } else { format!(" (cordoned: {})", cordoned.join(", ")) };
    let outcome = match wrong.first() {
        Some((message, fix)) => {
            let more = if wrong.len() > 1 { format!(" (and {} more)", wrong.len() - 1) } else { String::new() };
            Outcome::fail(format!("{message}{more}")).fix(*fix)
        }
        None if !alone.is_empty() => Outcome::error(
            ErrorReason::NoSubject,
            format!("node {}: only a label speaks of GPUs, nothing advertises them", alone.join(", ")),
        )
        .fix("look at the device plugin and the DRA driver on that node"),
        None => {
            let total: u64 = gpu_nodes.iter().map(|node| node.gpus.usable()).sum();
            Outcome::pass(format!("{total} GPUs on {} nodes, every advertiser agrees{disclosed}", gpu_nodes.len()))
        }
    };
    let each = gpu_nodes.iter().map(|node| (node.name.clone(), node.gpus.usable() as f64));
    outcome
        .seen("nodes", names, gpu_nodes.len())
        .asserted(compared - wrong.len(), compared)
        .measured("gpus", gpu_nodes.iter().map(|node| node.gpus.usable()).sum::<u64>() as f64, "1")
        .sampled(each)
}

/// The statements that one node allows: does it hold, what is wrong if not, what to do then.
fn statements(node: &Node, pools: &[Pool], vendor: &Vendor) -> Vec<(bool, String, &'static str)> {
    let gpus = &node.gpus;
    let replicas = gpus.replicas.unwrap_or(1).max(1);
    let mut made = Vec::new();
    if let (Some(label), Some(capacity)) = (gpus.label_count, gpus.capacity) {
        let shared = if replicas > 1 { format!(" at {replicas} replicas per GPU") } else { String::new() };
        let message = format!("label {} says {label}, its capacity has {capacity} {}{shared}", vendor.labels.count, vendor.resource);
        made.push((label * replicas == capacity, message, "look at the device plugin and GPU feature discovery on that node"));
    }
    if let (Some(capacity), Some(allocatable)) = (gpus.capacity, gpus.allocatable) {
        let message = format!("{} of {capacity} {} are not allocatable", capacity.saturating_sub(allocatable), vendor.resource);
        made.push((capacity == allocatable, message, "the device plugin calls a GPU unhealthy: look for Xid errors on that node"));
    }
    let own: Vec<&Pool> =
        pools.iter().filter(|pool| pool.driver == vendor.driver && pool.node.as_deref() == Some(node.name.as_str())).collect();
    for pool in &own {
        let message = format!(
            "pool {} of {} has {} of {} ResourceSlices of generation {}, so nothing is allocated from it",
            pool.name, pool.driver, pool.slices, pool.slices_declared, pool.generation
        );
        made.push((pool.complete(), message, "look at the DRA driver on that node"));
    }
    if let (Some(label), Some(devices), true) = (gpus.label_count, gpus.dra_devices, own.iter().all(|pool| pool.complete())) {
        let message = format!("label {} says {label}, its ResourceSlice has {devices} devices", vendor.labels.count);
        made.push((label == devices, message, "look at the DRA driver on that node"));
    }
    made
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::results::Verdict;
    use crate::snapshot::pools;
    use crate::vendor;

    fn node(name: &str, label: Option<u64>, capacity: Option<(u64, u64)>, extra: Value) -> Value {
        let mut labels = extra;
        if let Some(label) = label {
            labels["nvidia.com/gpu.count"] = json!(label.to_string());
        }
        let quantity = |count: u64| json!({"nvidia.com/gpu": count.to_string()});
        let status = capacity.map_or(json!({}), |(all, usable)| json!({"capacity": quantity(all), "allocatable": quantity(usable)}));
        json!({"metadata": {"name": name, "labels": labels}, "status": status})
    }

    fn slice(node: &str, count: i64, devices: usize) -> Value {
        let devices: Vec<Value> =
            (0..devices).map(|index| json!({"name": format!("gpu-{index}"), "attributes": {"type": {"string": "gpu"}}})).collect();
        json!({"metadata": {"name": node}, "spec": {"driver": "gpu.nvidia.com", "nodeName": node, "devices": devices,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": count}}})
    }

    fn judged(objects: &[Value], slices: &[Value]) -> Outcome {
        let pools = pools::group(slices);
        judge(&nodes::read(objects, Some(&pools)), &pools, vendor::named("nvidia").expect("known")).guarded()
    }

    #[test]
    fn agreeing_nodes_pass_by_either_way_of_advertising() {
        let outcome = judged(&[node("a", Some(8), Some((8, 8)), json!({})), node("b", Some(8), None, json!({}))], &[slice("b", 1, 8)]);
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
        assert_eq!((outcome.assertions.passed, outcome.assertions.total), (4, 4));
        assert_eq!(outcome.subjects.seen, ["a", "b"]);
    }

    #[test]
    fn a_slice_with_seven_of_eight_devices_fails_and_names_node_label_and_slice() {
        let outcome = judged(&[node("b", Some(8), None, json!({}))], &[slice("b", 1, 7)]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert_eq!(outcome.message, "node b: label nvidia.com/gpu.count says 8, its ResourceSlice has 7 devices");
    }

    #[test]
    fn an_incomplete_pool_fails() {
        let outcome = judged(&[node("b", Some(8), None, json!({}))], &[slice("b", 2, 8)]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.message.contains("1 of 2 ResourceSlices"), "{}", outcome.message);
    }

    #[test]
    fn an_unhealthy_gpu_fails() {
        let outcome = judged(&[node("a", Some(8), Some((8, 7)), json!({}))], &[]);
        assert_eq!(outcome.message, "node a: 1 of 8 nvidia.com/gpu are not allocatable");
    }

    #[test]
    fn sharing_is_normalised_before_numbers_are_compared() {
        let outcome = judged(&[node("a", Some(8), Some((32, 32)), json!({"nvidia.com/gpu.replicas": "4"}))], &[]);
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
    }

    #[test]
    fn a_label_alone_and_no_gpu_at_all_are_errors_not_passes() {
        for objects in [vec![node("a", Some(8), None, json!({}))], vec![node("a", None, None, json!({}))], vec![]] {
            assert_eq!(judged(&objects, &[]).verdict, Verdict::Error(ErrorReason::NoSubject));
        }
    }
}
