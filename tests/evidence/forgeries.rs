//! Evidence that is made to look like what it is not: each forgery is refused, and for its own reason.

use std::sync::Arc;

use jiff::Timestamp;
use seatrial::digest::Digest;
use seatrial::evidence::signer::{Certificate, Claims, SignedBy, Times};
use seatrial::evidence::{Parcel, Pointer, directory};
use seatrial::policy::{Policy, Vote};
use seatrial::publish::push;
use seatrial::reason::Reason;
use seatrial::registry::{Options, Registry};
use seatrial::results::{ErrorReason, Outcome, SkipReason};
use seatrial::snapshot::Hardware;
use seatrial::verify::{Expected, Request, Verification, VerifyReport, verify};
use serde_json::json;

use crate::registry_server::{Flavour, RegistryServer};
use crate::sample::{Sample, Signed, change, pointer_to};

/// A policy that accepts the key of a sample, with more lines, in a directory of its own.
pub(crate) fn policy(signed: &Signed, signer: &str, more: &str) -> Arc<Policy> {
    let path = signed.root().join("policy.yaml");
    let text = format!(
        "apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePolicy\nsigners:\n- name: lab\n  recipes: [\"sim-*\"]\n  subject: {{keyFile: seatrial.pub}}\n{signer}{more}"
    );
    std::fs::write(&path, text).expect("is written");
    Arc::new(Policy::read(&path).expect("a policy"))
}

/// What lets simulated evidence pass.
const SIMULATED: &str = "hardware: [simulated]\ncoverage: in-scope\n";

async fn verified(input: &str, policy: Arc<Policy>, change: impl FnOnce(&mut Request)) -> Verification {
    let options = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
    let mut request = Request::new(input, Expected::Policy(policy), options);
    change(&mut request);
    verify(request).await
}

fn reasons(report: &VerifyReport) -> Vec<Reason> {
    report.stages.iter().flat_map(|stage| &stage.reasons).map(|said| said.reason).collect()
}

/// The reasons and the exit code, by a policy with these lines.
async fn refused(signed: &Signed, signer: &str, more: &str) -> (Vec<Reason>, u8) {
    let verification = verified(&signed.bundle().display().to_string(), policy(signed, signer, more), |_| {}).await;
    let report = &verification.report;
    assert_eq!(report.reason, reasons(report).first().copied());
    assert_eq!(verification.evidence.is_some(), report.exit == 0, "nothing refused is handed out as verified");
    (reasons(report), report.exit)
}

#[tokio::test]
async fn what_a_policy_accepts_is_verified_and_names_entry_and_organisation() {
    let signed = Sample::good().signed();
    assert_eq!(refused(&signed, "  organisation: acme\n", SIMULATED).await, (vec![], 0));
    let policy = policy(&signed, "  organisation: acme\n", SIMULATED);
    let report = verified(&signed.bundle().display().to_string(), policy, |_| {}).await.report;
    let signature = &report.signatures[0];
    assert!(signature.counts);
    assert_eq!((signature.entry.as_deref(), signature.organisation.as_deref()), (Some("lab"), Some("acme")));
    assert!(report.not_proven.iter().any(|open| open.contains("the cluster exists")), "{:?}", report.not_proven);
}

