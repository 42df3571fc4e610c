//! The registry client against real registries, and with faults that a proxy puts between them.

#[path = "registry/auth.rs"]
mod auth;
#[expect(dead_code, reason = "other tests use the other faults")]
#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "registry/faults.rs"]
mod faults;
#[path = "registry/hostile.rs"]
mod hostile;
#[path = "registry/interop.rs"]
mod interop;
#[path = "registry/referrers.rs"]
mod referrers;
#[expect(dead_code, reason = "the evidence tests use the rest of it")]
#[path = "support/registry.rs"]
mod registry_server;
#[path = "support/tls.rs"]
mod tls;
#[path = "registry/transfer.rs"]
mod transfer;
#[path = "registry/transport.rs"]
mod transport;

use futures::future::join_all;
use registry_server::{Flavour, RegistryServer};
use seatrial::digest::Digest;
use seatrial::registry::{Options, Registry};
use serde_json::{Value, json};

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Runs a test on several registries side by side: most of its time it waits.
async fn on_each<Run: Future<Output = ()>>(flavours: &[Flavour], run: impl Fn(RegistryServer, Flavour) -> Run) {
    join_all(flavours.iter().filter_map(|&flavour| Some(run(RegistryServer::start(flavour)?, flavour)))).await;
}

/// Opens the repository `team/evidence` at an address of this machine.
fn open(address: &str) -> Registry {
    open_with(address, Options::default())
}

/// The same with other options; credentials come from nowhere unless the options say so.
fn open_with(address: &str, options: Options) -> Registry {
    let nowhere = Some(std::path::PathBuf::from("/nonexistent"));
    let options = Options { plain_http: true, docker_config: options.docker_config.or(nowhere), ..options };
    Registry::open(&format!("{address}/team/evidence").parse().expect("a name"), &options).expect("opens")
}

/// Pushes files as one artifact, a layer each, and gives its digest.
async fn push_artifact(registry: &Registry, files: &[(&str, &[u8])], tag: Option<&str>) -> Digest {
    let mut layers = Vec::new();
    for (name, bytes) in files {
        let digest = Digest::of(bytes);
        registry.push_blob(&digest, bytes).await.expect("a blob is pushed");
        let annotations = json!({"org.opencontainers.image.title": name});
        layers.push(json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len(), "annotations": annotations}));
    }
    registry.push_blob(&Digest::of(b"{}"), b"{}").await.expect("the empty config is pushed");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.test",
        "config": {"mediaType": EMPTY, "digest": Digest::of(b"{}"), "size": 2}, "layers": layers,
    });
    registry.put_manifest(&bytes(&manifest), MANIFEST, tag).await.expect("the manifest is put")
}

/// A manifest that names a subject, with one small layer of the given text (which must have been pushed).
fn referrer(subject: &Digest, subject_size: usize, text: &str) -> Vec<u8> {
    bytes(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "config": {"mediaType": EMPTY, "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "digest": Digest::of(text.as_bytes()), "size": text.len()}],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": subject_size},
        "annotations": {"dev.sigstore.bundle.content": "dsse-envelope"},
    }))
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("json")
}

/// Attaches a referrer with a text of its own to a subject.
async fn attach(registry: &Registry, subject: &Digest, text: &str) -> seatrial::error::Result<Digest> {
    registry.push_blob(&Digest::of(text.as_bytes()), text.as_bytes()).await?;
    let size = registry.get_manifest(subject).await?.len();
    registry.attach(subject, &referrer(subject, size, text)).await
}
