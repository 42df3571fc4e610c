//! Every field of every document changed, one at a time: each change is caught by its stage, for its reason, with its exit code.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial::digest::canonical_json;
use seatrial::evidence::{MANIFEST, Pointer, SIGNATURE, directory};
use seatrial::publish::{Target, publish};
use seatrial::reason::Reason;
use seatrial::registry::Options;
use seatrial::verify::{Verification, Word};
use serde_json::{Value, json};

use crate::registry_server::{Flavour, RegistryServer};
use crate::sample::{Sample, verify_with};

/// Fields of a pointer that nothing authenticates, as docs/threat-model.md lists them. They are never shown as verified.
const UNAUTHENTICATED: &[&str] =
    &["/recordedAt", "/signatures/0/key", "/signatures/0/issuer", "/signatures/0/identity", "/signatures/0/sourceRepository"];

/// Paths of all values that hold no others.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(fields) if !fields.is_empty() => fields.iter().for_each(|(key, value)| leaves(value, &below(key), found)),
        Value::Array(entries) if !entries.is_empty() => {
            entries.iter().enumerate().for_each(|(index, value)| leaves(value, &below(&index.to_string()), found));
        }
        _ => found.push(path.to_owned()),
    }
}

/// A document with each of its leaves changed in turn.
fn changed(document: &Value) -> Vec<(String, Value)> {
    let mut paths = Vec::new();
    leaves(document, "", &mut paths);
    let change = |path: String| {
        let mut changed = document.clone();
        let leaf = changed.pointer_mut(&path).expect("is there");
        *leaf = match &*leaf {
            Value::String(text) => Value::String(another(text)),
            Value::Number(number) => Value::from(number.as_f64().unwrap_or_default() + 1.0),
            Value::Bool(held) => Value::Bool(!held),
            Value::Array(_) => json!(["something"]),
            Value::Object(_) => json!({"something": "else"}),
            _ => Value::from("something"),
        };
        (path, changed)
    };
    paths.into_iter().map(change).collect()
}

/// A text of the same form, where it has one, that says something else.
fn another(text: &str) -> String {
    match text.char_indices().last() {
        Some((at, last)) if text.starts_with("sha256:") => format!("{}{}", &text[..at], if last == '0' { '1' } else { '0' }),
        _ if text.ends_with('Z') && text.contains('T') => text.replacen("20", "21", 1),
        _ => format!("{text}x"),
    }
}

fn ended(verification: &Verification) -> (String, Option<Reason>, u8) {
    let report = &verification.report;
    let failed = report.stages.iter().find(|stage| !stage.reasons.is_empty());
    assert_eq!(verification.evidence.is_some(), report.verdict == Word::Verified);
    (failed.map(|stage| stage.name.clone()).unwrap_or_default(), report.reason, report.exit)
}

fn wanted(stage: &str, reason: Reason) -> (String, Option<Reason>, u8) {
    (stage.to_owned(), Some(reason), reason.exit().code())
}

#[tokio::test]
async fn every_field_of_every_file_is_held_by_the_signature() {
    let signed = Sample::good().signed();
    let folder = signed.bundle();
    let mut changes = 0;
    for (path, bytes) in directory::read(&folder).expect("reads").files {
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let reason = if path == MANIFEST { Reason::OtherBundle } else { Reason::FilesDiffer };
        for (field, document) in changed(&document) {
            std::fs::write(folder.join(&path), canonical_json(&document).expect("JSON")).expect("is written");
            let verification = signed.verify().await;
            assert_eq!(ended(&verification), wanted("manifest", reason), "{path} {field}");
            assert!(verification.report.verified.is_none(), "{path} {field}");
            changes += 1;
        }
        std::fs::write(folder.join(&path), bytes).expect("is put back");
    }
    assert_eq!(signed.verify().await.exit.code(), 0, "put back as it was");
    assert!(changes >= 200, "{changes} changes");
}

