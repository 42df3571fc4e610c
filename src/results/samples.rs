//! A report with one of everything, for tests of the documents made of it.

use crate::digest::Digest;
use crate::results::{Counts, ErrorReason, NotRunReason, Outcome, RecipeRef, Report, Retry, Scope, SkipReason, StepResult, TestResult};
use crate::snapshot::Hardware;

fn test(id: &str, step: &str, phase: &str, outcome: Outcome, duration_ms: u64) -> TestResult {
    TestResult {
        id: id.to_owned(),
        version: 1,
        step: step.to_owned(),
        phase: phase.to_owned(),
        outcome,
        started_ms: 1_795_342_530_000,
        duration_ms,
        retries: Vec::new(),
    }
}

/// A simulated run with a pass, a flaky pass, a fail, a skip, an error and a test that did not run.
pub(crate) fn mixed() -> Report {
    let fail = Outcome::fail("node sim-node-4: label nvidia.com/gpu.count says 8, its ResourceSlice has 7 devices")
        .fix("look at the DRA driver on that node")
        .seen("nodes", vec!["sim-node-3".to_owned(), "sim-node-4".to_owned()], 2)
        .asserted(3, 4);
    let mut flaky = test(
        "dra-support",
        "conformance",
        "conformance",
        Outcome::pass("gpu-3 of pool sim-node-3 allocated, released after 0.8 s")
            .seen("pools", vec!["sim-node-3".to_owned()], 1)
            .asserted(9, 9)
            .measured("release_seconds", 0.8, "s"),
        4200,
    );
    flaky.retries.push(Retry { message: "the watch was cut".to_owned(), duration_ms: 12 });
    let tests = vec![
        test(
            "health/gpu-operator",
            "health",
            "deployment",
            Outcome::pass("6 statements about 1 object hold").seen("objects", vec!["deployment a/b".to_owned()], 1).asserted(6, 6),
            31,
        ),
        flaky,
        test("gpu-capacity", "conformance", "conformance", fail, 250),
        test(
            "secure-accelerator-access",
            "conformance",
            "conformance",
            Outcome::skip(SkipReason::NeedsNode, "no container runs on simulated nodes"),
            0,
        ),
        test(
            "platform-health",
            "conformance",
            "conformance",
            Outcome::error(ErrorReason::Denied, "list pods: the API server answers 403")
                .fix("`seatrial rbac` prints the roles that a run needs"),
            18,
        ),
        test("intent/training", "intent", "", Outcome::not_run(NotRunReason::BlockedBy, "conformance did not free its GPUs"), 0),
    ];
    let step = |id: &str, outcome: Outcome, duration_ms: u64| StepResult {
        id: id.to_owned(),
        outcome,
        duration_ms,
        counts: Counts::of(tests.iter().filter(|test| test.step == id).map(|test| test.outcome.verdict)),
    };
    let steps = vec![
        step("snapshot", Outcome::pass("4 nodes, 31 × H100 80GB (16 device plugin, 15 DRA)").asserted(4, 4), 1200),
        step("health", Outcome::pass("1 test, 6 statements").asserted(6, 6), 2100),
        step("conformance", Outcome::fail("1 pass, 1 fail, 1 skip, 1 error"), 21_700),
        step("intent", Outcome::not_run(NotRunReason::BlockedBy, "needs free GPUs"), 0),
    ];
    Report {
        api_version: "seatrial.dev/v1alpha1".to_owned(),
        kind: "Results".to_owned(),
        run: "20261122-101530-7f3a9c".to_owned(),
        workflow: "conformance".to_owned(),
        recipe: RecipeRef { name: "simulated".to_owned(), digest: Digest::of(b"recipe") },
        snapshot: Some(Digest::of(b"snapshot")),
        scope: Scope::of(tests.iter().map(|test| test.outcome.verdict)),
        hardware: Hardware::Simulated,
        counts: Counts::of(tests.iter().map(|test| test.outcome.verdict)),
        steps,
        tests,
        started_at: jiff::Timestamp::from_second(1_795_342_530).expect("is a time"),
        finished_at: jiff::Timestamp::from_second(1_795_342_571).expect("is a time"),
    }
}
