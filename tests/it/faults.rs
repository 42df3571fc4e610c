//! An API server that fails now and then is borne with, and the report says so; one that goes on failing is an error, never green.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::fault_proxy::{Fault, FaultProxy, Rule};
use crate::trial::{Site, nothing_left};

const SHORT: &[&str] = &["snapshot", "conformance", "collect"];
/// The path of a list of slices; the first two are those of the look beforehand and of the snapshot.
const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";

/// A proxy in front of the API server, which it talks to as the administrator, and a kubeconfig that leads to it.
pub(crate) fn proxied(cluster: &LeasedCluster) -> (FaultProxy, tempfile::TempDir, PathBuf) {
    let own = cluster.kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&own).expect("is JSON");
    let pem = |value: &Value| STANDARD.decode(value.as_str().expect("is text")).expect("is base64");
    let (server, user) = (config["clusters"][0]["cluster"].clone(), config["users"][0]["user"].clone());
    let authority = Certificate::from_pem(&pem(&server["certificate-authority-data"])).expect("a certificate");
    let key_and_certificate = [pem(&user["client-key-data"]), pem(&user["client-certificate-data"])].concat();
    let client =
        Client::builder().no_proxy().tls_certs_only([authority]).identity(Identity::from_pem(&key_and_certificate).expect("a key"));
    let proxy = FaultProxy::with_client(server["server"].as_str().expect("an address"), client.build().expect("a client"));
    config["clusters"][0]["cluster"] = json!({"server": format!("http://{}", proxy.address)});
    config["users"][0]["user"] = json!({});
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, config.to_string()).expect("is written");
    (proxy, folder, file)
}

// case: gpu-capacity | fault | 503 three times; passes, and says so
#[tokio::test]
async fn a_read_that_fails_three_times_is_repeated_and_the_check_passes_as_flaky() {
    let cluster = lease().await;
    let site = Site::new();
    let (proxy, _folder, kubeconfig) = proxied(&cluster);
    proxy.inject(Rule::new(Fault::None).on("GET", SLICES).times(2)).inject(Rule::new(Fault::Status(503)).on("GET", SLICES).times(3));
    let trial = site.run(&kubeconfig, &site.workflow("training", SHORT), &[], 0);
    trial.has("gpu-capacity", "pass", "32 GPUs on 4 nodes").only(&[]);
    let retries = trial.result("gpu-capacity")["retries"].as_array().expect("a list");
    assert!(
        retries.len() == 3 && retries.iter().all(|retry| retry["message"].as_str().is_some_and(|text| text.contains("503"))),
        "{retries:?}"
    );
    assert!(trial.stderr.contains("(3 retries)"), "{}", trial.stderr);
    let ctrf = std::fs::read(trial.out.join("ctrf/conformance.json")).expect("is written");
    let ctrf: Value = serde_json::from_slice(&ctrf).expect("is JSON");
    let tests = ctrf["results"]["tests"].as_array().expect("a list");
    let flaky: Vec<&str> = tests.iter().filter(|test| test["flaky"] == true).filter_map(|test| test["name"].as_str()).collect();
    assert_eq!(flaky, ["gpu-capacity"]);
}

// case: gpu-capacity | fault | 503 for ever; error(unavailable)
// case: dra-support | fault | 503 for ever; error(unavailable)
#[tokio::test]
async fn a_read_that_goes_on_failing_is_an_error_that_says_unavailable() {
    let cluster = lease().await;
    let site = Site::new();
    let (proxy, _folder, kubeconfig) = proxied(&cluster);
    proxy.inject(Rule::new(Fault::None).on("GET", SLICES).times(2)).inject(Rule::new(Fault::Status(503)).on("GET", SLICES));
    let trial = site.run(&kubeconfig, &site.workflow("training", SHORT), &[], 3);
    for check in ["gpu-capacity", "dra-support"] {
        trial.has(check, "error(unavailable)", "list ResourceSlice of resource.k8s.io/v1: the API server answers 503");
    }
    trial.only(&["dra-support", "gpu-capacity"]);
    nothing_left(&cluster);
}

// case: dra-support | fault | watches are cut or expire; passes
// case: platform-health | fault | watches are cut or expire; passes
#[tokio::test]
async fn watches_that_are_cut_all_the_time_or_have_expired_do_not_change_the_verdict() {
    let cluster = lease().await;
    let site = Site::new();
    let (proxy, _folder, kubeconfig) = proxied(&cluster);
    // As the API server says it: in the stream of a watch, and as the answer to its request.
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version: 1 (2)"});
    let event = json!({"type": "ERROR", "object": expired});
    let answer = |status: u16, body: &Value, path: &str| {
        let headers = vec![("content-type", "application/json".to_owned())];
        Rule::new(Fault::Answer { status, headers, body: format!("{body}\n") }).on("GET", path).with("watch=true").times(1)
    };
    let (nodes, pods) = ("/api/v1/nodes", "/api/v1/namespaces/default/pods");
    proxy.inject(answer(200, &event, nodes)).inject(answer(410, &expired, nodes));
    proxy.inject(answer(200, &event, pods)).inject(answer(410, &expired, pods));
    let flags = ["run", "conformance", "--namespace", "default", "--recipe", "./recipe.yaml", "--settle", "30"];
    site.run_as(&kubeconfig, &flags, 0).only(&[]);
    let seen = proxy.seen();
    // Pods may run before anyone has to watch them; nodes are watched for as long as set-up dwells.
    let watches = seen.iter().filter(|request| request.path.contains(nodes) && request.path.contains("watch=true")).count();
    assert!(watches >= 2, "{watches} watches of {nodes}, so not all faults were had");

    proxy.inject(Rule::new(Fault::CutAfter(Duration::from_millis(300))).on("GET", "watch=true"));
    site.run_as(&kubeconfig, &flags, 0).only(&[]);
    nothing_left(&cluster);
}
