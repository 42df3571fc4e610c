//! Checks: one question with one verdict each. This file is their vocabulary and the one list of them.

mod accelerator_metrics;
mod ai_service_metrics;
mod check_nvidia_smi;
mod cluster_autoscaling;
mod convergence;
mod dra_support;
mod errand;
pub mod expected;
mod expected_resources;
mod exposition;
mod gang_scheduling;
mod gpu_capacity;
mod gpu_operator_health;
mod gpu_operator_version;
mod node_uniformity;
mod operator;
mod operator_health;
mod platform_health;
mod pod_autoscaling;
pub mod probe;
mod robust_controller;
mod secure_accelerator_access;
pub mod settled;
mod several;
mod unbroken;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::{Access, Cluster, Place, Scratch};
use crate::error::{Error, Kind, Result};
use crate::pods::PodOptions;
use crate::recipe::Recipe;
use crate::results::{Begun, ErrorReason, Outcome, SkipReason, TestResult, Verdict};
use crate::ui::Ui;
use crate::vendor::Vendor;

/// Groups of checks in a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// What is installed, judged in the health step.
    Deployment,
    /// What the cluster can do, judged in the conformance step.
    Conformance,
    /// How fast it is, judged in the intent step.
    Performance,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Conformance => "conformance",
            Self::Performance => "performance",
        }
    }
}

/// How near to the hardware a check has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// The API server, scheduler and controllers tell.
    Api,
    /// A container must run on a node.
    Node,
    /// A container must use a GPU.
    Gpu,
}

/// One question with one verdict.
pub struct Check {
    /// The only name: in recipes, reports, CTRF, evidence, roles, documentation.
    pub id: &'static str,
    /// Raised when the verdict logic changes; recorded in evidence.
    pub version: u32,
    /// The statement that a pass supports.
    pub title: &'static str,
    /// The CNCF AI conformance requirement, if it answers one.
    pub requirement: Option<&'static str>,
    /// The phase.
    pub phase: Phase,
    /// Free GPUs that it holds while it runs.
    pub gpus: u32,
    /// What it reads and creates, whatever the recipe.
    pub access: &'static [Access],
    /// What it reads beside, which the recipe and the vendor's profile name.
    pub reads: fn(&Recipe, &Vendor) -> Vec<Access>,
    /// The most it may take; its own waits end well before.
    pub timeout: Duration,
    /// How near to the hardware it has to be.
    pub fidelity: Fidelity,
    /// True if it creates workloads. Its structural first part runs without them.
    pub behavioural: bool,
    /// What it checks, why it matters, how to fix it.
    pub docs: &'static str,
    /// Gathers and judges.
    pub run: for<'a> fn(&'a Cx<'a>) -> BoxFuture<'a, Result<Outcome>>,
}

/// Nothing beside what a check declares.
fn no_more(_: &Recipe, _: &Vendor) -> Vec<Access> {
    Vec::new()
}

impl Check {
    /// Everything that it reads and creates for a recipe.
    #[must_use]
    pub fn accesses(&self, recipe: &Recipe) -> Vec<Access> {
        let mut all = self.access.to_vec();
        // A recipe of an unknown vendor is refused when it is read.
        all.extend(crate::vendor::named(&recipe.spec.vendor).into_iter().flat_map(|vendor| (self.reads)(recipe, vendor)));
        all
    }
}

/// All checks, by id. Everything else (listing, documentation, roles, completion) is derived from this list.
pub static ALL: &[&Check] = &[
    &accelerator_metrics::CHECK,
    &ai_service_metrics::CHECK,
    &check_nvidia_smi::CHECK,
    &cluster_autoscaling::CHECK,
    &convergence::CHECK,
    &dra_support::CHECK,
    &expected_resources::CHECK,
    &gang_scheduling::CHECK,
    &gpu_capacity::CHECK,
    &gpu_operator_health::CHECK,
    &gpu_operator_version::CHECK,
    &node_uniformity::CHECK,
    &operator_health::CHECK,
    &platform_health::CHECK,
    &pod_autoscaling::CHECK,
    &robust_controller::CHECK,
    &secure_accelerator_access::CHECK,
];

