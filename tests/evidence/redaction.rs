//! Redaction: what is planted in every input is in no file of a bundle, what a verifier needs still is, and the evidence says what is gone.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use seatrial::digest::Digest;
use seatrial::error::Kind;
use seatrial::evidence::redaction::Policy;
use seatrial::evidence::{Bundle, Files};
use seatrial::recipe::Recipe;
use seatrial::results::{ErrorReason, Outcome, Retry, TestResult};
use seatrial::snapshot::Snapshot;
use seatrial::{constraints, yaml};

use crate::sample::{Sample, Signed, ended, redaction};

/// What must be in no bundle, wherever it was seen.
const SEEDED: &[&str] = &[
    // Host names and addresses.
    "gpu-worker-7",
    "rack42",
    "corp.internal",
    "10.0.12.34",
    "203.0.113.9",
    "fd00:10::7",
    "0a:58:0a:00:0c:22",
    // Accounts, people, contexts.
    "123456789012",
    "i-0123456789abcdef0",
    "alice@example.com",
    "prod-admin",
    // Credentials, also such as have no form.
    "hunter2",
    "opensesame",
    "eyJhbGciOiJIUzI1NiJ9",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "dXNlcjpodW50ZXIy",
    "LS0tLS1CRUdJTiBD",
    // Names of somebody's own.
    "project-moonshot",
    "2b1d7c1e-1111-4222-8333-444455556666",
];

/// All that is seeded, as an error of a server or the log of a pod may hold it.
fn noise() -> String {
    format!("dial tcp: {} https://prod-admin:opensesame@api.corp.internal:6443", SEEDED.join(" "))
}

