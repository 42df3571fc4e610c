//! Writes a snapshot as the incumbent's document, for its tools: one node's own facts, and the cluster's labels and taints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::facts::Facts;
use crate::snapshot::address::{Address, NODE_KEYS, SMI_KEYS};
use crate::snapshot::foreign::API_VERSIONS;
use crate::snapshot::imported::Imported;
use crate::snapshot::model::Node;
use crate::snapshot::readings::{base_name, repository, tag};
use crate::snapshot::{Reading, Snapshot};

/// The document, and what it cannot hold.
#[must_use]
pub fn document(snapshot: &Snapshot) -> (Value, Vec<String>) {
    if let Some(imported) = &snapshot.imported {
        return (again(imported), Vec::new());
    }
    let mut left_out = Vec::new();
    let (name, facts) = source(snapshot, &mut left_out);
    let mut measurements = Vec::new();
    let mut put = |kind: &str, subtypes: Vec<Value>| {
        if !subtypes.is_empty() {
            measurements.push(json!({"type": kind, "subtypes": subtypes}));
        }
    };
    put("K8s", cluster(snapshot, &name));
    let smi = read(snapshot, "GPU.smi", SMI_KEYS, &name);
    let hardware = read(snapshot, "GPU.hardware", &["gpu-present", "gpu-count", "driver-loaded", "detection-source", "model"], &name);
    put("GPU", [("smi", smi), ("hardware", hardware)].into_iter().filter_map(|(name, data)| subtype(name, data)).collect());
    put("OS", facts.map(os).unwrap_or_default());
    let units = facts.and_then(|facts| facts.units.value()).into_iter().flatten();
    put("SystemD", units.filter_map(|(unit, properties)| subtype(unit, texts(properties))).collect());
    put("NodeTopology", snapshot.nodes.value().map(|nodes| topology(nodes)).unwrap_or_default());
    let latest = API_VERSIONS.last().copied().unwrap_or_default();
    let metadata = json!({"source-node": name, "version": concat!("seatrial-", env!("CARGO_PKG_VERSION"))});
    (json!({"apiVersion": latest, "kind": "Snapshot", "metadata": metadata, "measurements": measurements}), left_out)
}

/// The node whose own facts go into the document: it has room for one.
fn source<'a>(snapshot: &'a Snapshot, left_out: &mut Vec<String>) -> (String, Option<&'a Facts>) {
    if let Some(host) = &snapshot.host {
        return (host.name.clone(), Some(&host.facts));
    }
    let facts = |node: &'a Node| node.facts.as_ref().and_then(Reading::value);
    let nodes: Vec<&Node> = snapshot.nodes.value().into_iter().flatten().collect();
    let with_facts: Vec<&&Node> = nodes.iter().filter(|node| facts(node).is_some()).collect();
    if with_facts.len() > 1 {
        left_out.push(format!("facts of {} nodes: the document has room for one", with_facts.len() - 1));
    }
    if snapshot.pools.value().is_some_and(|pools| !pools.is_empty()) {
        left_out.push("DRA pools".to_owned());
    }
    let first =
        with_facts.first().map(|node| **node).or_else(|| nodes.iter().copied().find(|node| node.has_gpus())).or(nodes.first().copied());
    (first.map_or_else(String::new, |node| node.name.clone()), first.and_then(facts))
}

fn subtype(name: &str, data: Map<String, Value>) -> Option<Value> {
    (!data.is_empty()).then(|| json!({"subtype": name, "data": data}))
}

fn texts(map: &BTreeMap<String, String>) -> Map<String, Value> {
    map.iter().map(|(key, value)| (key.clone(), json!(value))).collect()
}

/// Readings of one node, by their own addresses.
fn read(snapshot: &Snapshot, of: &str, keys: &[&str], name: &str) -> Map<String, Value> {
    let subject = format!("node {name}");
    let one = |key: &&str| {
        let found = snapshot.readings(&Address::parse(&format!("{of}.{key}")).ok()?, None);
        let at = found.into_iter().find(|at| at.subject == subject)?;
        let value = at.reading.value()?.clone();
        let number = key.ends_with("-count").then(|| value.parse::<u64>().ok()).flatten();
        Some(((*key).to_owned(), number.map_or_else(|| json!(value), |number| json!(number))))
    };
    keys.iter().filter_map(one).collect()
}

