//! Snapshot documents: ours and the incumbent's, read, refused, compared, shown and written again.

use std::fs;

use seatrial::error::Kind;
use seatrial::snapshot::{Address, Hardware, Snapshot, diff, export, read_text, same_cluster};
use serde_json::Value;

use crate::{fixture, seatrial, text};

fn file(name: &str) -> String {
    fs::read_to_string(fixture(&format!("snapshots/{name}"))).expect("a fixture")
}

fn read(snapshot: &Snapshot, address: &str) -> Vec<(String, String)> {
    let found = snapshot.readings(&Address::parse(address).expect(address), None);
    found
        .into_iter()
        .map(|at| (at.subject, at.reading.value().cloned().unwrap_or_else(|| format!("!{}", at.reading.unavailable().unwrap_or_default()))))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(subject, value)| ((*subject).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_first_generation_is_read_with_its_values_as_they_are_spelt() {
    let snapshot = read_text(&file("aicr-v1alpha1.yaml"), "old.yaml").expect("is read");
    assert_eq!(read(&snapshot, "K8s.server.version"), pairs(&[("cluster", "v1.33.5-eks-3025e55")]));
    assert_eq!(read(&snapshot, "K8s.image.pause"), pairs(&[("cluster", "3.10")]), "not 3.1");
    assert_eq!(read(&snapshot, "GPU.smi.gpu-count"), pairs(&[("node gpu-node-1", "8")]));
    assert_eq!(read(&snapshot, "OS.release.VERSION_ID"), pairs(&[("node gpu-node-1", "24.04")]));
    assert_eq!(read(&snapshot, "SystemD.containerd.service.ActiveState"), pairs(&[("node gpu-node-1", "active")]));
    assert!(read(&snapshot, "SystemD.containerd.service.NotRead")[0].1.starts_with('!'), "null is no reading");
    assert_eq!(
        read(&snapshot, "NodeTopology.taint.dedicated"),
        pairs(&[("node gpu-node-1", "teamA:NoSchedule"), ("node gpu-node-2", "teamB:NoExecute")])
    );
    let zones = read(&snapshot, "NodeTopology.label.topology.kubernetes.io/zone");
    assert_eq!(zones[1..], pairs(&[("node gpu-node-1", "us-east-1a"), ("node gpu-node-2", "us-east-1b")]));
    assert!(zones[0].1.starts_with("!it has no label"));
    assert_eq!(snapshot.gpu_node_labels().len(), 2);
}

#[test]
fn the_newer_generation_is_read_without_loss() {
    let snapshot = read_text(&file("aicr-v1beta1.json"), "new.json").expect("is read");
    let taints = read(&snapshot, "NodeTopology.taint.dedicated");
    assert_eq!(
        taints,
        pairs(&[("node gpu-node-1", "teamA:NoSchedule"), ("node gpu-node-2", "teamB:NoSchedule")]),
        "the same key and effect"
    );
    assert_eq!(read(&snapshot, "GPU.smi.gpu-count"), pairs(&[("node gpu-node-1", "8")]), "by its newer name");
    assert_eq!(read(&snapshot, "NetworkTopology.identity.rail-count"), pairs(&[("cluster", "8")]));
    assert_eq!(read(&snapshot, "NetworkTopology.pfs[pciAddress=0000:4b:00.0].rail"), pairs(&[("NetworkTopology.pfs[1]", "1")]));
    assert_eq!(read(&snapshot, "NetworkTopology.pfs[traffic=east-west].rail").len(), 2);
    assert!(read(&snapshot, "NetworkTopology.pfs[7].rail")[0].1.starts_with("!the imported snapshot has no such entry"));
    let yaml = seatrial::yaml::to_string(&serde_json::from_str::<Value>(&file("aicr-v1beta1.json")).expect("JSON")).expect("YAML");
    assert_eq!(read_text(&yaml, "new.yaml").expect("is read"), snapshot, "YAML and JSON say the same");
}

#[test]
fn what_is_written_for_the_incumbent_is_read_again_and_an_import_is_written_as_it_was() {
    for name in ["aicr-v1alpha1.yaml", "aicr-v1beta1.json"] {
        let snapshot = read_text(&file(name), name).expect("is read");
        let (document, left_out) = export::document(&snapshot);
        assert!(left_out.is_empty());
        assert_eq!(read_text(&document.to_string(), "again").expect("is read"), snapshot);
        let json = serde_json::to_string(&snapshot).expect("JSON");
        assert_eq!(read_text(&json, "ours.json").expect("is read"), snapshot);
        assert_eq!(read_text(&seatrial::yaml::to_string(&snapshot).expect("YAML"), "ours.yaml").expect("is read"), snapshot);
    }
}

#[test]
fn what_is_not_one_snapshot_is_refused_with_its_place() {
    let good = file("aicr-v1alpha1.yaml");
    let json = file("aicr-v1beta1.json");
    let cases: Vec<(String, &str, &str)> = vec![
        (good.replace("kind: Snapshot", "kind: Pod"), "holds a `Pod`, not a Snapshot", "take one with"),
        (good.replace("kind: Snapshot\n", ""), "has no `kind`", "take one with"),
        (good.replace("/v1alpha1", "/v9"), "unknown apiVersion `aicr.nvidia.com/v9`", "did you mean `aicr.nvidia.com/v1alpha1`?"),
        (format!("{good}---\n{good}"), "s:", ""),
        (good.replace("metadata:", "metdata:"), "s:4:1: unknown field `metdata`", "did you mean `metadata`?"),
        (good.replace("- type: OS", "- type: 0S"), "s:", ""),
        (good.replace("      - subtype: kmod", "      - subtype: sysctl"), "has OS.sysctl twice", ""),
        (good.replace("          gpu-count: 8\n", "          gpu-count: 8\n          gpu-count: 9\n"), "s:", ""),
        (good.replace("gpu-count: 8", "gpu-count: [8]"), "s:", ""),
        ("kind: Snapshot\napiVersion: aicr.run/v1alpha2\nmeasurements: []\n".to_owned(), "has no measurements", ""),
        (json.replace("\"measurements\"", "\"mesurements\""), "unknown field `mesurements`", "did you mean `measurements`?"),
        (json.replace("NetworkTopology", "NetworkTopologie"), "unknown variant `NetworkTopologie`", "did you mean `NetworkTopology`?"),
        (format!("{json}{json}"), "trailing characters", "one file holds one snapshot"),
        (json.replace("\"gpu-count\": 8", "\"gpu-count\": 8, \"gpu-count\": 9"), "the key `gpu-count` is there twice", ""),
        ("{\"kind\": \"Snapshot\", \"apiVersion\": \"seatrial.dev/v1alpha1\"}".to_owned(), "missing field", ""),
        (String::new(), "s", ""),
        ("\0\0\0".to_owned(), "s", ""),
        ("{".repeat(100_000), "s:1:", ""),
        ("[".repeat(100_000), "s:", ""),
    ];
    for (document, cause, hint) in cases {
        let shown: String = document.chars().take(60).collect();
        let error = read_text(&document, "s").expect_err(&shown);
        assert_eq!(error.kind(), Kind::Usage, "{shown}: {}", error.chain());
        assert!(error.chain().contains(cause), "{cause}: {}", error.chain());
        assert!(hint.is_empty() || error.hints().iter().any(|one| one.contains(hint)), "{hint}: {:?}", error.hints());
    }
}

#[test]
fn an_alias_bomb_ends_at_the_size_of_its_document() {
    let mut bomb = String::from(
        "kind: Snapshot\napiVersion: aicr.run/v1beta1\nmetadata: {}\nmeasurements:\n- type: K8s\n  subtypes:\n  - subtype: x\n    items:\n",
    );
    bomb.push_str("    - &a0 {context: {a: b}}\n");
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("    - &a{level} {{context: {{a: [{}]}}}}\n", vec![alias; 10].join(", ")));
    }
    assert_eq!(read_text(&bomb, "bomb.yaml").expect_err("is refused").kind(), Kind::Usage);
}