#[tokio::test]
async fn who_signed_for_what_and_until_when_is_the_policys_to_say() {
    let signed = Sample::good().signed();
    let cases = [
        ("  expires: 2026-01-01T00:00:00Z\n", "", Reason::EntryExpired, 11),
        ("", "revoked: [{what: {key: KEY}, reason: lost}]\n", Reason::SignerRevoked, 11),
        ("", "revoked: [{what: {digest: CONTENT}, reason: a broken cluster}]\n", Reason::BundleRevoked, 11),
        ("", "revoked: [{what: {key: KEY}, since: 2020-01-01T00:00:00Z, reason: lost}]\n", Reason::SignerRevoked, 11),
        ("", "maximumAge: 90d\n", Reason::NoTrustedTime, 11),
    ];
    for (signer, more, reason, exit) in cases {
        let content = Sample::good().bundle().content_digest().to_string();
        let more = more.replace("KEY", signed.key().id().as_str()).replace("CONTENT", &content);
        assert_eq!(refused(&signed, signer, &format!("{SIMULATED}{more}")).await, (vec![reason], exit), "{signer}{more}");
    }
    let other_recipe = "apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePolicy\nsigners: [{name: lab, recipes: [h100-*], subject: {keyFile: seatrial.pub}}]\n";
    let path = signed.root().join("other.yaml");
    std::fs::write(&path, other_recipe).expect("is written");
    let policy = Arc::new(Policy::read(&path).expect("a policy"));
    let report = verified(&signed.bundle().display().to_string(), policy, |_| {}).await.report;
    assert_eq!((reasons(&report), report.exit), (vec![Reason::OtherRecipe], 11), "the right signer for another recipe");
    assert!(report.verified.is_none());

    let stranger = Sample::good().signed();
    let report = verified(&stranger.bundle().display().to_string(), self::policy(&signed, "", SIMULATED), |_| {}).await.report;
    assert_eq!((reasons(&report), report.exit), (vec![Reason::SignerUnknown], 11), "a valid signature by somebody else");
}

#[tokio::test]
async fn simulated_hardware_and_a_narrow_scope_count_only_where_a_policy_says_so() {
    let signed = Sample::good().signed();
    assert_eq!(refused(&signed, "", "").await, (vec![Reason::ChecksOutOfScope, Reason::HardwareSimulated], 13), "both are named");
    assert_eq!(refused(&signed, "", "hardware: [simulated]\n").await, (vec![Reason::ChecksOutOfScope], 13));
    let unknown = refused(&signed, "", "hardware: [unknown]\n").await;
    assert_eq!(unknown, (vec![Reason::ChecksOutOfScope, Reason::HardwareSimulated], 13));
    let all =
        Sample::good().with("secure-accelerator-access", Outcome::pass("held").seen("nodes", vec!["sim-1".to_owned()], 1).asserted(1, 1));
    assert_eq!(refused(&all.signed(), "", "").await, (vec![Reason::HardwareSimulated], 11));
}

#[tokio::test]
async fn a_run_that_saw_nothing_is_never_accepted_however_well_it_is_signed() {
    let all = |outcome: &Outcome| {
        let mut sample = Sample::good();
        sample.report.tests.iter_mut().for_each(|test| test.outcome = outcome.clone());
        sample.counted()
    };
    let mut none = Sample::good();
    none.report.tests.clear();
    let cases = [
        (none.counted(), vec![Reason::ZeroChecks, Reason::ChecksMissing]),
        (all(&Outcome::skip(SkipReason::NeedsNode, "no node")), vec![Reason::AllSkipped]),
        (all(&Outcome::error(ErrorReason::Timeout, "too slow")), vec![Reason::AllErrored, Reason::ChecksMissing]),
    ];
    for (sample, expected) in cases {
        assert_eq!(refused(&sample.signed(), "", SIMULATED).await, (expected, 3));
    }
    let failed = Sample::good().with("gpu-capacity", Outcome::fail("7 of 8"));
    assert_eq!(refused(&failed.signed(), "", SIMULATED).await, (vec![Reason::Failures], 1));
    let missing = Sample::good().without("gpu-capacity");
    assert_eq!(refused(&missing.signed(), "", SIMULATED).await, (vec![Reason::ChecksMissing], 13));
}

