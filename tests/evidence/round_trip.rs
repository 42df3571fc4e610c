//! A good bundle is verified, says exactly what it speaks for, and is the same every time.

use futures::executor::block_on;
use seatrial::evidence::sigstore::Envelope;
use seatrial::evidence::statement::{Statement, TestVerdict};
use seatrial::evidence::{SIGNATURE, directory};
use seatrial::publish;
use seatrial::results::{ErrorReason, NotRunReason, Outcome};
use seatrial::verify::{self, Request, Status, Word};

use crate::sample::{Sample, Signed, ended, verify_with};

const STAGES: [&str; 10] =
    ["locate", "fetch", "signature", "identity", "manifest", "subject", "results", "coverage", "replay", "freshness"];

#[tokio::test]
async fn a_good_bundle_is_verified_and_every_stage_says_what_it_found() {
    let signed = Sample::good().signed();
    let verification = signed.verify().await;
    let report = &verification.report;
    assert_eq!(ended(&verification), (String::new(), 0), "{report:#?}");
    let names: Vec<&str> = report.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, STAGES);
    assert!(report.stages.iter().all(|stage| !stage.found.is_empty()));
    assert_eq!(report.verdict, Word::Verified);
    assert_eq!(
        report.summary,
        "verified: conformance of recipe sim-h100, structural scope, SIMULATED hardware, 2 of 3 passed, 1 skipped; no proof of time (bare key)"
    );
    let facts = report.verified.as_ref().expect("something is verified");
    assert_eq!(facts.result, "WARNED");
    assert_eq!(facts.time.proven, None);
    assert_eq!(facts.out_of_scope, ["secure-accelerator-access (skip: needs-node)"]);
    assert_eq!(report.stages[9].status, Status::Warning);
    let evidence = verification.evidence.expect("verified evidence");
    assert_eq!(evidence.get().run, "20261122-101530-7f3a9c");
}

#[tokio::test]
async fn the_same_inputs_give_the_same_bundle_and_statement() {
    let (one, two) = (Sample::good().bundle(), Sample::good().bundle());
    assert_eq!(one, two);
    assert_eq!(one.artifact().expect("a manifest"), two.artifact().expect("a manifest"));
    assert_eq!(one.statement().expect("a statement"), two.statement().expect("a statement"));
    let paths: Vec<&str> = one.files().keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "artifacts/gpu-capacity.jsonl",
            "bom.cdx.json",
            "ctrf/conformance.json",
            "ctrf/health.json",
            "ctrf/snapshot.json",
            "evidence.json",
            "manifest.json",
            "plan.json",
            "recipe.yaml",
            "results.json",
            "snapshot.json"
        ]
    );
}

#[tokio::test]
async fn what_is_signed_can_be_rebuilt_from_the_directory_alone() {
    let sample = Sample::good();
    let signed = sample.signed();
    let found = directory::read(&signed.bundle()).expect("reads");
    assert_eq!(found.files, *sample.bundle().files());
    let envelope = Envelope::parse(&found.signature.expect("is signed")).expect("reads");
    let payload = envelope.verify(&signed.key()).expect("verifies");
    assert_eq!(payload, sample.bundle().statement().expect("a statement"));
    let statement = Statement::parse(payload).expect("reads");
    assert!(statement.is_about(sample.bundle().content_digest()));
    assert!(statement.is_about(&sample.bundle().artifact().expect("a manifest").digest));
    let predicate = statement.predicate;
    assert_eq!(predicate.result, TestVerdict::Warned);
    assert_eq!(predicate.passed_tests, ["gpu-capacity", "platform-health"]);
    assert_eq!(predicate.warned_tests, ["secure-accelerator-access"]);
    let names: Vec<&str> = predicate.configuration.iter().map(|resource| resource.name.as_str()).collect();
    let expected = ["recipe/sim-h100", "workflow/conformance", "evidence.json", "bom.cdx.json", "tool/seatrial", "snapshot.json"];
    assert_eq!(names, [&expected[..], &["image/registry.example.com/driver:1.2"]].concat());
}

#[tokio::test]
async fn a_failed_run_ends_with_1_and_an_inconclusive_one_with_3_and_both_keep_what_is_verified() {
    let cases = [
        (Outcome::fail("node sim-2 has 7 of 8 GPUs"), 1, "gpu-capacity"),
        (Outcome::error(ErrorReason::Denied, "list nodes: 403"), 3, "gpu-capacity"),
        (Outcome::not_run(NotRunReason::BlockedBy, "health failed"), 3, "gpu-capacity"),
    ];
    for (outcome, code, name) in cases {
        let signed = Sample::good().with("gpu-capacity", outcome).signed();
        let verification = signed.verify().await;
        assert_eq!(ended(&verification), ("results".to_owned(), code));
        let report = &verification.report;
        assert_eq!(report.verdict, Word::Rejected);
        assert!(report.summary.contains(name), "{}", report.summary);
        assert_eq!(report.verified.as_ref().expect("it is signed").result, "FAILED");
        assert!(verification.evidence.is_none());
        assert!(report.stages.iter().all(|stage| stage.status != Status::NotRun), "what it says is still looked at");
    }
}

