//! Publishing in parts, on several machines, and after every kind of crash: the next command finishes it, and nothing is signed twice.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use seatrial::error::Kind;
use seatrial::evidence::{Parcel, Pointer, SIGNATURE, oci};
use seatrial::publish::{self, derived_tag};
use seatrial::registry::{Options, Registry};

use crate::fault_proxy::{Fault, FaultProxy, Rule};
use crate::killed::{kill_when, waits_for_lock};
use crate::registry_server::{Flavour, RegistryServer};
use crate::sample::{Sample, Signed, ended, verify_with};

/// A bundle without a signature, with a key pair and a place for pointers.
struct Place {
    signed: Signed,
    address: String,
}

impl Place {
    fn new(address: &str) -> Self {
        Self { signed: Signed::unsigned(&Sample::good().bundle()), address: address.to_owned() }
    }

    /// The program in the place's directory, with nothing of the caller's environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command.env_clear().env("HOME", self.signed.root()).current_dir(self.signed.root());
        command.arg("evidence").args(arguments);
        command
    }

    #[track_caller]
    fn runs(&self, arguments: &[&str], code: i32) -> Output {
        let output = self.command(arguments).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn repository(&self) -> String {
        format!("{}/team/evidence", self.address)
    }

    fn publish<'a>(&self, repository: &'a str) -> [&'a str; 7] {
        ["publish", "bundle", "--key", "seatrial.key", "--plain-http", "--push", repository]
    }

    fn parcel(&self) -> Parcel {
        Parcel::open(&self.signed.bundle()).expect("a bundle").0
    }

    /// The one pointer that there is.
    fn pointer(&self) -> PathBuf {
        let folder = self.signed.root().join("evidence/sim-h100");
        let all = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let pointers: Vec<_> = all.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
        let [pointer] = pointers.as_slice() else { panic!("{pointers:?}") };
        pointer.clone()
    }

    fn read(&self) -> Pointer {
        Pointer::parse(&std::fs::read_to_string(self.pointer()).expect("is there"), "pointer").expect("reads")
    }

    /// Everything is there once: one signature in the registry, named by the pointer, and it verifies.
    async fn assert_published_once(&self, server: &RegistryServer) {
        let options = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
        let registry = Registry::open(&format!("{}/team/evidence", server.address).parse().expect("a name"), &options).expect("opens");
        let pointer = self.read();
        let listed = registry.referrers(&pointer.bundle.digest).await.expect("a list");
        let named: Vec<_> = pointer.signatures.into_iter().map(|signature| signature.digest).collect();
        assert_eq!((listed.len(), &listed), (1, &named));
        let verification = verify_with(&self.pointer().display().to_string(), self.signed.key()).await;
        assert_eq!(ended(&verification), (String::new(), 0));
        let tag = registry.resolve(&derived_tag(&self.parcel()).expect("a tag")).await.expect("the tag is there");
        assert_eq!(tag, pointer.bundle.digest);
    }
}

fn signature(place: &Place) -> Option<Vec<u8>> {
    std::fs::read(place.signed.bundle().join(SIGNATURE)).ok()
}

/// True once a request with this method and this in its path has come.
fn came(proxy: &FaultProxy, method: &str, path: &str) -> bool {
    proxy.seen().iter().any(|seen| seen.method == method && seen.path.contains(path))
}

#[tokio::test]
async fn publishing_that_is_killed_at_any_step_is_finished_by_the_next_command() {
    for flavour in [Flavour::Native, Flavour::NoReferrers] {
        let Some(server) = RegistryServer::start(flavour) else { return };
        let proxy = FaultProxy::start(&server.address);
        let place = Place::new(&proxy.address);
        let repository = place.repository();
        let steps = [
            ("HEAD", "/blobs/"),
            ("PUT", "/uploads/"),
            ("PUT", "/manifests/sim-h100-"),
            // The look for signatures that are there; after it one is made.
            ("GET", "/referrers/"),
            ("PUT", ".sig-"),
            ("PUT", "/manifests/sha256:"),
            // It is stored, and nobody has been told.
            ("GET", "/manifests/sha256:"),
        ];
        let mut made = None;
        for (method, path) in steps {
            proxy.seen();
            proxy.inject(Rule::new(Fault::Silence).on(method, path).times(1));
            kill_when(&mut place.command(&place.publish(&repository)), &format!("{method} {path}"), |_| came(&proxy, method, path));
            let now = signature(&place);
            assert!(made.is_none() || made == now, "{method} {path}: it was signed twice");
            made = now;
        }
        assert!(made.is_some(), "the last kills come after signing");
        // Everything but the pointer: the process waits for our lock on its folder.
        let folder = place.signed.root().join("evidence/sim-h100");
        std::fs::create_dir_all(&folder).expect("a folder");
        let lock = std::fs::File::open(&folder).expect("opens");
        lock.lock().expect("is locked");
        kill_when(&mut place.command(&place.publish(&repository)), "the wait for the pointer", waits_for_lock);
        drop(lock);
        // What a kill in the middle of writing leaves.
        std::fs::write(folder.join(".seatrial-partial"), "apiVersion: seatr").expect("is written");
        place.runs(&place.publish(&repository), 0);
        assert_eq!(signature(&place), made);
        place.assert_published_once(&server).await;
        let before = std::fs::read(place.pointer()).expect("is there");
        place.runs(&place.publish(&repository), 0);
        assert_eq!(std::fs::read(place.pointer()).expect("is there"), before, "done again, it changes nothing");
    }
}