#[test]
fn drift_is_named_by_path_and_its_exit_code_is_asked_for() {
    let folder = tempfile::tempdir().expect("a directory");
    let old = file("aicr-v1alpha1.yaml");
    fs::write(folder.path().join("a.yaml"), &old).expect("is written");
    fs::write(folder.path().join("b.yaml"), old.replace("570.86.15", "580.95.05").replace("gpu-count: 8", "gpu-count: 7"))
        .expect("is written");
    let same = seatrial(folder.path(), &["snapshot", "diff", "a.yaml", "a.yaml", "--fail-on-drift"]);
    assert_eq!((same.status.code(), text(&same.stdout).trim()), (Some(0), "no change"), "{}", text(&same.stderr));
    let drift = seatrial(folder.path(), &["snapshot", "diff", "a.yaml", "b.yaml", "--fail-on-drift"]);
    assert_eq!(drift.status.code(), Some(1), "{}", text(&drift.stderr));
    let lines = text(&drift.stdout);
    assert!(lines.contains("imported.measurements.GPU.smi.data.driver   570.86.15 → 580.95.05"), "{lines}");
    assert!(lines.contains("gpu-count   8 → 7"), "{lines}");
    assert_eq!(seatrial(folder.path(), &["snapshot", "diff", "a.yaml", "b.yaml"]).status.code(), Some(0), "said, and not failed");
    let json = seatrial(folder.path(), &["snapshot", "diff", "a.yaml", "b.yaml", "-t", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(2), "{json:#}");

    let mut nothing = read_text(&old, "a").expect("is read");
    nothing.imported = None;
    fs::write(folder.path().join("n.json"), serde_json::to_string(&nothing).expect("JSON")).expect("is written");
    let unknown = seatrial(folder.path(), &["snapshot", "diff", "n.json", "n.json", "--fail-on-drift"]);
    assert_eq!(unknown.status.code(), Some(3), "nothing was compared, which is not the same as no drift: {}", text(&unknown.stderr));
    assert!(text(&unknown.stderr).contains("not compared, as neither has it: nodes"), "{}", text(&unknown.stderr));
    assert_eq!(seatrial(folder.path(), &["snapshot", "diff", "a.yaml", "missing.yaml"]).status.code(), Some(2));
}

#[test]
fn a_node_that_goes_and_a_taint_that_changes_are_seen() {
    let ours = |taint: &str, nodes: &[&str]| {
        let node = |name: &&str| {
            serde_json::json!({"name": name, "hardware": "unknown", "marks": [], "labels": {}, "unschedulable": false, "capacity": {}, "allocatable": {},
                "conditions": {}, "versions": {"kubeletVersion": "v1"}, "gpus": {}, "taints": [{"key": "a", "value": taint, "effect": "NoSchedule"}]})
        };
        let mut snapshot = Snapshot::without_cluster("x");
        snapshot.nodes = serde_json::from_value(serde_json::json!({"value": nodes.iter().map(node).collect::<Vec<_>>()})).expect("nodes");
        snapshot
    };
    let drift = diff::diff(&ours("x", &["n1", "n2"]), &ours("x", &["n1"])).expect("is compared");
    assert_eq!(drift.lines().len(), 1);
    assert!(drift.lines()[0].starts_with("nodes[n2]   - "), "{:?}", drift.lines());
    let drift = diff::diff(&ours("x", &["n1"]), &ours("y", &["n1"])).expect("is compared");
    assert_eq!(drift.changes.len(), 2, "{:?}", drift.changes);
}

#[test]
fn hardware_is_what_nodes_show_and_not_what_a_file_says() {
    let folder = tempfile::tempdir().expect("a directory");
    let said = |cluster: &str, node: &str, marks: &[&str]| {
        let node = serde_json::json!({"name": "n1", "hardware": node, "marks": marks, "labels": {}, "unschedulable": false, "capacity": {},
            "allocatable": {}, "conditions": {}, "versions": {"kubeletVersion": "v1"}, "gpus": {}, "taints": []});
        let mut snapshot = Snapshot::without_cluster("x");
        snapshot.nodes = serde_json::from_value(serde_json::json!({"value": [node]})).expect("nodes");
        let mut text = serde_json::to_value(&snapshot).expect("JSON");
        text["cluster"]["hardware"] = cluster.into();
        fs::write(folder.path().join("s.json"), text.to_string()).expect("is written");
        seatrial(folder.path(), &["snapshot", "show", "s.json"])
    };
    let kwok = ["label type=kwok"];
    for (cluster, node, marks, says) in [
        ("simulated", "simulated", &kwok[..], None),
        ("unknown", "unknown", &[], None),
        ("real", "simulated", &kwok, Some("the cluster has real hardware as the snapshot says, and simulated by what it shows")),
        ("simulated", "real", &kwok, Some("node n1 has real hardware as the snapshot says")),
        ("real", "real", &[], Some("and unknown by what it shows")),
    ] {
        let ran = said(cluster, node, marks);
        assert_eq!(ran.status.code(), Some(if says.is_some() { 2 } else { 0 }), "{cluster} {node}: {}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains(says.unwrap_or_default()), "{}", text(&ran.stderr));
    }
    let hardware = |hardware| {
        let mut snapshot = Snapshot::without_cluster("x");
        snapshot.cluster.id = seatrial::snapshot::Reading::Value("a".to_owned());
        snapshot.cluster.hardware = hardware;
        snapshot
    };
    let (real, simulated) = (hardware(Hardware::Real), hardware(Hardware::Simulated));
    assert!(same_cluster(&real, &simulated).expect_err("not this one").chain().contains("this cluster is simulated"));
    same_cluster(&simulated, &simulated).expect("the same");
    same_cluster(&real, &hardware(Hardware::Unknown)).expect("facts of nodes were asked for then, and not now");
}

#[test]
fn a_person_is_shown_what_matters_and_standard_input_is_a_file() {
    let folder = tempfile::tempdir().expect("a directory");
    fs::write(folder.path().join("a.yaml"), file("aicr-v1alpha1.yaml")).expect("is written");
    let shown = seatrial(folder.path(), &["snapshot", "show", "a.yaml"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    assert!(text(&shown.stdout).contains("taken on gpu-node-1"), "{}", text(&shown.stdout));
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    let piped = command.args(["snapshot", "show", "-", "-t", "json"]).write_stdin(file("aicr-v1beta1.json")).output().expect("runs");
    assert_eq!(piped.status.code(), Some(0), "{}", text(&piped.stderr));
    assert!(serde_json::from_slice::<Value>(&piped.stdout).expect("JSON")["digest"].as_str().is_some());
}

#[test]
fn a_machine_is_read_without_a_cluster_and_a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a directory");
    let ran = seatrial(folder.path(), &["snapshot", "--host", "-o", "host.json"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let snapshot = read_text(&fs::read_to_string(folder.path().join("host.json")).expect("is there"), "host.json").expect("is read");
    assert!(snapshot.host.is_some() && snapshot.nodes.value().is_none());
    let same = seatrial(folder.path(), &["snapshot", "diff", "host.json", "host.json", "--fail-on-drift"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    let aicr = seatrial(folder.path(), &["snapshot", "--host", "-t", "aicr"]);
    let again = read_text(&text(&aicr.stdout), "aicr.json").expect("is read");
    assert_eq!(
        read(&again, "OS.sysctl./proc/sys/kernel/osrelease")[0].1,
        snapshot.host.expect("a host").facts.kernel.value().expect("a kernel").clone()
    );
    let ran = seatrial(folder.path(), &["snapshot", "--host", "-o", "host.json/below"]);
    assert_eq!(ran.status.code(), Some(2), "{}", text(&ran.stderr));
    assert!(folder.path().join("host.json").is_file());
}
