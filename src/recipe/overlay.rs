//! Overlays: parts of recipes, each for some criteria, and what is taken out by one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::constraints::Constraint;
use crate::error::{Error, Result};
use crate::recipe::catalog::Catalog;
use crate::recipe::tree::{self, Leaves, Path};
use crate::recipe::{
    Autoscaling, Component, Controller, Criteria, ExpectedObject, GangScheduler, HealthFile, Intent, IntentSpec, Phases, Threshold,
};
use crate::ui::printable;

/// A part of a recipe, for clusters of some criteria.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overlay {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `RecipeOverlay`.
    pub kind: OverlayKind,
    /// Its name.
    pub metadata: OverlayMetadata,
    /// What it sets and takes out.
    pub spec: OverlaySpec,
}

/// The kind of an overlay document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OverlayKind {
    /// A part of a recipe.
    RecipeOverlay,
}

/// Name of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverlayMetadata {
    /// Lower-case letters, digits and hyphens.
    pub name: String,
}

/// What an overlay sets and takes out. Lists are merged by what names their members, check lists by adding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverlaySpec {
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The overlay that it builds upon: applied before it, and its criteria hold here too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// True if it is only a base of others and fits nothing by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixin: bool,
    /// Which clusters it is for.
    #[serde(default)]
    pub criteria: Criteria,
    /// The vendor profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Components, merged field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// Constraints, each replaced as a whole, by name and what it is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Objects that must exist, each replaced as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<ExpectedObject>,
    /// Health files, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthFile>,
    /// Check ids per phase, added to those that are there.
    #[serde(default)]
    pub checks: Phases,
    /// Thresholds, each replaced as a whole, by id and fabric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
    /// Gang schedulers that are tried, each replaced as a whole, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gang_schedulers: Vec<GangScheduler>,
    /// Operators that are tried, each replaced as a whole, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<Controller>,
    /// What the intent step runs, per intent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intent: BTreeMap<Intent, IntentSpec>,
    /// What must scale, each part replaced as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// What is taken out of what less specific overlays set.
    #[serde(default)]
    pub remove: Remove,
}

/// What an overlay takes out, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remove {
    /// Check ids, in all phases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// Component names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Constraint names, over whatever they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// Expected objects as `apiVersion Kind namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<String>,
    /// Health files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<String>,
    /// Operators, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<String>,
    /// Gang schedulers, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gang_schedulers: Vec<String>,
    /// Intents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intent: Vec<Intent>,
    /// Threshold ids, for whatever fabric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<String>,
}

/// One thing that is taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    section: &'static str,
    key: String,
}

impl Removal {
    /// True if the value at a path is taken out.
    pub(super) fn hits(&self, path: &Path) -> bool {
        let part = |index: usize| path.get(index).map_or("", String::as_str);
        part(0) == self.section
            && match self.section {
                "checks" => part(2) == self.key,
                "constraints" | "thresholds" => part(1).split('@').next() == Some(&self.key),
                _ => part(1) == self.key,
            }
    }

    /// In words.
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

impl Remove {
    fn all(&self) -> Vec<Removal> {
        let intents: Vec<String> = self.intent.iter().map(|intent| intent.word().to_owned()).collect();
        let lists: [(&'static str, &[String]); 9] = [
            ("checks", &self.checks),
            ("components", &self.components),
            ("constraints", &self.constraints),
            ("expect", &self.expect),
            ("controllers", &self.controllers),
            ("gangSchedulers", &self.gang_schedulers),
            ("health", &self.health),
            ("intent", &intents),
            ("thresholds", &self.thresholds),
        ];
        lists.into_iter().flat_map(|(section, keys)| keys.iter().map(move |key| Removal { section, key: key.clone() })).collect()
    }
}

/// An overlay taken apart, ready to be merged.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The file that it was read from, as the user knows it.
    pub place: String,
    /// What it is for, in a sentence.
    pub about: Option<String>,
    /// The overlay that it builds upon.
    pub base: Option<String>,
    /// True if it fits nothing by itself.
    pub mixin: bool,
    /// Which clusters it is for; with those of its bases, once it is in a catalog.
    pub criteria: Criteria,
    pub(super) leaves: Leaves,
    pub(super) removals: Vec<Removal>,
}

impl Part {
    /// Takes an overlay apart.
    ///
    /// # Errors
    /// A usage error that names the file: a bad name, something stated twice.
    pub fn of(overlay: Overlay, place: &str) -> Result<Self> {
        let name = overlay.metadata.name;
        if !is_name(&name) {
            return Err(Error::usage(format!(
                "{place}: metadata.name `{}` is not of lower-case letters, digits and hyphens",
                printable(&name)
            )));
        }
        let spec: Value = serde_json::to_value(&overlay.spec).map_err(|error| Error::internal("take an overlay apart").because(error))?;
        let leaves = tree::leaves(&spec).map_err(|error| error.context(place.to_owned()))?;
        let OverlaySpec { about, base, mixin, criteria, remove, .. } = overlay.spec;
        Ok(Self { name, place: place.to_owned(), about, base, mixin, criteria, leaves, removals: remove.all() })
    }

    /// What it takes out that no other overlay sets.
    #[must_use]
    pub fn idle_removals(&self, catalog: &Catalog) -> Vec<String> {
        let others = |removal: &&Removal| {
            let set = |part: &Self| part.name != self.name && part.leaves.keys().any(|path| removal.hits(path));
            !catalog.parts().iter().any(set)
        };
        self.removals.iter().filter(others).map(Removal::shown).collect()
    }

    /// Check ids that it adds.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.leaves.keys().filter(|path| path[0] == "checks").count()
    }
}

/// True for what may name a recipe or an overlay, and with it a folder.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}
