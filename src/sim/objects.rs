//! Makes the Kubernetes objects of a cluster description; pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::error::Result;
use crate::sim::description::{Description, NodeSpec};
use crate::sim::profile::{DeviceClass, Mode, Profile};
use crate::sim::{KWOK_NODE, SIMULATED};

/// A node with its ResourceSlice, if it has one.
#[derive(Clone, Debug)]
pub struct NodeObjects {
    /// The Node, with its status.
    pub node: Value,
    /// The slice, without the owner reference: the node's UID is not known yet.
    pub slice: Option<Value>,
}

/// The nodes of a description, in its order.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if a profile does not exist.
pub fn nodes(description: &Description) -> Result<Vec<NodeObjects>> {
    let mut all = Vec::new();
    for spec in &description.nodes {
        let profile = Profile::named(&spec.profile)?;
        for name in spec.names() {
            all.push(NodeObjects { node: node(&name, spec, &profile), slice: slice(&name, spec, &profile) });
        }
    }
    Ok(all)
}

/// The DeviceClasses of a description: one per driver in use, unless the description has its own of that name.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if a profile does not exist.
pub fn device_classes(description: &Description) -> Result<Vec<Value>> {
    let mut classes: BTreeMap<String, DeviceClass> = BTreeMap::new();
    for spec in &description.nodes {
        let profile = Profile::named(&spec.profile)?;
        if device_count(spec, &profile).is_some() {
            let class = profile.gpus.device_class;
            classes.insert(class.name.clone(), class);
        }
    }
    for class in &description.device_classes {
        classes.insert(class.name.clone(), class.clone());
    }
    let object = |class: &DeviceClass| {
        json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass",
            "metadata": {"name": class.name, "labels": {SIMULATED: "true"}},
            "spec": {"selectors": [{"cel": {"expression": class.expression}}]},
        })
    };
    Ok(classes.values().map(object).collect())
}

/// How many devices the node's slice has; `None` if it has no slice, which is not zero.
fn device_count(spec: &NodeSpec, profile: &Profile) -> Option<usize> {
    spec.devices.or_else(|| (spec.mode == Mode::Dra).then_some(profile.gpus.count))
}

fn node(name: &str, spec: &NodeSpec, profile: &Profile) -> Value {
    let gpus = &profile.gpus;
    let by_plugin = (spec.mode == Mode::DevicePlugin).then_some(gpus.count as u64);
    let capacity = spec.capacity.or(by_plugin);
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels(name, spec, profile), "annotations": annotations(spec)},
        "spec": {"taints": spec.taints.as_ref().unwrap_or(&profile.taints)},
        "status": {
            "capacity": resources(profile, capacity),
            "allocatable": resources(profile, spec.allocatable.or(capacity)),
            "nodeInfo": node_info(name, profile),
        },
    })
}

fn labels(name: &str, spec: &NodeSpec, profile: &Profile) -> BTreeMap<String, String> {
    let mut labels = profile.labels.clone();
    let fixed = [("kubernetes.io/hostname", name), ("kubernetes.io/os", "linux"), ("type", "kwok"), (SIMULATED, "true")];
    labels.extend(fixed.map(|(key, value)| (key.to_owned(), value.to_owned())));
    if let Some(zone) = &spec.zone {
        labels.insert("topology.kubernetes.io/zone".to_owned(), zone.clone());
    }
    if let Some(label) = &profile.gpus.count_label {
        labels.insert(label.clone(), profile.gpus.count.to_string());
    }
    labels.extend(profile.gpus.mode_labels.get(&spec.mode).cloned().unwrap_or_default());
    for (key, value) in &spec.labels {
        match value {
            Some(value) => labels.insert(key.clone(), value.clone()),
            None => labels.remove(key),
        };
    }
    labels
}

fn annotations(spec: &NodeSpec) -> BTreeMap<String, String> {
    let mut annotations = spec.annotations.clone();
    annotations.insert(KWOK_NODE.to_owned(), "fake".to_owned());
    annotations
}

fn resources(profile: &Profile, gpus: Option<u64>) -> BTreeMap<String, String> {
    let mut resources = profile.capacity.clone();
    if let Some(gpus) = gpus {
        resources.insert(profile.gpus.resource.clone(), gpus.to_string());
    }
    resources
}

fn node_info(name: &str, profile: &Profile) -> BTreeMap<String, String> {
    let mut info = profile.node_info.clone();
    for field in ["machineID", "systemUUID", "bootID"] {
        info.insert(field.to_owned(), uuid(&format!("{name}/{field}")));
    }
    info.insert("kubeProxyVersion".to_owned(), String::new());
    info
}

