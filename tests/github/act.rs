//! The Action and the reusable workflows, run by act on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::registry_server::program;
use crate::root;

/// A repository that uses our Action, as act runs it.
pub(crate) struct Consumer {
    folder: tempfile::TempDir,
    act: PathBuf,
}

/// What a run under act came to.
pub(crate) struct Acted {
    pub(crate) ok: bool,
    pub(crate) log: String,
}

impl Consumer {
    /// A repository of `owner/name` with these files, committed; none where act is not on this machine.
    pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Option<Self> {
        let act = program("act")?;
        let folder = tempfile::tempdir().expect("a directory");
        let consumer = Self { folder, act };
        for (path, text) in files {
            consumer.write(path, text);
        }
        consumer.git(&["init", "--quiet", "--initial-branch", "main"]);
        consumer.git(&["remote", "add", "origin", &format!("https://github.com/{name}.git")]);
        consumer.commit();
        Some(consumer)
    }

    /// The working copy.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// A folder beside it, for what is no part of the repository.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).expect("is made");
        path
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("is made");
        std::fs::write(path, text).expect("is written");
    }

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        std::fs::create_dir_all(self.path()).expect("is made");
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(self.path());
        let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits everything, and names the commit.
    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "c"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs the workflows of an event: on this machine, with nothing but what is here. `through` is a command that starts act elsewhere.
    pub(crate) fn act(&self, through: Option<Command>, event: &str, payload: &Value, variables: &BTreeMap<&str, String>) -> Acted {
        let home = self.beside("home");
        let file = self.folder.path().join("event.json");
        std::fs::write(&file, payload.to_string()).expect("is written");
        let mut command = through.unwrap_or_else(|| Command::new(&self.act));
        command
            .arg(event)
            .args(["--platform", "ubuntu-24.04=-self-hosted", "--action-offline-mode", "--pull=false", "--eventpath"])
            .arg(&file);
        command.args(["--cache-server-addr", "127.0.0.1", "--artifact-server-addr", "127.0.0.1"]);
        for (used, path) in local_repositories(&self.beside("actions")) {
            command.arg("--local-repository").arg(format!("{used}={path}"));
        }
        for (name, value) in variables {
            // What `github.token` is.
            let kind = if *name == "GITHUB_TOKEN" { "--secret" } else { "--env" };
            command.arg(kind).arg(format!("{name}={value}"));
        }
        command.arg("--env").arg(format!("TEST_ARTIFACTS={}", self.beside("artifacts").display()));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home).current_dir(self.path());
        let output = command.output().expect("act runs");
        let log = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Acted { ok: output.status.success(), log }
    }
}

impl Acted {
    /// The outputs that steps set, by act's log; the last of a name counts. Those that a step has and did not set are empty there.
    pub(crate) fn outputs(&self) -> BTreeMap<String, String> {
        let lines = self.log.lines().filter_map(|line| line.split_once("::set-output:: ")).map(|(_, set)| set);
        let set = lines.filter_map(|set| set.split_once('=')).filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect()
    }
}

/// The workflow of a consumer that calls one of ours, as pinned.
pub(crate) fn caller(event: &str, workflow: &str, with: &str) -> String {
    let text = std::fs::read_to_string(root().join(format!("examples/consumer/{workflow}.yaml")));
    let text = text.expect("reads");
    let used = text.lines().find_map(|line| line.split_once("uses: ")).expect("is used").1;
    format!(
        "name: {workflow}\non: {event}\njobs:\n  {workflow}:\n    uses: {used}\n    with:\n      path: {}\n      plain-http: true\n{with}",
        env!("CARGO_BIN_EXE_seatrial")
    )
}

/// What stands in for actions that would have to be downloaded: `owner/name@commit`, and a folder.
///
/// act copies the folder, so ours has what the Action and the workflows are made of and no more.
fn local_repositories(folder: &Path) -> Vec<(String, String)> {
    let ours = folder.join("seatrial");
    let workflows = [".github/workflows/validate.yaml", ".github/workflows/evidence-gate.yaml", ".github/workflows/evidence-sign.yaml"];
    for path in ["action.yml", "action/install.sh", "Cargo.toml"].iter().chain(&workflows) {
        let into = ours.join(path);
        std::fs::create_dir_all(into.parent().expect("has one")).expect("is made");
        std::fs::copy(root().join(path), into).expect("is copied");
    }
    let ours = ours.display().to_string();
    let stand_in = |name: &str| root().join("tests/github/actions").join(name).display().to_string();
    let mut all = Vec::new();
    for folder in [".github/workflows", "examples/consumer"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("is there") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("reads");
            for line in text.lines().filter_map(|line| line.split_once("uses:")).map(|(_, used)| used.trim()) {
                let Some((what, commit)) = line.split(" #").next().unwrap_or_default().trim().split_once('@') else { continue };
                let path = match what {
                    "actions/upload-artifact" => stand_in("upload"),
                    "actions/download-artifact" => stand_in("download"),
                    _ if what.starts_with("seatrial/seatrial") => ours.clone(),
                    _ => continue,
                };
                let name = what.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
                all.push((format!("{name}@{commit}"), path));
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

/// The commit at which the Action is pinned.
pub(crate) fn pinned() -> String {
    let text = std::fs::read_to_string(root().join(".github/workflows/evidence-gate.yaml")).expect("reads");
    let used = text.lines().find_map(|line| line.split_once("uses: seatrial/seatrial@")).expect("is used").1;
    format!("seatrial/seatrial@{}", used.split(' ').next().expect("a commit"))
}

#[test]
fn the_action_runs_under_act_and_sets_its_outputs() {
    let workflow = format!(
        "
name: validate
on: push
permissions: {{}}
jobs:
  validate:
    runs-on: ubuntu-24.04
    steps:
    - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd
    - id: seatrial
      uses: {}
      with:
        command: validate
        path: {}
        working-directory: cluster
        no-cluster: true
        snapshot: snapshot.json
        recipe: recipe.yaml
        report: markdown=report.md
    - run: printf '%s' \"$OUTPUTS\" > \"$TEST_ARTIFACTS/outputs.json\"
      env:
        OUTPUTS: ${{{{ toJSON(steps.seatrial.outputs) }}}}
",
        pinned(),
        env!("CARGO_BIN_EXE_seatrial")
    );
    let snapshot = std::fs::read_to_string(root().join("tests/fixtures/github/snapshot.json")).expect("reads");
    let recipe = std::fs::read_to_string(root().join("tests/fixtures/github/recipe.yaml")).expect("reads");
    let files = [
        (".github/workflows/validate.yaml", workflow.as_str()),
        ("cluster/snapshot.json", snapshot.as_str()),
        ("cluster/recipe.yaml", recipe.as_str()),
    ];
    let Some(consumer) = Consumer::new("example-org/evidence", &files) else { return };
    let acted = consumer.act(None, "push", &serde_json::json!({"ref": "refs/heads/main"}), &BTreeMap::new());
    assert!(acted.ok, "{}", acted.log);
    let text = std::fs::read_to_string(consumer.beside("artifacts").join("outputs.json")).expect("outputs");
    let outputs: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&outputs["verdict"], &outputs["exit-code"]), (&"ok".into(), &"0".into()), "{outputs}");
    assert!(outputs["scope"].as_str().is_some_and(|scope| scope.contains("constraints-only")), "{outputs}");
    let binary = outputs["binary"].as_str().expect("a path");
    assert_eq!(std::fs::canonicalize(binary).expect("is there"), std::fs::canonicalize(env!("CARGO_BIN_EXE_seatrial")).expect("is there"));
}
