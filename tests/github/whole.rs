//! From a cluster to a merge: the reusable workflows under act, in one network namespace with a simulated cluster, a registry, a private Sigstore
//! whose issuer plays GitHub's, and a stand-in for GitHub's API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::act::{Acted, Consumer};
use crate::fake::{GATE, GitHub};
use crate::registry_server::program;
use crate::root;
use crate::sigstore_stack::{GITHUB, REGISTRY, Stack, exits};

const REPOSITORY: &str = "example-org/evidence";
const SERVERS: [&str; 7] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "etcd", "kwok", "kwokctl"];

/// A simulated cluster in the namespace of the stack; gone when this is.
struct Cluster {
    stack: &'static Stack,
    dir: tempfile::TempDir,
}

impl Cluster {
    fn start(stack: &'static Stack) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = stack.seatrial(&["sim", "up", "--dir"]);
        command.arg(dir.path().join("plane"));
        for name in SERVERS {
            command.env(format!("SEATRIAL_BIN_{}", name.to_uppercase().replace('-', "_")), program(name)?);
        }
        exits(command, 0);
        Some(Self { stack, dir })
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("plane/kubeconfig")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut command = self.stack.seatrial(&["sim", "down", "--dir"]);
        command.arg(self.dir.path().join("plane"));
        for name in SERVERS {
            if let Some(path) = program(name) {
                command.env(format!("SEATRIAL_BIN_{}", name.to_uppercase().replace('-', "_")), path);
            }
        }
        drop(command.output());
    }
}

/// The workflow of a consumer that calls one of ours, as pinned.
fn caller(event: &str, workflow: &str, with: &str) -> String {
    let text = std::fs::read_to_string(root().join(format!("examples/consumer/{workflow}.yaml")));
    let text = text.expect("reads");
    let used = text.lines().find_map(|line| line.split_once("uses: ")).expect("is used").1;
    format!(
        "name: {workflow}\non: {event}\njobs:\n  {workflow}:\n    uses: {used}\n    with:\n      path: {}\n      plain-http: true\n{with}",
        env!("CARGO_BIN_EXE_seatrial")
    )
}

/// What a workflow run of a repository would say of itself to Sigstore.
fn identity(repository: &str, id: &str, workflow: &str) -> String {
    let claims = [
        ("repository", repository.to_owned()),
        ("repository_id", id.to_owned()),
        ("sub", format!("repo:{repository}:ref:refs/heads/main")),
        ("workflow_ref", format!("{repository}/.github/workflows/validate.yaml@refs/heads/main")),
        ("job_workflow_ref", format!("seatrial/seatrial/.github/workflows/{workflow}@refs/heads/main")),
        ("event_name", "workflow_dispatch".to_owned()),
    ];
    let claims: Vec<String> =
        claims.iter().map(|(name, value)| format!("{name}={}", value.replace('/', "%2F").replace(':', "%3A"))).collect();
    format!("{GITHUB}/token?{}", claims.join("&"))
}

/// Variables of a run under act.
fn variables(token: &str, issuer: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("GITHUB_API_URL", "http://127.0.0.1:4021".to_owned()),
        ("GITHUB_TOKEN", token.to_owned()),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", issuer.to_owned()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token".to_owned()),
    ])
}

/// The outputs that steps set, by act's log; the last of a name counts. Those that a step has and did not set are empty there.
fn outputs(acted: &Acted) -> BTreeMap<String, String> {
    let lines = acted.log.lines().filter_map(|line| line.split_once("::set-output:: ")).map(|(_, set)| set);
    let set = lines.filter_map(|set| set.split_once('=')).filter(|(_, value)| !value.is_empty());
    set.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect()
}

