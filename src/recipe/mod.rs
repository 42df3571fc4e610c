//! What a cluster should be: criteria, components, constraints, expected objects, health tests, checks per phase, thresholds, intents.
//!
//! This file is the model of a resolved recipe. `overlay`, `catalog` and `resolve` make one out of parts, `load` reads it and checks it.

mod aicr;
pub mod autoscaling;
pub mod catalog;
pub mod component;
pub mod controller;
pub mod criteria;
pub mod gang;
pub mod infer;
pub mod lint;
pub mod load;
pub mod overlay;
mod own;
pub mod resolve;
mod tree;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraints::Constraint;
use crate::digest::Digest;
use crate::error::Result;
pub use autoscaling::{Autoscaling, Load, MetricSource, ScaledPool, ScalingMetric};
pub use component::{Component, ComponentType, HealthFile, Per, Threshold};
pub use controller::{Controller, ControllerKind};
pub use criteria::Criteria;
pub use gang::{GangScheduler, PodGroupKind};
pub use load::{Document, LoadedRecipe};
pub use own::Own;

/// `apiVersion` of all documents that people write and seatrial reads.
pub const API_VERSION: &str = "seatrial.dev/v1alpha1";

/// The name of the way in which recipes are digested; it changes when the same recipe would get another digest.
pub const DIGEST_ALGORITHM: &str = "seatrial-recipe-v1";

/// A resolved recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recipe {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `Recipe`.
    pub kind: RecipeKind,
    /// Its name.
    pub metadata: Metadata,
    /// What the cluster should be.
    pub spec: Spec,
}

/// The kind of a recipe document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecipeKind {
    /// A recipe with nothing left to resolve.
    Recipe,
}

/// Name of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Lower-case letters, digits and hyphens; it becomes a folder under `evidence/`.
    pub name: String,
    /// The overlays that it was resolved from, in the order in which they were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<String>,
}

/// The content of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Which clusters it is for.
    #[serde(default)]
    pub criteria: Criteria,
    /// The vendor profile: which resource names, labels and drivers to look for.
    pub vendor: String,
    /// What is installed, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// What readings of the snapshot must be; judged before anything is created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Objects that must exist; the inventory step looks for them.
    #[serde(default)]
    pub expect: Vec<ExpectedObject>,
    /// Chainsaw Test files that the health step runs, relative to the recipe data.
    #[serde(default)]
    pub health: Vec<HealthFile>,
    /// Check ids per phase.
    #[serde(default)]
    pub checks: Phases,
    /// What measurements must reach, for the checks that measure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
    /// Gang schedulers that are tried; where none is named, all known ones that the cluster has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gang_schedulers: Vec<GangScheduler>,
    /// Operators that are tried; where none is named, all known ones that the cluster has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<Controller>,
    /// What the intent step runs, per intent.
    #[serde(default)]
    pub intent: BTreeMap<Intent, IntentSpec>,
    /// What must scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
}

/// An object that must exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectedObject {
    /// `apiVersion`, e.g. `apps/v1`.
    pub api_version: String,
    /// `kind`, e.g. `Deployment`.
    pub kind: String,
    /// Namespace, for namespaced kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// A semver range that the label `app.kubernetes.io/version` must satisfy, e.g. `>=25.3, <26`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Images that its pod template must hold, exactly as written there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// Check ids per phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phases {
    /// Judged in the health step.
    #[serde(default)]
    pub deployment: Vec<String>,
    /// Judged in the conformance step.
    #[serde(default)]
    pub conformance: Vec<String>,
    /// Judged in the intent step.
    #[serde(default)]
    pub performance: Vec<String>,
}

/// What the cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// An Indexed Job of GPU pods that run together.
    Training,
    /// A Deployment whose GPU pods become available.
    Inference,
}

impl Intent {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Inference => "inference",
        }
    }
}

/// How an intent is tried: pods of one size, by one way of allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntentSpec {
    /// Pods that must run together.
    pub pods: u32,
    /// GPUs of each pod.
    pub gpus_per_pod: u32,
    /// How the pods ask for GPUs.
    pub allocation: Allocation,
    /// The container image; simulated nodes do not pull it.
    pub image: String,
    /// The command that keeps the container running until it is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How long the pods may take to run together, in seconds; pulling a training image takes minutes on real nodes.
    #[serde(default = "five_minutes")]
    pub timeout_seconds: u32,
}

fn five_minutes() -> u32 {
    300
}

/// How pods ask for GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Allocation {
    /// An extended resource, such as `nvidia.com/gpu`.
    DevicePlugin,
    /// A ResourceClaim per pod.
    Dra,
}

impl Phases {
    /// The check ids of all phases.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.deployment.iter().chain(&self.conformance).chain(&self.performance)
    }
}

impl Recipe {
    /// The recipe digest: SHA-256 of the canonical JSON of the resolved, typed recipe under the name of the algorithm. A read recipe
    /// holds the digests of its health tests, so it covers them as well.
    ///
    /// # Errors
    /// Never in practice; the model always has a JSON form.
    pub fn digest(&self) -> Result<Digest> {
        #[derive(Serialize)]
        struct Input<'a> {
            algorithm: &'static str,
            recipe: &'a Recipe,
        }
        Digest::of_json(&Input { algorithm: DIGEST_ALGORITHM, recipe: self })
    }
}