fn seeded_snapshot() -> Snapshot {
    let planted = |prefix: &str| -> serde_json::Map<String, Value> {
        SEEDED.iter().enumerate().map(|(at, secret)| (format!("{prefix}{at}"), json!(secret))).collect()
    };
    let node = |name: &str| {
        let mut labels = planted("example.com/l");
        labels.extend(SEEDED.iter().map(|secret| (format!("{secret}/key"), json!("x"))));
        labels.extend([
            ("type".to_owned(), json!("kwok")),
            ("kubernetes.io/hostname".to_owned(), json!(name)),
            ("kubernetes.io/arch".to_owned(), json!("amd64")),
            ("nvidia.com/gpu.product".to_owned(), json!("NVIDIA-H100-80GB-HBM3")),
            ("team.example.com/pool".to_owned(), json!("training")),
        ]);
        json!({"name": name, "hardware": "simulated", "marks": ["label type=kwok"], "labels": labels,
            "taints": [{"key": "reserved-for", "value": "project-moonshot", "effect": "NoSchedule"}, {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
            "unschedulable": false, "capacity": {"nvidia.com/gpu": "8", "corp.internal/quota": "3"}, "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": {"Ready": "True", "hunter2": "True"}, "versions": {"kubeletVersion": "v1.35.4"},
            "gpus": {"vendor": "simulated", "labelCount": 8, "capacity": 8, "allocatable": 8}, "providerId": "aws:///x/i-0123456789abcdef0",
            "facts": {"value": facts()}})
    };
    let image = "registry.example.com/driver:1.2";
    let ran = format!("registry.example.com/driver@{}", Digest::of(b"image"));
    let none = json!({"unavailable": noise()});
    serde_json::from_value(json!({
        "apiVersion": "seatrial.dev/v1alpha1", "kind": "Snapshot",
        "cluster": {"id": {"value": "6f2c"}, "version": {"value": "v1.35.4"}, "hardware": "simulated"},
        "nodes": {"value": [node("gpu-worker-7"), node("rack42.corp.internal")]},
        "pools": {"value": [{"driver": "gpu.nvidia.com", "name": "gpu-worker-7", "node": "gpu-worker-7", "generation": 1, "slices": 1, "slicesDeclared": 1, "staleSlices": 0,
            "devices": [{"name": "gpu-0", "attributes": {"uuid": "GPU-2b1d7c1e-1111-4222-8333-444455556666", "type": "gpu", "owner": "hunter2"}, "capacity": {"memory": "80Gi"}}]}]},
        "deviceClasses": {"value": [{"name": "project-moonshot", "selectors": ["device.attributes['x'] == 'hunter2'"]}]},
        "workloads": {"value": [{"kind": "Deployment", "namespace": "project-moonshot", "name": "hunter2", "versions": {"helm.sh/chart": "opensesame project-moonshot"}, "images": {image: [ran]}}]},
        "crds": {"value": [{"name": "things.corp.internal", "versions": ["v1"], "established": true}, {"name": "resourceclaims.resource.k8s.io", "versions": ["v1"], "established": true}]},
        "apis": {"value": {"apps": ["v1"], "corp.internal": ["v1"]}}, "images": none,
        "policies": {"value": [{"kind": "ClusterPolicy", "name": "project-moonshot", "spec": planted("driver.env")}]},
    }))
    .expect("a snapshot")
}

fn facts() -> Value {
    let none = json!({"unavailable": noise()});
    json!({"view": "host", "kernel": {"value": "6.8.0"}, "osRelease": {"value": {"ID": "ubuntu", "SUPPORT": "alice@example.com"}}, "modules": {"value": {"nvidia": "580.95", "moonshot_hunter2": ""}},
        "sysctl": {"value": {"/proc/sys/kernel/hostname": "rack42.corp.internal", "/proc/sys/net/core/somaxconn": "4096"}},
        "cmdline": {"value": ["iommu=pt", "ip=10.0.12.34::", "k3s_token=hunter2", "opensesame"]},
        "units": {"value": {"kubelet.service": {"ActiveState": "active", "Environment": "TOKEN=hunter2"}, "hunter2.service": {"ActiveState": "active"}}},
        "runtimes": none, "pci": {"value": []}, "gpus": {"value": []}, "rdma": none,
        "nics": {"value": [{"name": "enx0a580a000c22", "driver": "mlx5_core", "pci": "", "state": "up", "speed": "", "mtu": "9000", "numaNode": ""}]}})
}

/// A run with secrets in every input but the recipe and the names of images.
fn seeded() -> Sample {
    let mut sample = Sample::good();
    let recipe = serde_json::to_string(&sample.recipe).expect("JSON");
    let mut recipe: Recipe = serde_json::from_str(&recipe).expect("a recipe");
    let read = |text: &str| yaml::from_str(text, "constraint").expect("a constraint");
    recipe.spec.constraints = vec![
        read("{name: K8s.server.version, value: '>= 1.30'}"),
        read("{name: NodeTopology.label.team.example.com/pool, value: training}"),
        read("{name: OS.sysctl./proc/sys/net/core/somaxconn, value: '>= 1024'}"),
    ];
    sample.report.recipe.digest = recipe.digest().expect("a digest");
    sample.recipe = recipe;
    sample.snapshot = seeded_snapshot();
    sample.report.snapshot = Some(Digest::of_json(&sample.snapshot).expect("a digest"));
    let judged = constraints::judge_all(&sample.recipe.spec.constraints, &sample.snapshot, "snapshot").expect("can be judged");
    sample.report.tests.splice(0..0, judged);
    for step in &mut sample.report.steps {
        step.outcome = Outcome { message: noise(), ..step.outcome.clone() }.artifact("diagnostics", None, json!({ "log": noise() }));
    }
    let nodes = vec!["gpu-worker-7".to_owned(), "rack42.corp.internal".to_owned()];
    let capacity = Outcome::pass(noise())
        .fix(noise())
        .seen("nodes", nodes.clone(), 2)
        .asserted(4, 4)
        .measured("gpus", 16.0, "1")
        .held_against(12.0)
        .sampled(nodes.into_iter().map(|name| (name, 8.0)))
        .artifact(
            "node gpu-worker-7",
            Some("kubectl --context prod-admin get node gpu-worker-7"),
            json!({"env": SEEDED, noise(): noise()}),
        );
    let tests = &mut sample.report.tests;
    let named = |id: &str, tests: &[TestResult]| tests.iter().position(|test| test.id == id).expect("is there");
    let at = named("gpu-capacity", tests);
    tests[at].outcome = capacity;
    tests[at].retries.push(Retry { message: noise(), duration_ms: 12 });
    let at = named("platform-health", tests);
    let pods = SEEDED.iter().map(|secret| format!("pod project-moonshot/{secret}")).collect::<Vec<_>>();
    tests[at].outcome = Outcome::pass(noise()).seen("pods", pods, SEEDED.len()).asserted(SEEDED.len(), SEEDED.len());
    sample.plan =
        json!({"workflow": "conformance", "steps": [{"id": "setup", "creates": ["pods", "secret project-moonshot/hunter2"], "tests": []}]});
    sample.counted().minimal()
}

fn all_text(files: &Files) -> String {
    files.iter().map(|(path, bytes)| format!("{path}\n{}\n", String::from_utf8_lossy(bytes))).collect()
}

/// The surroundings of a text in another.
fn line_with<'a>(text: &'a str, secret: &str) -> Option<&'a str> {
    let at = text.to_lowercase().find(&secret.to_lowercase())?;
    Some(&text[at.saturating_sub(300)..(at + 100).min(text.len())])
}

