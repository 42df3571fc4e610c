//! Signing with the services of a real, private Sigstore, and what cosign and we make of each other's signatures.

use std::path::Path;

use seatrial::evidence::signer::{SignedBy, Times};
use seatrial::evidence::sigstore::Envelope;
use seatrial::evidence::{Pointer, PublicKey};
use seatrial::trust::Root;

use crate::registry_server::program;
use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{GITHUB, PEOPLE, REGISTRY, Stack, TUF, exits};

const TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";
const WORKFLOW: &str = "https://github.com/example-org/shared/.github/workflows/reusable.yml@refs/tags/v1";

/// A bundle that nobody has signed.
fn unsigned() -> Signed {
    Signed::unsigned(&Sample::good().bundle())
}

/// Publishes it to a repository of the stack's registry, signed as these flags say.
fn publish(stack: &Stack, signed: &Signed, repository: &str, signer: &[&str]) -> std::process::Command {
    let repository = format!("{REGISTRY}/{repository}");
    let mut command = stack.seatrial(&["evidence", "publish", "bundle", "--push", &repository, "--plain-http"]);
    command.args(signer).args(["--trusted-root", &stack.trusted_root()]).current_dir(signed.root());
    command
}

fn proven(stack: &Stack, bundle: &Path, key: Option<&PublicKey>) -> (SignedBy, Times) {
    let envelope = Envelope::parse(&std::fs::read(bundle).expect("is there")).expect("reads");
    let root = Root::with_files(&[stack.trusted_root().into()]).expect("reads");
    let proven = match key {
        Some(key) => envelope.prove_by_key(key, &root),
        None => envelope.prove_by_certificate(&root),
    };
    let proven = proven.expect("is proven");
    (proven.by, proven.times)
}

/// The only pointer of a bundle that was published.
fn pointer(signed: &Signed) -> (String, String) {
    let folder = signed.root().join("evidence/sim-h100");
    let path = std::fs::read_dir(folder).expect("is there").next().expect("one").expect("an entry").path();
    (path.display().to_string(), std::fs::read_to_string(&path).expect("reads"))
}

#[test]
fn a_person_signs_without_a_key_and_we_and_cosign_verify_it_for_that_person_only() {
    let Some(stack) = Stack::shared() else { return };
    let signed = unsigned();
    let token = stack.token(PEOPLE, "email=dev@example.com", signed.root());
    let config = stack.signing_config();
    exits(publish(stack, &signed, "team/person", &["--identity-token-file", &token, "--signing-config", &config]), 0);
    let signature = signed.bundle().join("signature.sigstore.json");
    let (by, times) = proven(stack, &signature, None);
    assert_eq!(by.to_string(), format!("dev@example.com ({PEOPLE})"));
    assert_eq!((times.timestamps.len(), times.logged), (1, None));
    assert!(times.log.is_some());

    let (path, text) = pointer(&signed);
    assert!(text.contains("identity: dev@example.com") && text.contains(&format!("issuer: {PEOPLE}")), "{text}");
    let root = stack.trusted_root();
    let verify = |input: &str, identity: &str, issuer: &str, root: &[&str]| {
        let who = ["--certificate-identity", identity, "--certificate-oidc-issuer", issuer, "--plain-http"];
        let mut command = stack.seatrial(&["evidence", "verify", input]);
        command.args(who).args(root).current_dir(signed.root());
        command
    };
    for input in ["bundle", &path] {
        exits(verify(input, "dev@example.com", PEOPLE, &["--trusted-root", &root]), 0);
        exits(verify(input, "DEV@example.com", PEOPLE, &["--trusted-root", &root]), 11);
        exits(verify(input, "dev@example.com", GITHUB, &["--trusted-root", &root]), 11);
        let said = exits(verify(input, "dev@example.com", PEOPLE, &[]), 20);
        assert!(said.contains("--trusted-root"), "{said}");
    }

    let artifact = format!("{REGISTRY}/team/person@{}", Pointer::parse(&text, &path).expect("reads").bundle.digest);
    let cosign = |identity: &str| {
        let who = ["--certificate-identity", identity, "--certificate-oidc-issuer", PEOPLE, "--type", TYPE];
        let mut command = stack.cosign(&["verify-attestation", "--allow-http-registry", &artifact])?;
        command.args(who);
        Some(command)
    };
    let Some(right) = cosign("dev@example.com") else { return };
    exits(right, 0);
    let wrong = cosign("eve@example.com").expect("is here").output().expect("runs");
    assert!(!wrong.status.success());
    let file = signed.bundle().join("manifest.json").display().to_string();
    let mut local =
        stack.cosign(&["verify-blob-attestation", "--type", TYPE, "--bundle", &signature.display().to_string(), &file]).expect("is here");
    local.args(["--certificate-identity", "dev@example.com", "--certificate-oidc-issuer", PEOPLE]);
    exits(local, 0);
}

