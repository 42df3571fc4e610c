//! Where documents go and come from: what cannot be written is told before the work, what was not written is no success.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{fixture, seatrial, text};

/// A directory with a snapshot and a recipe that it meets, or does not.
fn place(value: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    fs::copy(fixture("snapshots/aicr-v1alpha1.yaml"), folder.path().join("s.yaml")).expect("is copied");
    let recipe = format!(
        "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {{name: mine}}\nspec:\n  vendor: nvidia\n  constraints: [{{name: K8s.server.version, value: \"{value}\"}}]\n"
    );
    fs::write(folder.path().join("r.yaml"), recipe).expect("is written");
    folder
}

const JUDGE: [&str; 6] = ["validate", "--no-cluster", "-r", "r.yaml", "-s", "s.yaml"];

fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
}

#[test]
fn what_cannot_be_written_is_told_before_anything_is_judged() {
    let folder = place(">= 1.0");
    fs::create_dir(folder.path().join("folder")).expect("is made");
    for (more, says) in [
        (&["-o", "folder"][..], "folder is a directory"),
        (&["-o", "s.yaml/x.json"], "write s.yaml/x.json"),
        (&["-o", "https://example.com/x.json"], "cannot be written to"),
        (&["-o", "x.json", "--report", "junit=./x.json"], "go to the same file, ./x.json"),
        (
            &["-o", "x.json", "--report", "junit=y", "--report", "markdown=y"],
            "--report junit=y and --report markdown=y go to the same file",
        ),
        (&["-o", "x.json", "--report", "junit=-"], "a report goes to a file"),
        (&["-o", "x.json", "--report", "junit=s.yaml/y"], "write s.yaml/y"),
        (&["-o", "x.json", "--report", "junit=folder"], "folder is a directory"),
    ] {
        let ran = seatrial(folder.path(), &[&JUDGE[..], more].concat());
        let stderr = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{more:?}: {stderr}");
        assert!(stderr.contains(says), "{more:?}: {stderr}");
        assert!(!stderr.contains("validate mine"), "it was told too late: {stderr}");
    }
    for take in [&["snapshot", "--host", "-o", "folder"][..], &["snapshot", "--host", "-o", "https://example.com/x"]] {
        let ran = seatrial(folder.path(), take);
        assert_eq!(ran.status.code(), Some(2));
        assert!(!text(&ran.stderr).contains("files and tools"), "it was told too late: {}", text(&ran.stderr));
    }
}

#[test]
fn a_report_that_is_lost_hides_no_verdict_and_is_no_success() {
    for (value, code, word) in [(">= 1.0", 2, "ok:"), (">= 9.0", 1, "failed:")] {
        let folder = place(value);
        // It is there, and nobody reads it: that shows only when it is written.
        pipe(&folder.path().join("pipe"));
        let ran = seatrial(folder.path(), &[&JUDGE[..], &["-o", "pipe"]].concat());
        let stderr = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(word) && stderr.contains("report not written") && stderr.contains("error: write pipe"), "{stderr}");
    }
}

#[test]
fn what_did_not_fit_on_standard_output_is_no_success() {
    let folder = place(">= 1.0");
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").expect("opens"));
    let commands = [
        &JUDGE[..],
        &["recipe", "-r", "h100"],
        &["snapshot", "show", "s.yaml"],
        &["list", "checks"],
        &["--help"],
        &["completions", "bash"],
    ];
    for arguments in commands {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path()).args(arguments).stdout(full());
        let ran = command.output().expect("runs");
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", text(&ran.stderr));
        assert!(arguments == ["--help"] || text(&ran.stderr).contains("write to standard output: No space left"), "{}", text(&ran.stderr));
    }
    // A reader that has seen enough is no trouble.
    let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command.env_clear().env("HOME", folder.path()).current_dir(folder.path()).args(["recipe", "-r", "h100"]).stdout(writer);
    let ran = command.output().expect("runs");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
}

#[test]
fn documents_come_through_pipes_but_only_one_through_standard_input() {
    let folder = place(">= 1.0");
    let bash = |line: &str| {
        let mut command = assert_cmd::Command::new("bash");
        command.env("HOME", folder.path()).current_dir(folder.path()).args(["-c", line]).env("S", env!("CARGO_BIN_EXE_seatrial"));
        command.timeout(std::time::Duration::from_secs(60)).output().expect("bash runs")
    };
    let ran = bash("$S validate --no-cluster -r <(cat r.yaml) -s <(sleep 0.2; cat s.yaml) -o /dev/stdout | cat");
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&ran.stderr)));
    // Constraints are all that this recipe declares, and yet nobody looked at a cluster.
    let extra = &report["results"]["extra"];
    assert_eq!((&extra["verdict"], &extra["scope"]), (&"ok".into(), &"constraints-only".into()));
    let ran = bash("$S validate --no-cluster -r - -s - < r.yaml");
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("--recipe and --snapshot are both to be read from standard input"), "{}", text(&ran.stderr));
    pipe(&folder.path().join("idle"));
    let ran = bash("$S validate --no-cluster -r ./idle -s s.yaml");
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("./idle is a pipe that brings nothing"), "{}", text(&ran.stderr));
}

#[test]
fn a_ctrf_report_is_one_document_where_its_name_is_that_of_one() {
    let folder = place(">= 1.0");
    let ran = seatrial(folder.path(), &[&JUDGE[..], &["-o", "x.json", "--report", "ctrf=c.json", "--report", "ctrf=parts"]].concat());
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let read = |name: &str| fs::read(folder.path().join(name)).expect(name);
    assert_eq!(read("c.json"), read("x.json"));
    assert!(folder.path().join("parts/snapshot.json").is_file());
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let folder = place(">= 1.0");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear().env("HOME", folder.path()).current_dir(folder.path());
    for name in
        ["UI", "CONFIG", "DATA", "CONTEXT", "KUBECONFIG", "NAMESPACE", "PUSH", "KEY", "OUT", "MAX_GPUS", "TIMEOUT", "NODE_SELECTOR", "YES"]
    {
        command.env(format!("SEATRIAL_{name}"), "");
    }
    let ran = command.args(JUDGE).output().expect("runs");
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    // A flag that is given nothing is a mistake.
    for flag in ["--context=", "--namespace=", "--kubeconfig=", "--snapshot="] {
        assert_eq!(seatrial(folder.path(), &[&JUDGE[..4], &[flag]].concat()).status.code(), Some(2), "{flag}");
    }
}

#[test]
fn what_is_given_cannot_command_the_ci_system() {
    let folder = place(">= 1.0");
    let evil = "x\n ::set-output name=a::b\n##[group]y";
    for arguments in [["recipe", "-r", evil], ["recipe", "--service", evil], ["validate", "--phase", evil], ["recipe", "-s", evil]] {
        for actions in ["true", ""] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
            command.env_clear().env("HOME", folder.path()).env("GITHUB_ACTIONS", actions).current_dir(folder.path()).args(arguments);
            let ran = command.output().expect("runs");
            assert_eq!(ran.status.code(), Some(2));
            let stderr = text(&ran.stderr);
            let commands: Vec<&str> =
                stderr.lines().map(str::trim_start).filter(|line| line.starts_with("::") && !line.starts_with("::error::")).collect();
            assert!(stderr.contains("set-output") && commands.is_empty() && !stderr.contains("##["), "{arguments:?}: {stderr}");
        }
    }
}
