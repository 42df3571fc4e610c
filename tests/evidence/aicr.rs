//! Signed bundles of NVIDIA AICR, by their documented form: the signature is cosign's, by the services of a private Sigstore.

use std::path::PathBuf;

use seatrial::digest::Digest;
use serde_json::{Value, json};

use crate::sigstore_stack::{PEOPLE, Stack, exits};

const TYPE: &str = "https://aicr.run/recipe-evidence/v3";

/// A bundle's directory, with nothing wrong in it.
struct Bundle {
    folder: tempfile::TempDir,
    predicate: Value,
}

impl Bundle {
    fn new(attested_at: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let recipe = "kind: Recipe\nspec: {}\n";
        let ctrf = json!({"results": {"tests": [{"name": "x", "status": "passed"}]}}).to_string();
        let entry = |path: &str, text: &str| json!({"path": path, "size": text.len(), "sha256": Digest::of(text.as_bytes()).as_str()});
        let files = [entry("recipe.yaml", recipe), entry("ctrf/conformance.json", &ctrf)];
        let manifest = json!({"schemaVersion": "1.0.0", "files": files}).to_string();
        let predicate = json!({
            "schemaVersion": "1.0.0", "attestedAt": attested_at, "aicrVersion": "v0.12",
            "recipe": {"name": "h100-eks", "digest": Digest::of(recipe.as_bytes()).hex()},
            "phases": {"conformance": {"passed": 1, "failed": 0, "skipped": 0, "ctrfDigest": Digest::of(ctrf.as_bytes()).as_str()}},
            "manifest": {"digest": Digest::of(manifest.as_bytes()).as_str(), "fileCount": 2},
        });
        let bundle = Self { folder, predicate };
        std::fs::create_dir_all(bundle.path("ctrf")).expect("is made");
        for (path, text) in [("recipe.yaml", recipe), ("ctrf/conformance.json", &ctrf), ("manifest.json", &manifest)] {
            std::fs::write(bundle.path(path), text).expect("is written");
        }
        bundle.states(&bundle.predicate);
        bundle
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("summary-bundle").join(name)
    }

    fn states(&self, predicate: &Value) {
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": TYPE, "predicate": predicate});
        std::fs::write(self.path("statement.intoto.json"), statement.to_string()).expect("is written");
    }

    /// Signs the predicate; none where cosign is not on this machine.
    fn signed(self, stack: &Stack) -> Option<Self> {
        let root = self.folder.path();
        std::fs::write(root.join("predicate.json"), self.predicate.to_string()).expect("is written");
        std::fs::write(root.join("artifact"), "its OCI manifest").expect("is written");
        let token = stack.token(PEOPLE, "email=dev@example.com", root);
        let config = stack.signing_config();
        let args = [
            "attest-blob",
            "--yes",
            "--signing-config",
            &config,
            "--predicate",
            "predicate.json",
            "--type",
            TYPE,
            "--identity-token",
            &token,
        ];
        let mut attest = stack.cosign(&args)?;
        attest.args(["--bundle", "summary-bundle/attestation.intoto.jsonl", "artifact"]).current_dir(root);
        exits(attest, 0);
        Some(self)
    }

    #[track_caller]
    fn verifies(&self, stack: &Stack, root: &[&str], code: i32, parts: &[&str]) {
        let mut command = stack.seatrial(&["evidence", "verify", ".", "--integrity-only"]);
        command.args(root).current_dir(self.folder.path());
        let said = exits(command, code);
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn the_signature_of_a_bundle_of_aicr_is_verified_and_makes_it_no_evidence_of_ours() {
    let Some(stack) = Stack::shared() else { return };
    let bundle = Bundle::new("2026-09-20T10:00:00Z");
    let trusted = stack.trusted_root();
    let root = ["--trusted-root", trusted.as_str()];
    bundle.verifies(stack, &root, 10, &["signature  not-run  unsigned"]);
    let Some(bundle) = bundle.signed(stack) else { return };
    let who = format!("dev@example.com ({PEOPLE})");
    bundle.verifies(stack, &root, 11, &["signature  ok", "identity   not-run", &who, "freshness  ok", "manifest   ok"]);
    bundle.verifies(stack, &[], 20, &["signature  failed", "--trusted-root"]);

    // Good, and of something else: the directory says more than was signed.
    let mut other = bundle.predicate.clone();
    other["aicrVersion"] = json!("v0.13");
    bundle.states(&other);
    bundle.verifies(stack, &root, 20, &["signature  failed", "another predicate"]);
    bundle.states(&bundle.predicate);
    let file = bundle.path("attestation.intoto.jsonl");
    let good = std::fs::read(&file).expect("is there");
    let mut document: Value = serde_json::from_slice(&good).expect("JSON");
    document["dsseEnvelope"]["payload"] = json!("e30=");
    for changed in [document.to_string(), "{}".to_owned()] {
        std::fs::write(&file, changed).expect("is written");
        bundle.verifies(stack, &root, 20, &["signature  failed"]);
    }
    std::fs::write(&file, good).expect("is put back");
    std::fs::write(bundle.path("extra"), "").expect("is written");
    bundle.verifies(stack, &root, 21, &["signature  ok", "manifest   failed"]);
}

#[test]
fn a_bundle_of_aicr_that_says_it_is_later_than_its_signature_contradicts_itself() {
    let Some(stack) = Stack::shared() else { return };
    let Some(bundle) = Bundle::new("2099-01-01T00:00:00Z").signed(stack) else { return };
    bundle.verifies(
        stack,
        &["--trusted-root", &stack.trusted_root()],
        21,
        &["signature  ok", "freshness  failed", "later than the signature"],
    );
}
