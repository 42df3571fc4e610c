//! What is planted in a real cluster is neither in the bundle of a run nor in the registry that it was pushed to.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::cluster::lease;
use crate::support::runs::Workplace;

/// Planted in labels, annotations, variables, names, messages, events and the kubeconfig's names.
const SEEDED: &[&str] = &[
    "gpu-worker-7",
    "corp.internal",
    "10.0.12.34",
    "123456789012",
    "alice-at-example",
    "hunter2",
    "opensesame",
    "project-moonshot",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "prod-admin",
];

const RECIPE: &str = "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {name: small}\nspec:\n  criteria: {service: sim, accelerator: h100}\n  \
    vendor: nvidia\n  constraints: [{name: K8s.server.version, value: '>= 1.30'}]\n  checks:\n    deployment: [platform-health]\n    conformance: [gpu-capacity]\n";

#[tokio::test]
async fn what_is_planted_in_a_cluster_is_neither_in_the_bundle_nor_in_the_registry() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return crate::support::left_out("this machine has no registry") };
    let name = cluster.get(&["nodes"])["items"][0]["metadata"]["name"].as_str().expect("a node").to_owned();
    for (at, secret) in SEEDED.iter().enumerate() {
        cluster.kubectl(&["label", "node", &name, &format!("example.com/l{at}={secret}")]);
        cluster.kubectl(&["annotate", "node", &name, &format!("example.com/a{at}={secret}")]);
    }
    let variables: Vec<Value> = SEEDED.iter().enumerate().map(|(at, secret)| json!({"name": format!("V{at}"), "value": secret})).collect();
    let pods = json!({"labels": {"app": "hunter2"}, "annotations": {"example.com/token": "opensesame"}});
    let container = json!({"name": "hunter2", "image": "registry.example.com/app:1", "env": variables, "args": ["--password", "hunter2"]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hunter2", "namespace": "project-moonshot"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "hunter2"}}, "template": {"metadata": pods, "spec": {"containers": [container]}}}});
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "planted", "namespace": "project-moonshot"}, "type": "Warning", "reason": "Failed",
        "message": SEEDED.join(" "), "involvedObject": {"kind": "Pod", "name": "hunter2", "namespace": "project-moonshot"}});
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: project-moonshot}\n");
    cluster.apply(&deployment.to_string());
    cluster.apply(&event.to_string());
    // The names that a kubeconfig gives to context, cluster and user.
    let kubeconfig = std::fs::read_to_string(cluster.kubeconfig()).expect("is there");
    std::fs::write(place.path("r.yaml"), RECIPE).expect("is written");
    let server = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: "))
        .expect("an address")
        .trim_start_matches("https://")
        .to_owned();
    let context = cluster.kubectl(&["config", "current-context"]).trim().to_owned();
    let repository = format!("{}/evidence", place.registry.address);
    let run =
        ["validate", "-r", "./r.yaml", "--emit-attestation", "bundle", "--key", "keys/seatrial.key", "--push", &repository, "--plain-http"];
    let ran = place.bin(&[&run[..], &["--out", "out"]].concat()).ends();
    assert!(place.path("bundle/manifest.json").exists(), "{} {}", ran.code, ran.stderr);
    let snapshot = std::fs::read_to_string(place.path("out/snapshot.json")).expect("is written");
    for planted in ["hunter2", "project-moonshot", "corp.internal", &name] {
        assert!(snapshot.contains(planted), "{planted} was seen");
    }
    let mut texts = read(&place.path("bundle"));
    texts.push(("pointer".to_owned(), read(&place.path("evidence")).into_iter().map(|(_, text)| text).collect()));
    texts.extend(pulled(&place).await);
    assert!(texts.len() > 20, "files and blobs: {}", texts.len());
    for secret in SEEDED.iter().copied().chain([name.as_str(), server.as_str(), context.as_str()]) {
        let found: Vec<&String> = texts.iter().filter(|(_, text)| text.contains(secret)).map(|(name, _)| name).collect();
        assert!(found.is_empty(), "{secret} is in {found:?}");
    }
    assert!(texts.iter().any(|(_, text)| text.contains("registry.example.com/app:1")), "images are told");
    assert!(!place.path("bundle/redaction.key").exists() && place.path("out/redaction.key").exists(), "the key stays");
    // The same run directory gives the same names again.
    place.bin(&["evidence", "show", "bundle"]).exits(0);
}

/// Every file below a directory.
fn read(folder: &Path) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a directory").flatten() {
        if entry.path().is_dir() {
            texts.extend(read(&entry.path()));
        } else {
            let bytes = std::fs::read(entry.path()).expect("a file");
            texts.push((entry.path().display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    texts
}

/// Everything that the registry holds: manifests, layers, and the signature with its payload.
async fn pulled(place: &Workplace) -> Vec<(String, String)> {
    let base = format!("http://{}/v2/evidence", place.registry.address);
    let pointers = read(&place.path("evidence"));
    let pointer: Value = seatrial::yaml::from_str(&pointers[0].1, "pointer").expect("is YAML");
    let digests = [&pointer["bundle"]["digest"], &pointer["signatures"][0]["digest"]];
    let mut texts = Vec::new();
    for digest in digests.iter().filter_map(|digest| digest.as_str()) {
        let get = |url: String| async move { reqwest::get(url).await.expect("the registry answers").text().await.expect("text") };
        let manifest = get(format!("{base}/manifests/{digest}")).await;
        let document: Value = serde_json::from_str(&manifest).expect("JSON");
        texts.push((format!("manifest {digest}"), manifest));
        for layer in document["layers"].as_array().expect("layers").iter().filter_map(|layer| layer["digest"].as_str()) {
            let blob = get(format!("{base}/blobs/{layer}")).await;
            if let Ok(bundle) = serde_json::from_str::<Value>(&blob)
                && let Some(payload) = bundle["dsseEnvelope"]["payload"].as_str()
            {
                let payload = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload).expect("is Base64");
                texts.push((format!("payload {layer}"), String::from_utf8(payload).expect("text")));
            }
            texts.push((format!("blob {layer}"), blob));
        }
    }
    texts
}
