//! One run of a small recipe on a control plane, and what came of it.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::cluster::{LeasedCluster, servers};
use crate::support::{Bin, eventually};

/// Holds at once, so that no trial waits for a health test that it is not about.
const QUICK: &str = "
apiVersion: chainsaw.kyverno.io/v1alpha1
kind: Test
metadata: {name: quick}
spec:
  timeouts: {assert: 2s, error: 2s}
  steps:
  - try:
    - assert: {resource: {apiVersion: v1, kind: Namespace, metadata: {name: kube-system}, status: {phase: Active}}}
";

/// A directory with `recipe.yaml`, the shipped recipe with one quick health test and a short intent, and workflows.
pub(crate) struct Site {
    folder: TempDir,
    runs: Cell<usize>,
    env: RefCell<Vec<String>>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a temporary directory"), runs: Cell::new(0), env: RefCell::default() };
        let shipped = include_str!("../../recipes/sim-h100.yaml");
        let kept: Vec<&str> = shipped.lines().filter(|line| !line.trim_start().starts_with("- health/")).collect();
        site.write("recipe.yaml", &format!("{}\n", kept.join("\n")));
        site.edit("  health:\n", "  health: [quick.yaml]\n");
        site.edit("timeoutSeconds: 30", "timeoutSeconds: 4");
        site.write("quick.yaml", QUICK);
        site
    }

    /// The shipped recipe with one check of conformance alone, and a field of its own where that is not empty.
    pub(crate) fn of_check(check: &str, field: &str, value: &str) -> Self {
        let site = Self::new();
        site.edit("    - dra-support\n    - gpu-capacity\n    - platform-health\n", &format!("    - {check}\n"));
        if !value.is_empty() {
            site.edit("  checks:\n", &format!("  {field}: {value}\n  checks:\n"));
        }
        site
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("is written");
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets runs find programs that add-ons need.
    pub(crate) fn find(&self, programs: &[&str]) {
        self.env.borrow_mut().extend(servers(programs));
    }

    /// The program, in the site's folder and with the programs that it can find.
    pub(crate) fn bin(&self, args: &[&str], kubeconfig: &Path) -> Bin {
        let bin = Bin::within(self.folder.path()).args(args).args([Path::new("--kubeconfig"), kubeconfig]);
        self.env.borrow().iter().filter_map(|pair| pair.split_once('=')).fold(bin, |bin, (name, value)| bin.env(name, value))
    }

    /// Changes the recipe.
    #[track_caller]
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.folder.path().join("recipe.yaml")).expect("is there");
        assert!(text.contains(from), "the shipped recipe has no `{from}` any more");
        self.write("recipe.yaml", &text.replace(from, to));
    }

    /// Writes a workflow of some steps.
    pub(crate) fn workflow(&self, intent: &str, steps: &[&str]) -> String {
        let name = format!("{intent}-{}.yaml", steps.len());
        let steps: Vec<String> = steps
            .iter()
            .map(|step| if step.starts_with('{') { format!("  - {step}\n") } else { format!("  - {{id: {step}}}\n") })
            .collect();
        let head = "apiVersion: seatrial.dev/v1alpha1\nkind: Workflow\nmetadata: {name: trial}\nspec:\n";
        self.write(&name, &format!("{head}  intent: {intent}\n  steps:\n{}", steps.concat()));
        format!("./{name}")
    }

    /// A kubeconfig of someone who has the roles that are printed for this recipe and workflow in namespace `default`, and nothing more.
    pub(crate) fn with_printed_roles(&self, cluster: &LeasedCluster, workflow: &str) -> PathBuf {
        let rbac = ["rbac", workflow, "--recipe", "./recipe.yaml", "--namespace", "default", "--service-account", "default:tester"];
        let roles = Bin::within(self.folder.path()).args(rbac).exits(0).stdout;
        cluster.apply(&format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: tester, namespace: default}}\n---\n{roles}"));
        let token = cluster.kubectl(&["create", "token", "tester", "--namespace", "default"]);
        let text = std::fs::read_to_string(cluster.kubeconfig()).expect("is there");
        let mut config: Value = seatrial::yaml::from_str(&text, "kubeconfig").expect("is YAML");
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        let file = self.folder.path().join("tester.kubeconfig");
        std::fs::write(&file, config.to_string()).expect("is written");
        eventually("the roles to be seen", Duration::from_secs(20), || {
            let args = ["auth", "can-i", "create", "pods", "--namespace", "default", "--quiet"];
            let cluster_wide = ["auth", "can-i", "list", "nodes", "--quiet"];
            (cluster.try_kubectl(&file, &args, "").0 && cluster.try_kubectl(&file, &cluster_wide, "").0).then_some(())
        });
        file
    }

    /// Runs a workflow with this recipe, in a namespace that is there, and insists on the exit code.
    #[track_caller]
    pub(crate) fn run(&self, kubeconfig: &Path, workflow: &str, flags: &[&str], code: i32) -> Trial {
        let common = ["--recipe", "./recipe.yaml", "--namespace", "default", "--settle", "3"];
        self.run_as(kubeconfig, &[&["run", workflow], &common[..], flags].concat(), code)
    }

    /// Runs any command with an `--out` of its own.
    #[track_caller]
    pub(crate) fn run_as(&self, kubeconfig: &Path, args: &[&str], code: i32) -> Trial {
        self.runs.set(self.runs.get() + 1);
        let out = self.folder.path().join(format!("out-{}", self.runs.get()));
        let bin = self.bin(args, kubeconfig).args([Path::new("--out"), &out]);
        let stderr = bin.exits(code).stderr;
        let report = std::fs::read(out.join("results.json")).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).expect("is JSON"));
        Trial { out, stderr, report }
    }
}

