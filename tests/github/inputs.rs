//! Every input and output of action.yml: what becomes of it, and that none is forgotten.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{root, yaml};

/// The command line that inputs become.
fn line(inputs: &Value) -> Result<Vec<String>, String> {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear().env("SEATRIAL_INPUTS", inputs.to_string()).args(["github", "action", "--print"]).current_dir(std::env::temp_dir());
    let output = command.output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout).lines().map(str::to_owned).collect()) } else { Err(text(&output.stderr)) }
}

/// Each input: the commands that it is tried with, its value, and the words that it becomes.
const INPUTS: &[(&str, &[&str], &str, &[&str])] = &[
    ("workflow", &["run"], "training", &["--", "training"]),
    ("evidence", &["verify", "offer"], "evidence\n  oci://h/r@sha256:0  \n", &["--", "evidence", "oci://h/r@sha256:0"]),
    ("recipe", &["run", "validate", "verify"], "h100-eks-training", &["--recipe=h100-eks-training"]),
    ("snapshot", &["validate"], "s.json", &["--snapshot=s.json"]),
    ("data", &["run", "validate", "verify", "gate"], "recipes", &["--data=recipes"]),
    ("config", &["run", "verify", "sign"], "s.yaml", &["--config=s.yaml"]),
    ("kubeconfig", &["run", "validate"], "k", &["--kubeconfig=k"]),
    ("context", &["run", "validate"], "c", &["--context=c"]),
    ("namespace", &["run", "validate"], "n", &["--namespace=n"]),
    ("out", &["run", "validate"], "out", &["--out=out"]),
    ("resume", &["run"], "true", &["--resume"]),
    ("phase", &["validate"], "conformance\nreadiness", &["--phase=conformance", "--phase=readiness"]),
    ("check", &["validate"], "gpu-capacity", &["--check=gpu-capacity"]),
    ("skip-check", &["validate"], "a\nb", &["--skip-check=a", "--skip-check=b"]),
    ("behavioral-tests", &["validate"], "true", &["--behavioral-tests"]),
    ("no-cluster", &["validate"], "true", &["--no-cluster"]),
    ("report-only", &["validate"], "true", &["--report-only"]),
    ("fail-fast", &["run", "validate"], "true", &["--fail-fast"]),
    ("node-facts", &["run", "validate"], "true", &["--node-facts"]),
    ("image", &["run", "validate"], "ghcr.io/o/s:1", &["--image=ghcr.io/o/s:1"]),
    ("image-mirror", &["run", "validate"], "a=b\nc=d", &["--image-mirror=a=b", "--image-mirror=c=d"]),
    ("max-gpus", &["run", "validate"], "8", &["--max-gpus=8"]),
    ("budget", &["run", "validate"], "90", &["--budget=90"]),
    ("timeout", &["validate"], "30m", &["--timeout=30m"]),
    ("settle", &["run", "validate"], "10", &["--settle=10"]),
    ("skip-preflight", &["run", "validate"], "true", &["--skip-preflight"]),
    ("yes", &["run", "validate"], "true", &["--yes"]),
    ("report", &["run", "validate", "gate"], "junit=j.xml\njson=r.json", &["--report=junit=j.xml", "--report=json=r.json"]),
    ("emit-attestation", &["validate"], "bundle", &["--emit-attestation=bundle"]),
    ("push", &["run", "validate"], "ghcr.io/o/e", &["--push=ghcr.io/o/e"]),
    ("no-sign", &["run", "validate"], "true", &["--no-sign"]),
    ("key", &["run", "verify", "sign"], "k.pem", &["--key=k.pem"]),
    ("signing-config", &["run", "validate", "sign"], "c.json", &["--signing-config=c.json"]),
    ("timestamp-url", &["run", "sign"], "https://t", &["--timestamp-url=https://t"]),
    ("trusted-root", &["run", "verify", "sign", "gate"], "a.json\nb.json", &["--trusted-root=a.json", "--trusted-root=b.json"]),
    ("pointer-dir", &["run", "sign"], "evidence", &["--pointer-dir=evidence"]),
    ("redaction", &["run", "validate"], "full", &["--redaction=full"]),
    ("plain-http", &["run", "verify", "sign", "gate"], "true", &["--plain-http"]),
    ("registry-ca", &["run", "verify", "sign"], "ca.pem", &["--registry-ca=ca.pem"]),
    ("policy", &["verify"], "p.yaml", &["--policy=p.yaml"]),
    ("certificate-identity", &["verify"], "a@b.c", &["--certificate-identity=a@b.c"]),
    ("certificate-oidc-issuer", &["verify"], "https://i", &["--certificate-oidc-issuer=https://i"]),
    ("repository", &["gate"], "objects", &["--repository=objects"]),
    ("policy-path", &["gate"], "evidence/policy.yaml", &["--policy-path=evidence/policy.yaml"]),
    ("evidence-path", &["gate"], "evidence", &["--evidence-path=evidence"]),
    ("head", &["gate"], "HEAD", &["--head=HEAD"]),
    ("branch", &["sign", "offer"], "b", &["--branch=b"]),
    ("base", &["gate", "offer"], "main", &["--base=main"]),
    ("pull-request", &["offer"], "true", &["--pull-request"]),
];

