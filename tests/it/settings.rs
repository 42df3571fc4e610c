//! Settings from a file, what is shown of them, and what is derived from the commands.

use serde_json::Value;

use crate::support::Bin;

/// The program in a directory with this `seatrial.yaml`.
fn with_file(text: &str) -> Bin {
    let bin = Bin::seatrial();
    std::fs::write(bin.folder().join("seatrial.yaml"), text).expect("is written");
    bin
}

fn shown(bin: Bin, name: &str) -> Value {
    let ran = bin.args(["config", "show", "plan", "-t", "json"]).exits(0);
    let document: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    let rows = document["settings"].as_array().expect("a list");
    rows.iter().find(|row| row["name"] == name).expect(name).clone()
}

#[test]
fn a_flag_goes_before_a_variable_that_before_the_file_and_that_before_the_default() {
    let file = "max-gpus: 3\nplan:\n  budget: 1\n  recipe: sim-h100\n";
    let ran = with_file(file).args(["plan", "conformance"]).exits(2);
    assert!(ran.stderr.contains("the budget 1 min"), "{}", ran.stderr);
    let ran = with_file(file).args(["plan", "conformance"]).env("SEATRIAL_BUDGET", "2").exits(2);
    assert!(ran.stderr.contains("the budget 2 min"), "{}", ran.stderr);
    with_file(file).args(["plan", "conformance", "--budget", "500"]).env("SEATRIAL_BUDGET", "2").exits(0);

    let row = shown(with_file(file), "budget");
    assert_eq!((row["value"].as_str(), row["origin"].as_str(), row["place"].as_str()), (Some("1"), Some("file"), Some("seatrial.yaml:3")));
    let row = shown(with_file(file).env("SEATRIAL_BUDGET", "2"), "budget");
    assert_eq!((row["value"].as_str(), row["origin"].as_str()), (Some("2"), Some("variable")));
    assert_eq!(shown(with_file(file), "max-gpus")["place"], "seatrial.yaml:1");
    let row = shown(with_file(file), "settle");
    assert_eq!((row["value"].as_str(), row["origin"].as_str()), (Some("60"), Some("default")));
    assert_eq!(shown(with_file(file), "namespace")["origin"], "not-set");
    let ran = with_file(file).args(["config", "show", "--context", "lab", "-t", "json"]).exits(0);
    let document: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    let context = document["settings"].as_array().expect("a list").iter().find(|row| row["name"] == "context").expect("a row");
    assert_eq!((context["value"].as_str(), context["origin"].as_str()), (Some("lab"), Some("flag")));
}

#[test]
fn the_file_is_found_upwards_or_named_and_a_wrong_one_is_refused_with_its_place() {
    let bin = with_file("plan: {recipe: sim-h100, budget: 1}\n");
    let deep = bin.folder().join("a/b");
    std::fs::create_dir_all(&deep).expect("is made");
    let ran = Bin::within(&deep).args(["plan", "conformance"]).exits(2);
    assert!(ran.stderr.contains("the budget 1 min"), "{}", ran.stderr);
    std::fs::write(deep.join("other.yaml"), "plan: {recipe: sim-h100, budget: 500}\n").expect("is written");
    Bin::within(&deep).args(["plan", "conformance", "--config", "other.yaml"]).exits(0);
    Bin::within(&deep).args(["plan", "conformance"]).env("SEATRIAL_CONFIG", "other.yaml").exits(0);
    let ran = Bin::within(&deep).args(["plan", "conformance", "--config", "missing.yaml"]).exits(2);
    assert!(ran.stderr.contains("missing.yaml"), "{}", ran.stderr);

    for (text, words) in [
        ("plan:\n  recpie: x\n", ["seatrial.yaml:2:3", "did you mean `recipe`?"]),
        ("plan:\n  max-gpus: many\n", ["seatrial.yaml:2: invalid value 'many' for '--max-gpus", "config show"]),
        ("run: {yes: true}\n", ["seatrial.yaml:1:7", "--yes"]),
        ("kubeconfig: ./theirs\n", ["can name programs to run", "--config seatrial.yaml"]),
        ("plan: [\n", ["seatrial.yaml:", "error"]),
    ] {
        let ran = with_file(text).args(["plan", "conformance"]).exits(2);
        assert_eq!(ran.stdout, "");
        for word in words {
            assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
        }
    }
}