#[tokio::test]
async fn signing_a_pointer_that_is_killed_at_any_step_is_finished_by_the_next_command() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let proxy = FaultProxy::start(&server.address);
    let place = Place::new(&proxy.address);
    place.runs(&["push", "bundle", "--plain-http", "--push", &place.repository()], 0);
    let pointer = place.pointer().display().to_string();
    let arguments = ["sign", &pointer, "--key", "seatrial.key", "--plain-http"];
    let digest = place.read().bundle.digest;
    let tag = format!("/manifests/sha256-{}", digest.hex());
    let steps = [("GET", "/blobs/"), ("PUT", "/uploads/"), ("PUT", "/manifests/sha256:")];
    for (method, path) in steps {
        proxy.seen();
        proxy.inject(Rule::new(Fault::Silence).on(method, path).times(1));
        kill_when(&mut place.command(&arguments), &format!("{method} {path}"), |_| came(&proxy, method, path));
        assert!(place.read().is_pending());
    }
    // The signature is stored and listed, and the pointer does not know it yet: an orphan.
    let folder = place.signed.root().join("evidence/sim-h100");
    let lock = std::fs::File::open(&folder).expect("opens");
    lock.lock().expect("is locked");
    kill_when(&mut place.command(&arguments), "the wait for the pointer", waits_for_lock);
    drop(lock);
    assert!(place.read().is_pending());
    proxy.seen();
    place.runs(&arguments, 0);
    assert!(came(&proxy, "GET", &tag), "the list of signatures was looked at");
    place.assert_published_once(&server).await;
}

#[tokio::test]
async fn a_pending_pointer_is_unsigned_and_says_what_to_do_until_it_is_signed_elsewhere() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let place = Place::new(&server.address);
    let repository = place.repository();
    place.runs(&["publish", "bundle", "--no-sign", "--plain-http", "--push", &repository], 0);
    assert!(place.read().is_pending());
    let pointer = place.pointer().display().to_string();
    let verification = verify_with(&pointer, place.signed.key()).await;
    assert_eq!(ended(&verification), ("signature".to_owned(), 10));
    assert!(verification.report.hints[0].contains(&format!("evidence sign {pointer}")), "{:?}", verification.report.hints);

    // Another machine has the pointer and the key, not the bundle's directory.
    std::fs::rename(place.signed.bundle(), place.signed.root().join("elsewhere")).expect("is moved");
    place.runs(&["sign", &pointer, "--key", "seatrial.key", "--plain-http"], 0);
    std::fs::rename(place.signed.root().join("elsewhere"), place.signed.bundle()).expect("is moved");
    place.assert_published_once(&server).await;

    // The first machine goes on without knowing of it: the signature is found and kept beside the bundle.
    place.runs(&place.publish(&repository), 0);
    place.assert_published_once(&server).await;
    assert!(signature(&place).is_some());
    assert_eq!(ended(&verify_with(&place.signed.bundle().display().to_string(), place.signed.key()).await), (String::new(), 0));
}

