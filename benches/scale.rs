//! Measures seatrial at scale and checks the bounds of docs/performance.md: `make bench`.
//!
//! Whole runs of the program as users have it. Without arguments all parts run; `small`, `documents`, `evidence`, `verify`, `gate`, `cluster`, `registry` name one.

#[path = "scale/cluster.rs"]
mod cluster;
#[path = "scale/documents.rs"]
mod documents;
#[path = "scale/evidence.rs"]
mod evidence;
#[path = "scale/gate.rs"]
mod gate;
#[path = "../tests/support/measure.rs"]
mod measure;
#[path = "scale/registry.rs"]
mod registry;
#[expect(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/support/registry.rs"]
mod registry_server;
#[expect(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/gate/repository.rs"]
mod repository;
#[expect(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/evidence/sample.rs"]
mod sample;
#[expect(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/support/sigstore.rs"]
mod sigstore_stack;
#[path = "scale/small.rs"]
mod small;
#[path = "scale/verify.rs"]
mod verify;
#[expect(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/gate/evidence.rs"]
mod world;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// What was seen, and whether it is within its bounds.
#[derive(Default)]
pub(crate) struct Bounds {
    missed: usize,
    checked: usize,
}

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
impl Bounds {
    /// Says what is being done; set-up takes its time.
    pub(crate) fn progress(&self, what: &str) {
        println!("… {what}");
    }

    /// Says what was seen.
    pub(crate) fn seen(&self, what: &str) {
        println!("      {what}");
    }

    /// Checks one figure.
    pub(crate) fn check(&mut self, what: &str, seen: f64, bound: f64, unit: &str) {
        self.checked += 1;
        let within = seen <= bound;
        self.missed += usize::from(!within);
        println!("{:7}{what}: {seen:.2} {unit}, bound {bound} {unit}", if within { "ok" } else { "MISSED" });
    }
}

/// The program that was built together with this one.
pub(crate) fn seatrial() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear();
    command
}

/// The time of a run from start to end.
pub(crate) fn time(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("the program starts");
    let time = began.elapsed();
    assert!(matches!(status.code(), Some(0 | 1 | 3)), "{command:?}: {status}");
    time
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    let mut bounds = Bounds::default();
    if wanted("small") {
        small::run(&mut bounds);
    }
    if wanted("documents") {
        documents::run(&mut bounds);
    }
    if wanted("evidence") {
        evidence::run(&mut bounds);
    }
    if wanted("verify") {
        verify::run(&mut bounds);
    }
    if wanted("gate") {
        gate::run(&mut bounds);
    }
    if wanted("cluster") {
        cluster::run(&mut bounds);
    }
    if wanted("registry") {
        registry::run(&mut bounds);
    }
    assert!(bounds.checked > 0, "no part has the name {parts:?}: small, documents, evidence, verify, gate, cluster, registry");
    bounds.seen(&format!("{} of {} bounds held", bounds.checked - bounds.missed, bounds.checked));
    if bounds.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
