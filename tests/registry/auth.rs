//! Credentials come from docker's configuration and go to the registry that they are for, and to no other.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial::digest::Digest;
use seatrial::error::Kind;
use seatrial::registry::{Options, Registry};
use serde_json::json;

use crate::fault_proxy::{Fault, FaultProxy, Rule};
use crate::registry_server::{Flavour, RegistryServer};
use crate::{attach, open, open_with, push_artifact};

const LOGIN: &str = "tester:s3cret";

/// A folder with docker's configuration for one registry.
fn docker_config(address: &str, entry: &serde_json::Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.json"), json!({"auths": {address: entry}}).to_string()).expect("a file");
    folder
}

fn login(text: &str) -> serde_json::Value {
    json!({"auth": STANDARD.encode(text)})
}

fn open_as(address: &str, config: &Path) -> Registry {
    open_with(address, Options { docker_config: Some(config.to_owned()), ..Options::default() })
}

#[tokio::test]
async fn a_private_registry_takes_the_configured_credentials() {
    let Some(server) = RegistryServer::start(Flavour::Private(LOGIN)) else { return };
    let config = docker_config(&server.address, &login(LOGIN));
    let registry = open_as(&server.address, config.path());
    registry.check_push().await.expect("we may");
    let subject = push_artifact(&registry, &[("a", b"a")], Some("v1")).await;
    let attached = attach(&registry, &subject, "signature").await.expect("is attached");
    assert_eq!(registry.referrers(&subject).await.expect("a list"), [attached]);
}

#[tokio::test]
async fn wrong_and_missing_credentials_are_denied_and_told_apart() {
    let Some(server) = RegistryServer::start(Flavour::Private(LOGIN)) else { return };
    let wrong = docker_config(&server.address, &login("tester:wrong"));
    let other = docker_config("registry.example.com", &login(LOGIN));
    let empty = tempfile::tempdir().expect("a folder");
    for (config, words) in [(&wrong, "not accepted"), (&other, "none are configured"), (&empty, "none are configured")] {
        let registry = open_as(&server.address, config.path());
        for error in [registry.check_push().await.expect_err("push"), registry.resolve("v1").await.expect_err("pull")] {
            assert_eq!(error.kind(), Kind::Denied);
            assert!(error.chain().contains(words), "{}", error.chain());
            assert!(error.hints()[0].contains("docker login"), "{:?}", error.hints());
            assert!(!error.chain().contains("wrong"), "{}", error.chain());
        }
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_named_and_not_taken_for_none() {
    let Some(server) = RegistryServer::start(Flavour::Private(LOGIN)) else { return };
    let config = tempfile::tempdir().expect("a folder");
    std::fs::write(config.path().join("config.json"), "{").expect("a file");
    let error = open_as(&server.address, config.path()).check_push().await.expect_err("no configuration");
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.chain().contains("config.json"), "{}", error.chain());
}

#[tokio::test]
async fn an_upload_at_another_host_gets_no_credentials() {
    let Some(server) = RegistryServer::start(Flavour::Private(LOGIN)) else { return };
    let Some(store) = RegistryServer::start(Flavour::Native) else { return };
    let (registry_proxy, store_proxy) = (FaultProxy::start(&server.address), FaultProxy::start(&store.address));
    let begun = Fault::Answer {
        status: 202,
        headers: vec![("location", format!("http://{}/v2/team/evidence/blobs/uploads/?mount=no", store_proxy.address))],
        body: String::new(),
    };
    let basic = format!("Basic {}", STANDARD.encode(LOGIN));
    // The registry's own 401 to the HEAD before comes first, so that there are credentials that could leak.
    registry_proxy.inject(Rule::new(begun).on("POST", "/uploads/"));
    let config = docker_config(&registry_proxy.address, &login(LOGIN));
    let registry = open_as(&registry_proxy.address, config.path());
    registry.push_blob(&Digest::of(b"x"), b"x").await.expect_err("there is no such upload there");
    assert!(registry_proxy.seen().iter().any(|seen| seen.authorization.as_deref() == Some(&basic)), "the registry got the credentials");
    let leaked: Vec<_> = store_proxy.seen();
    assert!(!leaked.is_empty() && leaked.iter().all(|seen| seen.authorization.is_none()), "{leaked:?}");
}

#[tokio::test]
async fn a_blob_that_lies_at_another_host_is_fetched_there_without_credentials() {
    let Some(server) = RegistryServer::start(Flavour::Private(LOGIN)) else { return };
    let Some(store) = RegistryServer::start(Flavour::Native) else { return };
    open(&store.address).push_blob(&Digest::of(b"x"), b"x").await.expect("is pushed");
    let (registry_proxy, store_proxy) = (FaultProxy::start(&server.address), FaultProxy::start(&store.address));
    let basic = format!("Basic {}", STANDARD.encode(LOGIN));
    let target = format!("http://{}/v2/team/evidence/blobs/{}", store_proxy.address, Digest::of(b"x"));
    let led = Fault::Answer { status: 307, headers: vec![("location", target)], body: String::new() };
    let wanted = Fault::Answer { status: 401, headers: vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], body: String::new() };
    registry_proxy.inject(Rule::new(wanted).unless_header("authorization", &basic)).inject(Rule::new(led));
    let config = docker_config(&registry_proxy.address, &login(LOGIN));
    let got = open_as(&registry_proxy.address, config.path()).get_blob(&Digest::of(b"x"), 1).await.expect("is fetched");
    assert_eq!(got, b"x");
    assert_eq!(store_proxy.seen().into_iter().map(|seen| seen.authorization).collect::<Vec<_>>(), [None]);
}

