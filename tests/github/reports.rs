//! Outputs and summaries of commands in a step of GitHub's, and offering from the command line.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::fake::GitHub;
use crate::root;

/// What a step left: its exit code, its outputs, its summary, and all that it said.
struct Step {
    code: i32,
    outputs: BTreeMap<String, String>,
    said: String,
}

/// Runs the Action's binary with inputs, as the Action does.
fn step(folder: &Path, inputs: &serde_json::Value, variables: &[(&str, &str)]) -> Step {
    let output = folder.join("github-output");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear().env("HOME", folder).env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(folder);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", folder.join("summary"));
    command.env("SEATRIAL_INPUTS", inputs.to_string()).envs(variables.iter().copied()).args(["github", "action"]);
    let ran = command.output().expect("runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let text = std::fs::read_to_string(&output).unwrap_or_default();
    std::fs::remove_file(&output).unwrap_or(());
    Step { code: ran.status.code().unwrap_or(-1), outputs: read_outputs(&text), said }
}

/// Outputs as the runner reads them; the last of a name counts.
pub(crate) fn read_outputs(text: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, end) = line.split_once("<<").expect("NAME<<END");
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        outputs.insert(name.to_owned(), value.join("\n"));
    }
    outputs
}

#[test]
fn outputs_say_how_a_verification_ended() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("pointer.yaml"), "kind: nothing\n").expect("is written");
    std::fs::copy(root().join("evidence/policy.yaml"), folder.path().join("policy.yaml")).expect("is copied");
    let ended = step(folder.path(), &json!({"command": "verify", "evidence": "pointer.yaml", "policy": "policy.yaml"}), &[]);
    let read = |name: &str| ended.outputs.get(name).cloned();
    assert_eq!(ended.code, 22, "{}", ended.said);
    assert_eq!((read("verdict"), read("reason")), (Some("schema".to_owned()), Some("pointer-invalid".to_owned())), "{:?}", ended.outputs);
    assert_eq!((read("exit-code"), read("report")), (Some("22".to_owned()), Some(String::new())));
    // A command that got nowhere says so too.
    let ended = step(folder.path(), &json!({"command": "verify", "evidence": "pointer.yaml", "policy": "nowhere.yaml"}), &[]);
    assert_eq!((ended.code, ended.outputs.get("verdict").map(String::as_str)), (2, Some("usage")), "{}", ended.said);
}

#[test]
fn outputs_say_what_was_seen() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::copy(root().join("tests/fixtures/github/snapshot.json"), folder.path().join("snapshot.json")).expect("is copied");
    std::fs::copy(root().join("tests/fixtures/github/recipe.yaml"), folder.path().join("recipe.yaml")).expect("is copied");
    let inputs = json!({"command": "validate", "no-cluster": "true", "snapshot": "snapshot.json", "recipe": "recipe.yaml", "report": "markdown=report.md"});
    let ended = step(folder.path(), &inputs, &[]);
    let number = |name: &str| {
        ended.outputs.get(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or_else(|| panic!("{name}: {}", ended.said))
    };
    let all: usize = ["pass", "fail", "skip", "error", "not-run"].iter().map(|name| number(name)).sum();
    assert_eq!(number("selected"), all, "{:?}", ended.outputs);
    assert!(number("selected") > 0 && number("pass") + number("fail") > 0 && number("skip") > 0, "{:?}", ended.outputs);
    assert_eq!((number("error"), number("not-run"), number("fail")), (0, 0, 0), "{}", ended.said);
    assert!(ended.outputs["scope"].contains("constraints-only"), "{:?}", ended.outputs);
    assert_eq!(ended.outputs["exit-code"], ended.code.to_string());
}

