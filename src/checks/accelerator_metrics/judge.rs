//! Judges what the exporters of all GPU nodes said; pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::checks::exposition::{Exposition, Series};
use crate::limits;
use crate::results::{ErrorReason, Outcome};
use crate::vendor::Exporter;

/// What came of asking the exporter of one node.
#[derive(Debug)]
pub(super) enum Asked {
    /// It cannot be asked, which is wrong in itself: no pod, a pod that is not ready, an answer that is no 200.
    Wrong(String, &'static str),
    /// It could not be asked, for a reason that may not be its own.
    Unknown(ErrorReason, String),
    /// It answered.
    Said(Looks),
}

/// The first look at an exporter, and the last one.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) first: Exposition,
    /// GPUs of which nothing had another value at the last look; none if nothing stood still.
    pub(super) still: BTreeSet<String>,
    /// How long after the first look the last one was, in seconds.
    pub(super) seconds: f64,
}

/// One GPU node.
#[derive(Debug)]
pub(super) struct NodeLook {
    pub(super) name: String,
    /// GPUs that the node says it has.
    pub(super) gpus: Option<u64>,
    /// Their ids, where the DRA driver publishes them.
    pub(super) ids: BTreeSet<String>,
    pub(super) asked: Asked,
}

/// The series of each GPU, by the first of the labels that a series has.
pub(super) fn by_gpu<'a>(exposition: &'a Exposition, exporter: &Exporter) -> BTreeMap<String, Vec<&'a Series>> {
    let mut gpus: BTreeMap<String, Vec<&Series>> = BTreeMap::new();
    let known = |series: &&Series| exporter.metrics.iter().any(|metric| metric.names.contains(&series.name));
    for series in exposition.series.iter().filter(known) {
        let id = exporter.gpu_labels.iter().find_map(|label| series.labels.get(label).filter(|id| !id.is_empty()));
        if let Some(id) = id {
            gpus.entry(id.clone()).or_default().push(series);
        }
    }
    gpus
}

/// GPUs of which nothing has changed from one look to another.
pub(super) fn still(first: &Exposition, last: &Exposition, exporter: &Exporter) -> BTreeSet<String> {
    let later = by_gpu(last, exporter);
    let moved = |id: &str, series: &Series| {
        let Some(all) = later.get(id) else { return false };
        let same = all.iter().find(|other| other.name == series.name && other.labels == series.labels);
        // Other labels, as of a pod that has taken the GPU meanwhile, come from an exporter that looks.
        same.is_none_or(|other| other.value.to_bits() != series.value.to_bits())
    };
    // A metric that grows by itself tells by itself; where there is none, any that changes does.
    let grows = |series: &&&Series| exporter.metrics.iter().any(|metric| metric.grows && metric.names.contains(&series.name));
    let stands = |(id, all): (String, Vec<&Series>)| {
        let growing: Vec<&&Series> = all.iter().filter(grows).collect();
        let moves = if growing.is_empty() { all.iter().any(|one| moved(&id, one)) } else { growing.iter().any(|one| moved(&id, one)) };
        (!moves).then_some(id)
    };
    by_gpu(first, exporter).into_iter().filter_map(stands).collect()
}

