//! `seatrial evidence show | list | diff | digest`: what evidence says of itself, marked as what it is.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use serde_json::{Value, json};

use seatrial::digest::Digest;
use seatrial::publish::{Target, publish};
use seatrial::registry::Options;
use seatrial::results::Outcome;

use crate::registry_server::{Flavour, RegistryServer};
use crate::sample::{Sample, Signed, pointer_to};

fn seatrial(arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("seatrial").expect("the program");
    for name in ["GITHUB_ACTIONS", "SEATRIAL_PUBLIC_KEY", "SEATRIAL_KEY", "SEATRIAL_UI", "SEATRIAL_PLAIN_HTTP"] {
        command.env_remove(name);
    }
    command.args(["evidence"]).args(arguments).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn json_of(arguments: &[&str]) -> Value {
    let output = seatrial(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn assert_shows(output: &Output, parts: &[&str]) {
    let shown = text(&output.stdout);
    for part in parts {
        assert!(shown.contains(part), "{part}\n{shown}{}", text(&output.stderr));
    }
}

/// A pointer in a file, where pointers are.
fn write_pointer(sample: &Sample, folder: &Path) -> String {
    let pointer = pointer_to(&sample.bundle());
    let file = folder.join(pointer.path().expect("a path"));
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("is made");
    std::fs::write(&file, pointer.to_yaml().expect("YAML")).expect("is written");
    file.display().to_string()
}

#[test]
fn show_tells_what_a_bundle_claims_and_that_nothing_is_verified() {
    let mut sample = Sample::good();
    sample.report.tests[1].outcome = sample.report.tests[1].outcome.clone().held_against(12.0).sampled([("sim-1".to_owned(), 8.0)]);
    let signed = sample.signed();
    let folder = signed.bundle().display().to_string();
    let output = seatrial(&["show", &folder]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_shows(
        &output,
        &[
            "claimed, nothing is verified",
            "recipe     sim-h100 sha256:",
            "result     ok: 2 of 3 passed, 1 skipped",
            "structural on simulated hardware",
            "redaction  policy full, 0 things",
            "gpus 16 (against 12), 1 samples",
            "skip (needs-node)",
        ],
    );
    let shown = json_of(&["show", &folder, "-t", "json"]);
    assert_eq!(shown["verified"], Value::Null);
    assert_eq!(shown["claimed"]["evidence"]["recipe"]["name"], "sim-h100");
    assert_eq!(shown["claimed"]["contentDigest"], sample.bundle().content_digest().as_str());
    // A bundle that was changed is not shown as if it were one.
    std::fs::write(signed.bundle().join("plan.json"), "{}").expect("is written");
    assert_eq!(seatrial(&["show", &folder]).status.code(), Some(21));
}

#[test]
fn a_pointer_is_shown_and_listed_without_fetching_anything() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = write_pointer(&Sample::good(), folder.path());
    let output = seatrial(&["show", "--offline", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_shows(&output, &["claimed, nothing is verified", "sim-h100", "ghcr.io/example/evidence", "signer", "key "]);
    // What says that it is something else is left alone; what says nothing is named.
    std::fs::write(folder.path().join("other.yaml"), "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\n").expect("is written");
    std::fs::write(folder.path().join("allowlist.yaml"), "schemaVersion: 1.0.0\nfirstParty: []\n").expect("is written");
    let list = || seatrial(&["list", &folder.path().display().to_string()]);
    let output = list();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_shows(&output, &["RECIPE    DIGEST               CLAIMED SIGNER", "sim-h100  sha256:", "simulated  2026-11-22T10:16:04Z"]);
    let rows = json_of(&["list", &folder.path().display().to_string(), "-t", "json"]);
    assert_eq!((&rows["claimed"][0]["recipe"], &rows["claimed"][0]["format"]), (&json!("sim-h100"), &json!("seatrial")));
    std::fs::write(folder.path().join("broken.yaml"), "kind: EvidencePointer\n").expect("is written");
    let output = list();
    assert_eq!(output.status.code(), Some(22));
    assert_shows(&output, &["sim-h100"]);
    assert!(text(&output.stderr).contains("broken.yaml"), "{}", text(&output.stderr));
    assert_eq!(seatrial(&["list", "/nonexistent"]).status.code(), Some(2));
}

#[test]
fn diff_tells_verdicts_numbers_and_what_else_is_another() {
    let before = Sample::good().signed();
    let fewer = Outcome::fail("15 of 16 GPUs").seen("nodes", vec!["sim-1".to_owned()], 2).asserted(1, 2).measured("gpus", 15.0, "1");
    let mut sample = Sample::good().with("gpu-capacity", fewer);
    sample.snapshot.cluster.version = seatrial::snapshot::Reading::Value("v1.36.0".to_owned());
    sample.report.snapshot = Some(Digest::of_json(&sample.snapshot).expect("a digest"));
    let after = sample.signed();
    let (a, b) = (before.bundle().display().to_string(), after.bundle().display().to_string());
    let output = seatrial(&["diff", &a, &b]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_shows(
        &output,
        &["gpu-capacity: pass → fail", "gpu-capacity gpus: gpus 16 → gpus 15", "kubernetes: v1.35.4 → v1.36.0", "cluster.version"],
    );
    assert_eq!(seatrial(&["diff", "--fail-on-change", &a, &b]).status.code(), Some(1));
    assert_eq!(seatrial(&["diff", "--fail-on-change", &a, &a]).status.code(), Some(0));
    assert_shows(&seatrial(&["diff", &a, &a]), &["no difference"]);
    let found = json_of(&["diff", &a, &b, "-t", "json"]);
    assert_eq!(found["verdicts"], json!([{"name": "gpu-capacity", "before": "pass", "after": "fail"}]));
    let mut sample = Sample::good();
    sample.recipe.spec.vendor = "nvidia".to_owned();
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    let other = sample.signed().bundle();
    drop(other);
    let third = sample.signed();
    let found = json_of(&["diff", &a, &third.bundle().display().to_string(), "-t", "json"]);
    assert_eq!(found["recipe"], json!(["-   vendor: simulated", "+   vendor: nvidia"]));
}

#[tokio::test]
async fn show_and_diff_take_layouts_and_references_as_they_take_directories() {
    let signed = Sample::good().signed();
    let (folder, packed) = (signed.bundle().display().to_string(), |name: &str| signed.root().join(name).display().to_string());
    let mut inputs = Vec::new();
    for name in ["evidence.tar", "layout"] {
        let output = seatrial(&["pack", &folder, "-o", &packed(name)]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        inputs.push(packed(name));
    }
    if let Some(server) = RegistryServer::start(Flavour::Native) {
        let options = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
        let reference = format!("{}/team/evidence", server.address).parse().expect("a name");
        let target = Target::new(reference, options, signed.root().join("evidence"));
        let published = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
        inputs.push(format!("oci://{}@{}", target.repository, published.digest));
        compare(&folder, &inputs);
    } else {
        compare(&folder, &inputs);
    }
    // A layout is held against its digests, too.
    let blob = signed
        .root()
        .join("layout/blobs/sha256")
        .join(Digest::of(&std::fs::read(signed.bundle().join("plan.json")).expect("is there")).hex());
    std::fs::write(blob, "{}").expect("is written");
    assert_eq!(seatrial(&["show", &packed("layout")]).status.code(), Some(21));
    assert_eq!(seatrial(&["diff", &folder, &packed("layout")]).status.code(), Some(21));
}

/// The same is said of a bundle wherever it is.
#[track_caller]
fn compare(folder: &str, inputs: &[String]) {
    let expected = json_of(&["show", folder, "-t", "json"]);
    for input in inputs {
        assert_eq!(json_of(&["show", "--plain-http", input, "-t", "json"]), expected, "{input}");
        assert_shows(&seatrial(&["diff", "--plain-http", folder, input]), &["no difference"]);
        assert_shows(&seatrial(&["diff", "--plain-http", input, folder]), &["no difference"]);
    }
}

#[test]
fn digest_computes_of_a_directory_and_repeats_of_a_pointer() {
    let sample = Sample::good();
    let signed = sample.signed();
    let bundle = sample.bundle();
    let expected = format!("content   {}\nartifact  {}\n", bundle.content_digest(), bundle.artifact().expect("a manifest").digest);
    let output = seatrial(&["digest", &signed.bundle().display().to_string()]);
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    let folder = tempfile::tempdir().expect("a directory");
    let file = write_pointer(&sample, folder.path());
    assert_eq!(text(&seatrial(&["digest", &file]).stdout), expected);
    assert_eq!(json_of(&["digest", &file, "-t", "json"])["computed"], false);
    std::fs::write(signed.bundle().join("extra"), "").expect("is written");
    assert_eq!(seatrial(&["digest", &signed.bundle().display().to_string()]).status.code(), Some(21));
}

#[test]
fn evidence_of_aicr_is_shown_with_the_stages_that_apply_and_never_verifies() {
    let folder = tempfile::tempdir().expect("a directory");
    let digest = Digest::of(b"artifact");
    let file = folder.path().join("h100-eks.yaml");
    let pointer = format!(
        "schemaVersion: 1.0.0\nrecipe: h100-eks\nattestations:\n- bundle: {{oci: 'ghcr.io/example/e:1', digest: '{digest}', predicateType: 'https://aicr.run/recipe-evidence/v3'}}\n  signer: {{identity: someone@example.com, issuer: https://github.com/login/oauth}}\n  attestedAt: 2026-09-20T10:00:00Z\n"
    );
    std::fs::write(&file, pointer).expect("is written");
    let input = file.display().to_string();
    let output = seatrial(&["show", &input]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stages =
        ["locate     ok", "fetch      not-run", "signature  not-run", "coverage   not-run", "replay     not-run", "freshness  not-run"];
    assert_shows(
        &output,
        &[&["none of it verified as evidence of seatrial", "someone@example.com (https://github.com/login/oauth)"], &stages[..]].concat(),
    );
    let output = seatrial(&["verify", &input, "--integrity-only"]);
    assert_eq!(output.status.code(), Some(10), "it is never a success");
    assert!(text(&output.stderr).contains("signature  not-run"), "{}", text(&output.stderr));
    let rows = json_of(&["list", &folder.path().display().to_string(), "-t", "json"]);
    assert_eq!((&rows["claimed"][0]["format"], &rows["claimed"][0]["hardware"]), (&json!("aicr"), &Value::Null));
    std::fs::write(&file, std::fs::read_to_string(&file).expect("is there").replace("1.0.0", "2.0.0")).expect("is written");
    assert_eq!(seatrial(&["show", &input]).status.code(), Some(22));
}

#[test]
fn a_run_without_a_cluster_makes_no_evidence() {
    for flag in [&["--emit-attestation", "out"][..], &["--push", "ghcr.io/example/evidence", "--key", "k"]] {
        let mut command = Command::cargo_bin("seatrial").expect("the program");
        let arguments = [&["validate", "-r", "sim-h100", "-s", "snapshot.yaml", "--no-cluster"], flag].concat();
        let output = command.args(arguments).output().expect("runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("--no-cluster"), "{}", text(&output.stderr));
    }
}

#[test]
fn the_signature_of_a_shown_bundle_may_be_missing() {
    let unsigned = Signed::unsigned(&Sample::good().bundle());
    assert_eq!(seatrial(&["show", &unsigned.bundle().display().to_string()]).status.code(), Some(0));
}

#[test]
fn a_list_of_aicr_becomes_a_policy_that_lint_accepts() {
    let folder = tempfile::tempdir().expect("a directory");
    let (issuer, identity) = ("https://github.com/login/oauth", "alice@example.com");
    let slug = seatrial::evidence::aicr::source_slug(issuer, identity);
    let list = folder.path().join("allowlist.yaml");
    let write = |more: &str| {
        let text = format!("schemaVersion: 1.0.0\ncommunity:\n- {{label: alice, issuer: '{issuer}', source: {slug}}}\n{more}");
        std::fs::write(&list, text).expect("is written");
    };
    write("");
    let pointers = folder.path().join("pointers");
    std::fs::create_dir(&pointers).expect("made");
    let text = format!(
        "schemaVersion: 1.0.0\nrecipe: h100-eks\nattestations:\n- bundle: {{oci: 'ghcr.io/a/b:1', digest: '{}', predicateType: 'https://aicr.run/recipe-evidence/v3'}}\n  signer: {{identity: {identity}, issuer: '{issuer}'}}\n",
        Digest::of(b"x")
    );
    std::fs::write(pointers.join("p.yaml"), text).expect("is written");
    let import = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("seatrial").expect("the program");
        command.args(["policy", "import"]).arg(&list).args(arguments).output().expect("runs")
    };
    let pointers = pointers.display().to_string();
    let output = import(&["--pointers", &pointers]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, &output.stdout).expect("is written");
    let mut lint = Command::cargo_bin("seatrial").expect("the program");
    let linted = lint.args(["policy", "lint"]).arg(&policy).output().expect("runs");
    assert_eq!(linted.status.code(), Some(0), "{}", text_of(&linted));
    assert_eq!(import(&[]).status.code(), Some(2), "without pointers nobody can be named");
    write("- {label: bob, issuer: 'https://accounts.google.com', source: 00000000000000000000000000000000}\n");
    let output = import(&["--pointers", &pointers]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("bob: no pointer says who"), "{}", text_of(&output));
}

fn text_of(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
