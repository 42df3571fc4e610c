//! The results document of a run, `results.json`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::exit::Exit;
use crate::results::{Counts, Outcome, Scope, TestResult, Verdict, exit_of};
use crate::snapshot::Hardware;

/// A recipe by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecipeRef {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepResult {
    /// The step's id.
    pub id: String,
    /// What came of the step as a whole.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took.
    pub duration_ms: u64,
    /// Totals of its tests.
    pub counts: Counts,
}

impl StepResult {
    /// True if the step says no more than its tests do; a document that lists tests must list the step too where this is false.
    #[must_use]
    pub fn explained(&self, tests: &[TestResult]) -> bool {
        let word = self.outcome.verdict.word();
        let mut own = tests.iter().filter(|test| test.step == self.id).peekable();
        own.peek().is_some() && (self.outcome.verdict == Verdict::Pass || own.any(|test| test.outcome.verdict.word() == word))
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `Results`.
    pub kind: String,
    /// The run's id.
    pub run: String,
    /// The workflow's name.
    pub workflow: String,
    /// The recipe.
    pub recipe: RecipeRef,
    /// Digest of the snapshot's canonical JSON, if one was taken.
    pub snapshot: Option<Digest>,
    /// What the results can speak for.
    pub scope: Scope,
    /// What the hardware is.
    pub hardware: Hardware,
    /// Totals of all tests.
    pub counts: Counts,
    /// The steps, in the order they ran.
    pub steps: Vec<StepResult>,
    /// The tests, in the order they ran.
    pub tests: Vec<TestResult>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl Report {
    /// The exit code that the steps and tests add up to.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let steps = self.steps.iter().map(|step| step.outcome.verdict);
        exit_of(steps, self.tests.iter().map(|test| test.outcome.verdict))
    }

    /// The scope in words, e.g. `structural, simulated`; never more than was seen.
    #[must_use]
    pub fn scope_words(&self) -> String {
        format!("{}, {} hardware", self.scope.word(), self.hardware.word())
    }
}
