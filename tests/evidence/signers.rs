//! Policies against real certificates: the same forgeries as by hand, signed with tokens of a private Sigstore and judged by the program.

use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{GITHUB, PEOPLE, REGISTRY, Stack, exits, said};

static PUBLISHED: AtomicUsize = AtomicUsize::new(0);

/// The entry of a workflow that many repositories may call, bound to one of them.
fn policy(more: &str) -> String {
    format!(
        "apiVersion: seatrial.dev/v1alpha1
kind: EvidencePolicy
hardware: [simulated]
coverage: in-scope
{more}signers:
- name: ci
  organisation: example
  recipes: [\"sim-*\"]
  subject:
    github:
      issuer: {GITHUB}
      repositoryId: \"202\"
      refs: [refs/heads/main]
      triggers: [push]
      workflow: https://github.com/example-org/shared/.github/workflows/reusable.yml@refs/tags/v1
- name: dev
  organisation: people
  recipes: [\"sim-*\"]
  subject: {{email: {{address: dev@example.com, issuer: {PEOPLE}}}}}
"
    )
}

/// A bundle that is signed with a token of an issuer, with these claims.
fn signed(stack: &Stack, issuer: &str, claims: &str) -> Signed {
    let signed = Signed::unsigned(&Sample::good().bundle());
    let token = stack.token(issuer, claims, signed.root());
    // A repository for each: publishing takes up what somebody has signed there before.
    let repository = format!("{REGISTRY}/team/signers-{}", PUBLISHED.fetch_add(1, Ordering::Relaxed));
    let mut command = stack.seatrial(&["evidence", "publish", "bundle", "--push", &repository, "--plain-http"]);
    command.args(["--identity-token-file", &token, "--signing-config", &stack.signing_config(), "--trusted-root", &stack.trusted_root()]);
    command.current_dir(signed.root());
    exits(command, 0);
    signed
}

/// The exit code, the reasons, and the report.
fn verified(stack: &Stack, signed: &Signed, policy: &str) -> (Option<i32>, Vec<String>, Value) {
    std::fs::write(signed.root().join("policy.yaml"), policy).expect("is written");
    let root = stack.trusted_root();
    let mut command = stack.seatrial(&["evidence", "verify", "bundle", "--policy", "policy.yaml", "--trusted-root", &root, "-t", "json"]);
    let output: Output = command.current_dir(signed.root()).output().expect("runs");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let stages = report["stages"].as_array().expect("stages").iter();
    let reasons = stages.flat_map(|stage| stage["reasons"].as_array().into_iter().flatten());
    let reasons = reasons.map(|said| said["reason"].as_str().unwrap_or_default().to_owned()).collect();
    (output.status.code(), reasons, report)
}

#[test]
fn a_certificate_counts_only_with_every_claim_that_the_policy_binds() {
    let Some(stack) = Stack::shared() else { return };
    let cases = [
        (GITHUB, "", 0, None),
        // The same workflow, called by somebody else's repository.
        (GITHUB, "repository=mallory/evidence&repository_id=999", 11, Some("other-source")),
        (GITHUB, "ref=refs/heads/feature", 11, Some("other-ref")),
        (GITHUB, "event_name=pull_request", 11, Some("other-trigger")),
        (GITHUB, "job_workflow_ref=example-org/shared/.github/workflows/other.yml@refs/tags/v1", 11, Some("other-identity")),
        (GITHUB, "job_workflow_ref=example-org/shared/.github/workflows/reusable.yml@refs/tags/v10", 11, Some("signer-looks-alike")),
        (PEOPLE, "email=dev@example.com", 0, None),
        (PEOPLE, "email=Dev@example.com", 11, Some("signer-looks-alike")),
        (PEOPLE, "email=dev@example.com.evil.example", 11, Some("signer-looks-alike")),
        (PEOPLE, "email=mallory@elsewhere.example", 11, Some("signer-unknown")),
    ];
    for (issuer, claims, exit, reason) in cases {
        let signed = signed(stack, issuer, claims);
        let (code, reasons, report) = verified(stack, &signed, &policy(""));
        let expected: Vec<String> = reason.map(str::to_owned).into_iter().collect();
        assert_eq!((code, reasons), (Some(exit), expected), "{claims}: {report:#}");
        assert_eq!(report["verified"].is_null(), exit != 0, "{claims}");
        assert_eq!(report["signatures"][0]["counts"], exit == 0, "{claims}");
    }
}

#[test]
fn recipes_organisations_ends_and_ages_are_judged_by_the_proven_time() {
    let Some(stack) = Stack::shared() else { return };
    let signed = signed(stack, GITHUB, "");
    let reasons = |policy: &str| verified(stack, &signed, policy).1;
    assert_eq!(reasons(&policy("").replace("sim-*", "h100-*")), ["other-recipe"]);
    assert_eq!(reasons(&policy("required: 2\n")), ["too-few-organisations"]);
    assert_eq!(
        reasons(&policy("").replace("  organisation: example\n", "  organisation: example\n  expires: 2020-01-01T00:00:00Z\n")),
        ["entry-expired"]
    );
    assert_eq!(reasons(&policy("maximumAge: 36500d\n")), [""; 0], "somebody vouches for the time");
    assert_eq!(reasons(&policy("maximumAge: 1s\n")), ["too-old"]);
    let revoked = |since: &str| {
        let what = format!("identity: {{identity: {{glob: 'https://github.com/example-org/**'}}, issuer: {GITHUB}}}");
        policy(&format!("revoked: [{{what: {{{what}}}, {since}reason: broken into}}]\n"))
    };
    assert_eq!(reasons(&revoked("")), ["signer-revoked"]);
    assert_eq!(reasons(&revoked("since: 2020-01-01T00:00:00Z, ")), ["signer-revoked"]);
    assert_eq!(reasons(&revoked("since: 2999-01-01T00:00:00Z, ")), [""; 0], "proven to be older");
    let time = verified(stack, &signed, &policy("")).2["verified"]["time"]["proven"].clone();
    assert!(time.is_string(), "{time}");
}

#[test]
fn by_flags_a_workflow_counts_for_its_own_repository_only() {
    let Some(stack) = Stack::shared() else { return };
    let signed = signed(stack, GITHUB, "");
    let verify = |identity: &str| {
        let mut command = stack.seatrial(&["evidence", "verify", "bundle", "--trusted-root", &stack.trusted_root(), identity]);
        command.args(["--certificate-oidc-issuer", GITHUB]).current_dir(signed.root());
        command
    };
    let workflow = "https://github.com/example-org/shared/.github/workflows/reusable.yml@refs/tags/v1";
    let said = exits(verify(&format!("--certificate-identity={workflow}")), 11);
    assert!(said.contains("other-source"), "{said}");
    exits(verify(&format!("--certificate-identity-regexp={}", workflow.replace('.', r"\."))), 11);
}
