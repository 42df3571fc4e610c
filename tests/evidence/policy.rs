//! Policies as their users meet them: read, linted, explained, and used on the command line.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

use seatrial::error::Kind;
use seatrial::evidence::Pointer;
use seatrial::policy::Policy;
use seatrial::snapshot::Hardware;

use crate::sample::{Sample, Signed, pointer_to};

const HEAD: &str = "apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePolicy\n";

fn seatrial(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("seatrial").expect("the program");
    for name in ["GITHUB_ACTIONS", "SEATRIAL_PUBLIC_KEY", "SEATRIAL_POLICY", "SEATRIAL_UI"] {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Writes a policy and lints it: the exit code and what is said.
fn lint(policy: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(folder.path().join("evidence")).expect("is made");
    std::fs::write(folder.path().join("evidence/policy.yaml"), format!("{HEAD}{policy}")).expect("is written");
    let output = seatrial(folder.path(), &["policy", "lint"]);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// One signer in one line.
fn signer(subject: &str) -> String {
    format!("signers: [{{name: a, recipes: [\"*\"], subject: {subject}}}]\n")
}

const GITHUB: &str = "{github: {repositoryId: \"1\", refs: [refs/heads/main], triggers: [push]}}";
const ALICE: &str = "{email: {address: alice@example.com, issuer: https://accounts.google.com}}";

#[test]
fn a_sound_policy_has_no_findings_and_an_unsound_one_is_refused_with_what_to_write() {
    for sound in [GITHUB, ALICE] {
        assert_eq!(lint(&signer(sound)).0, Some(0), "{sound}");
    }
    let two = |one: &str, other: &str| {
        format!(
            "signers:\n- {{name: a, organisation: x, recipes: [\"*\"], subject: {one}}}\n- {{name: b, organisation: y, recipes: [\"*\"], subject: {other}}}\n"
        )
    };
    let cases = [
        (signer(&GITHUB.replace("\"1\"", "acme/lab")), "the number of the repository"),
        (signer(&GITHUB.replace("[refs/heads/main]", "[]")), "names no branch"),
        (signer(&GITHUB.replace("[push]", "[]")), "nothing that may start"),
        (signer(&GITHUB.replace("[push]", "[pull_request_target]")), "whoever opens a pull request"),
        (signer(&GITHUB.replace("[refs/heads/main]", "[{glob: 'refs/**'}]")), "covers pull requests"),
        (signer("{identity: {identity: {glob: '**'}, issuer: https://a.example}}"), "matches everything"),
        (signer("{identity: {identity: x, issuer: https://token.actions.githubusercontent.com}}"), "use `github`"),
        (signer("{spiffe: {id: example.org/a, issuer: https://a.example}}"), "begins with spiffe://"),
        (signer("{email: {address: alice, issuer: https://a.example}}"), "no e-mail address"),
        (format!("required: 2\n{}", signer(ALICE)), "wants 2 organisations and names 1"),
        (format!("required: 0\n{}", signer(ALICE)), "1 is the least"),
        ("signers: []\n".to_owned(), "names no signer"),
        (format!("coverage: in-scope\n{}", signer(ALICE)), "add `simulated`"),
        (format!("registries: ['https://ghcr.io']\n{}", signer(ALICE)), "has a scheme"),
        (format!("registries: ['ghcr.io/*']\n{}", signer(ALICE)), "without patterns"),
        (two(GITHUB, &GITHUB.replace("main", "other")), "would be two voices"),
        (two(ALICE, ALICE).replace("organisation: y", "organisation: x"), "are the same"),
        (two(ALICE, GITHUB).replace("name: b", "name: a"), "have the name `a`"),
        (signer(ALICE).replace("[\"*\"]", "[]"), "speak for no recipe"),
    ];
    for (policy, expected) in cases {
        let (exit, said) = lint(&policy);
        assert!(exit == Some(2) && said.contains(expected), "{policy}\n{exit:?} {said}");
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, format!("{HEAD}{policy}")).expect("is written");
        assert_eq!(Policy::read(&path).expect_err("is refused for verification too").kind(), Kind::Schema, "{policy}");
    }
    let (exit, said) = lint(&signer(ALICE).replace("subject", "expires: 2020-01-01T00:00:00Z, subject"));
    assert!(exit == Some(1) && said.contains("expired at 2020-01-01"), "{exit:?} {said}");
}

#[test]
fn a_policy_with_a_surprise_is_a_schema_error_that_names_the_place() {
    let cases = [
        (signer(ALICE).replace("recipes", "recipies"), "recipies"),
        (signer("{email: {address: a@b.example}}"), "issuer"),
        (signer("{github: {repositoryId: \"1\"}}"), "refs"),
        (signer("{identity: {identity: {regex: 'https://a.example/x'}, issuer: https://a.example}}"), "dot alone"),
        (format!("maximumAge: soon\n{}", signer(ALICE)), "length of time"),
        (signer("{key: nonsense}"), "PEM"),
        (signer("{keyFile: nowhere.pub}"), "nowhere.pub"),
    ];
    for (policy, expected) in cases {
        let (exit, said) = lint(&policy);
        assert!(exit == Some(22) && said.contains(expected), "{policy}\n{exit:?} {said}");
    }
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, HEAD.replace("v1alpha1", "v9") + &signer(ALICE)).expect("is written");
    assert_eq!(Policy::read(&path).expect_err("another version").kind(), Kind::Schema);
}

/// A signed sample with a policy that accepts it and a pointer, below `evidence/`.
fn tree() -> (Signed, Pointer) {
    let signed = Sample::good().signed();
    let mut pointer = pointer_to(&Sample::good().bundle());
    pointer.signatures[0].key = Some(signed.key().id());
    std::fs::create_dir_all(signed.root().join("evidence/sim-h100")).expect("is made");
    let policy = "hardware: [simulated]\ncoverage: in-scope\nsigners: [{name: lab, organisation: acme, recipes: [\"sim-*\"], subject: {keyFile: ../seatrial.pub}}]\n";
    std::fs::write(signed.root().join("evidence/policy.yaml"), format!("{HEAD}{policy}")).expect("is written");
    write(&signed, &pointer);
    (signed, pointer)
}

fn write(signed: &Signed, pointer: &Pointer) -> String {
    let path = Path::new("evidence").join(pointer.path().expect("a path"));
    std::fs::write(signed.root().join(&path), pointer.to_yaml().expect("YAML")).expect("is written");
    path.display().to_string()
}

#[test]
fn what_a_policy_makes_of_a_pointer_is_explained_entry_by_entry() {
    let (signed, mut pointer) = tree();
    let path = write(&signed, &pointer);
    let output = seatrial(signed.root(), &["policy", "explain", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("lab of acme: could count"), "{}", text(&output.stdout));
    pointer.hardware = Hardware::Unknown;
    pointer.signatures[0].key = None;
    pointer.signatures[0].identity = Some("mallory@example.com".to_owned());
    pointer.signatures[0].issuer = Some("https://accounts.google.com".to_owned());
    let path = write(&signed, &pointer);
    let output = seatrial(signed.root(), &["policy", "explain", &path, "-t", "json"]);
    assert_eq!(output.status.code(), Some(11));
    let explanation: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(explanation["couldBeAccepted"], false);
    assert_eq!(explanation["signatures"][0]["entries"][0]["reasons"][0]["reason"], "signer-unknown");
    let reasons: Vec<&Value> = explanation["reasons"].as_array().expect("a list").iter().map(|said| &said["reason"]).collect();
    assert_eq!(reasons, ["hardware-unknown", "too-few-organisations"]);
}

#[test]
fn a_policy_is_used_when_it_is_named_and_only_then() {
    let (signed, _) = tree();
    let output = seatrial(signed.root(), &["evidence", "verify", "bundle"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--policy evidence/policy.yaml"), "{}", text(&output.stderr));
    let output = seatrial(signed.root(), &["evidence", "verify", "bundle", "--policy", "evidence/policy.yaml", "--explain"]);
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for part in [
        "identity  ok       1 of 1 organisations: acme (lab)",
        "covers: manifest.json as it was signed",
        "not proven:",
        "- that the cluster exists",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    for (flags, expected) in [
        (vec!["--certificate-identity", "alice@example.com"], "--certificate-oidc-issuer or --certificate-oidc-issuer-regexp is wanted"),
        (
            vec!["--certificate-oidc-issuer", "https://accounts.google.com"],
            "--certificate-identity or --certificate-identity-regexp is wanted",
        ),
        (
            vec!["--certificate-identity-regexp", "https://github.com/acme/.*", "--certificate-oidc-issuer", "x"],
            r"https://github\.com/acme/.*",
        ),
        (vec!["--policy", "evidence/policy.yaml", "--key", "seatrial.pub"], "cannot be used with"),
    ] {
        let output = seatrial(signed.root(), &[vec!["evidence", "verify", "bundle"], flags].concat());
        assert!(output.status.code() == Some(2) && text(&output.stderr).contains(expected), "{expected}: {}", text(&output.stderr));
    }
    let flags = [
        "evidence",
        "verify",
        "bundle",
        "--certificate-identity",
        "alice@example.com",
        "--certificate-oidc-issuer",
        "https://accounts.google.com",
    ];
    let output = seatrial(signed.root(), &flags);
    assert_eq!(output.status.code(), Some(11), "signed by a key, which is nobody's e-mail address");
}

#[test]
fn a_directory_of_pointers_is_verified_at_once_and_the_worst_decides() {
    let (signed, mut pointer) = tree();
    pointer.bundle.repository = "127.0.0.1:1/team/evidence".to_owned();
    write(&signed, &pointer);
    std::fs::write(signed.root().join("evidence/sim-h100/broken.yaml"), "kind: EvidencePointer\n").expect("is written");
    let verify = ["evidence", "verify", "evidence", "--policy", "evidence/policy.yaml"];
    let output = seatrial(signed.root(), &[&verify[..], &["-t", "json"]].concat());
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(22), "{}", text(&output.stderr));
    assert_eq!((&list["kind"], &list["exit"], &list["verified"]), (&"VerifyReportList".into(), &22.into(), &0.into()));
    let reasons: Vec<&Value> = list["reports"].as_array().expect("a list").iter().map(|report| &report["reason"]).collect();
    assert_eq!(reasons, ["pointer-invalid", "unavailable"], "in the order of their paths, and the policy is no pointer");
    let shown = text(&output.stderr);
    assert!(shown.contains("0 of 2 verified     exit 22"), "{shown}");

    // Two bundles side by side, named one by one.
    let output = seatrial(signed.root(), &["evidence", "verify", "bundle", "bundle", "--policy", "evidence/policy.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("2 of 2 verified"), "{}", text(&output.stderr));

    std::fs::remove_dir_all(signed.root().join("evidence/sim-h100")).expect("is removed");
    let output = seatrial(signed.root(), &verify);
    assert_eq!(output.status.code(), Some(2), "a directory without pointers is not a success");
    std::os::unix::fs::symlink("/etc", signed.root().join("evidence/linked")).expect("is made");
    assert_eq!(seatrial(signed.root(), &verify).status.code(), Some(21), "nothing is followed");
}

#[test]
fn reports_in_markdown_name_the_reasons_and_escape_what_comes_from_outside() {
    let (signed, mut pointer) = tree();
    let verify = ["evidence", "verify", "bundle", "--policy", "evidence/policy.yaml", "-t", "markdown", "-q"];
    let good = text(&seatrial(signed.root(), &verify).stdout);
    assert!(good.starts_with("# Evidence: verified\n") && good.contains("## Not proven") && !good.contains("## Why"), "{good}");
    pointer.bundle.repository = "127.0.0.1:1/team/evidence".to_owned();
    pointer.recipe.name = "sim-h100".to_owned();
    let path = write(&signed, &pointer);
    let odd = signed.root().join("evidence/sim-h100/odd|<b>@all.yaml");
    std::fs::rename(signed.root().join(path), odd).expect("is renamed");
    let output = seatrial(signed.root(), &["evidence", "verify", "evidence", "--policy", "evidence/policy.yaml", "-t", "markdown"]);
    let list = text(&output.stdout);
    assert!(list.contains("# Evidence: 0 of 1 verified") && list.contains("unavailable"), "{list}");
    assert!(!list.contains("<b>") && !list.contains(" @all") && list.contains("odd\\|&lt;b&gt;"), "{list}");
}
