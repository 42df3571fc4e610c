//! What of one run is kept: what the policy lists, what the recipe names, and what the recipe's constraints read.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::constraints::Constraint;
use crate::error::Result;
use crate::evidence::redaction::policy::{Keep, Policy, listed};
use crate::recipe::Recipe;
use crate::snapshot::Address;

/// The rules for one run.
pub(super) struct Rules {
    pub(super) keep: Keep,
    /// Texts of the recipe: names that it says itself are no secret of the cluster.
    said: BTreeSet<String>,
    /// Type, subtype and key of what constraints read.
    read: BTreeSet<(String, String, String)>,
    /// Words in the values of constraints: keys of labels stand there too.
    words: BTreeSet<String>,
}

impl Rules {
    /// The rules that a policy and a recipe make.
    ///
    /// # Errors
    /// A usage error if a constraint cannot be understood.
    pub(super) fn of(policy: &Policy, recipe: &Recipe) -> Result<Self> {
        let mut rules = Self { keep: policy.keep()?, said: BTreeSet::new(), read: BTreeSet::new(), words: BTreeSet::new() };
        gather(&serde_json::to_value(recipe).unwrap_or_default(), &mut rules.said);
        for constraint in &recipe.spec.constraints {
            rules.add(constraint)?;
        }
        Ok(rules)
    }

    fn add(&mut self, constraint: &Constraint) -> Result<()> {
        let Address { kind, subtype, key, .. } = Address::parse(&constraint.name)?;
        let word = |letter: char| !(letter.is_ascii_alphanumeric() || "._-/".contains(letter));
        self.words.extend(constraint.value.split(word).filter(|word| !word.is_empty()).map(str::to_owned));
        self.read.insert((kind, subtype, key));
        Ok(())
    }

    /// True if a constraint reads this.
    pub(super) fn reads(&self, kind: &str, subtype: &str, key: &str) -> bool {
        self.read.contains(&(kind.to_owned(), subtype.to_owned(), key.to_owned()))
    }

    /// True if a constraint reads anything of this.
    pub(super) fn reads_of(&self, kind: &str, subtype: &str) -> bool {
        self.read.iter().any(|(a, b, _)| a == kind && b == subtype)
    }

    /// True if a label is kept.
    pub(super) fn label(&self, key: &str) -> bool {
        listed(&self.keep.labels, key)
            || self.reads("NodeTopology", "label", key)
            || (self.reads_of("NodeTopology", "gpu-nodes") && self.words.contains(key))
    }

    /// True if a taint is kept.
    pub(super) fn taint(&self, key: &str) -> bool {
        listed(&self.keep.taints, key) || self.reads("NodeTopology", "taint", key)
    }

    /// True if a name may be told.
    pub(super) fn name(&self, name: &str) -> bool {
        let component = || self.read.iter().any(|(kind, subtype, _)| kind == "Deployment" && subtype == name);
        name.is_empty() || listed(&self.keep.names, name) || self.said.contains(name) || component()
    }

    /// True if the parts of a text, as in `deployment gpu-operator/gpu-operator`, may all be told.
    pub(super) fn phrase(&self, text: &str) -> bool {
        let kind = |word: &str| KINDS.contains(&word.to_lowercase().as_str());
        self.name(text) || text.split([' ', '/']).all(|word| kind(word) || self.name(word))
    }
}

/// Words before the name of an object.
const KINDS: &[&str] = &[
    "cluster",
    "clusterpolicy",
    "customresourcedefinition",
    "daemonset",
    "deployment",
    "deviceclass",
    "image",
    "job",
    "namespace",
    "node",
    "pod",
    "pool",
    "resourceclaim",
    "service",
    "statefulset",
];

/// Every text in a document that is short enough to be a name, and every part of one with slashes.
fn gather(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.len() <= 253 => {
            into.extend(text.split('/').map(str::to_owned));
            into.insert(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|one| gather(one, into)),
        Value::Object(fields) => fields.values().for_each(|one| gather(one, into)),
        _ => {}
    }
}