fn cluster(snapshot: &Snapshot, name: &str) -> Vec<Value> {
    let mut server = Map::new();
    let told = [
        ("version", snapshot.cluster.version.value()),
        ("platform", snapshot.cluster.platform.as_ref()),
        ("goVersion", snapshot.cluster.go_version.as_ref()),
    ];
    server.extend(told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?)))));
    let mut images = Map::new();
    for image in snapshot.images.as_ref().and_then(Reading::value).into_iter().flatten().map(|(image, _)| image.as_str()) {
        // A second image of the same base name goes under its whole name, so that none is lost.
        let base = base_name(image);
        let key = if images.contains_key(base) { repository(image) } else { base };
        images.insert(key.to_owned(), json!(tag(image).unwrap_or("latest")));
    }
    let mut policy = Map::new();
    for one in snapshot.policies.as_ref().and_then(Reading::value).into_iter().flatten() {
        policy.extend(texts(&one.spec));
    }
    let all = [("server", server), ("image", images), ("policy", policy), ("node", read(snapshot, "K8s.node", NODE_KEYS, name))];
    all.into_iter().filter_map(|(name, data)| subtype(name, data)).collect()
}

fn os(facts: &Facts) -> Vec<Value> {
    let release = facts.os_release.value().map(texts).unwrap_or_default();
    let mut sysctl = facts.sysctl.value().map(texts).unwrap_or_default();
    if let Some(kernel) = facts.kernel.value() {
        sysctl.insert("/proc/sys/kernel/osrelease".to_owned(), json!(kernel));
    }
    let modules = facts.modules.value().into_iter().flatten().map(|(name, _)| (name.clone(), json!(true))).collect();
    let parameters = facts.cmdline.value().into_iter().flatten();
    let grub = parameters
        .map(|one| one.split_once('=').map_or((one.clone(), json!("")), |(name, value)| (name.to_owned(), json!(value))))
        .collect();
    let all = [("grub", grub), ("sysctl", sysctl), ("kmod", modules), ("release", release)];
    all.into_iter().filter_map(|(name, data)| subtype(name, data)).collect()
}

/// Labels and taints of all nodes: as items, which lose nothing, and packed, which older tools read.
fn topology(nodes: &[Node]) -> Vec<Value> {
    let mut labels: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut taints: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for node in nodes {
        for (key, value) in &node.labels {
            labels.entry((key, value)).or_default().push(&node.name);
        }
        for taint in &node.taints {
            taints.entry((&taint.key, &taint.effect, &taint.value)).or_default().push(&node.name);
        }
    }
    let held = |nodes: &[&str]| json!({"node-count": nodes.len(), "node-list": nodes.join(","), "truncated": false});
    let label_items: Vec<Value> =
        labels.iter().map(|((key, value), nodes)| json!({"context": {"key": key, "value": value}, "data": held(nodes)})).collect();
    let taint_items: Vec<Value> = taints
        .iter()
        .map(|((key, effect, value), nodes)| json!({"context": {"key": key, "value": value, "effect": effect}, "data": held(nodes)}))
        .collect();
    let several = |keys: Vec<&str>| -> BTreeSet<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        keys.into_iter().for_each(|key| *counts.entry(key).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(key, _)| key.to_owned()).collect()
    };
    let many = several(labels.keys().map(|(key, _)| *key).collect());
    let packed_labels: Map<String, Value> = labels
        .iter()
        .map(|((key, value), nodes)| {
            let name = if many.contains(*key) { format!("{key}.{value}") } else { (*key).to_owned() };
            (name, json!(format!("{value}|{}", nodes.join(","))))
        })
        .collect();
    let many = several(taints.keys().map(|(key, _, _)| *key).collect());
    let packed_taints: Map<String, Value> = taints
        .iter()
        .map(|((key, effect, value), nodes)| {
            let nodes = nodes.join(",");
            if many.contains(*key) {
                (format!("{key}.{effect}"), json!(format!("{value}|{nodes}")))
            } else {
                ((*key).to_owned(), json!(format!("{effect}|{value}|{nodes}")))
            }
        })
        .collect();
    let summary = json!({"node-count": nodes.len(), "taint-count": taint_items.len(), "label-count": label_items.len()});
    vec![
        json!({"subtype": "summary", "data": summary}),
        json!({"subtype": "taint", "data": packed_taints, "items": taint_items}),
        json!({"subtype": "label", "data": packed_labels, "items": label_items}),
    ]
}

/// An imported document, written again.
fn again(imported: &Imported) -> Value {
    let mut measurements = Vec::new();
    for (kind, subtypes) in &imported.measurements {
        let one = |(name, measured): (&String, &super::imported::Measured)| {
            let mut value = json!({"subtype": name, "data": measured.data});
            if !measured.context.is_empty() {
                value["context"] = json!(measured.context);
            }
            if !measured.items.is_empty() {
                value["items"] = json!(measured.items);
            }
            value
        };
        measurements.push(json!({"type": kind, "subtypes": subtypes.iter().map(one).collect::<Vec<_>>()}));
    }
    json!({"apiVersion": imported.api_version, "kind": "Snapshot", "metadata": imported.metadata, "measurements": measurements})
}
