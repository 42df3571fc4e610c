//! Time and memory grow with the size of a document and no faster; signals are heard while it is read.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use seatrial::digest::Digest;
use seatrial::snapshot::read_text;

/// A snapshot in the incumbent's shape: labels that all nodes share, and three that each has for itself.
pub(crate) fn document(nodes: usize, json: bool) -> String {
    let all: Vec<String> =
        (0..nodes).map(|node| format!("ip-10-{}-{}-{}.ec2.internal", node >> 16, (node >> 8) & 255, node & 255)).collect();
    let list = all.join(",");
    let mut labels: Vec<(String, String)> = vec![("kubernetes.io/os".to_owned(), format!("linux|{list}"))];
    for (index, name) in all.iter().enumerate() {
        labels.push((format!("kubernetes.io/hostname.{name}"), format!("{name}|{name}")));
        labels.push((format!("example.com/cloud-id.i-{index:017x}"), format!("i-{index:017x}|{name}")));
        labels.push((format!("example.com/layer.nn-{index:010x}"), format!("nn-{index:010x}|{name}")));
    }
    let mut text = String::new();
    if json {
        let data: serde_json::Map<String, serde_json::Value> = labels.into_iter().map(|(key, value)| (key, value.into())).collect();
        let document = serde_json::json!({"kind": "Snapshot", "apiVersion": "aicr.nvidia.com/v1alpha1", "metadata": {"source-node": "n"},
            "measurements": [{"type": "NodeTopology", "subtypes": [{"subtype": "label", "data": data}]}]});
        return document.to_string();
    }
    text.push_str("kind: Snapshot\napiVersion: aicr.nvidia.com/v1alpha1\nmetadata:\n  source-node: n\nmeasurements:\n- type: NodeTopology\n  subtypes:\n  - subtype: label\n    data:\n");
    for (key, value) in labels {
        writeln!(text, "      {key}: {value}").expect("fits");
    }
    text
}

/// Processor time of reading, so that what else the machine does counts little.
fn time(text: &str) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("is not negative");
    let best = (0..3).map(|_| {
        let began = now();
        read_text(text, "s").expect("is read");
        now() - began
    });
    best.min().unwrap_or_default()
}

#[test]
fn ten_times_the_nodes_take_about_ten_times_as_long() {
    for json in [true, false] {
        let (small, large) = (document(500, json), document(5_000, json));
        let (few, many) = (time(&small), time(&large));
        let growth = large.len() as f64 / small.len() as f64;
        assert!(
            many.as_secs_f64() < few.as_secs_f64() * growth * 3.0 + 0.05,
            "json {json}: {few:?} for {}, {many:?} for {}",
            small.len(),
            large.len()
        );
    }
}

#[test]
fn a_large_snapshot_has_the_same_digest_twice() {
    let digest = |json: bool| Digest::of_json(&read_text(&document(5_000, json), "s").expect("is read")).expect("has a digest");
    let first = digest(true);
    assert_eq!(first, digest(true));
    assert_eq!(first, digest(false), "YAML and JSON say the same");
}

#[test]
fn an_interrupt_is_heard_while_a_document_is_read() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("large.yaml");
    fs::write(&file, document(60_000, false)).expect("is written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_seatrial"))
        .args(["snapshot", "show"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("an id")).expect("an id");
    // It has opened the document once its memory holds it.
    let status = format!("/proc/{}/status", child.id());
    let deadline = Instant::now() + Duration::from_secs(30);
    let reading = || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) > 20_000
    };
    while !reading() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(child.try_wait().expect("can be asked").is_none(), "it is still at work");
    kill_process(pid, Signal::INT).expect("is sent");
    let sent = Instant::now();
    child.wait().expect("ends");
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
}