/// Judges all nodes together. `others` are the names of all nodes of the cluster.
pub(super) fn judge(nodes: &[NodeLook], others: &BTreeSet<String>, exporter: &Exporter, now: Timestamp) -> Outcome {
    let mut findings = Findings::default();
    let mut seen = Vec::new();
    let mut unknown = Vec::new();
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut gpus = 0;
    for node in nodes {
        match &node.asked {
            Asked::Unknown(reason, why) => unknown.push((*reason, format!("node {}: {why}", node.name))),
            Asked::Wrong(why, fix) => {
                seen.push(node.name.clone());
                findings.state(false, || (format!("node {}: {why}", node.name), *fix));
            }
            Asked::Said(looks) => {
                seen.push(node.name.clone());
                gpus += judge_node(node, looks, others, exporter, now, &mut findings);
                for id in by_gpu(&looks.first, exporter).into_keys() {
                    let other = owners.insert(id.clone(), &node.name);
                    let message = || format!("GPU {id} is said to be in node {} and in node {}", other.unwrap_or_default(), node.name);
                    // Bare numbers are the same on every node.
                    let unique = id.parse::<u32>().is_err();
                    findings.state(!unique || other.is_none(), || (message(), OTHER_NODE));
                }
            }
        }
    }
    let (held, total) = (findings.held, findings.total);
    let outcome = match (findings.wrong.first(), unknown.first()) {
        (Some((message, fix)), _) => {
            let more = findings.wrong.len() - 1;
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            let left = if unknown.is_empty() { String::new() } else { format!("; {} nodes could not be asked", unknown.len()) };
            Outcome::fail(format!("{message}{more}{left}")).fix(*fix)
        }
        (None, Some((reason, message))) => {
            let more = if unknown.len() > 1 { format!(" (and {} more nodes)", unknown.len() - 1) } else { String::new() };
            Outcome::error(*reason, format!("{message}{more}"))
                .fix("look at the exporter's pod on that node, and at the way to it: kubectl port-forward")
        }
        (None, None) => Outcome::pass(format!("{gpus} GPUs on {} nodes, each with values that move; no load was made", nodes.len())),
    };
    let wrong: Vec<&String> = findings.wrong.iter().map(|(message, _)| message).collect();
    let outcome = outcome.seen("nodes", seen, nodes.len()).asserted(held, total).measured("gpus", gpus as f64, "1");
    if wrong.is_empty() { outcome } else { outcome.artifact("what is wrong", None, serde_json::json!(wrong)) }
}

const MISSING: &str = "look at the log of the exporter's pod on that node, and at its list of metrics";
const COUNT: &str = "compare with the driver's own list on that node (nvidia-smi -L, amd-smi list): a GPU may have fallen off the bus";
const STILL: &str = "restart the exporter's pod on that node; look at its log and at the host engine it asks";
const OTHER_NODE: &str = "look at how the exporter learns the name of its node, and at what it connects to";
const RANGE: &str = "compare with the driver's own tool on that node; a value beyond all bounds is how a driver says that it does not know";