#[tokio::test]
async fn what_was_signed_without_a_registry_is_pushed_without_a_key() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let place = Place::new(&server.address);
    place.runs(&["sign", "bundle", "--key", "seatrial.key"], 0);
    let made = signature(&place);
    place.runs(&["sign", "bundle", "--key", "seatrial.key"], 0);
    assert_eq!(signature(&place), made, "it is kept");
    std::fs::remove_file(place.signed.root().join("seatrial.key")).expect("is removed");
    place.runs(&["push", "bundle", "--plain-http", "--push", &place.repository()], 0);
    place.assert_published_once(&server).await;
    assert_eq!(place.read().signatures[0].key, Some(place.signed.key().id()));

    let other = Sample::good().without("platform-health").signed();
    std::fs::copy(other.bundle().join(SIGNATURE), place.signed.bundle().join(SIGNATURE)).expect("is copied");
    let output = place.runs(&["push", "bundle", "--plain-http", "--push", &place.repository()], 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("not about this bundle"));
}

#[tokio::test]
async fn a_tag_is_made_or_taken_as_named_and_moved_only_when_asked() {
    for flavour in [Flavour::Native, Flavour::Docker] {
        let Some(server) = RegistryServer::start(flavour) else { continue };
        let place = Place::new(&server.address);
        let tagged = format!("{}:latest", place.repository());
        place.runs(&place.publish(&tagged), 0);
        let options = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
        let registry = Registry::open(&place.repository().parse().expect("a name"), &options).expect("opens");
        let first = place.read().bundle.digest;
        assert_eq!(registry.resolve("latest").await.expect("is there"), first);

        let other = Signed::unsigned(&Sample::good().without("platform-health").bundle());
        let other = Place { signed: other, address: server.address.clone() };
        let output = other.runs(&other.publish(&tagged), 2);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the tag latest of") && said.contains("--move-tag"), "{said}");
        assert!(signature(&other).is_none(), "nothing was signed");
        assert_eq!(registry.resolve("latest").await.expect("is there"), first);

        other.runs(&[&other.publish(&tagged)[..], &["--move-tag"]].concat(), 0);
        assert_ne!(registry.resolve("latest").await.expect("is there"), first);
        let verification = verify_with(&place.pointer().display().to_string(), place.signed.key()).await;
        assert_eq!(ended(&verification), (String::new(), 0), "a pointer names a digest, whatever becomes of the tag");
    }
}

#[tokio::test]
async fn a_pointer_that_is_wrong_about_its_bundle_is_not_signed() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let place = Place::new(&server.address);
    place.runs(&["push", "bundle", "--plain-http", "--push", &place.repository()], 0);
    let mut pointer = place.read();
    pointer.hardware = seatrial::snapshot::Hardware::Real;
    std::fs::write(place.pointer(), pointer.to_yaml().expect("YAML")).expect("is written");
    let path = place.pointer().display().to_string();
    place.runs(&["sign", &path, "--key", "seatrial.key", "--plain-http"], 21);
    assert!(place.read().is_pending());
}

#[tokio::test]
async fn two_signers_at_once_are_both_in_the_pointer() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let place = Place::new(&server.address);
    place.runs(&["push", "bundle", "--plain-http", "--push", &place.repository()], 0);
    let path: &Path = &place.pointer();
    let signers: Vec<_> = (0..3).map(|_| Sample::good().signed()).collect();
    let options = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
    let runs = signers.iter().map(|signed| publish::sign_pointer(path, &signed.signer, &options));
    for published in futures::future::join_all(runs).await {
        published.expect("is signed");
    }
    assert_eq!(place.read().signatures.len(), 3);
    for signed in &signers {
        assert_eq!(ended(&verify_with(&path.display().to_string(), signed.key()).await), (String::new(), 0));
    }
}

#[tokio::test]
async fn a_registry_that_collects_what_has_no_tag_keeps_bundle_and_signature() {
    let Some(mut server) = RegistryServer::start(Flavour::Docker) else { return };
    let place = Place::new(&server.address);
    place.runs(&place.publish(&place.repository()), 0);
    let digest = place.read().bundle.digest;
    let options = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
    let open = |address: &str| Registry::open(&format!("{address}/team/evidence").parse().expect("a name"), &options).expect("opens");
    let stray = open(&server.address).put_manifest(STRAY.as_bytes(), oci::MANIFEST_TYPE, None).await.expect("is put");
    server.collect_garbage();
    let error = open(&server.address).get_manifest(&stray).await.expect_err("it has no tag");
    assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());
    let input = format!("oci://{}/team/evidence@{digest}", server.address);
    assert_eq!(ended(&verify_with(&input, place.signed.key()).await), (String::new(), 0));
}

/// A manifest of blobs that every bundle has.
const STRAY: &str = concat!(
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"text/stray","config":{"#,
    r#""mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#,
    r#""size":2},"layers":[]}"#
);
