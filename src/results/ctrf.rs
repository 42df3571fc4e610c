//! CTRF, the Common Test Report Format: the one writer and the one reader, one document per step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, canonical_json};
use crate::error::{Error, Kind, Result};
use crate::results::{Assertions, Compared, Counts, Measurement, RecipeRef, Report, Scope, StepResult, Subjects, TestResult, Verdict};
use crate::snapshot::Hardware;

/// The version of the format that is written.
const SPEC_VERSION: &str = "0.0.1";
/// What `generatedBy` and the tool's name say.
const TOOL: &str = "seatrial";

/// What a CTRF document of ours says, recomputed from its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ctrf {
    /// The step's id.
    pub step: String,
    /// What came of the step as a whole.
    pub verdict: Verdict,
    /// The tests, in the order of the document.
    pub tests: Vec<Test>,
    /// Totals of the tests; the document's summary agrees with them.
    pub counts: Counts,
}

/// One test of a CTRF document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The id.
    pub id: String,
    /// The version of the verdict logic.
    pub version: u32,
    /// The phase.
    pub phase: String,
    /// The verdict with its reason.
    pub verdict: Verdict,
}

/// Writes the document of one step. The same step and tests give the same bytes.
///
/// # Errors
/// [`Kind::Internal`] if a test belongs to another step.
pub fn write<'a>(step: &StepResult, tests: impl IntoIterator<Item = &'a TestResult>) -> Result<Vec<u8>> {
    let tests: Vec<&TestResult> = tests.into_iter().collect();
    if let Some(stray) = tests.iter().find(|test| test.step != step.id) {
        return Err(Error::internal(format!("test {} of step {} in the CTRF document of step {}", stray.id, stray.step, step.id)));
    }
    let cases: Vec<Case> = tests.iter().map(|test| Case::of(test)).collect();
    let summary = Summary {
        flaky: tests.iter().filter(|test| test.flaky()).count(),
        // A step without tests has no times of its own; the format wants numbers.
        start: tests.iter().map(|test| test.started_ms).min().unwrap_or(0),
        stop: tests.iter().map(|test| test.started_ms + test.duration_ms).max().unwrap_or(0),
        ..Summary::of(cases.iter().map(|case| case.status))
    };
    let tool = Tool { name: TOOL.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let extra = ResultsExtra { step: step.id.clone(), verdict: step.outcome.verdict, message: step.outcome.message.clone() };
    canonical_json(&Document {
        report_format: Format::Ctrf,
        spec_version: SPEC_VERSION.to_owned(),
        generated_by: TOOL.to_owned(),
        results: Results { tool, summary, tests: cases, extra },
    })
}

/// Reads a document that [`write()`] made and recomputes its totals.
///
/// # Errors
/// [`Kind::Schema`] if it is not such a document; [`Kind::Integrity`] if it contradicts itself.
pub fn read(bytes: &[u8]) -> Result<Ctrf> {
    let document: Document<ResultsExtra> =
        serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Schema, "read a CTRF document").because(error))?;
    let Results { summary, tests: cases, extra, .. } = document.results;
    let tests = cases.iter().map(|case| case.read(&extra.step)).collect::<Result<Vec<Test>>>()?;
    let seen = Summary::of(cases.iter().map(|case| case.status));
    let flaky = cases.iter().filter(|case| case.flaky).count();
    if (Summary { start: summary.start, stop: summary.stop, flaky, ..seen }) != summary {
        return Err(Error::new(Kind::Integrity, format!("the summary of step {} disagrees with its tests", extra.step)));
    }
    let counts = Counts::of(tests.iter().map(|test| test.verdict));
    Ok(Ctrf { step: extra.step, verdict: extra.verdict, tests, counts })
}

