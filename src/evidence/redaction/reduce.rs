//! Takes out of a snapshot what the rules do not keep. Names of nodes and devices are left for the pseudonyms.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::evidence::redaction::policy::listed;
use crate::evidence::redaction::rules::Rules;
use crate::facts::Facts;
use crate::snapshot::imported::Imported;
use crate::snapshot::redact::Redactor;
use crate::snapshot::{Node, Pool, Reading, Snapshot, Taint};

/// What stands where the reason of a missing reading was: such a text may hold anything.
const NOT_READ: &str = "not read";

/// Takes out what is not kept, and counts it.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the snapshot does not survive it, which a test excludes.
pub(super) fn snapshot(snapshot: &Snapshot, rules: &Rules, redactor: &mut Redactor) -> Result<Snapshot> {
    let mut reduced = snapshot.clone();
    let mut work = Work { rules, redactor };
    if let Reading::Value(nodes) = &mut reduced.nodes {
        nodes.iter_mut().for_each(|node| work.node(node));
    }
    if let Reading::Value(pools) = &mut reduced.pools {
        let nodes: Vec<String> = snapshot.nodes.value().into_iter().flatten().map(|node| node.name.clone()).collect();
        pools.iter_mut().for_each(|pool| work.pool(pool, &nodes));
    }
    if let Reading::Value(classes) = &mut reduced.device_classes {
        work.retain(classes, "deviceClasses[]", |rules, class| rules.name(&class.name));
        classes.iter_mut().for_each(|class| work.clear(&mut class.selectors, "deviceClasses[].selectors"));
    }
    if let Reading::Value(workloads) = &mut reduced.workloads {
        for one in workloads.iter_mut() {
            work.name(&mut one.namespace, "namespace", "workloads[].namespace");
            work.name(&mut one.name, "workload", "workloads[].name");
            one.versions.retain(|_, version| plain(version));
        }
        workloads.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
    }
    if let Reading::Value(crds) = &mut reduced.crds {
        let group = |name: &str| name.split_once('.').map_or("", |(_, group)| group).to_owned();
        work.retain(crds, "crds[]", |rules, crd| listed(&rules.keep.api_groups, &group(&crd.name)) || rules.name(&crd.name));
    }
    if let Reading::Value(apis) = &mut reduced.apis {
        work.keys(apis, "apis.*", |rules, group| listed(&rules.keep.api_groups, group));
    }
    if let Some(Reading::Value(policies)) = &mut reduced.policies {
        for policy in policies {
            work.name(&mut policy.name, "policy", "policies[].name");
            work.keys(&mut policy.spec, "policies[].spec.*", |rules, key| {
                listed(&rules.keep.policies, key) || rules.reads("K8s", "policy", key)
            });
        }
    }
    if let Some(host) = &mut reduced.host {
        work.facts(&mut host.facts, "host.facts");
    }
    if let Some(imported) = &mut reduced.imported {
        work.imported(imported);
    }
    let failed = |error: serde_json::Error| Error::internal("redact a snapshot").because(error);
    let mut value = serde_json::to_value(&reduced).map_err(failed)?;
    work.reasons("", &mut value);
    serde_json::from_value(value).map_err(failed)
}

struct Work<'a> {
    rules: &'a Rules,
    redactor: &'a mut Redactor,
}

