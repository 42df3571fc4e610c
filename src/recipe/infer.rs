//! What a snapshot says of the criteria: service, accelerator and operating system. What the cluster is for is never guessed.

use std::collections::BTreeSet;

use crate::recipe::criteria::{Criteria, Words};
use crate::snapshot::{Hardware, Node, Snapshot};

/// Criteria with what each was told by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inferred {
    /// What was told; the rest is open.
    pub criteria: Criteria,
    /// One line for each: what, and by what.
    pub because: Vec<String>,
}

/// Node labels that only one service sets.
const LABELS: [(&str, &str); 6] = [
    ("eks.amazonaws.com/", "eks"),
    ("alpha.eksctl.io/", "eks"),
    ("cloud.google.com/gke-", "gke"),
    ("kubernetes.azure.com/", "aks"),
    ("node.openshift.io/", "openshift"),
    ("oci.oraclecloud.com/", "oke"),
];

/// What the versions of an API server end with.
const VERSIONS: [(&str, &str); 4] = [("-eks-", "eks"), ("-gke.", "gke"), ("+rke2", "rke2"), ("+k0s", "k0s")];

/// How operating systems name themselves on nodes.
const SYSTEMS: [(&str, &str); 7] = [
    ("ubuntu", "ubuntu"),
    ("red hat enterprise linux coreos", ""),
    ("red hat enterprise linux", "rhel"),
    ("container-optimized os", "cos"),
    ("amazon linux", "amazonlinux"),
    ("oracle linux", "ol"),
    ("talos", "talos"),
];

/// Infers criteria from a snapshot.
#[must_use]
pub fn infer(snapshot: &Snapshot, words: &Words) -> Inferred {
    let mut inferred = Inferred::default();
    if let Some((service, by)) = service(snapshot) {
        inferred.because.push(format!("service {service}, by {by}"));
        inferred.criteria.service = Some(service.to_owned());
    }
    let gpu_nodes: Vec<&Node> = snapshot.gpu_nodes().collect();
    let products: BTreeSet<String> = gpu_nodes.iter().filter_map(|node| node.gpus.product.clone()).collect();
    let accelerators: BTreeSet<&str> = products.iter().filter_map(|product| accelerator(product, words)).collect();
    if let (1, Some(one)) = (accelerators.len(), accelerators.first()) {
        inferred.because.push(format!("accelerator {one}, by the product {}", products.into_iter().collect::<Vec<_>>().join(", ")));
        inferred.criteria.accelerator = Some((*one).to_owned());
    }
    let all: Vec<&Node> = snapshot.nodes.value().into_iter().flatten().collect();
    let nodes = if gpu_nodes.is_empty() { &all } else { &gpu_nodes };
    let images: BTreeSet<String> = nodes.iter().filter_map(|node| node.versions.get("osImage").cloned()).collect();
    let systems: BTreeSet<&str> = images.iter().map(|image| system(image)).collect();
    if let (1, Some(one)) = (systems.len(), systems.first().filter(|word| !word.is_empty())) {
        inferred.because.push(format!("os {one}, by {}", images.into_iter().collect::<Vec<_>>().join(", ")));
        inferred.criteria.os = Some((*one).to_owned());
    }
    inferred
}

fn service(snapshot: &Snapshot) -> Option<(&'static str, String)> {
    if snapshot.cluster.hardware == Hardware::Simulated {
        return Some(("sim", "simulated nodes".to_owned()));
    }
    if let Some(version) = snapshot.cluster.version.value()
        && let Some((_, service)) = VERSIONS.iter().find(|(mark, _)| version.contains(mark))
    {
        return Some((service, format!("the server's version {version}")));
    }
    let nodes = snapshot.nodes.value()?;
    let labels = nodes.iter().flat_map(|node| node.labels.keys());
    let told = labels.filter_map(|label| LABELS.iter().find(|(prefix, _)| label.starts_with(prefix)).map(|(_, service)| (*service, label)));
    told.min().map(|(service, label)| (service, format!("the node label {label}")))
}

/// The longest word that is a part of the product's name: `GB200` is not `B200`.
fn accelerator<'a>(product: &str, words: &'a Words) -> Option<&'a str> {
    let product = product.to_lowercase().replace(['_', ' '], "-");
    let parts: Vec<&str> = product.split('-').collect();
    let is = |word: &&str| parts.contains(word) || (word.contains('-') && product.contains(*word));
    words.in_dimension("accelerator").filter(is).max_by_key(|word| word.len())
}

fn system(image: &str) -> &'static str {
    let image = image.to_lowercase();
    SYSTEMS.iter().find(|(name, _)| image.starts_with(name)).map_or("", |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(version: &str, hardware: &str, nodes: &[(&str, &str, &str)]) -> Snapshot {
        let node = |(label, product, image): &(&str, &str, &str)| {
            json!({
                "name": "n", "hardware": hardware, "marks": [], "labels": {*label: "x"}, "taints": [], "unschedulable": false, "capacity": {},
                "allocatable": {}, "conditions": {}, "versions": {"osImage": image}, "gpus": {"product": product, "labelCount": 8},
            })
        };
        serde_json::from_value(json!({
            "apiVersion": "seatrial.dev/v1alpha1", "kind": "Snapshot",
            "cluster": {"id": {"value": "x"}, "version": {"value": version}, "hardware": hardware},
            "nodes": {"value": nodes.iter().map(node).collect::<Vec<_>>()}, "pools": {"value": []}, "deviceClasses": {"value": []},
            "workloads": {"value": []}, "crds": {"value": []}, "apis": {"value": {}},
        }))
        .expect("a snapshot")
    }

    #[test]
    fn service_accelerator_and_system_are_told_and_the_intent_never() {
        let h100 = ("kubernetes.io/arch", "NVIDIA-H100-80GB-HBM3", "Ubuntu 24.04.2 LTS");
        for (version, hardware, nodes, wanted) in [
            ("v1.34.1-eks-abc", "unknown", vec![h100], "h100-eks-ubuntu"),
            ("v1.34.1-gke.100", "unknown", vec![("a", "NVIDIA-GB200", "Container-Optimized OS from Google")], "gb200-gke-cos"),
            ("v1.34.1", "unknown", vec![("kubernetes.azure.com/cluster", "AMD_Instinct_MI300X_OAM", "Ubuntu 22.04")], "mi300x-aks-ubuntu"),
            (
                "v1.34.1",
                "unknown",
                vec![("node.openshift.io/os_id", "NVIDIA-H100-80GB-HBM3", "Red Hat Enterprise Linux CoreOS 9.6")],
                "h100-openshift",
            ),
            ("v1.34.1", "simulated", vec![h100], "h100-sim-ubuntu"),
            ("v1.34.1", "unknown", vec![h100, ("a", "NVIDIA-GB200", "Ubuntu 24.04")], "ubuntu"),
            ("v1.34.1", "unknown", vec![], "base"),
        ] {
            let inferred = infer(&snapshot(version, hardware, &nodes), &Words::of([]));
            assert_eq!(inferred.criteria.name(), wanted);
            assert_eq!(inferred.criteria.intent, None);
            assert_eq!(inferred.because.len(), inferred.criteria.specificity());
        }
    }
}