fn slice(name: &str, spec: &NodeSpec, profile: &Profile) -> Option<Value> {
    let gpus = &profile.gpus;
    let devices: Vec<Value> = (0..device_count(spec, profile)?).map(|index| device(name, index, profile)).collect();
    Some(json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"name": format!("{name}-{}", gpus.driver), "labels": {SIMULATED: "true"}},
        "spec": {
            "driver": gpus.driver, "nodeName": name, "devices": devices,
            "pool": {"name": name, "generation": 1, "resourceSliceCount": spec.slice_count.unwrap_or(1)},
        },
    }))
}

fn device(node: &str, index: usize, profile: &Profile) -> Value {
    let gpus = &profile.gpus;
    let mut attributes: Map<String, Value> = gpus.attributes.clone().into_iter().collect();
    attributes.insert("index".to_owned(), json!({"int": index}));
    attributes.insert("numa".to_owned(), json!({"int": gpus.numa[index]}));
    attributes.insert("uuid".to_owned(), json!({"string": format!("{}{}", gpus.uuid_prefix, uuid(&format!("{node}/gpu-{index}")))}));
    attributes.insert("resource.kubernetes.io/pcieRoot".to_owned(), json!({"string": gpus.pcie_roots[index]}));
    attributes.insert(SIMULATED.to_owned(), json!({"bool": true}));
    json!({"name": format!("gpu-{index}"), "attributes": attributes, "capacity": gpus.capacity})
}

/// A UUID that is the same for the same thing, so that a cluster that is made again looks the same.
fn uuid(thing: &str) -> String {
    let hex = Digest::of(thing.as_bytes()).hex().to_owned();
    format!("{}-{}-5{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(nodes: &str) -> Description {
        let text = format!("{{apiVersion: seatrial.dev/v1alpha1, kind: SimCluster, name: x, nodes: [{nodes}]}}");
        Description::parse(&text, "x.yaml").expect("is valid")
    }

    fn gpu_capacity(node: &Value) -> Option<&str> {
        node.pointer("/status/capacity/nvidia.com~1gpu").and_then(Value::as_str)
    }

    #[test]
    fn a_device_plugin_node_has_the_resource_and_no_slice_and_a_dra_node_the_other_way_round() {
        let made = nodes(&described("{name: a, profile: h100-sxm-8, mode: device-plugin}, {name: b, profile: h100-sxm-8, mode: dra}"))
            .expect("makes");
        assert_eq!((gpu_capacity(&made[0].node), made[0].slice.is_none()), (Some("8"), true));
        let slice = made[1].slice.as_ref().expect("a slice");
        assert_eq!((gpu_capacity(&made[1].node), slice["spec"]["devices"].as_array().map(Vec::len)), (None, Some(8)));
        for made in made {
            assert_eq!(made.node["metadata"]["labels"]["nvidia.com/gpu.count"], "8");
            assert_eq!(made.node["metadata"]["labels"][SIMULATED], "true");
        }
    }

    #[test]
    fn planted_defects_appear_in_the_objects() {
        let spec = "{name: a, profile: h100-sxm-8, mode: dra, devices: 7, sliceCount: 2, capacity: 8, allocatable: 7, \
                    labels: {nvidia.com/gpu.count: '9', nvidia.com/gpu.family: null}}";
        let made = nodes(&described(spec)).expect("makes").remove(0);
        let slice = made.slice.expect("a slice");
        assert_eq!(slice["spec"]["devices"].as_array().map(Vec::len), Some(7));
        assert_eq!(slice["spec"]["pool"]["resourceSliceCount"], 2);
        assert_eq!(gpu_capacity(&made.node), Some("8"));
        assert_eq!(made.node["status"]["allocatable"]["nvidia.com/gpu"], "7");
        assert_eq!(made.node["metadata"]["labels"]["nvidia.com/gpu.count"], "9");
        assert!(made.node["metadata"]["labels"].get("nvidia.com/gpu.family").is_none());
    }

    #[test]
    fn a_description_overrides_the_device_class_of_the_same_name() {
        let mut description = described("{name: a, profile: gb200-4, mode: dra}");
        assert_eq!(device_classes(&description).expect("makes").len(), 1);
        description.device_classes = vec![DeviceClass { name: "gpu.nvidia.com".to_owned(), expression: "false".to_owned() }];
        let classes = device_classes(&description).expect("makes");
        assert_eq!(classes.len(), 1);
        assert_eq!(classes[0]["spec"]["selectors"][0]["cel"]["expression"], "false");
    }

    #[test]
    fn uuids_differ_between_devices_and_are_the_same_each_time() {
        assert_eq!(uuid("a/gpu-0"), uuid("a/gpu-0"));
        assert_ne!(uuid("a/gpu-0"), uuid("a/gpu-1"));
        assert_eq!(uuid("a").len(), 36);
    }
}
