//! From a cluster to a merge: the reusable workflows under act, in one network namespace with a simulated cluster, a registry, a private Sigstore
//! whose issuer plays GitHub's, and a stand-in for GitHub's API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::act::{Acted, Consumer, caller};
use crate::fake::{GATE, GitHub};
use crate::registry_server::program;
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

/// The parts that a workflow runs against.
struct Scene<'a> {
    stack: &'a Stack,
    act: &'a Path,
    github: &'a GitHub,
    consumer: &'a Consumer,
    /// The line of a workflow that names the trusted root.
    trust: String,
}

/// What a run of the validating workflow left.
struct Made {
    /// Of the pointer, below `evidence`.
    path: String,
    pointer: String,
    bundle: PathBuf,
}

/// A pull request, and what must come of it.
struct Case {
    name: &'static str,
    base_policy: String,
    head_files: Vec<(String, String)>,
    decision: &'static str,
    reason: &'static str,
}

#[test]
#[ignore = "matrix"]
fn evidence_that_a_workflow_made_is_accepted_and_what_is_wrong_is_refused() {
    let Some(stack) = Stack::shared() else { return };
    let (Some(act), Some(github), Some(cluster)) = (program("act"), GitHub::within(stack), Cluster::start(stack)) else { return };
    let trust = format!("      trusted-root: {}\n", stack.trusted_root());
    let with = format!(
        "{trust}      signing-config: {}\n      workflow: conformance\n      recipe: sim-h100\n      settle: \"5\"\n      push: {REGISTRY}/team/evidence\n      login: false\n      offer: commit\n      branch: new-evidence\n      runs-on: '\"ubuntu-24.04\"'\n",
        stack.signing_config()
    );
    let validate = caller("workflow_dispatch", "validate", &with);
    let gate = caller("pull_request_target", "gate", &trust);
    let lenient = policy(SIMULATED, "1h");
    let files = [
        (".github/workflows/validate.yaml", validate.as_str()),
        (".github/workflows/gate.yaml", gate.as_str()),
        ("evidence/policy.yaml", lenient.as_str()),
    ];
    let Some(consumer) = Consumer::new(REPOSITORY, &files) else { return };
    let scene = Scene { stack, act: &act, github: &github, consumer: &consumer, trust };
    let made = scene.validated(&cluster);
    let theirs = scene.published_by_somebody_else(&made);
    scene.signed_when_pushed(&made);
    let git_config = scene.serves_git();
    for (number, case) in (1..).zip(cases(&made, &theirs)) {
        scene.judged(number, &case, &git_config);
    }
}

/// Pull requests, each of which adds something to a base with a policy.
fn cases(made: &Made, theirs: &str) -> Vec<Case> {
    let at = format!("evidence/{}", made.path);
    let edited = made.pointer.replacen("hardware: simulated", "hardware: real", 1);
    assert_ne!(edited, made.pointer);
    let (lenient, strict) = (policy(SIMULATED, "1h"), policy("", "1h"));
    let of = |name, base_policy: &str, head_files: &[(&str, &str)], decision, reason| Case {
        name,
        base_policy: base_policy.to_owned(),
        head_files: head_files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
        decision,
        reason,
    };
    let (pointer, recipe) = ((at.as_str(), made.pointer.as_str()), ("recipes/sim-h100.yaml", RECIPE));
    let own_rules = [pointer, ("evidence/policy.yaml", lenient.as_str()), (".github/workflows/gate.yaml", "seatrial-gate-of-the-head")];
    vec![
        of("accepted", &lenient, &[pointer], "accept", "ok"),
        of("edited", &lenient, &[(&at, &edited)], "refuse", "replay-disagrees"),
        of("of another repository", &lenient, &[(&at, theirs)], "refuse", "other-source"),
        of("simulated", &strict, &[pointer], "refuse", "hardware-simulated"),
        of("old", &policy(SIMULATED, "1s"), &[pointer], "refuse", "too-old"),
        of("the policy is edited too", &strict, &own_rules, "refuse", "hardware-simulated"),
        of("no evidence", &lenient, &[recipe], "needs-evidence", "evidence-missing"),
        of("the recipe changed after the run", &lenient, &[pointer, recipe], "refuse", "recipe-drifted"),
    ]
}

