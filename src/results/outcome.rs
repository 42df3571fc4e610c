//! What one check found: a verdict with its reason, the subjects, the numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// Why something in the recipe was not looked at, or does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Needs a node that runs containers; this cluster has none.
    NeedsNode,
    /// Needs a real GPU; this cluster has none.
    NeedsGpu,
    /// Runs without a cluster.
    NoCluster,
    /// The check creates workloads and those were switched off.
    BehavioralTestsOff,
    /// Left out because the user said so.
    ByRequest,
    /// The recipe does not declare the capability.
    NotDeclared,
    /// Cannot apply to this cluster.
    NotApplicable,
    /// It does not hold, and the recipe only advises it.
    Advisory,
}

impl SkipReason {
    /// True if the skip leaves a gap in what the run can speak for; false if there is nothing to speak of.
    #[must_use]
    pub fn narrows_scope(self) -> bool {
        !matches!(self, Self::NotDeclared | Self::NotApplicable | Self::Advisory)
    }
}

/// Why a check could not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorReason {
    /// The API server refused a read or a write (401, 403).
    Denied,
    /// A deadline passed without a terminal signal.
    Timeout,
    /// A server could not be reached or answered 5xx.
    Unavailable,
    /// A container image could not be pulled.
    Image,
    /// No free GPU to look at.
    Busy,
    /// A known check that this version cannot run.
    Unsupported,
    /// Nothing to look at.
    NoSubject,
    /// A defect of seatrial or of its data.
    Harness,
}

/// Why something that was selected did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotRunReason {
    /// Something that it needs is missing because an earlier step did not succeed.
    BlockedBy,
    /// An earlier failure ended the run, as asked for.
    FailFast,
    /// The run was interrupted.
    Interrupted,
}

/// The verdict on one check or step. There is no default, and nothing converts into a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It was seen to hold.
    Pass,
    /// It was seen to be wrong.
    Fail,
    /// It was not looked at, for a reason from a closed list.
    Skip(SkipReason),
    /// It could not be told.
    Error(ErrorReason),
    /// It was selected and did not run.
    NotRun(NotRunReason),
}

impl Verdict {
    /// The word for it: `pass`, `fail`, `skip`, `error` or `not-run`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip(_) => "skip",
            Self::Error(_) => "error",
            Self::NotRun(_) => "not-run",
        }
    }

    /// The reason's id, where the verdict has one.
    #[must_use]
    pub fn reason(self) -> Option<String> {
        let value = match self {
            Self::Pass | Self::Fail => return None,
            Self::Skip(reason) => serde_json::to_value(reason),
            Self::Error(reason) => serde_json::to_value(reason),
            Self::NotRun(reason) => serde_json::to_value(reason),
        };
        value.ok().and_then(|value| value.as_str().map(str::to_owned))
    }
}

/// The verdict as it is written: two fields, `verdict` and `reason`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", content = "reason", rename_all = "kebab-case")]
enum Written {
    Pass,
    Fail,
    Skip(SkipReason),
    Error(ErrorReason),
    NotRun(NotRunReason),
}

impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Pass => Written::Pass,
            Self::Fail => Written::Fail,
            Self::Skip(reason) => Written::Skip(reason),
            Self::Error(reason) => Written::Error(reason),
            Self::NotRun(reason) => Written::NotRun(reason),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Pass => Self::Pass,
            Written::Fail => Self::Fail,
            Written::Skip(reason) => Self::Skip(reason),
            Written::Error(reason) => Self::Error(reason),
            Written::NotRun(reason) => Self::NotRun(reason),
        })
    }
}

impl JsonSchema for Verdict {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Verdict".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

/// What was looked at, out of what exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subjects {
    /// What they are: `nodes`, `GPUs`, `pods`, …
    pub kind: String,
    /// Names of those that were looked at, sorted.
    pub seen: Vec<String>,
    /// How many exist.
    pub exist: usize,
}

/// How many single statements were evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertions {
    /// Statements that held.
    pub passed: usize,
    /// Statements evaluated.
    pub total: usize,
}

