//! Outcomes of a run, their totals, and the documents made of them.

pub mod ctrf;
pub mod junit;
pub mod markdown;
pub mod outcome;
pub mod report;
#[cfg(test)]
pub(crate) mod samples;

use std::time::Instant;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
pub use outcome::{Artifact, Assertions, Compared, ErrorReason, Measurement, NotRunReason, Outcome, Sample, SkipReason, Subjects, Verdict};
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

/// When something began, by the calendar and by a clock that only goes forward.
#[derive(Clone, Copy, Debug)]
pub struct Begun(Timestamp, Instant);

impl Begun {
    /// It begins now.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now(), Instant::now())
    }
}

impl TestResult {
    /// The result of a test that took no time.
    #[must_use]
    pub fn of(id: String, version: u32, step: &str, phase: &str, outcome: Outcome) -> Self {
        let (step, phase) = (step.to_owned(), phase.to_owned());
        let result = Self { id, version, step, phase, outcome, started_ms: 0, duration_ms: 0, retries: Vec::new() };
        result.since(Begun::now(), Vec::new())
    }

    /// The same, begun earlier and ended now, with the tries that were repeated on the way.
    #[must_use]
    pub fn since(self, begun: Begun, retries: Vec<Retry>) -> Self {
        let started_ms = u64::try_from(begun.0.as_millisecond()).unwrap_or(0);
        let duration_ms = u64::try_from(begun.1.elapsed().as_millis()).unwrap_or(u64::MAX);
        Self { started_ms, duration_ms, retries, ..self }
    }

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
        let of = |verdict| match verdict {
            Verdict::Skip(SkipReason::NoCluster) => Self::ConstraintsOnly,
            Verdict::Skip(reason) if reason.narrows_scope() => Self::Structural,
            _ => Self::Full,
        };
        verdicts.into_iter().map(of).max().unwrap_or(Self::Full)
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

/// The exit code that the verdicts of steps and of tests add up to: interrupted, else failed, else inconclusive, else ok.
///
/// A run in which no test came to a verdict has shown nothing, however well its steps went: it is inconclusive.
pub fn exit_of(steps: impl IntoIterator<Item = Verdict>, tests: impl IntoIterator<Item = Verdict>) -> Exit {
    let tests: Vec<Verdict> = tests.into_iter().collect();
    let all: Vec<Verdict> = steps.into_iter().chain(tests.iter().copied()).collect();
    let any = |wanted: fn(&Verdict) -> bool| all.iter().any(wanted);
    if any(|verdict| *verdict == Verdict::NotRun(NotRunReason::Interrupted)) {
        Exit::Interrupted
    } else if any(|verdict| *verdict == Verdict::Fail) {
        Exit::Failed
    } else if any(|verdict| matches!(verdict, Verdict::Error(_) | Verdict::NotRun(_))) || !tests.contains(&Verdict::Pass) {
        Exit::Inconclusive
    } else {
        Exit::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Error, Fail, NotRun, Pass, Skip};

    #[test]
    fn every_verdict_is_counted_once() {
        let all = [Pass, Fail, Skip(SkipReason::NeedsNode), Error(ErrorReason::Denied), NotRun(NotRunReason::FailFast), Pass];
        let counts = Counts::of(all);
        assert_eq!(counts, Counts { selected: 6, pass: 2, fail: 1, skip: 1, error: 1, not_run: 1 });
    }

    #[test]
    fn the_exit_code_is_the_gravest_of_what_was_seen_and_nothing_seen_is_inconclusive() {
        let (denied, off) = (Error(ErrorReason::Denied), Skip(SkipReason::BehavioralTestsOff));
        let (blocked, interrupted) = (NotRun(NotRunReason::BlockedBy), NotRun(NotRunReason::Interrupted));
        assert_eq!(exit_of([Pass], [Pass, off]), Exit::Ok);
        assert_eq!(exit_of([Pass], [Pass, denied, Fail]), Exit::Failed);
        assert_eq!(exit_of([Pass], [Pass, denied]), Exit::Inconclusive);
        assert_eq!(exit_of([Pass], [Pass, blocked]), Exit::Inconclusive);
        assert_eq!(exit_of([Pass], [Pass, Fail, interrupted]), Exit::Interrupted);
        assert_eq!(exit_of([Pass], [off]), Exit::Inconclusive);
        assert_eq!(exit_of([Pass], []), Exit::Inconclusive);
        assert_eq!(exit_of([denied], [Pass]), Exit::Inconclusive);
        assert_eq!(exit_of([Fail], [Pass]), Exit::Failed);
    }

    #[test]
    fn only_a_skip_that_leaves_a_gap_narrows_the_scope() {
        assert_eq!(Scope::of([Pass, Skip(SkipReason::NotApplicable), Skip(SkipReason::NotDeclared)]), Scope::Full);
        assert_eq!(Scope::of([Pass, Skip(SkipReason::ByRequest)]), Scope::Structural);
        assert_eq!(Scope::of([Pass, Skip(SkipReason::ByRequest), Skip(SkipReason::NoCluster)]), Scope::ConstraintsOnly);
    }
}
