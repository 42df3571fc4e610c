//! A corpus of the field's files and of odd spellings, compared with what Go makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::differences::{DIFFERENCES, Difference};

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
            for key in ours.keys().chain(theirs.keys()) {
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

#[test]
fn the_corpus_means_what_go_makes_of_it() {
    let texts = texts();
    let golden = golden(&read(&folder().join("golden.jsonl")));
    let named: BTreeSet<&str> = golden.iter().map(|one| one.file.as_str()).collect();
    assert_eq!(named, texts.keys().map(String::as_str).collect(), "golden.jsonl is about other files; README.md says how to write it");
    let mut listed: BTreeMap<(&str, &str), &Difference> = DIFFERENCES.iter().map(|one| ((one.file, one.at), one)).collect();
    let mut wrong = Vec::new();
    for one in &golden {
        let (found, shown) = differences(&texts[&one.file], one);
        for at in found {
            if listed.remove(&(one.file.as_str(), at.as_str())).is_none() {
                let theirs = if one.refused.is_empty() { without_empty(&one.documents).to_string() } else { one.refused.clone() };
                wrong.push(format!("{}: {at}\n    ours {shown}\n    Go's {theirs}", one.file));
            }
        }
    }
    wrong.extend(listed.keys().map(|(file, at)| format!("{file}: {at} is listed as different and is the same")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
