//! Runs that are killed or interrupted: `--resume` finishes them, nothing is repeated, nothing is left behind.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::eventually;
use crate::support::fault_proxy::{Fault, FaultProxy, Rule};
use crate::support::runs::Workplace;

/// A workload that waits for GPUs: its Job is there as long as the scheduler is stopped.
const SHORT: [&str; 5] = ["snapshot", "inventory", "setup", "intent", "collect"];

fn exists(cluster: &LeasedCluster, kind: &str) -> Option<()> {
    (!cluster.kubectl(&["get", kind, "-A", "-l", "app.kubernetes.io/managed-by=seatrial", "-o", "name"]).is_empty()).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_at_five_moments_goes_on_each_time_and_comes_to_the_same_end() {
    let mut cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let proxy = FaultProxy::start(&place.registry.address);
    let repository = format!("{}/team/evidence", proxy.address);
    let mut args = place.signed("conformance", "out", &repository);
    let seen = |event: &'static str, step: &'static str| place.has("out", event, step).then_some(());

    let mut run = place.start(&args);
    run.until("the end of snapshot", || seen("step-finished", "snapshot"));
    run.kill();

    args.push("--resume");
    let mut run = place.start(&args);
    run.until("the beginning of setup", || seen("step-started", "setup"));
    run.kill();

    cluster.stop("kube-scheduler");
    let mut run = place.start(&args);
    run.until("the pod of dra-support", || exists(&cluster, "pods"));
    run.kill();
    cluster.start("kube-scheduler");

    let mut run = place.start(&args);
    run.until("the beginning of intent", || seen("step-started", "intent"));
    run.kill();

    let mut run = place.start(&args);
    run.until("the end of intent", || {
        proxy.seen();
        seen("step-finished", "intent")
    });
    // The bundle's manifest is put under a tag, the signature's under its digest.
    proxy.inject(Rule::new(Fault::Silence).on("PUT", "/manifests/sha256:").times(1));
    run.until("the signature's manifest to be pushed", || {
        proxy.seen().iter().any(|request| request.method == "PUT" && request.path.contains("/manifests/sha256:")).then_some(())
    });
    run.kill();
    let signature = std::fs::read(place.path("out/bundle/signature.sigstore.json")).expect("it was signed");

    place.start(&args).exits(0);
    place.assert_all_passed("out");
    place.assert_nothing_repeated("out");
    assert_eq!(cluster.left(), "");
    assert_eq!(std::fs::read(place.path("out/bundle/signature.sigstore.json")).expect("is there"), signature, "signed once");
    place.assert_published_once(0).await;
}

const TRIALS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: trials}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: trials}
spec: {hard: {requests.nvidia.com/gpu: '0'}}
";