impl Scene<'_> {
    /// Validates: the run, the evidence, the pointer, and the commit that offers it.
    fn validated(&self, cluster: &Cluster) -> Made {
        let start = "5555555555555555555555555555555555555555";
        self.github.seed(&json!({"refs": {"heads/main": start, "heads/new-evidence": start}, "commits": {start: {"tree": start, "message": "m", "parents": []}}}));
        let mut environment = variables("contents=write", &identity(REPOSITORY, "202", "validate.yaml"));
        environment.insert("KUBECONFIG", cluster.kubeconfig().display().to_string());
        let ran = self.runs("workflow_dispatch", &json!({"ref": "refs/heads/main"}), &environment);
        assert!(ran.ok, "{}", ran.log);
        let set = ran.outputs();
        for name in ["bundle", "pointer", "digest", "scope", "verdict"] {
            assert!(set.get(name).is_some_and(|value| !value.is_empty()), "{name}: {}", ran.log);
        }
        let artifacts = self.consumer.beside("artifacts");
        let evidence = artifacts.join("seatrial-pointer");
        let path = pointer_below(&evidence);
        let pointer = std::fs::read_to_string(evidence.join(&path)).expect("reads");
        assert!(
            pointer.contains(&format!("https://github.com/{REPOSITORY}")) && path.contains(&set["digest"].replace(':', "-")),
            "{pointer}"
        );
        assert!(artifacts.join("seatrial-run/results.json").exists(), "the run is kept");
        let state = self.github.state();
        let offered = &entry(&state, "heads/new-evidence");
        assert_eq!((&offered["path"], &offered["content"]), (&json!(format!("evidence/{path}")), &json!(pointer)), "{state}");
        Made { path, pointer, bundle: artifacts.join("seatrial-run/bundle") }
    }

    /// The same evidence, by a workflow run of somebody else who calls the same reusable workflow: the pointer.
    fn published_by_somebody_else(&self, made: &Made) -> String {
        let (stack, foreign) = (self.stack, self.consumer.beside("foreign"));
        std::fs::remove_file(made.bundle.join("signature.sigstore.json")).expect("is removed");
        let repository = format!("{REGISTRY}/evil/evidence");
        let mut publish =
            stack.seatrial(&["evidence", "publish", &made.bundle.display().to_string(), "--push", &repository, "--plain-http"]);
        publish.args(["--signing-config", &stack.signing_config(), "--trusted-root", &stack.trusted_root(), "--pointer-dir"]).arg(&foreign);
        publish.env("GITHUB_ACTIONS", "true").env("ACTIONS_ID_TOKEN_REQUEST_URL", identity("evil/fork", "666", "validate.yaml"));
        publish.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token");
        exits(publish, 0);
        std::fs::read_to_string(foreign.join(pointer_below(&foreign))).expect("reads")
    }

    /// What is pending is signed by the workflow of whoever pushed it, and committed.
    fn signed_when_pushed(&self, made: &Made) {
        let (stack, consumer) = (self.stack, self.consumer);
        let waiting = format!("{REGISTRY}/team/pending");
        let mut push = stack.seatrial(&["evidence", "push", &made.bundle.display().to_string(), "--push", &waiting, "--plain-http"]);
        std::fs::remove_file(made.bundle.join("signature.sigstore.json")).expect("is removed");
        push.current_dir(consumer.path());
        exits(push, 0);
        let with = format!("{}      signing-config: {}\n      login: false\n", self.trust, stack.signing_config());
        consumer.write(".github/workflows/sign.yaml", &caller("push", "sign", &with));
        consumer.commit();
        let environment = variables("contents=write", &identity(REPOSITORY, "202", "evidence-sign.yaml"));
        let ran = self.runs("push", &json!({"ref": "refs/heads/main"}), &environment);
        assert!(ran.ok, "{}", ran.log);
        assert_eq!(ran.outputs().get("pointer"), Some(&format!("evidence/{}", made.path)), "{}", ran.log);
        let state = self.github.state();
        let signed = entry(&state, "heads/main")["content"].as_str().unwrap_or_default().to_owned();
        assert!(signed.contains("team/pending") && signed.contains("evidence-sign.yaml@"), "{state}");
        consumer.git(&["rm", "--quiet", "-r", "evidence/sim-h100", ".github/workflows/sign.yaml"]);
        consumer.commit();
    }

    /// Has git get from here what would come from GitHub: the settings that do.
    fn serves_git(&self) -> PathBuf {
        let (server, owner) = (self.consumer.beside("server"), self.consumer.beside("server/example-org"));
        std::os::unix::fs::symlink(self.consumer.path(), owner.join("evidence.git")).expect("is linked");
        self.consumer.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let git_config = server.join("gitconfig");
        let text = format!("[url \"file://{}/\"]\n  insteadOf = https://github.com/\n", server.display());
        std::fs::write(&git_config, text).expect("is written");
        git_config
    }

    /// One pull request, judged by the workflow and by hand.
    fn judged(&self, number: usize, case: &Case, git_config: &Path) {
        let (consumer, name) = (self.consumer, case.name);
        consumer.git(&["checkout", "--quiet", "-B", "main"]);
        consumer.write("evidence/policy.yaml", &case.base_policy);
        let base = consumer.commit();
        consumer.git(&["checkout", "--quiet", "-b", &format!("pull-{number}")]);
        for (path, text) in &case.head_files {
            consumer.write(path, text);
        }
        let head = consumer.commit();
        consumer.git(&["checkout", "--quiet", "main"]);
        let payload = json!({"number": number, "pull_request": {"number": number, "base": {"sha": base, "ref": "main"}, "head": {"sha": head, "ref": "x"}}});
        let mut environment = variables(GATE, GITHUB);
        environment.insert("GIT_CONFIG_GLOBAL", git_config.display().to_string());
        let ran = self.runs("pull_request_target", &payload, &environment);
        let set = ran.outputs();
        assert_eq!(set.get("decision").map(String::as_str), Some(case.decision), "{name}: {}", ran.log);
        assert_eq!(ran.ok, case.decision == "accept", "{name}: {}", ran.log);
        assert_eq!(set.get("reason").map(String::as_str), Some(case.reason), "{name}: {}", ran.log);
        assert!(set.contains_key("accepted") && set.contains_key("refused"), "{name}: {}", ran.log);
        self.told(number, &head, case);
        // By hand it is the same.
        let root = self.stack.trusted_root();
        let mut by_hand =
            self.stack.seatrial(&["gate", "--base", &base, "--head", &head, "--plain-http", "-t", "json", "--trusted-root", &root]);
        let output = by_hand.current_dir(consumer.path()).output().expect("runs");
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(report["decision"], case.decision, "{name}");
        assert_eq!(report["reason"].as_str().unwrap_or("ok"), set["reason"], "{name}");
        assert_eq!(output.status.code().map(|code| code.to_string()), set.get("exit-code").cloned(), "{name}");
        self.verified(&report, case);
    }

    /// `evidence verify --policy` by command says the same of every pointer that the gate verified.
    fn verified(&self, report: &Value, case: &Case) {
        let (folder, root) = (self.consumer.beside(&format!("by-hand-{}", case.name.replace(' ', "-"))), self.stack.trusted_root());
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().expect("has one")).expect("is made");
            std::fs::write(&file, text).expect("is written");
            file.display().to_string()
        };
        let policy = write("policy.yaml", &case.base_policy);
        let of_head = |path: &str| case.head_files.iter().find(|(name, _)| name == path).map(|(_, text)| text.as_str());
        let recipe = of_head("recipes/sim-h100.yaml").map_or_else(|| "sim-h100".to_owned(), |text| write("recipe.yaml", text));
        for row in report["pointers"].as_array().expect("pointers") {
            let path = row["path"].as_str().expect("a path");
            let pointer = write(path, of_head(path).expect("is in the head"));
            let mut verify =
                self.stack.seatrial(&["evidence", "verify", &pointer, "--policy", &policy, "--recipe", &recipe, "--plain-http"]);
            verify.args(["--trusted-root", &root, "-t", "json"]);
            let output = verify.output().expect("runs");
            let verified: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("{}: {}", case.name, String::from_utf8_lossy(&output.stderr)));
            assert_eq!(verified["exit"], row["exit"], "{}: {path}: {verified:#}", case.name);
            assert_eq!(verified["reason"], row["reasons"][0]["reason"], "{}: {path}", case.name);
        }
    }

    /// What the pull request is told: a check run and one comment.
    fn told(&self, number: usize, head: &str, case: &Case) {
        let (state, number) = (self.github.state(), number.to_string());
        let check = state["checks"].as_array().into_iter().flatten().find(|check| check["head_sha"] == head).expect("a check run");
        assert_eq!(check["conclusion"] == "success", case.decision == "accept", "{}: {check}", case.name);
        let comments = state["comments"].as_array().expect("comments").iter();
        let own = comments.filter(|comment| comment["pull"].as_str() == Some(number.as_str()));
        let bodies: Vec<&str> = own.filter_map(|comment| comment["body"].as_str()).collect();
        assert!(bodies.len() == 1 && bodies[0].contains(case.decision), "{}: {bodies:?}", case.name);
    }

    fn runs(&self, event: &str, payload: &Value, environment: &BTreeMap<&'static str, String>) -> Acted {
        self.consumer.act(Some(self.stack.command(self.act)), event, payload, environment)
    }
}

/// The first file that the commit at a ref brings.
fn entry(state: &Value, reference: &str) -> Value {
    let commit = &state["commits"][state["refs"][reference].as_str().expect("a commit")];
    state["trees"][commit["tree"].as_str().unwrap_or_default()]["tree"][0].clone()
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
