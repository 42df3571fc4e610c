//! `seatrial validate` on a real control plane: every flag, every row of the exit table that applies, and what must not be green.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::Bin;
use crate::support::cluster::{LeasedCluster, lease};
use crate::support::runs::Workplace;
use crate::trial::nothing_left;

const HOLDS: &str = "{name: K8s.server.version, value: \">= 1.30\"}";

/// A small recipe with these constraints and conformance checks.
fn recipe(constraints: &[&str], checks: &[&str]) -> String {
    format!(
        "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {{name: small}}\nspec:\n  criteria: {{service: sim, accelerator: h100}}\n  \
         vendor: nvidia\n  constraints: [{}]\n  checks:\n    conformance: [{}]\n",
        constraints.join(", "),
        checks.join(", ")
    )
}

/// A place with a recipe file `r.yaml`, for one cluster.
struct Place {
    folder: tempfile::TempDir,
    kubeconfig: std::path::PathBuf,
}

impl Place {
    fn new(cluster: &LeasedCluster, recipe: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::write(folder.path().join("r.yaml"), recipe).expect("is written");
        Self { folder, kubeconfig: cluster.kubeconfig() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn validate(&self, args: &[&str]) -> Bin {
        let bin = Bin::within(self.folder.path()).args(["validate", "-r", "./r.yaml", "--kubeconfig"]);
        bin.args([&self.kubeconfig]).args(args)
    }

    /// Runs it and reads the CTRF report on stdout.
    #[track_caller]
    fn report(&self, args: &[&str], code: i32) -> (Value, String) {
        let ran = self.validate(args).exits(code);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout));
        assert_eq!(report["results"]["extra"]["exit"], json!(code), "{report:#}");
        (report, ran.stderr)
    }
}

#[track_caller]
fn test<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tests = report["results"]["tests"].as_array().expect("a list");
    tests.iter().find(|test| test["name"] == name).unwrap_or_else(|| panic!("no test {name} in {report:#}"))
}

#[tokio::test]
async fn a_cluster_that_meets_its_recipe_is_ok_and_each_constraint_says_what_was_read_where() {
    let cluster = lease().await;
    let place =
        Place::new(&cluster, &recipe(&[HOLDS, "{name: NodeTopology.summary.node-count, value: \"4\", type: number}"], &["gpu-capacity"]));
    let (report, stderr) = place.report(&[], 0);
    let constraint = test(&report, "constraint/K8s.server.version");
    assert_eq!((&constraint["status"], &constraint["suite"]), (&json!("passed"), &json!(["snapshot", "readiness"])));
    let compared = &constraint["extra"]["compared"];
    assert_eq!(compared["expected"], ">= 1.30");
    assert!(compared["actual"].as_str().is_some_and(|actual| actual.contains("v1.")) && !compared["source"].is_null(), "{constraint:#}");
    assert_eq!(test(&report, "gpu-capacity")["status"], "passed");
    assert_eq!(report["results"]["extra"]["hardware"], "simulated");
    assert!(stderr.contains("SIMULATED") && stderr.contains("constraint/K8s.server.version"), "{stderr}");
    nothing_left(&cluster);
}

#[tokio::test]
async fn constraints_that_do_not_hold_are_all_listed_and_nothing_is_created() {
    let cluster = lease().await;
    let wrong = [
        "{name: K8s.server.version, value: \">= 9.9\", remediation: upgrade the control plane}",
        "{name: NodeTopology.summary.node-count, value: \">= 400\", type: number}",
        "{name: OS.kmod.nvidia, value: \"true\"}",
        "{name: K8s.node.kubelet-version, value: \">= 9.8\", severity: advisory}",
        "{name: NodeTopology.summary.label-count, value: \">= 1\", type: number}",
    ];
    let place = Place::new(&cluster, &recipe(&wrong, &["dra-support"]));
    let (report, stderr) = place.report(&["--behavioral-tests"], 1);
    let failed: Vec<&str> = report["results"]["tests"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|test| test["status"] == "failed")
        .filter_map(|test| test["name"].as_str())
        .collect();
    assert_eq!(failed, ["constraint/K8s.server.version", "constraint/NodeTopology.summary.node-count", "constraint/OS.kmod.nvidia"]);
    let missing = test(&report, "constraint/OS.kmod.nvidia");
    assert!(missing["message"].as_str().is_some_and(|text| text.contains("node-facts")), "says how to read it: {missing:#}");
    let advisory = test(&report, "constraint/K8s.node.kubelet-version");
    assert_eq!((&advisory["status"], &advisory["extra"]["reason"]), (&json!("skipped"), &json!("advisory")));
    let blocked = test(&report, "dra-support");
    assert_eq!((&blocked["status"], &blocked["extra"]["reason"]), (&json!("pending"), &json!("blocked-by")));
    assert!(stderr.contains("upgrade the control plane"), "{stderr}");
    assert!(cluster.kubectl(&["get", "namespaces", "-o", "name"]).lines().all(|name| !name.contains("seatrial")), "nothing was created");
}