#[tokio::test]
async fn a_step_that_went_wrong_without_any_test_is_not_passed_over() {
    let mut sample = Sample::good();
    sample.report.steps[0].outcome = Outcome::error(ErrorReason::Timeout, "the API server did not answer");
    let verification = sample.signed().verify().await;
    assert_eq!(ended(&verification), ("results".to_owned(), 3));
    assert!(verification.report.summary.contains("step snapshot"), "{}", verification.report.summary);
}

#[tokio::test]
async fn a_declared_check_that_is_not_in_the_results_is_a_gap() {
    let verification = Sample::good().without("secure-accelerator-access").signed().verify().await;
    assert_eq!(ended(&verification), ("coverage".to_owned(), 13));
    assert!(verification.report.summary.contains("secure-accelerator-access is not in the results"));
}

#[tokio::test]
async fn health_files_without_tests_are_a_gap() {
    let mut sample = Sample::good();
    sample.recipe.spec.health = vec!["health/driver.yaml".into()];
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    let verification = sample.signed().verify().await;
    assert_eq!(ended(&verification), ("coverage".to_owned(), 13));
    assert!(verification.report.summary.contains("1 health files gave 0 tests"), "{}", verification.report.summary);
}

#[tokio::test]
async fn a_recipe_that_declares_nothing_is_not_covered() {
    let mut sample = Sample::good();
    sample.recipe.spec.checks = seatrial::recipe::Phases::default();
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    assert_eq!(ended(&sample.signed().verify().await), ("coverage".to_owned(), 13));
}

#[tokio::test]
async fn without_a_signature_it_is_unsigned_and_integrity_alone_never_says_verified() {
    let signed = Signed::unsigned(&Sample::good().bundle());
    let verification = signed.verify().await;
    assert_eq!(ended(&verification), ("signature".to_owned(), 10));
    assert!(verification.report.verified.is_none() && verification.report.claimed.evidence.is_none());

    for signed in [signed, Sample::good().signed()] {
        let input = signed.bundle().display().to_string();
        let request = Request::new(input, verify::Expected::IntegrityOnly, seatrial::registry::Options::default());
        let verification = verify::verify(request).await;
        assert_eq!(ended(&verification), (String::new(), 0));
        let report = &verification.report;
        assert_eq!(report.verdict, Word::IntactNotVerified);
        assert!(report.summary.starts_with("intact, NOT verified"), "{}", report.summary);
        assert!(report.verified.is_none() && report.claimed.evidence.is_some() && verification.evidence.is_none());
    }
}

#[tokio::test]
async fn a_signature_by_another_key_names_both_keys() {
    let (signed, other) = (Sample::good().signed(), Sample::good().signed());
    let verification = verify_with(&signed.bundle().display().to_string(), other.key()).await;
    assert_eq!(ended(&verification), ("identity".to_owned(), 11));
    let found = &verification.report.stages[3].found;
    for key in [signed.key(), other.key()] {
        assert!(found.contains(key.id().as_str()), "{found}");
    }
    assert!(verification.report.verified.is_none());
}

#[tokio::test]
async fn signing_again_keeps_the_signature_and_another_key_does_not_replace_it() {
    let signed = Sample::good().signed();
    let before = std::fs::read(signed.bundle().join(SIGNATURE)).expect("is there");
    assert_eq!(block_on(publish::sign(&signed.bundle(), &signed.signer)).expect("is signed already").1.bundle, before);
    let other = Sample::good().signed();
    let error = block_on(publish::sign(&signed.bundle(), &other.signer)).expect_err("is refused");
    assert_eq!(error.kind(), seatrial::error::Kind::Usage);
    assert_eq!(std::fs::read(signed.bundle().join(SIGNATURE)).expect("is there"), before);
}

#[tokio::test]
async fn text_from_evidence_cannot_steer_the_terminal() {
    let mut sample = Sample::good();
    sample.report.tests[1].id = "evil\u{1b}[2J\nverified".to_owned();
    sample.report.tests[1].outcome = Outcome::fail("boo");
    let verification = sample.counted().signed().verify().await;
    let report = &verification.report;
    let texts = report.stages.iter().map(|stage| &stage.found).chain([&report.summary]);
    assert!(texts.clone().all(|text| !text.chars().any(char::is_control)), "{report:#?}");
    assert!(texts.clone().any(|text| text.contains("evil")));
}
