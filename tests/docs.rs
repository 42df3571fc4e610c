//! Generated documents are what the code says. To write them anew: `UPDATE_EXPECT=1 cargo test --test docs`.

#[path = "docs/cases.rs"]
mod cases;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};
use expect_test::expect_file;
use seatrial::checks;
use seatrial::cli::Cli;
use seatrial::exit::Exit;

/// The line under each title.
fn origin(source: &str) -> String {
    format!("Generated from {source}; `UPDATE_EXPECT=1 cargo test --test docs` writes it anew.\n\n")
}

#[test]
fn the_page_of_exit_codes_is_the_table_in_the_code() {
    let rows: String = Exit::ALL.iter().map(|exit| format!("| {} | {} | {} |\n", exit.code(), exit.name(), exit.meaning())).collect();
    let page = format!(
        "# Exit codes\n\n{}\
         `verdict`, `reason` and `scope` in the JSON documents are the interface; the exit code is their short form.\n\n\
         | code | name | meaning |\n|---|---|---|\n{rows}\n\
         Once checks have run, 0, 1, 3 and 130 tell: interrupted is 130; else anything that failed is 1; else anything that could not be told, or did not\n\
         run, is 3; else 0. A run that looked at nothing is 3 as well. The other codes are for a command that got nowhere for that one cause.\n",
        origin("`src/exit.rs`")
    );
    expect_file!["../docs/exit-codes.md"].assert_eq(&page);
}

#[test]
fn codes_and_names_are_unique_and_in_order() {
    let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    let mut names: Vec<&str> = Exit::ALL.iter().map(|exit| exit.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Exit::ALL.len());
}

#[test]
fn the_page_of_checks_is_what_explain_says() {
    let mut page = format!("# Checks\n\n{}`seatrial explain CHECK` prints the same text.\n", origin("the checks in `src/checks/mod.rs`"));
    let cases = cases::all(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    for check in checks::ALL {
        let tried = cases::table(cases.get(check.id).map_or(&[], Vec::as_slice));
        write!(page, "\n## {}\n\n{}\n{tried}", check.id, as_markdown(&checks::page(check))).expect("text takes text");
    }
    page.push_str("\n## Known, and not in this version\n\nA recipe that names one of these gets `error(unsupported)`, never a pass and never a skip.\n\n");
    for id in checks::NOT_BUILT_YET {
        writeln!(page, "- `{id}`").expect("text takes text");
    }
    expect_file!["../docs/checks.md"].assert_eq(&page);
}

#[test]
fn each_check_was_tried_on_a_healthy_cluster_and_on_two_wrong_ones() {
    let cases = cases::all(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    for named in cases.keys() {
        assert!(checks::ALL.iter().any(|check| check.id == named), "To fix: a case is of {named}, which is no check");
    }
    for check in checks::ALL {
        let of = |healthy: bool| cases.get(check.id).into_iter().flatten().filter(move |case| (case.kind == "healthy") == healthy);
        assert!(of(true).count() >= 1, "To fix: no test shows {} on a healthy cluster", check.id);
        assert!(of(false).count() >= 2, "To fix: fewer than two tests show {} on a wrong cluster", check.id);
    }
}

/// A page for terminals as Markdown below a second-level heading.
fn as_markdown(page: &str) -> String {
    let mut markdown = String::new();
    let mut card = true;
    for (index, line) in page.lines().enumerate() {
        card &= !line.is_empty();
        if index == 0 {
            // The id is in the heading above.
            let title = line.split_once(": ").map_or(line, |(_, title)| title);
            write!(markdown, "{title}.\n\n").expect("text takes text");
        } else if card {
            writeln!(markdown, "- {line}").expect("text takes text");
        } else if let Some(heading) = line.strip_prefix("# ") {
            write!(markdown, "### {heading}\n\n").expect("text takes text");
        } else if let Some(item) = line.strip_prefix("  ") {
            writeln!(markdown, "- {item}").expect("text takes text");
        } else {
            writeln!(markdown, "{line}").expect("text takes text");
        }
    }
    markdown
}

#[test]
fn the_page_of_the_command_line_is_its_help() {
    let mut command = Cli::command();
    command.build();
    let global: BTreeSet<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    let mut page = format!("# Command line\n\n{}## Options of every command\n\n", origin("the commands in `src/cli.rs`"));
    command.get_arguments().filter(|arg| is_ours(arg)).for_each(|arg| page.push_str(&option(arg)));
    section(&command, "seatrial", &global, &mut page);
    expect_file!["../docs/cli.md"].assert_eq(&page);
}

/// clap's own `--help` and `--version` need no words.
fn is_ours(arg: &Arg) -> bool {
    !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
}

/// The commands below one, depth first: what each is for, how it is called, its options.
fn section(command: &Command, path: &str, global: &BTreeSet<String>, page: &mut String) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        let path = format!("{path} {}", below.get_name());
        let about = below.get_long_about().or(below.get_about()).map(ToString::to_string).unwrap_or_default();
        let usage = below.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        write!(page, "\n## {path}\n\n{about}\n\n```\n{usage}\n```\n").expect("text takes text");
        let options: String =
            below.get_arguments().filter(|arg| is_ours(arg) && !global.contains(arg.get_id().as_str())).map(option).collect();
        if !options.is_empty() {
            write!(page, "\n{options}").expect("text takes text");
        }
        section(below, &path, global, page);
    }
}

