//! Schemas and the examples in the documentation are made from the code, and are what real documents look like.

use std::path::{Path, PathBuf};
use std::process::Command;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use seatrial::digest::canonical_json;
use seatrial::evidence::redaction::Policy;
use seatrial::evidence::{Bundle, Evidence, Manifest, Pointer, directory};
use seatrial::gate::{self, GateReport};
use seatrial::plan::{self, Plan};
use seatrial::policy::explain::PolicyExplanation;
use seatrial::policy::{Document, form};
use seatrial::reason::Reason;
use seatrial::recipe::overlay::Overlay;
use seatrial::recipe::{Recipe, load};
use seatrial::results::Report;
use seatrial::snapshot::Snapshot;
use seatrial::steps::Inputs;
use seatrial::verify::{Expected, Request, VerifyReport, VerifyReportList, many};
use seatrial::workflow::{Loaded, Workflow};

use crate::sample::{Sample, pointer_to};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a committed file with what the code makes of it; writes it with `UPDATE_EXPECT=1`.
fn compare(path: &str, expected: &str) {
    let file = here(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, expected).expect("is written");
    }
    let seen = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(seen == expected, "{path} is not what the code makes of it. To fix: UPDATE_EXPECT=1 cargo test --test evidence documents");
}

fn schema<T: JsonSchema>(name: &str) -> jsonschema::Validator {
    let mut schema = schema_for!(T).to_value();
    schema["title"] = name.into();
    compare(&format!("schemas/{name}.json"), &(pretty(&canonical_json(&schema).expect("JSON")) + "\n"));
    jsonschema::validator_for(&schema).expect("a JSON Schema")
}

/// JSON for people; sorted by way of the canonical form, whatever order this build of serde_json keeps.
fn pretty(bytes: &[u8]) -> String {
    let value: Value = serde_json::from_slice(bytes).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON")
}

fn assert_valid(validator: &jsonschema::Validator, document: &Value, name: &str) {
    let errors: Vec<String> = validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

fn pointer() -> Value {
    serde_json::to_value(pointer_to(&Sample::good().bundle())).expect("JSON")
}

/// A gate's report on a change that adds a pointer to a registry that is not listed, and a file that does not belong there.
async fn gate_report() -> GateReport {
    let folder = tempfile::tempdir().expect("a directory");
    let (base, head) = (folder.path().join("base"), folder.path().join("head"));
    let sample = Sample::good();
    let pointer = pointer_to(&sample.bundle());
    let write = |path: PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("is made");
        std::fs::write(path, text).expect("is written");
    };
    for side in [&base, &head] {
        write(side.join("evidence/policy.yaml"), &example_policy());
    }
    write(head.join("evidence").join(pointer.path().expect("a name")), &pointer.to_yaml().expect("YAML").replace("ghcr.io", "quay.io"));
    write(head.join("evidence/notes.txt"), "x");
    let request = gate::Request {
        change: gate::Change::Directories { base, head },
        evidence: "evidence".to_owned(),
        policy: "evidence/policy.yaml".to_owned(),
        data: "recipes".to_owned(),
        approvals: gate::Approvals::default(),
        checks: std::collections::BTreeMap::new(),
        registry: seatrial::registry::Options::default(),
        cache: seatrial::pull::Cache::default(),
        root: seatrial::trust::Root::default(),
        limit: std::time::Duration::from_secs(60),
        now: jiff::Timestamp::now(),
    };
    let report = gate::judge(&request).await.expect("two directories");
    assert_eq!((report.pointers.len(), report.files.len()), (1, 1), "{report:#?}");
    report
}

