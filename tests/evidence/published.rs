//! Bundles in real registries: published, pointed to, verified, and what can go wrong on the way.

use std::path::PathBuf;

use seatrial::digest::Digest;
use seatrial::evidence::{Parcel, Pointer, oci};
use seatrial::publish::{Published, Target, publish, push};
use seatrial::registry::{Options, Registry};
use seatrial::results::Outcome;
use seatrial::verify::Word;

use crate::registry_server::{Flavour, RegistryServer, program};
use crate::sample::{Sample, Signed, ended, verify_with};

fn target(server: &RegistryServer, signed: &Signed) -> Target {
    let registry = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
    let reference = format!("{}/team/evidence", server.address).parse().expect("a name");
    Target::new(reference, registry, signed.root().join("evidence"))
}

fn open(target: &Target) -> Registry {
    Registry::open(&target.repository, &target.registry).expect("opens")
}

async fn published(server: &RegistryServer, signed: &Signed) -> (Target, Published) {
    let target = target(server, signed);
    let published = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
    (target, published)
}

async fn ends(input: &str, signed: &Signed) -> (String, u8) {
    ended(&verify_with(input, signed.key()).await)
}

/// A pointer with something changed, under another name.
fn lying(path: &PathBuf, change: impl FnOnce(&mut Pointer)) -> String {
    let mut pointer = Pointer::parse(&std::fs::read_to_string(path).expect("is there"), "pointer").expect("reads");
    change(&mut pointer);
    let other = path.with_file_name("other.yaml");
    std::fs::write(&other, pointer.to_yaml().expect("YAML")).expect("is written");
    other.display().to_string()
}

#[tokio::test]
async fn what_is_published_is_verified_by_its_pointer_and_by_its_digest_in_every_registry() {
    for &flavour in Flavour::OPEN {
        let Some(server) = RegistryServer::start(flavour) else { continue };
        let signed = Sample::good().signed();
        let (target, published) = published(&server, &signed).await;
        let expected = format!("evidence/sim-h100/sha256-{}.yaml", published.digest.hex());
        assert_eq!(published.pointer, signed.root().join(expected));
        for input in [published.pointer.display().to_string(), format!("oci://{}@{}", target.repository, published.digest)] {
            let verification = verify_with(&input, signed.key()).await;
            assert_eq!(ended(&verification), (String::new(), 0), "{flavour:?} {:#?}", verification.report);
            let facts = verification.report.verified.expect("something is verified");
            assert_eq!((facts.digest, facts.content_digest), (published.digest.clone(), published.content_digest.clone()));
        }
    }
}

#[tokio::test]
async fn publishing_again_changes_nothing() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let signed = Sample::good().signed();
    let (target, first) = published(&server, &signed).await;
    let pointer = std::fs::read(&first.pointer).expect("is there");
    let again = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
    assert_eq!(again, first);
    assert_eq!(std::fs::read(&first.pointer).expect("is there"), pointer);
    assert_eq!(open(&target).referrers(&first.digest).await.expect("a list"), [first.signature.expect("is signed")]);
}

#[tokio::test]
async fn a_pointer_that_lies_is_found() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let signed = Sample::good().signed();
    let (_, published) = published(&server, &signed).await;
    let path = &published.pointer;
    let other = Digest::of(b"other");
    let input = lying(path, |pointer| pointer.bundle.content_digest = other.clone());
    assert_eq!(ends(&input, &signed).await, ("subject".to_owned(), 21));
    let input = lying(path, |pointer| pointer.hardware = seatrial::snapshot::Hardware::Real);
    assert_eq!(ends(&input, &signed).await, ("replay".to_owned(), 21));
    let input = lying(path, |pointer| pointer.recipe.digest = other.clone());
    assert_eq!(ends(&input, &signed).await, ("replay".to_owned(), 21));
    let input = lying(path, |pointer| pointer.bundle.digest = other.clone());
    assert_eq!(ends(&input, &signed).await.0, "fetch");
    let renamed = path.with_file_name(format!("sha256-{}.yaml", other.hex()));
    std::fs::copy(path, &renamed).expect("is copied");
    assert_eq!(ends(&renamed.display().to_string(), &signed).await, ("locate".to_owned(), 21));
    // A lost index entry, or a pointer to a signature that is gone, loses nothing as long as one of the two is there.
    let input = lying(path, |pointer| pointer.signatures[0].digest = other.clone());
    assert_eq!(ends(&input, &signed).await, (String::new(), 0));
}