#[tokio::test(flavor = "multi_thread")]
async fn in_an_administrators_namespace_a_killed_run_goes_on_and_the_namespace_stays() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    // The quota keeps the Job without pods, so that the run waits for them.
    cluster.apply(TRIALS);
    let repository = format!("{}/team/evidence", place.registry.address);
    let mut args = place.signed("conformance", "out", &repository);
    // Preflight would say so beforehand.
    args.extend(["--namespace", "trials", "--skip-preflight"]);
    let mut run = place.start(&args);
    run.until("the Job of intent", || exists(&cluster, "jobs"));
    run.kill();
    assert_eq!(cluster.left().lines().filter(|line| line.starts_with("lease")).count(), 2, "the run's Lease and the GPU lock");
    cluster.kubectl(&["delete", "resourcequota", "none", "-n", "trials"]);
    args.push("--resume");
    place.start(&args).exits(0);
    place.assert_all_passed("out");
    place.assert_nothing_repeated("out");
    assert_eq!(cluster.left(), "");
    cluster.get(&["namespace", "trials"]);
    place.assert_published_once(0).await;
    // Nothing is left to do, and the steps after it in a workflow of GitHub's are told where everything is all the same.
    let outputs = place.path("outputs");
    place.bin(&args).env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", &outputs).exits(0);
    place.assert_nothing_repeated("out");
    let outputs = std::fs::read_to_string(outputs).expect("outputs are set");
    let digest = outputs.lines().skip_while(|line| !line.starts_with("digest<<")).nth(1).expect("a digest").replace(':', "-");
    let pointer = format!("evidence/sim-h100/{digest}.yaml");
    assert!(place.path(&pointer).is_file() && outputs.contains(&pointer), "{outputs}");
    assert!(outputs.contains("bundle<<") && outputs.contains("out/bundle"), "{outputs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_and_the_next_run_remove_what_a_dead_run_left_and_leave_a_living_one_alone() {
    let mut cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let workflow = place.workflow(&SHORT);
    let run = |out| ["run", workflow.as_str(), "--recipe", "sim-h100", "--lease-seconds", "4", "--out", out];
    cluster.stop("kube-scheduler");

    let mut living = place.start(&run("first"));
    living.until("the Job of intent", || exists(&cluster, "jobs"));
    let before = cluster.left();
    let ran = place.bin(&["cleanup"]).exits(0);
    assert!(ran.stderr.contains("nothing is left of dead runs"), "{}", ran.stderr);
    assert!(ran.stderr.contains("counts as alive until its Lease runs out: left alone"), "{}", ran.stderr);
    assert_eq!(cluster.left(), before);
    let ran = place.bin(&run("first")).exits(2);
    assert!(ran.stderr.contains("first holds another run already"), "{}", ran.stderr);
    let ran = place.bin(&run("first")).args(["--resume"]).exits(2);
    assert!(ran.stderr.contains("another seatrial is at work in first"), "{}", ran.stderr);
    living.kill();
    eventually("cleanup to find the run dead", Duration::from_secs(30), || {
        place.bin(&["cleanup"]).exits(0);
        cluster.left().is_empty().then_some(())
    });

    let mut dead = place.start(&run("second"));
    dead.until("the Job of intent", || exists(&cluster, "jobs"));
    dead.kill();
    eventually("the Lease of the dead run to expire", Duration::from_secs(30), || {
        place.bin(&["cleanup", "--dry-run"]).exits(0).stderr.contains("would remove").then_some(())
    });
    let looks = place.workflow(&["snapshot", "inventory", "collect"]);
    // It has no tests, so it shows nothing; it sweeps all the same.
    let ran = place.bin(&["run", &looks, "--recipe", "sim-h100", "--out", "third"]).exits(3);
    assert!(ran.stderr.contains("removing what run"), "{}", ran.stderr);
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_run_in_order_and_resume_finishes_it() {
    let mut cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let workflow = place.workflow(&SHORT);
    let mut args = vec!["run", workflow.as_str(), "--recipe", "sim-h100", "--out", "out"];
    cluster.stop("kube-scheduler");
    // A process that `nohup` started ignores the hang-up, and so do those that it starts.
    let status = std::fs::read_to_string("/proc/self/status").expect("is there");
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .is_some_and(|mask| mask.trim().ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']));
    for signal in [Signal::TERM, if ignored { Signal::INT } else { Signal::HUP }] {
        let mut run = place.start(&args);
        run.until("the Job of intent", || exists(&cluster, "jobs"));
        run.signal(signal);
        let stderr = run.exits(130);
        assert!(stderr.contains("interrupted"), "{stderr}");
        assert_eq!(cluster.left(), "");
        let results = place.results("out");
        let test = results["tests"].as_array().and_then(|tests| tests.iter().find(|test| test["id"] == "intent/training"));
        let test = test.expect("a test that was selected is in the report");
        assert_eq!((test["verdict"].as_str(), test["reason"].as_str()), (Some("not-run"), Some("interrupted")), "{results:#}");
        assert_eq!(results["counts"]["not-run"], 1);
        assert!(place.path("out/report.md").exists() && place.path("out/junit.xml").exists());
        if !args.contains(&"--resume") {
            args.push("--resume");
        }
    }
    cluster.start("kube-scheduler");
    place.bin(&args).exits(0);
    place.assert_all_passed("out");
    place.assert_nothing_repeated("out");
    assert_eq!(cluster.left(), "");
}

fn job(cluster: &LeasedCluster) -> Option<String> {
    let jobs = cluster.get(&["jobs", "-A", "-l", "app.kubernetes.io/managed-by=seatrial"]);
    jobs["items"][0]["metadata"]["uid"].as_str().map(str::to_owned)
}

fn settings_of(cluster: &LeasedCluster) -> String {
    cluster.kubectl(&["get", "configmaps", "-A", "-l", "app.kubernetes.io/managed-by=seatrial", "-o", "name"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_set_up_applied_outlives_a_crash_and_a_clean_up_that_failed_is_made_up_for() {
    let mut cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let workflow = place.workflow(&["snapshot", "inventory", "setup\n    manifests: [settings.yaml]", "intent"]);
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";
    std::fs::write(place.path("settings.yaml"), settings).expect("is written");
    let mut args = vec!["run", workflow.as_str(), "--recipe", "sim-h100", "--skip-preflight", "--out", "out"];
    cluster.stop("kube-scheduler");
    let mut run = place.start(&args);
    let first = run.until("the Job of intent", || job(&cluster));
    run.kill();

    // Someone who may not remove namespaces goes on with it.
    args.push("--resume");
    let restricted = cluster.kubeconfig_without("delete", "namespaces");
    let mut run = place.start_as(&restricted, &args);
    run.until("a new Job of intent", || job(&cluster).filter(|uid| *uid != first));
    assert_eq!(settings_of(&cluster), "configmap/settings\n");
    cluster.start("kube-scheduler");
    let stderr = run.exits(3);
    assert!(stderr.contains("cleanup") && stderr.contains("denied"), "{stderr}");
    assert!(cluster.left().contains("namespace/seatrial-"), "{}", cluster.left());

    place.start(&args).exits(0);
    place.assert_nothing_repeated("out");
    assert_eq!(cluster.left() + &settings_of(&cluster), "");
}
