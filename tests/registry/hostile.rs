//! Registries that mean harm: bounded time and memory, a clear error, and no credentials for anybody else.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial::digest::Digest;
use seatrial::error::{Error, Kind};
use seatrial::registry::{Options, Registry};
use serde_json::json;

use crate::fault_proxy::{Fault, FaultProxy, Rule};
use crate::open;
use crate::registry_server::{Flavour, RegistryServer};
use crate::tls::TlsRelay;

const LOGIN: &str = "tester:s3cret";

fn lead(to: &str) -> Fault {
    Fault::Answer { status: 307, headers: vec![("location", to.to_owned())], body: String::new() }
}

#[tokio::test]
async fn an_endless_blob_manifest_or_list_is_given_up_at_its_limit() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::Endless));
    let registry = open(&proxy.address);
    let digest = Digest::of(b"x");
    let file = tempfile::tempfile().expect("a file");
    let began = Instant::now();
    let errors = [
        registry.get_blob(&digest, 1000).await.expect_err("a blob"),
        registry.get_blob_into(&digest, 1000, &file).await.expect_err("a blob on disk"),
        registry.get_manifest(&digest).await.expect_err("a manifest"),
        registry.referrers(&digest).await.expect_err("a list"),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::Integrity, "{}", error.chain());
        assert!(error.chain().contains("more than"), "{}", error.chain());
    }
    assert!(file.metadata().expect("is there").len() <= 1000);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_dripping_registry_is_a_timeout() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::Drip(Duration::from_millis(50))));
    let options = Options { read_timeout: Duration::from_millis(400), ..Options::default() };
    let registry = crate::open_with(&proxy.address, options);
    let began = Instant::now();
    let error = registry.get_blob(&Digest::of(b"x"), 1000).await.expect_err("it drips");
    assert_eq!(error.kind(), Kind::Timeout, "{}", error.chain());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn what_is_said_to_be_compressed_is_not_unpacked() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    let body = "these bytes are what the digest is of";
    let headers = vec![("content-encoding", "gzip".to_owned())];
    proxy.inject(Rule::new(Fault::Answer { status: 200, headers, body: body.to_owned() }));
    let got = open(&proxy.address).get_blob(&Digest::of(body.as_bytes()), body.len() as u64).await.expect("comes as it is");
    assert_eq!(got, body.as_bytes());
}

#[tokio::test]
async fn ten_thousand_referrers_are_refused_quickly() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    let entries: Vec<_> = (0..10_000_u32).map(|number| json!({"digest": Digest::of(&number.to_le_bytes())})).collect();
    let body = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    proxy.inject(Rule::new(Fault::Answer { status: 200, headers: Vec::new(), body }));
    let began = Instant::now();
    let error = open(&proxy.address).referrers(&Digest::of(b"x")).await.expect_err("too many");
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(error.chain().contains("10000"), "{}", error.chain());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn redirects_in_circles_and_chains_and_to_metadata_services_are_not_followed() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let fetch = |proxy: &FaultProxy| {
        let registry = open(&proxy.address);
        async move { registry.get_blob(&Digest::of(b"x"), 1).await.expect_err("is led away") }
    };
    let refused = |error: &Error, words: &str| {
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
        assert!(error.chain().contains(words) && !error.chain().contains("secret"), "{}", error.chain());
    };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(lead(&format!("http://{}/circle?secret", proxy.address))));
    refused(&fetch(&proxy).await, "in a circle");
    assert_eq!(proxy.seen().len(), 2);

    let proxy = FaultProxy::start(&server.address);
    for number in 0..9 {
        let rule = Rule::new(lead(&format!("http://{}/chain{}?secret", proxy.address, number + 1)));
        proxy.inject(if number == 0 { rule.on("GET", "/blobs/") } else { rule.on("GET", format!("/chain{number}")) });
    }
    refused(&fetch(&proxy).await, "from one address to the next");
    assert_eq!(proxy.seen().len(), 6, "five are followed");

    for near in ["169.254.169.254", "100.100.100.200", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "2852039166"] {
        let proxy = FaultProxy::start(&server.address);
        proxy.inject(Rule::new(lead(&format!("http://{near}/latest/meta-data/?secret"))));
        let began = Instant::now();
        refused(&fetch(&proxy).await, "nearer to us");
        assert!(began.elapsed() < Duration::from_secs(5), "nobody was asked");
        assert_eq!(proxy.seen().len(), 1, "a refusal is final");
    }
    let proxy = FaultProxy::start(&server.address);
    let begun = Fault::Answer { status: 202, headers: vec![("location", "http://169.254.169.254/upload".to_owned())], body: String::new() };
    proxy.inject(Rule::new(begun).on("POST", "/uploads/"));
    refused(&open(&proxy.address).push_blob(&Digest::of(b"x"), b"x").await.expect_err("is led away"), "nearer to us");
}

