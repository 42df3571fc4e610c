//! JUnit: one suite per step, for consumers that know nothing of skips with reasons.
//!
//! `error` and `not-run` become JUnit errors, and a report without any test holds an error, so that no consumer shows green by omission.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report as Junit, TestCase, TestCaseStatus, TestRerun, TestSuite};

use crate::error::{Error, Result};
use crate::results::{Outcome, Report, TestResult, Verdict};

/// Writes a report as JUnit XML; the same report gives the same bytes.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the XML cannot be written.
pub fn write(report: &Report) -> Result<String> {
    let mut junit = Junit::new(format!("seatrial {}", report.workflow));
    junit.set_time(elapsed(report));
    for step in &report.steps {
        let tests: Vec<&TestResult> = report.tests.iter().filter(|test| test.step == step.id).collect();
        let mut suite = suite(&step.id, report);
        suite.set_time(Duration::from_millis(step.duration_ms));
        if !step.explained(&report.tests) {
            suite.add_test_case(case(&step.id, &step.id, &step.outcome, step.duration_ms));
        }
        suite.add_test_cases(tests.into_iter().map(test_case));
        junit.add_test_suite(suite);
    }
    let strays: Vec<&TestResult> = report.tests.iter().filter(|test| report.steps.iter().all(|step| step.id != test.step)).collect();
    if !strays.is_empty() {
        let mut suite = suite("other", report);
        suite.add_test_cases(strays.into_iter().map(test_case));
        junit.add_test_suite(suite);
    }
    if junit.tests == 0 {
        let mut suite = suite("run", report);
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("no-subject").set_message("nothing was looked at, so nothing was shown");
        suite.add_test_case(TestCase::new("run", status));
        junit.add_test_suite(suite);
    }
    junit.to_string().map_err(|error| Error::internal("write JUnit").because(error))
}

fn suite(name: &str, report: &Report) -> TestSuite {
    let mut suite = TestSuite::new(name);
    let facts = [
        ("run", report.run.clone()),
        ("recipe", report.recipe.name.clone()),
        ("recipeDigest", report.recipe.digest.to_string()),
        ("scope", report.scope.word().to_owned()),
        ("hardware", report.hardware.word().to_owned()),
    ];
    suite.add_properties(facts.into_iter().map(|(name, value)| Property::new(name, value)));
    suite
}

fn test_case(test: &TestResult) -> TestCase {
    let class = if test.phase.is_empty() { test.step.clone() } else { format!("{}.{}", test.step, test.phase) };
    let mut case = case(&class, &test.id, &test.outcome, test.duration_ms);
    for retry in &test.retries {
        let mut rerun = TestRerun::new(NonSuccessKind::Error);
        rerun.set_type("transient").set_message(retry.message.clone()).set_time(Duration::from_millis(retry.duration_ms));
        case.status.add_rerun(rerun);
    }
    case
}

fn case(class: &str, name: &str, outcome: &Outcome, duration_ms: u64) -> TestCase {
    let mut status = match outcome.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Skip(_) => TestCaseStatus::skipped(),
        Verdict::Error(_) | Verdict::NotRun(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let kind = match (outcome.verdict, outcome.verdict.reason()) {
        (Verdict::NotRun(_), Some(reason)) => format!("not-run:{reason}"),
        (_, Some(reason)) => reason,
        (verdict, None) => verdict.word().to_owned(),
    };
    status.set_type(kind).set_message(outcome.message.clone());
    if let Some(fix) = &outcome.fix {
        status.set_description(format!("fix: {fix}"));
    }
    let mut case = TestCase::new(name, status);
    case.set_classname(class).set_assertions(outcome.assertions.total).set_time(Duration::from_millis(duration_ms));
    if !outcome.subjects.kind.is_empty() {
        let seen = format!("{} of {} {}", outcome.subjects.seen.len(), outcome.subjects.exist, outcome.subjects.kind);
        case.add_property(Property::new("seen", seen));
    }
    let measured =
        outcome.measurements.iter().map(|number| Property::new(number.metric.clone(), format!("{} {}", number.value, number.unit)));
    case.add_properties(measured);
    case
}

fn elapsed(report: &Report) -> Duration {
    Duration::try_from(report.finished_at.duration_since(report.started_at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;
    use quick_junit::TestCaseStatus;

    use super::*;
    use crate::results::samples;
    use crate::results::{ErrorReason, NotRunReason};

    fn statuses(report: &Report) -> Vec<(String, TestCaseStatus)> {
        let xml = write(report).expect("is written");
        let read = Junit::deserialize_from_str(&xml).expect("is JUnit");
        let cases = read.test_suites.into_iter().flat_map(|suite| suite.test_cases);
        cases.map(|case| (case.name.into_string(), case.status)).collect()
    }

    #[test]
    fn a_report_reads_as_the_golden_file() {
        expect_file!["golden/report.xml"].assert_eq(&write(&samples::mixed()).expect("is written"));
    }

    #[test]
    fn what_could_not_be_told_is_a_junit_error() {
        for verdict in [Verdict::Error(ErrorReason::Denied), Verdict::NotRun(NotRunReason::BlockedBy)] {
            let mut report = samples::mixed();
            report.tests.truncate(1);
            report.tests[0].outcome = Outcome::new(verdict, "no");
            let status = statuses(&report).into_iter().find(|(name, _)| *name == report.tests[0].id).expect("is there").1;
            assert!(matches!(status, TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. }), "{status:?}");
        }
    }

    #[test]
    fn a_step_that_failed_by_itself_is_a_case_of_its_own() {
        let mut report = samples::mixed();
        report.tests.retain(|test| test.outcome.verdict == Verdict::Pass);
        report.steps[1].outcome = Outcome::error(ErrorReason::Unavailable, "the API server went away");
        let found = statuses(&report).into_iter().find(|(name, _)| *name == report.steps[1].id);
        assert!(matches!(found, Some((_, TestCaseStatus::NonSuccess { .. }))), "{found:?}");
    }

    #[test]
    fn a_report_without_tests_or_with_stray_ones_is_not_green_by_omission() {
        let mut report = samples::mixed();
        report.steps.clear();
        assert_eq!(statuses(&report).len(), report.tests.len());
        report.tests.clear();
        assert!(matches!(&statuses(&report)[..], [(_, TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. })]));
    }

    #[test]
    fn text_from_a_cluster_cannot_break_the_document() {
        let mut report = samples::mixed();
        report.tests[0].outcome = Outcome::fail("</failure>]]>\u{1b}[31m\u{0}&lt;");
        let xml = write(&report).expect("is written");
        assert!(!xml.contains("</failure>]]>") && !xml.contains('\u{1b}'), "{xml}");
        statuses(&report);
    }
}
