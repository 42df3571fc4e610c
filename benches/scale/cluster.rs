//! `snapshot` of 5,000 nodes and 50,000 pods on a real API server, against fetching the same lists and throwing them away.
//!
//! The objects are written into etcd as copies of two that the API server wrote itself: through its front door they would take an hour.
//! Controllers, scheduler and kwok are stopped first, so that the cluster stays as it is.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::measure::measured;
use crate::{Bounds, MIB, median, seatrial};

const NODES: usize = 5_000;
const PODS: usize = 50_000;
/// Writes per transaction of etcd, which takes 128 at most.
const BATCH: usize = 100;
const ROUNDS: usize = 5;
/// What only the first of all copies has, and what each copy has instead, as long.
const NODE: &str = "bench-node-00000";
const POD: &str = "bench-pod-00000";

/// A simulated cluster that ends with this value.
struct Plane {
    folder: tempfile::TempDir,
    servers: Vec<(String, String)>,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.sim("down").status().expect("sim down starts");
    }
}

impl Plane {
    fn up() -> Self {
        let get = concat!(env!("CARGO_MANIFEST_DIR"), "/testenv/get.sh");
        let names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "etcd", "kwok", "kwokctl"];
        let output = Command::new(get).args(names).output().expect("testenv/get.sh starts");
        assert!(output.status.success(), "testenv/get.sh: {}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("paths are UTF-8");
        let variable = |name: &str| format!("SEATRIAL_BIN_{}", name.to_uppercase().replace('-', "_"));
        let servers = lines.lines().filter_map(|line| line.split_once('=')).map(|(name, path)| (variable(name), path.to_owned())).collect();
        let plane = Self { folder: tempfile::tempdir().expect("a directory"), servers };
        let up = plane.sim("up").output().expect("sim up starts");
        assert!(up.status.success(), "sim up: {}", String::from_utf8_lossy(&up.stderr));
        plane
    }

    fn sim(&self, what: &str) -> Command {
        let mut command = seatrial();
        command.envs(self.servers.iter().cloned()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path()).args(["sim", what, "--quiet", "--dir"]).arg(self.home());
        command
    }

    fn home(&self) -> std::path::PathBuf {
        self.folder.path().join("sim")
    }

    fn kubeconfig(&self) -> std::path::PathBuf {
        self.home().join("kubeconfig")
    }

    /// Stops, or lets go on, all that would act on the objects.
    fn signal(&self, signal: Signal) {
        for component in ["kube-controller-manager", "kube-scheduler", "kwok-controller"] {
            let path = self.home().join(format!("kwok/clusters/sim/pids/{component}.pid"));
            let pid = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw);
            let pid = pid.unwrap_or_else(|| panic!("{} names no process", path.display()));
            kill_process(pid, signal).unwrap_or(());
        }
    }

    fn kubectl(&self, args: &[&str], file: Option<(&str, &Value)>) -> String {
        let program = self.servers.iter().find(|(name, _)| name == "SEATRIAL_BIN_KUBECTL").map(|(_, path)| path).expect("is there");
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.folder.path()).arg("--kubeconfig").arg(self.kubeconfig()).args(args);
        if let Some((flag, object)) = file {
            let path = self.folder.path().join("object.json");
            std::fs::write(&path, object.to_string()).expect("is written");
            command.arg(flag).arg(path);
        }
        let output = command.output().expect("kubectl starts");
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("is UTF-8")
    }

    fn store(&self) -> String {
        let text = std::fs::read_to_string(self.home().join("kwokctl.yaml")).expect("sim up wrote it");
        let config: Value = seatrial::yaml::from_str(&text, "kwokctl.yaml").expect("is YAML");
        format!("http://127.0.0.1:{}/v3/kv", config["options"]["etcdPort"].as_u64().expect("has a port"))
    }

    /// A client with the administrator's certificate, and the server's address.
    fn client(&self) -> (reqwest::Client, String) {
        let config: Value =
            serde_json::from_str(&self.kubectl(&["config", "view", "--raw", "--flatten", "-o", "json"], None)).expect("is JSON");
        let data = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).expect("is base64");
        let (user, cluster) = (&config["users"][0]["user"], &config["clusters"][0]["cluster"]);
        let server = cluster["server"].as_str().expect("has an address").to_owned();
        let mut builder = reqwest::Client::builder();
        if user["client-key-data"].is_string() {
            let pem = [data(&user["client-certificate-data"]), data(&user["client-key-data"])].join(&b'\n');
            builder = builder.identity(reqwest::Identity::from_pem(&pem).expect("is PEM"));
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        (builder.build().expect("a client"), server)
    }
}

