//! Constraints: what a reading of the snapshot must be for a recipe to fit. Pure; the model is here, its judgement beside it.

mod judge;
mod rule;
mod value;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use judge::{VERSION, check, ids, judge, judge_all};
pub use rule::Rule;

/// A constraint of a recipe, e.g. `{name: K8s.server.version, value: ">= 1.34"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Constraint {
    /// Where the reading is, `<type>.<subtype>.<key>`: `K8s.server.version`, `OS.release.ID`, `GPU.smi.gpu-count`.
    pub name: String,
    /// What it must be: an operator with a value (`>= 1.34`, `!= 3`), a range (`570 .. 580`), a set (`in [ubuntu, rhel]`), or a value.
    pub value: String,
    /// How the values are compared; follows from the address and the value where it is not given.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub value_type: Option<ValueType>,
    /// The unit that the value is in, for numbers, e.g. `GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What there is one reading of each; follows from the address where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// For how many of them it must hold.
    #[serde(default, skip_serializing_if = "Quantifier::is_all")]
    pub quantifier: Quantifier,
    /// What follows if it does not hold.
    #[serde(default, skip_serializing_if = "Severity::is_required")]
    pub severity: Severity,
    /// What to do if it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    /// Where the value comes from: a document of the vendor, a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ValueType {
    /// Component by component, as far as the constraint's value goes.
    Version,
    /// Byte by byte.
    String,
    /// As numbers, converted to one unit.
    Number,
    /// A member of a set.
    Set,
    /// Between two versions or numbers, both included.
    Range,
}

/// What there is one reading of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// The cluster as a whole.
    Cluster,
    /// Every node; for facts about hardware, every GPU node.
    Nodes,
    /// Every GPU.
    Gpus,
}

impl Over {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Nodes => "nodes",
            Self::Gpus => "gpus",
        }
    }
}

/// For how many it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Quantifier {
    /// For each, and there must be one.
    #[default]
    All,
    /// For at least one.
    Any,
    /// For as many as this says, e.g. `>= 4`.
    Count(String),
}

impl Quantifier {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// What follows if a constraint does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The cluster is not what the recipe is for: a failure.
    #[default]
    Required,
    /// It is said, and nothing follows.
    Advisory,
}

impl Severity {
    fn is_required(&self) -> bool {
        *self == Self::Required
    }
}
