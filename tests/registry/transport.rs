//! Blobs and manifests go to every kind of registry and come back.

use seatrial::digest::Digest;
use seatrial::error::Kind;

use crate::fault_proxy::FaultProxy;
use crate::registry_server::{Flavour, RegistryServer};
use crate::{on_each, open, push_artifact};

#[tokio::test]
async fn what_is_pushed_comes_back_from_every_registry() {
    on_each(Flavour::OPEN, |server, flavour| async move {
        let registry = open(&server.address);
        let large: Vec<u8> = (0..9_000_001_u32).map(|number| (number % 251) as u8).collect();
        let files: [(&str, &[u8]); 3] = [("small.json", b"{}\n"), ("empty", b""), ("large", &large)];
        let artifact = push_artifact(&registry, &files, Some("v1")).await;
        assert_eq!(registry.resolve("v1").await.expect("the tag is there"), artifact);
        let manifest = registry.get_manifest(&artifact).await.expect("the manifest is there");
        assert_eq!(Digest::of(&manifest), artifact);
        for (name, bytes) in files {
            let got = registry.get_blob(&Digest::of(bytes), bytes.len() as u64).await.expect(name);
            assert!(got == bytes, "{name} came back changed from {flavour:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_pushed_again_and_a_public_registry_gets_no_extra_requests() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    let registry = open(&proxy.address);
    let digest = Digest::of(b"once");
    registry.push_blob(&digest, b"once").await.expect("is pushed");
    let methods = || proxy.seen().into_iter().map(|seen| seen.method).collect::<Vec<_>>();
    assert_eq!(methods(), ["HEAD", "POST", "PUT"]);
    registry.push_blob(&digest, b"once").await.expect("is there");
    assert_eq!(methods(), ["HEAD"]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_the_message_names_it() {
    on_each(&[Flavour::Native, Flavour::Docker], |server, _| async move {
        let registry = open(&server.address);
        let digest = Digest::of(b"never pushed");
        let missing = [
            registry.resolve("v9").await.expect_err("no tag"),
            registry.get_manifest(&digest).await.expect_err("no manifest"),
            registry.get_blob(&digest, 12).await.expect_err("no blob"),
        ];
        for (error, named) in missing.iter().zip(["v9", digest.as_str(), digest.as_str()]) {
            assert_eq!(error.kind(), Kind::NotFound);
            let chain = error.chain();
            assert!(chain.contains(named) && chain.contains(&format!("{}/team/evidence", server.address)), "{chain}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_blob_of_another_size_than_was_said_is_refused() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let registry = open(&server.address);
    let digest = Digest::of(b"ten bytes.");
    registry.push_blob(&digest, b"ten bytes.").await.expect("is pushed");
    for size in [0, 9, 11, u64::MAX] {
        assert_eq!(registry.get_blob(&digest, size).await.expect_err("a wrong size").kind(), Kind::Integrity, "{size}");
    }
}

#[tokio::test]
async fn asking_whether_we_may_push_leaves_nothing_behind() {
    on_each(Flavour::OPEN, |server, flavour| async move {
        let proxy = FaultProxy::start(&server.address);
        open(&proxy.address).check_push().await.expect("we may");
        let methods: Vec<_> = proxy.seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods, ["POST", "DELETE"], "{flavour:?}");
    })
    .await;
}
