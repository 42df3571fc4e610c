//! What holds for every file: layering, size, first line, and the few things that must be nowhere. Each failure says how to fix it.

#[path = "tidy/tables.rs"]
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tables::{CRATES, LAYERS, NEVER, SLEEPS};

/// Lines of a source file; what needs more is two things.
const MAX_LINES: usize = 500;

/// Module names that say nothing about what a module knows.
const VAGUE: &[&str] = &["common", "helper", "helpers", "misc", "types", "util", "utils"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All text files of the repository that are not ignored, by their path from the root.
fn files() -> BTreeMap<String, String> {
    let listed = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root()).output();
    let paths: Vec<String> = match listed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_owned).collect(),
        // A source archive has no git.
        _ => walk(root()),
    };
    let read = |path: String| Some((path.clone(), fs::read_to_string(root().join(&path)).ok()?));
    let files: BTreeMap<String, String> = paths.into_iter().filter(|path| !path.is_empty()).filter_map(read).collect();
    assert!(files.contains_key("Cargo.toml"), "no files were found below {}", root().display());
    files
}

fn walk(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("an entry").path());
    let inside = |path: PathBuf| {
        if path.is_dir() {
            return if path.ends_with("target") || path.ends_with(".git") { Vec::new() } else { walk(&path) };
        }
        vec![path.strip_prefix(root()).expect("is below the root").to_string_lossy().into_owned()]
    };
    entries.flat_map(inside).collect()
}

fn sources() -> BTreeMap<String, String> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// A source without comments, text and character literals, line by line.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            closing_quote(rest)
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        // Lines keep their numbers.
        code.extend(rest[..skipped].chars().filter(|letter| *letter == '\n'));
        rest = &rest[skipped..];
    }
    code
}

/// Bytes of a text literal that begins here.
fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// The number of `#` of a raw text literal that begins here.
fn raw_text(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Heads of all `crate::x` paths, also of those in groups, with their lines.
fn used_modules(code: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let heads = if let Some(group) = rest.strip_prefix('{') { group_heads(group) } else { vec![word(rest)] };
        used.extend(heads.into_iter().filter(|head| !head.is_empty()).map(|head| (line, head)));
    }
    used
}

fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (index, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.push(word(group[start..index].trim_start()));
                return heads;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(word(group[start..index].trim_start()));
                start = index + 1;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The module of a file: `src/a/b.rs` and `src/a.rs` are in `a`.
fn module(path: &str) -> Option<String> {
    let module = word(path.strip_prefix("src/")?);
    (!matches!(module.as_str(), "lib" | "main" | "cli")).then_some(module)
}

/// Fails with all findings and the way out.
#[track_caller]
fn none(findings: &[String], fix: &str) {
    assert!(findings.is_empty(), "\n{}\nTo fix: {fix}\n", findings.join("\n"));
}

#[test]
fn each_module_uses_only_what_the_table_of_layers_allows() {
    let layers: BTreeMap<&str, Vec<&str>> = LAYERS.iter().map(|(name, allowed)| (*name, allowed.split(' ').collect())).collect();
    let mut findings = Vec::new();
    for (path, source) in sources() {
        let Some(module) = module(&path) else { continue };
        let Some(allowed) = layers.get(module.as_str()) else {
            findings.push(format!("{path}: module `{module}` has no line in LAYERS"));
            continue;
        };
        for (line, used) in used_modules(&code(&source)) {
            if used != module && !allowed.contains(&used.as_str()) && layers.contains_key(used.as_str()) {
                findings.push(format!("{path}:{line}: `{module}` must not use `{used}`"));
            }
            if used == "cli" {
                findings.push(format!("{path}:{line}: only `main` uses `cli`"));
            }
        }
    }
    none(
        &findings,
        "pass in what is needed, or move the code to the layer that it belongs to. Only if the picture in src/lib.rs has changed, change LAYERS.",
    );
}

#[test]
fn what_verification_must_never_see_is_in_no_line_of_the_table() {
    let wrong = |(module, never): &(&str, &[&str])| {
        let allowed = LAYERS.iter().find(|(name, _)| name == module).map_or("", |(_, allowed)| allowed);
        allowed
            .split(' ')
            .filter(|name| never.contains(name))
            .map(|name| format!("LAYERS lets `{module}` use `{name}`"))
            .collect::<Vec<_>>()
    };
    let findings: Vec<String> = NEVER.iter().flat_map(wrong).collect();
    none(&findings, "a third party must be able to read verification without the rest: hand the data over in a file or an argument.");
}

#[test]
fn a_crate_with_one_home_is_used_there_only() {
    let mut findings = Vec::new();
    for (path, source) in sources().into_iter().filter(|(path, _)| path.starts_with("src/")) {
        let code = code(&source);
        for (name, homes, why) in CRATES.iter().flat_map(|(names, homes, why)| names.split(' ').map(move |name| (name, homes, why))) {
            if homes.iter().any(|home| path.starts_with(home)) {
                continue;
            }
            for (number, line) in code.lines().enumerate() {
                let uses = line.match_indices(&format!("{name}::")).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_' && letter != ':')
                });
                if uses {
                    findings.push(format!("{path}:{}: `{name}` is at home in {}: {why}", number + 1, homes.join(", ")));
                }
            }
        }
    }
    none(&findings, "use what the home module offers, or add it there.");
}