/// A measured number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Name in snake_case, unit suffix as Prometheus has it, e.g. `release_seconds`.
    pub metric: String,
    /// The value.
    pub value: f64,
    /// The unit: `s`, `GB/s`, `1` for a count.
    pub unit: String,
    /// What it was held against, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The single values that it was put together from, by name of the subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// What was measured of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The subject, e.g. the name of a node; a pseudonym in evidence.
    pub subject: String,
    /// The value, in the unit of the measurement.
    pub value: f64,
}

/// What a reading was held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// What it must be, as the recipe says it.
    pub expected: String,
    /// What was read, and of whom.
    pub actual: String,
    /// Where it was read.
    pub source: String,
}

/// Something that was seen and is worth keeping: one line of `artifacts/<check>.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// What it is, in a few words.
    pub name: String,
    /// The kubectl command that shows the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What was seen.
    pub data: serde_json::Value,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The verdict and its reason.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Cause first, the object named; one line.
    pub message: String,
    /// What to do next, where something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What was looked at.
    #[serde(default)]
    pub subjects: Subjects,
    /// Statements evaluated.
    #[serde(default)]
    pub assertions: Assertions,
    /// Measured numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// For a constraint: expected and actual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// Things seen; written to their own file, so not part of the results document.
    #[serde(skip)]
    pub artifacts: Vec<Artifact>,
}

impl Outcome {
    /// Makes an outcome with a verdict and a message and nothing else.
    pub fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self {
            verdict,
            message: message.into(),
            fix: None,
            subjects: Subjects::default(),
            assertions: Assertions::default(),
            measurements: Vec::new(),
            compared: None,
            artifacts: Vec::new(),
        }
    }

    /// It was seen to hold.
    pub fn pass(message: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, message)
    }

    /// It was seen to be wrong.
    pub fn fail(message: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, message)
    }

    /// It was not looked at.
    pub fn skip(reason: SkipReason, message: impl Into<String>) -> Self {
        Self::new(Verdict::Skip(reason), message)
    }

    /// It could not be told.
    pub fn error(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self::new(Verdict::Error(reason), message)
    }

    /// It was selected and did not run.
    pub fn not_run(reason: NotRunReason, message: impl Into<String>) -> Self {
        Self::new(Verdict::NotRun(reason), message)
    }

    /// Says what to do next.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Says what was looked at, out of how many that exist.
    #[must_use]
    pub fn seen(mut self, kind: &str, mut seen: Vec<String>, exist: usize) -> Self {
        seen.sort();
        self.subjects = Subjects { kind: kind.to_owned(), seen, exist };
        self
    }

    /// Says how many statements were evaluated and how many held.
    #[must_use]
    pub fn asserted(mut self, passed: usize, total: usize) -> Self {
        self.assertions = Assertions { passed, total };
        self
    }

    /// Adds a measured number without a threshold.
    #[must_use]
    pub fn measured(mut self, metric: &str, value: f64, unit: &str) -> Self {
        self.measurements.push(Measurement {
            metric: metric.to_owned(),
            value,
            unit: unit.to_owned(),
            threshold: None,
            samples: Vec::new(),
        });
        self
    }

    /// Says what the last measured number was held against.
    #[must_use]
    pub fn held_against(mut self, threshold: f64) -> Self {
        if let Some(measurement) = self.measurements.last_mut() {
            measurement.threshold = Some(threshold);
        }
        self
    }

    /// Says what the last measured number was put together from, by subject.
    #[must_use]
    pub fn sampled(mut self, samples: impl IntoIterator<Item = (String, f64)>) -> Self {
        if let Some(measurement) = self.measurements.last_mut() {
            measurement.samples = samples.into_iter().map(|(subject, value)| Sample { subject, value }).collect();
            measurement.samples.sort_by(|a, b| a.subject.cmp(&b.subject));
        }
        self
    }

    /// Keeps something that was seen.
    #[must_use]
    pub fn artifact(mut self, name: &str, command: Option<&str>, data: serde_json::Value) -> Self {
        self.artifacts.push(Artifact { name: name.to_owned(), command: command.map(str::to_owned), data });
        self
    }

    /// A pass that looked at nothing, or left out something that exists, is not a pass: it becomes `error(no-subject)`.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        if self.verdict != Verdict::Pass {
            return self;
        }
        if self.assertions.total == 0 || self.subjects.seen.is_empty() {
            self.message = format!("nothing was looked at, so nothing was shown ({})", self.message);
            self.verdict = Verdict::Error(ErrorReason::NoSubject);
        } else if self.assertions.passed != self.assertions.total || self.subjects.seen.len() < self.subjects.exist {
            self.message = format!(
                "says pass, but {} of {} statements held and {} of {} {} were looked at ({})",
                self.assertions.passed,
                self.assertions.total,
                self.subjects.seen.len(),
                self.subjects.exist,
                self.subjects.kind,
                self.message
            );
            self.verdict = Verdict::Error(ErrorReason::Harness);
        }
        self
    }
}