#[tokio::test]
async fn counts_and_labels_that_lie_are_found_behind_a_good_signature() {
    let good = Sample::good().bundle();
    let lie = Signed::forged(change(&good, "evidence.json", "/counts/pass", json!(3)));
    assert_eq!(refused(&lie, "", SIMULATED).await, (vec![Reason::ResultsDisagree], 21));
    let mut sample = Sample::good();
    sample.report.hardware = Hardware::Real;
    let lie = Signed::forged(sample.bundle().files().clone());
    let (found, exit) = refused(&lie, "", "").await;
    assert_eq!((found, exit), (vec![Reason::ChecksOutOfScope, Reason::HardwareDisagrees], 13));
    sample = sample.with("secure-accelerator-access", Outcome::pass("held").seen("nodes", vec!["sim-1".to_owned()], 1).asserted(1, 1));
    let lie = Signed::forged(sample.bundle().files().clone());
    assert_eq!(refused(&lie, "", "").await, (vec![Reason::HardwareDisagrees], 21), "real by its label, simulated by its snapshot");
    let mut backwards = Sample::good();
    std::mem::swap(&mut backwards.report.started_at, &mut backwards.report.finished_at);
    assert_eq!(refused(&backwards.signed(), "", SIMULATED).await, (vec![Reason::TimesDisagree], 21));
}

#[tokio::test]
async fn a_signature_about_another_bundle_and_none_at_all_are_refused() {
    let signed = Sample::good().signed();
    let mut other = Sample::good();
    other.report.run = "another".to_owned();
    let signature = signed.signer.sign(&other.bundle().statement().expect("a statement")).await.expect("is signed");
    directory::write_signature(&signed.bundle(), &signature.bundle).expect("is written");
    assert_eq!(refused(&signed, "", SIMULATED).await, (vec![Reason::OtherBundle], 21));
    assert_eq!(refused(&Signed::unsigned(&Sample::good().bundle()), "", SIMULATED).await, (vec![Reason::Unsigned], 10));
}

#[tokio::test]
async fn old_evidence_does_not_speak_for_a_newer_recipe() {
    let signed = Sample::good().signed();
    let mut newer = Sample::good().recipe;
    let input = signed.bundle().display().to_string();
    let same = verified(&input, policy(&signed, "", SIMULATED), |request| request.recipe = Some(Arc::new(newer.clone()))).await;
    assert_eq!(same.report.exit, 0, "{:#?}", same.report);
    newer.spec.checks.conformance.push("dra-support".to_owned());
    let report = verified(&input, policy(&signed, "", SIMULATED), |request| request.recipe = Some(Arc::new(newer))).await.report;
    assert_eq!((reasons(&report), report.exit), (vec![Reason::RecipeDrifted], 12));
    assert_eq!(report.drift[0].input, "spec.checks.conformance.dra-support");
    assert!(report.drift[0].material);
}

#[tokio::test]
async fn a_registry_that_is_not_listed_is_not_asked() {
    let signed = Sample::good().signed();
    let mut pointer = pointer_to(&Sample::good().bundle());
    // Nothing listens there: a connection would end in another reason.
    pointer.bundle.repository = "127.0.0.1:1/team/evidence".to_owned();
    let path = signed.root().join("pointer.yaml");
    std::fs::write(&path, pointer.to_yaml().expect("YAML")).expect("is written");
    let listed = |list: &str| policy(&signed, "", &format!("{SIMULATED}registries: [{list}]\n"));
    for (list, expected) in [
        ("ghcr.io/example", Reason::RegistryNotListed),
        ("\"127.0.0.1:1/team/evid\"", Reason::RegistryNotListed),
        ("\"127.0.0.1\"", Reason::RegistryNotListed),
        ("\"127.0.0.1:1/team\"", Reason::Unavailable),
    ] {
        let report = verified(&path.display().to_string(), listed(list), |_| {}).await.report;
        assert_eq!(reasons(&report), [expected], "{list}");
    }
}

