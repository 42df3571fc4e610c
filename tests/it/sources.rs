//! Documents in ConfigMaps of a real API server, and over https behind a proxy.

use serde_json::Value;

use seatrial::cluster::Target;
use seatrial::error::Kind;
use seatrial::source::{Artefact, Source};
use seatrial::ui::{Mode, Ui};

use crate::support::cluster::{LeasedCluster, lease};

fn target(cluster: &LeasedCluster) -> Target {
    Target { kubeconfig: Some(cluster.kubeconfig()), context: None }
}

fn source(text: &str) -> Source {
    text.parse().expect("a source")
}

fn artefact<'a>(text: &'a str, format: &'a str) -> Artefact<'a> {
    Artefact { text, stem: "snapshot", format }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_a_config_map_is_read_back_and_written_again() {
    let cluster = lease().await;
    let (target, ui) = (target(&cluster), Ui::new(Some(Mode::Human), true));
    let map = source("cm://default/shot");
    let missing = map.read(1000, &target).await.expect_err("is not there");
    assert_eq!(missing.kind(), Kind::NotFound);
    assert!(missing.chain().contains("there is no configmap default/shot"), "{}", missing.chain());
    assert!(missing.hints().iter().any(|hint| hint.contains("kubectl create configmap shot -n default")), "{:?}", missing.hints());

    for text in ["kind: Snapshot\n", "kind: Snapshot\nmore: true\n"] {
        map.write(artefact(text, "yaml"), &target, &ui).await.expect("is written");
        assert_eq!(map.read(1000, &target).await.expect("is there").text, text);
    }
    let object = cluster.get(&["configmap", "shot"]);
    assert_eq!(object["data"]["format"], "yaml");
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "seatrial");
    // Another format takes the place of the first, so that one document is left.
    map.write(artefact("{}\n", "json"), &target, &ui).await.expect("is written");
    let object = cluster.get(&["configmap", "shot"]);
    let keys: Vec<&String> = object["data"].as_object().expect("data").keys().collect();
    assert_eq!(keys, ["format", "snapshot.json"]);
    let small = map.read(2, &target).await.expect_err("is too large");
    assert!(small.chain().contains("more than 2 bytes"), "{}", small.chain());

    // As much as fits, and one byte more.
    let room = (1 << 20) - "snapshot.yaml".len() - "format".len() - "yaml".len();
    map.write(artefact(&"x".repeat(room), "yaml"), &target, &ui).await.expect("just fits");
    let error = map.write(artefact(&"x".repeat(room + 1), "yaml"), &target, &ui).await.expect_err("does not fit");
    assert!(error.chain().contains("1 MiB"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_of_others_are_read_and_not_overwritten_and_what_is_in_the_way_is_named() {
    let cluster = lease().await;
    let (target, ui) = (target(&cluster), Ui::new(Some(Mode::Human), true));
    let theirs = ["create", "configmap", "aicr-snapshot", "--from-literal=snapshot.yaml=theirs", "--from-literal=format=yaml"];
    cluster.kubectl(&[&theirs[..], &["--from-literal=timestamp=2026-03-21T10:20:11Z"]].concat());
    let map = source("cm://default/aicr-snapshot");
    assert_eq!(map.read(1000, &target).await.expect("is there").text, "theirs");
    let error = map.write(artefact("ours", "yaml"), &target, &ui).await.expect_err("is theirs");
    assert_eq!(error.kind(), Kind::Usage);
    let beforehand = map.ready(artefact("", "yaml"), &target).await.expect_err("is theirs, which is told before the work");
    assert_eq!(beforehand.kind(), Kind::Usage);
    assert!(error.hints().iter().any(|hint| hint.contains("kubectl delete configmap aicr-snapshot")), "{:?}", error.hints());
    assert_eq!(cluster.get(&["configmap", "aicr-snapshot"])["data"]["snapshot.yaml"], "theirs");

    cluster.kubectl(&["create", "configmap", "two", "--from-literal=recipe.yaml=a", "--from-literal=snapshot.yaml=b"]);
    let error = source("cm://default/two").read(1000, &target).await.expect_err("which of them?");
    assert!(error.chain().contains("recipe.yaml, snapshot.yaml"), "{}", error.chain());

    let error = source("cm://nowhere/x").write(artefact("x", "yaml"), &target, &ui).await.expect_err("no such namespace");
    assert!(error.hints().iter().any(|hint| hint == "kubectl create namespace nowhere"), "{:?}", error.hints());

    let error = source("cm://nowhere/x").ready(artefact("", "yaml"), &target).await.expect_err("no such namespace");
    assert!(error.hints().iter().any(|hint| hint == "kubectl create namespace nowhere"), "{:?}", error.hints());
    source("cm://default/new").ready(artefact("", "yaml"), &target).await.expect("can be made, and is not yet");

    let blind = Target { kubeconfig: Some(cluster.kubeconfig_without("get", "configmaps")), context: None };
    assert_eq!(map.read(1000, &blind).await.expect_err("may not").kind(), Kind::Denied);
    let idle = Target { kubeconfig: Some(cluster.kubeconfig_without("patch", "configmaps")), context: None };
    let error = source("cm://default/new").write(artefact("x", "yaml"), &idle, &ui).await.expect_err("may not");
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(source("cm://default/new").ready(artefact("", "yaml"), &idle).await.expect_err("may not").kind(), Kind::Denied);
    assert!(error.hints().iter().any(|hint| hint.contains("create and patch on configmaps")), "{:?}", error.hints());
    let all: Value = cluster.get(&["configmaps", "-n", "default"]);
    assert!(!all.to_string().contains("\"new\""));
}

/// A real HTTPS server on this machine, for `documents.example.com`, and the certificate to trust; its threads end with the tests.
fn https_server(body: &'static str, folder: &std::path::Path) -> (u16, std::path::PathBuf) {
    use std::io::{Read, Write};
    use std::sync::Arc;

    let made = rcgen::generate_simple_self_signed(["documents.example.com".to_owned(), "localhost".to_owned()]).expect("a certificate");
    let trusted = folder.join("ca.pem");
    std::fs::write(&trusted, made.cert.pem()).expect("is written");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(config.clone()).expect("a connection");
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            let mut buffer = [0; 4096];
            // One request of a few hundred bytes, one answer.
            if tls.read(&mut buffer).is_ok_and(|count| count > 0) {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                tls.write_all(format!("{head}{body}").as_bytes()).and_then(|()| tls.flush()).unwrap_or(());
            }
        }
    });
    (port, trusted)
}