/// One option or argument as an item of a list.
fn option(arg: &Arg) -> String {
    let names: Vec<String> =
        arg.get_short().map(|short| format!("-{short}")).into_iter().chain(arg.get_long().map(|long| format!("--{long}"))).collect();
    let takes_value = arg.get_action().takes_values();
    let value = arg.get_value_names().map(|names| names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" "));
    let shown = match (names.is_empty(), value.filter(|_| takes_value)) {
        (true, value) => value.unwrap_or_default(),
        (false, Some(value)) => format!("{} {value}", names.join(", ")),
        (false, None) => names.join(", "),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    assert!(!help.is_empty(), "To fix: give {shown} a doc comment in src/cli");
    let mut notes = Vec::new();
    let values: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if takes_value && !values.is_empty() {
        notes.push(format!("one of {}", values.join(", ")));
    }
    let defaults: Vec<String> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if takes_value && !defaults.is_empty() {
        notes.push(format!("default `{}`", defaults.join(" ")));
    }
    if let Some(variable) = arg.get_env() {
        notes.push(format!("variable `{}`", variable.to_string_lossy()));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    format!("- `{shown}`{notes}: {}\n", help.replace('\n', " "))
}

#[test]
fn every_test_that_the_architecture_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut named = 0;
    let mut missing = Vec::new();
    for invariant in read("ARCHITECTURE.md").split("**Invariant:**").skip(1) {
        let mut file = None;
        for quoted in invariant.split('`').skip(1).step_by(2) {
            if quoted.ends_with(".rs") {
                file = Some(quoted);
            } else if quoted.matches('_').count() >= 2
                && let Some(file) = file
            {
                named += 1;
                if !read(file).contains(&format!("fn {quoted}(")) {
                    missing.push(format!("{file} has no test {quoted}"));
                }
            }
        }
        assert!(file.is_some(), "To fix: name the file of the test that holds this invariant:{invariant}");
    }
    assert!(named > 10 && missing.is_empty(), "{missing:#?} To fix: name the tests in ARCHITECTURE.md as they are called now.");
}

#[test]
fn every_direct_dependency_is_explained_and_no_line_is_about_one_that_is_gone() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("Cargo.toml is there");
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dependencies.md")).expect("the document is there");
    let mut declared = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line == "[dev-dependencies]";
        } else if inside && let Some((name, _)) = line.split_once(" = ") {
            declared.insert(name.to_owned());
        }
    }
    // The first cell of each row holds one name, or several that belong together.
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let explained: BTreeSet<String> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let missing: Vec<&String> = declared.difference(&explained).collect();
    let gone: Vec<&String> = explained.difference(&declared).collect();
    assert!(
        !declared.is_empty() && missing.is_empty() && gone.is_empty(),
        "docs/dependencies.md: no row for {missing:?}; rows for {gone:?}, which Cargo.toml does not have. To fix: add or remove the rows."
    );
}
