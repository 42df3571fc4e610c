//! Every field of certificate, log entry and timestamp changed, one at a time: what we accept, cosign accepts too.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial::error::Kind;
use seatrial::evidence::signer::{SignedBy, Times};
use seatrial::evidence::sigstore::Envelope;
use seatrial::trust::Root;
use serde_json::{Value, json};

use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{PEOPLE, REGISTRY, Stack, exits};

/// Fields in which a change is not noticed, because nothing that is verified depends on them: they are never shown as verified.
/// docs/signing.md lists them.
pub(crate) const UNAUTHENTICATED: &[&str] = &[
    // The status around a timestamp, and certificates that come with it and are not the ones that count.
    "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp",
    // A name for a key; the signature is tried with the key that is expected.
    "/dsseEnvelope/signatures/0/keyid",
];

/// Every place of a document, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, value)| (format!("{at}/{name}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (format!("{at}/{index}"), value)).collect(),
        _ => Vec::new(),
    };
    for (place, child) in children {
        found.push(place.clone());
        places(child, &place, found);
    }
}

/// Takes what is at a place away.
fn without(document: &Value, place: &str) -> Value {
    let mut changed = document.clone();
    let (parent, name) = place.rsplit_once('/').expect("a place");
    match changed.pointer_mut(parent).expect("is there") {
        Value::Object(object) => drop(object.remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().expect("an index"))),
        _ => panic!("{parent} holds nothing"),
    }
    changed
}

/// All single changes of a document: fields taken away, doubled, emptied, counted up, and bits of what is in base64 turned.
pub(crate) fn changes(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    let mut found = Vec::new();
    places(document, "", &mut found);
    for place in found {
        let value = document.pointer(&place).expect("is there").clone();
        let mut add = |what: &str, new: Value| {
            let mut changed = document.clone();
            *changed.pointer_mut(&place).expect("is there") = new;
            all.push((place.clone(), what.to_owned(), changed));
        };
        match &value {
            Value::String(text) => {
                add("emptied", json!(""));
                if let Ok(number) = text.parse::<i64>() {
                    for other in [number + 1, number - 1, -1, 1_700_000_000] {
                        add(&format!("{other}"), json!(other.to_string()));
                    }
                } else if let Ok(bytes) =
                    STANDARD.decode(text).map_err(drop).and_then(|bytes| if bytes.len() > 8 { Ok(bytes) } else { Err(()) })
                {
                    // Long ones at every seventh byte: certificates and timestamps have a few thousand.
                    for at in (0..bytes.len()).step_by(if bytes.len() > 128 { 7 } else { 3 }) {
                        let mut other = bytes.clone();
                        other[at] ^= 1;
                        add(&format!("byte {at}"), json!(STANDARD.encode(other)));
                    }
                    add("cut", json!(STANDARD.encode(&bytes[..bytes.len() - 1])));
                    add("longer", json!(STANDARD.encode([&bytes[..], b"x"].concat())));
                } else {
                    for (at, letter) in text.char_indices().step_by(5) {
                        let mut other = text.clone();
                        other.replace_range(at..at + letter.len_utf8(), if letter == 'A' { "B" } else { "A" });
                        add(&format!("letter {at}"), json!(other));
                    }
                    add("longer", json!(format!("{text}x")));
                }
            }
            Value::Array(items) => {
                add("emptied", json!([]));
                add("doubled", json!([&items[..], &items[..]].concat()));
            }
            Value::Object(_) => add("emptied", json!({})),
            _ => {}
        }
        // What is empty says nothing, and a number that is not there is a zero: the first entry of a log has index 0 and no hashes.
        if ![json!({}), json!([]), json!("0")].contains(&value) {
            all.push((place.clone(), "taken away".to_owned(), without(document, &place)));
        }
    }
    all
}

/// True if something is missing, and nothing is new.
fn less(now: &Times, then: &Times) -> bool {
    let log = now.log.is_none() || now.log == then.log;
    let logged = now.logged.is_none() || now.logged == then.logged;
    log && logged && now.timestamps.iter().all(|time| then.timestamps.contains(time))
}