#[tokio::test]
async fn a_blob_store_on_another_host_is_reached_over_tls_without_credentials_and_never_in_the_clear() {
    let Some(server) = RegistryServer::start(Flavour::Private(LOGIN)) else { return };
    let Some(store) = RegistryServer::start(Flavour::Native) else { return };
    open(&store.address).push_blob(&Digest::of(b"x"), b"x").await.expect("is pushed");
    let (registry_proxy, store_proxy) = (FaultProxy::start(&server.address), FaultProxy::start(&store.address));
    let (registry_tls, store_tls) = (TlsRelay::start(&registry_proxy.address), TlsRelay::start(&store_proxy.address));
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("localhost:{}", registry_tls.port);
    let config = json!({"auths": {&address: {"auth": STANDARD.encode(LOGIN)}}});
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("is written");
    let authority = folder.path().join("authorities.pem");
    std::fs::write(&authority, format!("{}{}", registry_tls.certificate, store_tls.certificate)).expect("is written");
    let options = Options { docker_config: Some(folder.path().to_owned()), authority: Some(authority), ..Options::default() };
    let repository = format!("{address}/team/evidence").parse().expect("a name");
    let registry = Registry::open(&repository, &options).expect("opens");

    let basic = format!("Basic {}", STANDARD.encode(LOGIN));
    let wanted = Fault::Answer { status: 401, headers: vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], body: String::new() };
    let path = format!("/v2/team/evidence/blobs/{}", Digest::of(b"x"));
    registry_proxy.inject(Rule::new(wanted).unless_header("authorization", &basic));
    registry_proxy.inject(Rule::new(lead(&format!("https://127.0.0.1:{}{path}", store_tls.port))).times(1));
    assert_eq!(registry.get_blob(&Digest::of(b"x"), 1).await.expect("is fetched"), b"x");
    assert_eq!(store_proxy.seen().into_iter().map(|seen| seen.authorization).collect::<Vec<_>>(), [None]);

    registry_proxy.inject(Rule::new(lead(&format!("http://{}{path}", store_proxy.address))));
    let error = registry.get_blob(&Digest::of(b"x"), 1).await.expect_err("in the clear");
    assert!(error.chain().contains("plain HTTP"), "{}", error.chain());
    assert_eq!(store_proxy.seen(), []);

    let untrusting = Registry::open(&repository, &Options { authority: None, ..options }).expect("opens");
    let error = untrusting.get_blob(&Digest::of(b"x"), 1).await.expect_err("nobody vouches for it");
    assert!(error.hints()[0].contains("--registry-ca"), "{}: {:?}", error.chain(), error.hints());
}

#[tokio::test]
async fn a_file_without_certificates_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    for text in ["", "no certificate"] {
        std::fs::write(&file, text).expect("is written");
        let options = Options { authority: Some(file.clone()), ..Options::default() };
        let error = Registry::open(&"ghcr.io/a".parse().expect("a name"), &options).expect_err("no certificate");
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.chain().contains("ca.pem"), "{}", error.chain());
    }
}
