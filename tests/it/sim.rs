//! `seatrial sim`, and the control planes that other tests borrow, on real servers.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::cluster::{lease, own_dir, root};
use crate::support::{Bin, binaries, eventually, processes_in};

fn up(dir: &Path) -> Bin {
    Bin::seatrial().with_servers().args(["sim", "up", "--dir"]).args([dir])
}

fn down(dir: &Path) -> Bin {
    Bin::seatrial().args(["sim", "down", "--dir"]).args([dir])
}

#[test]
fn up_gives_a_kubeconfig_and_down_leaves_no_process_port_or_directory() {
    let dir = own_dir();
    let ran = up(&dir).exits(0);
    assert_eq!(ran.stdout.trim(), dir.join("kubeconfig").to_string_lossy(), "stdout is the artefact");

    let shown = Bin::seatrial().args(["sim", "status", "-t", "json", "--dir"]).args([&dir]).exits(0);
    let status: Value = serde_json::from_str(&shown.stdout).expect("is JSON");
    assert_eq!(status["gpus"], 32);
    let nodes = status["nodes"].as_array().expect("a list");
    assert!(nodes.len() == 4 && nodes.iter().all(|node| node["ready"] == true), "{nodes:?}");
    assert_eq!(status["processes"].as_object().expect("a map").len(), 5);
    let ports = listening(&dir);
    assert_eq!(ports.len(), 6, "{ports:?}");
    assert!(ports.iter().all(|address| address.starts_with("127.0.0.1:")), "{ports:?}");

    let again = up(&dir).exits(2);
    assert!(again.stderr.contains("a simulated cluster called sim is already in"), "{}", again.stderr);
    assert!(again.stderr.contains("hint: stop it with `seatrial sim down --name sim"), "{}", again.stderr);

    down(&dir).exits(0);
    assert!(!dir.exists());
    assert_eq!(processes_in(&dir), [""; 0]);
    assert!(ports.iter().all(|address| TcpStream::connect(address).is_err()), "something still listens on one of {ports:?}");
    down(&dir).exits(0);
}

/// Addresses that the control plane and the add-ons of a directory listen on.
pub(crate) fn listening(dir: &Path) -> Vec<String> {
    let mut inodes = Vec::new();
    let pids = std::fs::read_dir(dir.join("kwok/clusters/sim/pids")).expect("kwokctl recorded its processes");
    for path in pids.chain(std::fs::read_dir(dir.join("addons/pids")).into_iter().flatten()).flatten() {
        let pid = std::fs::read_to_string(path.path()).expect("a process id");
        for file in std::fs::read_dir(format!("/proc/{}/fd", pid.trim())).expect("the process runs").flatten() {
            let target = std::fs::read_link(file.path()).unwrap_or_default().to_string_lossy().into_owned();
            inodes.extend(target.strip_prefix("socket:[").map(|inode| inode.trim_end_matches(']').to_owned()));
        }
    }
    let mut addresses = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN; 0100007F is 127.0.0.1 as the kernel writes it.
            if fields[3] == "0A" && inodes.iter().any(|inode| inode == fields[9]) {
                let (address, port) = fields[1].split_once(':').expect("address and port");
                let port = u16::from_str_radix(port, 16).expect("a port");
                addresses.push(format!("{}:{port}", if address == "0100007F" { "127.0.0.1" } else { address }));
            }
        }
    }
    addresses
}

