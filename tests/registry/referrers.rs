//! Referrers are found on registries with the referrers API, without it, and with a false promise of it.

use seatrial::digest::Digest;
use seatrial::error::Kind;
use seatrial::limits;
use serde_json::{Value, json};

use crate::fault_proxy::{Fault, FaultProxy, Rule};
use crate::registry_server::{Flavour, RegistryServer};
use crate::{attach, bytes, on_each, open, push_artifact};

#[tokio::test]
async fn a_referrer_is_found_on_every_registry() {
    on_each(Flavour::OPEN, |server, flavour| async move {
        let registry = open(&server.address);
        let subject = push_artifact(&registry, &[("a", b"a")], None).await;
        assert_eq!(registry.referrers(&subject).await.expect("a list"), [], "{flavour:?}");
        let first = attach(&registry, &subject, "first").await.expect("is attached");
        let second = attach(&registry, &subject, "second").await.expect("is attached");
        let again = attach(&registry, &subject, "first").await.expect("is attached already");
        assert_eq!(again, first);
        let mut found = registry.referrers(&subject).await.expect("a list");
        found.sort();
        let mut expected = [first, second];
        expected.sort();
        assert_eq!(found, expected, "{flavour:?}");
    })
    .await;
}

#[tokio::test]
async fn the_tag_of_a_registry_without_the_api_holds_what_other_tools_look_for() {
    on_each(&[Flavour::NoReferrers, Flavour::Lying, Flavour::Docker], |server, _| async move {
        let registry = open(&server.address);
        let subject = push_artifact(&registry, &[("a", b"a")], None).await;
        let attached = attach(&registry, &subject, "signature").await.expect("is attached");
        let index = registry.resolve(&format!("sha256-{}", subject.hex())).await.expect("the tag is there");
        let index: Value = serde_json::from_slice(&registry.get_manifest(&index).await.expect("the index")).expect("json");
        let entry = &index["manifests"][0];
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
        assert_eq!(entry["digest"], json!(attached));
        assert_eq!(entry["artifactType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
        assert_eq!(entry["annotations"]["dev.sigstore.bundle.content"], "dsse-envelope");
    })
    .await;
}

#[tokio::test]
async fn a_registry_with_the_api_gets_no_tag() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let registry = open(&server.address);
    let subject = push_artifact(&registry, &[("a", b"a")], None).await;
    attach(&registry, &subject, "signature").await.expect("is attached");
    let error = registry.resolve(&format!("sha256-{}", subject.hex())).await.expect_err("no tag");
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn six_attaches_at_once_through_the_tag_lose_nothing() {
    on_each(&[Flavour::NoReferrers, Flavour::Docker], |server, flavour| async move {
        let registry = open(&server.address);
        let subject = push_artifact(&registry, &[("a", b"a")], None).await;
        let writers = (0..6).map(|number| {
            // A client each, as in six processes.
            let (registry, subject) = (open(&server.address), subject.clone());
            tokio::spawn(async move { attach(&registry, &subject, &format!("signature {number}")).await.expect("is attached") })
        });
        let mut attached: Vec<Digest> = futures::future::try_join_all(writers).await.expect("no writer panics");
        let mut found = registry.referrers(&subject).await.expect("a list");
        attached.sort();
        found.sort();
        assert_eq!(found, attached, "{flavour:?}");
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_another_client_overwrites_after_it_was_seen_is_written_again() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let proxy = FaultProxy::start(&server.address);
    let registry = open(&proxy.address);
    let subject = push_artifact(&registry, &[("a", b"a")], None).await;
    let tag = format!("/manifests/sha256-{}", subject.hex());
    let overwritten = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).to_string();
    let overwritten = Fault::Answer { status: 200, headers: Vec::new(), body: overwritten };
    // The look before writing and the first one after it.
    proxy.inject(Rule::new(Fault::None).on("GET", &tag).times(2)).inject(Rule::new(overwritten).on("GET", &tag).times(1));
    let attached = attach(&registry, &subject, "signature").await.expect("is attached");
    let writes = proxy.seen().into_iter().filter(|seen| seen.method == "PUT" && seen.path.contains(&tag)).count();
    assert_eq!(writes, 2);
    assert_eq!(registry.referrers(&subject).await.expect("a list"), [attached]);
}

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    let registry = open(&proxy.address);
    let subject = Digest::of(b"subject");
    let page = |number: u32, next: Option<&str>| {
        let mut headers = vec![("content-type", "application/vnd.oci.image.index.v1+json".to_owned())];
        headers.extend(next.map(|next| ("link", format!("<{next}>; rel=\"next\""))));
        let body = json!({"schemaVersion": 2, "manifests": [{"digest": Digest::of(&number.to_le_bytes())}]});
        Fault::Answer { status: 200, headers, body: body.to_string() }
    };
    let second = format!("/v2/team/evidence/referrers/{subject}?last=1");
    proxy.inject(Rule::new(page(2, None)).on("GET", "?last=1")).inject(Rule::new(page(1, Some(&second))).on("GET", "/referrers/"));
    let found = registry.referrers(&subject).await.expect("two pages");
    assert_eq!(found, [Digest::of(&1_u32.to_le_bytes()), Digest::of(&2_u32.to_le_bytes())]);

    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(page(1, Some("http://192.0.2.1/next"))).on("GET", "/referrers/"));
    let error = open(&proxy.address).referrers(&subject).await.expect_err("the next page is elsewhere");
    assert_eq!(error.kind(), Kind::Schema);

    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(page(1, Some(&second))).on("GET", "/referrers/"));
    let error = open(&proxy.address).referrers(&subject).await.expect_err("the list never ends");
    assert_eq!(error.kind(), Kind::Integrity);
}

