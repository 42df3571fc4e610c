//! Outcomes of a run, their totals, and the documents made of them.

pub mod ctrf;
pub mod junit;
pub mod markdown;
pub mod outcome;
pub mod report;
#[cfg(test)]
mod samples;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
pub use outcome::{Artifact, Assertions, ErrorReason, Measurement, NotRunReason, Outcome, SkipReason, Subjects, Verdict};
pub use report::{RecipeRef, Report, StepResult};

/// One try that did not end the check, because its error was transient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// What went wrong.
    pub message: String,
    /// How long the try took.
    pub duration_ms: u64,
}

/// One check (or health test, or step) and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// The id: a check's id, `health/<file>` or the step's id.
    pub id: String,
    /// The version of the verdict logic.
    pub version: u32,
    /// The step it ran in.
    pub step: String,
    /// The phase it belongs to: readiness, deployment, conformance, performance.
    pub phase: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Tries that ended in a transient error and were repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<Retry>,
}

impl TestResult {
    /// True if it passed only after a try that did not.
    #[must_use]
    pub fn flaky(&self) -> bool {
        self.outcome.verdict == Verdict::Pass && !self.retries.is_empty()
    }
}

/// Totals; `selected` is always the sum of the other five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Counts {
    /// Everything that was to be looked at.
    pub selected: usize,
    /// Seen to hold.
    pub pass: usize,
    /// Seen to be wrong.
    pub fail: usize,
    /// Not looked at, with a reason.
    pub skip: usize,
    /// Could not be told.
    pub error: usize,
    /// Selected and not run.
    pub not_run: usize,
}

impl Counts {
    /// Adds one verdict.
    pub fn add(&mut self, verdict: Verdict) {
        self.selected += 1;
        match verdict {
            Verdict::Pass => self.pass += 1,
            Verdict::Fail => self.fail += 1,
            Verdict::Skip(_) => self.skip += 1,
            Verdict::Error(_) => self.error += 1,
            Verdict::NotRun(_) => self.not_run += 1,
        }
    }

    /// Totals of some verdicts.
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            counts.add(verdict);
        }
        counts
    }
}

/// What a verdict can speak for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything that the recipe declares was looked at.
    Full,
    /// Something was left out (`needs-node`, `needs-gpu`, `behavioral-tests-off`, `by-request`).
    Structural,
    /// Only constraints were judged, without a cluster.
    ConstraintsOnly,
}

impl Scope {
    /// The scope that some verdicts leave.
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let narrowed = verdicts.into_iter().any(|verdict| matches!(verdict, Verdict::Skip(reason) if reason.narrows_scope()));
        if narrowed { Self::Structural } else { Self::Full }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Structural => "structural",
            Self::ConstraintsOnly => "constraints-only",
        }
    }
}

/// The exit code that verdicts add up to: interrupted, else failed, else inconclusive, else ok; nothing seen is inconclusive.
pub fn exit_of(verdicts: impl IntoIterator<Item = Verdict>) -> Exit {
    let verdicts: Vec<Verdict> = verdicts.into_iter().collect();
    let any = |wanted: fn(&Verdict) -> bool| verdicts.iter().any(wanted);
    if any(|verdict| *verdict == Verdict::NotRun(NotRunReason::Interrupted)) {
        Exit::Interrupted
    } else if any(|verdict| *verdict == Verdict::Fail) {
        Exit::Failed
    } else if any(|verdict| matches!(verdict, Verdict::Error(_) | Verdict::NotRun(_))) || !any(|verdict| *verdict == Verdict::Pass) {
        Exit::Inconclusive
    } else {
        Exit::Ok
    }
}