#[test]
fn help_version_completions_and_pages_do_not_look_at_the_file() {
    for args in [&["--version"][..], &["--help"], &["help", "run"], &["run", "--help"], &["completions", "bash"], &["man"]] {
        let ran = with_file("nonsense: [\n").args(args).exits(0);
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn secrets_are_neither_read_from_the_file_nor_shown() {
    let ran = with_file("key-passphrase: hidden\n").args(["config", "show"]).exits(2);
    assert!(ran.stderr.contains("SEATRIAL_KEY_PASSPHRASE") && !ran.stderr.contains("hidden"), "{}", ran.stderr);
    let bin = with_file("recipe: https://me:hidden@example.com/r.yaml?token=hidden\n").env("SEATRIAL_KEY_PASSPHRASE", "hidden");
    let ran = bin.args(["config", "show"]).exits(0);
    assert!(!ran.stdout.contains("hidden"), "{}", ran.stdout);
    assert!(ran.stdout.contains("https://example.com/r.yaml") && ran.stdout.contains("SEATRIAL_KEY_PASSPHRASE  set, not shown"));
}

#[test]
fn every_setting_of_the_help_is_shown_by_its_name() {
    let ran = Bin::seatrial().args(["config", "show", "-t", "json"]).exits(0);
    let document: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    let rows = document["settings"].as_array().expect("a list");
    for command in ["run", "evidence verify", "sim up"] {
        let help = Bin::seatrial().args(command.split(' ')).args(["--help"]).exits(0).stdout;
        let flags =
            help.split_whitespace().filter_map(|word| word.strip_prefix("--")).map(|flag| flag.trim_end_matches([',', '.', ';', ':', ')']));
        for flag in flags.filter(|flag| !["help", "version", "config"].contains(flag) && !flag.contains(['=', '/'])) {
            let known = rows.iter().any(|row| row["name"] == flag && (row["command"] == command || row["command"] == ""));
            assert!(known, "--{flag} of {command} is not among the settings");
        }
    }
    let ran = Bin::seatrial().args(["config", "show", "rnu"]).exits(2);
    assert!(ran.stderr.contains("did you mean `run`?"), "{}", ran.stderr);
}

#[test]
fn completions_and_manual_pages_are_derived_for_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = Bin::seatrial().args(["completions", shell]).exits(0);
        assert!(ran.stdout.contains("preflight") && ran.stdout.contains("max-gpus"), "{shell}");
    }
    let bin = Bin::seatrial();
    let folder = bin.folder().join("man1");
    let kept = bin.folder().to_owned();
    Bin::within(&kept).args(["man", "man1"]).exits(0);
    let page = std::fs::read_to_string(folder.join("seatrial-evidence-verify.1")).expect("a page");
    assert!(page.contains(".TH seatrial-evidence-verify 1") && page.contains("integrity"), "{page}");
    let first = std::fs::read_to_string(folder.join("seatrial.1")).expect("a page");
    Bin::within(&kept).args(["man", "man1"]).exits(0);
    assert_eq!(first, std::fs::read_to_string(folder.join("seatrial.1")).expect("a page"));
    drop(bin);
}

#[test]
fn alone_and_without_a_cluster_it_says_what_to_do_in_a_few_lines() {
    let ran = Bin::seatrial().exits(2);
    assert_eq!(ran.stdout, "");
    for word in ["no cluster to look at: there is no kubeconfig", "seatrial sim up", "--kubeconfig FILE", "seatrial --help"] {
        assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
    }
    assert!(ran.stderr.lines().count() < 12, "{}", ran.stderr);
}
