//! What a recipe says about gang schedulers: which one is tried, by which queue, and how one that seatrial does not know is spoken to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Gang schedulers that seatrial knows by name.
pub const KNOWN: [&str; 3] = ["kai", "kueue", "volcano"];

/// A gang scheduler that the cluster has; each one that is named is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GangScheduler {
    /// `kai`, `kueue`, `volcano`, or any name for one that `podGroup` describes.
    pub name: String,
    /// The queue that is used, for Kueue a ClusterQueue. A known scheduler gets one made for the run where this is left out; Volcano has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// How to speak to a scheduler that seatrial does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_group: Option<PodGroupKind>,
}

/// The kind of object that says which pods belong together, and how pods name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodGroupKind {
    /// `apiVersion`, e.g. `scheduling.x-k8s.io/v1alpha1`.
    pub api_version: String,
    /// `kind`, e.g. `PodGroup`.
    pub kind: String,
    /// `schedulerName` of the pods.
    pub scheduler: String,
    /// The field of the object's `spec` that holds how many pods start together.
    #[serde(default = "min_member")]
    pub size: String,
    /// Other fields of its `spec`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub spec: Map<String, Value>,
    /// The label of a pod whose value is the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The annotation of a pod whose value is the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<String>,
    /// Other labels of the pods, such as one that names a queue.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn min_member() -> String {
    "minMember".to_owned()
}

impl GangScheduler {
    /// What is wrong with it, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let name = crate::ui::printable(&self.name);
        match &self.pod_group {
            None if !KNOWN.contains(&self.name.as_str()) => {
                Some(format!("`{name}` is none of {}, and `podGroup` does not say how to speak to it", KNOWN.join(", ")))
            }
            Some(_) if KNOWN.contains(&self.name.as_str()) => {
                Some(format!("{name} is known: `podGroup` is for others, give it another name"))
            }
            Some(kind) if kind.label.is_none() && kind.annotation.is_none() => {
                Some(format!("{name}: `podGroup` has neither `label` nor `annotation`, so no pod would name its group"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheduler_says_how_it_is_spoken_to() {
        let read = |text: &str| crate::yaml::from_str::<GangScheduler>(text, "x").expect("is valid").problem();
        assert_eq!(read("{name: volcano, queue: q}"), None);
        assert_eq!(read("{name: x, podGroup: {apiVersion: a/v1, kind: K, scheduler: s, label: l}}"), None);
        assert!(read("{name: volcanoo}").is_some_and(|text| text.contains("none of kai, kueue, volcano")));
        assert!(read("{name: x, podGroup: {apiVersion: a/v1, kind: K, scheduler: s}}").is_some_and(|text| text.contains("neither")));
        assert!(read("{name: kai, podGroup: {apiVersion: a/v1, kind: K, scheduler: s, label: l}}").is_some());
    }
}
