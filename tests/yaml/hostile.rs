//! Documents made to hurt: the program says what is wrong, in bounded time and memory, and hears an interrupt meanwhile.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use seatrial::limits;

use crate::measure::{measured, status_bytes};

const MIB: u64 = 1 << 20;
/// An optimised program takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);

const HEAD: &str = "kind: Snapshot\napiVersion: aicr.nvidia.com/v1alpha1\nmetadata: {source-node: n}\nmeasurements:\n- type: K8s\n  subtypes:\n  - subtype: server\n    data:\n";

const JSON_HEAD: &str = "{\"kind\":\"Snapshot\",\"apiVersion\":\"aicr.nvidia.com/v1alpha1\",\"metadata\":{},\"measurements\":[{\"type\":\"K8s\",\"subtypes\":[{\"subtype\":\"server\",\"data\":{";

fn seatrial(folder: &Path, recipe: &str, snapshot: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear().env("HOME", folder).current_dir(folder);
    command.args(["validate", "--no-cluster", "--recipe", recipe, "--snapshot"]).arg(snapshot);
    command
}

/// Ten aliases of ten aliases of ten …
fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").expect("fits");
    }
    text
}

fn keys(count: usize) -> String {
    (0..count).fold(String::from(HEAD), |text, number| text + &format!("      k{number}: v\n"))
}

fn json_keys(count: usize) -> String {
    let fields: Vec<String> = (0..count).map(|number| format!("\"{number}\":\"\"")).collect();
    format!("{JSON_HEAD}{}}}}}]}}]}}", fields.join(","))
}

/// Hostile snapshots: name, text, and whether it is a snapshot all the same.
fn snapshots() -> Vec<(&'static str, String, bool)> {
    let (fifty, five) = (50 << 20, 5 << 20);
    vec![
        ("an alias bomb", format!("kind: Snapshot\napiVersion: aicr.nvidia.com/v1alpha1\n{}", bomb()), false),
        (
            "an alias bomb among the readings",
            format!("{HEAD}{}", bomb().lines().map(|line| format!("      {line}\n")).collect::<String>()),
            false,
        ),
        (
            "a long text and many aliases",
            format!("{HEAD}      k: &x {}\n      l: [{}]\n", "y".repeat(1 << 20), vec!["*x"; 1000].join(", ")),
            false,
        ),
        ("many readings of a few bytes", keys(200_000), true),
        ("many readings of a few bytes in JSON", json_keys(200_000), true),
        ("more texts than a snapshot may have", json_keys(limits::SNAPSHOT_NODES / 2 + 1), false),
        ("100,000 keys in one map", keys(100_000), true),
        ("50 MB of #", "#".repeat(fifty), false),
        ("5 MB of lines with #", "#\n".repeat(five / 2), false),
        ("50 MB of [", "[".repeat(fifty), false),
        (
            "5 MB of [ in JSON",
            format!("{{\"kind\":\"Snapshot\",\"apiVersion\":\"aicr.nvidia.com/v1alpha1\",\"x\":{}", "[".repeat(five)),
            false,
        ),
        ("5 MB of dashes", "- ".repeat(five / 2), false),
        ("one scalar of 50 MB", format!("{HEAD}      k: {}\n", "x".repeat(fifty)), true),
        ("one quoted scalar of 50 MB", format!("{HEAD}      k: \"{}\"\n", "x ".repeat(fifty / 2)), true),
        (
            "50 MB in one JSON text",
            format!("{{\"kind\":\"Snapshot\",\"apiVersion\":\"aicr.nvidia.com/v1alpha1\",\"x\":\"{}", "x".repeat(fifty)),
            false,
        ),
        ("one key of 50 MB", format!("{HEAD}      {}: v\n", "x".repeat(fifty)), false),
        ("5 MB of newlines", "\n".repeat(five), false),
        ("5 MB of spaces", " ".repeat(five), false),
        ("5 MB of ---", "---\n".repeat(five / 4), false),
    ]
}