/// Ids that users of the incumbent know and that this version cannot run: `error(unsupported)`, never "unknown" and never skipped.
pub static NOT_BUILT_YET: &[&str] = &[
    "cre-training-goodput",
    "gke-gpu-nic-networks",
    "inference-gateway",
    "inference-perf",
    "nccl-all-reduce-bw",
    "nccl-all-reduce-bw-net",
    "nccl-all-reduce-bw-nvls",
    "nccl-cre-all-reduce-bw",
    "slinky-slurm-health",
    "slinky-slurm-imex-channel",
];

/// A check that a recipe may name.
#[derive(Clone, Copy)]
pub enum Known {
    /// This version can run it.
    Built(&'static Check),
    /// A known id that this version cannot run.
    NotBuilt(&'static str),
}

impl Known {
    /// The id.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Built(check) => check.id,
            Self::NotBuilt(id) => id,
        }
    }

    /// The version of its verdict logic; 0 where there is none.
    #[must_use]
    pub fn version(self) -> u32 {
        match self {
            Self::Built(check) => check.version,
            Self::NotBuilt(_) => 0,
        }
    }
}

/// Finds a check by id.
///
/// # Errors
/// A usage error with the nearest id.
pub fn find(id: &str) -> Result<Known> {
    if let Some(check) = ALL.iter().find(|check| check.id == id) {
        return Ok(Known::Built(check));
    }
    if let Some(known) = NOT_BUILT_YET.iter().find(|known| **known == id) {
        return Ok(Known::NotBuilt(known));
    }
    let names = ALL.iter().map(|check| check.id).chain(NOT_BUILT_YET.iter().copied());
    let error = Error::usage(format!("there is no check `{}`", crate::ui::printable(id)));
    Err(error.did_you_mean(id, names, "`seatrial list checks` shows all of them"))
}

/// Kinds (`apiVersion`, `kind`) that checks of these ids make outside namespaces, in the order in which they make them.
#[must_use]
pub fn outside(recipe: &Recipe, ids: &[String]) -> Vec<(String, String)> {
    if ids.iter().any(|id| id == gang_scheduling::CHECK.id) { gang_scheduling::outside(recipe) } else { Vec::new() }
}

/// The page about a check: its card, then its documentation.
#[must_use]
pub fn page(check: &Check) -> String {
    let requirement = check.requirement.map_or(String::new(), |id| format!("CNCF requirement: {id}\n"));
    let creates = if check.behavioural { "creates workloads" } else { "reads only" };
    let line = |access: &Access| {
        let place = if access.place == Place::Cluster { "" } else { " (in the run's own namespace)" };
        format!("  {}: {}{place}", access.name(), access.verbs.join(", "))
    };
    let mut access: Vec<String> = check.access.iter().map(line).collect();
    // A function has no other sign of being there than what it gives.
    if !std::ptr::fn_addr_eq(check.reads, no_more as fn(&Recipe, &Vendor) -> Vec<Access>) {
        access.push("  what the recipe or its vendor's profile names: get, list, watch".to_owned());
    }
    let gpus = if check.gpus == 0 { String::new() } else { format!(" · holds {} GPU", check.gpus) };
    format!(
        "{} (version {}): {}\nphase: {} · {creates} · at most {} s{gpus}\n{requirement}\n{}\n\n# What it may do\n{}\n",
        check.id,
        check.version,
        check.title,
        check.phase.word(),
        check.timeout.as_secs(),
        check.docs,
        access.join("\n")
    )
}

