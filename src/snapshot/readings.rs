//! Readings by address: one for the cluster, for each node or for each GPU, each with its source; what is missing says why.

use std::collections::{BTreeMap, BTreeSet};

use crate::constraints::Over;
use crate::facts::{Facts, GpuStack, Reading};
use crate::snapshot::Snapshot;
use crate::snapshot::address::Address;
use crate::snapshot::model::{Node, Pool};
use crate::snapshot::{readings_gpu, readings_imported, readings_node};

/// A reading of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// What was read: `cluster`, `node gpu-1`, `node gpu-1 GPU 0000:1b:00.0`, `Deployment gpu-operator/gpu-operator`.
    pub subject: String,
    /// What was read of it, or what to do about having no reading.
    pub reading: Reading<String>,
    /// Where it was read: `API server`, `nvidia-smi`, `label nvidia.com/gpu.count`.
    pub source: String,
}

/// A reading with its source.
pub(super) type Found = (Reading<String>, String);

/// What is known of one machine: a node of the cluster, or the host.
pub(super) struct Machine<'a> {
    pub(super) name: &'a str,
    pub(super) node: Option<&'a Node>,
    pub(super) facts: Option<Result<&'a Facts, &'a str>>,
    /// Its pools of devices.
    pub(super) pools: Vec<&'a Pool>,
}

/// Why there are no facts, and what to do.
const NO_FACTS: &str = "no node facts in this snapshot: take it with `seatrial snapshot --node-facts`";

impl Snapshot {
    /// Readings of an address: of the cluster, of each node (each GPU node, for hardware and what runs on it) or of each GPU.
    ///
    /// `over` asks for another breadth than the address has. Never empty: where there is nothing to read, one reading says why.
    #[must_use]
    pub fn readings(&self, address: &Address, over: Option<Over>) -> Vec<At> {
        let own = address.over();
        let wanted = over.unwrap_or(own);
        let found = match &self.imported {
            Some(imported) => readings_imported::read(imported, address),
            None => self.read(address),
        };
        match (own, wanted) {
            (own, wanted) if own == wanted => found,
            (Over::Nodes | Over::Gpus, Over::Cluster) => vec![agreed("cluster".to_owned(), &found)],
            (Over::Gpus, Over::Nodes) => by_node(found),
            _ => {
                let words = |over| match over {
                    Over::Cluster => "the cluster",
                    Over::Nodes => "each node",
                    Over::Gpus => "each GPU",
                };
                let why = format!("{address} is one reading of {}, not of {}", words(own), words(wanted));
                vec![At { subject: "cluster".to_owned(), reading: Reading::Unavailable(why), source: "address".to_owned() }]
            }
        }
    }

    /// Labels of every GPU node, or why there are none: what `NodeTopology.gpu-nodes.label` is judged by.
    #[must_use]
    pub fn gpu_node_labels(&self) -> Vec<(String, Reading<BTreeMap<String, String>>)> {
        if let Some(imported) = &self.imported {
            return readings_imported::gpu_node_labels(imported);
        }
        match self.machines(true) {
            Err(why) => vec![("cluster".to_owned(), Reading::Unavailable(why))],
            Ok(machines) => {
                let labels = |machine: &Machine<'_>| Reading::of(machine.node.map(|node| node.labels.clone()), || NO_CLUSTER.to_owned());
                machines.iter().map(|machine| (machine.subject(), labels(machine))).collect()
            }
        }
    }

    fn read(&self, address: &Address) -> Vec<At> {
        match (address.kind.as_str(), address.subtype.as_str()) {
            ("K8s", "node") | ("NodeTopology", "label" | "taint") => self.of_machines(false, address),
            ("OS" | "SystemD", _) | ("GPU", "smi" | "hardware") | ("Deployment", "gpu-driver") | ("NodeTopology", "gpu-nodes") => {
                self.of_machines(true, address)
            }
            ("GPU", _) => match self.machines(true) {
                Ok(machines) => machines.iter().flat_map(|machine| readings_gpu::read(machine, &address.key)).collect(),
                Err(why) => vec![At::of_cluster(Reading::Unavailable(why), "nodes")],
            },
            _ => self.of_cluster(address),
        }
    }