#[tokio::test]
async fn a_token_server_is_asked_with_password_identity_token_or_nothing() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let basic = format!("Basic {}", STANDARD.encode(LOGIN));
    for (entry, method, authorization) in
        [(Some(login(LOGIN)), "GET", Some(basic.clone())), (Some(json!({"identitytoken": "refresh"})), "POST", None), (None, "GET", None)]
    {
        let proxy = FaultProxy::start(&server.address);
        let challenge =
            format!("Bearer realm=\"http://{}/token\",service=\"reg,istry\",scope=\"repository:team/evidence:pull\"", proxy.address);
        let challenge = Fault::Answer { status: 401, headers: vec![("www-authenticate", challenge)], body: String::new() };
        let token = Fault::Answer { status: 200, headers: Vec::new(), body: json!({"access_token": "t0ken"}).to_string() };
        proxy.inject(Rule::new(token).on(method, "/token")).inject(Rule::new(challenge).unless_header("authorization", "Bearer t0ken"));
        let config = entry.map(|entry| docker_config(&proxy.address, &entry));
        let registry = match &config {
            Some(config) => open_as(&proxy.address, config.path()),
            None => open(&proxy.address),
        };
        registry.push_blob(&Digest::of(b"x"), b"x").await.expect("is pushed with the token");
        registry.resolve("v1").await.expect_err("is not there");
        let asked: Vec<_> = proxy.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect();
        assert_eq!(asked.len(), 2, "one token to push, one to pull: {asked:?}");
        assert!(asked.iter().all(|seen| seen.method == method && seen.authorization == authorization), "{asked:?}");
        if method == "GET" {
            assert_eq!(asked[0].path, "/token?scope=repository%3Ateam%2Fevidence%3Apull%2Cpush&service=reg%2Cistry");
        }
    }
}

#[tokio::test]
async fn a_password_is_not_sent_to_a_token_server_in_the_clear() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    for realm in ["http://registry.example.com/token", "not an address", "file:///etc/passwd"] {
        let proxy = FaultProxy::start(&server.address);
        let challenge = vec![("www-authenticate", format!("Bearer realm=\"{realm}\""))];
        proxy.inject(Rule::new(Fault::Answer { status: 401, headers: challenge, body: String::new() }));
        let config = docker_config(&proxy.address, &login(LOGIN));
        let error = open_as(&proxy.address, config.path()).check_push().await.expect_err(realm);
        assert_eq!(error.kind(), Kind::Denied, "{}", error.chain());
    }
}