#[test]
fn no_snapshot_takes_more_memory_than_stated() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut wrong = Vec::new();
    for (name, text, fine) in snapshots() {
        let path = folder.path().join("hostile");
        std::fs::write(&path, &text).expect("is written");
        let ran = measured(&mut seatrial(folder.path(), "sim-h100", &path), LIMIT);
        let bound = limits::reading_memory(text.len() as u64);
        let said = String::from_utf8_lossy(&ran.output.stderr).into_owned();
        let code = ran.output.status.code();
        if ran.peak > bound {
            wrong.push(format!("{name}: {} MiB, the limit is {}", ran.peak / MIB, bound / MIB));
        }
        // What can be read has no reading that the recipe asks for.
        if if fine { !matches!(code, Some(1 | 3)) } else { code != Some(2) } {
            wrong.push(format!("{name}: exit {code:?}: {}", said.chars().take(400).collect::<String>()));
        }
        if std::env::var_os("SEATRIAL_SHOW").is_some() {
            wrong.push(format!(
                "{name}: {} MiB of {} for {}, {:?}, exit {code:?} {}",
                ran.peak / MIB,
                bound / MIB,
                text.len() as u64 / MIB,
                ran.time,
                said.chars().take(200).collect::<String>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_recipe_is_refused_before_it_can_hurt() {
    let folder = tempfile::tempdir().expect("a directory");
    let snapshot = folder.path().join("snapshot");
    std::fs::write(&snapshot, keys(1)).expect("is written");
    let head = "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\n";
    let mega = usize::try_from(limits::DOCUMENT_BYTES).expect("fits") - 100;
    for (name, text) in [
        ("an alias bomb", format!("{head}{}", bomb())),
        ("deep nesting", format!("{head}x: {}", "[".repeat(mega))),
        ("many keys", (0..60_000).fold(head.to_owned(), |text, number| text + &format!("k{number}: v\n"))),
        ("more than the limit", "#".repeat(mega + 200)),
        ("many documents", "---\na: b\n".repeat(mega / 10)),
        ("a long text and many aliases", format!("{head}x: &x {}\ny: [{}]\n", "y".repeat(mega / 2), vec!["*x"; 1000].join(", "))),
        ("many anchors", (0..40_000).fold(head.to_owned(), |text, number| text + &format!("k{number}: &a{number} v\n"))),
    ] {
        let path = folder.path().join("recipe.yaml");
        std::fs::write(&path, &text).expect("is written");
        let ran = measured(&mut seatrial(folder.path(), "recipe.yaml", &snapshot), LIMIT);
        let said = String::from_utf8_lossy(&ran.output.stderr).into_owned();
        assert_eq!(ran.output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains("recipe.yaml"), "{name}: {said}");
        assert!(said.len() < 4096, "{name}: an error is no place for {} bytes", said.len());
        let bound = limits::reading_memory(text.len() as u64);
        assert!(ran.peak <= bound, "{name}: {} MiB, the limit is {}", ran.peak / MIB, bound / MIB);
    }
}

#[test]
fn an_interrupt_is_heard_while_50_mb_are_read() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut text = keys(0);
    while text.len() < 50 << 20 {
        let number = text.len();
        writeln!(text, "      some.label/of-a-node.{number}: {number}|ip-10-0-0-{number}.ec2.internal").expect("fits");
    }
    let (yaml, json) = (folder.path().join("large.yaml"), folder.path().join("large.json"));
    std::fs::write(&yaml, &text).expect("is written");
    let fields: Vec<String> =
        (0..900_000).map(|number| format!("\"some.label/of-a-node.{number}\":\"{number}|ip-10-0-0-1.ec2.internal\"")).collect();
    std::fs::write(&json, format!("{JSON_HEAD}{}}}}}]}}]}}", fields.join(","))).expect("is written");
    for (path, signal) in [(&yaml, Signal::INT), (&yaml, Signal::TERM), (&json, Signal::INT)] {
        // A suite in the background of a shell has the signal ignored, and what it starts inherits that.
        let program = seatrial(folder.path(), "sim-h100", path);
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=INT,TERM").arg(program.get_program()).args(program.get_args());
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        // Its memory holds the document: it reads.
        crate::until("the document is in memory", || status_bytes(&child, "VmRSS").unwrap_or(0) > 55 << 20);
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("an id")).expect("an id");
        kill_process(pid, signal).expect("it still reads");
        let sent = Instant::now();
        crate::until("its end", || child.try_wait().expect("can be waited for").is_some());
        let status = child.wait().expect("has ended");
        assert!(sent.elapsed() < Duration::from_secs(1), "{signal:?}: {:?}", sent.elapsed());
        let died = std::os::unix::process::ExitStatusExt::signal(&status) == Some(signal.as_raw());
        assert!(died || status.code() == Some(130), "{signal:?}: {status}");
    }
}