    fn of_machines(&self, hardware: bool, address: &Address) -> Vec<At> {
        let machines = match self.machines(hardware) {
            Ok(machines) => machines,
            Err(why) => return vec![At::of_cluster(Reading::Unavailable(why), "nodes")],
        };
        let read = |machine: &Machine<'_>| {
            let found = readings_node::read(machine, address);
            let at = |(reading, source)| At { subject: machine.subject(), reading, source };
            found.into_iter().map(at).collect::<Vec<_>>()
        };
        machines.iter().flat_map(read).collect()
    }

    /// The machines that a reading is of; with `hardware`, GPU nodes if there are any.
    pub(super) fn machines(&self, hardware: bool) -> Result<Vec<Machine<'_>>, String> {
        if let Some(host) = &self.host {
            return Ok(vec![Machine { name: &host.name, node: None, facts: Some(Ok(&host.facts)), pools: Vec::new() }]);
        }
        let nodes = match &self.nodes {
            Reading::Value(nodes) if nodes.is_empty() => return Err("the cluster has no nodes".to_owned()),
            Reading::Value(nodes) => nodes,
            Reading::Unavailable(why) => return Err(format!("nodes could not be read: {why}")),
        };
        let mut pools: BTreeMap<&str, Vec<&Pool>> = BTreeMap::new();
        for pool in self.pools.value().into_iter().flatten() {
            pools.entry(pool.node.as_deref().unwrap_or_default()).or_default().push(pool);
        }
        let any_gpus = nodes.iter().any(Node::has_gpus);
        let wanted = |node: &&Node| !hardware || !any_gpus || node.has_gpus();
        let mut machines = Vec::new();
        for node in nodes.iter().filter(wanted) {
            let facts = node.facts.as_ref().map(|facts| match facts {
                Reading::Value(facts) => Ok(facts),
                Reading::Unavailable(why) => Err(why.as_str()),
            });
            machines.push(Machine {
                name: &node.name,
                node: Some(node),
                facts,
                pools: pools.get(node.name.as_str()).cloned().unwrap_or_default(),
            });
        }
        Ok(machines)
    }

    fn of_cluster(&self, address: &Address) -> Vec<At> {
        let one = |reading: Reading<String>, source: &str| vec![At::of_cluster(reading, source)];
        let unsaid = |value: &Option<String>| Reading::of(value.clone(), || self.no_cluster("the API server's version has no such field"));
        match (address.kind.as_str(), address.subtype.as_str(), address.key.as_str()) {
            ("K8s", "server", "version") => one(self.cluster.version.clone(), "API server"),
            ("K8s", "server", "platform") => one(unsaid(&self.cluster.platform), "API server"),
            ("K8s", "server", _) => one(unsaid(&self.cluster.go_version), "API server"),
            ("K8s", "image", name) => self.image(name),
            ("K8s", "policy", path) => self.policy(path),
            ("NodeTopology", "summary", key) => one(self.topology_count(key), "nodes"),
            ("Deployment", component, _) => self.component(component),
            (kind, subtype, _) => {
                let why = format!("seatrial does not read {kind}.{subtype} itself: hand it a snapshot of the tool that does");
                one(Reading::Unavailable(why), "snapshot")
            }
        }
    }

    /// Why something of the cluster is not there.
    fn no_cluster(&self, otherwise: &str) -> String {
        self.cluster.version.unavailable().unwrap_or(otherwise).to_owned()
    }

    /// Tags of all images of a base name; two registries' images of one name are both there.
    fn image(&self, name: &str) -> Vec<At> {
        let images: BTreeSet<&str> = match (&self.images, &self.workloads) {
            (Some(Reading::Value(images)), _) => images.keys().map(String::as_str).collect(),
            (None, Reading::Value(workloads)) => workloads.iter().flat_map(|one| one.images.keys().map(String::as_str)).collect(),
            (Some(Reading::Unavailable(why)), _) | (None, Reading::Unavailable(why)) => {
                return vec![At::of_cluster(Reading::Unavailable(why.clone()), "pods")];
            }
        };
        let of_name = images.iter().filter(|image| base_name(image) == name || repository(image) == name);
        let at = |image: &&str| At {
            subject: format!("image {image}"),
            reading: Reading::Value(tag(image).unwrap_or("latest").to_owned()),
            source: "pods".to_owned(),
        };
        let found: Vec<At> = of_name.map(at).collect();
        if found.is_empty() {
            let names: BTreeSet<&str> = images.iter().map(|image| base_name(image)).collect();
            let near = crate::error::nearest(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return vec![At::of_cluster(Reading::Unavailable(format!("no pod runs an image named `{name}`{near}")), "pods")];
        }
        found
    }

    fn policy(&self, path: &str) -> Vec<At> {
        let policies = match &self.policies {
            Some(Reading::Value(policies)) => policies,
            Some(Reading::Unavailable(why)) => return vec![At::of_cluster(Reading::Unavailable(why.clone()), "policies")],
            None => return vec![At::of_cluster(Reading::Unavailable(self.no_cluster("policies were not read")), "policies")],
        };
        if policies.is_empty() {
            return vec![At::of_cluster(Reading::Unavailable("no GPU operator has a policy here".to_owned()), "policies")];
        }
        let at = |policy: &super::model::Policy| At {
            subject: format!("{} {}", policy.kind, policy.name),
            reading: Reading::of(policy.spec.get(path).cloned(), || format!("{} {} sets no {path}", policy.kind, policy.name)),
            source: "policies".to_owned(),
        };
        policies.iter().map(at).collect()
    }

    fn topology_count(&self, key: &str) -> Reading<String> {
        self.nodes.then(|nodes| {
            let count = match key {
                "node-count" => nodes.len(),
                "taint-count" => nodes.iter().flat_map(|node| &node.taints).collect::<BTreeSet<_>>().len(),
                _ => nodes.iter().flat_map(|node| &node.labels).collect::<BTreeSet<_>>().len(),
            };
            Reading::Value(count.to_string())
        })
    }

    /// Versions of the workloads of a component: by name, else by chart, else by image.
    fn component(&self, name: &str) -> Vec<At> {
        let workloads = match &self.workloads {
            Reading::Value(workloads) => workloads,
            Reading::Unavailable(why) => return vec![At::of_cluster(Reading::Unavailable(why.clone()), "workloads")],
        };
        let chart = format!("{name}-");
        let by_chart = |one: &super::Workload| {
            one.versions.get("helm.sh/chart").and_then(|value| value.strip_prefix(&chart)).is_some_and(starts_with_version)
        };
        let by_image = |one: &super::Workload| one.images.keys().any(|image| base_name(image) == name);
        let ways: [&dyn Fn(&super::Workload) -> bool; 3] = [&|one| one.name == name, &by_chart, &by_image];
        for way in ways {
            let found: Vec<At> = workloads.iter().filter(|one| way(one)).map(|one| version_of(one, &chart, name)).collect();
            if !found.is_empty() {
                return found;
            }
        }
        let near = crate::error::nearest(name, workloads.iter().map(|one| one.name.as_str()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        vec![At::of_cluster(Reading::Unavailable(format!("no workload is named `{name}` or comes from such a chart{near}")), "workloads")]
    }
}

/// How the reason begins where it was seen that there is no such label or taint, which is no gap in the snapshot.
pub(super) const ABSENT: &str = "it has no ";

const NO_CLUSTER: &str = "no cluster was asked: this snapshot was taken on a machine itself";

impl At {
    /// True if what is asked for was seen not to be there, as a label or taint of a node; false if it could not be seen.
    #[must_use]
    pub fn absent(&self) -> bool {
        self.reading.unavailable().is_some_and(|why| why.starts_with(ABSENT))
    }

    pub(super) fn of_cluster(reading: Reading<String>, source: &str) -> Self {
        Self { subject: "cluster".to_owned(), reading, source: source.to_owned() }
    }
}

impl Machine<'_> {
    pub(super) fn subject(&self) -> String {
        format!("node {}", self.name)
    }

    /// A reading out of the facts.
    pub(super) fn fact<T>(&self, of: impl FnOnce(&Facts) -> Reading<T>) -> Reading<T> {
        match self.facts {
            Some(Ok(facts)) => of(facts),
            Some(Err(why)) => Reading::Unavailable(format!("node facts could not be had: {why}")),
            None => Reading::Unavailable(NO_FACTS.to_owned()),
        }
    }

    /// What the node's API object says; a host has none.
    pub(super) fn api<T>(&self, of: impl FnOnce(&Node) -> Reading<T>) -> Reading<T> {
        self.node.map_or_else(|| Reading::Unavailable(NO_CLUSTER.to_owned()), of)
    }

    /// The stack of the GPUs' vendor; the first if there are several.
    pub(super) fn stack<T>(&self, of: impl FnOnce(&GpuStack) -> Reading<T>) -> Reading<T> {
        self.fact(|facts| {
            facts.gpus.then(|stacks| match stacks.first() {
                Some(stack) => of(stack),
                None => Reading::Unavailable("the machine has no GPUs".to_owned()),
            })
        })
    }

    /// The tool that told of the GPUs, as a source.
    pub(super) fn tool(&self) -> String {
        let stack = self.facts.and_then(Result::ok).and_then(|facts| facts.gpus.value()).and_then(|stacks| stacks.first());
        stack.map_or_else(|| "node facts".to_owned(), |stack| stack.tool.clone())
    }
}

/// The first that was read; else the first reason, which says how to get the best source.
pub(super) fn first(ways: impl IntoIterator<Item = Found>) -> Found {
    let mut best: Option<Found> = None;
    for way in ways {
        if way.0.value().is_some() {
            return way;
        }
        best.get_or_insert(way);
    }
    best.unwrap_or_else(|| (Reading::Unavailable("not read".to_owned()), "snapshot".to_owned()))
}

/// One reading of many: what all of them say, or how they differ.
fn agreed(subject: String, found: &[At]) -> At {
    let mut said: BTreeMap<Option<&str>, Vec<&At>> = BTreeMap::new();
    for at in found {
        said.entry(at.reading.value().map(String::as_str)).or_default().push(at);
    }
    let source = found.first().map_or_else(|| "snapshot".to_owned(), |at| at.source.clone());
    if said.len() == 1 {
        return At { subject, reading: found[0].reading.clone(), source };
    }
    let words = |(value, at): (&Option<&str>, &Vec<&At>)| {
        let says = value.unwrap_or("cannot be read");
        match at.as_slice() {
            [one] => format!("{} {says}", one.subject),
            many => format!("{} {says}", many.len()),
        }
    };
    let all: Vec<String> = said.iter().map(words).collect();
    At { subject, reading: Reading::Unavailable(format!("they differ: {}", all.join(", "))), source }
}

fn by_node(found: Vec<At>) -> Vec<At> {
    let mut nodes: BTreeMap<String, Vec<At>> = BTreeMap::new();
    for at in found {
        let node = at.subject.split_once(" GPU ").map_or(at.subject.as_str(), |(node, _)| node).to_owned();
        nodes.entry(node).or_default().push(at);
    }
    nodes.into_iter().map(|(node, found)| agreed(node, &found)).collect()
}

/// The image without tag and digest.
pub(super) fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// The last part of an image's name.
pub(super) fn base_name(image: &str) -> &str {
    let repository = repository(image);
    repository.rsplit_once('/').map_or(repository, |(_, name)| name)
}

/// The tag of an image, or its digest where it has no tag.
pub(super) fn tag(image: &str) -> Option<&str> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    name.get(repository(image).len()..).and_then(|rest| rest.strip_prefix(':')).or(digest)
}

fn starts_with_version(text: &str) -> bool {
    text.trim_start_matches('v').starts_with(|letter: char| letter.is_ascii_digit())
}

fn version_of(workload: &super::Workload, chart: &str, name: &str) -> At {
    let label = |key: &str| workload.versions.get(key).cloned();
    let of_name = workload.images.keys().find(|image| base_name(image) == name);
    let image = of_name.or_else(|| workload.images.keys().next()).and_then(|image| tag(image)).map(str::to_owned);
    let from_chart = label("helm.sh/chart").and_then(|value| value.strip_prefix(chart).map(str::to_owned));
    let ways = [
        (label("app.kubernetes.io/version"), "label app.kubernetes.io/version"),
        (from_chart, "label helm.sh/chart"),
        (image, "tag of its image"),
    ];
    let subject = format!("{} {}/{}", workload.kind, workload.namespace, workload.name);
    let found = ways.into_iter().find_map(|(value, source)| Some((value?, source)));
    match found {
        Some((value, source)) => At { subject, reading: Reading::Value(value), source: source.to_owned() },
        None => {
            let why = format!("{subject} has no label app.kubernetes.io/version and no image with a tag");
            At { subject, reading: Reading::Unavailable(why), source: "workloads".to_owned() }
        }
    }
}
