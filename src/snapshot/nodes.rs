//! Reads nodes: labels, taints, capacity, conditions, and what each says of its GPUs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::snapshot::collect::{array, name_of};
use crate::snapshot::hardware::Hardware;
use crate::snapshot::model::{GpuAdvert, Node, Pool};
use crate::snapshot::pools::taint;
use crate::vendor::{self, Vendor};

/// Label that seatrial's own simulator sets on its nodes.
pub const SIMULATED_LABEL: &str = "seatrial.dev/simulated";

/// Reads nodes, by name. `pools` is `None` where ResourceSlices could not be read.
#[must_use]
pub fn read(objects: &[Value], pools: Option<&[Pool]>) -> Vec<Node> {
    let mut nodes: Vec<Node> = objects.iter().map(one).collect();
    settle(&mut nodes, pools);
    nodes
}

/// Reads one node as far as its own object tells: without what pools of devices say.
pub(super) fn one(object: &Value) -> Node {
    let vendors = vendors();
    let mut labels = strings(&object["metadata"]["labels"]);
    let capacity = strings(&object["status"]["capacity"]);
    let allocatable = strings(&object["status"]["allocatable"]);
    let marks = marks(object, &labels);
    // Read before labels that change by themselves are dropped.
    let gpus = vendors.iter().map(|vendor| advert(vendor, &labels, &capacity, &allocatable, None)).find(GpuAdvert::any).unwrap_or_default();
    labels.retain(|key, _| !vendors.iter().any(|vendor| vendor.volatile_labels.contains(key)));
    let mut taints: Vec<_> = array(&object["spec"]["taints"]).map(taint).collect();
    taints.sort();
    let info = strings(&object["status"]["nodeInfo"]);
    let kept = ["architecture", "containerRuntimeVersion", "kernelVersion", "kubeletVersion", "operatingSystem", "osImage"];
    Node {
        name: name_of(object),
        hardware: Hardware::of_marks(&marks),
        marks,
        labels,
        taints,
        unschedulable: object["spec"]["unschedulable"] == true,
        capacity,
        allocatable,
        conditions: array(&object["status"]["conditions"])
            .map(|one| (one["type"].as_str().unwrap_or_default().to_owned(), one["status"].as_str().unwrap_or_default().to_owned()))
            .collect(),
        versions: info.into_iter().filter(|(key, _)| kept.contains(&key.as_str())).collect(),
        gpus,
        provider_id: object["spec"]["providerID"].as_str().filter(|id| !id.is_empty()).map(str::to_owned),
        facts: None,
    }
}

/// Sorts nodes, and adds what pools say of their devices.
pub(super) fn settle(nodes: &mut [Node], pools: Option<&[Pool]>) {
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let Some(pools) = pools else { return };
    let mut by_node: BTreeMap<&str, Vec<&Pool>> = BTreeMap::new();
    for pool in pools {
        if let Some(node) = &pool.node {
            by_node.entry(node).or_default().push(pool);
        }
    }
    for node in nodes {
        let own = by_node.remove(node.name.as_str()).unwrap_or_default();
        let found = vendors().iter().map(|vendor| advert(vendor, &node.labels, &node.capacity, &node.allocatable, Some(&own)));
        node.gpus = found.into_iter().find(GpuAdvert::any).unwrap_or_default();
        if simulated_device(&own) {
            node.marks.push("device attribute simulated".to_owned());
        }
        node.hardware = node.derived_hardware();
    }
}

/// A shipped profile that cannot be read is a defect that a test finds; no profile recognises nothing.
fn vendors() -> &'static [Vendor] {
    vendor::all().unwrap_or(&[])
}

/// What tells that a node is simulated. kwok's marks are the ones it needs to manage a node, so they cannot be left off.
fn marks(object: &Value, labels: &BTreeMap<String, String>) -> Vec<String> {
    let mut marks = Vec::new();
    if !object["metadata"]["annotations"]["kwok.x-k8s.io/node"].is_null() {
        marks.push("annotation kwok.x-k8s.io/node".to_owned());
    }
    if labels.get("type").is_some_and(|value| value == "kwok") {
        marks.push("label type=kwok".to_owned());
    }
    if labels.contains_key(SIMULATED_LABEL) {
        marks.push(format!("label {SIMULATED_LABEL}"));
    }
    if object["spec"]["providerID"].as_str().is_some_and(|id| id.starts_with("kwok://")) {
        marks.push("provider id kwok://".to_owned());
    }
    if object["status"]["nodeInfo"]["kubeletVersion"].as_str().is_some_and(|version| version.contains("kwok") || version == "fake") {
        marks.push("kubelet version of kwok".to_owned());
    }
    marks
}