/// Writes one document about a whole run, as users of the incumbent expect it of `validate`; steps that say more than their tests
/// are tests of it too.
///
/// # Errors
/// Never in practice; the document always has a JSON form.
pub fn whole(report: &Report) -> Result<Vec<u8>> {
    let steps = report.steps.iter().filter(|step| !step.explained(&report.tests) && !matches!(step.outcome.verdict, Verdict::Pass));
    let steps = steps.map(|step| TestResult {
        duration_ms: step.duration_ms,
        started_ms: u64::try_from(report.started_at.as_millisecond()).unwrap_or(0),
        ..TestResult::of(step.id.clone(), 1, &step.id, "", step.outcome.clone())
    });
    let steps: Vec<TestResult> = steps.collect();
    let tests = || report.tests.iter().chain(&steps);
    let cases: Vec<Case> = tests().map(Case::of).collect();
    let summary = Summary {
        flaky: tests().filter(|test| test.flaky()).count(),
        start: u64::try_from(report.started_at.as_millisecond()).unwrap_or(0),
        stop: u64::try_from(report.finished_at.as_millisecond()).unwrap_or(0),
        ..Summary::of(cases.iter().map(|case| case.status))
    };
    let exit = report.exit();
    let extra = RunExtra {
        run: report.run.clone(),
        verdict: exit.name().to_owned(),
        exit: exit.code(),
        scope: report.scope,
        hardware: report.hardware,
        recipe: report.recipe.clone(),
        snapshot: report.snapshot.clone(),
    };
    let tool = Tool { name: TOOL.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    canonical_json(&Document {
        report_format: Format::Ctrf,
        spec_version: SPEC_VERSION.to_owned(),
        generated_by: TOOL.to_owned(),
        results: Results { tool, summary, tests: cases, extra },
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document<E> {
    report_format: Format,
    spec_version: String,
    generated_by: String,
    results: Results<E>,
}

/// What a run came to, beside its tests.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunExtra {
    run: String,
    verdict: String,
    exit: u8,
    scope: Scope,
    hardware: Hardware,
    recipe: RecipeRef,
    snapshot: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "CTRF")]
    Ctrf,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Results<E> {
    tool: Tool,
    summary: Summary,
    tests: Vec<Case>,
    extra: E,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    name: String,
    version: String,
}

/// The step as a whole: a step can go wrong without a single test.
#[derive(Serialize, Deserialize)]
struct ResultsExtra {
    step: String,
    #[serde(flatten)]
    verdict: Verdict,
    message: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary {
    tests: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
    pending: usize,
    other: usize,
    flaky: usize,
    start: u64,
    stop: u64,
}

impl Summary {
    fn of(statuses: impl IntoIterator<Item = Status>) -> Self {
        let mut summary = Self::default();
        for status in statuses {
            summary.tests += 1;
            *match status {
                Status::Passed => &mut summary.passed,
                Status::Failed => &mut summary.failed,
                Status::Skipped => &mut summary.skipped,
                Status::Pending => &mut summary.pending,
                Status::Other => &mut summary.other,
            } += 1;
        }
        summary
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Passed,
    Failed,
    Skipped,
    Pending,
    Other,
}

impl From<Verdict> for Status {
    /// CTRF has no word for "could not tell": `other` is what its consumers count as neither good nor left out.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Passed,
            Verdict::Fail => Self::Failed,
            Verdict::Skip(_) => Self::Skipped,
            Verdict::Error(_) => Self::Other,
            Verdict::NotRun(_) => Self::Pending,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    status: Status,
    raw_status: String,
    suite: Vec<String>,
    message: String,
    duration: u64,
    start: u64,
    stop: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    retries: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retry_attempts: Vec<Attempt>,
    flaky: bool,
    extra: CaseExtra,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    attempt: usize,
    status: Status,
    duration: u64,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseExtra {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    subjects: Subjects,
    assertions: Assertions,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    measurements: Vec<Measurement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compared: Option<Compared>,
}

impl Case {
    fn of(test: &TestResult) -> Self {
        let outcome = &test.outcome;
        let attempts = test.retries.iter().zip(1..).map(|(retry, attempt)| Attempt {
            attempt,
            // Only transient errors are tried again, and an error is `other`.
            status: Status::Other,
            duration: retry.duration_ms,
            message: retry.message.clone(),
        });
        Self {
            name: test.id.clone(),
            status: outcome.verdict.into(),
            raw_status: outcome.verdict.word().to_owned(),
            suite: vec![test.step.clone(), test.phase.clone()],
            message: outcome.message.clone(),
            duration: test.duration_ms,
            start: test.started_ms,
            stop: test.started_ms + test.duration_ms,
            retries: test.retries.len(),
            retry_attempts: attempts.collect(),
            flaky: test.flaky(),
            extra: CaseExtra {
                version: test.version,
                reason: outcome.verdict.reason(),
                fix: outcome.fix.clone(),
                subjects: outcome.subjects.clone(),
                assertions: outcome.assertions,
                measurements: outcome.measurements.clone(),
                compared: outcome.compared.clone(),
            },
        }
    }

    fn read(&self, step: &str) -> Result<Test> {
        let wrong = |kind, what: &str| Error::new(kind, format!("CTRF test {} of step {step} {what}", self.name));
        let mut written = serde_json::json!({"verdict": self.raw_status});
        if let Some(reason) = &self.extra.reason {
            written["reason"] = reason.as_str().into();
        }
        let verdict: Verdict = serde_json::from_value(written)
            .map_err(|error| wrong(Kind::Schema, "has no verdict that this version knows").because(error))?;
        if self.status != Status::from(verdict) || verdict.reason() != self.extra.reason {
            return Err(wrong(Kind::Integrity, "has a status that contradicts its raw status"));
        }
        if self.retries != self.retry_attempts.len() || self.flaky != (verdict == Verdict::Pass && self.retries > 0) {
            return Err(wrong(Kind::Integrity, "has retries that contradict its attempts"));
        }
        let [suite, phase] = self.suite.as_slice() else {
            return Err(wrong(Kind::Schema, "has a suite that is not [step, phase]"));
        };
        if suite != step {
            return Err(wrong(Kind::Integrity, "belongs to another step"));
        }
        Ok(Test { id: self.name.clone(), version: self.extra.version, phase: phase.clone(), verdict })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::results::{ErrorReason, NotRunReason, Outcome, Retry, SkipReason};

    fn test(id: &str, outcome: Outcome) -> TestResult {
        TestResult {
            id: id.to_owned(),
            version: 2,
            step: "conformance".to_owned(),
            phase: "conformance".to_owned(),
            outcome,
            started_ms: 1_000,
            duration_ms: 50,
            retries: Vec::new(),
        }
    }

    fn step(outcome: Outcome) -> StepResult {
        StepResult { id: "conformance".to_owned(), outcome, duration_ms: 60, counts: Counts::default() }
    }

    fn five() -> Vec<TestResult> {
        let passed =
            Outcome::pass("4 of 4 nodes agree").seen("nodes", vec!["a".to_owned()], 1).asserted(1, 1).measured("release_seconds", 1.5, "s");
        let mut flaky = test("gpu-capacity", passed);
        flaky.retries.push(Retry { message: "the API server answered 503".to_owned(), duration_ms: 10 });
        vec![
            flaky,
            test("dra-support", Outcome::fail("no claim was allocated").fix("look at the driver")),
            test("secure-access", Outcome::skip(SkipReason::NeedsNode, "no container runs here")),
            test("platform-health", Outcome::error(ErrorReason::Denied, "list pods: 403")),
            test("gang-scheduling", Outcome::not_run(NotRunReason::BlockedBy, "setup failed")),
        ]
    }

    fn schema() -> jsonschema::Validator {
        let schema: Value = serde_json::from_str(include_str!("../../schemas/ctrf.json")).expect("a JSON document");
        jsonschema::validator_for(&schema).expect("a JSON Schema")
    }

    fn assert_valid(bytes: &[u8]) -> Value {
        let document: Value = serde_json::from_slice(bytes).expect("JSON");
        let errors: Vec<String> = schema().iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        document
    }

    #[test]
    fn all_five_verdicts_are_schema_valid_and_read_back_with_their_reasons() {
        let tests = five();
        let bytes = write(&step(Outcome::fail("1 of 5 failed")), &tests).expect("is written");
        let document = assert_valid(&bytes);
        assert_eq!(
            document["results"]["summary"],
            json!({"tests": 5, "passed": 1, "failed": 1, "skipped": 1, "pending": 1, "other": 1, "flaky": 1, "start": 1000, "stop": 1050})
        );
        assert_eq!(document["results"]["tests"][0]["retryAttempts"][0]["attempt"], 1);
        let read = read(&bytes).expect("reads");
        assert_eq!(read.counts, Counts { selected: 5, pass: 1, fail: 1, skip: 1, error: 1, not_run: 1 });
        assert_eq!(read.verdict, Verdict::Fail);
        for (written, read) in tests.iter().zip(&read.tests) {
            assert_eq!((&written.id, written.version, written.outcome.verdict), (&read.id, read.version, read.verdict));
        }
        assert_eq!(write(&step(Outcome::fail("1 of 5 failed")), &tests).expect("is written"), bytes, "same input, same bytes");
    }

    #[test]
    fn a_step_without_tests_has_an_empty_list_and_keeps_its_verdict() {
        let bytes = write(&step(Outcome::error(ErrorReason::Timeout, "nothing settled")), []).expect("is written");
        assert_eq!(assert_valid(&bytes)["results"]["tests"], json!([]));
        assert_eq!(read(&bytes).expect("reads").verdict, Verdict::Error(ErrorReason::Timeout));
    }

    #[test]
    fn a_document_that_contradicts_itself_is_an_integrity_error() {
        let bytes = write(&step(Outcome::fail("1 of 5 failed")), &five()).expect("is written");
        let good: Value = serde_json::from_slice(&bytes).expect("JSON");
        let wrong: [(&str, Value); 6] = [
            ("/results/summary/passed", json!(5)),
            ("/results/summary/flaky", json!(0)),
            ("/results/tests/1/status", json!("passed")),
            ("/results/tests/1/suite/0", json!("health")),
            ("/results/tests/0/flaky", json!(false)),
            ("/results/tests/0/retries", json!(3)),
        ];
        for (place, value) in wrong {
            let mut bad = good.clone();
            *bad.pointer_mut(place).expect("is there") = value;
            assert_eq!(read(bad.to_string().as_bytes()).expect_err(place).kind(), Kind::Integrity, "{place}");
        }
    }

    #[test]
    fn an_unknown_verdict_reason_or_field_is_a_schema_error() {
        let bytes = write(&step(Outcome::fail("1 of 5 failed")), &five()).expect("is written");
        let good: Value = serde_json::from_slice(&bytes).expect("JSON");
        for (place, value) in
            [("/results/tests/1/rawStatus", "splendid"), ("/results/tests/2/extra/reason", "lazy"), ("/reportFormat", "JUnit")]
        {
            let mut bad = good.clone();
            *bad.pointer_mut(place).expect("is there") = value.into();
            assert_eq!(read(bad.to_string().as_bytes()).expect_err(place).kind(), Kind::Schema, "{place}");
        }
        let mut bad = good;
        bad["results"]["tests"][0]["surprise"] = json!(1);
        assert_eq!(read(bad.to_string().as_bytes()).expect_err("is refused").kind(), Kind::Schema);
    }
}