/// A node as large ones are; its labels and taints follow those of managed clusters.
fn node() -> Value {
    let own = |key: &str| (format!("example.com/{key}"), json!(format!("{key}-of-{NODE}")));
    let mut labels: serde_json::Map<String, Value> = ["hostname", "instance-id", "rack"].map(own).into_iter().collect();
    labels.extend((0..30).map(|number| (format!("feature.node.kubernetes.io/cpu-{number}"), json!("true"))));
    labels.insert("nvidia.com/gpu.count".to_owned(), json!("8"));
    labels.insert("nvidia.com/gpu.product".to_owned(), json!("NVIDIA-H100-80GB-HBM3"));
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]}})
}

fn node_status() -> Value {
    let amounts = json!({"cpu": "192", "memory": "2113389Mi", "pods": "110", "ephemeral-storage": "300Gi", "nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "32"});
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "KubeletHas", "message": "kubelet says so", "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let conditions = [("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False")]
        .map(|(kind, status)| condition(kind, status));
    let images: Vec<Value> = (0..20)
        .map(|number| json!({"names": [format!("nvcr.io/nvidia/image-{number}@sha256:{}", "0".repeat(64))], "sizeBytes": 1_000_000}))
        .collect();
    let info = json!({"architecture": "amd64", "bootID": "b", "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.8.0-1028-aws", "kubeProxyVersion": "",
        "kubeletVersion": "v1.35.4", "machineID": "m", "operatingSystem": "linux", "osImage": "Ubuntu 24.04.3 LTS", "systemUUID": "s"});
    json!({"capacity": amounts, "allocatable": amounts, "conditions": conditions, "images": images, "nodeInfo": info})
}

fn pod() -> Value {
    let env: Vec<Value> =
        (0..10).map(|number| json!({"name": format!("SETTING_{number}"), "value": format!("the value of setting {number}")})).collect();
    let container = |name: &str| {
        json!({"name": name, "image": format!("registry.example/{name}:v1"), "env": env, "args": ["--verbose", "--port=8080"],
        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}})
    };
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": "default", "labels": {"app": "web", "pod-template-hash": "5f6b7c8d9"}},
        "spec": {"nodeName": NODE, "containers": [container("main"), container("sidecar")]}})
}

fn pod_status() -> Value {
    let status = |name: &str| {
        json!({"name": name, "ready": true, "restartCount": 0, "image": format!("registry.example/{name}:v1"), "started": true,
        "imageID": format!("registry.example/{name}@sha256:{}", "1".repeat(64)), "containerID": format!("containerd://{}", "2".repeat(64)),
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
    };
    json!({"phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.0.0.2", "containerStatuses": [status("main"), status("sidecar")]})
}

/// Creates an object, gives it its status, and returns it.
fn create(plane: &Plane, path: &str, object: &Value, status: Value) -> Value {
    plane.kubectl(&["create"], Some(("-f", object)));
    let mut made: Value = serde_json::from_str(&plane.kubectl(&["get", "--raw", path], None)).expect("is JSON");
    made["status"] = status;
    plane.kubectl(&["replace", "--raw", &format!("{path}/status")], Some(("-f", &made)));
    made
}

/// Copies of a stored object, under other names of the same length and with other UIDs.
async fn copy(client: &reqwest::Client, store: &str, key: &str, uid: &str, count: usize, rename: impl Fn(usize) -> Vec<(String, String)>) {
    let post = async |call: &str, body: Value| -> Value {
        let answer = client.post(format!("{store}/{call}")).json(&body).send().await.and_then(reqwest::Response::error_for_status);
        answer.expect("etcd answers").json().await.expect("etcd answers JSON")
    };
    let found = post("range", json!({"key": STANDARD.encode(key)})).await;
    let value = STANDARD.decode(found["kvs"][0]["value"].as_str().expect("the object is stored")).expect("is base64");
    let mut writes = Vec::new();
    for number in 1..count {
        let mut names = rename(number);
        names.push((uid.to_owned(), format!("{number:08x}{}", &uid[8..])));
        let (mut key, mut value) = (key.as_bytes().to_vec(), value.clone());
        for (from, to) in &names {
            assert_eq!(from.len(), to.len(), "lengths are stored");
            key = replaced(&key, from.as_bytes(), to.as_bytes());
            value = replaced(&value, from.as_bytes(), to.as_bytes());
        }
        writes.push(json!({"requestPut": {"key": STANDARD.encode(key), "value": STANDARD.encode(value)}}));
        if writes.len() == BATCH || number + 1 == count {
            post("txn", json!({"success": std::mem::take(&mut writes)})).await;
        }
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
            at += from.len();
        } else {
            at += 1;
        }
    }
    bytes
}

/// Fetches a list page by page, and how many bytes it has.
async fn fetch(client: reqwest::Client, url: String) -> usize {
    let (mut bytes, mut token) = (0, String::new());
    loop {
        let request = client.get(format!("{url}?limit=500&continue={token}")).header("accept", "application/json");
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).expect("the API server answers");
        let page = answer.bytes().await.expect("to its end");
        bytes += page.len();
        // The token stands before the items.
        let head = String::from_utf8_lossy(&page[..page.len().min(2000)]).into_owned();
        match head.split_once("\"continue\":\"").and_then(|(_, rest)| rest.split_once('"')) {
            Some((next, _)) if !next.is_empty() => next.clone_into(&mut token),
            _ => return bytes,
        }
    }
}

