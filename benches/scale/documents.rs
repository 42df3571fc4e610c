//! Snapshots of thousands of nodes in the shape of NVIDIA AICR: labels and taints with the nodes that have them.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::measure::measured;
use crate::{Bounds, MIB, median, seatrial, time};

/// Nodes of the documents that are fitted: 50 MB the largest.
const SIZES: [usize; 4] = [3_500, 7_000, 14_000, 28_000];

/// Labels that all nodes share, and labels of each one.
struct Shape {
    shared: usize,
    own: usize,
}

/// Readings by key: `<value>|<nodes>`.
fn labels(nodes: usize, shape: &Shape) -> Vec<(String, String)> {
    let name = |node: usize| format!("ip-10-{}-{}-{}.ec2.internal", node >> 16, (node >> 8) & 255, node & 255);
    let all = (0..nodes).map(name).collect::<Vec<_>>().join(",");
    let mut labels: Vec<(String, String)> =
        (0..shape.shared).map(|label| (format!("example.com/shared-{label}"), format!("yes|{all}"))).collect();
    for node in 0..nodes {
        for label in 0..shape.own {
            labels.push((format!("example.com/own-{label}.{}", name(node)), format!("{node}|{}", name(node))));
        }
    }
    labels
}

fn document(nodes: usize, shape: &Shape, json: bool) -> String {
    let (labels, taint) = (labels(nodes, shape), "present|ip-10-0-0-0.ec2.internal");
    if json {
        let data: Map<String, Value> = labels.into_iter().map(|(key, value)| (key, value.into())).collect();
        let subtypes = json!([{"subtype": "label", "data": data}, {"subtype": "taint", "data": {"nvidia.com/gpu.NoSchedule": taint}}]);
        let server = json!({"type": "K8s", "subtypes": [{"subtype": "server", "data": {"version": "v1.35.4"}}]});
        let topology = json!({"type": "NodeTopology", "subtypes": subtypes});
        let document = json!({"kind": "Snapshot", "apiVersion": "aicr.nvidia.com/v1alpha1", "metadata": {"source-node": "n"}, "measurements": [server, topology]});
        return document.to_string();
    }
    let mut text = String::from(
        "kind: Snapshot\napiVersion: aicr.nvidia.com/v1alpha1\nmetadata:\n  source-node: n\nmeasurements:\n  - type: K8s\n    subtypes:\n      - subtype: server\n        data:\n          version: v1.35.4\n  - type: NodeTopology\n    subtypes:\n      - subtype: taint\n        data:\n",
    );
    writeln!(text, "          nvidia.com/gpu.NoSchedule: {taint}\n      - subtype: label\n        data:").expect("fits");
    for (key, value) in labels {
        writeln!(text, "          {key}: {value}").expect("fits");
    }
    text
}

fn validate(path: &Path, rounds: usize) -> f64 {
    let mut command = seatrial();
    command.args(["validate", "--no-cluster", "--recipe", "sim-h100", "--snapshot"]).arg(path);
    median((0..rounds).map(|_| time(&mut command)).collect()).as_secs_f64()
}

pub(crate) fn run(bounds: &mut Bounds) {
    bounds.progress("validate --no-cluster with snapshots of thousands of nodes");
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("snapshot");
    // 0.7 MB of YAML for 5,000 nodes.
    let usual = Shape { shared: 1, own: 1 };
    for (json, bound) in [(true, 0.1), (false, 0.25)] {
        let text = document(5_000, &usual, json);
        std::fs::write(&path, &text).expect("is written");
        let format = if json { "JSON" } else { "YAML" };
        bounds.check(&format!("5,000 nodes, {:.2} MB of {format}", text.len() as f64 / 1e6), validate(&path, 15), bound, "s");
    }
    let full = Shape { shared: 33, own: 10 };
    for json in [true, false] {
        let format = if json { "JSON" } else { "YAML" };
        let mut rates = Vec::new();
        for nodes in SIZES {
            let text = document(nodes, &full, json);
            std::fs::write(&path, &text).expect("is written");
            let seconds = validate(&path, 5);
            let mut command = seatrial();
            command.args(["validate", "--no-cluster", "--recipe", "sim-h100", "--snapshot"]).arg(&path);
            let peak = measured(&mut command, Duration::from_secs(60)).peak;
            let megabytes = text.len() as f64 / 1e6;
            let times_file = peak as f64 / text.len() as f64;
            bounds.seen(&format!(
                "{nodes} nodes, {megabytes:.1} MB of {format}: {seconds:.3} s, {} MiB, {times_file:.1} × the file",
                peak / MIB
            ));
            // Below, the program's own memory weighs more than the document.
            if text.len() > 20_000_000 {
                bounds.check(&format!("{nodes} nodes in {format}, memory over the file"), times_file, 6.0, "×");
            }
            rates.push(seconds / megabytes);
        }
        // Linear: a byte of the largest costs what a byte of the others costs, start-up aside, which only helps the largest.
        let (least, last) = (rates.iter().copied().fold(f64::INFINITY, f64::min), rates[rates.len() - 1]);
        bounds.check(&format!("{format}, time per byte of the largest over the least"), last / least, 1.5, "×");
    }
}
