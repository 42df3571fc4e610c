//! A real node joins a control plane, runs containers with and without GPUs, and leaves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::node::{IMAGE, NodePlan};
use crate::support::{Bin, eventually, processes_in};

fn pod(name: &str, node: &str, gpus: u32, script: &str) -> String {
    let limits = if gpus == 0 { String::new() } else { format!("resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}, ") };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  nodeName: {node}\n  restartPolicy: Never\n  \
         terminationGracePeriodSeconds: 1\n  automountServiceAccountToken: false\n  \
         containers: [{{name: c, image: '{IMAGE}', {limits}command: [/bin/sh, -c, '{script}']}}]\n"
    )
}

fn ended(cluster: &LeasedCluster, name: &str) -> String {
    eventually(&format!("pod {name} to end"), Duration::from_secs(60), || {
        let pod = cluster.get(&["pod", name, "-n", "default"]);
        let phase = pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
        matches!(phase.as_str(), "Succeeded" | "Failed").then_some(phase)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_runs_containers_with_and_without_gpus_and_says_that_it_is_simulated() {
    let cluster = lease().await;
    let Some(plan) = NodePlan::new(&cluster, "real-1") else { return };
    let node = plan.tool("nvidia-smi", "echo stand-in tool with $SEATRIAL_SIMULATED_GPUS").start(2);

    cluster.apply(&pod("with", node.name(), 2, "nvidia-smi; exit 3"));
    assert_eq!(ended(&cluster, "with"), "Failed");
    let log = cluster.kubectl(&["logs", "with", "-n", "default"]);
    assert!(log == "stand-in tool with gpu-0,gpu-1\n" || log == "stand-in tool with gpu-1,gpu-0\n", "{log}");
    let state = cluster.get(&["pod", "with", "-n", "default"]);
    assert_eq!(state["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);

    cluster.apply(&pod("without", node.name(), 0, "nvidia-smi; echo it ended with $?; echo $PATH"));
    ended(&cluster, "without");
    let log = cluster.kubectl(&["logs", "without", "-n", "default"]);
    assert!(log.contains("it ended with 127"), "the tool comes with the GPU only: {log}");

    let shown = Bin::seatrial().args(["snapshot"]).args([Path::new("--kubeconfig"), &cluster.kubeconfig()]).exits(0);
    let snapshot: Value = serde_json::from_str(&shown.stdout).expect("is JSON");
    let nodes = snapshot["nodes"]["value"].as_array().expect("a list");
    let seen = nodes.iter().find(|one| one["name"] == "real-1").expect("is there");
    assert_eq!((&seen["hardware"], &seen["marks"][0]), (&"simulated".into(), &"label seatrial.dev/simulated".into()));
    assert_eq!(seen["gpus"]["allocatable"], 2);
    assert!(seen["versions"]["containerRuntimeVersion"].as_str().is_some_and(|text| text.starts_with("containerd://")), "{seen}");
}

/// Folders of cgroups that belong to a node's keeper.
fn cgroups(keeper: u32) -> Vec<PathBuf> {
    let name = format!("seatrial-node-{keeper}");
    let own = fs::read_to_string("/proc/self/cgroup").expect("is there");
    let folders = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?.trim_start_matches("name=");
        let path = fields.next()?.trim_end_matches('/');
        (!controllers.is_empty()).then(|| PathBuf::from(format!("/sys/fs/cgroup/{controllers}{path}/{name}")))
    });
    folders.filter(|folder| folder.is_dir()).collect()
}

/// Tasks in a cgroup and below.
fn tasks(folder: &Path) -> usize {
    let own = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines().count();
    let below = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    own + below.filter(|path| path.is_dir()).map(|path| tasks(&path)).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_node_neither_when_its_test_ends_nor_when_its_keeper_is_killed() {
    let cluster = lease().await;
    let running = |name: &str| pod(name, name, 0, "sleep 1000");
    let left = |dir: &Path, link: &str| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("is there");
        let (link, address) = link.split_once(' ').expect("link and address");
        let processes = [processes_in(dir), processes_in(&PathBuf::from(format!("{address}:6443")))].concat();
        (Path::new("/sys/class/net").join(link).exists(), mounts.contains(&*dir.to_string_lossy()), processes)
    };
    for killed in [true, false] {
        let name = format!("node-{killed}");
        let Some(plan) = NodePlan::new(&cluster, &name) else { return };
        let node = plan.start(0);
        cluster.apply(&running(&name));
        let state = || cluster.get(&["pod", &name, "-n", "default"])["status"]["phase"] == "Running";
        eventually("the pod to run", Duration::from_secs(60), || state().then_some(()));
        let (dir, keeper) = (node.dir().to_owned(), node.keeper());
        let link = fs::read_to_string(dir.join("link")).expect("is written").trim().to_owned();
        assert!(left(&dir, &link).0, "{link}");
        let before = cgroups(keeper);
        assert!(before.len() > 5 && before.iter().all(|folder| tasks(folder) > 5), "{before:?}");
        if killed {
            let pid = Pid::from_raw(i32::try_from(keeper).expect("fits")).expect("is one");
            kill_process(pid, Signal::KILL).expect("it runs");
            eventually("all tasks of the node to be gone", Duration::from_secs(10), || {
                before.iter().all(|folder| tasks(folder) == 0).then_some(())
            });
            drop(node);
            fs::remove_dir_all(&dir).expect("nothing in it is in use");
        } else {
            drop(node);
            assert!(!dir.exists());
        }
        eventually("link, mounts and processes of the node to be gone", Duration::from_secs(10), || {
            (left(&dir, &link) == (false, false, Vec::new())).then_some(())
        });
        if !killed {
            // The second one has removed the first one's empty cgroups, too.
            assert_eq!(cgroups(keeper), Vec::<PathBuf>::new());
            let all = fs::read_dir("/sys/fs/cgroup/pids").expect("is there").flatten().map(|entry| entry.file_name());
            let dead = |name: &str| name.strip_prefix("seatrial-node-").is_some_and(|pid| !Path::new("/proc").join(pid).exists());
            assert_eq!(all.filter(|name| dead(&name.to_string_lossy())).count(), 0);
        }
    }
}
