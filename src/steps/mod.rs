//! Steps: the canonical sequence. This file is their vocabulary and the one list of them, in canonical order.

mod autoscaling;
pub mod collect;
mod conformance;
mod corner;
mod health;
pub mod offline;
mod intent;
mod inventory;
mod picked;
mod setup;
mod settle;
mod sink;
mod snapshot;
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::checks::{self, Phase};
use crate::cluster::lease::HeldLease;
use crate::cluster::{Access, Cluster, Scratch, scratch};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::evidence::redaction::Policy;
use crate::pods::PodOptions;
use crate::recipe::{Allocation, LoadedRecipe};
use crate::registry;
use crate::results::{Artifact, Outcome, StepResult, TestResult};
use crate::snapshot::{Hardware, Snapshot};
use crate::ui::Ui;
use crate::vendor::{self, Vendor};
use crate::workflow::{Loaded, StepSpec};
use crate::{limits, node_facts, sign};
pub use corner::Corner;
pub use picked::Picked;
pub use sink::{Produced, Sink};

/// What a step leaves behind for those after it. A fact holds only if its step passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// A snapshot was taken.
    Snapshot,
    /// Everything that the recipe expects is there.
    Inventory,
    /// What the workflow declares is installed.
    Installed,
    /// Everything else has run.
    Results,
}

impl Fact {
    /// What it says, for messages.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Snapshot => "a snapshot of a cluster that meets the recipe's constraints",
            Self::Inventory => "a complete inventory",
            Self::Installed => "what set-up installs",
            Self::Results => "the results of all other steps",
        }
    }
}

/// GPUs that a step wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuUse {
    /// By which way of allocation.
    pub allocation: Allocation,
    /// How many must be free.
    pub count: u32,
    /// True if they stay held after the step.
    pub kept: bool,
}

/// A test that a step is going to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its id.
    pub id: String,
    /// The version of its verdict logic.
    pub version: u32,
    /// Its phase.
    pub phase: &'static str,
}

/// One step of the canonical sequence.
pub struct Step {
    /// The id, also the name of its CTRF file.
    pub id: &'static str,
    /// What it does.
    pub title: &'static str,
    /// Why it stands where it stands.
    pub why: &'static str,
    /// Facts that must hold before it runs.
    pub needs: &'static [Fact],
    /// The fact that holds after it passed.
    pub provides: Option<Fact>,
    /// True if it talks to the cluster.
    pub cluster: bool,
    /// What it reads and creates.
    pub access: fn(&Inputs, &StepSpec) -> Vec<Access>,
    /// GPUs that it wants.
    pub gpus: fn(&Inputs, &StepSpec) -> Vec<GpuUse>,
    /// The tests that it runs.
    pub tests: fn(&Inputs) -> Result<Vec<Selected>>,
    /// The most it may take; every deadline inside it ends before.
    pub timeout: fn(&Inputs) -> Duration,
    /// Does it.
    pub run: for<'a> fn(&'a StepCx<'a>) -> BoxFuture<'a, Result<Outcome>>,
}

/// All steps, in canonical order.
pub static ALL: &[&Step] =
    &[&snapshot::STEP, &inventory::STEP, &setup::STEP, &health::STEP, &conformance::STEP, &intent::STEP, &collect::STEP];

/// Finds a step by id.
///
/// # Errors
/// An internal error: workflows are checked when they are read.
pub fn find(id: &str) -> Result<&'static Step> {
    ALL.iter().copied().find(|step| step.id == id).ok_or_else(|| Error::internal(format!("no step {id}")))
}

/// Where evidence goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publishing {
    /// How the bundle is signed; none leaves it unsigned.
    pub signing: Option<sign::Options>,
    /// The bundle's directory; `bundle` in the run directory otherwise.
    pub bundle: Option<PathBuf>,
    /// The repository to push to, `host/name[:tag]`; none pushes nothing.
    pub push: Option<String>,
    /// How the registry is reached.
    pub registry: registry::Options,
    /// Move the tag, if it names something else.
    pub move_tag: bool,
    /// The folder under which pointers are written.
    pub pointers: PathBuf,
    /// What the bundle may hold; the policy `minimal` otherwise.
    pub redaction: Option<Policy>,
}

/// What a run is about; the same inputs give the same plan.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The workflow.
    pub workflow: Loaded,
    /// The recipe.
    pub recipe: LoadedRecipe,
    /// False where nothing may be created.
    pub behavioral: bool,
    /// The most GPUs that may be held at once.
    pub max_gpus: Option<u32>,
    /// Which of the recipe's tests run.
    pub picked: Picked,
    /// How our pods look on this cluster.
    pub pods: PodOptions,
    /// How GPU nodes are asked for their facts, if they are.
    pub node_facts: Option<node_facts::Options>,
    /// The snapshot to judge constraints by, where it is not taken now.
    pub given: Option<Snapshot>,
    /// How long set-up waits for the cluster to settle.
    pub settle: Duration,
    /// Where evidence goes.
    pub publishing: Publishing,
}