#[tokio::test]
async fn a_signature_that_the_registry_withholds_is_missed_where_a_pointer_names_it() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let signed = Sample::good().signed();
    let options = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
    let registry = Registry::open(&format!("{}/team/evidence", server.address).parse().expect("a name"), &options).expect("opens");
    let bundle = Sample::good().bundle();
    push(&Parcel::of(&bundle).expect("a parcel"), &registry, "forged", true).await.expect("is pushed");
    let pointer = Pointer {
        bundle: seatrial::evidence::pointer::BundleRef {
            repository: format!("{}/team/evidence", server.address),
            ..pointer_to(&bundle).bundle
        },
        ..pointer_to(&bundle)
    };
    let path = signed.root().join("pointer.yaml");
    std::fs::write(&path, pointer.to_yaml().expect("YAML")).expect("is written");
    let report = verified(&path.display().to_string(), policy(&signed, "", SIMULATED), |_| {}).await.report;
    assert_eq!((reasons(&report), report.exit), (vec![Reason::SignatureWithheld], 10));
}

const WORKFLOW: &str = "https://github.com/acme/shared/.github/workflows/evidence.yaml@refs/tags/v1";
const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn certificate() -> Certificate {
    let some = |text: &str| Some(text.to_owned());
    Certificate {
        identity: WORKFLOW.to_owned(),
        issuer: GITHUB.to_owned(),
        claims: Claims {
            source_repository: some("https://github.com/acme/lab"),
            source_repository_id: some("1234"),
            source_ref: some("refs/heads/main"),
            trigger: some("push"),
            runner_environment: some("self-hosted"),
            ..Claims::default()
        },
    }
}

fn read(text: &str) -> Policy {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, format!("apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePolicy\n{text}")).expect("is written");
    Policy::read(&path).unwrap_or_else(|error| panic!("{}: {:?}", error.chain(), error.hints()))
}

