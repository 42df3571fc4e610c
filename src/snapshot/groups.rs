//! Groups nodes by fingerprint and names the odd ones out: one node with another driver, VBIOS or number of GPUs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::facts::{Gpu, Reading};
use crate::snapshot::Snapshot;
use crate::snapshot::readings::Machine;
use crate::snapshot::{readings_gpu, readings_node};

/// What nodes of one group share, by name: `driver` → `580.95.05`. What could not be read of a node is not there.
pub type Fingerprint = BTreeMap<&'static str, String>;

/// Nodes with one fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// What they share.
    pub fingerprint: Fingerprint,
    /// Their names, sorted.
    pub nodes: Vec<String>,
    /// How they differ from what is usual among nodes of their kind; empty for what is usual, and where nothing is.
    pub odd: Vec<Difference>,
}

/// One way in which a group differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What differs, e.g. `driver`.
    pub what: &'static str,
    /// How it is here; none where it could not be read.
    pub here: Option<String>,
    /// How it is usually.
    pub usual: Option<String>,
    /// How many nodes are as usual.
    pub nodes: usize,
}

/// What a fingerprint is made of; `product` and `arch` tell kinds of nodes apart, the others should be the same within a kind.
const KIND: [&str; 2] = ["arch", "product"];

/// Groups all nodes, the largest group first.
#[must_use]
pub fn groups(snapshot: &Snapshot) -> Vec<Group> {
    let Ok(machines) = snapshot.machines(false) else { return Vec::new() };
    let mut by_print: BTreeMap<Fingerprint, Vec<String>> = BTreeMap::new();
    for machine in &machines {
        by_print.entry(fingerprint(machine)).or_default().push(machine.name.to_owned());
    }
    let mut groups: Vec<Group> = by_print.into_iter().map(|(fingerprint, nodes)| Group { fingerprint, nodes, odd: Vec::new() }).collect();
    groups.sort_by(|a, b| (b.nodes.len(), &a.nodes).cmp(&(a.nodes.len(), &b.nodes)));
    let odd: Vec<Vec<Difference>> = groups.iter().map(|group| odd(group, &groups)).collect();
    for (group, odd) in groups.iter_mut().zip(odd) {
        group.odd = odd;
    }
    groups
}

/// One line for each group, and for each way in which it is odd.
#[must_use]
pub fn lines(groups: &[Group]) -> Vec<String> {
    let mut lines = Vec::new();
    for group in groups {
        let facts: Vec<String> = group.fingerprint.iter().map(|(what, value)| format!("{what} {value}")).collect();
        lines.push(format!("{} × {}   ({})", group.nodes.len(), facts.join(", "), some_of(&group.nodes)));
        for difference in &group.odd {
            let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
            let (here, usual) = (word(&difference.here), word(&difference.usual));
            lines.push(format!("    odd: {} {here}, where {} nodes have {usual}", difference.what, difference.nodes));
        }
    }
    lines
}

/// The first names of a list, and how many more there are.
#[must_use]
pub fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let first = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{first} and {} more", names.len() - SHOWN) } else { first }
}

/// A group is odd next to a larger one of the same kind; where two are equally large, neither is.
fn odd(group: &Group, all: &[Group]) -> Vec<Difference> {
    let role = |group: &Group| group.fingerprint.contains_key("gpus");
    let same_kind = |other: &&Group| {
        role(other) == role(group)
            && KIND.iter().all(|what| match (group.fingerprint.get(what), other.fingerprint.get(what)) {
                (Some(here), Some(there)) => here == there,
                // A node that cannot say its kind is compared with every kind.
                _ => true,
            })
    };
    let usual = all.iter().filter(same_kind).max_by_key(|other| other.nodes.len());
    let Some(usual) = usual.filter(|usual| usual.nodes.len() > group.nodes.len()) else { return Vec::new() };
    let names: BTreeSet<&'static str> = group.fingerprint.keys().chain(usual.fingerprint.keys()).copied().collect();
    let differs = |what: &&'static str| group.fingerprint.get(what) != usual.fingerprint.get(what);
    let difference = |what: &'static str| Difference {
        what,
        here: group.fingerprint.get(what).cloned(),
        usual: usual.fingerprint.get(what).cloned(),
        nodes: usual.nodes.len(),
    };
    names.into_iter().filter(differs).map(difference).collect()
}

fn fingerprint(machine: &Machine<'_>) -> Fingerprint {
    let mut print = Fingerprint::new();
    let mut put = |what: &'static str, reading: &Reading<String>| {
        if let Some(value) = reading.value() {
            print.insert(what, value.clone());
        }
    };
    let of_node = |key: &str| Reading::of(machine.node.and_then(|node| node.versions.get(key).cloned()), String::new);
    let fact = |reading: Reading<String>, key: &str| if reading.value().is_some() { reading } else { of_node(key) };
    put("arch", &of_node("architecture"));
    put("kernel", &fact(machine.fact(|facts| facts.kernel.clone()), "kernelVersion"));
    put("kubelet", &of_node("kubeletVersion"));
    put("os", &fact(readings_node::pretty_name(machine), "osImage"));
    put("runtime", &of_node("containerRuntimeVersion"));
    let has_gpus = machine.node.is_none_or(super::Node::has_gpus);
    if has_gpus {
        put("driver", &readings_gpu::driver(machine).0);
        put("gpus", &readings_gpu::node(machine, "smi", "gpu-count").0);
        put("product", &tally(machine, |gpu| gpu.product.clone()).unwrap_or_else(|| readings_gpu::node(machine, "smi", "gpu.model").0));
        for (what, of) in OF_EACH {
            if let Some(reading) = tally(machine, of) {
                put(what, &reading);
            }
        }
    }
    print
}

/// What every GPU of a node should have alike.
type OfEach = fn(&Gpu) -> Reading<String>;
const OF_EACH: [(&str, OfEach); 5] = [
    ("ecc", |gpu| gpu.ecc.clone()),
    ("memory", |gpu| gpu.memory.clone()),
    ("partition", |gpu| gpu.partition.clone()),
    ("power-cap", |gpu| gpu.power_cap.clone()),
    ("vbios", |gpu| gpu.vbios.clone()),
];

/// What the GPUs of a machine say: one value, or each with its number, `a ×7, b ×1`. None where there are no facts of GPUs.
fn tally(machine: &Machine<'_>, of: impl Fn(&Gpu) -> Reading<String>) -> Option<Reading<String>> {
    let facts = machine.facts?.ok()?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, gpu) in facts.gpus() {
        *counts.entry(of(gpu).value().cloned().unwrap_or_else(|| "not known".to_owned())).or_default() += 1;
    }
    let all: Vec<String> = counts.iter().map(|(value, count)| format!("{value} ×{count}")).collect();
    match counts.keys().next() {
        None => None,
        Some(only) if counts.len() == 1 => (only != "not known").then(|| Reading::Value(only.clone())),
        Some(_) => Some(Reading::Value(all.join(", "))),
    }
}
