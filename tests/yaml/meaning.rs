//! A corpus of the field's files and of odd spellings, compared with what Go makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::differences::{DIFFERENCES, Difference, KUBERNETES};

/// What Go says about one file or case.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Golden {
    file: String,
    #[serde(default)]
    documents: Vec<Value>,
    #[serde(default)]
    refused: String,
    #[serde(default)]
    kubernetes: Vec<Value>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/yaml")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files and cases with their text.
fn texts() -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = serde_json::from_str(&read(&folder().join("cases.json"))).expect("cases are text by name");
    for entry in std::fs::read_dir(folder().join("corpus")).expect("the corpus is there") {
        let path = entry.expect("an entry").path();
        texts.insert(path.file_name().expect("a name").to_string_lossy().into_owned(), read(&path));
    }
    texts
}

fn golden(text: &str) -> Vec<Golden> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Where two lists of documents differ, as JSON pointers. Numbers are the same only if both are integers or both are not.
fn compare(ours: &Value, theirs: &Value, at: &str, found: &mut BTreeSet<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for key in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                match (ours.get(key), theirs.get(key)) {
                    (Some(ours), Some(theirs)) => compare(ours, theirs, &at, found),
                    _ => {
                        found.insert(at);
                    }
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(ours, theirs, &format!("{at}/{index}"), found);
            }
        }
        _ if ours == theirs => {}
        _ => {
            found.insert(at.to_owned());
        }
    }
}

/// Empty documents say nothing: we leave them out.
fn without_empty(documents: &[Value]) -> Value {
    documents.iter().filter(|document| !document.is_null()).cloned().collect()
}

/// Where our reading of a text differs from Go's; the empty pointer if one of the two refuses it.
fn differences(text: &str, golden: &Golden) -> (BTreeSet<String>, String) {
    let ours = seatrial::yaml::all_from_str::<Value>(text, "x.yaml");
    let shown = ours.as_ref().map_or_else(|error| error.chain(), |documents| without_empty(documents).to_string());
    let mut found = BTreeSet::new();
    match ours {
        Ok(documents) if golden.refused.is_empty() => {
            compare(&without_empty(&documents), &without_empty(&golden.documents), "", &mut found);
        }
        Err(_) if !golden.refused.is_empty() => {}
        _ => {
            found.insert(String::new());
        }
    }
    (found, shown)
}

/// Compares all that was found with a list; an entry without a reason, or without a difference, is as wrong as a difference without an entry.
fn compare_lists(found: Vec<(String, String, String)>, listed: &[Difference]) {
    let mut unused: BTreeSet<(&str, &str)> = BTreeSet::new();
    for one in listed {
        assert!(!one.why.is_empty() && !one.at.is_empty(), "{} is listed without a place or a reason", one.file);
        unused.extend(one.at.iter().map(|at| (one.file, *at)));
    }
    let mut wrong: Vec<String> = Vec::new();
    for (file, at, shown) in &found {
        if !unused.remove(&(file.as_str(), at.as_str())) {
            wrong.push(format!("{file}: {at} {shown}"));
        }
    }
    wrong.extend(unused.iter().map(|(file, at)| format!("{file}: {at} is listed as different and is the same")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn committed() -> Vec<Golden> {
    golden(&read(&folder().join("golden.jsonl")))
}

#[test]
fn the_corpus_means_what_go_makes_of_it() {
    let (texts, golden) = (texts(), committed());
    let named: BTreeSet<&str> = golden.iter().map(|one| one.file.as_str()).collect();
    assert_eq!(named, texts.keys().map(String::as_str).collect(), "golden.jsonl is about other files: UPDATE_EXPECT=1 writes it");
    let mut all = Vec::new();
    for one in &golden {
        let (found, shown) = differences(&texts[&one.file], one);
        let theirs = if one.refused.is_empty() { without_empty(&one.documents).to_string() } else { one.refused.clone() };
        all.extend(found.into_iter().map(|at| (one.file.clone(), at, format!("\n    ours {shown}\n    Go's {theirs}"))));
    }
    compare_lists(all, DIFFERENCES);
}

#[test]
fn the_corpus_means_what_kubernetes_makes_of_it_but_for_words_of_yaml_1_1() {
    let (texts, mut all) = (texts(), Vec::new());
    for one in committed().iter().filter(|one| !one.kubernetes.is_empty()) {
        let ours = seatrial::yaml::all_from_str::<Value>(&texts[&one.file], &one.file).expect("is read");
        let mut found = BTreeSet::new();
        compare(&as_floats(&without_empty(&ours)), &as_floats(&without_empty(&one.kubernetes)), "", &mut found);
        all.extend(found.into_iter().map(|at| (one.file.clone(), at, String::new())));
    }
    compare_lists(all, KUBERNETES);
}

/// Kubernetes' reader does not tell 1.0 from 1.
fn as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.iter().map(as_floats).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), as_floats(value))).collect(),
        other => other.clone(),
    }
}

/// What Go says now, of these files; `None`, and a line, where that cannot be asked.
fn ask_go(files: &[PathBuf]) -> Option<String> {
    let mut command = Command::new("go");
    command.current_dir(folder().join("golden")).env("GOFLAGS", "-mod=readonly").env("GOWORK", "off").args(["run", "."]).args(files);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            crate::left_out(&format!("go does not start: {error}"));
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && said.contains("dial tcp") {
        crate::left_out(&format!("Go's modules cannot be fetched: {said}"));
        return None;
    }
    assert!(output.status.success(), "go run: {said}");
    Some(String::from_utf8(output.stdout).expect("is UTF-8"))
}

#[test]
fn the_golden_file_is_what_go_says() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder().join("corpus")).expect("is there").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.push(folder().join("cases.json"));
    let Some(said) = ask_go(&files) else { return };
    let path = folder().join("golden.jsonl");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, said).expect("is written");
    } else {
        assert!(said == read(&path), "golden.jsonl is not what Go says now: UPDATE_EXPECT=1 writes it");
    }
}

#[test]
fn what_ships_means_what_go_makes_of_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for shipped in ["recipes", "workflows", "sim", "tests/fixtures"] {
        yaml_files(&root.join(shipped), &mut files);
    }
    assert!(files.len() > 20, "{files:?}");
    let Some(said) = ask_go(&files) else { return };
    let golden = golden(&said);
    assert_eq!(golden.len(), files.len());
    for (one, path) in golden.iter().zip(&files) {
        let (mut found, shown) = differences(&read(path), one);
        // Times are text for us.
        found.retain(|at| at.is_empty() || !is_time(one, at));
        assert!(found.is_empty(), "{}: {found:?}\n    ours {shown}\n    Go's {} {:?}", path.display(), one.refused, one.documents);
    }
}

fn is_time(golden: &Golden, at: &str) -> bool {
    without_empty(&golden.documents).pointer(at).is_some_and(|value| value["$time"].is_string())
}

fn yaml_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).expect("is there").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            yaml_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}