#[test]
fn a_component_that_ends_while_starting_is_named_with_its_last_words() {
    let folder = tempfile::tempdir().expect("a directory");
    let fake = folder.path().join("kube-apiserver");
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && { echo Kubernetes v1.35.4; exit; }\necho no such flag: --frobnicate >&2; exit 1\n";
    std::fs::write(&fake, script).expect("is written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&fake, executable).expect("is ours");
    let dir = own_dir();
    let ran = up(&dir).env("SEATRIAL_BIN_KUBE_APISERVER", &fake).exits(6);
    assert!(ran.stderr.contains("kube-apiserver ended while starting"), "{}", ran.stderr);
    assert!(ran.stderr.contains("no such flag: --frobnicate"), "{}", ran.stderr);
    assert!(!dir.exists() && processes_in(&dir).is_empty(), "something is left of {}", dir.display());
}

#[test]
fn an_interrupted_start_tears_down_and_exits_130() {
    let dir = own_dir();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.args(["sim", "up", "--dir"]).arg(&dir).envs(binaries()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starts");
    eventually("the API server's log", Duration::from_secs(60), || {
        dir.join("kwok/clusters/sim/logs/kube-apiserver.log").exists().then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("runs");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    assert!(!dir.exists() && processes_in(&dir).is_empty(), "something is left of {}", dir.display());
}

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
    let bin = Bin::seatrial().args(["sim", "up"]);
    let folder = bin.folder().join(".local");
    let ran = bin.env("PATH", "/nonexistent").exits(2);
    assert!(ran.stderr.contains("find kwokctl") && ran.stderr.contains("testenv/get.sh kwokctl"), "{}", ran.stderr);
    assert!(!folder.exists());
    let ran = Bin::seatrial().args(["sim", "up", "--cluster", "dmeo"]).exits(2);
    assert!(ran.stderr.contains("did you mean `demo`?"), "{}", ran.stderr);
    let ran = Bin::seatrial().args(["sim", "status"]).exits(2);
    assert!(ran.stderr.contains("there is no simulated cluster in"), "{}", ran.stderr);
}

#[tokio::test]
async fn nodes_advertise_32_gpus_both_ways_and_the_platform_is_available() {
    let cluster = lease().await;
    let nodes = cluster.get(&["nodes"]);
    let nodes = nodes["items"].as_array().expect("a list");
    let by_plugin: u64 =
        nodes.iter().filter_map(|node| node["status"]["allocatable"]["nvidia.com/gpu"].as_str()?.parse::<u64>().ok()).sum();
    let slices = cluster.get(&["resourceslices"]);
    let slices = slices["items"].as_array().expect("a list");
    let by_dra: usize = slices.iter().filter_map(|slice| slice["spec"]["devices"].as_array()).map(Vec::len).sum();
    assert_eq!((nodes.len(), by_plugin, by_dra), (4, 16, 16));
    assert!(slices.iter().all(|slice| slice["metadata"]["ownerReferences"][0]["kind"] == "Node"));
    for node in nodes {
        assert_eq!(node["metadata"]["annotations"]["kwok.x-k8s.io/node"], "fake");
        assert_eq!(node["metadata"]["labels"]["seatrial.dev/simulated"], "true");
    }
    cluster.kubectl(&["wait", "--for=condition=Available", "--timeout=20s", "deployment", "--all", "-n", "gpu-operator"]);
    assert_eq!(cluster.get(&["clusterpolicy", "cluster-policy"])["status"]["state"], "ready");
    let pods = cluster.get(&["pods", "-n", "gpu-operator"]);
    let image_id = pods["items"][0]["status"]["containerStatuses"][0]["imageID"].as_str().expect("an image id").to_owned();
    assert!(image_id.starts_with("nvcr.io/nvidia/") && image_id.contains("@sha256:"), "{image_id}");
}

const CLAIMING_POD: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: two-gpus, namespace: default}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com, count: 2}}],
  constraints: [{requests: [gpu], matchAttribute: gpu.nvidia.com/numa}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: claims, namespace: default}
spec:
  containers: [{name: c, image: example.invalid/c:1, resources: {claims: [{name: gpu}]}}]
  resourceClaims: [{name: gpu, resourceClaimTemplateName: two-gpus}]
";

#[tokio::test]
async fn kube_scheduler_allocates_devices_to_a_pod_that_runs_until_it_is_deleted() {
    let mut cluster = lease().await;
    cluster.stop("kube-scheduler");
    cluster.apply(CLAIMING_POD);
    eventually("the claim", Duration::from_secs(20), || {
        cluster.get(&["resourceclaims"])["items"].as_array().filter(|all| !all.is_empty()).map(|_| ())
    });
    assert_eq!(cluster.get(&["pod", "claims"])["status"]["phase"], "Pending", "the scheduler is stopped");
    cluster.start("kube-scheduler");
    cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "--timeout=20s", "pod/claims"]);
    let claim = cluster.get(&["resourceclaims"])["items"][0].clone();
    assert_eq!(claim["status"]["allocation"]["devices"]["results"].as_array().map(Vec::len), Some(2), "{claim}");
    cluster.kubectl(&["delete", "pod", "claims", "--timeout=20s"]);
    cluster.kubectl(&["wait", "--for=delete", "--timeout=20s", "resourceclaims", "--all"]);
}