#[test]
fn only_ui_prints() {
    let macros = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    let findings: Vec<String> = lines_of_code("src/", |line| macros.iter().any(|name| has_word(line, name)));
    none(&findings, "take a `Ui` and call its methods: stdout carries only the artefact that was asked for.");
}

#[test]
fn nothing_sleeps_for_a_fixed_time() {
    let asleep = |line: &str| ["thread::sleep", "time::sleep", "sleep_until"].iter().any(|name| has_word(line, name));
    let findings: Vec<String> =
        lines_of_code("", asleep).into_iter().filter(|finding| !SLEEPS.iter().any(|(place, _)| finding.starts_with(place))).collect();
    none(
        &findings,
        "wait for the condition itself, with a deadline: a watch, a channel, a process exit. See SLEEPS in tests/tidy/tables.rs for the exceptions.",
    );
}

#[test]
fn every_source_file_begins_with_what_it_is_for() {
    let findings: Vec<String> = sources()
        .into_iter()
        .filter(|(_, source)| !source.starts_with("//! "))
        .map(|(path, _)| format!("{path}: no `//!` on line 1"))
        .collect();
    none(&findings, "begin the file with `//! ` and one sentence on its responsibility.");
}

#[test]
fn no_source_file_is_too_long() {
    let long = |(path, source): (String, String)| {
        let lines = source.lines().count();
        (lines > MAX_LINES).then(|| format!("{path}: {lines} lines, the limit is {MAX_LINES}"))
    };
    let findings: Vec<String> = sources().into_iter().filter_map(long).collect();
    none(&findings, "split the file by what its parts know; long tests go to a file of their own.");
}

#[test]
fn modules_are_named_by_what_they_know() {
    let vague =
        |path: &String| path.starts_with("src/") && path.split(['/', '.']).any(|part| VAGUE.contains(&part)) && path.ends_with(".rs");
    let findings: Vec<String> = sources().into_keys().filter(vague).collect();
    none(&findings, "name the module by what it knows (`digest`, `redact`), or move its functions to where they are used.");
}

#[test]
fn nothing_is_left_for_later() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("todo", "!("), concat!("unimplement", "ed!(")];
    let ours = |path: &str| path != "Cargo.lock" && !path.starts_with("tests/fixtures/cyclonedx/");
    let findings = lines_where(ours, |line| words.iter().any(|word| line.contains(word)));
    none(&findings, "do it now, or open an issue and leave nothing in the text.");
}

#[test]
fn warnings_are_expected_and_not_allowed() {
    let mut findings = lines_of_code("", |line| line.contains("#[allow(") || line.contains("#![allow("));
    let ignored = |line: &str| line.trim_start().starts_with("#[ignore") && line.trim() != "#[ignore = \"matrix\"]";
    findings.extend(lines_where(|path| path.ends_with(".rs"), ignored));
    none(
        &findings,
        "write `#[expect(lint, reason = \"…\")]`, which tells when it is no longer needed; `make test-matrix` runs the one kind of ignored test.",
    );
}

#[test]
fn no_path_of_a_developer_machine_is_written_down() {
    let roots = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/"), concat!("/ho", "me/")];
    let absolute = |line: &str| roots.iter().any(|root| line.match_indices(root).any(|(at, _)| begins_word(&line[..at])));
    let findings = lines_where(|_| true, absolute);
    none(&findings, "use a path relative to the repository, a temporary directory or a setting.");
}

#[test]
fn paths_named_in_documents_exist() {
    let files = files();
    let folders: BTreeSet<&str> = files.keys().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    let mut findings = Vec::new();
    for (document, text) in files.iter().filter(|(path, _)| path.ends_with(".md") && !path.contains("/golden/")) {
        for (number, line) in text.lines().enumerate() {
            for (named, from) in paths_in(line, document, &folders) {
                if !root().join(&from).join(&named).exists() {
                    findings.push(format!("{document}:{}: there is no {named}", number + 1));
                }
            }
        }
    }
    none(&findings, "name the file that is there now; write placeholders with <angle brackets>.");
}

/// Paths that a line of a document names: in backticks from the root, in links from the document.
fn paths_in(line: &str, document: &str, folders: &BTreeSet<&str>) -> Vec<(String, PathBuf)> {
    let is_plain = |path: &str| path.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
    // What a run makes is not in the repository.
    let from_root =
        |path: &&str| is_plain(path) && path.split_once('/').is_some_and(|(folder, _)| folders.contains(folder) && folder != "evidence");
    let quoted = line.split('`').skip(1).step_by(2).filter(from_root).map(|path| (path.to_owned(), PathBuf::new()));
    let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let beside = Path::new(document).parent().unwrap_or(Path::new("")).to_owned();
    let linked = links.filter(|path| !path.is_empty() && is_plain(path)).map(|path| (path.to_owned(), beside.clone()));
    quoted.chain(linked).collect()
}

