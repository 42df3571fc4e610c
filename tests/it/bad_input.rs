//! Input and surroundings that are wrong: the right exit code, a message that names the thing, nothing half-written.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Bin;
use crate::support::cluster::{LeasedCluster, lease};
use crate::support::fault_proxy::{Fault, FaultProxy, Rule};
use crate::support::runs::Workplace;

const HEAD: &str = "apiVersion: seatrial.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  intent: training\n";

/// Plans a workflow file and insists that it is refused with all of these words.
#[track_caller]
fn refused(workflow: &str, words: &[&str]) {
    let bin = Bin::seatrial();
    std::fs::write(bin.folder().join("w.yaml"), workflow).expect("is written");
    let ran = bin.args(["plan", "./w.yaml", "--recipe", "sim-h100"]).exits(2);
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
    }
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_wrong_workflow_is_refused_with_its_place_and_the_nearest_name() {
    refused(&format!("{HEAD}  steps:\n  - id: snapshot\n  - id: helth\n"), &["w.yaml", "helth", "health"]);
    refused(&format!("{HEAD}  steps:\n  - id: snapshot\n    mannifests: []\n"), &["w.yaml:8:", "mannifests", "manifests"]);
    refused(&HEAD.replace("Workflow", "Workflwo"), &["w.yaml:2:", "Workflow"]);
    refused(&format!("{HEAD}  steps: []\n"), &["w.yaml", "step"]);
    refused(&format!("{HEAD}  steps:\n  - id: conformance\n  - id: snapshot\n"), &["put snapshot before conformance"]);
    refused(&format!("{HEAD}  steps:\n  - id: snapshot\n  - id: collect\n  - id: setup\n"), &["put collect last"]);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    refused(bomb, &["w.yaml"]);
    refused(&format!("a: {}", "[".repeat(100_000)), &["w.yaml"]);
    refused(&"#".repeat(50 << 20), &["w.yaml"]);
}

#[test]
fn a_wrong_recipe_is_refused_with_its_place_and_the_nearest_name() {
    let shipped = include_str!("../../recipes/sim-h100.yaml");
    let wrongs = [
        (shipped.replace("- gpu-capacity", "- gpu-capacty"), vec!["r.yaml", "gpu-capacty", "gpu-capacity"]),
        (shipped.replace("  vendor: nvidia", "  vendor: nvida"), vec!["r.yaml", "nvida", "nvidia"]),
        (shipped.replace("  vendor:", "  vendr:"), vec!["r.yaml:8:", "vendr", "vendor"]),
        (shipped.replace("kind: Recipe", "kind: Recip"), vec!["r.yaml:3:", "Recipe"]),
    ];
    for (text, words) in wrongs {
        let bin = Bin::seatrial();
        std::fs::write(bin.folder().join("r.yaml"), text).expect("is written");
        let ran = bin.args(["plan", "conformance", "--recipe", "./r.yaml"]).exits(2);
        for word in words {
            assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
        }
    }
}

/// Runs with a kubeconfig and insists that it ends with one of some codes and words, having written nothing.
#[track_caller]
fn without_a_cluster(kubeconfig: &str, more: &[&str], codes: &[i32], words: &[&str]) {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("config"), kubeconfig).expect("is written");
    let bin = Bin::within(folder.path()).args(["run", "conformance", "--kubeconfig", "config", "--out", "out"]).args(more);
    let ran = bin.ends();
    assert!(codes.contains(&ran.code), "exit {}: {}", ran.code, ran.stderr);
    assert!(!ran.stderr.contains("ERROR"), "a library's log is no message: {}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
    }
    assert!(!folder.path().join("out").exists(), "a run that was refused leaves no directory");
}