fn read(bundle: &Bundle, path: &str) -> Value {
    serde_json::from_slice(&bundle.files()[path]).expect("JSON")
}

#[tokio::test]
async fn nothing_that_was_planted_is_in_a_bundle_or_its_signature_and_the_bundle_verifies() {
    let sample = seeded();
    let whole = all_text(Sample { redaction: redaction(Policy::full()), ..sample.clone() }.bundle().files());
    for secret in ["gpu-worker-7", "hunter2", "alice@example.com", "project-moonshot", "prod-admin"] {
        assert!(whole.contains(secret), "{secret} was planted");
    }
    for token in ["AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"] {
        let line = line_with(&whole, token);
        assert!(line.is_none(), "a token that can be told by its form is not even in a full bundle: {}", line.unwrap_or_default());
    }
    let bundle = sample.bundle();
    let artifact = bundle.artifact().expect("a manifest");
    let statement = String::from_utf8(bundle.statement().expect("a statement")).expect("text");
    let text = format!("{}{statement}{}", all_text(bundle.files()), String::from_utf8_lossy(&artifact.bytes));
    for secret in SEEDED {
        let line = line_with(&text, secret);
        assert!(line.is_none(), "{secret} is still there: {}", line.unwrap_or_default());
    }
    assert!(text.contains("registry.example.com/driver:1.2"), "images are not redacted");
    let verification = sample.signed().verify().await;
    assert_eq!(ended(&verification), (String::new(), 0), "{:#?}", verification.report);
}

#[test]
fn what_constraints_read_and_every_number_stays_and_a_node_has_one_name_everywhere() {
    let bundle = seeded().bundle();
    let snapshot = read(&bundle, "snapshot.json");
    let nodes = snapshot["nodes"]["value"].as_array().expect("nodes");
    assert_eq!(nodes[0]["labels"]["team.example.com/pool"], "training");
    assert_eq!(nodes[0]["facts"]["value"]["sysctl"]["value"]["/proc/sys/net/core/somaxconn"], "4096");
    assert_eq!(nodes[0]["labels"]["nvidia.com/gpu.product"], "NVIDIA-H100-80GB-HBM3");
    let names: BTreeSet<&str> = nodes.iter().filter_map(|node| node["name"].as_str()).collect();
    let ctrf = read(&bundle, "ctrf/conformance.json");
    let extra = &ctrf["results"]["tests"][0]["extra"];
    let measured = &extra["measurements"][0];
    assert_eq!((&measured["value"], &measured["threshold"], &measured["unit"]), (&json!(16), &json!(12), &json!("1")));
    let samples = measured["samples"].as_array().expect("samples");
    assert_eq!(samples.iter().map(|sample| sample["value"].as_f64()).collect::<Vec<_>>(), [Some(8.0), Some(8.0)]);
    assert_eq!(samples.iter().filter_map(|sample| sample["subject"].as_str()).collect::<BTreeSet<_>>(), names);
    assert_eq!(extra["subjects"]["seen"].as_array().expect("subjects").iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(), names);
    let evidence = read(&bundle, "evidence.json");
    let check = evidence["checks"].as_array().expect("checks").iter().find(|check| check["id"] == "gpu-capacity").expect("is there");
    assert_eq!(&check["measurements"][0], measured);
    assert_eq!(check["version"], 1);
    let pool = &snapshot["pools"]["value"][0];
    assert!(names.contains(pool["node"].as_str().expect("a name")) && pool["name"] == pool["node"]);
}

