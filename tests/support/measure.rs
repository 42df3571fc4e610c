//! Peak memory of a run of the program.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How a run ended, how long it took, and the most memory that it had.
#[derive(Debug)]
pub(crate) struct Measured {
    /// What it wrote, and its exit status.
    pub(crate) output: Output,
    /// Bytes; what it took in its last millisecond may be missing.
    pub(crate) peak: u64,
    /// From start to end.
    pub(crate) time: Duration,
}

/// A line of `/proc/<id>/status`, in bytes.
pub(crate) fn status_bytes(child: &Child, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Runs it to its end, looking at its memory all the time; what it writes must fit a pipe.
pub(crate) fn measured(command: &mut Command, limit: Duration) -> Measured {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut peak = 0;
    while child.try_wait().expect("can be waited for").is_none() {
        peak = peak.max(status_bytes(&child, "VmHWM").unwrap_or(0));
        if began.elapsed() > limit {
            child.kill().expect("can be killed");
            panic!("{command:?} did not end within {limit:?}; {} MiB by then", peak >> 20);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let time = began.elapsed();
    Measured { output: child.wait_with_output().expect("has ended"), peak, time }
}