fn config(server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "x"}}],
    })
    .to_string()
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_told_from_a_server_that_does_not_answer() {
    let missing = Bin::seatrial().args(["run", "conformance", "--kubeconfig", "missing"]).exits(2);
    assert!(missing.stderr.contains("no kubeconfig missing") && missing.stderr.contains("hint"), "{}", missing.stderr);
    without_a_cluster("a: [", &[], &[2], &["config"]);
    without_a_cluster(&config("http://127.0.0.1:1"), &["--context", "there"], &[2], &["`there`", "it has: here"]);
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    without_a_cluster(&config(&format!("http://{closed}")), &[], &[6], &[&closed.to_string(), "context here"]);
    // As kubectl does: of several files, those that are not there are passed over.
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("config"), config(&format!("http://{closed}"))).expect("is written");
    for (names, code) in [("missing:config:also-missing", 6), ("missing:also-missing", 2)] {
        let ran = Bin::within(folder.path()).args(["snapshot"]).env("KUBECONFIG", names).exits(code);
        assert!(ran.stderr.contains(if code == 6 { "context here" } else { "no kubeconfig missing" }), "{}", ran.stderr);
    }
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let began = std::time::Instant::now();
    without_a_cluster(&config(&format!("https://{address}")), &[], &[5, 6], &[&address]);
    assert!(began.elapsed().as_secs() < 40, "took {:?}", began.elapsed());
}