#[tokio::test]
async fn the_schemas_are_those_of_the_code_and_accept_what_the_code_writes() {
    let sample = Sample::good();
    let bundle = sample.bundle();
    let json = |path: &str| -> Value { serde_json::from_slice(&bundle.files()[path]).expect("JSON") };
    assert_valid(&schema::<Evidence>("evidence"), &json("evidence.json"), "evidence");
    assert_valid(&schema::<Manifest>("manifest"), &json("manifest.json"), "manifest");
    assert_valid(&schema::<Report>("results"), &json("results.json"), "results");
    assert_valid(&schema::<Snapshot>("snapshot"), &json("snapshot.json"), "snapshot");
    assert_valid(&schema::<Recipe>("recipe"), &serde_json::to_value(&sample.recipe).expect("JSON"), "recipe");
    assert_valid(&schema::<Pointer>("pointer"), &pointer(), "pointer");
    assert_valid(
        &schema::<Policy>("redaction-policy"),
        &serde_json::to_value(Policy::minimal().expect("is shipped")).expect("JSON"),
        "policy",
    );
    let report = sample.signed().verify().await.report;
    assert_valid(&schema::<VerifyReport>("verify-report"), &serde_json::to_value(report).expect("JSON"), "verify report");
    let report = gate_report().await;
    assert_valid(&schema::<GateReport>("gate-report"), &serde_json::to_value(report).expect("JSON"), "gate report");
}

#[test]
fn the_schemas_of_plan_and_workflow_accept_what_is_planned_and_what_is_shipped() {
    for name in seatrial::data::workflow_names() {
        let workflow = Loaded::read(name).expect(name);
        assert_valid(&schema::<Workflow>("workflow"), &serde_json::to_value(&workflow.workflow).expect("JSON"), name);
        let recipe = load::read("sim-h100").expect("the shipped recipe");
        let inputs = Inputs::new(workflow, recipe);
        let plan = plan::make(&inputs, None).expect("a plan");
        assert_valid(&schema::<Plan>("plan"), &serde_json::to_value(plan).expect("JSON"), "plan");
    }
}

#[test]
fn the_schema_of_overlays_accepts_those_that_ship() {
    let validator = schema::<Overlay>("recipe-overlay");
    let files = seatrial::data::overlay_files();
    assert!(files.len() > 10);
    for path in files {
        let overlay: Value = seatrial::yaml::from_str(seatrial::data::recipe_file(path).expect(path), path).expect(path);
        assert_valid(&validator, &overlay, path);
    }
}

#[test]
fn a_schema_refuses_what_the_reader_refuses() {
    let bundle = Sample::good().bundle();
    let mut evidence: Value = serde_json::from_slice(&bundle.files()["evidence.json"]).expect("JSON");
    evidence["surprise"] = 1.into();
    assert!(!schema::<Evidence>("evidence").is_valid(&evidence));
    let mut pointer = pointer();
    pointer["bundle"]["digest"] = "sha256:00".into();
    assert!(!schema::<Pointer>("pointer").is_valid(&pointer));
}

/// The example of a policy in the documentation, which a policy of one's own begins with.
fn example_policy() -> String {
    let text = std::fs::read_to_string(here("docs/policy.md")).expect("is there");
    let (_, rest) = text.split_once("<!-- example policy -->\n```yaml\n").expect("an example");
    rest.split_once("```").expect("its end").0.to_owned()
}

#[tokio::test]
async fn the_schemas_of_policies_and_of_what_is_said_by_them_accept_the_documented_ones() {
    let example = example_policy();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, &example).expect("is written");
    let (policy, findings) = form::read_with_findings(&path).expect("a policy");
    assert_eq!(findings, [], "the example is sound");
    let document: Value = seatrial::yaml::from_str(&example, "policy.md").expect("YAML");
    let validator = schema::<Document>("policy");
    assert_valid(&validator, &document, "policy");
    let mut wrong = document;
    wrong["signers"][0]["subject"]["github"]["repositoryID"] = "1".into();
    assert!(!validator.is_valid(&wrong), "a field that is misspelt");

    let explanation = policy.explain(&pointer_to(&Sample::good().bundle()), jiff::Timestamp::now());
    assert_valid(&schema::<PolicyExplanation>("policy-explanation"), &serde_json::to_value(explanation).expect("JSON"), "explanation");
    let signed = Sample::good().signed();
    let request = Request::new(signed.bundle().display().to_string(), Expected::key(signed.key()), seatrial::registry::Options::default());
    let list = many::verify_all(vec![request]).await;
    assert_eq!((list.verified, list.exit), (1, 0));
    assert_valid(&schema::<VerifyReportList>("verify-report-list"), &serde_json::to_value(list).expect("JSON"), "list");
}