/// True if a device in a pool says that it is simulated.
fn simulated_device(pools: &[&Pool]) -> bool {
    let simulated = |key: &str| key == "simulated" || key.ends_with("/simulated");
    let mut devices = pools.iter().flat_map(|pool| &pool.devices);
    devices.any(|device| device.attributes.iter().any(|(key, value)| simulated(key) && value == "true"))
}

/// What the node says of this vendor's GPUs: by label, by extended resource, by ResourceSlices. Not saying is not zero.
fn advert(
    vendor: &Vendor,
    labels: &BTreeMap<String, String>,
    capacity: &BTreeMap<String, String>,
    allocatable: &BTreeMap<String, String>,
    pools: Option<&Vec<&Pool>>,
) -> GpuAdvert {
    let number = |map: &BTreeMap<String, String>, key: &str| map.get(key).and_then(|value| value.parse::<u64>().ok());
    let partitioned = capacity.iter().any(|(key, value)| key.starts_with(&vendor.partition_prefix) && value != "0");
    // Where GPUs are cut into partitions of another resource name, the plain resource no longer counts GPUs.
    let plain = |map: &BTreeMap<String, String>| if partitioned { None } else { number(map, &vendor.resource) };
    let own: Vec<_> = pools.into_iter().flatten().filter(|pool| pool.driver == vendor.driver).collect();
    let whole = own.iter().flat_map(|pool| &pool.devices).filter(|device| {
        let device_type = device.attributes.get("type").or_else(|| device.attributes.get(&format!("{}/type", vendor.driver)));
        device_type.is_none_or(|value| vendor.device_types.contains(value))
    });
    let devices = whole.count() as u64;
    let any = labels.contains_key(&vendor.labels.count) || capacity.contains_key(&vendor.resource) || partitioned || !own.is_empty();
    GpuAdvert {
        vendor: any.then(|| vendor.name.clone()),
        product: labels.get(&vendor.labels.product).cloned(),
        label_count: number(labels, &vendor.labels.count),
        capacity: plain(capacity),
        allocatable: plain(allocatable),
        dra_devices: (!own.is_empty()).then_some(devices),
        replicas: number(labels, &vendor.labels.replicas),
    }
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_without_any_advertiser_has_no_gpus_which_is_not_zero() {
        let nodes = read(&[json!({"metadata": {"name": "cpu"}, "status": {"capacity": {"cpu": "4"}}})], Some(&[]));
        assert_eq!(nodes[0].gpus, GpuAdvert::default());
        assert!(!nodes[0].gpus.any());
        assert_eq!(nodes[0].hardware, Hardware::Unknown);
    }

    #[test]
    fn time_slicing_is_normalised_and_partitions_do_not_count_as_gpus() {
        let shared = json!({"metadata": {"name": "a", "labels": {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.replicas": "4"}},
            "status": {"capacity": {"nvidia.com/gpu": "32"}, "allocatable": {"nvidia.com/gpu": "32"}}});
        let cut = json!({"metadata": {"name": "b", "labels": {"nvidia.com/gpu.count": "8"}},
            "status": {"capacity": {"nvidia.com/gpu": "6", "nvidia.com/mig-1g.10gb": "14"}}});
        let nodes = read(&[shared, cut], Some(&[]));
        assert_eq!(nodes[0].gpus.usable(), 8);
        assert_eq!(nodes[1].gpus.capacity, None);
    }

    #[test]
    fn labels_that_change_by_themselves_are_not_in_the_snapshot() {
        let object = json!({"metadata": {"name": "a", "labels": {"nvidia.com/gfd.timestamp": "1", "zone": "z0"}}});
        assert_eq!(read(&[object], None)[0].labels.keys().collect::<Vec<_>>(), ["zone"]);
    }
}