#[test]
fn outputs_say_what_a_gate_decided() {
    let folder = tempfile::tempdir().expect("a directory");
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments).current_dir(folder.path());
        assert!(command.env("GIT_CONFIG_GLOBAL", "/dev/null").status().expect("git runs").success(), "{arguments:?}");
    };
    git(&["init", "--quiet", "--initial-branch=main", "."]);
    std::fs::create_dir(folder.path().join("evidence")).expect("is made");
    std::fs::copy(root().join("evidence/policy.yaml"), folder.path().join("evidence/policy.yaml")).expect("is copied");
    git(&["add", "evidence"]);
    git(&["commit", "--quiet", "-m", "base"]);
    git(&["checkout", "--quiet", "-b", "head"]);
    std::os::unix::fs::symlink("policy.yaml", folder.path().join("evidence/notes.txt")).expect("is linked");
    git(&["add", "evidence"]);
    git(&["commit", "--quiet", "-m", "head"]);
    std::fs::write(folder.path().join("event.json"), "{}").expect("is written");
    let event = folder.path().join("event.json").display().to_string();
    let variables = [("GITHUB_REPOSITORY", "o/r"), ("GITHUB_EVENT_NAME", "push"), ("GITHUB_EVENT_PATH", event.as_str())];
    let inputs = json!({"command": "gate", "base": "main", "head": "head", "report": "json=gate.json\nmarkdown=gate.md"});
    let ended = step(folder.path(), &inputs, &variables);
    let read = |name: &str| ended.outputs.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(ended.code, 21, "{}", ended.said);
    assert_eq!([read("decision"), read("accepted"), read("refused")], ["refuse", "0", "1"], "{:?}", ended.outputs);
    assert_eq!([read("verdict"), read("reason"), read("exit-code")], ["integrity", "not-a-file", "21"], "{:?}", ended.outputs);
    let report = std::fs::read_to_string(folder.path().join(read("report"))).expect("the report is there");
    assert!(report.starts_with("### Evidence gate: refuse (not-a-file)\n"), "{report}");
    let summary = std::fs::read_to_string(folder.path().join("summary")).expect("a summary");
    assert!(summary.starts_with("### Evidence gate: refuse (not-a-file)\n"), "{summary}");
}

#[test]
fn a_pointer_is_offered_from_the_command_line() {
    let Some(github) = GitHub::shared() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let start = "3333333333333333333333333333333333333333";
    github.seed(&json!({"refs": {"heads/cli": start}, "commits": {start: {"tree": start, "message": "m", "parents": []}}}));
    let digest = format!("sha256:{}", "a".repeat(64));
    let pointer = format!(
        "apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePointer\nrecipe: {{name: h100, digest: '{digest}'}}\n\
         bundle: {{repository: ghcr.io/o/e, digest: '{digest}', contentDigest: '{digest}'}}\nsignatures: []\nhardware: real\nrecordedAt: 2026-11-22T10:15:30Z\n"
    );
    let path = format!("evidence/h100/sha256-{}.yaml", "a".repeat(64));
    std::fs::create_dir_all(folder.path().join("evidence/h100")).expect("is made");
    std::fs::write(folder.path().join(&path), &pointer).expect("is written");
    std::fs::write(folder.path().join("event.json"), "{}").expect("is written");
    std::fs::write(folder.path().join("evil.yaml"), "on: push\n").expect("is written");
    let event = folder.path().join("event.json").display().to_string();
    let variables = [
        ("GITHUB_API_URL", github.address()),
        ("GITHUB_TOKEN", "contents=write,pull_requests=write"),
        ("GITHUB_REPOSITORY", "example-org/evidence"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_EVENT_PATH", &event),
        ("GITHUB_REF", "refs/heads/cli"),
        ("GITHUB_SERVER_URL", "https://github.example"),
    ];
    let ended = step(folder.path(), &json!({"command": "offer", "evidence": path, "pull-request": true}), &variables);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.outputs["url"].contains("/pull/"), "{:?}", ended.outputs);
    let state = github.state();
    let branch = format!("heads/evidence/sha256-{}", "a".repeat(17));
    let commit = state["refs"][&branch].as_str().unwrap_or_else(|| panic!("{branch}: {}", state["refs"]));
    let tree = &state["trees"][state["commits"][commit]["tree"].as_str().expect("a tree")];
    assert_eq!((&tree["tree"][0]["path"], &tree["tree"][0]["content"]), (&json!(path), &json!(pointer)));
    // It is no way to commit something else, or something from elsewhere.
    for other in ["evil.yaml", "../x.yaml", "/etc/hostname"] {
        let ended = step(folder.path(), &json!({"command": "offer", "evidence": other}), &variables);
        assert!(ended.code != 0 && !ended.outputs.contains_key("url"), "{other}: {}", ended.said);
    }
    // A tag is no branch.
    let mut tagged = variables.to_vec();
    tagged.retain(|(name, _)| *name != "GITHUB_REF");
    tagged.push(("GITHUB_REF", "refs/tags/v1"));
    let ended = step(folder.path(), &json!({"command": "offer", "evidence": path}), &tagged);
    assert!(ended.code == 2 && ended.said.contains("--branch"), "{}", ended.said);
}
