//! Bundles that are sound as files and signed with the right key, and still do not tell one story.

use serde_json::{Value, json};

use seatrial::evidence::Files;
use seatrial::results::{Outcome, Scope, TestResult};
use seatrial::snapshot::{Hardware, Reading, Snapshot};
use seatrial::yaml;

use crate::sample::{Sample, Signed, change, ended};

async fn verdict(files: Files) -> (String, u8) {
    ended(&Signed::forged(files).verify().await)
}

#[tokio::test]
async fn results_that_were_made_up_are_found_by_recounting() {
    let failed = Sample::good().with("gpu-capacity", Outcome::fail("7 of 8 GPUs")).bundle();
    let lies: [(&str, &str, Value); 9] = [
        ("results.json", "/tests/1/verdict", json!("pass")),
        ("results.json", "/tests/1/version", json!(7)),
        ("results.json", "/counts/fail", json!(0)),
        ("results.json", "/steps/2/counts/pass", json!(2)),
        ("results.json", "/scope", json!("full")),
        ("evidence.json", "/checks/1/verdict", json!("pass")),
        ("evidence.json", "/counts/pass", json!(3)),
        ("evidence.json", "/scope", json!("full")),
        ("evidence.json", "/cluster/id", json!("another")),
    ];
    for (path, place, value) in lies {
        assert_eq!(verdict(change(&failed, path, place, value)).await, ("results".to_owned(), 21), "{path} {place}");
    }
    let mut files = failed.files().clone();
    files.remove("ctrf/conformance.json");
    assert_eq!(verdict(files).await, ("results".to_owned(), 21), "a CTRF document is missing");
    let mut files = failed.files().clone();
    files.insert("ctrf/extra.json".to_owned(), failed.files()["ctrf/health.json"].clone());
    assert_eq!(verdict(files).await, ("results".to_owned(), 21), "a CTRF document too many");
}

#[tokio::test]
async fn a_document_with_an_unknown_field_is_a_schema_error() {
    let good = Sample::good().bundle();
    for path in ["results.json", "evidence.json", "snapshot.json", "ctrf/health.json"] {
        let mut files = good.files().clone();
        let mut document: Value = serde_json::from_slice(&files[path]).expect("JSON");
        document["surprise"] = json!(1);
        files.insert(path.to_owned(), document.to_string().into_bytes());
        // The statement of such evidence cannot be built by us either; the signed one is that of the good bundle's files.
        let signed = forged_with_statement_of(&good, files);
        let (stage, code) = ended(&signed.verify().await);
        assert!((stage.as_str(), code) == ("results", 22), "{path}: {stage} {code}");
    }
}

/// Changed files under a statement whose predicate is that of another bundle.
fn forged_with_statement_of(good: &seatrial::evidence::Bundle, mut files: Files) -> Signed {
    use seatrial::evidence::{Bundle, MANIFEST, Manifest, directory, oci, statement::Statement};
    files.insert(MANIFEST.to_owned(), Manifest::of(&files).to_bytes().expect("a manifest"));
    let bundle = Bundle::from_files(files).expect("a bundle");
    let artifact = oci::artifact(bundle.files()).expect("a manifest").digest;
    let mut statement = Statement::of(good.files(), &artifact).expect("a statement");
    statement.subject[1].digest.insert("sha256".to_owned(), bundle.content_digest().hex().to_owned());
    let signed = Signed::unsigned(&bundle);
    let signature = signed.sign(&serde_json::to_vec(&statement).expect("JSON"));
    directory::write_signature(&signed.bundle(), &signature).expect("is written");
    signed
}