#[test]
fn a_workflow_signs_by_its_ambient_token_and_all_claims_are_kept() {
    let Some(stack) = Stack::shared() else { return };
    let signed = unsigned();
    let config = stack.signing_config();
    let run = |bearer: &str| {
        let mut command = publish(stack, &signed, "team/workflow", &["--signing-config", &config]);
        command.env("GITHUB_ACTIONS", "true").env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{GITHUB}/token?x="));
        command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", bearer);
        command
    };
    let said = exits(run("another"), 4);
    assert!(said.contains("id-token: write"), "{said}");
    exits(run("request-token"), 0);
    let (by, _) = proven(stack, &signed.bundle().join("signature.sigstore.json"), None);
    let SignedBy::Certificate(certificate) = by else { panic!("{by:?}") };
    assert_eq!((certificate.identity.as_str(), certificate.issuer.as_str()), (WORKFLOW, GITHUB));
    let claims = serde_json::to_value(&certificate.claims).expect("JSON");
    let expected = serde_json::json!({
        "buildSignerUri": WORKFLOW,
        "runnerEnvironment": "github-hosted",
        "sourceRepository": "https://github.com/example-org/evidence",
        "sourceDigest": "2e8dcf405ce80acd38aeb5c94e2fdae247d02ffe",
        "sourceRef": "refs/heads/main",
        "sourceRepositoryId": "202",
        "sourceOwner": "https://github.com/example-org",
        "sourceOwnerId": "101",
        "buildConfigUri": "https://github.com/example-org/evidence/.github/workflows/ci.yml@refs/heads/main",
        "trigger": "push",
        "run": "https://github.com/example-org/evidence/actions/runs/3003/attempts/1",
    });
    assert_eq!(claims, expected);
    assert!(pointer(&signed).1.contains("sourceRepository: https://github.com/example-org/evidence"));
}

#[test]
fn a_token_that_is_missing_over_or_for_somebody_else_is_refused_with_the_way_out() {
    let Some(stack) = Stack::shared() else { return };
    let signed = unsigned();
    let config = stack.signing_config();
    let said = exits(publish(stack, &signed, "team/none", &["--signing-config", &config]), 2);
    assert!(said.contains("--identity-token-file") && said.contains("--key"), "{said}");
    let token = stack.token(PEOPLE, "aud=another", signed.root());
    let said = exits(publish(stack, &signed, "team/none", &["--signing-config", &config, "--identity-token-file", &token]), 4);
    assert!(said.contains("audience `sigstore`"), "{said}");
    assert!(!signed.bundle().join("signature.sigstore.json").exists());
}

#[test]
fn a_key_signs_with_log_and_clock_and_cosign_verifies_it() {
    let Some(stack) = Stack::shared() else { return };
    let signed = unsigned();
    let config = stack.signing_config();
    exits(publish(stack, &signed, "team/key", &["--key", "seatrial.key", "--signing-config", &config]), 0);
    let signature = signed.bundle().join("signature.sigstore.json");
    let (by, times) = proven(stack, &signature, Some(&signed.key()));
    assert_eq!(by, SignedBy::Key(signed.key().id()));
    assert!(times.proven().is_some() && times.log.is_some());
    let verify = |root: &[&str]| {
        let mut command = stack.seatrial(&["evidence", "verify", "bundle", "--key", "seatrial.pub"]);
        command.args(root).current_dir(signed.root());
        command
    };
    exits(verify(&["--trusted-root", &stack.trusted_root()]), 0);
    // What comes with a signature counts, so that who cannot check it does not accept it.
    exits(verify(&[]), 20);
    let file = signed.bundle().join("manifest.json").display().to_string();
    let public = signed.public.display().to_string();
    let args = [
        "verify-blob-attestation",
        "--type",
        TYPE,
        "--use-signed-timestamps",
        "--key",
        &public,
        "--bundle",
        &signature.display().to_string(),
        &file,
    ];
    let Some(cosign) = stack.cosign(&args) else { return };
    exits(cosign, 0);
}

#[test]
fn a_timestamp_alone_is_enough_to_prove_a_time() {
    let Some(stack) = Stack::shared() else { return };
    let signed = unsigned();
    let clock = "http://127.0.0.1:13010/api/v1/timestamp";
    exits(publish(stack, &signed, "team/clock", &["--key", "seatrial.key", "--timestamp-url", clock]), 0);
    let (_, times) = proven(stack, &signed.bundle().join("signature.sigstore.json"), Some(&signed.key()));
    assert_eq!((times.timestamps.len(), times.log), (1, None));
    let mut later = publish(stack, &unsigned(), "team/clock", &["--key", "seatrial.key", "--timestamp-url", "http://127.0.0.1:9/"]);
    later.current_dir(signed.root());
    // It is signed already: no service is asked again.
    exits(later, 0);
}

