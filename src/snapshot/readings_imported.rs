//! Readings of another tool's snapshot: as it wrote them; labels and taints node by node.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::nearest;
use crate::facts::Reading;
use crate::snapshot::address::{Address, Selector};
use crate::snapshot::imported::{Held, Imported, Item, Measured};
use crate::snapshot::readings::{ABSENT, At};

/// Labels that tell a GPU node in a list of labels.
const GPU_LABELS: &[&str] = &[
    "nvidia.com/gpu.present",
    "nvidia.com/gpu.count",
    "nvidia.com/gpu.product",
    "feature.node.kubernetes.io/pci-10de.present",
    "feature.node.kubernetes.io/amd-gpu",
    "amd.com/gpu.count",
    "cloud.google.com/gke-accelerator",
];

/// The readings of an address.
pub(super) fn read(imported: &Imported, address: &Address) -> Vec<At> {
    if let Some(selector) = &address.selector {
        return items(imported, address, selector);
    }
    match (address.kind.as_str(), address.subtype.as_str()) {
        ("NodeTopology", "label") => labels(imported, &address.key),
        ("NodeTopology", "taint") => taints(imported, &address.key),
        ("NodeTopology", "gpu-nodes") => gpu_node_labels(imported)
            .into_iter()
            .map(|(subject, labels)| {
                let all = |labels: BTreeMap<String, String>| labels.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
                At { subject, reading: labels.map(all), source: "imported NodeTopology.label".to_owned() }
            })
            .collect(),
        ("Deployment", "gpu-driver") => vec![one(imported, "GPU", "smi", "driver", true)],
        ("Deployment", component) => vec![one(imported, "K8s", "image", component, false)],
        ("GPU", "gpu") => vec![of_gpu(imported, &address.key)],
        ("GPU", "smi") if address.key == "gpu-count" => vec![smi_or_hardware(imported, "gpu-count", "gpu-count")],
        ("GPU", "smi") if address.key == "gpu.model" => vec![smi_or_hardware(imported, "gpu.model", "model")],
        (kind, subtype) => vec![one(imported, kind, subtype, &address.key, is_of_node(kind, subtype))],
    }
}

/// One entry of a list, or each that has a value.
fn items(imported: &Imported, address: &Address, selector: &Selector) -> Vec<At> {
    let (kind, subtype, key) = (address.kind.as_str(), address.subtype.as_str(), address.key.as_str());
    let source = format!("imported {kind}.{subtype}");
    let all = imported.measured(kind, subtype).map(|measured| measured.items.as_slice()).unwrap_or_default();
    let of = |item: &Item, key: &str| item.data.get(key).or_else(|| item.context.get(key)).cloned();
    let wanted = |(index, item): &(usize, &Item)| match selector {
        Selector::Index(wanted) => index == wanted,
        Selector::Where(key, value) => of(item, key).as_ref() == Some(value),
    };
    let at = |(index, item): (usize, &Item)| At {
        subject: format!("{kind}.{subtype}[{index}]"),
        reading: Reading::of(of(item, key), || format!("entry {index} of {kind}.{subtype} has no {key}")),
        source: source.clone(),
    };
    let found: Vec<At> = all.iter().enumerate().filter(wanted).map(at).collect();
    if found.is_empty() {
        return vec![At::of_cluster(
            Reading::Unavailable(format!("the imported snapshot has no such entry: {address}, of {}", all.len())),
            &source,
        )];
    }
    found
}

/// What the other tool measured on its one node.
fn is_of_node(kind: &str, subtype: &str) -> bool {
    matches!((kind, subtype), ("GPU" | "OS" | "SystemD", _) | ("K8s", "node"))
}

fn one(imported: &Imported, kind: &str, subtype: &str, key: &str, of_node: bool) -> At {
    let reading = match imported.measured(kind, subtype) {
        Some(measured) => Reading::of(measured.data.get(key).cloned(), || missing(measured, kind, subtype, key)),
        None => Reading::Unavailable(format!("the imported snapshot has no {kind}.{subtype}: take it again where that can be read")),
    };
    let subject = if of_node { format!("node {}", imported.source_node()) } else { "cluster".to_owned() };
    At { subject, reading, source: format!("imported {kind}.{subtype}") }
}

fn missing(measured: &Measured, kind: &str, subtype: &str, key: &str) -> String {
    let near = nearest(key, measured.data.keys().map(String::as_str)).map(|near| format!("; it has `{near}`")).unwrap_or_default();
    format!("the imported snapshot has no {kind}.{subtype}.{key}{near}")
}

/// Older snapshots asked nvidia-smi; newer ones look at the PCI bus, under another name.
fn smi_or_hardware(imported: &Imported, smi: &str, hardware: &str) -> At {
    let told = one(imported, "GPU", "smi", smi, true);
    let seen = one(imported, "GPU", "hardware", hardware, true);
    if told.reading.value().is_none() && seen.reading.value().is_some() { seen } else { told }
}

