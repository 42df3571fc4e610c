//! What a snapshot says of the criteria: service, accelerator and operating system. What the cluster is for is never guessed.

use std::collections::BTreeSet;

use crate::recipe::criteria::{Criteria, Words};
use crate::snapshot::{Address, Hardware, Snapshot};

/// Criteria with what each was told by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inferred {
    /// What was told; the rest is open.
    pub criteria: Criteria,
    /// One line for each: what, and by what.
    pub because: Vec<String>,
}

/// What the versions of an API server hold.
const VERSIONS: [(&str, &str); 5] = [("-eks-", "eks"), ("-gke", "gke"), ("-aks", "aks"), ("+rke2", "rke2"), ("+k0s", "k0s")];

/// Node labels that only one service sets. A provider id alone would take a cluster of one's own on rented machines for the service.
const LABELS: [(&str, &str); 4] = [
    ("node.openshift.io/os_id", "openshift"),
    ("eks.amazonaws.com/nodegroup", "eks"),
    ("cloud.google.com/gke-nodepool", "gke"),
    ("kubernetes.azure.com/cluster", "aks"),
];

/// How operating systems name themselves, as `ID` and in full; a word that is empty is none that recipes know.
const SYSTEMS: [(&str, &str, &str); 7] = [
    ("ubuntu", "ubuntu", "ubuntu"),
    ("rhcos", "red hat enterprise linux coreos", ""),
    ("rhel", "red hat enterprise linux", "rhel"),
    ("cos", "container-optimized os", "cos"),
    ("amzn", "amazon linux", "amazonlinux"),
    ("ol", "oracle linux", "ol"),
    ("talos", "talos", "talos"),
];

/// Infers criteria from a snapshot.
#[must_use]
pub fn infer(snapshot: &Snapshot, words: &Words) -> Inferred {
    let mut inferred = Inferred::default();
    if let Some((service, by)) = service(snapshot) {
        inferred.because.push(format!("service {service}, by {by}"));
        inferred.criteria.service = Some(service.to_owned());
    }
    let mut models = values(snapshot, "GPU.smi.gpu.model");
    models.extend(values(snapshot, "GPU.hardware.model"));
    models.extend(snapshot.gpu_nodes().filter_map(|node| node.gpus.product.clone()));
    let accelerators: BTreeSet<&str> = models.iter().filter_map(|model| accelerator(model, words)).collect();
    if let (1, Some(one)) = (accelerators.len(), accelerators.first()) {
        inferred.because.push(format!("accelerator {one}, by the model {}", listed(models)));
        inferred.criteria.accelerator = Some((*one).to_owned());
    }
    let mut names = values(snapshot, "OS.release.ID");
    if names.is_empty() {
        names = values(snapshot, "OS.release.PRETTY_NAME");
    }
    // What no container runs on has no operating system worth the name.
    if snapshot.cluster.hardware == Hardware::Simulated {
        names.clear();
    }
    let systems: BTreeSet<&str> = names.iter().map(|name| system(name)).collect();
    if let (1, Some(one)) = (systems.len(), systems.first().filter(|word| !word.is_empty())) {
        inferred.because.push(format!("os {one}, by {}", listed(names)));
        inferred.criteria.os = Some((*one).to_owned());
    }
    inferred
}

/// The values read at an address, each once.
fn values(snapshot: &Snapshot, address: &str) -> BTreeSet<String> {
    let Ok(address) = Address::parse(address) else { return BTreeSet::new() };
    snapshot.readings(&address, None).iter().filter_map(|at| at.reading.value().cloned()).collect()
}

fn listed(values: BTreeSet<String>) -> String {
    values.into_iter().collect::<Vec<_>>().join(", ")
}

fn service(snapshot: &Snapshot) -> Option<(&'static str, String)> {
    if snapshot.cluster.hardware == Hardware::Simulated {
        return Some(("sim", "simulated nodes".to_owned()));
    }
    for version in values(snapshot, "K8s.server.version") {
        if let Some((_, service)) = VERSIONS.iter().find(|(mark, _)| version.contains(mark)) {
            return Some((service, format!("the server's version {version}")));
        }
    }
    let labelled = LABELS.iter().find(|(label, _)| !values(snapshot, &format!("NodeTopology.label.{label}")).is_empty());
    if let Some((label, service)) = labelled {
        return Some((service, format!("the node label {label}")));
    }
    values(snapshot, "K8s.node.provider").contains("kind").then(|| ("kind", "the provider ids of nodes".to_owned()))
}

/// The longest word that is a part of the model's name: `GB200` is not `B200`.
fn accelerator<'a>(model: &str, words: &'a Words) -> Option<&'a str> {
    let model = model.to_lowercase().replace(['_', ' '], "-");
    let parts: Vec<&str> = model.split('-').collect();
    let is = |word: &&str| parts.contains(word) || (word.contains('-') && model.contains(*word));
    words.in_dimension("accelerator").filter(is).max_by_key(|word| word.len())
}

fn system(name: &str) -> &'static str {
    let name = name.to_lowercase();
    SYSTEMS.iter().find(|(id, full, _)| name == *id || name.starts_with(full)).map_or("", |(_, _, word)| word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::snapshot::{Node, Reading};

    fn snapshot(version: &str, nodes: &[(&str, &str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::without_cluster("not asked");
        snapshot.cluster.version = Reading::Value(version.to_owned());
        let node = |(index, (label, product, image)): (usize, &(&str, &str, &str))| -> Node {
            serde_json::from_value(json!({
                "name": format!("n{index}"), "hardware": "unknown", "marks": [], "labels": {*label: "x"}, "taints": [], "unschedulable": false,
                "capacity": {}, "allocatable": {}, "conditions": {}, "versions": {"osImage": image},
                "gpus": {"vendor": "nvidia", "product": product, "labelCount": 8},
            }))
            .expect("a node")
        };
        snapshot.nodes = Reading::Value(nodes.iter().enumerate().map(node).collect());
        snapshot
    }

    #[test]
    fn service_accelerator_and_system_are_told_and_the_intent_never() {
        let h100 = ("kubernetes.io/arch", "NVIDIA-H100-80GB-HBM3", "Ubuntu 24.04.2 LTS");
        let (openshift, coreos) = ("node.openshift.io/os_id", "Red Hat Enterprise Linux CoreOS 9.6");
        for (version, nodes, wanted) in [
            ("v1.34.1-eks-abc", vec![h100], "h100-eks-ubuntu"),
            ("v1.34.1-gke.100", vec![("a", "NVIDIA-GB200", "Container-Optimized OS from Google")], "gb200-gke-cos"),
            ("v1.34.1", vec![("kubernetes.azure.com/cluster", "AMD_Instinct_MI300X_OAM", "Ubuntu 22.04")], "mi300x-aks-ubuntu"),
            ("v1.34.1", vec![(openshift, "NVIDIA-H100-80GB-HBM3", coreos)], "h100-openshift"),
            ("v1.34.1", vec![h100, ("a", "NVIDIA-GB200", "Ubuntu 24.04")], "ubuntu"),
            ("v1.34.1", vec![], "base"),
        ] {
            let inferred = infer(&snapshot(version, &nodes), &Words::of([]));
            assert_eq!(inferred.criteria.name(), wanted);
            assert_eq!(inferred.criteria.intent, None);
            assert_eq!(inferred.because.len(), inferred.criteria.specificity());
        }
        let mut simulated = snapshot("v1.34.1-eks-abc", &[h100]);
        simulated.cluster.hardware = Hardware::Simulated;
        assert_eq!(infer(&simulated, &Words::of([])).criteria.name(), "h100-sim");
    }
}