#[tokio::test]
async fn an_advisory_constraint_changes_no_verdict() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&["{name: K8s.server.version, value: \">= 9.9\", severity: advisory}"], &["gpu-capacity"]));
    let (report, _) = place.report(&[], 0);
    assert_eq!(report["results"]["extra"]["scope"], "full");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_runs() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["gpu-capacity", "platform-health"]));
    let cases: &[(&[&str], &str)] = &[
        (&["--phase", "performance"], "declares nothing in this phase"),
        (&["--phase", "conformence"], "conformance"),
        (&["--check", "gpu-capacty"], "did you mean `gpu-capacity`?"),
        (&["--skip-check", "gang-scheduling"], "does not declare this check"),
        (&["--check", "gpu-capacity", "--skip-check", "gpu-capacity"], "both"),
        (&["--no-cluster"], "--snapshot"),
        (&["--timeout", "soon"], "90s, 5m or 1h30m"),
        (&["--timeout", "0s"], "more than nothing"),
        (&["--toleration", "a:NoShedule"], "did you mean `NoSchedule`?"),
        (&["--push", "localhost:1/x"], "--key"),
        (&["-o", "https://example.com/x"], "cannot be written to"),
        (&["--report", "pdf=x"], "unknown kind"),
        (&["--bogus"], "--bogus"),
        (&["stray"], "stray"),
        (&["--budget", "0"], "the worst case of this plan"),
    ];
    for (args, says) in cases {
        let ran = place.validate(args).exits(2);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    let wrongs = [
        (recipe(&["{name: K8s.servre.version, value: \">= 1\"}"], &["gpu-capacity"]), "K8s.servre.version"),
        (recipe(&["{name: K8s.server.version, value: \"~> 1\"}"], &["gpu-capacity"]), "no operator that is known"),
        (recipe(&[HOLDS], &["gpu-capacty"]), "gpu-capacity"),
        (recipe(&[], &[]), "proves nothing"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: x}\n".to_owned(), "Pod"),
        (format!("{}---\n{}", recipe(&[HOLDS], &[]), recipe(&[HOLDS], &[])), "r.yaml"),
    ];
    for (text, says) in wrongs {
        std::fs::write(place.path("r.yaml"), &text).expect("is written");
        let ran = place.validate(&[]).exits(2);
        assert!(ran.stderr.contains(says), "{text}\n{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_skipped_check_stays_in_the_report_and_narrows_the_scope() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["gpu-capacity", "platform-health"]));
    for args in [["--skip-check", "platform-health"], ["--check", "gpu-capacity"]] {
        let (report, _) = place.report(&args, 0);
        let skipped = test(&report, "platform-health");
        assert_eq!((&skipped["status"], &skipped["extra"]["reason"]), (&json!("skipped"), &json!("by-request")));
        assert_eq!(report["results"]["extra"]["scope"], "structural");
        assert_eq!(test(&report, "gpu-capacity")["status"], "passed");
    }
    // All of them left out: nothing of the cluster was seen to work, whatever the constraints say.
    let place = Place::new(&cluster, &recipe(&[], &["gpu-capacity"]));
    place.report(&["--skip-check", "gpu-capacity"], 3);
}

#[tokio::test]
async fn without_behavioural_tests_nothing_is_created_and_with_them_the_scope_is_full() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["dra-support", "gpu-capacity"]));
    let (report, _) = place.report(&[], 0);
    let off = test(&report, "dra-support");
    assert_eq!((&off["status"], &off["extra"]["reason"]), (&json!("skipped"), &json!("behavioral-tests-off")));
    assert_eq!(report["results"]["extra"]["scope"], "structural");
    let (report, _) = place.report(&["--behavioral-tests"], 0);
    assert_eq!(test(&report, "dra-support")["status"], "passed");
    assert_eq!(report["results"]["extra"]["scope"], "full");
    nothing_left(&cluster);
}

