//! Snapshots: facts of stand-in machines, documents of all generations, comparison, redaction, speed.

#[path = "snapshot/documents.rs"]
mod documents;
#[path = "snapshot/machine.rs"]
mod machine;
#[path = "snapshot/redaction.rs"]
mod redaction;
#[path = "snapshot/speed.rs"]
mod speed;
#[path = "snapshot/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};
use std::process::Output;

/// A file that ships with the tests.
fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(path)
}

/// Runs the program with a scrubbed environment.
fn seatrial(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder).current_dir(folder);
    command.timeout(std::time::Duration::from_secs(120)).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
