//! What sigstore-python makes of our signatures: a client that shares no code with us, nor with cosign.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::registry_server::program;
use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{PEOPLE, Stack, exits, said};

#[test]
fn sigstore_python_verifies_our_signature_and_no_changed_one() {
    let Some(stack) = Stack::shared() else { return };
    let Some(python) = program("sigstore-python") else { return };
    let signed = Signed::unsigned(&Sample::good().bundle());
    let token = stack.token(PEOPLE, "email=dev@example.com", signed.root());
    let mut sign = stack.seatrial(&["evidence", "sign", "bundle", "--identity-token-file", &token]);
    sign.args(["--signing-config", &stack.signing_config(), "--trusted-root", &stack.trusted_root()]).current_dir(signed.root());
    exits(sign, 0);
    let read = |path: String| -> Value { serde_json::from_slice(&std::fs::read(path).expect("is there")).expect("JSON") };
    let trust = json!({
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": read(stack.trusted_root()),
        "signingConfig": read(stack.signing_config()),
    });
    let write = |name: &str, document: &Value| std::fs::write(signed.root().join(name), document.to_string()).expect("is written");
    write("trust.json", &trust);
    let mut bundle = read(signed.bundle().join("signature.sigstore.json").display().to_string());
    let verify = |document: &Value| {
        write("bundle.json", document);
        let mut command = stack.command(&python);
        command.args([
            "--trust-config",
            "trust.json",
            "verify",
            "identity",
            "--bundle",
            "bundle.json",
            "--cert-identity",
            "dev@example.com",
        ]);
        command.args(["--cert-oidc-issuer", PEOPLE, "bundle/manifest.json"]).current_dir(signed.root());
        let output = command.output().expect("runs");
        (output.status.success(), said(&output))
    };
    let (accepted, heard) = verify(&bundle);
    assert!(accepted, "{heard}");
    let payload = &mut bundle["dsseEnvelope"]["payload"];
    let statement = STANDARD.decode(payload.as_str().expect("text")).expect("base64");
    // The same to every reader of JSON.
    *payload = STANDARD.encode([&statement[..], b" "].concat()).into();
    let (accepted, heard) = verify(&bundle);
    assert!(!accepted && heard.to_lowercase().contains("signature"), "{heard}");
}