#[tokio::test]
async fn a_phase_that_fails_ends_it_with_fail_fast_and_report_only_never_fails_the_job() {
    let cluster = lease().await;
    cluster.kubectl(&["label", "node", "sim-node-4", "--overwrite", "nvidia.com/gpu.count=9"]);
    let place = Place::new(
        &cluster,
        &recipe(&[HOLDS], &["gpu-capacity"]).replace("    conformance", "    deployment: [platform-health]\n    conformance"),
    );
    let (report, _) = place.report(&[], 1);
    assert_eq!(test(&report, "gpu-capacity")["status"], "failed");
    for flag in ["--report-only", "--fail-on-error=false"] {
        let ran = place.validate(&[flag]).exits(0);
        let report: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
        assert_eq!((&report["results"]["extra"]["verdict"], &report["results"]["extra"]["exit"]), (&json!("failed"), &json!(1)));
    }
    std::fs::write(
        place.path("r.yaml"),
        recipe(&[HOLDS], &["dra-support"]).replace("    conformance", "    deployment: [gpu-capacity]\n    conformance"),
    )
    .expect("is written");
    let (report, _) = place.report(&["--fail-fast"], 1);
    let after = test(&report, "dra-support");
    assert_eq!((&after["status"], &after["extra"]["reason"]), (&json!("pending"), &json!("fail-fast")));
    let (report, _) = place.report(&[], 1);
    assert_eq!(test(&report, "dra-support")["status"], "skipped", "without it, the next phase runs");
}

#[tokio::test]
async fn a_snapshot_stands_in_for_the_cluster_only_if_it_is_of_this_cluster() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["gpu-capacity"]));
    let take = Bin::within(place.folder.path()).args(["snapshot", "-o", "s.json", "--kubeconfig"]).args([&place.kubeconfig]);
    take.exits(0);
    place.report(&["-s", "s.json"], 0);
    let text = std::fs::read_to_string(place.path("s.json")).expect("is there");
    let snapshot: Value = serde_json::from_str(&text).expect("is JSON");
    let id = snapshot["cluster"]["id"]["value"].as_str().expect("an id");
    std::fs::write(place.path("other.json"), text.replace(id, "00000000-0000-0000-0000-000000000000")).expect("is written");
    let ran = place.validate(&["-s", "other.json"]).exits(2);
    assert!(ran.stderr.contains("the snapshot is of cluster 00000000") && ran.stderr.contains("--no-cluster"), "{}", ran.stderr);
    std::fs::write(place.path("pod.json"), "{\"kind\": \"Pod\", \"apiVersion\": \"v1\"}").expect("is written");
    place.validate(&["-s", "pod.json"]).exits(2);
    place.validate(&["-s", "missing.json"]).exits(2);
}

#[tokio::test]
async fn without_a_cluster_only_constraints_are_judged_and_nothing_to_judge_is_inconclusive() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["gpu-capacity"]));
    Bin::within(place.folder.path()).args(["snapshot", "-o", "s.json", "--kubeconfig"]).args([&place.kubeconfig]).exits(0);
    let offline = |code: i32| {
        // No kubeconfig anywhere: an API call would fail.
        let bin = Bin::within(place.folder.path()).args(["validate", "-r", "./r.yaml", "-s", "s.json", "--no-cluster"]);
        let ran = bin.exits(code);
        serde_json::from_str::<Value>(&ran.stdout).expect("is JSON")
    };
    let report = offline(0);
    assert_eq!(report["results"]["extra"]["scope"], "constraints-only");
    let out = test(&report, "gpu-capacity");
    assert_eq!((&out["status"], &out["extra"]["reason"]), (&json!("skipped"), &json!("no-cluster")));
    std::fs::write(place.path("r.yaml"), recipe(&["{name: K8s.server.version, value: \">= 9\"}"], &["gpu-capacity"])).expect("is written");
    assert_eq!(test(&offline(1), "constraint/K8s.server.version")["status"], "failed");
    std::fs::write(place.path("r.yaml"), recipe(&[], &["gpu-capacity"])).expect("is written");
    offline(3);
    let refused = ["--emit-attestation", "dir"];
    Bin::within(place.folder.path()).args(["validate", "-r", "./r.yaml", "-s", "s.json", "--no-cluster"]).args(refused).exits(2);
}

