//! Which nodes are asked, and with what: decided from the snapshot and from what is free. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::checks::probe;
use crate::node_facts::{Mode, Options};
use crate::snapshot::{Node, Pool};
use crate::vendor::{self, Vendor};

/// With what a node's pod is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Without a GPU: the machine is looked at, not what a container is given.
    Bare,
    /// With one GPU by the device plugin's resource.
    Resource(&'static Vendor),
    /// With one GPU by a ResourceClaim.
    Claim(&'static Vendor),
}

/// GPUs that nobody holds.
#[derive(Debug, Default)]
pub(super) struct Free {
    /// By vendor and node, of the device plugin's resource.
    resources: BTreeMap<(String, String), u64>,
    /// Nodes by vendor that have a device which no claim holds.
    devices: BTreeSet<(String, String)>,
}

impl Free {
    /// What is free of every vendor's GPUs, by the pods and claims there are.
    pub(super) fn of(nodes: &[Node], pools: &[Pool], pods: &[Value], claims: &[Value]) -> Self {
        let mut free = Self::default();
        for vendor in vendor::all().unwrap_or(&[]) {
            let own: Vec<Node> = nodes.iter().filter(|node| node.gpus.vendor.as_ref() == Some(&vendor.name)).cloned().collect();
            let counts = probe::free_gpus(&own, pods, vendor);
            free.resources.extend(counts.into_iter().map(|(node, count)| ((vendor.name.clone(), node), count)));
            for node in own {
                let local: Vec<Pool> = pools.iter().filter(|pool| pool.node.as_ref() == Some(&node.name)).cloned().collect();
                if !probe::free_devices(&local, claims, vendor).is_empty() {
                    free.devices.insert((vendor.name.clone(), node.name));
                }
            }
        }
        free
    }
}

/// How a node is asked, or why it is not.
pub(super) fn judge(node: &Node, options: &Options, free: &Free) -> Result<Ask, String> {
    let unselected = options.pods.node_selector.iter().find(|(key, value)| node.labels.get(*key) != Some(*value));
    if let Some((key, value)) = unselected {
        return Err(format!("not asked for: --node-selector wants {key}={value}"));
    }
    let system = node.labels.get("kubernetes.io/os").or_else(|| node.versions.get("operatingSystem"));
    if let Some(system) = system.filter(|system| *system != "linux") {
        return Err(format!("the node runs {system}: facts are read of Linux only"));
    }
    match node.conditions.get("Ready").map(String::as_str) {
        Some("True") => {}
        Some(status) => return Err(format!("the node is not Ready: its condition says {status}")),
        None => return Err("the node is not Ready: nothing says that it is".to_owned()),
    }
    if node.unschedulable {
        return Err("the node is cordoned: no pod is placed there".to_owned());
    }
    if options.mode == Mode::Host {
        return Ok(Ask::Bare);
    }
    let without = "--node-facts=host looks at a node without holding a GPU";
    let vendor = node.gpus.vendor.as_deref().and_then(|name| vendor::named(name).ok());
    let Some(vendor) = vendor else { return Err(format!("nothing on the node advertises its GPUs; {without}")) };
    let key = (vendor.name.clone(), node.name.clone());
    let (by_plugin, by_dra) = (node.gpus.allocatable.unwrap_or(0), node.gpus.dra_devices.unwrap_or(0));
    if free.resources.get(&key).is_some_and(|count| *count > 0) {
        return Ok(Ask::Resource(vendor));
    }
    if free.devices.contains(&key) {
        return Ok(Ask::Claim(vendor));
    }
    if by_plugin + by_dra == 0 {
        return Err(format!("the node advertises no whole {} to be had; {without}", vendor.resource));
    }
    Err(format!("busy: all {} GPUs of the node are held; {without}", by_plugin.max(by_dra)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::snapshot::{nodes, pools};

    fn options(mode: Mode) -> Options {
        Options { mode, ..Options::new("seatrial:1") }
    }

    /// One node that is Ready, with what is given laid over it.
    fn node(name: &str, labels: &Value, gpus: Option<u64>, spec: &Value) -> Value {
        let count = gpus.map_or_else(|| json!({}), |gpus| json!({"nvidia.com/gpu": gpus.to_string()}));
        json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {
            "capacity": count, "allocatable": count, "conditions": [{"type": "Ready", "status": "True"}]}})
    }

    fn said(object: &Value, pods: &[Value], options: &Options) -> Result<Ask, String> {
        let nodes = nodes::read(std::slice::from_ref(object), Some(&[]));
        judge(&nodes[0], options, &Free::of(&nodes, &[], pods, &[]))
    }

    #[test]
    fn a_node_that_cannot_be_asked_is_named_with_the_reason() {
        let ask = |object: &Value| said(object, &[], &options(Mode::Container)).expect_err("is not asked");
        assert!(ask(&node("a", &json!({"kubernetes.io/os": "windows"}), Some(8), &json!({}))).contains("runs windows"));
        assert!(ask(&node("a", &json!({}), Some(8), &json!({"unschedulable": true}))).contains("cordoned"));
        assert!(ask(&node("a", &json!({}), None, &json!({}))).contains("nothing on the node advertises"));
        assert!(ask(&node("a", &json!({"nvidia.com/gpu.count": "8"}), None, &json!({}))).contains("no whole nvidia.com/gpu"));
        let mut silent = node("a", &json!({}), Some(8), &json!({}));
        silent["status"]["conditions"][0]["status"] = json!("Unknown");
        assert!(ask(&silent).contains("not Ready: its condition says Unknown"));
        silent["status"]["conditions"] = json!([]);
        assert!(ask(&silent).contains("nothing says that it is"));
        let mut chosen = options(Mode::Host);
        chosen.pods.node_selector.insert("pool".to_owned(), "gpu".to_owned());
        let refused = said(&node("a", &json!({"pool": "cpu"}), Some(8), &json!({})), &[], &chosen).expect_err("is not selected");
        assert_eq!(refused, "not asked for: --node-selector wants pool=gpu");
    }

    #[test]
    fn a_gpu_is_asked_for_where_one_is_free_and_none_for_the_host() {
        let object = node("a", &json!({}), Some(2), &json!({}));
        let holder = |count: &str, phase: &str| {
            json!({"metadata": {"name": "p"}, "status": {"phase": phase}, "spec": {"nodeName": "a",
                "containers": [{"resources": {"limits": {"nvidia.com/gpu": count}}}]}})
        };
        let container = options(Mode::Container);
        assert!(matches!(said(&object, &[holder("1", "Running")], &container), Ok(Ask::Resource(vendor)) if vendor.name == "nvidia"));
        assert!(matches!(said(&object, &[holder("2", "Succeeded")], &container), Ok(Ask::Resource(_))));
        let busy = said(&object, &[holder("2", "Running")], &container).expect_err("is busy");
        assert!(busy.starts_with("busy: all 2 GPUs of the node are held"), "{busy}");
        assert_eq!(said(&object, &[holder("2", "Running")], &options(Mode::Host)), Ok(Ask::Bare));
    }

    #[test]
    fn a_device_of_the_nodes_own_pool_is_claimed_unless_a_claim_holds_it() {
        let slice = json!({"spec": {"driver": "gpu.nvidia.com", "nodeName": "a", "devices": [{"name": "gpu-0"}],
            "pool": {"name": "a", "generation": 1, "resourceSliceCount": 1}}});
        let pools = pools::group(&[slice]);
        let nodes = nodes::read(&[node("a", &json!({}), None, &json!({})), node("b", &json!({}), None, &json!({}))], Some(&pools));
        let held =
            json!({"status": {"allocation": {"devices": {"results": [{"driver": "gpu.nvidia.com", "pool": "a", "device": "gpu-0"}]}}}});
        let judged = |claims: &[Value]| judge(&nodes[0], &options(Mode::Container), &Free::of(&nodes, &pools, &[], claims));
        assert!(matches!(judged(&[]), Ok(Ask::Claim(_))));
        assert!(judged(&[held]).is_err_and(|why| why.starts_with("busy: all 1 GPUs")));
        assert!(judge(&nodes[1], &options(Mode::Container), &Free::of(&nodes, &pools, &[], &[])).is_err());
    }
}
