//! What another tool's snapshot says, kept as it said it: types, subtypes, keys, values, items.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Another tool's snapshot. Its order, which that tool leaves to chance, is gone; every value is there, spelt as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Imported {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Type → subtype → what was measured.
    pub measurements: BTreeMap<String, BTreeMap<String, Measured>>,
}

/// What was measured of one subtype.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measured {
    /// Readings by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// How it was measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// Lists, in newer snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
}

/// One entry of a list: what it is, and what was measured of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// What identifies it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// What was measured of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

/// A label or a taint with the nodes that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held<'a> {
    pub(super) key: &'a str,
    /// For a taint, empty for a label.
    pub(super) effect: &'a str,
    pub(super) value: &'a str,
    pub(super) nodes: Vec<&'a str>,
    /// Nodes that the other tool did not name.
    pub(super) unnamed: u64,
}

impl Imported {
    /// What was measured of a subtype.
    #[must_use]
    pub fn measured(&self, kind: &str, subtype: &str) -> Option<&Measured> {
        self.measurements.get(kind)?.get(subtype)
    }

    /// The node that the other tool ran on.
    #[must_use]
    pub fn source_node(&self) -> &str {
        self.metadata.get("source-node").map_or("the node that was measured", String::as_str)
    }

    /// All labels, or all taints. Packed values are read where there are no items.
    pub(super) fn held(&self, subtype: &str) -> Vec<Held<'_>> {
        let Some(measured) = self.measured("NodeTopology", subtype) else { return Vec::new() };
        if !measured.items.is_empty() {
            return measured.items.iter().filter_map(unpack_item).collect();
        }
        let unpack = if subtype == "taint" { unpack_taint } else { unpack_label };
        measured.data.iter().map(|(key, packed)| unpack(key, packed)).collect()
    }

    /// Every node that has a label or a taint, by name.
    pub(super) fn nodes(&self) -> BTreeSet<&str> {
        let held = self.held("label").into_iter().chain(self.held("taint"));
        held.flat_map(|one| one.nodes).collect()
    }
}

/// An item names key, value and effect apart from each other.
fn unpack_item(item: &Item) -> Option<Held<'_>> {
    let text = |field: &str| item.context.get(field).map_or("", String::as_str);
    let (nodes, unnamed) = nodes(item.data.get("node-list").map_or("", String::as_str));
    Some(Held { key: item.context.get("key")?, effect: text("effect"), value: text("value"), nodes, unnamed })
}

/// `<value>|<nodes>`. A key that has several values is packed as `<key>.<value>`.
fn unpack_label<'a>(key: &'a str, packed: &'a str) -> Held<'a> {
    let (value, list) = packed.split_once('|').unwrap_or((packed, ""));
    let (nodes, unnamed) = nodes(list);
    Held { key, effect: "", value, nodes, unnamed }
}

/// `<effect>|<value>|<nodes>`, or `<value>|<nodes>` where the key ends in its effect.
fn unpack_taint<'a>(key: &'a str, packed: &'a str) -> Held<'a> {
    let fields: Vec<&str> = packed.splitn(3, '|').collect();
    let (key, effect, value, list) = match fields.as_slice() {
        [effect, value, list] => (key, *effect, *value, *list),
        [value, list] => {
            let (key, effect) = key.rsplit_once('.').unwrap_or((key, ""));
            (key, effect, *value, *list)
        }
        _ => (key, "", packed, ""),
    };
    let (nodes, unnamed) = nodes(list);
    Held { key, effect, value, nodes, unnamed }
}

/// Names of nodes, and how many more there are: `n1,n2 (+3 more)`.
fn nodes(list: &str) -> (Vec<&str>, u64) {
    let more = list.strip_suffix(" more)").and_then(|rest| rest.rsplit_once(" (+"));
    let (named, unnamed) = match more.and_then(|(named, count)| Some((named, count.parse().ok()?))) {
        Some((named, count)) => (named, count),
        None => (list, 0),
    };
    (named.split(',').filter(|name| !name.is_empty()).collect(), unnamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_strings_are_unpacked_and_a_cut_list_is_seen() {
        assert_eq!(nodes("a,b (+3 more)"), (vec!["a", "b"], 3));
        let taint = unpack_taint("dedicated.NoSchedule", "teamA|n1,n2");
        assert_eq!((taint.key, taint.effect, taint.value), ("dedicated", "NoSchedule", "teamA"));
        let taint = unpack_taint("nvidia.com/gpu", "NoSchedule|present|n1");
        assert_eq!((taint.key, taint.effect, taint.value, taint.nodes), ("nvidia.com/gpu", "NoSchedule", "present", vec!["n1"]));
    }
}