#[tokio::test]
async fn recipes_and_snapshots_come_from_config_maps_and_reports_go_to_them() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["gpu-capacity"]));
    let file = place.path("r.yaml");
    cluster.kubectl(&["create", "configmap", "recipe", "-n", "default", &format!("--from-file=recipe.yaml={}", file.display())]);
    let run = |args: &[&str]| Bin::within(place.folder.path()).args(args).args([Path::new("--kubeconfig"), &place.kubeconfig]);
    run(&["snapshot", "-o", "cm://default/snap"]).exits(0);
    run(&["validate", "-r", "cm://default/recipe", "-s", "cm://default/snap", "-o", "cm://default/report"]).exits(0);
    let map = cluster.get(&["configmap", "report", "-n", "default"]);
    let (_, text) = map["data"].as_object().expect("data").iter().find(|(key, _)| key.starts_with("report")).expect("a report");
    let report: Value = serde_json::from_str(text.as_str().expect("text")).expect("is JSON");
    assert_eq!(report["results"]["extra"]["verdict"], "ok");
    let missing = run(&["validate", "-r", "cm://default/nothing"]).exits(2);
    assert!(missing.stderr.contains("nothing"), "{}", missing.stderr);
}

#[tokio::test]
async fn a_deadline_ends_it_with_a_report_and_nothing_left() {
    let mut cluster = lease().await;
    cluster.stop("kube-scheduler");
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["dra-support", "gpu-capacity"]));
    let (report, stderr) = place.report(&["--behavioral-tests", "--timeout", "4s"], 3);
    let late = test(&report, "dra-support");
    assert_eq!((&late["status"], &late["extra"]["reason"]), (&json!("pending"), &json!("blocked-by")), "{late:#}");
    assert!(late["message"].as_str().is_some_and(|text| text.contains("--timeout")), "{late:#}");
    assert!(stderr.contains("timeout"), "{stderr}");
    nothing_left(&cluster);
}

#[tokio::test]
async fn an_interrupt_writes_the_report_and_leaves_nothing() {
    let mut cluster = lease().await;
    cluster.stop("kube-scheduler");
    let Some(place) = Workplace::new(&cluster) else { return crate::support::left_out("this machine has no registry") };
    std::fs::write(place.path("r.yaml"), recipe(&[HOLDS], &["dra-support"])).expect("is written");
    let mut run = place.start(&["validate", "-r", "./r.yaml", "--behavioral-tests", "-o", "report.json", "--out", "out"]);
    run.until("the conformance step begins", || place.has("out", "step-started", "conformance").then_some(()));
    run.signal(Signal::INT);
    run.exits(130);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(place.path("report.json")).expect("is written")).expect("is JSON");
    assert_eq!(report["results"]["extra"]["exit"], 130);
    nothing_left(&cluster);
}

#[tokio::test]
async fn evidence_is_written_where_it_is_wanted_and_never_over_something_else() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return crate::support::left_out("this machine has no registry") };
    std::fs::write(place.path("r.yaml"), recipe(&[HOLDS], &["gpu-capacity"])).expect("is written");
    let repository = format!("{}/evidence", place.registry.address);
    let args =
        ["validate", "-r", "./r.yaml", "--emit-attestation", "bundle", "--key", "keys/seatrial.key", "--push", &repository, "--plain-http"];
    place.bin(&args).exits(0);
    place.assert_published_once(0).await;
    place.bin(&["evidence", "verify", "bundle", "--key", "keys/seatrial.pub"]).exits(0);
    std::fs::create_dir(place.path("mine")).expect("made");
    std::fs::write(place.path("mine/precious"), "x").expect("is written");
    let ran = place.bin(&["validate", "-r", "./r.yaml", "--emit-attestation", "mine"]).exits(2);
    assert!(ran.stderr.contains("is not empty"), "{}", ran.stderr);
    assert!(place.path("mine/precious").exists());
}