/// Whose evidence counts: this repository's, of the reusable workflow, on simulated hardware.
fn policy(hardware: &str, age: &str) -> String {
    format!(
        "apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePolicy\n{hardware}maximumAge: {age}\nregistries: [\"{REGISTRY}\"]\nowners: [\"@ann\"]\nsigners:\n- name: this\n  recipes: [\"*\"]\n  \
         subject:\n    github:\n      repositoryId: \"202\"\n      issuer: {GITHUB}\n      refs: [refs/heads/main]\n      triggers: [workflow_dispatch]\n      \
         workflow: {{glob: \"https://github.com/seatrial/seatrial/.github/workflows/validate.yaml@**\"}}\n"
    )
}

const SIMULATED: &str = "hardware: [simulated]\ncoverage: in-scope\n";

/// The only pointer below a directory, by its path from there.
fn pointer_below(folder: &Path) -> String {
    let recipe =
        std::fs::read_dir(folder).expect("is there").flatten().map(|entry| entry.path()).find(|path| path.is_dir()).expect("a recipe");
    let pointer = std::fs::read_dir(&recipe).expect("is there").flatten().next().expect("a pointer").path();
    pointer.strip_prefix(folder).expect("is below").display().to_string()
}

#[test]
#[ignore = "matrix"]
fn evidence_that_a_workflow_made_is_accepted_and_what_is_wrong_is_refused() {
    let Some(stack) = Stack::shared() else { return };
    let (Some(act), Some(github), Some(cluster)) = (program("act"), GitHub::within(stack), Cluster::start(stack)) else { return };

    // Validate: the run, the evidence, the pointer, and the commit that offers it.
    let trust = format!("      trusted-root: {}\n", stack.trusted_root());
    let with = format!(
        "{trust}      signing-config: {}\n      workflow: conformance\n      recipe: sim-h100\n      settle: \"5\"\n      push: {REGISTRY}/team/evidence\n      login: false\n      offer: commit\n      branch: new-evidence\n      runs-on: '\"ubuntu-24.04\"'\n",
        stack.signing_config()
    );
    let validate = caller("workflow_dispatch", "validate", &with);
    let gate = caller("pull_request_target", "gate", &trust);
    let files = [
        (".github/workflows/validate.yaml", validate.as_str()),
        (".github/workflows/gate.yaml", gate.as_str()),
        ("evidence/policy.yaml", &policy(SIMULATED, "1h")),
    ];
    let Some(consumer) = Consumer::new(REPOSITORY, &files) else { return };
    let start = "5555555555555555555555555555555555555555";
    github.seed(&json!({"refs": {"heads/main": start, "heads/new-evidence": start}, "commits": {start: {"tree": start, "message": "m", "parents": []}}}));
    let mut environment = variables("contents=write", &identity(REPOSITORY, "202", "validate.yaml"));
    environment.insert("KUBECONFIG", cluster.kubeconfig().display().to_string());
    let ran = consumer.act(Some(stack.command(&act)), "workflow_dispatch", &json!({"ref": "refs/heads/main"}), &environment);
    assert!(ran.ok, "{}", ran.log);
    let set = outputs(&ran);
    for name in ["bundle", "pointer", "digest", "scope", "verdict"] {
        assert!(set.get(name).is_some_and(|value| !value.is_empty()), "{name}: {}", ran.log);
    }
    let artifacts = consumer.beside("artifacts");
    let evidence = artifacts.join("seatrial-pointer");
    let path = pointer_below(&evidence);
    let pointer = std::fs::read_to_string(evidence.join(&path)).expect("reads");
    assert!(pointer.contains(&format!("https://github.com/{REPOSITORY}")) && path.contains(&set["digest"].replace(':', "-")), "{pointer}");
    assert!(artifacts.join("seatrial-run/results.json").exists(), "the run is kept");
    let state = github.state();
    let commit = &state["commits"][state["refs"]["heads/new-evidence"].as_str().expect("a commit")];
    let offered = &state["trees"][commit["tree"].as_str().unwrap_or_default()]["tree"][0];
    assert_eq!((&offered["path"], &offered["content"]), (&json!(format!("evidence/{path}")), &json!(pointer)), "{state}");

    // The same evidence, by a workflow run of somebody else who calls the same reusable workflow.
    let bundle = artifacts.join("seatrial-run/bundle");
    let foreign = consumer.beside("foreign");
    std::fs::remove_file(bundle.join("signature.sigstore.json")).expect("is removed");
    let repository = format!("{REGISTRY}/evil/evidence");
    let mut publish = stack.seatrial(&["evidence", "publish", &bundle.display().to_string(), "--push", &repository, "--plain-http"]);
    publish.args(["--signing-config", &stack.signing_config(), "--trusted-root", &stack.trusted_root(), "--pointer-dir"]).arg(&foreign);
    publish.env("GITHUB_ACTIONS", "true").env("ACTIONS_ID_TOKEN_REQUEST_URL", identity("evil/fork", "666", "validate.yaml"));
    publish.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token");
    exits(publish, 0);
    let theirs = std::fs::read_to_string(foreign.join(pointer_below(&foreign))).expect("reads");

    // What is pending is signed by the workflow of whoever pushed it, and committed.
    let waiting = format!("{REGISTRY}/team/pending");
    let mut push = stack.seatrial(&["evidence", "push", &bundle.display().to_string(), "--push", &waiting, "--plain-http"]);
    std::fs::remove_file(bundle.join("signature.sigstore.json")).expect("is removed");
    push.current_dir(consumer.path());
    exits(push, 0);
    let with = format!("{trust}      signing-config: {}\n      login: false\n", stack.signing_config());
    consumer.write(".github/workflows/sign.yaml", &caller("push", "sign", &with));
    consumer.commit();
    let environment = variables("contents=write", &identity(REPOSITORY, "202", "evidence-sign.yaml"));
    let ran = consumer.act(Some(stack.command(&act)), "push", &json!({"ref": "refs/heads/main"}), &environment);
    assert!(ran.ok, "{}", ran.log);
    assert_eq!(outputs(&ran).get("pointer"), Some(&format!("evidence/{path}")), "{}", ran.log);
    let state = github.state();
    let commit = &state["commits"][state["refs"]["heads/main"].as_str().expect("a commit")];
    let signed = state["trees"][commit["tree"].as_str().unwrap_or_default()]["tree"][0]["content"].as_str().unwrap_or_default().to_owned();
    assert!(signed.contains("team/pending") && signed.contains("evidence-sign.yaml@"), "{state}");
    consumer.git(&["rm", "--quiet", "-r", "evidence/sim-h100", ".github/workflows/sign.yaml"]);
    consumer.commit();

    // Gate: base and head of each pull request, and what comes of it.
    let at = format!("evidence/{path}");
    let edited = pointer.replacen("hardware: simulated", "hardware: real", 1);
    assert_ne!(edited, pointer);
    let judge = "seatrial-gate-of-the-head";
    let cases: Vec<(&str, String, Vec<(&str, &str)>, &str, &str)> = vec![
        ("accepted", policy(SIMULATED, "1h"), vec![(&at, &pointer)], "accept", "ok"),
        ("edited", policy(SIMULATED, "1h"), vec![(&at, &edited)], "refuse", "replay-disagrees"),
        ("of another repository", policy(SIMULATED, "1h"), vec![(&at, &theirs)], "refuse", "other-source"),
        ("simulated", policy("", "1h"), vec![(&at, &pointer)], "refuse", "hardware-simulated"),
        ("old", policy(SIMULATED, "1s"), vec![(&at, &pointer)], "refuse", "too-old"),
        (
            "the policy is edited too",
            policy("", "1h"),
            vec![(&at, &pointer), ("evidence/policy.yaml", &files[2].1), (".github/workflows/gate.yaml", judge)],
            "refuse",
            "hardware-simulated",
        ),
        ("no evidence", policy(SIMULATED, "1h"), vec![("recipes/sim-h100.yaml", RECIPE)], "needs-evidence", "evidence-missing"),
        (
            "the recipe changed after the run",
            policy(SIMULATED, "1h"),
            vec![(&at, &pointer), ("recipes/sim-h100.yaml", RECIPE)],
            "refuse",
            "recipe-drifted",
        ),
    ];
    let server = consumer.beside("server/example-org");
    std::os::unix::fs::symlink(consumer.path(), server.join("evidence.git")).expect("is linked");
    consumer.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    // What would come from GitHub comes from here, also to git.
    let git_config = consumer.beside("server").join("gitconfig");
    let text = format!("[url \"file://{}/\"]\n  insteadOf = https://github.com/\n", consumer.beside("server").display());
    std::fs::write(&git_config, text).expect("is written");
    for (number, (name, base_policy, head_files, decision, reason)) in cases.iter().enumerate() {
        consumer.git(&["checkout", "--quiet", "-B", "main"]);
        consumer.write("evidence/policy.yaml", base_policy);
        let base = consumer.commit();
        consumer.git(&["checkout", "--quiet", "-b", &format!("pull-{number}")]);
        for (path, text) in head_files {
            consumer.write(path, text);
        }
        let head = consumer.commit();
        consumer.git(&["checkout", "--quiet", "main"]);
        let payload = json!({"number": number + 1, "pull_request": {"number": number + 1, "base": {"sha": base, "ref": "main"}, "head": {"sha": head, "ref": "x"}}});
        let mut environment = variables(GATE, GITHUB);
        environment.insert("GIT_CONFIG_GLOBAL", git_config.display().to_string());
        let ran = consumer.act(Some(stack.command(&act)), "pull_request_target", &payload, &environment);
        let set = outputs(&ran);
        assert_eq!(set.get("decision").map(String::as_str), Some(*decision), "{name}: {}", ran.log);
        assert_eq!(ran.ok, *decision == "accept", "{name}: {}", ran.log);
        assert_eq!(set.get("reason").map(String::as_str), Some(*reason), "{name}: {}", ran.log);
        assert!(set.contains_key("accepted") && set.contains_key("refused"), "{name}: {}", ran.log);
        // What the pull request is told.
        let state = github.state();
        let check =
            state["checks"].as_array().into_iter().flatten().find(|check| check["head_sha"] == head.as_str()).expect("a check run").clone();
        assert_eq!(check["conclusion"] == "success", *decision == "accept", "{name}: {check}");
        let comments = state["comments"].as_array().expect("comments").iter().filter(|comment| comment["pull"] == (number + 1).to_string());
        let bodies: Vec<&str> = comments.filter_map(|comment| comment["body"].as_str()).collect();
        assert!(bodies.len() == 1 && bodies[0].contains(decision), "{name}: {bodies:?}");
        // By hand it is the same.
        let mut by_hand = stack.seatrial(&[
            "gate",
            "--base",
            &base,
            "--head",
            &head,
            "--plain-http",
            "-t",
            "json",
            "--trusted-root",
            &stack.trusted_root(),
        ]);
        let output = by_hand.current_dir(consumer.path()).output().expect("runs");
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(report["decision"], *decision, "{name}");
        assert_eq!(report["reason"].as_str().unwrap_or("ok"), set["reason"], "{name}");
        assert_eq!(output.status.code().map(|code| code.to_string()), set.get("exit-code").cloned(), "{name}");
    }
}

/// A recipe of the same name that asks for something else.
const RECIPE: &str = "apiVersion: seatrial.dev/v1alpha1
kind: Recipe
metadata: {name: sim-h100}
spec:
  criteria: {service: sim, accelerator: h100}
  vendor: nvidia
  constraints:
  - {name: K8s.server.version, value: \">= 1.40\"}
  checks:
    conformance: [gpu-capacity]
";
