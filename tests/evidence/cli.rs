//! `seatrial evidence` as its users see it: output, exit codes, and nothing on stdout but what was asked for.

use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

use seatrial::results::Outcome;

use crate::sample::{Sample, Signed};

fn seatrial(arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("seatrial").expect("the program");
    for name in ["GITHUB_ACTIONS", "SEATRIAL_PUBLIC_KEY", "SEATRIAL_KEY", "SEATRIAL_KEY_PASSPHRASE", "COSIGN_PASSWORD", "SEATRIAL_UI"] {
        command.env_remove(name);
    }
    command.args(["evidence"]).args(arguments).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn verify(signed: &Signed, more: &[&str]) -> Output {
    let (folder, key) = (signed.bundle().display().to_string(), signed.public.display().to_string());
    seatrial(&[&["verify", &folder, "--key", &key], more].concat())
}

#[test]
fn verifying_shows_a_line_per_stage_and_one_sentence_and_keeps_stdout_empty() {
    let signed = Sample::good().signed();
    let output = verify(&signed, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());
    let shown = text(&output.stderr);
    for part in [
        "  locate    ok ",
        "  freshness warning  no proof of time",
        "  verified: conformance of recipe sim-h100, structural scope, SIMULATED hardware",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn the_report_as_json_goes_to_stdout_or_to_a_file() {
    let signed = Sample::good().signed();
    let output = verify(&signed, &["-t", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["verdict"], &report["exit"]), (&"verified".into(), &0.into()));
    assert_eq!(report["verified"]["time"]["proven"], Value::Null);
    let file = signed.root().join("report.json");
    let output = verify(&signed, &["-o", &file.display().to_string()]);
    assert!(output.stdout.is_empty());
    let written: Value = serde_json::from_slice(&std::fs::read(file).expect("is there")).expect("JSON");
    assert_eq!(written, report);
    let output = verify(&signed, &["-t", "text", "-q"]);
    assert!(text(&output.stdout).contains("verified: conformance"));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn every_ending_has_its_exit_code() {
    let good = Sample::good().signed();
    let other = Sample::good().signed();
    let folder = good.bundle().display().to_string();
    assert_eq!(seatrial(&["verify", &folder]).status.code(), Some(2), "no key");
    assert_eq!(seatrial(&["verify", &folder, "--key", "/nonexistent"]).status.code(), Some(2), "no such key");
    assert_eq!(seatrial(&["verify", &folder, "--key", &other.public.display().to_string()]).status.code(), Some(11), "another key");
    assert_eq!(seatrial(&["verify", &folder, "--integrity-only"]).status.code(), Some(0));
    assert_eq!(seatrial(&["verify", "/nonexistent", "--integrity-only"]).status.code(), Some(2), "no such input");
    let private = good.root().join("seatrial.key").display().to_string();
    let output = seatrial(&["verify", &folder, "--key", &private]);
    assert_eq!(output.status.code(), Some(2), "a private key");
    assert!(text(&output.stderr).contains("pass the .pub file"), "{}", text(&output.stderr));

    assert_eq!(verify(&Signed::unsigned(&Sample::good().bundle()), &[]).status.code(), Some(10), "unsigned");
    let failed = Sample::good().with("gpu-capacity", Outcome::fail("7 of 8")).signed();
    assert_eq!(verify(&failed, &[]).status.code(), Some(1), "failed");
    std::fs::write(good.bundle().join("plan.json"), "{}").expect("is written");
    let output = verify(&good, &[]);
    assert_eq!(output.status.code(), Some(21), "changed");
    assert!(text(&output.stderr).contains("plan.json"), "names the file");
    let broken = good.root().join("pointer.yaml");
    std::fs::write(&broken, "kind: EvidencePointer\n").expect("is written");
    assert_eq!(seatrial(&["verify", &broken.display().to_string(), "--integrity-only"]).status.code(), Some(22), "no pointer");
}

#[test]
fn a_new_key_pair_is_made_once_and_named_on_stdout() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("keys").display().to_string();
    let output = seatrial(&["keygen", "--out", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{path}/seatrial.pub\n"));
    assert_eq!(seatrial(&["keygen", "--out", &path]).status.code(), Some(2), "nothing is overwritten");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn openssl_reads_our_keys_and_we_read_its_keys_plain_and_encrypted() {
    let openssl = |arguments: &[&str]| std::process::Command::new("openssl").args(arguments).output();
    let Ok(version) = openssl(&["version"]) else {
        eprintln!("left out: openssl is not on this machine");
        return;
    };
    assert!(version.status.success());
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (plain, encrypted) = (at("plain.pem"), at("encrypted.pem"));
    let made = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &plain]).expect("runs");
    assert!(made.status.success());
    let made =
        openssl(&["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", &plain, "-out", &encrypted, "-passout", "pass:secret"]).expect("runs");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let sec1 = folder.path().join("sec1.pem").display().to_string();
    assert!(openssl(&["pkey", "-traditional", "-in", &plain, "-out", &sec1]).expect("runs").status.success());
    assert!(std::fs::read_to_string(&sec1).expect("is there").starts_with("-----BEGIN EC PRIVATE KEY-----"));
    let public = openssl(&["pkey", "-in", &plain, "-pubout"]).expect("runs");
    let expected = seatrial::evidence::PublicKey::from_pem(&text(&public.stdout)).expect("reads");
    for (path, passphrase) in [(&plain, None), (&sec1, None), (&encrypted, Some("secret"))] {
        let key = std::fs::read_to_string(path).expect("is there");
        let signer = seatrial::sign::LocalKey::from_pem(&key, passphrase).expect("reads");
        assert_eq!(signer.public_key().id(), expected.id());
    }
    let ours = seatrial::sign::keygen(&folder.path().join("ours"), Some("secret")).expect("is made");
    let read = openssl(&["pkey", "-in", &ours.private.display().to_string(), "-passin", "pass:secret", "-pubout"]).expect("runs");
    assert_eq!(text(&read.stdout), std::fs::read_to_string(ours.public).expect("is there"));
}