#[tokio::test]
async fn what_users_say_about_pods_reaches_the_pods() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["dra-support"]));
    let about =
        ["--toleration", "dedicated=gpu:NoSchedule", "--image-mirror", "registry.k8s.io=mirror.example/k8s", "--image-pull-secret", "ours"];
    let left = ["--no-cleanup", "--lease-seconds", "2"];
    let (report, _) = place.report(&[&["--behavioral-tests", "--node-selector", "no-such=label"], &about[..], &left].concat(), 1);
    let message = test(&report, "dra-support")["message"].as_str().expect("text").to_owned();
    assert!(message.contains("node affinity/selector") || message.contains("node(s) didn't match"), "{message}");
    let pod = &cluster.get(&["pods", "-A", "-l", "app.kubernetes.io/managed-by=seatrial"])["items"][0]["spec"];
    assert_eq!((&pod["nodeSelector"]["no-such"], &pod["imagePullSecrets"][0]["name"]), (&"label".into(), &"ours".into()), "{pod}");
    assert!(pod["tolerations"].to_string().contains("dedicated"), "{pod}");
    let image = pod["containers"][0]["image"].as_str().expect("text");
    assert!(image.starts_with("mirror.example/k8s/"), "{image}");
    crate::support::eventually("clean-up after the Lease has expired", Duration::from_secs(30), || {
        Bin::within(place.folder.path()).args(["cleanup", "--kubeconfig"]).args([&place.kubeconfig]).exits(0);
        (cluster.left() == "").then_some(())
    });
    std::fs::write(place.path("pod.yaml"), "priorityClassName: no-such-class\n").expect("is written");
    let ran = place.validate(&["--behavioral-tests", "--pod-template", "pod.yaml"]).ends();
    assert!(ran.code != 0 && format!("{}{}", ran.stdout, ran.stderr).contains("no-such-class"), "{} {}", ran.stdout, ran.stderr);
    let (report, _) = place.report(&["--behavioral-tests", "--max-gpus", "0"], 0);
    assert_eq!(test(&report, "dra-support")["extra"]["reason"], "by-request");
    nothing_left(&cluster);
}

#[tokio::test]
async fn pages_about_requirements_are_written_from_results_or_refused() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["dra-support", "inference-gateway"]));
    place.report(&["--behavioral-tests", "--evidence-dir", "pages"], 3);
    let page = |name: &str| std::fs::read_to_string(place.path("pages").join(name)).expect("is written");
    assert!(page("dra-support.md").contains("Result: PASS"), "{}", page("dra-support.md"));
    assert!(page("inference-gateway.md").contains("Result: COULD NOT TELL"), "{}", page("inference-gateway.md"));
    assert!(page("index.md").contains("NOT TESTED"), "{}", page("index.md"));
    for (args, says) in [
        (&["--evidence-dir", "p", "--skip-check", "dra-support"][..], "cannot be combined"),
        (&["--evidence-dir", "p", "--feature", "gang-shceduling"], "did you mean"),
        (&["--evidence-dir", "p", "--feature", "metrics"], "nothing to write pages about"),
        (&["--cncf-submission"], "cannot write a CNCF submission"),
    ] {
        let ran = place.validate(args).exits(2);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
    assert!(!place.path("p").exists(), "refused before anything was written");
}

#[tokio::test]
async fn no_cleanup_leaves_what_failed_until_cleanup() {
    let mut cluster = lease().await;
    cluster.stop("kube-scheduler");
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["dra-support"]));
    place.report(&["--behavioral-tests", "--no-cleanup", "--timeout", "4s", "--lease-seconds", "3"], 3);
    let namespaces = || cluster.kubectl(&["get", "namespaces", "-o", "name"]).lines().filter(|name| name.contains("seatrial-")).count();
    assert_eq!(namespaces(), 1, "it is left for a look");
    let cleanup = || Bin::within(place.folder.path()).args(["cleanup", "--kubeconfig"]).args([&place.kubeconfig]).ends();
    crate::support::eventually("clean-up after the Lease has expired", Duration::from_secs(90), || {
        cleanup();
        (namespaces() == 0).then_some(())
    });
}

#[tokio::test]
async fn who_may_not_read_is_told_so_and_a_cluster_that_is_away_is_not_green() {
    let cluster = lease().await;
    let place = Place::new(&cluster, &recipe(&[HOLDS], &["gpu-capacity"]));
    let denied = cluster.kubeconfig_without("list", "nodes");
    let ran = Bin::within(place.folder.path()).args(["validate", "-r", "./r.yaml", "--kubeconfig"]).args([&denied]).exits(4);
    assert!(ran.stderr.contains("nodes"), "{}", ran.stderr);
    let text = std::fs::read_to_string(&place.kubeconfig).expect("is there");
    let away = place.path("away");
    let port = text.split("https://127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a port").to_owned();
    std::fs::write(&away, text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:1")).expect("is written");
    Bin::within(place.folder.path()).args(["validate", "-r", "./r.yaml", "--kubeconfig"]).args([&away]).exits(6);
}
