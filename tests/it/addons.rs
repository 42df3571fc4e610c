//! Controllers beside a simulated cluster: each is proven by what it does, and what goes wrong is said.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::sim::listening;
use crate::support::cluster::{LeasedCluster, lease_with, may_isolate, own_dir, servers};
use crate::support::{Bin, binaries, eventually, processes_in};

const QUEUES: &str = "
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: any}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: eight}
spec:
  namespaceSelector: {}
  resourceGroups: [{coveredResources: [nvidia.com/gpu], flavors: [{name: any, resources: [{name: nvidia.com/gpu, nominalQuota: 8}]}]}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: eight, namespace: default}
spec: {clusterQueue: eight}
";

/// A pod's spec that wants GPUs.
fn wants(gpus: u32) -> String {
    format!(
        "{{restartPolicy: Never, containers: [{{name: c, image: example.invalid/c:1, resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}}}]}}"
    )
}

fn job(name: &str) -> String {
    let head = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: default, labels: {{kueue.x-k8s.io/queue-name: eight}}}}"
    );
    format!("{head}\nspec: {{template: {{spec: {}}}}}\n", wants(8))
}

/// Nodes of the cluster by what `select` says of them.
fn nodes(cluster: &LeasedCluster, select: impl Fn(&Value) -> bool) -> Vec<Value> {
    let all = cluster.get(&["nodes"]);
    all["items"].as_array().expect("a list").iter().filter(|node| select(node)).cloned().collect()
}

#[tokio::test]
async fn kueue_suspends_a_job_over_the_quota_until_another_is_gone() {
    let cluster = lease_with(&["kueue", "jobset"]).await;
    cluster.apply(QUEUES);
    cluster.apply(&job("first"));
    cluster.kubectl(&["wait", "--for=jsonpath={.status.active}=1", "--timeout=30s", "job/first"]);
    cluster.apply(&job("second"));
    let refused = eventually("the second job's workload", Duration::from_secs(30), || {
        let workloads = cluster.get(&["workloads.kueue.x-k8s.io", "-n", "default"]).to_string();
        workloads.contains("insufficient unused quota").then_some(workloads)
    });
    assert!(refused.contains("nvidia.com/gpu"), "{refused}");
    assert_eq!(cluster.get(&["job", "second"])["spec"]["suspend"], true);
    cluster.kubectl(&["delete", "job", "first", "--timeout=30s"]);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.active}=1", "--timeout=30s", "job/second"]);
}

#[tokio::test]
async fn jobset_makes_jobs_and_the_next_test_sees_nothing_of_them() {
    let cluster = lease_with(&["jobset", "kueue"]).await;
    assert!(!cluster.kubectl(&["get", "clusterqueues,jobs", "-A", "-o", "name"]).contains("eight"), "another test's queue is here");
    cluster.apply(&format!(
        "apiVersion: jobset.x-k8s.io/v1alpha2\nkind: JobSet\nmetadata: {{name: two, namespace: default}}\n\
         spec: {{replicatedJobs: [{{name: w, replicas: 2, template: {{spec: {{template: {{spec: {}}}}}}}}}]}}\n",
        wants(4)
    ));
    cluster.kubectl(&["wait", "--for=jsonpath={.status.replicatedJobsStatus[0].active}=2", "--timeout=30s", "jobset/two"]);
    let jobs = cluster.kubectl(&["get", "jobs", "-n", "default", "-o", "name"]);
    assert_eq!(jobs.lines().collect::<Vec<_>>(), ["job.batch/two-w-0", "job.batch/two-w-1"]);
    let refused = "apiVersion: jobset.x-k8s.io/v1alpha2\nkind: JobSet\nmetadata: {name: bad, namespace: default}\n\
                   spec: {successPolicy: {operator: All, targetReplicatedJobs: [nobody]}, replicatedJobs: []}\n";
    let (ok, _, stderr) = cluster.try_kubectl(&cluster.kubeconfig(), &["apply", "--server-side", "-f", "-"], refused);
    assert!(!ok && stderr.contains("'nobody' does not appear in .spec.ReplicatedJobs"), "only its webhook knows that: {stderr}");
}