/// The kubeconfig of someone with this token.
fn with_token(cluster: &LeasedCluster, place: &Workplace, token: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).expect("is there");
    let mut config: Value = seatrial::yaml::from_str(&text, "kubeconfig").expect("is YAML");
    config["users"][0]["user"] = json!({"token": token});
    let file = place.path("token.kubeconfig");
    std::fs::write(&file, config.to_string()).expect("is written");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_accepted_and_keys_that_cannot_sign_end_a_run_before_it_begins() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let token = with_token(&cluster, &place, "expired");
    let bin = Bin::within(&place.path("")).args(["run", "conformance", "--out", "out", "--kubeconfig"]).args([&token]);
    let ran = bin.exits(4);
    assert!(ran.stderr.contains("renew them"), "{}", ran.stderr);

    std::fs::write(place.path("not.pem"), "x").expect("is written");
    for (key, word) in [("missing.key", "missing.key"), ("not.pem", "not.pem"), ("keys/seatrial.pub", "seatrial.pub")] {
        let ran = place.bin(&["run", "conformance", "--out", "out", "--key", key]).exits(2);
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    let ran = place.bin(&["run", "conformance", "--out", "out", "--push", "127.0.0.1:1/x"]).exits(2);
    assert!(ran.stderr.contains("--key"), "{}", ran.stderr);
    // --out in a file, and --resume without a run.
    let ran = place.bin(&["run", "conformance", "--out", "not.pem/out"]).exits(2);
    assert!(ran.stderr.contains("not.pem/out"), "{}", ran.stderr);
    let ran = place.bin(&["run", "conformance", "--out", "out", "--resume"]).exits(2);
    assert!(ran.stderr.contains("out/journal.jsonl"), "{}", ran.stderr);
    assert!(!place.path("out").exists());
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_take_evidence_is_found_before_the_run_begins() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let faults = [
        (Fault::Status(401), 4),
        (Fault::Status(403), 4),
        (Fault::Status(404), 2),
        (Fault::Status(429), 6),
        (Fault::Status(500), 6),
        (Fault::Cut, 6),
    ];
    // Side by side, as most of the time goes into waiting between tries.
    let mut runs = Vec::new();
    for (fault, code) in faults {
        let proxy = FaultProxy::start(&place.registry.address);
        proxy.inject(Rule::new(fault));
        let repository = format!("{}/team/evidence", proxy.address);
        let run = place.start(&place.signed("conformance", "out", &repository));
        runs.push((run, repository, code, proxy));
    }
    for (run, repository, code, _proxy) in runs {
        let stderr = run.exits(code);
        assert!(stderr.contains(&repository), "{stderr}");
    }
    let run = place.start(&place.signed("conformance", "out", "127.0.0.1:1/team/evidence"));
    assert!(run.exits(6).contains("127.0.0.1:1/team/evidence"));
    assert!(!place.path("out").exists() && !place.path("evidence").exists(), "nothing is half-written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_breaks_down_during_the_run_costs_only_the_step_that_needs_it() {
    let cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let proxy = FaultProxy::start(&place.registry.address);
    let repository = format!("{}/team/evidence", proxy.address);
    let workflow = place.workflow(&["snapshot", "inventory", "setup", "health", "collect"]);
    let mut args = place.signed(&workflow, "out", &repository);
    let mut first = true;
    for (fault, tries, reason) in [
        (Fault::Status(500), 4, "unavailable"),
        (Fault::Status(429), 4, "unavailable"),
        (Fault::Cut, 4, "unavailable"),
        (Fault::Status(403), 1, "denied"),
    ] {
        proxy.inject(Rule::new(fault).on("PUT", "/manifests/").times(tries));
        place.start(&args).exits(3);
        let results = place.results("out");
        let steps = results["steps"].as_array().expect("steps");
        let collect = steps.iter().find(|step| step["id"] == "collect").expect("collect");
        assert_eq!((collect["verdict"].as_str(), collect["reason"].as_str()), (Some("error"), Some(reason)), "{results:#}");
        assert!(collect["message"].as_str().is_some_and(|message| message.contains(&repository)), "{results:#}");
        assert!(steps.iter().filter(|step| step["id"] != "collect").all(|step| step["verdict"] == "pass"), "{results:#}");
        assert!(Path::new(&place.path("out/bundle/manifest.json")).exists() && !place.path("evidence").exists());
        if std::mem::take(&mut first) {
            args.push("--resume");
        }
    }
    place.start(&args).exits(0);
    place.assert_nothing_repeated("out");
    // As it should: the short workflow leaves out what the recipe declares.
    place.assert_published_once(13).await;

    // The same directory for something else.
    let ran = place.bin(&["run", "conformance", "--recipe", "sim-h100", "--out", "out", "--resume"]).exits(2);
    assert!(ran.stderr.contains("another workflow"), "{}", ran.stderr);
    let other = include_str!("../../recipes/sim-h100.yaml").replace("name: sim-h100", "name: other");
    std::fs::write(place.path("other.yaml"), other).expect("is written");
    let ran = place.bin(&["run", &workflow, "--recipe", "./other.yaml", "--out", "out", "--resume"]).exits(2);
    assert!(ran.stderr.contains("another recipe"), "{}", ran.stderr);
    let journal = place.path("out/journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("is there");
    std::fs::write(&journal, text.replacen("step-started", "step-begun", 1)).expect("is written");
    let ran = place.bin(&args).exits(22);
    assert!(ran.stderr.contains("journal.jsonl:2"), "{}", ran.stderr);
}

/// A disk of 1 MiB that is unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).expect("is made");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            return None;
        }
        Some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failing test may still have a run at work in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_ends_the_run_leaves_nothing_in_the_cluster_and_resume_goes_on_once_there_is_room() {
    let mut cluster = lease().await;
    let Some(place) = Workplace::new(&cluster) else { return };
    let Some(disk) = SmallDisk::mount(place.path("disk")) else {
        return crate::support::left_out("only root may mount a small disk");
    };
    let workflow = place.workflow(&["snapshot", "inventory", "intent"]);
    let mut args = vec!["run", workflow.as_str(), "--recipe", "sim-h100", "--out", "disk/out"];
    cluster.stop("kube-scheduler");
    let mut run = place.start(&args);
    run.until("the Job of intent", || cluster.left().contains("job").then_some(()));
    let mut filler = std::fs::File::create(disk.0.join("filler")).expect("is made");
    for size in [4096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
    drop(filler);
    cluster.start("kube-scheduler");
    let stderr = run.exits(2);
    assert!(stderr.contains("disk/out") && stderr.contains("disk is not full"), "{stderr}");
    assert_eq!(cluster.left(), "");
    let names: Vec<String> = std::fs::read_dir(disk.0.join("out/steps"))
        .expect("is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| name.ends_with(".json") && !name.starts_with('.')), "{names:?}");
    std::fs::remove_file(disk.0.join("filler")).expect("is removed");
    args.push("--resume");
    place.start(&args).exits(0);
    place.assert_nothing_repeated("disk/out");
    assert_eq!(cluster.left(), "");
}
