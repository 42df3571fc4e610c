//! Set-up makes Karpenter's node pools in a simulated cluster, proves that they work, and takes all of it away.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::cluster::{LeasedCluster, lease, lease_isolated, lease_with, may_isolate, servers};
use crate::support::{Bin, eventually, processes_in};
use crate::trial::{Site, nothing_left};

fn steps(pool: &str) -> [String; 5] {
    let setup = format!("{{id: setup, karpenter: {{listenOnAllInterfaces: true, nodePools: [{pool}]}}}}");
    ["snapshot".to_owned(), "inventory".to_owned(), setup, "health".to_owned(), "collect".to_owned()]
}

fn workflow(site: &Site, pool: &str) -> String {
    let steps = steps(pool);
    site.workflow("training", &steps.each_ref().map(String::as_str))
}

const POOL: &str = "{name: trial-gpu, instanceTypes: [p5.48xlarge], limits: {nvidia.com/gpu: '8'}}";

/// What set-up may not change for good: kinds, nodes, and what runs beside the cluster.
fn surroundings(cluster: &LeasedCluster) -> (String, String, String) {
    let kinds = cluster.kubectl(&["get", "crds,nodes", "-o", "name"]);
    let shown = Bin::seatrial().args(["sim", "status", "-t", "json", "--dir"]).args([cluster.dir()]).exits(0).stdout;
    let status: Value = serde_json::from_str(&shown).expect("is JSON");
    (kinds, status["addons"].to_string(), processes_in(&cluster.dir().join("addons")).join("\n"))
}

#[tokio::test]
#[ignore = "matrix"]
async fn a_missing_karpenter_is_started_its_pool_proven_by_a_node_that_comes_and_goes_and_all_of_it_removed() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_isolated(&[]).await;
    let site = Site::new();
    site.find(&["karpenter-kwok"]);
    let before = surroundings(&cluster);
    let trial = site.run(&cluster.kubeconfig(), &workflow(&site, POOL), &[], 0);
    trial.has("setup", "pass", "2 objects applied, pools that made and removed a node: trial-gpu");
    assert!(trial.stderr.contains("Karpenter was not there: started beside the simulated cluster"), "{}", trial.stderr);
    nothing_left(&cluster);
    assert_eq!(surroundings(&cluster), before);
}

#[tokio::test]
#[ignore = "matrix"]
async fn a_karpenter_that_runs_already_and_its_pools_are_left_alone() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_with(&["karpenter"]).await;
    let site = Site::new();
    let pools = || cluster.kubectl(&["get", "nodepools,kwoknodeclasses", "-o", "name"]);
    let (before, had) = (surroundings(&cluster), pools());
    let trial = site.run(&cluster.kubeconfig(), &workflow(&site, POOL), &[], 0);
    trial.has("setup", "pass", "pools that made and removed a node: trial-gpu");
    assert_eq!((surroundings(&cluster), pools()), (before, had));
    nothing_left(&cluster);
}

#[tokio::test]
async fn a_cluster_that_sim_did_not_start_is_refused_before_anything_is_made() {
    let cluster = lease().await;
    let site = Site::new();
    cluster.kubectl(&["delete", "configmap", "seatrial-sim", "-n", "kube-system"]);
    let ran = site.bin(&["run", &workflow(&site, POOL), "--recipe", "./recipe.yaml", "--namespace", "default"], &cluster.kubeconfig());
    let ran = ran.exits(2);
    assert!(ran.stderr.contains("controllers are only started beside clusters of `seatrial sim up`"), "{}", ran.stderr);
    nothing_left(&cluster);
    // A mark that was copied from another cluster.
    let copied =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: seatrial-sim, namespace: kube-system}, data: {name: sim, dir: /nonexistent}}";
    cluster.apply(copied);
    let ran = site.bin(&["run", &workflow(&site, POOL), "--recipe", "./recipe.yaml", "--namespace", "default"], &cluster.kubeconfig());
    let ran = ran.exits(2);
    assert!(ran.stderr.contains("it was started on another machine"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_karpenter_that_would_listen_on_all_interfaces_is_asked_for_and_one_that_is_missing_is_named() {
    let cluster = lease().await;
    let site = Site::new();
    let run = |workflow: &str| {
        let args = ["run", workflow, "--recipe", "./recipe.yaml", "--namespace", "default"];
        site.bin(&args, &cluster.kubeconfig()).exits(2).stderr
    };
    let stderr = run(&workflow(&site, POOL));
    assert!(stderr.contains("find karpenter-kwok, which add-on karpenter runs"), "{stderr}");
    let setup = format!("{{id: setup, karpenter: {{nodePools: [{POOL}]}}}}");
    let stderr = run(&site.workflow("inference", &["snapshot", &setup, "collect"]));
    assert!(stderr.contains("listens on all interfaces of this machine"), "{stderr}");
    assert!(stderr.contains("listenOnAllInterfaces: true"), "{stderr}");
    nothing_left(&cluster);
}

#[tokio::test]
#[ignore = "matrix"]
async fn after_a_killed_run_cleanup_ends_the_karpenter_that_it_started_and_removes_its_pools_and_nodes() {
    if !may_isolate() {
        return;
    }
    let cluster = lease_isolated(&[]).await;
    let site = Site::new();
    let before = surroundings(&cluster);
    let folder = tempfile::tempdir().expect("a directory");
    let out = folder.path().join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    let programs = servers(&["karpenter-kwok"]);
    command.envs(programs.iter().filter_map(|pair| pair.split_once('='))).current_dir(site.folder());
    command.args(["run", &workflow(&site, POOL), "--recipe", "./recipe.yaml", "--namespace", "default", "--lease-seconds", "3"]);
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).arg("--out").arg(&out);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    eventually("the node that the pool makes", Duration::from_secs(100), || {
        cluster.kubectl(&["get", "nodes", "-o", "name"]).contains("trial-gpu").then_some(())
    });
    run.kill().expect("runs");
    run.wait().expect("ends");
    let addons = cluster.dir().join("addons");
    assert!(processes_in(&addons).iter().any(|line| line.contains("karpenter")), "Karpenter has ended with the run");
    let cleanup = || site.bin(&["cleanup"], &cluster.kubeconfig()).ends();
    let said = eventually("cleanup to find the run dead", Duration::from_secs(60), || {
        let stderr = cleanup().stderr;
        stderr.contains("ending controllers").then_some(stderr)
    });
    assert!(said.contains("removing nodepool trial-gpu"), "{said}");
    nothing_left(&cluster);
    eventually("the node to go", Duration::from_secs(60), || (surroundings(&cluster) == before).then_some(()));
    assert!(!Path::new(&addons.join("karpenter")).exists());
}