#[test]
fn a_command_signs_for_a_key_that_we_never_see() {
    let Some(stack) = Stack::shared() else { return };
    let signed = unsigned();
    let with =
        |command: &str| publish(stack, &signed, "team/command", &["--signer-command", command, "--signer-public-key", "seatrial.pub"]);
    let said = exits(with("cat"), 20);
    assert!(said.contains("did not make this signature"), "{said}");
    exits(with("openssl dgst -sha256 -sign seatrial.key | base64"), 0);
    let (by, times) = proven(stack, &signed.bundle().join("signature.sigstore.json"), Some(&signed.key()));
    assert_eq!((by, times), (SignedBy::Key(signed.key().id()), Times::default()));
}

#[test]
fn what_cosign_signs_is_proven_and_its_keys_are_read() {
    let Some(stack) = Stack::shared() else { return };
    let Some(cosign) = program("cosign") else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("is written");
        path.display().to_string()
    };
    let (artifact, predicate) = (write("artifact", "hello"), write("predicate.json", "{}"));
    let token = stack.token(PEOPLE, "email=dev@example.com", folder.path());
    let bundle = folder.path().join("bundle.json");
    let config = stack.signing_config();
    let args = ["attest-blob", "--yes", "--signing-config", &config, "--predicate", &predicate, "--type", TYPE, "--bundle"];
    let mut attest = stack.cosign(&args).expect("is here");
    attest.arg(&bundle).args(["--identity-token", &token, &artifact]);
    exits(attest, 0);
    assert_eq!(proven(stack, &bundle, None).0.to_string(), format!("dev@example.com ({PEOPLE})"));

    let mut keys = stack.command(&cosign);
    keys.args(["generate-key-pair"]).env("COSIGN_PASSWORD", "open sesame").current_dir(folder.path());
    exits(keys, 0);
    let public = PublicKey::from_pem(&std::fs::read_to_string(folder.path().join("cosign.pub")).expect("is there")).expect("reads");
    let text = std::fs::read_to_string(folder.path().join("cosign.key")).expect("is there");
    let key = seatrial::sign::LocalKey::from_pem(&text, Some("open sesame")).expect("reads");
    assert_eq!(key.public_key().id(), public.id());
    for passphrase in [None, Some("wrong")] {
        seatrial::sign::LocalKey::from_pem(&text, passphrase).expect_err("is refused");
    }
}

#[test]
fn nothing_is_left_of_the_stack_when_the_test_process_is_gone() {
    let Some(stack) = Stack::start() else { return };
    assert_eq!(stack.leaves(std::time::Duration::from_secs(30)), None);
}

/// The commands of a page, each on one line.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("a block").replace("\\\n", " "));
    blocks
        .flat_map(|block| block.lines().map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_command_of_the_documentation_does_what_it_says() {
    let Some(stack) = Stack::shared() else { return };
    let keys = Signed::unsigned(&Sample::good().bundle());
    let key = std::fs::read_to_string(keys.root().join("seatrial.key")).expect("is there");
    let commands = commands(include_str!("../../docs/signing.md"));
    assert!(commands.len() >= 8, "{commands:?}");
    let signed = unsigned();
    let bundle = signed.bundle().display().to_string();
    for (number, line) in commands.iter().enumerate() {
        let keyless = !line.contains("key");
        if line.contains("publish") {
            // Each signs a bundle that nobody has signed.
            std::fs::remove_file(signed.bundle().join("signature.sigstore.json")).unwrap_or(());
            std::fs::remove_dir_all(signed.root().join("evidence")).unwrap_or(());
        }
        for (from, name) in [(stack.trusted_root(), "trusted_root.json"), (stack.signing_config(), "signing_config.json")] {
            std::fs::copy(from, signed.root().join(name)).expect("is copied");
        }
        std::fs::write(signed.root().join("root.json"), stack.get(&format!("{TUF}/do/docs/new"))).expect("is written");
        std::fs::write(signed.root().join("kms.pem"), &key).expect("is written");
        std::fs::copy(&keys.public, signed.root().join("kms.pub")).expect("is copied");
        let token = stack.token(PEOPLE, "email=dev@example.com", signed.root());
        let line = line
            .replace("ghcr.io/example/evidence", &format!("{REGISTRY}/docs/{number}"))
            .replace("registry.example.com/evidence", &format!("{REGISTRY}/docs/{number}"))
            .replace("https://accounts.example.com", PEOPLE)
            .replace("https://tuf.example.com", &format!("{TUF}/docs"))
            .replace("out/bundle", &bundle)
            .replacen("seatrial ", &format!("{} ", env!("CARGO_BIN_EXE_seatrial")), 1);
        let mut command = stack.command("sh");
        command.args(["-c", &line]).current_dir(signed.root()).env("SEATRIAL_PLAIN_HTTP", "true");
        command.env("SEATRIAL_TRUSTED_ROOT", stack.trusted_root());
        if keyless {
            command.env("SEATRIAL_SIGNING_CONFIG", stack.signing_config());
            command.env("SIGSTORE_ID_TOKEN", std::fs::read_to_string(token).expect("is there"));
        }
        // There is no internet in the namespace.
        let update = line.ends_with("trust update");
        let said = exits(command, if update { 6 } else { 0 });
        assert!(!update || said.contains("verification goes on"), "{said}");
    }
}
