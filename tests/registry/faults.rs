//! Faults of registry and network get the right kind of error, and those that pass are waited out.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use seatrial::digest::Digest;
use seatrial::error::{Error, Kind};
use seatrial::registry::Options;

use crate::fault_proxy::{Fault, FaultProxy, Rule};
use crate::registry_server::{Flavour, RegistryServer};
use crate::{attach, open, open_with, push_artifact};

fn status(status: u16, headers: &[(&'static str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Fault::Answer { status, headers, body: r#"{"errors":[{"code":"TEST","message":"a \u001b[31mtest"}]}"#.to_owned() }
}

/// Checks what every error has to say.
#[track_caller]
fn assert_error(error: &Error, kind: Kind, address: &str) {
    let chain = error.chain();
    assert_eq!(error.kind(), kind, "{chain}");
    assert!(chain.contains(&format!("{address}/team/evidence")), "the message names no repository: {chain}");
    assert!(!chain.contains('\u{1b}'), "the registry's control characters are passed on: {chain:?}");
}

#[tokio::test]
async fn a_fault_that_stays_has_the_right_kind_for_reads_and_writes() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let faults = [
        (status(401, &[("www-authenticate", "Basic realm=\"x\"")]), Kind::Denied),
        (status(401, &[]), Kind::Denied),
        (status(403, &[]), Kind::Denied),
        (status(429, &[]), Kind::Unavailable),
        (status(500, &[]), Kind::Unavailable),
        (status(418, &[]), Kind::Unavailable),
        (Fault::Cut, Kind::Unavailable),
    ];
    let digest = Digest::of(b"x");
    // Side by side, as most of the time goes into waiting between tries.
    let tests = faults.into_iter().map(|(fault, kind)| {
        let proxy = FaultProxy::start(&server.address);
        proxy.inject(Rule::new(fault.clone()));
        let digest = digest.clone();
        async move {
            let registry = open(&proxy.address);
            let (read, blob, write, manifest, may) = futures::join!(
                registry.get_manifest(&digest),
                registry.get_blob(&digest, 1),
                registry.push_blob(&digest, b"x"),
                registry.put_manifest(b"{}", crate::MANIFEST, Some("v1")),
                registry.check_push(),
            );
            for error in [read.err(), blob.err(), write.err(), manifest.err(), may.err()] {
                assert_error(&error.expect("the fault stays"), kind, &proxy.address);
            }
        }
    });
    futures::future::join_all(tests).await;
}

#[tokio::test]
async fn a_denied_request_says_how_to_log_in() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    for code in [401, 403] {
        let proxy = FaultProxy::start(&server.address);
        proxy.inject(Rule::new(status(code, &[])));
        let error = open(&proxy.address).check_push().await.expect_err("is denied");
        assert!(error.hints()[0].contains(&format!("docker login {}", proxy.address)), "{:?}", error.hints());
        assert_eq!(proxy.seen().len(), 1, "a denial is final");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_not_found() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::Status(404)));
    assert_error(&open(&proxy.address).check_push().await.expect_err("is not there"), Kind::NotFound, &proxy.address);
}

#[tokio::test]
async fn a_registry_that_does_not_run_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").to_string();
    let error = open(&free).check_push().await.expect_err("nothing listens");
    assert_error(&error, Kind::Unavailable, &free);
}

#[tokio::test]
async fn a_host_without_an_address_is_unavailable() {
    let repository = "registry.invalid/team/evidence".parse().expect("a name");
    let registry = seatrial::registry::Registry::open(&repository, &Options::default()).expect("opens");
    assert_error(&registry.resolve("v1").await.expect_err("there is no such host"), Kind::Unavailable, "registry.invalid");
}

#[tokio::test]
async fn tls_to_a_registry_without_it_says_which_flag_helps() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let repository = format!("{}/team/evidence", server.address).parse().expect("a name");
    let registry = seatrial::registry::Registry::open(&repository, &Options::default()).expect("opens");
    let error = registry.resolve("v1").await.expect_err("speaks no TLS");
    assert_error(&error, Kind::Unavailable, &server.address);
    assert!(error.hints()[0].contains("--plain-http"), "{:?}", error.hints());
}

