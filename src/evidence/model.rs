//! `evidence.json`: what a run showed, on one page.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::evidence::redaction::Redacted;
use crate::exit::Exit;
use crate::recipe::API_VERSION;
use crate::results::{Counts, Measurement, RecipeRef, Report, Scope, Verdict, exit_of};
use crate::snapshot::{Hardware, Reading, Snapshot};

/// What a run showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `Evidence`.
    pub kind: EvidenceKind,
    /// The run's id.
    pub run: String,
    /// The recipe.
    pub recipe: RecipeRef,
    /// The workflow.
    pub workflow: WorkflowRef,
    /// Digest of the snapshot, if one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
    /// What the results can speak for.
    pub scope: Scope,
    /// What the hardware is; recomputed from the snapshot by verification.
    pub hardware: Hardware,
    /// Totals of all tests.
    pub counts: Counts,
    /// The steps, in the order they ran.
    pub steps: Vec<StepRecord>,
    /// The tests, in the order they ran.
    pub checks: Vec<CheckRecord>,
    /// What made this.
    pub tool: Tool,
    /// When the run began, as its clock had it.
    pub started_at: Timestamp,
    /// When it ended, as its clock had it.
    pub finished_at: Timestamp,
    /// What was left out of the bundle on purpose.
    pub redaction: Redacted,
    /// The cluster.
    pub cluster: Cluster,
}

/// The kind of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EvidenceKind {
    /// `evidence.json`.
    Evidence,
}

/// A workflow by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkflowRef {
    /// Its name.
    pub name: String,
    /// Digest of its canonical JSON.
    pub digest: Digest,
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// The step's id.
    pub id: String,
    /// What came of the step as a whole.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Totals of its tests.
    pub counts: Counts,
}

/// What one test came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckRecord {
    /// The test's id.
    pub id: String,
    /// The version of the verdict logic.
    pub version: u32,
    /// The step it ran in.
    pub step: String,
    /// The phase it belongs to.
    pub phase: String,
    /// The verdict with its reason.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Measured numbers, each with its unit, what it was held against, and what it was put together from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
}

/// The program that made the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the program file, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// The cluster, as far as its snapshot could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// UID of the kube-system namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Version of the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Evidence {
    /// Derives the evidence from a report. Verification does the same and compares.
    #[must_use]
    pub fn of(report: &Report, snapshot: Option<&Snapshot>, workflow: Digest, tool: Tool, redaction: Redacted) -> Self {
        let value = |reading: &Reading<String>| reading.value().cloned();
        let steps = report.steps.iter();
        let tests = report.tests.iter();
        Self {
            api_version: API_VERSION.to_owned(),
            kind: EvidenceKind::Evidence,
            run: report.run.clone(),
            recipe: report.recipe.clone(),
            workflow: WorkflowRef { name: report.workflow.clone(), digest: workflow },
            snapshot: report.snapshot.clone(),
            scope: report.scope,
            hardware: report.hardware,
            counts: report.counts,
            steps: steps.map(|step| StepRecord { id: step.id.clone(), verdict: step.outcome.verdict, counts: step.counts }).collect(),
            checks: tests
                .map(|test| CheckRecord {
                    id: test.id.clone(),
                    version: test.version,
                    step: test.step.clone(),
                    phase: test.phase.clone(),
                    verdict: test.outcome.verdict,
                    measurements: test.outcome.measurements.clone(),
                })
                .collect(),
            tool,
            started_at: report.started_at,
            finished_at: report.finished_at,
            redaction,
            cluster: snapshot.map_or_else(Cluster::default, |snapshot| Cluster {
                id: value(&snapshot.cluster.id),
                version: value(&snapshot.cluster.version),
            }),
        }
    }

    /// The exit code that the verdicts of steps and checks add up to.
    #[must_use]
    pub fn exit(&self) -> Exit {
        exit_of(self.steps.iter().map(|step| step.verdict), self.checks.iter().map(|check| check.verdict))
    }
}
