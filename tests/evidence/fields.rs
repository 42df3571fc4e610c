//! Every field of every document changed, one at a time: each change is caught by its stage, for its reason, with its exit code; what nothing
//! authenticates is listed, here and in the documentation, and never shown as verified.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial::digest::canonical_json;
use seatrial::evidence::{MANIFEST, Pointer, SIGNATURE, directory};
use seatrial::policy::Policy;
use seatrial::policy::form;
use seatrial::publish::{Target, publish};
use seatrial::reason::Reason;
use seatrial::registry::Options;
use seatrial::sign::{self, Signer, TokenSource, With};
use seatrial::trust::Root;
use seatrial::verify::{self, Expected, Request, Verification, Word};
use serde_json::{Value, json};

use crate::proofs;
use crate::registry_server::{Flavour, RegistryServer};
use crate::sample::{Sample, Signed};
use crate::sigstore_stack::{PEOPLE, Stack, exits};

/// Fields of a pointer that nothing authenticates, as docs/threat-model.md lists them. They are never shown as verified.
const UNAUTHENTICATED: &[&str] = &[
    "/recordedAt",
    "/signatures/0/key",
    "/signatures/0/issuer",
    "/signatures/0/identity",
    "/signatures/0/sourceRepository",
    "/signatures/0/log/id",
    "/signatures/0/log/index",
];

/// The fewest single changes that all of them together must be.
const AT_LEAST: usize = 300;

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
            Value::Number(number) => match number.as_i64() {
                // Far enough to be found by its digits.
                Some(whole) => Value::from(whole + 7_654_321),
                None => Value::from(number.as_f64().unwrap_or_default() + 1.0),
            },
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

/// A key's signature, and its statement: as it stands, and signed anew by the right signer, who then says what the bundle does not.
async fn of_the_statement() -> usize {
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
    changes + seen.len()
}

/// A signed bundle, and whose signature is wanted.
struct Case {
    signed: Signed,
    /// By a certificate, with log entry and timestamp; else by a key.
    certified: bool,
    signer: Signer,
    expected: Expected,
    root: Root,
}

impl Case {
    /// Signed by a person with the services of a private Sigstore; by a key, with a line that says so, where there is none.
    fn new() -> Self {
        let signed = Signed::unsigned(&Sample::good().bundle());
        let Some(stack) = Stack::shared() else {
            let signed = Sample::good().signed();
            let signer = Signer::new(&sign::Options::key(signed.root().join("seatrial.key"))).expect("reads");
            let expected = Expected::key(signed.key());
            return Self { signed, certified: false, signer, expected, root: Root::default() };
        };
        let token = stack.token(PEOPLE, "email=dev@example.com", signed.root());
        let mut sign = stack.seatrial(&["evidence", "sign", "bundle", "--identity-token-file", &token]);
        sign.args(["--signing-config", &stack.signing_config(), "--trusted-root", &stack.trusted_root()]).current_dir(signed.root());
        exits(sign, 0);
        let roots: Vec<PathBuf> = vec![stack.trusted_root().into()];
        let options = sign::Options {
            with: With::Keyless(TokenSource::default()),
            signing_config: Some(stack.signing_config().into()),
            trusted_roots: roots.clone(),
            ..sign::Options::default()
        };
        let named = |what: &str, value: &str| form::of_flags(what, Some(value), None).expect("reads");
        let policy = Policy::of_identity(named("certificate-identity", "dev@example.com"), named("certificate-oidc-issuer", PEOPLE));
        let expected = Expected::Policy(Arc::new(policy));
        Self {
            signed,
            certified: true,
            signer: Signer::new(&options).expect("reads"),
            expected,
            root: Root::with_files(&roots).expect("reads"),
        }
    }

    async fn verify(&self, input: &std::path::Path) -> Verification {
        let request = Request::new(input.display().to_string(), self.expected.clone(), registry());
        verify::verify(Request { root: self.root.clone(), ..request }).await
    }

    /// Bytes and fields of every file but the signature.
    async fn of_the_files(&self) -> usize {
        let folder = self.signed.bundle();
        let mut changes = 0;
        for (path, bytes) in directory::read(&folder).expect("reads").files {
            let turned = [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1].map(|place| {
                let mut turned = bytes.clone();
                turned[place] ^= 1;
                (format!("byte {place}"), turned, None)
            });
            let reason = if path == MANIFEST { Reason::OtherBundle } else { Reason::FilesDiffer };
            let document = serde_json::from_slice::<Value>(&bytes).map(|document| changed(&document)).unwrap_or_default();
            let fields = document.into_iter().map(|(field, document)| (field, canonical_json(&document).expect("JSON"), Some(reason)));
            for (what, content, reason) in turned.into_iter().chain(fields) {
                std::fs::write(folder.join(&path), content).expect("is written");
                let verification = self.verify(&folder).await;
                let (stage, found, exit) = ended(&verification);
                // A manifest that is no JSON any more is no manifest.
                assert_eq!((stage.as_str(), exit), ("manifest", 21), "{path} {what}: {found:?}");
                assert!(reason.is_none() || found == reason, "{path} {what}: {found:?}");
                assert!(verification.report.verified.is_none(), "{path} {what}");
                changes += 1;
            }
            std::fs::write(folder.join(&path), bytes).expect("is put back");
        }
        assert_eq!(self.verify(&folder).await.exit.code(), 0, "put back as it was");
        changes
    }