#[tokio::test]
async fn a_silent_registry_is_a_timeout() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::Silence));
    let options = Options { read_timeout: Duration::from_millis(300), ..Options::default() };
    let registry = open_with(&proxy.address, options);
    let began = Instant::now();
    assert_error(&registry.resolve("v1").await.expect_err("is silent"), Kind::Timeout, &proxy.address);
    assert_error(&registry.push_blob(&Digest::of(b"x"), b"x").await.expect_err("is silent"), Kind::Timeout, &proxy.address);
    assert!(began.elapsed() < Duration::from_secs(20), "the timeout was not the one that was set");
}

#[tokio::test]
async fn faults_that_pass_are_waited_out_everywhere() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let faults = [status(503, &[]), status(429, &[("retry-after", "0")]), Fault::Cut, Fault::CutAfterHeaders];
    let places = [
        ("HEAD", "/blobs/"),
        ("POST", "/uploads/"),
        ("PUT", "/uploads/"),
        ("PUT", "/manifests/"),
        ("GET", "/manifests/"),
        ("GET", "/referrers/"),
    ];
    let tests = faults.into_iter().enumerate().map(|(number, fault)| {
        let proxy = FaultProxy::start(&server.address);
        for (method, path) in places {
            proxy.inject(Rule::new(fault.clone()).on(method, path).times(2));
        }
        async move {
            let registry = open(&proxy.address);
            let text = format!("file {number}");
            let subject = push_artifact(&registry, &[("file", text.as_bytes())], Some("v1")).await;
            let attached = attach(&registry, &subject, "signature").await.expect("is attached in spite of the faults");
            assert_eq!(registry.referrers(&subject).await.expect("a list"), [attached]);
            let blob = registry.get_blob(&Digest::of(text.as_bytes()), text.len() as u64).await.expect("is there");
            assert_eq!(blob, text.as_bytes());
        }
    });
    futures::future::join_all(tests).await;
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_limit() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(status(429, &[("retry-after", "2")])).times(1));
    let registry = open(&proxy.address);
    let began = Instant::now();
    registry.check_push().await.expect("the second try is let in");
    assert!(began.elapsed() >= Duration::from_secs(2), "came back after {:?}", began.elapsed());

    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(status(429, &[("retry-after", "3600")])));
    let error = open(&proxy.address).check_push().await.expect_err("an hour is too long");
    assert_error(&error, Kind::Unavailable, &proxy.address);
    assert_eq!(proxy.seen().len(), 1);
    assert!(error.hints()[0].contains("3600"), "{:?}", error.hints());
}

#[tokio::test]
async fn changed_bytes_are_found_out() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let digest = Digest::of(b"the real bytes");
    for fault in [Fault::FlipBit, Fault::Longer] {
        let proxy = FaultProxy::start(&server.address);
        let registry = open(&proxy.address);
        registry.push_blob(&digest, b"the real bytes").await.expect("is pushed");
        let subject = push_artifact(&registry, &[("a", b"a")], None).await;
        proxy.inject(Rule::new(fault.clone()).on("GET", ""));
        assert_error(&registry.get_blob(&digest, 14).await.expect_err("the blob is changed"), Kind::Integrity, &proxy.address);
        assert_error(&registry.get_manifest(&subject).await.expect_err("the manifest is changed"), Kind::Integrity, &proxy.address);
    }
}

#[tokio::test]
async fn an_upload_without_a_location_is_an_error_that_says_so() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::WithoutHeader("location")).on("POST", ""));
    let error = open(&proxy.address).check_push().await.expect_err("no address");
    assert_error(&error, Kind::Unavailable, &proxy.address);
}

#[tokio::test]
async fn a_location_that_nothing_hangs_on_is_not_missed() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let proxy = FaultProxy::start(&server.address);
    proxy.inject(Rule::new(Fault::WithoutHeader("location")).on("PUT", ""));
    let registry = open(&proxy.address);
    let artifact = push_artifact(&registry, &[("a", b"a")], None).await;
    registry.get_manifest(&artifact).await.expect("is there");
}

#[tokio::test]
async fn a_push_does_not_follow_a_redirect() {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    let elsewhere = FaultProxy::start(&server.address);
    let proxy = FaultProxy::start(&server.address);
    let target = format!("http://{}/v2/team/evidence/blobs/uploads/", elsewhere.address);
    proxy.inject(Rule::new(status(307, &[("location", &target)])).on("POST", ""));
    let error = open(&proxy.address).check_push().await.expect_err("is led away");
    assert_error(&error, Kind::Unavailable, &proxy.address);
    assert_eq!(elsewhere.seen(), []);
}
