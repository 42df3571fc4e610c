//! Processes that are killed at a certain moment, as by a crash of the machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts a process, waits for something that it does, and kills it; fails if it ends before that.
#[track_caller]
pub(crate) fn kill_when(command: &mut Command, what: &str, mut now: impl FnMut(&Child) -> bool) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !now(&child) {
        let ended = child.try_wait().expect("its state");
        if ended.is_some() || Instant::now() > deadline {
            // It may have ended by itself.
            let _ = child.kill();
            let output = child.wait_with_output().expect("it has ended");
            panic!("not seen: {what}; {ended:?} {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// True while a process waits for a lock on a file.
pub(crate) fn waits_for_lock(child: &Child) -> bool {
    let locks = std::fs::read_to_string("/proc/locks").expect("the kernel lists locks");
    let id = child.id().to_string();
    locks.lines().any(|line| line.contains("-> ") && line.split_whitespace().any(|word| word == id))
}
