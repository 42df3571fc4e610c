//! Groups ResourceSlices into pools: the slices of the highest generation, and whether all of them are there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::snapshot::collect::{array, name_of};
use crate::snapshot::model::{Device, Pool, Taint};

/// What a pool needs of one slice.
#[derive(Debug)]
pub(super) struct Slice {
    driver: String,
    pool: String,
    name: String,
    node: Option<String>,
    generation: i64,
    declared: i64,
    devices: Vec<Device>,
}

impl Slice {
    /// Reads a slice.
    pub(super) fn of(slice: &Value) -> Self {
        let text = |pointer: &str| slice.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            driver: text("/spec/driver"),
            pool: text("/spec/pool/name"),
            name: name_of(slice),
            node: slice["spec"]["nodeName"].as_str().map(str::to_owned),
            generation: slice["spec"]["pool"]["generation"].as_i64().unwrap_or(0),
            declared: slice["spec"]["pool"]["resourceSliceCount"].as_i64().unwrap_or(0),
            devices: array(&slice["spec"]["devices"]).map(device).collect(),
        }
    }
}

/// Groups the slices of all drivers into pools, by driver and name.
#[must_use]
pub fn group(slices: &[Value]) -> Vec<Pool> {
    pools(slices.iter().map(Slice::of).collect())
}

/// Groups slices into pools, by driver and name.
pub(super) fn pools(slices: Vec<Slice>) -> Vec<Pool> {
    let mut grouped: BTreeMap<(String, String), Vec<Slice>> = BTreeMap::new();
    for slice in slices {
        grouped.entry((slice.driver.clone(), slice.pool.clone())).or_default().push(slice);
    }
    grouped.into_iter().map(|((driver, name), slices)| pool(driver, name, slices)).collect()
}

fn pool(driver: String, name: String, slices: Vec<Slice>) -> Pool {
    let all = slices.len();
    let generation = slices.iter().map(|slice| slice.generation).max().unwrap_or(0);
    let mut current: Vec<Slice> = slices.into_iter().filter(|slice| slice.generation == generation).collect();
    current.sort_by(|a, b| a.name.cmp(&b.name));
    let (node, count) = (current.first().and_then(|slice| slice.node.clone()), current.len());
    let slices_declared = current.iter().map(|slice| slice.declared).max().unwrap_or(0);
    let mut devices: Vec<Device> = current.into_iter().flat_map(|slice| slice.devices).collect();
    devices.sort_by_key(|device| natural(&device.name));
    Pool { driver, name, node, generation, slices: count, slices_declared, stale_slices: all - count, devices }
}

/// `gpu-10` comes after `gpu-9`.
fn natural(name: &str) -> (String, u64) {
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    (name[..digits].to_owned(), name[digits..].parse().unwrap_or(0))
}

fn device(device: &Value) -> Device {
    // v1beta1 wraps attributes and capacity in `basic`; later versions do not.
    let body = if device["basic"].is_object() { &device["basic"] } else { device };
    let attributes = object(&body["attributes"]).map(|(name, value)| (name.clone(), attribute(value))).collect();
    let capacity = object(&body["capacity"]).map(|(name, value)| (name.clone(), text(&value["value"]))).collect();
    let taints = array(&body["taints"]).map(taint).collect();
    Device { name: device["name"].as_str().unwrap_or_default().to_owned(), attributes, capacity, taints }
}

/// Reads a taint of a node or a device.
pub(super) fn taint(taint: &Value) -> Taint {
    Taint { key: text(&taint["key"]), value: text(&taint["value"]), effect: text(&taint["effect"]) }
}

/// An attribute is an object with one field, which names its type.
fn attribute(value: &Value) -> String {
    object(value).next().map(|(_, value)| text(value)).unwrap_or_default()
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(name: &str, generation: i64, count: i64, devices: &[&str]) -> Value {
        let devices: Vec<Value> = devices
            .iter()
            .map(|name| json!({"name": name, "attributes": {"type": {"string": "gpu"}}, "capacity": {"memory": {"value": "80Gi"}}}))
            .collect();
        json!({"metadata": {"name": name}, "spec": {
            "driver": "gpu.example.com", "nodeName": "n1", "devices": devices,
            "pool": {"name": "n1", "generation": generation, "resourceSliceCount": count},
        }})
    }

    #[test]
    fn only_the_highest_generation_counts_and_a_missing_slice_is_seen() {
        let pools = group(&[slice("old", 1, 1, &["gpu-0"]), slice("b", 2, 2, &["gpu-10", "gpu-9"])]);
        assert_eq!(pools.len(), 1);
        let pool = &pools[0];
        assert!(!pool.complete());
        assert_eq!((pool.generation, pool.slices, pool.slices_declared, pool.stale_slices), (2, 1, 2, 1));
        let names: Vec<&str> = pool.devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["gpu-9", "gpu-10"]);
    }

    #[test]
    fn a_v1beta1_device_reads_like_a_v1_device() {
        let basic = json!({"name": "gpu-0", "basic": {"attributes": {"type": {"string": "gpu"}}}});
        assert_eq!(device(&basic).attributes["type"], "gpu");
    }
}