/// Holds all changes of a bundle's signature against our verdict, and ours against cosign's.
pub(crate) fn judge(stack: &Stack, trusted_root: &str, signed: &Signed, key: bool, cosign: &[&str]) {
    let path = signed.bundle().join("signature.sigstore.json");
    let good: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("JSON");
    let root = Root::with_files(&[trusted_root.into()]).expect("reads");
    let ours = |document: &Value| {
        let envelope = Envelope::parse(document.to_string().as_bytes())?;
        if key { envelope.prove_by_key(&signed.key(), &root) } else { envelope.prove_by_certificate(&root) }.map(|proven| proven.times)
    };
    let times = ours(&good).expect("is good");
    let theirs = |document: &Value, proven: &Times| {
        let file = signed.root().join("changed.json");
        std::fs::write(&file, document.to_string()).expect("is written");
        let artifact = signed.bundle().join("manifest.json").display().to_string();
        let args = ["verify-blob-attestation", "--type", "https://in-toto.io/attestation/test-result/v0.1", "--bundle"];
        let mut command = stack.cosign_with(trusted_root, &args)?;
        command.arg(file).arg(artifact).args(cosign);
        // A key's signature proves itself without log and clock; cosign is then asked no more than we say.
        command.args((key && !proven.timestamps.is_empty()).then_some("--use-signed-timestamps"));
        command.args((key && proven.log.is_none()).then_some("--insecure-ignore-tlog"));
        Some(command)
    };
    if let Some(command) = theirs(&good, &times) {
        exits(command, 0);
    }
    let changes = changes(&good);
    assert!(changes.len() >= 300, "{} changes", changes.len());
    let mut accepted = BTreeSet::new();
    // One change of each field is shown to cosign, and all those of what holds structure.
    let mut shown = BTreeSet::new();
    for (place, what, document) in &changes {
        let Ok(proven) = ours(document) else { continue };
        if *document == good {
            continue;
        }
        if proven == times {
            accepted.insert(place.as_str());
        } else {
            // Only what is not needed can be taken away, and then it is not claimed: all of it from a key's signature, timestamps where a log
            // of the first version has promised a time.
            assert!((key || times.logged.is_some()) && less(&proven, &times), "{place} {what}: {proven:?} was {times:?}");
        }
        if !shown.insert((place.clone(), what.split(' ').next().map(str::to_owned))) {
            continue;
        }
        if let Some(mut command) = theirs(document, &proven) {
            let output = command.output().expect("runs");
            assert!(output.status.success(), "we accept {place} {what}, cosign says: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let surprise: Vec<&&str> = accepted.iter().filter(|place| !UNAUTHENTICATED.contains(place)).collect();
    assert!(surprise.is_empty(), "a change goes unnoticed at {surprise:?}");
}

fn signed(stack: &Stack, flags: &[&str]) -> Signed {
    let signed = Signed::unsigned(&Sample::good().bundle());
    let (config, repository) = (stack.signing_config(), format!("{REGISTRY}/team/proofs"));
    let token = stack.token(PEOPLE, "email=dev@example.com", signed.root());
    let flags: Vec<&str> = flags.iter().map(|flag| if *flag == "TOKEN" { token.as_str() } else { flag }).collect();
    let mut command =
        stack.seatrial(&["evidence", "publish", "bundle", "--push", &repository, "--plain-http", "--signing-config", &config]);
    command.args(flags).args(["--trusted-root", &stack.trusted_root()]).current_dir(signed.root());
    exits(command, 0);
    signed
}

#[test]
fn no_change_of_a_keyless_signature_is_accepted_that_cosign_refuses() {
    let Some(stack) = Stack::shared() else { return };
    let signed = signed(stack, &["--identity-token-file", "TOKEN"]);
    judge(
        stack,
        &stack.trusted_root(),
        &signed,
        false,
        &["--certificate-identity", "dev@example.com", "--certificate-oidc-issuer", PEOPLE],
    );
}

#[test]
fn no_change_of_a_keys_signature_with_log_and_clock_is_accepted_that_cosign_refuses() {
    let Some(stack) = Stack::shared() else { return };
    let signed = signed(stack, &["--key", "seatrial.key"]);
    let public = signed.public.display().to_string();
    judge(stack, &stack.trusted_root(), &signed, true, &["--key", &public]);
}

#[test]
fn a_signature_of_the_public_good_instance_is_proven_by_the_built_in_root_and_no_change_of_it_is() {
    let good: Value = serde_json::from_str(include_str!("../fixtures/sigstore/rekor-v1.sigstore.json")).expect("JSON");
    let text = good.to_string();
    let envelope = Envelope::parse(text.as_bytes()).expect("reads");
    let proven = envelope.prove_by_certificate(&Root::default()).expect("is proven");
    let SignedBy::Certificate(certificate) = &proven.by else { panic!("{:?}", proven.by) };
    assert_eq!(certificate.issuer, "https://token.actions.githubusercontent.com");
    assert_eq!(certificate.claims.source_repository_id.as_deref(), Some("1048392115"));
    // Rekor v1 promises when it has seen a signature.
    assert_eq!(proven.times.logged.map(|time| time.as_second()), Some(1_756_728_839));
    assert!(proven.times.timestamps.is_empty());
    let mut unnoticed = BTreeSet::new();
    for (place, what, document) in changes(&good) {
        let proven =
            Envelope::parse(document.to_string().as_bytes()).and_then(|changed| changed.prove_by_certificate(&Root::default()).map(drop));
        if document != good && proven.is_ok() {
            unnoticed.insert(format!("{place} {what}"));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

#[test]
fn a_log_of_version_2_with_another_kind_of_key_is_known_by_its_name() {
    let root = |text: &str| {
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::write(folder.path().join("root.json"), text).expect("is written");
        Root::with_files(&[folder.path().join("root.json")]).expect("reads")
    };
    let staging = include_str!("../fixtures/sigstore/staging-root.json");
    let envelope = Envelope::parse(include_bytes!("../fixtures/sigstore/rekor-v2.sigstore.json")).expect("reads");
    envelope.prove_by_certificate(&root(staging)).expect("is proven");
    let renamed = staging.replace("https://log2025-", "https://log2026-");
    assert_ne!(renamed, staging);
    let error = envelope.prove_by_certificate(&root(&renamed)).expect_err("is another log");
    assert_eq!(error.kind(), Kind::Signature);
}