#[test]
fn a_recipe_is_read_from_the_web_also_through_a_proxy_and_never_without_trust() {
    use crate::connect::Proxy;
    use crate::support::Bin;

    let folder = tempfile::tempdir().expect("a directory");
    let (port, trusted) = https_server("kind: Recip\n", folder.path());
    // What it says of the document shows that it was read.
    let plan = |host: &str| {
        let address = format!("https://{host}:{port}/r.yaml");
        Bin::seatrial().args(["plan", "conformance", "--recipe", &address]).env("SSL_CERT_FILE", &trusted)
    };
    let ran = plan("localhost").exits(2);
    assert!(ran.stderr.contains(&format!("https://localhost:{port}/r.yaml")) && ran.stderr.contains("apiVersion"), "{}", ran.stderr);
    let proxy = Proxy::start();
    let ran = plan("documents.example.com").env("HTTPS_PROXY", format!("http://{}", proxy.address)).exits(2);
    assert!(ran.stderr.contains("https://documents.example.com:") && ran.stderr.contains("apiVersion"), "{}", ran.stderr);
    assert_eq!(proxy.asked(), [format!("documents.example.com:{port}")]);
    // Without trust in its certificate, nothing is read.
    let ran = Bin::seatrial().args(["plan", "conformance", "--recipe", &format!("https://localhost:{port}/r.yaml")]).exits(6);
    assert!(ran.stderr.contains("SSL_CERT_FILE"), "{}", ran.stderr);
    let ran = Bin::seatrial().args(["plan", "conformance", "--recipe", "http://example.com/r.yaml"]).exits(2);
    assert!(ran.stderr.contains("https://example.com/r.yaml"), "{}", ran.stderr);
}