#[tokio::test]
async fn a_signed_predicate_that_says_more_than_the_bundle_is_found() {
    use seatrial::evidence::{
        directory,
        statement::{Statement, TestVerdict},
    };
    let failed = Sample::good().with("gpu-capacity", Outcome::fail("7 of 8 GPUs"));
    let signed = failed.signed();
    let bundle = failed.bundle();
    let artifact = bundle.artifact().expect("a manifest").digest;
    let mut statement = Statement::of(bundle.files(), &artifact).expect("a statement");
    statement.predicate.result = TestVerdict::Passed;
    let signature = signed.sign(&serde_json::to_vec(&statement).expect("JSON"));
    directory::write_signature(&signed.bundle(), &signature).expect("is written");
    assert_eq!(ended(&signed.verify().await), ("results".to_owned(), 21));
}

#[tokio::test]
async fn hardware_that_the_snapshot_does_not_show_is_found() {
    let mut sample = Sample::good();
    sample.report.hardware = Hardware::Real;
    assert_eq!(verdict(sample.bundle().files().clone()).await, ("replay".to_owned(), 21));

    let lie = |change: fn(&mut Snapshot)| {
        let mut sample = Sample::good();
        change(&mut sample.snapshot);
        sample.report.hardware = sample.snapshot.cluster.hardware;
        sample.report.snapshot = Some(seatrial::digest::Digest::of_json(&sample.snapshot).expect("a digest"));
        sample.bundle().files().clone()
    };
    assert_eq!(verdict(lie(|_| {})).await, (String::new(), 0), "nothing changed");
    assert_eq!(verdict(lie(|snapshot| snapshot.cluster.hardware = Hardware::Real)).await, ("replay".to_owned(), 21));
    let nodes = |snapshot: &mut Snapshot| {
        snapshot.cluster.hardware = Hardware::Real;
        let Reading::Value(nodes) = &mut snapshot.nodes else { panic!("nodes were read") };
        nodes.iter_mut().for_each(|node| node.hardware = Hardware::Real);
    };
    assert_eq!(verdict(lie(nodes)).await, ("replay".to_owned(), 21), "the marks are still there");
}

#[tokio::test]
async fn another_recipe_or_snapshot_than_the_one_that_was_run_is_found() {
    let good = Sample::good().bundle();
    let mut files = good.files().clone();
    let recipe = String::from_utf8(files["recipe.yaml"].clone()).expect("text").replace("h100", "h200");
    files.insert("recipe.yaml".to_owned(), recipe.into_bytes());
    assert_eq!(verdict(files).await, ("replay".to_owned(), 21));
    let files = change(&good, "snapshot.json", "/nodes/value/0/unschedulable", json!(true));
    assert_eq!(verdict(files).await, ("replay".to_owned(), 21));
}

#[tokio::test]
async fn a_wider_scope_than_the_verdicts_leave_is_found() {
    let mut sample = Sample::good();
    sample.report.scope = Scope::Full;
    assert_eq!(verdict(sample.bundle().files().clone()).await, ("results".to_owned(), 21));
}

#[tokio::test]
async fn a_constraint_that_the_shipped_snapshot_does_not_bear_out_is_found_and_one_that_is_missing_is_not_covered() {
    let with = |value: &str, outcome: Option<Outcome>| {
        let mut sample = Sample::good();
        sample.recipe.spec.constraints =
            vec![yaml::from_str(&format!("{{name: K8s.server.version, value: \"{value}\"}}"), "c").expect("one")];
        sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
        let id = "constraint/K8s.server.version".to_owned();
        let told = outcome.map(|outcome| TestResult::of(id, 1, "snapshot", "readiness", outcome));
        sample.report.tests.splice(0..0, told);
        sample.counted().bundle().files().clone()
    };
    let pass = || Outcome::pass("v1.35.4").seen("cluster", vec!["cluster".to_owned()], 1).asserted(1, 1);
    assert_eq!(verdict(with(">= 1.30", Some(pass()))).await, (String::new(), 0));
    assert_eq!(verdict(with(">= 1.40", Some(pass()))).await, ("replay".to_owned(), 21), "the snapshot says v1.35.4");
    assert_eq!(verdict(with(">= 1.30", None)).await, ("coverage".to_owned(), 13), "nobody judged it");
}
