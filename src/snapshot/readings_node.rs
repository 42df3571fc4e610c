//! Readings of one machine: what the API server says of the node, its labels, its facts, and what stands in where facts were not taken.

use crate::facts::{Facts, Reading};
use crate::snapshot::address::Address;
use crate::snapshot::model::Node;
use crate::snapshot::readings::{ABSENT, Found, Machine, first};
use crate::snapshot::readings_gpu;

/// Providers by the prefix of a node's provider id.
const PROVIDERS: &[(&str, &str)] = &[("aws", "eks"), ("gce", "gke"), ("azure", "aks"), ("oci", "oke")];

/// The readings of one machine: one, but for taints, of which a key may have several.
pub(super) fn read(machine: &Machine<'_>, address: &Address) -> Vec<Found> {
    let key = address.key.as_str();
    let one = match (address.kind.as_str(), address.subtype.as_str()) {
        ("K8s", _) => (machine.api(|node| kubelet(node, key)), "API server".to_owned()),
        ("NodeTopology", "label") => {
            let said = |node: &Node| Reading::of(node.labels.get(key).cloned(), || format!("{ABSENT}label {key}"));
            (machine.api(said), format!("label {key}"))
        }
        ("NodeTopology", "taint") => return taints(machine, key),
        ("NodeTopology", _) => {
            let all = |node: &Node| node.labels.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            (machine.api(|node| Reading::Value(all(node))), "labels".to_owned())
        }
        ("OS", "release") => first([fact(machine, |facts| release(facts, key)), by_feature_discovery(machine, key)]),
        ("OS", "sysctl") => {
            let kernel =
                (key == "/proc/sys/kernel/osrelease").then(|| (machine.api(|node| version(node, "kernelVersion")), kubelet_source()));
            first([Some(fact(machine, |facts| sysctl(facts, key))), kernel].into_iter().flatten())
        }
        ("OS", "kmod") => fact(machine, |facts| {
            // As a loaded module is read elsewhere: there or not there.
            facts.modules.then(|modules| Reading::Value(modules.contains_key(key).to_string()))
        }),
        ("OS", "grub") => fact(machine, |facts| parameter(facts, key)),
        ("OS", other) => (Reading::Unavailable(format!("seatrial does not read OS.{other} itself")), "snapshot".to_owned()),
        ("SystemD", unit) => fact(machine, |facts| property(facts, unit, key)),
        ("Deployment", _) => readings_gpu::driver(machine),
        _ => readings_gpu::node(machine, &address.subtype, key),
    };
    vec![one]
}

fn fact(machine: &Machine<'_>, of: impl FnOnce(&Facts) -> Reading<String>) -> Found {
    (machine.fact(of), "node facts".to_owned())
}

fn kubelet_source() -> String {
    "kubelet".to_owned()
}

fn version(node: &Node, key: &str) -> Reading<String> {
    Reading::of(node.versions.get(key).cloned(), || format!("node {} says no {key}", node.name))
}

fn kubelet(node: &Node, key: &str) -> Reading<String> {
    let runtime = |of: fn(&str) -> Option<&str>| {
        let id = version(node, "containerRuntimeVersion");
        id.then(|id| Reading::of(of(id).map(str::to_owned), || format!("node {} names its runtime `{id}`", node.name)))
    };
    let provider = || Reading::of(node.provider_id.clone(), || format!("node {} has no provider id", node.name));
    match key {
        "source-node" => Reading::Value(node.name.clone()),
        "provider-id" => provider(),
        "provider" => provider().map(|id| {
            let prefix = id.split("://").next().unwrap_or_default().to_owned();
            PROVIDERS.iter().find(|(known, _)| *known == prefix).map_or(prefix, |(_, name)| (*name).to_owned())
        }),
        "container-runtime-id" => version(node, "containerRuntimeVersion"),
        "container-runtime-name" => runtime(|id| Some(id.split_once("://")?.0)),
        "container-runtime-version" => runtime(|id| Some(id.split_once("://")?.1)),
        "kubelet-version" => version(node, "kubeletVersion"),
        "kernel-version" => version(node, "kernelVersion"),
        "operating-system" => version(node, "operatingSystem"),
        _ => version(node, "osImage"),
    }
}

fn label(node: &Node, key: &str) -> Reading<String> {
    Reading::of(node.labels.get(key).cloned(), || format!("node {} has no label {key}", node.name))
}

/// Each taint of the key, as kubectl writes it: `value:effect`, or `effect` where it has no value.
fn taints(machine: &Machine<'_>, key: &str) -> Vec<Found> {
    let source = format!("taint {key}");
    let Some(node) = machine.node else {
        return vec![(machine.api(|_| Reading::Value(String::new())), source)];
    };
    let text = |value: &str, effect: &str| if value.is_empty() { effect.to_owned() } else { format!("{value}:{effect}") };
    let of_key = node.taints.iter().filter(|taint| taint.key == key);
    let found: Vec<Found> = of_key.map(|taint| (Reading::Value(text(&taint.value, &taint.effect)), source.clone())).collect();
    if found.is_empty() { vec![(Reading::Unavailable(format!("{ABSENT}taint {key}")), source)] } else { found }
}

fn release(facts: &Facts, key: &str) -> Reading<String> {
    facts.os_release.then(|release| Reading::of(release.get(key).cloned(), || format!("os-release has no {key}")))
}

/// The name of the operating system, from the facts.
pub(super) fn pretty_name(machine: &Machine<'_>) -> Reading<String> {
    machine.fact(|facts| release(facts, "PRETTY_NAME"))
}

/// Without facts: node feature discovery's labels, and the name that the kubelet tells.
fn by_feature_discovery(machine: &Machine<'_>, key: &str) -> Found {
    if key == "PRETTY_NAME" {
        return (machine.api(|node| version(node, "osImage")), kubelet_source());
    }
    let name = format!("feature.node.kubernetes.io/system-os_release.{key}");
    (machine.api(|node| label(node, &name)), format!("label {name}"))
}

fn sysctl(facts: &Facts, path: &str) -> Reading<String> {
    facts.sysctl.then(|all| Reading::of(all.get(path).cloned(), || format!("the kernel has no setting {path}, or it changes by itself")))
}

fn parameter(facts: &Facts, key: &str) -> Reading<String> {
    facts.cmdline.then(|parameters| {
        let of_key = |parameter: &&String| parameter.split_once('=').map_or(parameter.as_str(), |(name, _)| name) == key;
        let values: Vec<&str> =
            parameters.iter().filter(of_key).map(|parameter| parameter.split_once('=').map_or("", |(_, value)| value)).collect();
        // A parameter that is given several times is read whole.
        Reading::of((!values.is_empty()).then(|| values.join(" ")), || format!("the kernel's command line has no {key}"))
    })
}

fn property(facts: &Facts, unit: &str, name: &str) -> Reading<String> {
    facts.units.then(|units| match units.get(unit) {
        Some(properties) => Reading::of(properties.get(name).cloned(), || format!("the property {name} of {unit} is not read")),
        None => Reading::Unavailable(format!("{unit} is not installed, or not one of the units that are read")),
    })
}
