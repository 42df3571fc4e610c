//! A snapshot as lines for people: what was seen, how nodes differ, and what could not be read.

use crate::facts::{Facts, Reading};
use crate::snapshot::Snapshot;
use crate::snapshot::groups::{self, some_of};

/// What a person wants to know first.
#[must_use]
pub fn lines(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(imported) = &snapshot.imported {
        let version = imported.metadata.get("version").map_or("", String::as_str);
        lines.push(format!("imported   {} {version}, taken on {}", imported.api_version, imported.source_node()));
        for (kind, subtypes) in &imported.measurements {
            let one = |(name, measured): (&String, &super::imported::Measured)| {
                format!("{name} {}", measured.data.len().max(measured.items.len()))
            };
            lines.push(format!("  {kind}: {}", subtypes.iter().map(one).collect::<Vec<_>>().join(", ")));
        }
        return lines;
    }
    let said = |reading: &Reading<String>| reading.value().cloned().unwrap_or_else(|| "not known".to_owned());
    match &snapshot.host {
        Some(host) => lines.push(format!("machine    {}, {} hardware", host.name, snapshot.cluster.hardware.word())),
        None => lines.push(format!(
            "cluster    {} ({}), {} hardware",
            said(&snapshot.cluster.version),
            said(&snapshot.cluster.id),
            snapshot.cluster.hardware.word()
        )),
    }
    if let Some(nodes) = snapshot.nodes.value() {
        let gpus = snapshot.gpus();
        let asked = nodes.iter().filter(|node| node.facts.is_some()).count();
        let facts = if asked > 0 { format!("; facts of {asked} nodes") } else { String::new() };
        lines.push(format!("nodes      {}, GPUs {} by device plugin and {} by DRA{facts}", nodes.len(), gpus.device_plugin, gpus.dra));
    }
    if let Some(workloads) = snapshot.workloads.value() {
        let images = snapshot.images.as_ref().and_then(Reading::value).map_or(0, std::collections::BTreeMap::len);
        lines.push(format!("workloads  {}, images {images}", workloads.len()));
    }
    if let Some(host) = &snapshot.host {
        lines.extend(machine(&host.facts));
    }
    let groups = groups::groups(snapshot);
    if !groups.is_empty() {
        lines.push("groups".to_owned());
        lines.extend(groups::lines(&groups).into_iter().map(|line| format!("  {line}")));
    }
    let gaps = gaps(snapshot);
    if !gaps.is_empty() {
        lines.push("not read".to_owned());
        lines.extend(gaps.into_iter().map(|gap| format!("  {gap}")));
    }
    if let Some(redaction) = &snapshot.redaction {
        let count: usize = redaction.removed.iter().map(|one| one.count).sum();
        lines.push(format!("redacted   {count} texts in {} places", redaction.removed.len()));
    }
    lines
}

/// One machine in lines.
fn machine(facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    for stack in facts.gpus.value().into_iter().flatten() {
        let said = |reading: &Reading<String>| reading.value().cloned().unwrap_or_else(|| "not known".to_owned());
        lines.push(format!("{:<10} driver {}, {}", stack.vendor, said(&stack.driver), said(&stack.compute)));
        for gpu in stack.gpus.value().into_iter().flatten() {
            lines.push(format!("  {}  {}  vbios {}  ecc {}", said(&gpu.pci), said(&gpu.product), said(&gpu.vbios), said(&gpu.ecc)));
        }
    }
    let nics = facts.nics.value().map_or(0, Vec::len);
    let rdma = facts.rdma.value().map_or(0, Vec::len);
    lines.push(format!("network    {nics} interfaces, {rdma} RDMA devices"));
    lines
}

/// What could not be read, with the reasons.
#[must_use]
pub fn gaps(snapshot: &Snapshot) -> Vec<String> {
    let mut gaps = Vec::new();
    let mut put = |what: &str, reason: Option<&str>| gaps.extend(reason.map(|reason| format!("{what}: {reason}")));
    if snapshot.host.is_none() && snapshot.imported.is_none() {
        put("cluster id", snapshot.cluster.id.unavailable());
        put("nodes", snapshot.nodes.unavailable());
        put("DRA pools", snapshot.pools.unavailable());
        put("device classes", snapshot.device_classes.unavailable());
        put("workloads", snapshot.workloads.unavailable());
        put("definitions", snapshot.crds.unavailable());
        put("API groups", snapshot.apis.unavailable());
        put("images", snapshot.images.as_ref().and_then(Reading::unavailable));
        put("policies", snapshot.policies.as_ref().and_then(Reading::unavailable));
    }
    if let Some(host) = &snapshot.host {
        of_facts(&host.facts, &mut |what, reason| gaps.push(format!("{what}: {reason}")));
        return gaps;
    }
    let mut reasons: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for node in snapshot.nodes.value().into_iter().flatten() {
        match &node.facts {
            Some(Reading::Unavailable(reason)) => reasons.entry(format!("facts: {reason}")).or_default().push(node.name.clone()),
            Some(Reading::Value(facts)) => {
                of_facts(facts, &mut |what, reason| reasons.entry(format!("{what}: {reason}")).or_default().push(node.name.clone()));
            }
            None => {}
        }
    }
    gaps.extend(reasons.into_iter().map(|(reason, nodes)| format!("{reason}   ({})", some_of(&nodes))));
    gaps
}

fn of_facts(facts: &Facts, put: &mut dyn FnMut(&str, &str)) {
    let readings = [
        ("kernel", facts.kernel.unavailable()),
        ("os-release", facts.os_release.unavailable()),
        ("command line", facts.cmdline.unavailable()),
        ("kernel settings", facts.sysctl.unavailable()),
        ("modules", facts.modules.unavailable()),
        ("units", facts.units.unavailable()),
        ("container runtimes", facts.runtimes.unavailable()),
        ("PCI bus", facts.pci.unavailable()),
        ("GPUs", facts.gpus.unavailable()),
        ("network interfaces", facts.nics.unavailable()),
        ("RDMA", facts.rdma.unavailable()),
    ];
    for (what, reason) in readings {
        if let Some(reason) = reason {
            put(what, reason);
        }
    }
    for stack in facts.gpus.value().into_iter().flatten() {
        if let Some(reason) = stack.gpus.unavailable() {
            put(&format!("{} GPUs", stack.vendor), reason);
        }
        for gpu in stack.gpus.value().into_iter().flatten() {
            if let Some(reason) = gpu.uuid.unavailable() {
                put("a GPU", reason);
            }
        }
    }
}
