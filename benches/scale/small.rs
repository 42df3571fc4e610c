//! What a small command costs more than a program that does nothing.

use std::process::Command;
use std::time::Duration;

use crate::measure::measured;
use crate::{Bounds, MIB, median, seatrial, time};

const ROUNDS: usize = 40;

/// Starts of `/bin/true` and of the commands take turns, so that a busy machine slows all of them.
pub(crate) fn run(bounds: &mut Bounds) {
    bounds.progress("small commands");
    let folder = tempfile::tempdir().expect("a directory");
    let snapshot = folder.path().join("snapshot.yaml");
    std::fs::write(&snapshot, include_str!("../../tests/yaml/corpus/snapshot-packed.yaml")).expect("is written");
    let resolve = || {
        let mut command = seatrial();
        command.args(["recipe", "resolve", "--service", "eks", "--accelerator", "h100", "--intent", "training", "--os", "ubuntu"]);
        command
    };
    let validate = || {
        let mut command = seatrial();
        command.args(["validate", "--no-cluster", "--recipe", "sim-h100", "--snapshot"]).arg(&snapshot);
        command
    };
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(time(&mut Command::new("/bin/true")));
        times[1].push(time(&mut resolve()));
        times[2].push(time(&mut validate()));
    }
    let [nothing, resolving, validating] = times.map(|times| median(times).as_secs_f64() * 1000.0);
    bounds.seen(&format!("/bin/true {nothing:.2} ms, recipe resolve {resolving:.2} ms, small validate {validating:.2} ms"));
    bounds.check("recipe resolve, more than /bin/true", resolving - nothing, 10.0, "ms");
    bounds.check("small validate, more than /bin/true", validating - nothing, 10.0, "ms");
    for (what, command) in [("recipe resolve", &resolve as &dyn Fn() -> Command), ("small validate", &validate)] {
        let peak = (0..5).map(|_| measured(&mut command(), Duration::from_secs(10)).peak).max().unwrap_or(0);
        assert!(peak > 0, "{what}: its memory was not seen");
        bounds.check(&format!("{what}, resident"), peak as f64 / MIB as f64, 15.0, "MiB");
    }
}
