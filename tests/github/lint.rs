//! What actionlint and zizmor say of our Action, workflows and examples, and whether what they pin is what is here.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::registry_server::program;
use crate::root;

/// Workflows that users copy.
fn examples() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        ["training", "inference", "conformance"].iter().map(|name| root().join(format!("examples/{name}.yaml"))).collect();
    all.extend(["validate.yaml", "gate.yaml", "sign.yaml"].iter().map(|name| root().join("examples/consumer").join(name)));
    all
}

#[track_caller]
fn clean(command: &mut Command) {
    let output = command.current_dir(root()).output().expect("runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{said}");
}

#[test]
fn actionlint_and_zizmor_have_nothing_to_say() {
    let (Some(actionlint), Some(zizmor)) = (program("actionlint"), program("zizmor")) else { return };
    clean(Command::new(&actionlint).args(["-oneline", "-shellcheck=", "-pyflakes="]));
    clean(
        Command::new(&actionlint)
            .args(["-oneline", "-shellcheck=", "-pyflakes=", "-config-file", ".github/actionlint.yaml"])
            .args(examples()),
    );
    clean(Command::new(&zizmor).args(["--offline", "--no-progress", "--color", "never"]).arg(".").args(examples()));
}

#[test]
fn the_linters_would_have_found_something() {
    let (Some(actionlint), Some(zizmor)) = (program("actionlint"), program("zizmor")) else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("bad.yaml");
    let text = "name: bad\non: pull_request_target\njobs:\n  a:\n    runs-on: nowhere\n    steps:\n    - run: echo ${{ github.event.pull_request.title }}\n";
    std::fs::write(&path, text).expect("is written");
    for mut command in [Command::new(actionlint), Command::new(zizmor)] {
        if command.get_program().to_string_lossy().ends_with("zizmor") {
            command.args(["--offline", "--no-progress"]);
        }
        let output = command.arg(&path).output().expect("runs");
        assert!(!output.status.success(), "{command:?}");
    }
}

/// Where our own Action and workflows are used: by which file, what, and at which commit.
fn own_pins() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let listed =
        Command::new("git").args(["ls-files", ".github", "examples", "docs", "README.md"]).current_dir(root()).output().expect("git runs");
    for path in String::from_utf8(listed.stdout).expect("UTF-8").lines() {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        for (_, used) in text.lines().filter_map(|line| line.split_once("uses: seatrial/seatrial")) {
            let Some((what, commit)) = used.split_once('@').filter(|(_, commit)| !commit.starts_with("COMMIT")) else { continue };
            found.push((path.to_owned(), what.to_owned(), commit.split(' ').next().unwrap_or_default().to_owned()));
        }
    }
    found
}

#[test]
fn what_is_pinned_is_what_is_here() {
    let pins = own_pins();
    assert!(pins.len() >= 9, "{pins:?}");
    let git = |args: &[&str]| Command::new("git").args(args).current_dir(root()).output().expect("git runs");
    let whole = git(&["rev-parse", "--is-shallow-repository"]).stdout.trim_ascii() == b"false";
    for (path, what, commit) in &pins {
        // A reusable workflow pins the commit before its own for the Action, and callers pin a commit that holds both.
        let files = if what.is_empty() { vec!["action.yml", "action/install.sh"] } else { vec![what.trim_start_matches('/')] };
        for file in files {
            let shown = git(&["show", &format!("{commit}:{file}")]);
            if !shown.status.success() && !whole {
                let said = format!("not compared: {path} pins {commit}, and this copy has no whole history (git fetch --unshallow)\n");
                std::io::stderr().write_all(said.as_bytes()).expect("somebody listens");
                continue;
            }
            assert!(shown.status.success(), "{path} pins {commit}, which is in no history of this repository");
            let now = std::fs::read(root().join(file)).expect(file);
            assert!(shown.stdout == now, "{file} has changed since {commit}, which {path} pins: commit it first, then pin that commit");
        }
    }
}

#[test]
fn nobody_who_is_judged_chooses_the_judge() {
    // pull_request_target takes the workflow of the default branch; pull_request would take that of the pull request.
    for path in [".github/workflows/gate.yaml", "examples/consumer/gate.yaml"] {
        let workflow = crate::yaml(path);
        let events: Vec<&String> = workflow["on"].as_object().expect("events").keys().collect();
        assert_eq!(events, ["merge_group", "pull_request_target"], "{path}");
    }
    let gate = crate::yaml(".github/workflows/evidence-gate.yaml");
    let steps = gate["jobs"]["gate"]["steps"].as_array().expect("steps");
    let uses: Vec<&str> = steps.iter().filter_map(|step| step["uses"].as_str()).collect();
    assert!(uses.iter().all(|used| used.starts_with("seatrial/seatrial@")) && uses.len() == 1, "nothing else runs in the gate: {uses:?}");
    let text = std::fs::read_to_string(root().join(".github/workflows/evidence-gate.yaml")).expect("reads");
    for word in ["checkout", "secrets.", "cargo", "make ", "worktree"] {
        let used = text.lines().filter(|line| !line.trim_start().starts_with('#')).any(|line| line.contains(word));
        assert!(!used, "the gate must not have `{word}`");
    }
}