#[tokio::test]
async fn more_referrers_than_are_looked_at_are_an_error_and_not_cut_off() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let registry = open(&server.address);
    let subject = push_artifact(&registry, &[("a", b"a")], None).await;
    let mut entries = Vec::new();
    for number in 0..=limits::SIGNATURES {
        let mut manifest: Value = serde_json::from_slice(&registry.get_manifest(&subject).await.expect("is there")).expect("json");
        manifest["annotations"] = json!({"number": number.to_string()});
        let digest = registry.put_manifest(&bytes(&manifest), crate::MANIFEST, None).await.expect("is put");
        entries.push(json!({"mediaType": crate::MANIFEST, "digest": digest, "size": bytes(&manifest).len()}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
    let tag = format!("sha256-{}", subject.hex());
    registry.put_manifest(&bytes(&index), "application/vnd.oci.image.index.v1+json", Some(&tag)).await.expect("is put");
    assert_eq!(registry.referrers(&subject).await.expect_err("too many").kind(), Kind::Integrity);
}

#[tokio::test]
async fn a_tag_that_holds_something_else_is_not_overwritten() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let registry = open(&server.address);
    let subject = push_artifact(&registry, &[("a", b"a")], None).await;
    let tag = format!("sha256-{}", subject.hex());
    let other = push_artifact(&registry, &[("b", b"b")], Some(&tag)).await;
    assert_eq!(attach(&registry, &subject, "signature").await.expect_err("no index").kind(), Kind::Schema);
    assert_eq!(registry.resolve(&tag).await.expect("is there"), other);
}

#[tokio::test]
async fn a_list_that_cannot_be_had_is_an_error_and_not_an_empty_list() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let html = Fault::Answer { status: 200, headers: Vec::new(), body: "<html>".to_owned() };
    for (fault, kind) in [(Fault::Status(500), Kind::Unavailable), (Fault::Status(403), Kind::Denied), (html, Kind::Schema)] {
        let proxy = FaultProxy::start(&server.address);
        proxy.inject(Rule::new(fault.clone()).on("GET", "/referrers/"));
        let error = open(&proxy.address).referrers(&Digest::of(b"subject")).await.expect_err("no list");
        assert_eq!(error.kind(), kind, "{fault:?}: {}", error.chain());
    }
}

#[tokio::test]
async fn a_registry_that_stores_a_referrer_and_never_lists_it_is_found_out() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    let registry = open(&proxy.address);
    let subject = push_artifact(&registry, &[("a", b"a")], None).await;
    let body = json!({"schemaVersion": 2, "manifests": []}).to_string();
    proxy.inject(Rule::new(Fault::Answer { status: 200, headers: Vec::new(), body }).on("GET", "/referrers/"));
    assert_eq!(attach(&registry, &subject, "signature").await.expect_err("is not listed").kind(), Kind::Integrity);
}
