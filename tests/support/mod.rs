//! What integration tests share: the program with a scrubbed environment, and real control planes.

pub(crate) mod adapter;
pub(crate) mod autoscaler;
pub(crate) mod cluster;
mod etcd;
pub(crate) mod exporter;
#[expect(dead_code, reason = "other test programs use the rest of it")]
pub(crate) mod fault_proxy;
pub(crate) mod node;
pub(crate) mod pod_server;
pub(crate) mod prometheus;
#[expect(dead_code, reason = "other test programs use the rest of it")]
pub(crate) mod registry;
pub(crate) mod runs;
#[expect(dead_code, reason = "other test programs use the rest of it")]
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

/// Says that a test is left out because of what this machine is; with `SEATRIAL_TEST_REQUIRE=all` that is a failure.
#[track_caller]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(crate) fn left_out(why: &str) {
    assert_ne!(std::env::var("SEATRIAL_TEST_REQUIRE").as_deref(), Ok("all"), "left out, and everything is required: {why}");
    eprintln!("left out: {why}");
}

/// The servers that control planes are made of.
const CONTROL_PLANE: [&str; 7] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "etcd", "kwok", "kwokctl"];

/// `SEATRIAL_BIN_<NAME>` → path, of the servers of a control plane; found once per process.
///
/// Only with `SEATRIAL_TEST_REQUIRE=all` are missing ones built here, which takes minutes.
#[track_caller]
pub(crate) fn binaries() -> &'static BTreeMap<String, String> {
    static FOUND: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find(&CONTROL_PLANE));
    let missing: Vec<&str> = CONTROL_PLANE.into_iter().filter(|name| !found.contains_key(&variable(name))).collect();
    assert!(missing.is_empty(), "no {} here. To fix: run `make test`, which builds them once", missing.join(", "));
    found
}

/// Asks `testenv/get.sh` for some servers: `SEATRIAL_BIN_<NAME>` → path of those that are there.
#[track_caller]
pub(crate) fn find(names: &[&str]) -> BTreeMap<String, String> {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testenv/get.sh"));
    if std::env::var("SEATRIAL_TEST_REQUIRE").as_deref() != Ok("all") {
        command.arg("--no-build");
    }
    let output = command.args(names).stderr(Stdio::inherit()).output().expect("testenv/get.sh starts");
    assert!(output.status.success(), "testenv/get.sh {names:?} failed; its lines above say why");
    let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, path)| (variable(name), path.to_owned())).collect()
}

fn variable(name: &str) -> String {
    format!("SEATRIAL_BIN_{}", name.to_uppercase().replace('-', "_"))
}

/// A run of the program to be: nothing of the caller's environment but PATH, in a temporary directory that is also HOME.
pub(crate) struct Bin {
    command: assert_cmd::Command,
    folder: Option<TempDir>,
    path: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; -1 if a signal ended it.
    pub(crate) code: i32,
    /// What it wrote to stdout.
    pub(crate) stdout: String,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
    /// The temporary directory that it ran in; removed with this.
    _folder: Option<TempDir>,
}

impl Bin {
    /// The program, in a new temporary directory.
    #[must_use]
    pub(crate) fn seatrial() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut made = Self::within(folder.path());
        made.folder = Some(folder);
        made
    }

    /// The program, in a directory that outlives it.
    #[must_use]
    pub(crate) fn within(path: &Path) -> Self {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", path).current_dir(path);
        command.timeout(Duration::from_secs(180));
        Self { command, folder: None, path: path.to_owned() }
    }

    /// Lets it find the servers of a control plane.
    #[must_use]
    pub(crate) fn with_servers(mut self) -> Self {
        self.command.envs(binaries());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub(crate) fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The directory it runs in.
    pub(crate) fn folder(&self) -> &Path {
        &self.path
    }

    /// Runs it and insists on its exit code; shows all that it wrote otherwise.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ran {
        let ran = self.ends();
        assert_eq!(ran.code, code, "exit code\nstdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs it to its end, whatever that is.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Ran {
        let output = self.command.output().expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr), _folder: self.folder }
    }
}

/// Waits until `done` yields something, looking every 50 ms; fails after `limit`, naming what was waited for.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + limit;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: not seen within {} s", limit.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Command lines of the processes that mention a directory, without those that have ended.
pub(crate) fn processes_in(folder: &Path) -> Vec<String> {
    let wanted = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let lines = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&wanted)).collect()
}