#[test]
fn the_evidence_says_what_is_gone_by_place_and_number() {
    let bundle = seeded().bundle();
    let redacted = &read(&bundle, "evidence.json")["redaction"];
    assert_eq!(redacted["policy"], "minimal");
    assert_eq!(redacted["digest"], Policy::minimal().expect("is shipped").digest().expect("a digest").as_str());
    let removed = redacted["removed"].as_array().expect("a list");
    let count = |document: &str, place: &str| -> u64 {
        let found = removed.iter().filter(|one| one["document"] == document && one["place"] == place);
        found.filter_map(|one| one["count"].as_u64()).sum()
    };
    for (document, place) in [
        ("snapshot.json", "nodes[].labels.*"),
        ("snapshot.json", "nodes[].name"),
        ("snapshot.json", "workloads[].namespace"),
        ("snapshot.json", "nodes[].facts.cmdline[]"),
        ("results.json", "tests[].message"),
        ("results.json", "tests[].retries[].message"),
        ("artifacts/", "gpu-capacity"),
        ("plan.json", "steps[].creates[]"),
    ] {
        assert!(count(document, place) > 0, "{document} {place}: {removed:#?}");
    }
    assert_eq!(count("snapshot.json", "nodes[].taints[]"), 2);
    assert!(!bundle.files().keys().any(|path| path.starts_with("artifacts/")), "{:?}", bundle.files().keys());
}

#[test]
fn the_same_key_gives_the_same_bundle_and_another_key_other_names() {
    let sample = seeded();
    assert_eq!(sample.bundle(), sample.bundle());
    let mut other = sample.clone();
    other.redaction.key = b"another key of the samples".to_vec();
    let names = |sample: &Sample| read(&sample.bundle(), "snapshot.json")["nodes"]["value"][0]["name"].clone();
    assert_ne!(names(&sample), names(&other));
}

#[test]
fn a_policy_of_ones_own_adds_to_minimal() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("redaction.yaml");
    let text = "apiVersion: seatrial.dev/v1alpha1\nkind: RedactionPolicy\nmetadata: {name: ours}\nspec:\n  keep: {messages: ['*'], artifacts: [gpu-capacity], labels: ['example.com/l14']}\n";
    std::fs::write(&file, text).expect("is written");
    let mut sample = seeded();
    sample.redaction = redaction(Policy::read(&file.display().to_string()).expect("reads"));
    let bundle = sample.bundle();
    let text = all_text(bundle.files());
    assert!(text.contains("dial tcp") && bundle.files().contains_key("artifacts/gpu-capacity.jsonl"));
    // What has a form, and names of nodes, is taken out of what is kept.
    for secret in ["gpu-worker-7", "10.0.12.34", "alice@example.com", "AKIAIOSFODNN7EXAMPLE", "i-0123456789abcdef0", "ghp_abcdefgh"] {
        let line = line_with(&text, secret);
        assert!(line.is_none(), "{secret} is still there: {}", line.unwrap_or_default());
    }
    assert_eq!(read(&bundle, "evidence.json")["redaction"]["policy"], "ours");
}