#[tokio::test]
async fn status_lists_addons_and_one_that_has_ended_is_named_with_its_log() {
    let mut cluster = lease_with(&["jobset", "kueue"]).await;
    let dir = cluster.dir().to_owned();
    let ports = listening(&dir);
    assert!(ports.len() > 6 && ports.iter().all(|address| address.starts_with("127.0.0.1:")), "{ports:?}");
    let shown = Bin::seatrial().args(["sim", "status", "-t", "json", "--dir"]).args([&dir]).exits(0);
    let status: Value = serde_json::from_str(&shown.stdout).expect("is JSON");
    let names: Vec<&str> = status["addons"].as_array().expect("a list").iter().filter_map(|addon| addon["name"].as_str()).collect();
    assert_eq!(names, ["jobset", "kueue"]);
    let log = status["addons"][1]["logs"]["kueue"].as_str().expect("has a log").to_owned();
    assert!(status["addons"][1]["processes"]["kueue"].is_u64() && Path::new(&log).is_file(), "{status:#}");
    let text = Bin::seatrial().args(["sim", "status", "--dir"]).args([&dir]).exits(0).stdout;
    assert!(text.contains("with kueue") && text.contains(&log), "{text}");
    cluster.kill("kueue");
    eventually("the end of kueue", Duration::from_secs(10), || {
        (!processes_in(&dir).iter().any(|line| line.contains("addons/bin/kueue"))).then_some(())
    });
    let ran = Bin::seatrial().args(["sim", "status", "--dir"]).args([&dir]).exits(6);
    assert!(ran.stderr.contains("kueue, an add-on's process of simulated cluster sim, has ended"), "{}", ran.stderr);
    assert!(ran.stderr.contains(&log), "{}", ran.stderr);
    drop(cluster);
    assert!(!dir.exists() && processes_in(&dir).is_empty(), "something is left of {}", dir.display());
}

#[tokio::test]
#[ignore = "matrix"]
async fn volcano_places_a_gang_that_fits_and_nothing_of_one_that_does_not() {
    let cluster = lease_with(&["volcano"]).await;
    let gang = |pods: u32| {
        cluster.apply(&format!(
            "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {{name: gang-{pods}, namespace: default}}\n\
             spec: {{minAvailable: {pods}, schedulerName: volcano, tasks: [{{name: w, replicas: {pods}, template: {{spec: {}}}}}]}}\n",
            wants(8)
        ));
    };
    // Two nodes have eight GPUs each by device plugin.
    gang(3);
    eventually("the refusal of the gang of three", Duration::from_secs(30), || {
        let groups = cluster.get(&["podgroups.scheduling.volcano.sh", "-n", "default"]);
        groups["items"].as_array()?.first().filter(|group| group["status"].to_string().contains("Unschedulable")).map(|_| ())
    });
    gang(2);
    let running = |name: &str| {
        let pods = cluster.get(&["pods", "-n", "default", "-l", &format!("volcano.sh/job-name={name}")]);
        pods["items"].as_array().expect("a list").iter().filter(|pod| pod["status"]["phase"] == "Running").count()
    };
    eventually("the gang of two", Duration::from_secs(60), || (running("gang-2") == 2).then_some(()));
    assert_eq!(running("gang-3"), 0);
}

#[tokio::test]
#[ignore = "matrix"]
async fn karpenter_makes_a_node_of_the_cheapest_type_that_fits_and_removes_it() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_with(&["karpenter"]).await;
    for (gpus, expected) in [(8, "p5.48xlarge"), (1, "g6.4xlarge")] {
        let spec = wants(gpus).replacen('{', "{nodeSelector: {karpenter.sh/nodepool: sim-nvidia}, ", 1);
        cluster.apply(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: wants, namespace: default}}\nspec: {spec}\n"));
        cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "--timeout=50s", "pod/wants"]);
        let made = nodes(&cluster, |node| !node["metadata"]["labels"]["karpenter.sh/nodepool"].is_null());
        assert_eq!(made.len(), 1, "{made:#?}");
        assert_eq!(made[0]["metadata"]["labels"]["node.kubernetes.io/instance-type"], expected);
        assert_eq!(made[0]["metadata"]["labels"]["seatrial.dev/simulated"], "true");
        cluster.kubectl(&["delete", "pod", "wants", "--timeout=20s"]);
        eventually("the end of the node", Duration::from_secs(90), || {
            nodes(&cluster, |node| node["metadata"]["uid"] == made[0]["metadata"]["uid"]).is_empty().then_some(())
        });
    }
}