const CI: &str = "
signers:
- name: ci
  organisation: acme
  recipes: [\"h100-*\"]
  subject:
    github:
      repositoryId: \"1234\"
      refs: [refs/heads/main]
      triggers: [push, schedule]
      workflow: https://github.com/acme/shared/.github/workflows/evidence.yaml@refs/tags/v1
      runner: self-hosted
";

/// What a policy has against certificates, each proven at a time.
fn judged(policy: &Policy, certificates: &[Certificate], recipe: &str, proven: Option<&str>) -> Vec<Reason> {
    let by: Vec<SignedBy> = certificates.iter().map(|certificate| SignedBy::Certificate(Box::new(certificate.clone()))).collect();
    let times = Times { timestamps: proven.map(|time| time.parse().expect("a time")).into_iter().collect(), ..Times::default() };
    let votes: Vec<Vote> = by.iter().map(|by| Vote { by, times: &times, recipe }).collect();
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
    policy.judge(&votes, &[Digest::of(b"bundle")], now).refusals.into_iter().map(|said| said.reason).collect()
}

#[test]
fn a_github_signer_is_bound_to_its_repository_ref_trigger_and_workflow() {
    let policy = read(CI);
    let with = |change: fn(&mut Certificate)| {
        let mut certificate = certificate();
        change(&mut certificate);
        judged(&policy, &[certificate], "h100-eks", None)
    };
    assert_eq!(with(|_| {}), []);
    assert_eq!(
        with(|c| c.claims.source_repository_id = Some("99".to_owned())),
        [Reason::OtherSource],
        "it calls the same reusable workflow"
    );
    assert_eq!(with(|c| c.claims.source_repository_id = None), [Reason::OtherSource]);
    assert_eq!(with(|c| c.claims.source_ref = Some("refs/pull/7/merge".to_owned())), [Reason::OtherRef]);
    assert_eq!(with(|c| c.claims.source_ref = Some("refs/heads/main2".to_owned())), [Reason::OtherRef]);
    assert_eq!(with(|c| c.claims.trigger = Some("pull_request_target".to_owned())), [Reason::OtherTrigger]);
    assert_eq!(with(|c| c.claims.runner_environment = Some("github-hosted".to_owned())), [Reason::OtherRunner]);
    assert_eq!(with(|c| c.issuer = "https://token.actions.githubusercontent.com.evil.example".to_owned())[0], Reason::OtherIssuer);
    assert_eq!(
        with(|c| c.identity = "https://github.com/acme/lab/.github/workflows/other.yaml@refs/heads/main".to_owned()),
        [Reason::OtherIdentity]
    );
    for alike in [
        format!("{WORKFLOW}0"),
        format!("https://evil.example/?{WORKFLOW}"),
        WORKFLOW.replace("acme", "Acme"),
        WORKFLOW.replace("github.com", "github-com"),
    ] {
        let found = judged(&policy, &[Certificate { identity: alike.clone(), ..certificate() }], "h100-eks", None);
        assert_eq!(found, [Reason::SignerLooksAlike], "{alike}");
    }
    assert_eq!(judged(&policy, &[certificate()], "b200-eks", None), [Reason::OtherRecipe]);
    assert_eq!(judged(&policy, &[certificate()], "xh100-eks", None), [Reason::OtherRecipe]);
    let stranger = Certificate {
        identity: "mallory@example.com".to_owned(),
        issuer: "https://accounts.google.com".to_owned(),
        claims: Claims::default(),
    };
    assert_eq!(judged(&policy, std::slice::from_ref(&stranger), "h100-eks", None), [Reason::SignerUnknown]);
    assert_eq!(judged(&policy, &[stranger, certificate()], "h100-eks", None), [], "a stranger's signature beside a good one does no harm");
}

#[test]
fn people_pipelines_and_workloads_are_known_by_name_and_issuer() {
    let policy = read(
        "
required: 1
signers:
- {name: alice, recipes: [\"*\"], subject: {email: {address: alice@example.com, issuer: https://accounts.google.com}}}
- {name: pipeline, recipes: [\"*\"], subject: {gitlab: {projectId: \"77\", refs: [{glob: refs/heads/release/*}]}}}
- {name: workload, recipes: [\"*\"], subject: {spiffe: {id: {glob: spiffe://example.org/lab/*}, issuer: https://spire.example.org}}}
- {name: pod, recipes: [\"*\"], subject: {kubernetes: {issuer: https://k8s.example.org, namespace: ci, serviceAccount: signer}}}
",
    );
    let of =
        |identity: &str, issuer: &str| Certificate { identity: identity.to_owned(), issuer: issuer.to_owned(), claims: Claims::default() };
    let gitlab = |id: &str, source_ref: &str| {
        let claims = Claims { source_repository_id: Some(id.to_owned()), source_ref: Some(source_ref.to_owned()), ..Claims::default() };
        Certificate { claims, ..of("https://gitlab.com/acme/lab//.gitlab-ci.yml@x", "https://gitlab.com") }
    };
    let (google, spire, k8s) = ("https://accounts.google.com", "https://spire.example.org", "https://k8s.example.org");
    let cases = [
        (of("alice@example.com", google), vec![]),
        (of("alice@example.com", "https://github.com/login/oauth"), vec![Reason::OtherIssuer]),
        (of("Alice@example.com", google), vec![Reason::SignerLooksAlike]),
        (of("alice@examplexcom", google), vec![Reason::SignerLooksAlike]),
        (of("alice@example.com.evil.example", google), vec![Reason::SignerLooksAlike]),
        (of("bob@other.example", google), vec![Reason::SignerUnknown]),
        (gitlab("77", "refs/heads/release/1"), vec![]),
        (gitlab("77", "refs/heads/main"), vec![Reason::OtherRef]),
        (gitlab("78", "refs/heads/release/1"), vec![Reason::SignerUnknown]),
        (of("spiffe://example.org/lab/signer", spire), vec![]),
        (of("spiffe://example.org/lab/a/b", spire), vec![Reason::SignerLooksAlike]),
        (of("https://kubernetes.io/namespaces/ci/serviceaccounts/signer", k8s), vec![]),
        (of("https://kubernetes.io/namespaces/ci/serviceaccounts/signer2", k8s), vec![Reason::SignerLooksAlike]),
    ];
    for (certificate, expected) in cases {
        assert_eq!(judged(&policy, std::slice::from_ref(&certificate), "any", None), expected, "{}", certificate.identity);
    }
}

#[test]
fn two_branches_of_a_repository_are_one_voice_and_two_organisations_are_two() {
    let two = CI.replace("refs: [refs/heads/main]", "refs: [refs/heads/main, refs/heads/other]");
    let other = "- {name: bob, organisation: umbrella, recipes: [\"*\"], subject: {email: {address: bob@umbrella.example, issuer: https://accounts.google.com}}}\n";
    let policy = read(&format!("required: 2{two}{other}"));
    let mut branch = certificate();
    branch.claims.source_ref = Some("refs/heads/other".to_owned());
    let bob = Certificate {
        identity: "bob@umbrella.example".to_owned(),
        issuer: "https://accounts.google.com".to_owned(),
        claims: Claims::default(),
    };
    assert_eq!(judged(&policy, &[certificate(), branch.clone()], "h100-eks", None), [Reason::TooFewOrganisations]);
    assert_eq!(judged(&policy, &[certificate(), branch, bob.clone()], "h100-eks", None), []);
    assert_eq!(judged(&policy, &[bob.clone(), bob], "h100-eks", None), [Reason::TooFewOrganisations], "the same voice twice");
}

#[test]
fn what_is_proven_to_be_older_than_an_end_or_a_revocation_still_counts() {
    let ended = read(&CI.replace("  recipes:", "  expires: 2026-06-01T00:00:00Z\n  recipes:"));
    assert_eq!(judged(&ended, &[certificate()], "h100-eks", Some("2026-05-01T00:00:00Z")), []);
    assert_eq!(judged(&ended, &[certificate()], "h100-eks", Some("2026-07-01T00:00:00Z")), [Reason::EntryExpired]);
    assert_eq!(judged(&ended, &[certificate()], "h100-eks", None), [Reason::EntryExpired]);
    let issuer = format!("issuer: {GITHUB}");
    let revoked = read(&format!(
        "{CI}revoked: [{{what: {{identity: {{identity: {{glob: 'https://github.com/acme/shared/**'}}, {issuer}}}}}, since: 2026-06-01T00:00:00Z, reason: broken into}}]\n"
    ));
    assert_eq!(judged(&revoked, &[certificate()], "h100-eks", Some("2026-05-01T00:00:00Z")), []);
    assert_eq!(judged(&revoked, &[certificate()], "h100-eks", Some("2026-06-02T00:00:00Z")), [Reason::SignerRevoked]);
    assert_eq!(judged(&revoked, &[certificate()], "h100-eks", None), [Reason::SignerRevoked]);
}

#[test]
fn an_identity_of_a_flag_lets_no_other_repository_call_its_workflow() {
    use seatrial::policy::Pattern;
    let flags = |identity: Pattern| Policy::of_identity(identity, Pattern::exact(GITHUB).expect("a pattern"));
    let exact = flags(Pattern::exact(WORKFLOW).expect("a pattern"));
    let mut own = certificate();
    own.claims.source_repository = Some("https://github.com/acme/shared".to_owned());
    assert_eq!(judged(&exact, &[own.clone()], "any", None), []);
    assert_eq!(judged(&exact, &[certificate()], "any", None), [Reason::OtherSource]);
    own.claims.source_repository = None;
    assert_eq!(judged(&exact, &[own.clone()], "any", None), [Reason::OtherSource], "it does not say who called it");
    own.claims.source_repository = Some("https://github.com/acme/shared".to_owned());
    let regex = flags(Pattern::regex(r"https://github\.com/acme/shared/.*").expect("a pattern"));
    assert_eq!(judged(&regex, &[own.clone()], "any", None), []);
    own.identity = format!("https://evil.example/{WORKFLOW}");
    assert_eq!(judged(&regex, &[own], "any", None)[0], Reason::SignerLooksAlike);
}