#[test]
fn a_constraint_that_could_not_be_judged_again_stops_the_bundle() {
    let mut sample = seeded();
    sample.recipe.spec.constraints = vec![yaml::from_str("{name: K8s.node.provider-id, value: x}", "c").expect("one")];
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    let error = sample.try_bundle().expect_err("is refused");
    assert_eq!(error.kind(), Kind::Usage);
    assert!(
        error.chain().contains("constraint K8s.node.provider-id reads what redaction policy `minimal` cannot show"),
        "{}",
        error.chain()
    );
}

#[test]
fn counted_labels_and_taints_stay_countable() {
    let mut sample = seeded();
    let before = sample.snapshot.readings(&"NodeTopology.summary.label-count".parse().expect("an address"), None);
    let count = before[0].reading.value().expect("was read").clone();
    sample.recipe.spec.constraints =
        vec![yaml::from_str(&format!("{{name: NodeTopology.summary.label-count, value: '{count}'}}"), "c").expect("one")];
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    let text = all_text(sample.bundle().files());
    assert!(SEEDED.iter().all(|secret| !text.contains(secret)));
}

#[test]
fn a_recipe_that_holds_a_secret_is_refused_by_place_and_without_the_value() {
    let mut sample = Sample::good();
    let component = "{name: dashboard, values: {grafana: {adminPassword: hunter2}}}";
    sample.recipe.spec.components = vec![yaml::from_str(component, "component").expect("a component")];
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    let error = sample.try_bundle().expect_err("is refused");
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.chain().contains("spec.components[0].values.grafana.adminPassword holds a password"), "{}", error.chain());
    assert!(!error.chain().contains("hunter2"));
}

#[test]
fn every_shipped_recipe_may_be_part_of_evidence() {
    for name in seatrial::data::recipe_names() {
        let recipe = seatrial::recipe::load::read(name).expect(name).recipe;
        seatrial::evidence::secrets::refuse(&recipe).expect(name);
    }
}

#[tokio::test]
async fn a_run_that_showed_nothing_never_passes() {
    let skipped = |mut sample: Sample| {
        for test in &mut sample.report.tests {
            test.outcome = Outcome::skip(seatrial::results::SkipReason::ByRequest, "left out");
        }
        sample.counted()
    };
    let errored = |mut sample: Sample| {
        for test in &mut sample.report.tests {
            test.outcome = Outcome::error(ErrorReason::Denied, "403");
        }
        sample.counted()
    };
    let none = |mut sample: Sample| {
        sample.report.tests.clear();
        sample.counted()
    };
    for (what, sample) in
        [("no test", none(Sample::good())), ("all skipped", skipped(Sample::good())), ("all errors", errored(Sample::good()))]
    {
        let statement: Value = serde_json::from_slice(&sample.bundle().statement().expect("a statement")).expect("JSON");
        assert_eq!(statement["predicate"]["result"], "FAILED", "{what}");
        let verification = Signed::verify(&sample.signed()).await;
        assert_eq!(verification.exit.code(), 3, "{what}: {:#?}", verification.report);
        assert!(verification.evidence.is_none(), "{what}");
    }
}

#[test]
fn the_examples_in_the_documentation_are_read_and_the_shipped_policy_is_shown_as_it_is() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/redaction.md")).expect("is there");
    let minimal = include_str!("../../src/evidence/redaction/minimal.yaml");
    assert!(page.contains(&format!("```yaml\n{minimal}```\n")), "docs/redaction.md must hold src/evidence/redaction/minimal.yaml as it is");
    let folder = tempfile::tempdir().expect("a directory");
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let ours = blocks.iter().find(|block| block.contains("name: lab")).expect("an example of one's own policy");
    let file = folder.path().join("redaction.yaml");
    std::fs::write(&file, ours).expect("is written");
    let policy = Policy::read(&file.display().to_string()).expect("reads");
    let bundle = Sample { redaction: redaction(policy), ..seeded() }.bundle();
    assert!(bundle.files().contains_key("artifacts/gpu-capacity.jsonl"), "as the page says");
    let schema: Value = serde_json::to_value(schemars::schema_for!(Policy)).expect("JSON");
    let example: Value = yaml::from_str(ours, "example").expect("YAML");
    assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&example));
}