#[test]
fn what_cannot_work_is_said_before_anything_starts() {
    let up = |with: &str| Bin::seatrial().args(["sim", "up", "--with", with]);
    let ran = up("kueue,jobste").exits(2);
    assert!(ran.stderr.contains("there is no add-on `jobste`") && ran.stderr.contains("did you mean `jobset`?"), "{}", ran.stderr);
    let ran = up("kueue").exits(2);
    assert!(ran.stderr.contains("find kueue, which add-on kueue runs"), "{}", ran.stderr);
    assert!(ran.stderr.contains("export SEATRIAL_BIN_KUEUE=$(testenv/get.sh kueue"), "{}", ran.stderr);
    let ran = up("karpenter").exits(2);
    assert!(ran.stderr.contains("listens on all interfaces") && ran.stderr.contains("--listen-on-all-interfaces"), "{}", ran.stderr);
    let listed = Bin::seatrial().args(["sim", "addons"]).exits(0).stdout;
    for addon in seatrial::sim::addons::ALL {
        assert!(listed.contains(addon.name) && listed.contains(addon.what), "{listed}");
    }
}

/// A program in place of the real jobset, with what its makers install beside it. In the script, `$REAL` is the real one.
fn in_place_of_jobset(folder: &Path, script: &str) -> PathBuf {
    let found = servers(&["jobset"]);
    let real = found[0].split_once('=').expect("has a path").1;
    symlink(format!("{real}.d"), folder.join("jobset.d")).expect("is made");
    let path = folder.join("jobset");
    fs::write(&path, format!("#!/bin/bash\nREAL={real}\n{script}\n")).expect("is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("is ours");
    path
}

fn up_with_jobset(dir: &Path, program: &Path) -> Bin {
    let bin = Bin::seatrial().with_servers().env("SEATRIAL_BIN_JOBSET", program);
    bin.args(["sim", "up", "--with", "jobset", "--dir"]).args([dir])
}

#[test]
fn an_addon_that_ends_while_starting_is_named_with_its_last_words_and_everything_is_torn_down() {
    let folder = tempfile::tempdir().expect("a directory");
    let program = in_place_of_jobset(folder.path(), "echo 'flag provided but not defined: -frobnicate' >&2; exit 2");
    let dir = own_dir();
    let ran = up_with_jobset(&dir, &program).exits(6);
    assert!(ran.stderr.contains("start add-on jobset: jobset ended while starting"), "{}", ran.stderr);
    assert!(ran.stderr.contains("not defined: -frobnicate"), "{}", ran.stderr);
    assert!(!dir.exists() && processes_in(&dir).is_empty(), "something is left of {}", dir.display());
}

#[test]
#[ignore = "matrix"]
fn an_addon_whose_port_was_taken_first_is_started_again_on_another() {
    let folder = tempfile::tempdir().expect("a directory");
    let flag = folder.path().join("once");
    let once =
        format!("[ -e {0} ] || {{ touch {0}; echo 'listen tcp 127.0.0.1:1: bind: address already in use' >&2; exit 1; }}", flag.display());
    let program = in_place_of_jobset(folder.path(), &format!("{once}\nexec -a \"$0\" \"$REAL\" \"$@\""));
    let dir = own_dir();
    up_with_jobset(&dir, &program).exits(0);
    assert!(flag.exists());
    Bin::seatrial().args(["sim", "status", "--dir"]).args([&dir]).exits(0);
    Bin::seatrial().args(["sim", "down", "--dir"]).args([&dir]).exits(0);
}

#[test]
fn down_after_a_killed_start_leaves_no_addon() {
    let folder = tempfile::tempdir().expect("a directory");
    let program = in_place_of_jobset(folder.path(), "while :; do sleep 1; done");
    let dir = own_dir();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.args(["sim", "up", "--with", "jobset", "--dir"]).arg(&dir).envs(binaries()).env("SEATRIAL_BIN_JOBSET", &program);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let pid = eventually("the add-on's process", Duration::from_secs(100), || {
        fs::read_to_string(dir.join("addons/pids/jobset.pid")).ok().filter(|text| !text.is_empty())
    });
    child.kill().expect("runs");
    child.wait().expect("ends");
    assert!(Path::new("/proc").join(&pid).exists(), "the add-on has ended with its starter");
    Bin::seatrial().args(["sim", "down", "--dir"]).args([&dir]).exits(0);
    assert!(!dir.exists() && processes_in(&dir).is_empty(), "something is left of {}", dir.display());
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "the add-on still runs: {state}");
}