#[tokio::test]
async fn an_unsigned_artifact_is_unsigned_and_rubbish_beside_a_signature_does_not_hide_it() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let signed = Sample::good().signed();
    let target = target(&server, &signed);
    let registry = open(&target);
    let bundle = Sample::good().bundle();
    let parcel = Parcel::of(&bundle).expect("a parcel");
    let digest = push(&parcel, &registry, "v1", false).await.expect("is pushed");
    let input = format!("oci://{}@{digest}", target.repository);
    assert_eq!(ends(&input, &signed).await, ("signature".to_owned(), 10));

    let artifact = bundle.artifact().expect("a manifest");
    for rubbish in ["{}", "not json"] {
        registry.push_blob(&Digest::of(rubbish.as_bytes()), rubbish.as_bytes()).await.expect("is pushed");
        registry.push_blob(&Digest::of(oci::EMPTY), oci::EMPTY).await.expect("is pushed");
        let referrer = oci::signature(&artifact, rubbish.as_bytes(), "2026-01-01T00:00:00Z".parse().expect("a time")).expect("a manifest");
        registry.attach(&digest, &referrer.bytes).await.expect("is attached");
    }
    assert_eq!(ends(&input, &signed).await, ("signature".to_owned(), 22));

    let stranger = Sample::good().signed();
    publish(&stranger.bundle(), &stranger.signer, &target).await.expect("is published");
    assert_eq!(ends(&input, &signed).await, ("identity".to_owned(), 11));

    let ours = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
    assert_eq!(ends(&input, &signed).await, (String::new(), 0));
    assert_eq!(ends(&input, &stranger).await, (String::new(), 0));
    let pointer = Pointer::parse(&std::fs::read_to_string(ours.pointer).expect("is there"), "pointer").expect("reads");
    assert_eq!(pointer.signatures.len(), 2, "the second signer is added to the pointer");
}

#[tokio::test]
async fn what_is_no_evidence_and_what_is_not_there_ends_in_fetch() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let signed = Sample::good().with("gpu-capacity", Outcome::fail("7 of 8")).signed();
    let (target, published) = published(&server, &signed).await;
    let at = |digest: &Digest| format!("oci://{}@{digest}", target.repository);
    assert_eq!(ends(&at(&published.digest), &signed).await, ("results".to_owned(), 1), "failed evidence is published and says so");
    assert_eq!(ends(&at(published.signature.as_ref().expect("is signed")), &signed).await, ("fetch".to_owned(), 22));
    assert_eq!(ends(&at(&Digest::of(b"nothing")), &signed).await.0, "fetch");
    drop(server);
    let verification = verify_with(&at(&published.digest), signed.key()).await;
    assert_eq!(ended(&verification), ("fetch".to_owned(), 6));
    assert_eq!(verification.report.verdict, Word::Undecided, "nothing is known of the evidence");
}

#[tokio::test]
async fn oras_restores_the_bundle_byte_for_byte() {
    let (Some(oras), Some(server)) = (program("oras"), RegistryServer::start(Flavour::Native)) else { return };
    let signed = Sample::good().signed();
    let (target, published) = published(&server, &signed).await;
    let out = signed.root().join("restored");
    let reference = format!("{}@{}", target.repository, published.digest);
    let run = std::process::Command::new(oras)
        .args(["pull", "--plain-http", "--output"])
        .arg(&out)
        .arg(reference)
        .env("HOME", signed.root())
        .output()
        .expect("oras runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let restored = seatrial::evidence::directory::read(&out).expect("reads");
    assert_eq!(restored.files, *Sample::good().bundle().files());
    assert!(restored.signature.is_none());
    std::fs::copy(signed.bundle().join(seatrial::evidence::SIGNATURE), out.join(seatrial::evidence::SIGNATURE)).expect("is copied");
    assert_eq!(ends(&out.display().to_string(), &signed).await, (String::new(), 0));
}

#[tokio::test]
async fn a_signature_as_cosign_lists_it_is_found_and_a_lost_entry_loses_nothing() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let signed = Sample::good().signed();
    let target = target(&server, &signed);
    let registry = open(&target);
    let parcel = Parcel::of(&Sample::good().bundle()).expect("a parcel");
    let digest = push(&parcel, &registry, "v1", false).await.expect("is pushed");
    let input = format!("oci://{}@{digest}", target.repository);
    let bytes = std::fs::read(signed.bundle().join(seatrial::evidence::SIGNATURE)).expect("is there");
    registry.push_blob(&Digest::of(&bytes), &bytes).await.expect("is pushed");
    // Neither the manifest nor the list says what it is, but for the layer.
    let (empty, kind) = ("application/vnd.oci.empty.v1+json", "application/vnd.dev.sigstore.bundle.v0.3+json");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": oci::MANIFEST_TYPE, "config": {"mediaType": empty, "digest": Digest::of(oci::EMPTY), "size": 2},
        "layers": [{"mediaType": kind, "digest": Digest::of(&bytes), "size": bytes.len()}],
        "subject": {"mediaType": oci::MANIFEST_TYPE, "digest": digest, "size": parcel.artifact().bytes.len()},
    })
    .to_string();
    let attached = registry.put_manifest(manifest.as_bytes(), oci::MANIFEST_TYPE, None).await.expect("is put");
    let (index, tag) = ("application/vnd.oci.image.index.v1+json", format!("sha256-{}", digest.hex()));
    let entry = serde_json::json!({"mediaType": oci::MANIFEST_TYPE, "digest": attached, "size": manifest.len(), "artifactType": empty});
    let list =
        |entries: &[&serde_json::Value]| serde_json::json!({"schemaVersion": 2, "mediaType": index, "manifests": entries}).to_string();
    registry.put_manifest(list(&[&entry]).as_bytes(), index, Some(&tag)).await.expect("is put");
    assert_eq!(ends(&input, &signed).await, (String::new(), 0));

    let published = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
    registry.put_manifest(list(&[]).as_bytes(), index, Some(&tag)).await.expect("another client overwrites the list");
    assert_eq!(ends(&input, &signed).await, ("signature".to_owned(), 10));
    assert_eq!(ends(&published.pointer.display().to_string(), &signed).await, (String::new(), 0));
}
