//! Runs of the program in the background: watched through their journal, ended as a machine or a person would end them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::cluster::LeasedCluster;
use super::registry::{Flavour, RegistryServer};
use super::{Bin, eventually};

/// How long anything that a run does may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(100);

/// A directory with a key pair, a registry and a kubeconfig: all that runs of one test need.
pub(crate) struct Workplace {
    folder: TempDir,
    kubeconfig: PathBuf,
    /// The registry.
    pub(crate) registry: RegistryServer,
}

impl Workplace {
    /// A new one; none if this machine has no registry.
    pub(crate) fn new(cluster: &LeasedCluster) -> Option<Self> {
        let registry = RegistryServer::start(Flavour::Native)?;
        let folder = tempfile::tempdir().expect("a temporary directory");
        Bin::within(folder.path()).args(["evidence", "keygen", "--out", "keys"]).exits(0);
        Some(Self { folder, kubeconfig: cluster.kubeconfig(), registry })
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with the kubeconfig.
    pub(crate) fn bin(&self, args: &[&str]) -> Bin {
        Bin::within(self.folder.path()).args(args).args([Path::new("--kubeconfig"), &self.kubeconfig])
    }

    /// Starts the program with the kubeconfig; its stderr goes to a file.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let log = tempfile::Builder::new().prefix("log-").tempfile_in(self.folder.path()).expect("a file").into_temp_path();
        let log = log.keep().expect("stays");
        let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.folder.path());
        command.current_dir(self.folder.path()).args(args).arg("--kubeconfig").arg(&self.kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("is written"));
        Running { child: command.spawn().expect("the program starts"), log }
    }

    /// Arguments of a signed and pushed run of a workflow with its directory.
    pub(crate) fn signed<'a>(&self, workflow: &'a str, out: &'a str, repository: &'a str) -> Vec<&'a str> {
        ["run", workflow, "--recipe", "sim-h100", "--out", out, "--key", "keys/seatrial.key", "--push", repository, "--plain-http"].to_vec()
    }

    /// A workflow file with these steps.
    pub(crate) fn workflow(&self, steps: &[&str]) -> String {
        let steps: String = steps.iter().map(|step| format!("  - id: {step}\n")).collect();
        let text = format!(
            "apiVersion: seatrial.dev/v1alpha1\nkind: Workflow\nmetadata: {{name: short}}\nspec:\n  intent: training\n  steps:\n{steps}"
        );
        let path = self.path("short.yaml");
        std::fs::write(&path, text).expect("is written");
        path.to_string_lossy().into_owned()
    }

    /// The entries of a run's journal.
    pub(crate) fn journal(&self, out: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(out).join("journal.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// True if the journal has an event of a step.
    pub(crate) fn has(&self, out: &str, event: &str, step: &str) -> bool {
        self.journal(out).iter().any(|entry| entry["event"] == event && entry["step"] == step)
    }

    /// A run's results.
    #[track_caller]
    pub(crate) fn results(&self, out: &str) -> Value {
        let text = std::fs::read_to_string(self.path(out).join("results.json")).expect("results.json is written");
        serde_json::from_str(&text).expect("is JSON")
    }

    /// Fails if a step was begun again after it had finished.
    #[track_caller]
    pub(crate) fn assert_nothing_repeated(&self, out: &str) {
        let mut finished: Vec<String> = Vec::new();
        for entry in self.journal(out) {
            let step = entry["step"].as_str().unwrap_or_default().to_owned();
            if entry["event"] == "step-started" {
                assert!(!finished.contains(&step), "{step} was repeated: {:#?}", self.journal(out));
            } else if entry["event"] == "step-finished" {
                finished.push(step);
            }
        }
    }

    /// Fails unless every test passed.
    #[track_caller]
    pub(crate) fn assert_all_passed(&self, out: &str) {
        let results = self.results(out);
        let counts = &results["counts"];
        assert!(counts["selected"].as_u64() > Some(0) && counts["selected"] == counts["pass"], "{results:#}");
    }

    /// Verifies the one pointer that there is, and fails unless it has exactly one signature.
    pub(crate) async fn assert_published_once(&self) {
        let mut pointers = Vec::new();
        for folder in std::fs::read_dir(self.path("evidence")).expect("a pointer was written").flatten() {
            pointers.extend(std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.path()));
        }
        let [pointer] = pointers.as_slice() else { panic!("{pointers:?}") };
        let shown = pointer.to_string_lossy();
        self.bin(&["evidence", "verify", &shown, "--key", "keys/seatrial.pub", "--plain-http"]).exits(0);
        let text = std::fs::read_to_string(pointer).expect("is there");
        let pointer: Value = seatrial::yaml::from_str(&text, "pointer").expect("is YAML");
        let name = pointer["bundle"]["repository"].as_str().expect("a repository").split_once('/').expect("host and name").1;
        let digest = pointer["bundle"]["digest"].as_str().expect("a digest");
        let url = format!("http://{}/v2/{name}/referrers/{digest}", self.registry.address);
        let answer: Value = reqwest::get(url).await.expect("the registry answers").json().await.expect("JSON");
        assert_eq!(answer["manifests"].as_array().map(Vec::len), Some(1), "{answer:#}");
    }
}

/// A run in the background; killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Waits for something that the run does; fails at once if the run has ended without it.
    #[track_caller]
    pub(crate) fn until<T>(&mut self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        eventually(what, PATIENCE, || {
            let ended = self.child.try_wait().expect("its state");
            let found = done();
            assert!(found.is_some() || ended.is_none(), "the run has ended before {what}: {}", self.stderr());
            found
        })
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")).expect("a process id");
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits for its end, insists on its exit code, and returns what it wrote to stderr.
    #[track_caller]
    pub(crate) fn exits(mut self, code: i32) -> String {
        let status = eventually("the end of the run", PATIENCE, || self.child.try_wait().expect("its state"));
        let stderr = self.stderr();
        assert_eq!(status.code(), Some(code), "{stderr}");
        stderr
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl LeasedCluster {
    /// What is there of any run, also in the namespace that an administrator made.
    #[track_caller]
    pub(crate) fn left(&self) -> String {
        let kinds = "namespaces,leases,jobs,deployments,pods,resourceclaims,resourceclaimtemplates";
        let labelled = self.kubectl(&["get", kinds, "-A", "-l", "app.kubernetes.io/managed-by=seatrial", "-o", "name"]);
        let intent = self.kubectl(&["get", "pods", "-A", "-l", "seatrial.dev/intent", "-o", "name"]);
        labelled + &intent
    }
}