#[tokio::test]
async fn every_field_of_the_signature_and_of_its_statement_is_held() {
    let signed = Sample::good().signed();
    let path = signed.bundle().join(SIGNATURE);
    let good: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("JSON");
    let mut seen: BTreeMap<String, (String, Option<Reason>, u8)> = BTreeMap::new();
    for (field, document) in changed(&good) {
        std::fs::write(&path, document.to_string()).expect("is written");
        seen.insert(field, ended(&signed.verify().await));
    }
    for (field, found) in &seen {
        let expected = match field.as_str() {
            // What names the key decides whose signature it is.
            "/verificationMaterial/publicKey/hint" => [Reason::SignatureWrong, Reason::SignatureMalformed],
            "/dsseEnvelope/payload" | "/dsseEnvelope/signatures/0/sig" => [Reason::SignatureWrong, Reason::SignatureMalformed],
            _ => [Reason::SignatureMalformed; 2],
        };
        assert!(found.0 == "signature" && expected.iter().any(|reason| found.1 == Some(*reason)), "{field}: {found:?}");
    }
    assert!(seen.len() >= 5, "{seen:?}");

    let payload = STANDARD.decode(good["dsseEnvelope"]["payload"].as_str().expect("text")).expect("base64");
    let statement: Value = serde_json::from_slice(&payload).expect("JSON");
    let mut changes = 0;
    for (field, statement) in changed(&statement) {
        // As it stands, and signed anew by the right signer, who then says what the bundle does not.
        let bytes = canonical_json(&statement).expect("JSON");
        let mut document = good.clone();
        document["dsseEnvelope"]["payload"] = STANDARD.encode(&bytes).into();
        std::fs::write(&path, document.to_string()).expect("is written");
        assert_eq!(ended(&signed.verify().await), wanted("signature", Reason::SignatureWrong), "{field}");
        directory::write_signature(&signed.bundle(), &signed.sign(&bytes)).expect("is written");
        let (stage, reason, exit) = ended(&signed.verify().await);
        let expected = match field.as_str() {
            "/_type" | "/predicateType" | "/predicate/result" => wanted("signature", Reason::SignatureMalformed),
            "/subject/0/name" | "/subject/0/digest/sha256" | "/subject/1/name" => wanted("subject", Reason::OtherArtifact),
            "/subject/1/digest/sha256" => wanted("manifest", Reason::OtherBundle),
            _ => wanted("results", Reason::ResultsDisagree),
        };
        assert_eq!((stage, reason, exit), expected, "{field}, signed anew");
        changes += 2;
    }
    assert!(changes >= 40, "{changes} changes");
}

#[tokio::test]
async fn every_field_of_a_pointer_is_checked_or_never_shown_as_verified() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let signed = Sample::good().signed();
    let registry = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
    let repository = format!("{}/team/evidence", server.address).parse().expect("a name");
    let target = Target { repository, tag: None, move_tag: false, registry, pointers: signed.root().join("evidence") };
    let published = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
    let text = std::fs::read_to_string(&published.pointer).expect("is there");
    let pointer = Pointer::parse(&text, "pointer").expect("reads");
    let document = serde_json::to_value(&pointer).expect("JSON");
    let good = ended(&verify_with(&published.pointer.display().to_string(), signed.key()).await);
    assert_eq!(good, (String::new(), None, 0));
    let path = signed.root().join("changed.yaml");
    for (field, changed) in changed(&document) {
        // JSON is YAML.
        std::fs::write(&path, changed.to_string()).expect("is written");
        let verification = verify_with(&path.display().to_string(), signed.key()).await;
        let (stage, reason, exit) = ended(&verification);
        let expected = match field.as_str() {
            field if UNAUTHENTICATED.contains(&field) => (String::new(), None, 0),
            // The registry lists the signature as well: a pointer that names another one loses nothing.
            "/signatures/0/digest" => (String::new(), None, 0),
            "/apiVersion" | "/kind" | "/hardware" => wanted("locate", Reason::PointerInvalid),
            "/bundle/repository" | "/bundle/digest" => wanted("fetch", Reason::Usage),
            "/bundle/contentDigest" => wanted("subject", Reason::OtherArtifact),
            "/recipe/name" | "/recipe/digest" => wanted("replay", Reason::ReplayDisagrees),
            other => panic!("{other} is new: say what its change must come to"),
        };
        assert_eq!((stage, reason, exit), expected, "{field}");
        let verified = serde_json::to_value(&verification.report.verified).expect("JSON").to_string();
        let value = changed.pointer(&field).map(|value| value.to_string().replace('"', "")).unwrap_or_default();
        assert!(!verified.contains(&value), "{field} is shown as verified: {value}");
    }
}