/// What the other tool says of the first GPU; it says nothing of the others.
fn of_gpu(imported: &Imported, key: &str) -> At {
    let smi = match key {
        "driver" => "driver",
        "model" => "gpu.model",
        "architecture" => "gpu.product-architecture",
        "vbios" => "gpu.vbios-version",
        "firmware" => "gpu.gsp-firmware-version",
        "persistence" => "gpu.persistence-mode",
        "addressing" => "gpu.addressing-mode",
        _ => "",
    };
    let only_one = imported.measured("GPU", "smi").and_then(|smi| smi.data.get("gpu-count")).is_some_and(|count| count == "1");
    let at = one(imported, "GPU", "smi", smi, true);
    if smi == "driver" || (only_one && !smi.is_empty()) {
        return at;
    }
    let why = format!("the imported snapshot does not say {key} of each GPU: take one with `seatrial snapshot --node-facts`");
    At { reading: Reading::Unavailable(why), ..at }
}

/// A label of every node that is named; nodes that a list leaves out are a reading that says so.
fn labels(imported: &Imported, key: &str) -> Vec<At> {
    let source = "imported NodeTopology.label".to_owned();
    let held = imported.held("label");
    if held.is_empty() {
        return vec![At::of_cluster(Reading::Unavailable("the imported snapshot has no NodeTopology.label".to_owned()), &source)];
    }
    let mut said: BTreeMap<&str, &str> = BTreeMap::new();
    let mut unnamed = 0;
    for one in held.iter().filter(|one| is_label(one, key)) {
        said.extend(one.nodes.iter().map(|node| (*node, one.value)));
        unnamed += one.unnamed;
    }
    let all: BTreeSet<&str> = imported.nodes();
    let none = || match unnamed {
        0 => format!("{ABSENT}label {key}"),
        _ => format!("no label {key} is said of it, and the list of nodes was cut short when it was taken"),
    };
    let at = |node: &&str| At {
        subject: format!("node {node}"),
        reading: Reading::of(said.get(node).map(|value| (*value).to_owned()), none),
        source: source.clone(),
    };
    let mut found: Vec<At> = all.iter().map(at).collect();
    if unnamed > 0 {
        found.push(cut_short(unnamed, &source));
    }
    found
}

/// A key with several values is packed as `<key>.<value>`, which only its value tells from a longer key.
fn is_label(held: &Held<'_>, key: &str) -> bool {
    held.key == key || held.key.strip_prefix(key).and_then(|rest| rest.strip_prefix('.')).is_some_and(|value| value == held.value)
}

fn cut_short(unnamed: u64, source: &str) -> At {
    let why = format!("{unnamed} nodes are not named in the imported snapshot: take it again without a limit of nodes per entry");
    At { subject: format!("{unnamed} nodes without names"), reading: Reading::Unavailable(why), source: source.to_owned() }
}

fn taints(imported: &Imported, key: &str) -> Vec<At> {
    let source = "imported NodeTopology.taint".to_owned();
    let held = imported.held("taint");
    let mut found = Vec::new();
    for one in held.iter().filter(|one| one.key == key) {
        let text = if one.value.is_empty() { one.effect.to_owned() } else { format!("{}:{}", one.value, one.effect) };
        let at = |node: &&str| At { subject: format!("node {node}"), reading: Reading::Value(text.clone()), source: source.clone() };
        found.extend(one.nodes.iter().map(at));
        if one.unnamed > 0 {
            found.push(cut_short(one.unnamed, &source));
        }
    }
    found.sort_by(|a, b| a.subject.cmp(&b.subject));
    if found.is_empty() {
        found.push(At::of_cluster(Reading::Unavailable(format!("no node of the imported snapshot has a taint {key}")), &source));
    }
    found
}

/// Labels of every node that a label tells to have GPUs.
pub(super) fn gpu_node_labels(imported: &Imported) -> Vec<(String, Reading<BTreeMap<String, String>>)> {
    let held = imported.held("label");
    let none = |why: &str| vec![("cluster".to_owned(), Reading::Unavailable(why.to_owned()))];
    if held.is_empty() {
        return none("the imported snapshot has no NodeTopology.label");
    }
    if held.iter().any(|one| one.unnamed > 0) {
        return none("lists of nodes were cut short when the snapshot was taken: take it again without a limit of nodes per entry");
    }
    let tells = |one: &&Held<'_>| GPU_LABELS.iter().any(|key| is_label(one, key)) && !matches!(one.value, "false" | "0");
    let gpu_nodes: BTreeSet<&str> = held.iter().filter(tells).flat_map(|one| one.nodes.iter().copied()).collect();
    if gpu_nodes.is_empty() {
        return none("no label of the imported snapshot tells of a node with GPUs");
    }
    let packed = |one: &Held<'_>| one.key.strip_suffix(one.value).and_then(|key| key.strip_suffix('.')).map(str::to_owned);
    let mut values: BTreeMap<String, usize> = BTreeMap::new();
    for key in held.iter().filter_map(packed) {
        *values.entry(key).or_default() += 1;
    }
    let mut labels: BTreeMap<&str, BTreeMap<String, String>> = gpu_nodes.iter().map(|node| (*node, BTreeMap::new())).collect();
    for one in &held {
        // A key with several values was packed as `<key>.<value>`, once for each value.
        let key = packed(one).filter(|key| values.get(key).is_some_and(|count| *count > 1)).unwrap_or_else(|| one.key.to_owned());
        for node in &one.nodes {
            if let Some(own) = labels.get_mut(node) {
                own.insert(key.clone(), one.value.to_owned());
            }
        }
    }
    labels.into_iter().map(|(node, labels)| (format!("node {node}"), Reading::Value(labels))).collect()
}