#[tokio::test]
async fn a_job_ends_when_its_annotation_says_so_and_otherwise_runs() {
    let cluster = lease().await;
    let job = |name: &str, annotations: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  backoffLimit: 0\n  template:\n    \
             metadata: {{annotations: {{{annotations}}}}}\n    spec: {{restartPolicy: Never, containers: [{{name: c, image: example.invalid/c:1}}]}}\n---\n"
        )
    };
    let jobs = [
        job("ends", "sim.seatrial.dev/exit-code: '0', sim.seatrial.dev/run-for: 1s"),
        job("breaks", "sim.seatrial.dev/exit-code: '137'"),
        job("runs", ""),
    ];
    cluster.apply(&jobs.concat());
    cluster.kubectl(&["wait", "--for=condition=Complete", "--timeout=30s", "job/ends"]);
    cluster.kubectl(&["wait", "--for=condition=Failed", "--timeout=30s", "job/breaks"]);
    let broken = cluster.get(&["pods", "-l", "job-name=breaks"]);
    assert_eq!(broken["items"][0]["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "OOMKilled");
    assert_eq!(cluster.get(&["job", "runs"])["status"]["active"], 1);
}

#[tokio::test]
async fn planted_defects_are_loaded_and_the_next_test_sees_nothing_of_them() {
    let defects = "
apiVersion: seatrial.dev/v1alpha1
kind: SimCluster
name: defects
nodes:
- {name: sim-node-1, profile: h100-sxm-8, mode: device-plugin, capacity: 7}
- {name: sim-node-2, profile: mi300x-8, mode: dra}
- {name: sim-node-3, profile: h100-sxm-8, mode: dra, sliceCount: 2}
- {name: sim-node-4, profile: h100-sxm-8, mode: dra, devices: 7}
- {name: extra, count: 2, profile: gb200-4, mode: dra}
deviceClasses: [{name: gpu.nvidia.com, expression: 'false'}]
";
    let mut cluster = lease().await;
    // kwok does not always renew the Lease of a node that was deleted and is put back: minutes later it would not be ready.
    cluster.spoil();
    cluster.load(defects);
    let node = |name: &str| cluster.get(&["node", name]);
    assert_eq!(node("sim-node-1")["status"]["capacity"]["nvidia.com/gpu"], "7");
    assert_eq!(node("sim-node-2")["status"]["capacity"].get("nvidia.com/gpu"), None, "the mode was changed");
    assert_eq!(node("extra-2")["spec"]["taints"][0]["key"], "nvidia.com/gpu");
    let slice = |name: &str| cluster.get(&["resourceslice", name]);
    assert_eq!(slice("sim-node-3-gpu.nvidia.com")["spec"]["pool"]["resourceSliceCount"], 2);
    assert_eq!(slice("sim-node-4-gpu.nvidia.com")["spec"]["devices"].as_array().map(Vec::len), Some(7));
    assert_eq!(slice("sim-node-2-gpu.amd.com")["spec"]["driver"], "gpu.amd.com");
    cluster.kubectl(&["create", "namespace", "leftover"]);
    cluster.apply(&CLAIMING_POD.replace("default", "leftover"));
    cluster.kubectl(&["delete", "node", "sim-node-3"]);
    cluster.put_back().await;
    let names = cluster.kubectl(&["get", "nodes,namespaces,resourceslices", "-o", "name"]);
    assert!(!names.contains("leftover") && !names.contains("extra") && !names.contains("amd"), "{names}");
    assert_eq!(names.lines().filter(|name| name.starts_with("node/sim-node-")).count(), 4, "{names}");
    assert_eq!(cluster.get(&["node", "sim-node-1"])["status"]["capacity"]["nvidia.com/gpu"], "8");
    let expression = cluster.get(&["deviceclass", "gpu.nvidia.com"])["spec"]["selectors"][0]["cel"]["expression"].to_string();
    assert!(expression.contains("device.driver"), "{expression}");
    let on_the_node_that_was_deleted = "spec:\n  nodeSelector: {kubernetes.io/hostname: sim-node-3}\n  containers";
    cluster.apply(&CLAIMING_POD.replace("spec:\n  containers", on_the_node_that_was_deleted));
    cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "--timeout=20s", "pod/claims"]);
}