impl From<&Error> for ErrorReason {
    fn from(error: &Error) -> Self {
        match error.kind() {
            Kind::Denied => Self::Denied,
            Kind::Timeout => Self::Timeout,
            Kind::Unavailable => Self::Unavailable,
            Kind::NotFound => Self::NoSubject,
            _ => Self::Harness,
        }
    }
}

impl From<Error> for Outcome {
    /// An error is never a verdict: the check could not tell. Cause and hints are kept.
    fn from(error: Error) -> Self {
        let mut outcome = if error.kind() == Kind::Interrupted {
            Self::not_run(NotRunReason::Interrupted, error.chain())
        } else {
            Self::error(ErrorReason::from(&error), error.chain())
        };
        outcome.fix = error.hints().first().cloned();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(count: usize, exist: usize) -> Outcome {
        Outcome::pass("x").seen("nodes", (0..count).map(|index| index.to_string()).collect(), exist)
    }

    #[test]
    fn a_pass_that_looked_at_nothing_or_stated_nothing_is_an_error() {
        for empty in [Outcome::pass("x"), seen(1, 1), Outcome::pass("x").asserted(1, 1)] {
            assert_eq!(empty.guarded().verdict, Verdict::Error(ErrorReason::NoSubject));
        }
        assert_eq!(seen(1, 1).asserted(1, 1).guarded().verdict, Verdict::Pass);
    }

    #[test]
    fn a_pass_with_a_statement_that_did_not_hold_or_a_subject_left_out_is_an_error() {
        for gap in [seen(1, 1).asserted(1, 2), seen(1, 2).asserted(1, 1)] {
            assert_eq!(gap.guarded().verdict, Verdict::Error(ErrorReason::Harness));
        }
    }

    #[test]
    fn only_a_pass_is_guarded_and_an_error_never_becomes_a_verdict() {
        assert_eq!(Outcome::fail("x").guarded().verdict, Verdict::Fail);
        let kinds = [(Kind::Denied, ErrorReason::Denied), (Kind::Timeout, ErrorReason::Timeout), (Kind::Internal, ErrorReason::Harness)];
        for (kind, reason) in kinds {
            assert_eq!(Outcome::from(Error::new(kind, "x")).verdict, Verdict::Error(reason));
        }
        assert_eq!(Outcome::from(Error::new(Kind::Interrupted, "x")).verdict, Verdict::NotRun(NotRunReason::Interrupted));
    }

    #[test]
    fn a_verdict_is_written_with_its_reason_and_read_back() {
        let written = serde_json::to_value(Outcome::skip(SkipReason::NeedsNode, "x")).expect("has a form");
        assert_eq!((&written["verdict"], &written["reason"]), (&"skip".into(), &"needs-node".into()));
        assert_eq!(serde_json::from_value::<Outcome>(written).expect("reads back").verdict, Verdict::Skip(SkipReason::NeedsNode));
    }
}