/// What a check is given.
pub struct Cx<'a> {
    /// The cluster, with a retry log of this check's own.
    pub cluster: Cluster,
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The recipe's vendor profile.
    pub vendor: &'a Vendor,
    /// The run's corner of the cluster; none where behavioural tests are off.
    pub scratch: Option<&'a Scratch>,
    /// How our pods look on this cluster.
    pub pods: &'a PodOptions,
    /// True if the cluster's GPU hardware is simulated, by any mark.
    pub simulated: bool,
    /// True if kwok plays every GPU node of the snapshot, so that no container runs.
    pub without_containers: bool,
    /// The most GPUs that the run may hold at a time, where the user says so.
    pub most_gpus: Option<u32>,
    /// Where progress is shown.
    pub ui: &'a Ui,
}

impl Cx<'_> {
    /// Shows what is being waited for.
    pub fn waiting(&self, what: &str) {
        self.ui.waiting(what);
    }
}

/// The result of a check that is not even tried.
#[must_use]
pub fn untried(known: Known, step: &str, phase: Phase, outcome: Outcome) -> TestResult {
    TestResult::of(known.id().to_owned(), known.version(), step, phase.word(), outcome)
}

/// Runs one check within its deadline. Whatever happens, there is a result, and only a guarded pass is a pass.
pub async fn run(known: Known, step: &str, phase: Phase, cx: &Cx<'_>) -> TestResult {
    let begun = Begun::now();
    let outcome = match known {
        Known::NotBuilt(id) => Outcome::error(ErrorReason::Unsupported, format!("this version of seatrial cannot run {id} yet")),
        Known::Built(check) => outcome(check, cx).await,
    };
    untried(known, step, phase, outcome).since(begun, cx.cluster.take_retries())
}

async fn outcome(check: &'static Check, cx: &Cx<'_>) -> Outcome {
    if check.fidelity != Fidelity::Api && cx.without_containers {
        return Outcome::skip(SkipReason::NeedsNode, "no container runs on simulated nodes");
    }
    let ended = tokio::time::timeout(check.timeout, AssertUnwindSafe((check.run)(cx)).catch_unwind()).await;
    let outcome = match ended {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(error))) => Outcome::from(error),
        Ok(Err(_panic)) => Outcome::error(ErrorReason::Harness, format!("{} panicked: this is a defect of seatrial", check.id)),
        Err(_) => Outcome::from(Error::new(Kind::Timeout, format!("{} took more than {} s", check.id, check.timeout.as_secs()))),
    };
    let outcome = outcome.guarded();
    // A structural pass of a behavioural check says nothing of what it would have done.
    if check.behavioural && cx.scratch.is_none() && outcome.verdict == Verdict::Pass {
        return Outcome { verdict: Verdict::Skip(SkipReason::BehavioralTestsOff), ..outcome };
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_check_is_listed_once_in_order_and_documented() {
        let ids: Vec<&str> = ALL.iter().map(|check| check.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted, "To fix: sort ALL in src/checks/mod.rs and list each check once");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/checks");
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("readable").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().replace('_', "-");
            let path = if path.is_dir() { path.join("mod.rs") } else { path };
            let text = std::fs::read_to_string(&path).expect("readable");
            let is_check = text.contains("pub(super) static CHECK") && stem != "mod";
            assert!(!is_check || ids.contains(&stem.as_str()), "To fix: add {stem} to ALL in src/checks/mod.rs");
        }
        for check in ALL {
            for heading in ["What it checks", "Why it matters", "How to fix it"] {
                assert!(check.docs.contains(heading), "To fix: {} needs the heading `{heading}`", check.id);
            }
            assert!(!NOT_BUILT_YET.contains(&check.id), "To fix: {} is built, take it out of NOT_BUILT_YET", check.id);
        }
    }

    #[test]
    fn a_misspelt_check_is_a_usage_error_with_the_nearest_id() {
        let error = find("gpu-capacty").err().expect("is unknown");
        assert_eq!(error.hints(), ["did you mean `gpu-capacity`?"]);
        assert!(matches!(find("nccl-all-reduce-bw-nvls"), Ok(Known::NotBuilt(_))));
    }
}