#[tokio::test]
async fn a_restricted_user_may_do_all_but_one_thing() {
    let cluster = lease().await;
    let kubeconfig = cluster.kubeconfig_without("list", "resourceslices.resource.k8s.io");
    let (ok, _, stderr) = cluster.try_kubectl(&kubeconfig, &["get", "resourceslices"], "");
    assert!(!ok && stderr.contains("Forbidden"), "{stderr}");
    let (ok, _, stderr) = cluster.try_kubectl(&kubeconfig, &["get", "nodes,pods,deviceclasses"], "");
    assert!(ok, "{stderr}");
}

#[tokio::test]
async fn loading_into_a_cluster_that_is_not_simulated_wants_yes() {
    let cluster = lease().await;
    cluster.apply("apiVersion: v1\nkind: Node\nmetadata: {name: real}\n");
    let load = || Bin::seatrial().args(["sim", "load", "demo", "--kubeconfig"]).args([cluster.kubeconfig()]);
    let ran = load().exits(2);
    assert!(ran.stderr.contains("is not simulated") && ran.stderr.contains("give --yes"), "{}", ran.stderr);
    load().args(["--yes"]).exits(0);
}

#[tokio::test]
async fn a_component_that_has_ended_is_named_by_status() {
    let mut cluster = lease().await;
    cluster.kill("kube-scheduler");
    let dir = cluster.dir().to_owned();
    eventually("the end of kube-scheduler", Duration::from_secs(10), || {
        let all = processes_in(&dir);
        (!all.iter().any(|line| line.contains("bin/kube-scheduler"))).then_some(())
    });
    let ran = Bin::seatrial().args(["sim", "status", "--dir"]).args([&dir]).exits(6);
    assert!(ran.stderr.contains("kube-scheduler of simulated cluster sim has ended"), "{}", ran.stderr);
    drop(cluster);
    assert!(!dir.exists(), "a broken control plane is thrown away");
}

/// Names the file that the holder writes its directory to; set only by the test below.
const HOLD: &str = "SEATRIAL_TEST_HOLD";

#[tokio::test]
async fn a_cluster_is_held_by_the_process_that_the_next_test_kills() {
    let Some(file) = std::env::var_os(HOLD) else { return };
    let cluster = lease().await;
    std::fs::write(&file, root().to_string_lossy().as_bytes()).expect("is written");
    drop(tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await);
    drop(cluster);
}

#[test]
fn killing_a_test_process_leaves_no_control_plane() {
    let folder = tempfile::tempdir().expect("a directory");
    let (file, said) = (folder.path().join("root"), folder.path().join("said"));
    let out = std::fs::File::create(&said).expect("is made");
    let mut command = Command::new(std::env::current_exe().expect("has a path"));
    command.args(["--exact", "sim::a_cluster_is_held_by_the_process_that_the_next_test_kills"]).env(HOLD, &file);
    let mut holder = command.stdout(out.try_clone().expect("is copied")).stderr(out).spawn().expect("starts");
    let held = eventually("the holder's control plane", Duration::from_secs(180), || {
        let ended = holder.try_wait().expect("can be asked");
        assert!(ended.is_none(), "the holder ended: {}", std::fs::read_to_string(&said).unwrap_or_default());
        std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty())
    });
    assert!(processes_in(Path::new(&held)).iter().any(|line| line.contains("bin/kube-apiserver")));
    holder.kill().expect("runs");
    holder.wait().expect("ends");
    eventually("the end of all that the holder held", Duration::from_secs(30), || {
        (!Path::new(&held).exists() && processes_in(Path::new(&held)).is_empty()).then_some(())
    });
}