#[test]
fn every_reason_is_documented_with_its_exit_code() {
    let path = "docs/policy.md";
    let text = std::fs::read_to_string(here(path)).expect("is there");
    let marker = "<!-- reasons -->\n";
    let (before, _) = text.split_once(marker).expect("a place for the reasons");
    let rows: String =
        Reason::ALL.iter().map(|reason| format!("| `{reason}` | {} | {} |\n", reason.exit().code(), reason.meaning())).collect();
    compare(path, &format!("{before}{marker}| id | exit | what it says |\n|---|---|---|\n{rows}"));
    let path = "docs/gate.md";
    let text = std::fs::read_to_string(here(path)).expect("is there");
    let (before, _) = text.split_once(marker).expect("a place for the reasons");
    let row = |reason: &Reason| format!("| `{reason}` | {} | {} | {} |\n", reason.exit().code(), reason.meaning(), reason.act());
    let rows: String = Reason::GATE.iter().map(row).collect();
    compare(path, &format!("{before}{marker}| id | exit | what it says | what to do |\n|---|---|---|---|\n{rows}"));
    let ids: std::collections::BTreeSet<&str> = Reason::ALL.iter().chain(Reason::GATE).map(|reason| reason.id()).collect();
    assert_eq!(ids.len(), Reason::ALL.len() + Reason::GATE.len(), "each has an id of its own");
    let threats = std::fs::read_to_string(here("docs/threat-model.md")).expect("is there");
    let named =
        threats.split('`').skip(1).step_by(2).filter(|name| name.contains('-') && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    let unknown: Vec<&str> = named.filter(|name| !ids.contains(name) && !name.starts_with("--")).collect();
    assert!(unknown.is_empty(), "docs/threat-model.md names reasons that are none: {unknown:?}");
}

/// What `evidence show` says of a bundle, with the command.
fn shown(bundle: &Bundle) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    directory::write(bundle, &folder.path().join("out/bundle")).expect("is written");
    let command = ["evidence", "show", "out/bundle"];
    let output = Command::new(env!("CARGO_BIN_EXE_seatrial")).env_clear().args(command).current_dir(folder.path()).output();
    let output = output.expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    format!("$ seatrial {}\n{}", command.join(" "), String::from_utf8(output.stdout).expect("text"))
}

/// The examples in the documentation: between `<!-- sample NAME -->` and the end of the fence that follows.
#[tokio::test]
async fn the_documentation_shows_documents_as_they_are() {
    let sample = Sample::good();
    let bundle = sample.bundle();
    let path = "docs/evidence-format.md";
    let mut text = std::fs::read_to_string(here(path)).expect("is there");
    let mut samples: Vec<(&str, &str, String)> = ["evidence.json", "manifest.json", "ctrf/conformance.json", "bom.cdx.json"]
        .map(|name| (name, "json", pretty(&bundle.files()[name])))
        .into();
    samples.push(("recipe.yaml", "yaml", String::from_utf8(bundle.files()["recipe.yaml"].clone()).expect("text")));
    samples.push((
        "artifacts/gpu-capacity.jsonl",
        "json",
        String::from_utf8(bundle.files()["artifacts/gpu-capacity.jsonl"].clone()).expect("text"),
    ));
    samples.push(("statement", "json", pretty(&bundle.statement().expect("a statement"))));
    samples.push(("artifact manifest", "json", pretty(&bundle.artifact().expect("a manifest").bytes)));
    samples.push(("pointer", "yaml", pointer_to(&bundle).to_yaml().expect("YAML")));
    samples.push(("show", "console", shown(&bundle)));
    for (name, language, content) in samples {
        let marker = format!("<!-- sample {name} -->\n");
        let start = text.find(&marker).unwrap_or_else(|| panic!("{path} has no sample {name}")) + marker.len();
        let fence = format!("```{language}\n{}\n```\n", content.trim_end());
        // A fence that follows at once is the old sample.
        let old = if text[start..].starts_with("```") { text[start..].find("\n```\n").map_or(0, |end| end + 5) } else { 0 };
        let end = start + old;
        text.replace_range(start..end, &fence);
    }
    compare(path, &text);
}