impl Inputs {
    /// Inputs with nothing picked, changed or published.
    #[must_use]
    pub fn new(workflow: Loaded, recipe: LoadedRecipe) -> Self {
        Self {
            workflow,
            recipe,
            behavioral: true,
            max_gpus: None,
            picked: Picked::default(),
            pods: PodOptions::default(),
            node_facts: None,
            given: None,
            settle: Duration::from_secs(60),
            publishing: Publishing::default(),
        }
    }

    /// True if the run may create anything.
    #[must_use]
    pub fn creates(&self) -> bool {
        self.behavioral || self.node_facts.is_some()
    }

    /// What a step's result depends on beside workflow and recipe.
    ///
    /// # Errors
    /// Never in practice; settings always have a JSON form.
    pub fn settings(&self) -> Result<Digest> {
        let given = self.given.as_ref().map(Digest::of_json).transpose()?;
        Digest::of_json(&(self.behavioral, self.max_gpus, &self.picked, &self.pods, &self.node_facts, given))
    }

    /// The vendor profile of the recipe.
    ///
    /// # Errors
    /// A usage error if there is none; recipes are checked when they are read.
    pub fn vendor(&self) -> Result<&'static Vendor> {
        vendor::named(&self.recipe.recipe.spec.vendor)
    }
}

/// What has come of a run so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The snapshot, once taken.
    pub snapshot: Option<Snapshot>,
    /// Steps that have ended.
    pub steps: Vec<StepResult>,
    /// Tests that have ended.
    pub tests: Vec<TestResult>,
    /// Things seen, by test id.
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
}

impl State {
    /// Digest of the snapshot, if one was taken.
    ///
    /// # Errors
    /// Never in practice; a snapshot always has a JSON form.
    pub fn snapshot_digest(&self) -> Result<Option<Digest>> {
        self.snapshot.as_ref().map(Digest::of_json).transpose()
    }
}

/// What a step is given.
pub struct StepCx<'a> {
    /// The step's entry in the workflow.
    pub spec: &'a StepSpec,
    /// What the run is about.
    pub inputs: &'a Inputs,
    /// What has come of it so far.
    pub state: &'a State,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The run's corner of it; none in a step that does not talk to the cluster.
    pub corner: Option<&'a Corner>,
    /// Where results go.
    pub sink: &'a Sink,
    /// Where progress is shown.
    pub ui: &'a Ui,
    /// The run.
    pub run: &'a RunFacts,
}

/// Facts of a run that are not its inputs.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The run's id.
    pub id: String,
    /// The run directory.
    pub out: PathBuf,
    /// What the hardware is, by a look at the cluster.
    pub hardware: Hardware,
    /// True if kwok plays every GPU node, by the same look.
    pub without_containers: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When the last step before collect ended: the end of what the evidence is about.
    pub finished_at: Timestamp,
    /// The canonical JSON of the plan.
    pub plan: Vec<u8>,
}

impl StepCx<'_> {
    /// The run's corner of the cluster, opened now if it was not.
    ///
    /// # Errors
    /// As [`Scratch::open`].
    pub async fn scratch(&self) -> Result<&Scratch> {
        self.corner()?.open(self.cluster).await
    }

    fn corner(&self) -> Result<&Corner> {
        self.corner.ok_or_else(|| Error::internal("a step without a cluster wants to create something"))
    }

    /// Takes the lock under which GPUs are held, telling whom we wait for.
    ///
    /// # Errors
    /// As [`scratch::lock_gpus`].
    pub async fn lock_gpus(&self) -> Result<HeldLease> {
        let waiting = |holder: &str| self.ui.waiting(&format!("GPUs that run {holder} holds"));
        scratch::lock_gpus(self.cluster, self.corner()?.place(), limits::GPU_LOCK, waiting).await
    }

    /// The snapshot.
    ///
    /// # Errors
    /// An internal error: the plan makes sure that there is one.
    pub fn snapshot(&self) -> Result<&Snapshot> {
        self.state.snapshot.as_ref().ok_or_else(|| Error::internal("there is no snapshot"))
    }
}

/// No GPUs.
fn no_gpus(_: &Inputs, _: &StepSpec) -> Vec<GpuUse> {
    Vec::new()
}

/// No tests.
fn no_tests(_: &Inputs) -> Result<Vec<Selected>> {
    Ok(Vec::new())
}

/// The checks of some phase, as tests.
fn selected(ids: &[String], phase: Phase) -> Result<Vec<Selected>> {
    let one = |id: &String| checks::find(id).map(|known| Selected { id: id.clone(), version: known.version(), phase: phase.word() });
    ids.iter().map(one).collect()
}
