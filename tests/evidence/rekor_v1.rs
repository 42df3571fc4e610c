//! Signing into the first version of Rekor, as the public-good instance still wants it: a real one, and cosign beside it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial::evidence::sigstore::Envelope;
use seatrial::trust::Root;
use serde_json::{Value, json};

use crate::proofs;
use crate::registry_server::program;
use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{PEOPLE, Server, Stack, awaited, exits};

const LOG: &str = "http://127.0.0.1:13040";
/// The log's name, in its checkpoints.
const NAME: &str = "rekor1.local";

/// A log of the first version; what is told to signers and verifiers is in this directory.
struct Log {
    folder: tempfile::TempDir,
    _servers: [Server; 2],
}

impl Log {
    fn start(stack: &Stack) -> Option<Self> {
        let (rekor, trillian) = (program("rekor-server-v1")?, program("trillian-memory")?);
        let folder = tempfile::tempdir().expect("a directory");
        let port = folder.path().join("port");
        // It ends when its standard input does, which the shell around it does not give.
        let below = stack.server(
            std::path::Path::new("sh"),
            &["-c", r#"tail -f /dev/null | "$0" "$1""#, &trillian.display().to_string(), &port.display().to_string()],
        );
        let port = awaited("Trillian", || std::fs::read_to_string(&port).ok());
        let args = [
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            "13040",
            "--rekor_server.hostname",
            NAME,
            "--rekor_server.signer",
            "memory",
            "--trillian_log_server.address",
            "localhost",
            "--trillian_log_server.port",
            &port,
            "--enable_retrieve_api=false",
        ];
        let above = stack.server(&rekor, &args);
        let key = awaited("Rekor", || stack.got(&format!("{LOG}/api/v1/log/publicKey")).ok());
        let key = seatrial::evidence::PublicKey::from_pem(&String::from_utf8(key).expect("text")).expect("a key");
        let der = pem_bytes(&key.to_pem());
        let id: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&key.id().hex()[at..at + 2], 16).expect("a digit")).collect();
        let from = json!({"start": "2026-01-01T00:00:00Z"});
        let read = |path: String| -> Value { serde_json::from_slice(&std::fs::read(path).expect("is there")).expect("JSON") };
        let (mut root, mut config) = (read(stack.trusted_root()), read(stack.signing_config()));
        root["tlogs"] = json!([{
            "baseUrl": format!("https://{NAME}"), "hashAlgorithm": "SHA2_256", "logId": {"keyId": STANDARD.encode(id)},
            "publicKey": {"rawBytes": STANDARD.encode(der), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": from},
        }]);
        config["rekorTlogUrls"] = json!([{"url": LOG, "majorApiVersion": 1, "validFor": from, "operator": "seatrial tests"}]);
        for (name, document) in [("root.json", root), ("config.json", config)] {
            std::fs::write(folder.path().join(name), document.to_string()).expect("is written");
        }
        Some(Self { folder, _servers: [above, below] })
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

fn pem_bytes(text: &str) -> Vec<u8> {
    STANDARD.decode(text.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).expect("base64")
}

#[test]
#[ignore = "matrix"]
fn what_is_signed_into_the_first_version_of_rekor_is_proven_and_no_change_of_it_that_cosign_refuses() {
    let Some(stack) = Stack::shared() else { return };
    let Some(log) = Log::start(stack) else { return };
    let signed = Signed::unsigned(&Sample::good().bundle());
    let token = stack.token(PEOPLE, "email=dev@example.com", signed.root());
    let root = log.file("root.json");
    let mut sign =
        stack.seatrial(&["evidence", "sign", "bundle", "--identity-token-file", &token, "--signing-config", &log.file("config.json")]);
    sign.args(["--trusted-root", &root]).current_dir(signed.root());
    exits(sign, 0);
    let bytes = std::fs::read(signed.bundle().join("signature.sigstore.json")).expect("is there");
    let document: Value = serde_json::from_slice(&bytes).expect("JSON");
    let entry = &document["verificationMaterial"]["tlogEntries"][0];
    assert_eq!(entry["kindVersion"], json!({"kind": "dsse", "version": "0.0.1"}));
    let envelope = Envelope::parse(&bytes).expect("reads");
    let proven = envelope.prove_by_certificate(&Root::with_files(&[root.clone().into()]).expect("reads")).expect("is proven");
    // The log promises a time, and the authority stamps one.
    assert!(proven.times.logged.is_some() && proven.times.timestamps.len() == 1, "{:?}", proven.times);
    proofs::judge(stack, &root, &signed, false, &["--certificate-identity", "dev@example.com", "--certificate-oidc-issuer", PEOPLE]);
}
