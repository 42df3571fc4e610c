//! What steps that run tests share: run them side by side or one by one, and sum up.

use futures::StreamExt;

use crate::checks::{self, Known, Phase};
use crate::error::Result;
use crate::results::{Counts, ErrorReason, NotRunReason, Outcome, SkipReason, TestResult, Verdict};
use crate::steps::StepCx;

/// How many read-only checks run side by side; each is a handful of list requests.
const SIDE_BY_SIDE: usize = 4;

/// Runs the checks of a phase: read-only ones side by side, then those that hold GPUs one by one.
///
/// # Errors
/// If the run's corner of the cluster cannot be opened.
pub(super) async fn run_checks(cx: &StepCx<'_>, ids: &[String], phase: Phase) -> Result<()> {
    let known: Vec<Known> = ids.iter().map(|id| checks::find(id)).collect::<Result<_>>()?;
    let creates = |known: &Known| matches!(known, Known::Built(check) if check.behavioural && cx.inputs.behavioral);
    let (serial, parallel): (Vec<Known>, Vec<Known>) = known.into_iter().partition(creates);
    let mut running = futures::stream::iter(parallel).map(|known| run_check(cx, known, phase)).buffer_unordered(SIDE_BY_SIDE);
    while let Some(result) = running.next().await {
        finish(cx, result?);
    }
    for known in serial {
        finish(cx, run_check(cx, known, phase).await?);
    }
    Ok(())
}

async fn run_check(cx: &StepCx<'_>, known: Known, phase: Phase) -> Result<TestResult> {
    if let Some(left_out) = cx.inputs.picked.left_out(known.id()) {
        return Ok(checks::untried(known, cx.spec.id.as_str(), phase, left_out));
    }
    let behavioural = matches!(known, Known::Built(check) if check.behavioural);
    let wants = if let Known::Built(check) = known { check.gpus } else { 0 };
    let mut check_cx = checks::Cx {
        cluster: cx.cluster.for_check(),
        recipe: &cx.inputs.recipe.recipe,
        vendor: cx.inputs.vendor()?,
        scratch: None,
        pods: &cx.inputs.pods,
        simulated: cx.run.hardware == crate::snapshot::Hardware::Simulated,
        without_containers: cx.run.without_containers,
        most_gpus: cx.inputs.max_gpus,
        ui: cx.ui,
    };
    if !(behavioural && cx.inputs.behavioral) {
        return Ok(checks::run(known, cx.spec.id.as_str(), phase, &check_cx).await);
    }
    if let Some(limit) = cx.inputs.max_gpus
        && wants > limit
    {
        let outcome = Outcome::skip(SkipReason::ByRequest, format!("wants {wants} GPUs, --max-gpus allows {limit}"));
        return Ok(checks::untried(known, cx.spec.id.as_str(), phase, outcome));
    }
    check_cx.scratch = Some(cx.scratch().await?);
    let lock = if wants > 0 { Some(cx.lock_gpus().await?) } else { None };
    let result = checks::run(known, cx.spec.id.as_str(), phase, &check_cx).await;
    if let Some(lock) = lock {
        lock.release(cx.cluster).await?;
    }
    Ok(result)
}

/// Keeps a result and shows its line.
pub(super) fn finish(cx: &StepCx<'_>, result: TestResult) {
    let explained = matches!(checks::find(&result.id), Ok(Known::Built(_)));
    crate::progress::test(cx.ui, &result, explained);
    cx.sink.test(result);
}

/// What tests add up to, as the outcome of their step. No tests at all is no pass.
pub(super) fn sum_up(tests: &[TestResult], nothing: &str) -> Outcome {
    let counts = Counts::of(tests.iter().map(|test| test.outcome.verdict));
    let passed = tests.iter().map(|test| test.outcome.assertions.passed).sum();
    let total = tests.iter().map(|test| test.outcome.assertions.total).sum();
    let words = [(counts.pass, "pass"), (counts.fail, "fail"), (counts.error, "error"), (counts.skip, "skip"), (counts.not_run, "not run")];
    let words: Vec<String> = words.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let message = format!("{} · {total} assertions", words.join(" · "));
    let first_error = tests.iter().find_map(|test| match test.outcome.verdict {
        Verdict::Error(reason) => Some(reason),
        _ => None,
    });
    let first_skip = tests.iter().find_map(|test| match test.outcome.verdict {
        Verdict::Skip(reason) => Some(reason),
        _ => None,
    });
    let verdict = match (counts, first_error, first_skip) {
        (Counts { selected: 0, .. }, _, _) => return Outcome::error(ErrorReason::NoSubject, nothing),
        (Counts { fail: 1.., .. }, _, _) => Verdict::Fail,
        (_, Some(reason), _) => Verdict::Error(reason),
        (Counts { not_run: 1.., .. }, _, _) => Verdict::NotRun(NotRunReason::Interrupted),
        (Counts { pass: 1.., .. }, _, _) => Verdict::Pass,
        (_, _, Some(reason)) => Verdict::Skip(reason),
        _ => return Outcome::error(ErrorReason::NoSubject, nothing),
    };
    let names = tests.iter().map(|test| test.id.clone()).collect();
    Outcome::new(verdict, message).seen("tests", names, counts.selected).asserted(passed, total)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn test(verdict: Verdict) -> TestResult {
        TestResult {
            id: "x".to_owned(),
            version: 1,
            step: "conformance".to_owned(),
            phase: "conformance".to_owned(),
            outcome: Outcome::new(verdict, ""),
            started_ms: 0,
            duration_ms: 0,
            retries: vec![],
        }
    }

    #[test]
    fn a_step_is_never_better_than_its_worst_test_and_no_test_is_no_pass() {
        use Verdict::{Error, Fail, Pass, Skip};
        let sum = |verdicts: &[Verdict]| sum_up(&verdicts.iter().map(|verdict| test(*verdict)).collect::<Vec<_>>(), "nothing").verdict;
        let (denied, off) = (Error(ErrorReason::Denied), Skip(SkipReason::BehavioralTestsOff));
        assert_eq!(sum(&[Pass, Fail, denied]), Fail);
        assert_eq!(sum(&[Pass, denied]), denied);
        assert_eq!(sum(&[Pass, off]), Pass);
        assert_eq!(sum(&[off]), off);
        assert_eq!(sum(&[]), Error(ErrorReason::NoSubject));
    }
}