pub(crate) fn run(bounds: &mut Bounds) {
    bounds.progress("snapshot of 5,000 nodes and 50,000 pods: starting a control plane");
    let plane = Plane::up();
    plane.signal(Signal::STOP);
    let made = [
        create(&plane, &format!("/api/v1/nodes/{NODE}"), &node(), node_status()),
        create(&plane, &format!("/api/v1/namespaces/default/pods/{POD}"), &pod(), pod_status()),
    ];
    let uid = |object: &Value| object["metadata"]["uid"].as_str().expect("has a UID").to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (store, began) = (plane.store(), Instant::now());
    bounds.progress("writing the objects into etcd");
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let node = |number: usize| (NODE.to_owned(), format!("bench-node-{number:05}"));
        copy(&client, &store, &format!("/registry/minions/{NODE}"), &uid(&made[0]), NODES, |number| vec![node(number)]).await;
        let pod = |number: usize| vec![(POD.to_owned(), format!("bench-pod-{number:05}")), node(number % NODES)];
        copy(&client, &store, &format!("/registry/pods/default/{POD}"), &uid(&made[1]), PODS, pod).await;
    });
    bounds.seen(&format!("written in {:.0} s", began.elapsed().as_secs_f64()));
    measure(bounds, &plane, &runtime);
}

fn measure(bounds: &mut Bounds, plane: &Plane, runtime: &tokio::runtime::Runtime) {
    let (client, server) = plane.client();
    let lists = [
        "/api/v1/nodes",
        "/api/v1/pods",
        "/apis/apps/v1/deployments",
        "/apis/apps/v1/daemonsets",
        "/apis/apps/v1/statefulsets",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/resource.k8s.io/v1/resourceslices",
        "/apis/resource.k8s.io/v1/deviceclasses",
    ];
    let raw = || {
        let began = Instant::now();
        let all = lists.map(|list| fetch(client.clone(), format!("{server}{list}")));
        let bytes: usize = runtime.block_on(futures::future::join_all(all)).into_iter().sum();
        (began.elapsed(), bytes)
    };
    let out = plane.folder.path().join("snapshot.json");
    let snapshot = || {
        let mut command = seatrial();
        command.args(["snapshot", "--kubeconfig"]).arg(plane.kubeconfig()).arg("-o").arg(&out);
        command
    };
    let (mut ours, mut theirs, mut peak, mut fetched) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        let (time, bytes) = raw();
        theirs.push(time);
        fetched = bytes;
        let ran = measured(&mut snapshot(), Duration::from_secs(120));
        assert!(ran.output.status.success(), "snapshot: {}", String::from_utf8_lossy(&ran.output.stderr));
        ours.push(ran.time);
        peak = peak.max(ran.peak);
    }
    check_contents(&out);
    let (ours, theirs) = (median(ours).as_secs_f64(), median(theirs).as_secs_f64());
    bounds.seen(&format!("snapshot {ours:.2} s, the same lists, raw, {:.0} MB: {theirs:.2} s", fetched as f64 / 1e6));
    bounds.check("snapshot of 5,000 nodes and 50,000 pods over the raw lists", ours / theirs, 1.5, "×");
    bounds.check("its memory", peak as f64 / MIB as f64, 200.0, "MiB");
}

/// A snapshot that misses objects would be fast, and wrong.
fn check_contents(path: &Path) {
    let text = std::fs::read_to_string(path).expect("is written");
    let snapshot: Value = serde_json::from_str(&text).expect("is JSON");
    let nodes = snapshot.pointer("/nodes").and_then(|nodes| nodes.as_array().or_else(|| nodes["value"].as_array())).expect("has nodes");
    assert!(nodes.len() >= NODES, "{} nodes", nodes.len());
}