impl Work<'_> {
    fn counted(&mut self, what: &'static str, place: &str, before: usize, after: usize) {
        (after..before).for_each(|_| self.redactor.count(what, place));
    }

    fn retain<T>(&mut self, list: &mut Vec<T>, place: &str, kept: impl Fn(&Rules, &T) -> bool) {
        let before = list.len();
        list.retain(|one| kept(self.rules, one));
        self.counted("entry", place, before, list.len());
    }

    fn clear<T>(&mut self, list: &mut Vec<T>, place: &str) {
        self.retain(list, place, |_, _| false);
    }

    /// Keeps the entries of a map whose keys are kept. Keys that are not are told by number only: they may say anything.
    fn keys<T>(&mut self, map: &mut BTreeMap<String, T>, place: &str, kept: impl Fn(&Rules, &str) -> bool) {
        let before = map.len();
        map.retain(|key, _| kept(self.rules, key));
        self.counted("entry", place, before, map.len());
    }

    fn name(&mut self, name: &mut String, word: &'static str, place: &str) {
        if !self.rules.name(name) {
            *name = self.redactor.pseudonym(word, name);
            self.redactor.count("name", place);
        }
    }

    fn node(&mut self, node: &mut Node) {
        // Counts of labels and taints are readings too: what is counted must stay countable.
        if self.rules.reads("NodeTopology", "summary", "label-count") {
            let labels = std::mem::take(&mut node.labels);
            node.labels = labels.into_iter().map(|(key, value)| self.veiled(key, value)).collect();
        } else {
            self.keys(&mut node.labels, "nodes[].labels.*", Rules::label);
        }
        if self.rules.reads("NodeTopology", "summary", "taint-count") {
            for taint in node.taints.iter_mut().filter(|taint| !self.rules.taint(&taint.key)) {
                taint.value = self.redactor.pseudonym("value", &taint.value);
                taint.key = self.redactor.pseudonym("key", &taint.key);
                self.redactor.count("entry", "nodes[].taints[]");
            }
            node.taints.sort();
        } else {
            self.taints(&mut node.taints, "nodes[].taints[]");
        }
        for mark in &mut node.marks {
            let known = ["annotation kwok.x-k8s.io/node", "label type=kwok", "provider id kwok://", "kubelet version of kwok"];
            let ours = ["label seatrial.dev/simulated", "device attribute simulated"];
            if !known.contains(&mark.as_str()) && !ours.contains(&mark.as_str()) {
                "mark".clone_into(mark);
                self.redactor.count("name", "nodes[].marks[]");
            }
        }
        let resource = |rules: &Rules, key: &str| listed(&rules.keep.resources, key);
        self.keys(&mut node.capacity, "nodes[].capacity.*", resource);
        self.keys(&mut node.allocatable, "nodes[].allocatable.*", resource);
        self.keys(&mut node.conditions, "nodes[].conditions.*", |rules, key| listed(&rules.keep.conditions, key));
        if let Some(Reading::Value(facts)) = &mut node.facts {
            self.facts(facts, "nodes[].facts");
        }
    }

    /// A label whose key and value are told only as far as they may be.
    fn veiled(&mut self, key: String, value: String) -> (String, String) {
        if self.rules.label(&key) {
            return (key, value);
        }
        self.redactor.count("entry", "nodes[].labels.*");
        (self.redactor.pseudonym("key", &key), self.redactor.pseudonym("value", &value))
    }

    fn taints(&mut self, taints: &mut Vec<Taint>, place: &str) {
        self.retain(taints, place, |rules, taint| rules.taint(&taint.key));
    }

    fn facts(&mut self, facts: &mut Facts, place: &str) {
        let at = |field: &str| format!("{place}.{field}.*");
        if let Reading::Value(fields) = &mut facts.os_release {
            self.keys(fields, &at("osRelease"), |rules, key| listed(&rules.keep.os_release, key) || rules.reads("OS", "release", key));
        }
        if let Reading::Value(parameters) = &mut facts.cmdline {
            self.retain(parameters, &format!("{place}.cmdline[]"), |rules, text| {
                let name = text.split('=').next().unwrap_or_default();
                listed(&rules.keep.parameters, name) || rules.reads("OS", "grub", name)
            });
        }
        if let Reading::Value(settings) = &mut facts.sysctl {
            self.keys(settings, &at("sysctl"), |rules, key| listed(&rules.keep.sysctl, key) || rules.reads("OS", "sysctl", key));
        }
        if let Reading::Value(modules) = &mut facts.modules {
            self.keys(modules, &at("modules"), |rules, key| listed(&rules.keep.modules, key) || rules.reads("OS", "kmod", key));
        }
        if let Reading::Value(units) = &mut facts.units {
            self.keys(units, &at("units"), |rules, unit| listed(&rules.keep.units, unit) || rules.reads_of("SystemD", unit));
            for (unit, properties) in units {
                let states = ["ActiveState", "SubState", "LoadState", "UnitFileState"];
                self.keys(properties, &at("units.*"), |rules, key| states.contains(&key) || rules.reads("SystemD", unit, key));
            }
        }
        if let Reading::Value(nics) = &mut facts.nics {
            nics.iter_mut().for_each(|nic| self.name(&mut nic.name, "nic", &format!("{place}.nics[].name")));
            nics.sort();
        }
        if let Reading::Value(devices) = &mut facts.rdma {
            devices.iter_mut().for_each(|device| self.name(&mut device.name, "rdma", &format!("{place}.rdma[].name")));
            devices.sort();
        }
    }

    fn pool(&mut self, pool: &mut Pool, nodes: &[String]) {
        // A pool that is named like a node gets the node's pseudonym.
        if !nodes.contains(&pool.name) {
            self.name(&mut pool.name, "pool", "pools[].name");
        }
        self.name(&mut pool.driver, "driver", "pools[].driver");
        for device in &mut pool.devices {
            let numbered = device.name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
            if !["gpu", "mig", "gpu-vfio", "device"].contains(&numbered) {
                self.name(&mut device.name, "device", "pools[].devices[].name");
            }
            self.keys(&mut device.attributes, "pools[].devices[].attributes.*", |rules, key| {
                let bare = key.rsplit_once('/').map_or(key, |(_, bare)| bare);
                listed(&rules.keep.device_attributes, bare) || listed(&rules.keep.device_attributes, key)
            });
            self.keys(&mut device.capacity, "pools[].devices[].capacity.*", |rules, key| {
                let bare = key.rsplit_once('/').map_or(key, |(_, bare)| bare);
                listed(&rules.keep.resources, bare)
            });
            self.taints(&mut device.taints, "pools[].devices[].taints[]");
        }
    }

    /// Another tool's snapshot: readings by address. Nodes in packed lists of labels are left for the pseudonyms.
    fn imported(&mut self, imported: &mut Imported) {
        self.keys(&mut imported.metadata, "imported.metadata.*", |_, key| ["timestamp", "version", "source-node"].contains(&key));
        for (kind, subtypes) in &mut imported.measurements {
            for (subtype, measured) in subtypes {
                self.keys(&mut measured.context, "imported.measurements.*.context.*", |_, _| false);
                self.keys(&mut measured.data, "imported.measurements.*.data.*", |rules, key| kept_reading(rules, kind, subtype, key));
                let packed = kind == "NodeTopology";
                self.retain(&mut measured.items, "imported.measurements.*.items[]", |rules, item| {
                    let key = item.context.get("key").map_or("", String::as_str);
                    if packed { kept_reading(rules, kind, subtype, key) } else { rules.reads_of(kind, subtype) }
                });
            }
        }
    }

    /// Reasons of readings that are missing: texts of servers and tools.
    fn reasons(&mut self, place: &str, value: &mut Value) {
        match value {
            Value::Object(fields) if fields.len() == 1 && fields.get("unavailable").is_some_and(Value::is_string) => {
                fields.insert("unavailable".to_owned(), NOT_READ.into());
                self.redactor.count("reason", place);
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    let below = match name.as_str() {
                        "value" => place.to_owned(),
                        _ if place.is_empty() => name.clone(),
                        // What is below a map of any keys is told without the key.
                        _ if place.ends_with("runtimes") => format!("{place}.*"),
                        _ => format!("{place}.{name}"),
                    };
                    self.reasons(&below, value);
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|one| self.reasons(&format!("{place}[]"), one)),
            _ => {}
        }
    }
}

fn kept_reading(rules: &Rules, kind: &str, subtype: &str, key: &str) -> bool {
    let counted = |what: &str| rules.reads("NodeTopology", "summary", what);
    // A key that has several values, or effects, is packed as `<key>.<value>`.
    let any_head = |kept: &dyn Fn(&str) -> bool| kept(key) || key.match_indices('.').any(|(dot, _)| kept(&key[..dot]));
    match (kind, subtype) {
        ("NodeTopology", "label") => counted("label-count") || any_head(&|key| rules.label(key)),
        ("NodeTopology", "taint") => counted("taint-count") || any_head(&|key| rules.taint(key)),
        _ => listed(&rules.keep.readings, &format!("{kind}.{subtype}.{key}")) || rules.reads(kind, subtype, key),
    }
}

/// A version as labels hold it.
fn plain(version: &str) -> bool {
    version.len() <= 63 && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}
