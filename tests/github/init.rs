//! `seatrial init` writes what the documentation shows, and nothing over what somebody wrote.

use std::path::Path;
use std::process::Command;

use crate::registry_server::program;
use crate::root;

const FILES: [&str; 4] =
    ["seatrial.yaml", "evidence/policy.yaml", ".github/workflows/seatrial-validate.yaml", ".github/workflows/seatrial-gate.yaml"];

/// Runs it: its exit code and what it said.
fn init(folder: &Path, args: &[&str]) -> (i32, String) {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear().env("HOME", folder).env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(folder);
    let output = command.arg("init").args(args).output().expect("runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), said)
}

fn repository(origin: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for args in [vec!["init", "--quiet"], vec!["remote", "add", "origin", origin]] {
        assert!(Command::new("git").args(args).current_dir(folder.path()).status().expect("git runs").success());
    }
    folder
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn init_writes_what_the_linters_and_the_policy_take_and_the_documentation_shows() {
    let folder = repository("git@github.com:example-org/clusters.git");
    let (code, said) = init(folder.path(), &["--repository-id", "123456789", "--branch", "trunk"]);
    assert_eq!(code, 0, "{said}");
    let policy = read(folder.path(), "evidence/policy.yaml");
    for wanted in [
        "repositoryId: \"123456789\"",
        "https://github.com/example-org/clusters",
        "refs/heads/trunk",
        "ghcr.io/example-org",
        "@example-org",
    ] {
        assert!(policy.contains(wanted), "{wanted}: {policy}");
    }
    for name in FILES {
        let text = read(folder.path(), name);
        for left in ["OWNER", "NAME", "NUMBER", "SERVER", "BRANCH"] {
            assert!(!text.contains(left), "{name} still has {left}");
        }
    }
    let page = read(root(), "docs/github-action.md");
    for name in &FILES[2..] {
        assert!(page.contains(read(folder.path(), name).trim()), "docs/github-action.md does not show {name} as it is written");
    }
    // What is written is settings that the program takes.
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    let shown = command.env_clear().args(["config", "show", "run"]).current_dir(folder.path()).output().expect("runs");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("ghcr.io/example-org/evidence"), "{}", String::from_utf8_lossy(&shown.stderr));
    let (Some(actionlint), Some(zizmor)) = (program("actionlint"), program("zizmor")) else { return };
    let config = root().join(".github/actionlint.yaml");
    for command in [
        Command::new(actionlint).args(["-oneline", "-shellcheck=", "-pyflakes=", "-config-file"]).arg(config).current_dir(folder.path()),
        Command::new(zizmor).args(["--offline", "--no-progress", "--color", "never", "."]).current_dir(folder.path()),
    ] {
        let output = command.output().expect("runs");
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn init_again_changes_nothing_and_never_overwrites_unasked() {
    let folder = repository("https://github.com/example-org/clusters");
    let id = ["--repository-id", "5"];
    assert_eq!(init(folder.path(), &id).0, 0);
    let (code, said) = init(folder.path(), &id);
    assert_eq!((code, said.matches("  same  ").count()), (0, FILES.len()), "{said}");
    std::fs::write(folder.path().join("evidence/policy.yaml"), "mine\n").expect("is written");
    std::fs::remove_file(folder.path().join("seatrial.yaml")).expect("is removed");
    let (code, said) = init(folder.path(), &["--repository-id", "5"]);
    assert!(code == 2 && said.contains("evidence/policy.yaml") && said.contains("--force"), "{said}");
    assert_eq!(read(folder.path(), "evidence/policy.yaml"), "mine\n");
    assert!(!folder.path().join("seatrial.yaml").exists(), "nothing is written where something is refused");
    let (code, said) = init(folder.path(), &["--repository-id", "5", "--force"]);
    assert!(code == 0 && read(folder.path(), "evidence/policy.yaml").contains("repositoryId: \"5\""), "{said}");
}

#[test]
fn init_needs_to_know_which_repository_it_is() {
    for origin in ["/srv/git/clusters.git", "https://example.com/only"] {
        let (code, said) = init(repository(origin).path(), &["--repository-id", "5"]);
        assert!(code == 2 && said.contains("--repository OWNER/NAME"), "{said}");
    }
    let folder = tempfile::tempdir().expect("a directory");
    let (code, said) = init(folder.path(), &["--repository-id", "5"]);
    assert!(code == 2 && said.contains("--repository OWNER/NAME"), "{said}");
    for wrong in [
        ["--repository", "a/b\"\n", "--repository-id", "5"],
        ["--repository", "a/b", "--repository-id", "0"],
        ["--repository", "a", "--repository-id", "5"],
    ] {
        assert_eq!(init(folder.path(), &wrong).0, 2, "{wrong:?}");
    }
    let (code, said) = init(folder.path(), &["--repository", "a/b", "--repository-id", "5", "--branch", "x\": y"]);
    assert_eq!(code, 2, "{said}");
    assert!(!folder.path().join("evidence").exists());
}