    /// Certificate or key, each field of log entry and timestamp, statement and signature: bits, numbers, letters, and what is taken away.
    async fn of_the_signature(&self) -> usize {
        let path = self.signed.bundle().join(SIGNATURE);
        let bytes = std::fs::read(&path).expect("is there");
        let good: Value = serde_json::from_slice(&bytes).expect("JSON");
        let (mut changes, mut kinds, mut places) = (0, BTreeSet::new(), BTreeSet::new());
        for (place, what, document) in proofs::changes(&good) {
            // One of each kind at each place; all of them, beside cosign, are in another test.
            if document == good || !kinds.insert((place.clone(), what.split(' ').next().map(str::to_owned))) {
                continue;
            }
            std::fs::write(&path, document.to_string()).expect("is written");
            let verification = self.verify(&self.signed.bundle()).await;
            let (stage, reason, exit) = ended(&verification);
            changes += 1;
            if stage.is_empty() && proofs::UNAUTHENTICATED.contains(&place.as_str()) {
                continue;
            }
            let expected = [Reason::SignatureWrong, Reason::SignatureMalformed];
            let held = stage == "signature" && expected.iter().any(|one| reason == Some(*one) && exit == one.exit().code());
            assert!(held && verification.report.verified.is_none(), "{place} {what}: {stage} {reason:?} {exit}");
            places.insert(place);
        }
        let parts = ["certificate/rawBytes", "logId/keyId", "inclusionProof/checkpoint/envelope", "canonicalizedBody", "signedTimestamp"];
        let seen = |part: &&str| places.iter().any(|place| place.ends_with(*part));
        assert!(!self.certified || parts.iter().all(seen), "{places:?}");
        std::fs::write(&path, bytes).expect("is put back");
        changes
    }

    /// The pointer.
    async fn of_the_pointer(&self) -> usize {
        let Some(server) = RegistryServer::start(Flavour::Native) else { return 0 };
        let repository = format!("{}/team/evidence", server.address).parse().expect("a name");
        let pointers = self.signed.root().join("evidence");
        let target = Target { repository, tag: None, move_tag: false, registry: registry(), pointers };
        let published = publish(&self.signed.bundle(), &self.signer, &target).await.expect("is published");
        let text = std::fs::read_to_string(&published.pointer).expect("is there");
        let document = serde_json::to_value(Pointer::parse(&text, "pointer").expect("reads")).expect("JSON");
        assert_eq!(ended(&self.verify(&published.pointer).await), (String::new(), None, 0));
        let path = self.signed.root().join("changed.yaml");
        let all = changed(&document);
        for (field, changed) in &all {
            // JSON is YAML.
            std::fs::write(&path, changed.to_string()).expect("is written");
            let verification = self.verify(&path).await;
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
            let value = changed.pointer(field).map(Value::to_string).unwrap_or_default();
            assert!(!verified.contains(&value), "{field} is shown as verified: {value}");
        }
        all.len()
    }
}

fn registry() -> Options {
    Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_single_change_is_refused_for_its_reason_or_is_of_what_nothing_authenticates() {
    let statement = tokio::spawn(of_the_statement());
    let case = Case::new();
    let parts = [
        ("files", case.of_the_files().await),
        ("signature", case.of_the_signature().await),
        ("pointer", case.of_the_pointer().await),
        ("statement", statement.await.expect("holds")),
    ];
    let total: usize = parts.iter().map(|(_, changes)| changes).sum();
    assert!(total >= AT_LEAST && parts.iter().all(|(_, changes)| *changes > 0), "{total} changes: {parts:?}");
}

#[test]
fn what_nothing_authenticates_is_what_the_documentation_says() {
    let page = include_str!("../../docs/threat-model.md");
    let section =
        page.split("## What nothing authenticates").nth(1).expect("the section").split("Which signatures").next().expect("its list");
    let listed: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let fields = UNAUTHENTICATED.iter().map(|place| place.trim_start_matches("/signatures/0").split('/').nth(1).expect("a name"));
    assert_eq!(listed, fields.collect());
}