#[test]
fn actions_are_pinned_and_workflows_have_no_more_rights_than_they_need() {
    let mut findings = Vec::new();
    for (path, text) in files() {
        let is_workflow = path.starts_with(".github/workflows/");
        if !(is_workflow || path == "action.yml" || path.ends_with("/action.yml")) {
            continue;
        }
        if is_workflow && !text.lines().any(|line| line == "permissions: {}") {
            findings.push(format!("{path}: no `permissions: {{}}` at the top"));
        }
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let Some((_, used)) = line.split_once("uses:") else { continue };
            let used = used.trim();
            if !used.starts_with("./") && !is_pinned(used) {
                findings.push(format!("{path}:{}: `{used}` is not pinned by commit with a version comment", number + 1));
            }
            let following = lines[number + 1..].iter().take(6);
            if used.starts_with("actions/checkout@") && !following.clone().any(|line| line.trim() == "persist-credentials: false") {
                findings.push(format!("{path}:{}: checkout without `persist-credentials: false`", number + 1));
            }
        }
        findings.extend(injections(&lines).into_iter().map(|line| format!("{path}:{line}: `${{{{ }}}}` inside `run:`")));
    }
    none(
        &findings,
        "write `uses: owner/action@<40 hex digits> # v1.2.3`, give each job its own `permissions`, and hand values to scripts by `env`.",
    );
}

fn is_pinned(used: &str) -> bool {
    let Some((reference, comment)) = used.split_once(" # ") else { return false };
    let Some((_, commit)) = reference.trim().rsplit_once('@') else { return false };
    commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) && comment.trim().starts_with('v')
}

/// Lines of scripts that GitHub would fill in before a shell reads them.
fn injections(lines: &[&str]) -> Vec<usize> {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut found = Vec::new();
    let mut script: Option<usize> = None;
    for (number, line) in lines.iter().enumerate() {
        if script.is_some_and(|depth| !line.trim().is_empty() && indent(line) <= depth) {
            script = None;
        }
        if line.trim_start_matches([' ', '-']).starts_with("run:") {
            script = Some(indent(line));
        }
        if script.is_some() && line.contains("${{") {
            found.push(number + 1);
        }
    }
    found
}

/// Lines of code, without comments and text, that a condition holds for.
fn lines_of_code(within: &str, condition: impl Fn(&str) -> bool) -> Vec<String> {
    let sources = sources().into_iter().filter(|(path, _)| path.starts_with(within));
    lines(sources.map(|(path, source)| (path, code(&source))), condition)
}

/// Lines of any file that a condition holds for.
fn lines_where(wanted: impl Fn(&str) -> bool, condition: impl Fn(&str) -> bool) -> Vec<String> {
    lines(files().into_iter().filter(|(path, _)| wanted(path)), condition)
}

fn lines(texts: impl Iterator<Item = (String, String)>, condition: impl Fn(&str) -> bool) -> Vec<String> {
    let found = |(path, text): (String, String)| {
        let found = text.lines().enumerate().filter(|(_, line)| condition(line));
        found.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())).collect::<Vec<String>>()
    };
    texts.flat_map(found).collect()
}

/// True if a path can begin after this text; `"$folder"` before it makes it the rest of one.
fn begins_word(before: &str) -> bool {
    let outside = before.trim_end_matches(['"', '\'', '`']);
    outside.chars().next_back().is_none_or(|letter| letter.is_whitespace() || "=:(,[".contains(letter))
}

/// True if a line holds a name that is not the end of a longer one.
fn has_word(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| !line[..at].chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_'))
}

#[test]
fn the_reader_of_sources_is_not_fooled() {
    let source = "use crate::{a, b::{c, d}, e};\n// crate::f\nlet x = \"crate::g \\\" crate::h\";\nlet y = r#\"crate::i\"#;\nlet z = '\"'; crate::j::k();\n$crate::l;";
    let used: Vec<(usize, String)> = used_modules(&code(source));
    assert_eq!(used, [(1, "a"), (1, "b"), (1, "e"), (5, "j")].map(|(line, name)| (line, name.to_owned())));
    assert!(is_pinned("actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"));
    assert!(!is_pinned("actions/checkout@v6 # v6") && !is_pinned("actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd"));
    assert_eq!(injections(&["  - run: |", "      echo ${{ x }}", "    env: {A: \"${{ y }}\"}", "  - run: a ${{ z }}"]), [2, 4]);
    assert!(begins_word("cd ") && begins_word("A=") && begins_word("x(\"") && !begins_word("cp \"$apt\"") && !begins_word("a/b"));
    let named = paths_in("see `src/a.rs`, `src/<x>.rs`, [b](../b.md#c) and [d](https://e)", "docs/x.md", &BTreeSet::from(["src"]));
    assert_eq!(named.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["src/a.rs", "../b.md"]);
}
