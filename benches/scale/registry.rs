//! A bundle of 50 MB to a registry and back, beside oras with the same files.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use seatrial::evidence::{MANIFEST, SIGNATURE};

use crate::measure::measured;
use crate::registry_server::{Flavour, RegistryServer, program};
use crate::sample::{Sample, Signed};
use crate::{Bounds, MIB, median, seatrial};

/// Bytes of the one large artifact.
const LARGE: usize = 50_000_000;
/// Runs of each, taken in turns; the middle one counts.
const RUNS: usize = 9;
/// The most memory that either way may take.
const MEMORY_MIB: f64 = 60.0;
/// How long one run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(bounds: &mut Bounds) {
    let (Some(oras), Some(server)) = (program("oras"), RegistryServer::start(Flavour::Native)) else {
        bounds.seen("left out: there is no registry, or no oras, on this machine");
        return;
    };
    bounds.progress("50 MB to a registry and back");
    let mut files = Sample::good().bundle().files().clone();
    files.remove(MANIFEST);
    // Text that does not repeat itself soon.
    let large: Vec<u8> = (0..LARGE as u64).map(|number| b'0' + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as u8 % 10).collect();
    files.insert("artifacts/large.jsonl".to_owned(), large);
    let signed = Signed::forged(files);
    let (mut ours, mut theirs, mut most) = (Vec::new(), Vec::new(), 0);
    // The first is for its memory: to look at that takes time of its own, which oras is not charged with.
    for number in 0..=RUNS {
        let repository = format!("{}/ours{number}/evidence", server.address);
        let mut push = seatrial();
        push.args(["evidence", "push", "bundle", "--plain-http", "--pointer-dir", &format!("pointers{number}"), "--push", &repository]);
        let ran = |command: &mut Command| if number == 0 { watched(command) } else { (timed(command), 0) };
        let (pushed, peak) = ran(push.current_dir(signed.root()).env("HOME", signed.root()));
        let pointer = first_below(&signed.root().join(format!("pointers{number}")));
        let mut pull = seatrial();
        pull.args(["evidence", "unpack", &pointer, "--plain-http", "-o", &format!("ours{number}")]);
        let (pulled, pull_peak) = ran(pull.current_dir(signed.root()).env("HOME", signed.root()));
        most = most.max(peak).max(pull_peak);
        if number == 0 {
            continue;
        }
        ours.push(pushed + pulled);

        let reference = format!("{}/theirs{number}/evidence:v1", server.address);
        let all: Vec<String> = paths(&signed.bundle());
        let mut push = Command::new(&oras);
        push.args(["push", "--plain-http", "--artifact-type", "application/vnd.seatrial.evidence.v1", &reference]).args(all);
        let pushed = timed(push.current_dir(signed.bundle()).env("HOME", signed.root()));
        let mut pull = Command::new(&oras);
        pull.args(["pull", "--plain-http", "-o", &format!("theirs{number}"), &reference]);
        theirs.push(pushed + timed(pull.current_dir(signed.root()).env("HOME", signed.root())));
    }
    let (ours, theirs) = (median(ours).as_secs_f64(), median(theirs).as_secs_f64());
    bounds.seen(&format!("push + pull: seatrial {ours:.2} s, oras {theirs:.2} s"));
    bounds.check("push + pull of 50 MB, beside oras", ours / theirs, 1.0, "×");
    bounds.check("most memory of push and pull", most as f64 / MIB as f64, MEMORY_MIB, "MiB");
}

fn watched(command: &mut Command) -> (Duration, u64) {
    let measured = measured(command, PATIENCE);
    assert!(measured.output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&measured.output.stderr));
    (measured.time, measured.peak)
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("starts");
    assert!(status.success(), "{command:?}: {status}");
    began.elapsed()
}

/// Files of a bundle by their paths, as oras wants them.
fn paths(folder: &Path) -> Vec<String> {
    let found = seatrial::evidence::directory::open(folder).expect("reads");
    found.files.into_keys().chain(found.large.into_keys()).filter(|path| path != SIGNATURE).collect()
}

/// The one file in the one folder below another.
fn first_below(folder: &Path) -> String {
    let inside = |folder: &Path| std::fs::read_dir(folder).expect("a folder").next().expect("an entry").expect("an entry").path();
    inside(&inside(folder)).display().to_string()
}