/// Inputs that are for the Action alone, and the test that uses each.
const OWN: &[(&str, &str, &str)] = &[
    ("command", "inputs.rs", "a_command_that_is_missing_unknown_or_misspelt_is_refused"),
    ("path", "install.rs", "a_path_is_used_as_it_is"),
    ("version", "install.rs", "a_release_is_taken_only_if_its_digest_and_its_signature_hold"),
    ("sha256", "install.rs", "a_digest_that_was_given_takes_the_place_of_the_signature"),
    ("token", "install.rs", "a_release_is_taken_only_if_its_digest_and_its_signature_hold"),
    ("working-directory", "act.rs", "the_action_runs_under_act_and_sets_its_outputs"),
];

#[test]
fn every_input_becomes_its_flag_and_none_is_forgotten() {
    for (name, commands, value, words) in INPUTS {
        for command in *commands {
            let told = line(&json!({"command": command, *name: value})).unwrap_or_else(|error| panic!("{command} {name}: {error}"));
            let found = told.windows(words.len()).any(|window| window == *words);
            assert!(found, "{command} {name}: {told:?}");
        }
    }
    let action = yaml("action.yml");
    let there: BTreeSet<&str> = action["inputs"].as_object().expect("inputs").keys().map(String::as_str).collect();
    let tested: BTreeSet<&str> = INPUTS.iter().map(|(name, ..)| *name).chain(OWN.iter().map(|(name, ..)| *name)).collect();
    assert_eq!(there, tested, "an input without a row here, or a row without an input");
    for (name, file, test) in OWN {
        let text = std::fs::read_to_string(root().join("tests/github").join(file)).expect(file);
        assert!(text.contains(&format!("fn {test}(")), "`{name}` says that {file} has {test}");
    }
}

#[test]
fn what_is_empty_or_false_is_not_given_and_usual_values_do_no_harm() {
    let told =
        line(&json!({"command": "verify", "evidence": "evidence", "policy": "", "plain-http": "false", "yes": "true", "recipe": " \n"}));
    assert_eq!(told.expect("a line"), ["seatrial", "evidence", "verify", "--", "evidence"]);
    // What looks like a flag stays an argument, and what looks like a value stays one.
    let told = line(&json!({"command": "run", "workflow": "--yes", "recipe": "-x --out=/"})).expect("a line");
    assert_eq!(told, ["seatrial", "run", "--recipe=-x --out=/", "--", "--yes"]);
}

#[test]
fn a_command_that_is_missing_unknown_or_misspelt_is_refused() {
    for (inputs, said) in [
        (json!({}), "`command` is missing"),
        (json!({"command": "cleanup"}), "which is none"),
        (json!({"command": "rum"}), "did you mean `run`?"),
        (json!({"command": "run", "polcy": "x"}), "`polcy` is no flag of `run`"),
        (json!({"command": "verify", "push": "x"}), "`push` is no flag of `verify`"),
        (json!({"command": "run", "resume": "maybe"}), "either true or false"),
        (json!(["run"]), "no JSON object"),
    ] {
        let error = line(&inputs).expect_err("is refused");
        assert!(error.contains(said), "{inputs}: {error}");
    }
}

/// Each output, and the test that reads it.
const OUTPUTS: &[(&str, &str, &str)] = &[
    ("verdict", "reports.rs", "outputs_say_how_a_verification_ended"),
    ("reason", "reports.rs", "outputs_say_how_a_verification_ended"),
    ("exit-code", "reports.rs", "outputs_say_how_a_verification_ended"),
    ("report", "reports.rs", "outputs_say_how_a_verification_ended"),
    ("scope", "reports.rs", "outputs_say_what_was_seen"),
    ("selected", "reports.rs", "outputs_say_what_was_seen"),
    ("pass", "reports.rs", "outputs_say_what_was_seen"),
    ("fail", "reports.rs", "outputs_say_what_was_seen"),
    ("skip", "reports.rs", "outputs_say_what_was_seen"),
    ("error", "reports.rs", "outputs_say_what_was_seen"),
    ("not-run", "reports.rs", "outputs_say_what_was_seen"),
    ("bundle", "whole.rs", "evidence_that_a_workflow_made_is_accepted_and_what_is_wrong_is_refused"),
    ("pointer", "whole.rs", "evidence_that_a_workflow_made_is_accepted_and_what_is_wrong_is_refused"),
    ("digest", "whole.rs", "evidence_that_a_workflow_made_is_accepted_and_what_is_wrong_is_refused"),
    ("decision", "reports.rs", "outputs_say_what_a_gate_decided"),
    ("accepted", "reports.rs", "outputs_say_what_a_gate_decided"),
    ("refused", "reports.rs", "outputs_say_what_a_gate_decided"),
    ("url", "reports.rs", "a_pointer_is_offered_from_the_command_line"),
    ("binary", "act.rs", "the_action_runs_under_act_and_sets_its_outputs"),
];

#[test]
fn every_output_is_read_by_a_test() {
    let action = yaml("action.yml");
    let outputs = action["outputs"].as_object().expect("outputs");
    let there: BTreeSet<&str> = outputs.keys().map(String::as_str).collect();
    let tested: BTreeSet<&str> = OUTPUTS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(there, tested, "an output without a row here, or a row without an output");
    for (name, file, test) in OUTPUTS {
        let text = std::fs::read_to_string(root().join("tests/github").join(file)).expect(file);
        let (_, body) = text.split_once(&format!("fn {test}(")).unwrap_or_else(|| panic!("{file} has no {test}"));
        assert!(body.contains(&format!("\"{name}\"")), "{test} of {file} does not read `{name}`");
    }
}