/// Statements that held, out of how many; and those that did not.
#[derive(Default)]
struct Findings {
    held: usize,
    total: usize,
    wrong: Vec<(String, &'static str)>,
}

impl Findings {
    fn state(&mut self, holds: bool, wrong: impl FnOnce() -> (String, &'static str)) {
        self.total += 1;
        if holds {
            self.held += 1;
        } else {
            self.wrong.push(wrong());
        }
    }
}

/// Judges one node; how many GPUs its exporter speaks of.
fn judge_node(
    node: &NodeLook,
    looks: &Looks,
    others: &BTreeSet<String>,
    exporter: &Exporter,
    now: Timestamp,
    findings: &mut Findings,
) -> usize {
    let name = &node.name;
    let said = &looks.first;
    findings.state(said.broken.is_none(), || {
        (format!("node {name}: its exporter's answer cannot be read: {}", said.broken.clone().unwrap_or_default()), MISSING)
    });
    let gpus = by_gpu(said, exporter);
    let ids: BTreeSet<String> = gpus.keys().cloned().collect();
    if gpus.is_empty() {
        let described = if said.empty.is_empty() { "" } else { ", only descriptions of metrics" };
        findings.state(false, || (format!("node {name}: its exporter has no series of a GPU{described}"), MISSING));
        return 0;
    }
    counted(node, &gpus, &ids, exporter, findings);
    for (id, all) in &gpus {
        quantities(name, id, all, exporter, findings);
    }
    for label in &exporter.node_labels {
        let named: BTreeSet<&String> = gpus.values().flatten().filter_map(|series| series.labels.get(label)).collect();
        let foreign = named.iter().find(|value| value.as_str() != name && others.contains(value.as_str()));
        findings.state(foreign.is_none(), || {
            (
                format!("node {name}: its exporter says {label}={}, which is another node", foreign.map_or("", |value| value.as_str())),
                OTHER_NODE,
            )
        });
    }
    let oldest = gpus.values().flatten().filter_map(|series| series.at).min();
    let age = oldest.map(|at| now.duration_since(at));
    findings.state(age.is_none_or(|age| age <= limits::METRIC_AGE), || {
        (format!("node {name}: its exporter's values are {} s old", age.map_or(0, |age| age.as_secs())), STILL)
    });
    findings.state(looks.still.is_empty(), || {
        let ids: Vec<&str> = looks.still.iter().map(String::as_str).collect();
        let of = if ids.len() == gpus.len() { format!("all {} GPUs", ids.len()) } else { format!("GPU {}", ids.join(", ")) };
        (format!("node {name}: the values of {of} have not moved for {:.0} s", looks.seconds), STILL)
    });
    ids.len()
}

/// As many GPUs as the node says, and the same ones where it says which.
fn counted(node: &NodeLook, gpus: &BTreeMap<String, Vec<&Series>>, ids: &BTreeSet<String>, exporter: &Exporter, findings: &mut Findings) {
    let name = &node.name;
    // An exporter that tells GPUs apart by number alone cannot be compared by id.
    let comparable = !node.ids.is_empty() && ids.iter().all(|id| id.parse::<u32>().is_err());
    if comparable {
        let missing: Vec<&str> = node.ids.difference(ids).map(String::as_str).collect();
        let foreign: Vec<&str> = ids.difference(&node.ids).map(String::as_str).collect();
        findings.state(missing.is_empty(), || (format!("node {name}: its exporter has no series of GPU {}", missing.join(", ")), COUNT));
        findings.state(foreign.is_empty(), || {
            (format!("node {name}: its exporter speaks of GPU {}, which the node does not have", foreign.join(", ")), OTHER_NODE)
        });
        return;
    }
    let used = |series: &&&Series| exporter.metrics.iter().any(|one| one.quantity == "utilisation" && one.names.contains(&series.name));
    // Where GPUs are cut up, a node may count parts.
    let parts = gpus.values().flatten().filter(used).count() as u64;
    let whole = ids.len() as u64;
    findings.state(node.gpus.is_some_and(|wanted| wanted == whole || wanted == parts), || match node.gpus {
        Some(wanted) => (format!("node {name}: its exporter has series of {whole} GPUs, the node says {wanted}"), COUNT),
        None => (format!("node {name}: its exporter has series of {whole} GPUs, and nothing on the node says how many there are"), COUNT),
    });
}

/// Every quantity of one GPU is there and within what a GPU can have.
fn quantities(node: &str, id: &str, all: &[&Series], exporter: &Exporter, findings: &mut Findings) {
    let wanted: BTreeSet<&str> = exporter.metrics.iter().filter(|metric| !metric.optional).map(|metric| metric.quantity.as_str()).collect();
    for quantity in wanted {
        let names: Vec<&String> =
            exporter.metrics.iter().filter(|metric| metric.quantity == quantity).flat_map(|metric| &metric.names).collect();
        let there = all.iter().any(|series| names.contains(&&series.name));
        findings.state(there, || {
            let first = names.first().map_or("", |name| name.as_str());
            (format!("node {node}: GPU {id} has no {quantity} ({first})"), MISSING)
        });
    }
    for series in all {
        let Some(metric) = exporter.metrics.iter().find(|metric| metric.names.contains(&series.name)) else { continue };
        let (min, max) = (metric.min as f64, metric.max as f64);
        findings.state((min..=max).contains(&series.value), || {
            (
                format!("node {node}: GPU {id} has {} {}, which is not between {min} and {max} {}", series.name, series.value, metric.unit),
                RANGE,
            )
        });
    }
}