/// Takes a snapshot and runs the checks of conformance.
#[track_caller]
pub(crate) fn conformance(site: &Site, cluster: &LeasedCluster, flags: &[&str], code: i32) -> Trial {
    let workflow = site.workflow("training", &["snapshot", "conformance"]);
    site.run(&cluster.kubeconfig(), &workflow, flags, code)
}

/// Insists that nothing is left, of these kinds neither.
#[track_caller]
pub(crate) fn nothing_left_of(cluster: &LeasedCluster, kinds: &str) {
    nothing_left(cluster);
    let left = cluster.kubectl(&["get", kinds, "-A", "-l", "app.kubernetes.io/managed-by=seatrial", "-o", "name"]);
    assert_eq!(left, "", "is left in the cluster");
}

/// What a run left.
pub(crate) struct Trial {
    pub(crate) out: PathBuf,
    pub(crate) stderr: String,
    pub(crate) report: Value,
}

impl Trial {
    /// The result of a test, else of a step.
    #[track_caller]
    pub(crate) fn result(&self, id: &str) -> &Value {
        let of = |list: &str| self.report[list].as_array().into_iter().flatten().find(|one| one["id"] == id);
        of("tests").or_else(|| of("steps")).unwrap_or_else(|| panic!("no test or step {id} in:\n{}", self.stderr))
    }

    /// Insists on a verdict, written `fail` or `error(denied)`, and on words of its message.
    #[track_caller]
    pub(crate) fn has(&self, id: &str, verdict: &str, words: &str) -> &Self {
        let result = self.result(id);
        let word = result["verdict"].as_str().expect("has a verdict");
        let found = result["reason"].as_str().map_or_else(|| word.to_owned(), |reason| format!("{word}({reason})"));
        assert_eq!(found, verdict, "{id} in:\n{}", self.stderr);
        assert!(result["message"].as_str().expect("has a message").contains(words), "no `{words}` in {id}:\n{}", self.stderr);
        self
    }

    /// Insists that one thing is not green and all others are.
    #[track_caller]
    pub(crate) fn only(&self, ids: &[&str]) {
        let tests = self.report["tests"].as_array().expect("a list");
        let not_green: Vec<&str> = tests.iter().filter(|test| test["verdict"] != "pass").filter_map(|test| test["id"].as_str()).collect();
        assert_eq!(not_green, ids, "{}", self.stderr);
    }
}

/// Insists that no run has left anything in the cluster.
#[track_caller]
pub(crate) fn nothing_left(cluster: &LeasedCluster) {
    let kinds = "namespaces,leases,pods,jobs,deployments,configmaps,resourceclaims,resourceclaimtemplates,horizontalpodautoscalers";
    let left = cluster.kubectl(&["get", kinds, "-A", "-l", "app.kubernetes.io/managed-by=seatrial", "-o", "name"]);
    assert_eq!(left, "", "is left in the cluster");
}
