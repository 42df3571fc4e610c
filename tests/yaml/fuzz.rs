//! Documents that went wrong on the way: cut, doubled, changed, mixed. Each reader reads them or says why not; none panics or hangs.
//!
//! The same documents each time. `SEATRIAL_FUZZ_CASES` sets how many of them each reader gets.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use seatrial::constraints::{Constraint, Rule};
use seatrial::evidence::{Manifest, Pointer, sigstore, statement};
use seatrial::snapshot::Address;
use seatrial::{evidence, health, node_facts, recipe, results, snapshot, workflow, yaml};
use serde_json::Value;

use crate::mutate::Mutator;

/// Documents for each reader, unless told otherwise.
const CASES: u64 = 1000;
/// The longest that one document may take; the readers are not optimised here and the machine may be busy.
const ONE: Duration = Duration::from_secs(20);

/// Reads a file of health tests that has nothing beside it.
fn health_tests(text: &str) -> seatrial::error::Result<Vec<health::Test>> {
    health::load("x", text, &health::Beside { read: &|_| Ok(String::new()), values: &serde_json::Map::new() })
}

struct Reader {
    name: &'static str,
    seeds: fn(&Seeds) -> Vec<String>,
    read: fn(&str),
}

/// Real documents to begin with, by path, and the ones that the description of the evidence format shows.
struct Seeds {
    files: BTreeMap<String, String>,
    shown: Vec<String>,
}

impl Seeds {
    fn find() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = BTreeMap::new();
        for folder in ["recipes", "workflows", "sim", "tests/fixtures", "tests/yaml/corpus"] {
            collect(&root.join(folder), &mut files);
        }
        let format = std::fs::read_to_string(root.join("docs/evidence-format.md")).expect("is there");
        let blocks = format.split("```").skip(1).step_by(2);
        let mut shown: Vec<String> = blocks.filter_map(|block| block.split_once('\n')).map(|(_, text)| text.to_owned()).collect();
        assert!(shown.len() > 8, "docs/evidence-format.md shows its documents");
        // Some are read in canonical form only.
        let values = shown.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let canonical: Vec<Vec<u8>> = values.map(|value| seatrial::digest::canonical_json(&value).expect("has a form")).collect();
        shown.extend(canonical.into_iter().map(|bytes| String::from_utf8(bytes).expect("is UTF-8")));
        Self { files, shown }
    }

    fn files(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.files.iter().filter(|(path, _)| wanted(path)).map(|(_, text)| text.clone()).collect()
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            files.insert(path.display().to_string(), text);
        }
    }
}

fn yaml_files(seeds: &Seeds) -> Vec<String> {
    seeds.files(|path| path.ends_with(".yaml"))
}

fn snapshots(seeds: &Seeds) -> Vec<String> {
    seeds.files(|path| path.contains("/fixtures/snapshots/") || path.ends_with("/snapshot-packed.yaml"))
}

fn shown(seeds: &Seeds) -> Vec<String> {
    seeds.shown.clone()
}

const READERS: &[Reader] = &[
    Reader { name: "YAML", seeds: yaml_files, read: |text| drop(yaml::all_from_str::<Value>(text, "x")) },
    Reader { name: "large YAML", seeds: yaml_files, read: |text| drop(yaml::from_large_str::<Value>(text, "x")) },
    Reader {
        name: "recipe documents",
        seeds: |seeds| seeds.files(|path| path.contains("/recipes/") || path.contains("recipe") || path.ends_with("overlay.yaml")),
        read: |text| drop(recipe::load::parse(text, "x")),
    },
    Reader {
        name: "recipes",
        seeds: |seeds| seeds.files(|path| path.ends_with("sim-h100.yaml") || path.ends_with("recipe-result.yaml")),
        read: |text| drop(recipe::load::from_text(text, "x", None)),
    },
    Reader {
        name: "health tests",
        seeds: |seeds| seeds.files(|path| path.contains("/health/") || path.ends_with("chainsaw.yaml")),
        read: |text| drop(health_tests(text)),
    },
    Reader {
        name: "workflows",
        seeds: |seeds| seeds.files(|path| path.contains("/workflows/")),
        read: |text| drop(yaml::from_str::<workflow::Workflow>(text, "x")),
    },
    Reader { name: "snapshots", seeds: snapshots, read: |text| drop(snapshot::read_text(text, "x")) },
    Reader { name: "snapshots in JSON", seeds: as_json, read: |text| drop(snapshot::read_text(text, "x")) },
    Reader { name: "manifests", seeds: shown, read: |text| drop(Manifest::parse(text.as_bytes())) },
    Reader { name: "statements", seeds: shown, read: |text| drop(statement::Statement::parse(text.as_bytes())) },
    Reader { name: "signatures", seeds: shown, read: |text| drop(sigstore::Envelope::parse(text.as_bytes())) },
    Reader { name: "pointers", seeds: shown, read: |text| drop(Pointer::parse(text, "x")) },
    Reader { name: "evidence", seeds: shown, read: |text| drop(serde_json::from_str::<evidence::Evidence>(text)) },
    Reader { name: "results", seeds: shown, read: |text| drop(serde_json::from_str::<results::Report>(text)) },
    Reader { name: "CTRF", seeds: shown, read: |text| drop(results::ctrf::read(text.as_bytes())) },
    Reader {
        name: "node facts in a log",
        seeds: |seeds| seeds.shown.iter().map(|text| format!("noise\n{}", node_facts::chunks::write(text.as_bytes()))).collect(),
        read: |text| drop(node_facts::chunks::read(text)),
    },
    Reader { name: "constraint values", seeds: |_| CONSTRAINTS.iter().map(|text| (*text).to_owned()).collect(), read: constraint },
    Reader {
        name: "addresses",
        seeds: |_| ADDRESSES.iter().map(|text| (*text).to_owned()).collect(),
        read: |text| drop(Address::parse(text)),
    },
];

const CONSTRAINTS: &[&str] = &[
    ">= 1.34.0-rc.1+eks",
    "570 .. 580.82.07",
    "in [ubuntu, rhel, \"a b\"]",
    "!= 3",
    "== 80 GiB",
    "<= 1e308",
    "not in [a]",
    "24.04",
    "80GiB .. 96 GB",
];

const ADDRESSES: &[&str] = &[
    "K8s.server.version",
    "OS.sysctl./proc/sys/net/core/rmem_max",
    "GPU.smi.gpu-count",
    "OS.release.VERSION_ID",
    "NodeTopology.label.a/b.c",
];

fn as_json(seeds: &Seeds) -> Vec<String> {
    snapshots(seeds).iter().filter_map(|text| yaml::from_str::<Value>(text, "x").ok()).map(|value| value.to_string()).collect()
}

/// The value is judged against readings as well: `holds` must not panic whatever it says.
fn constraint(value: &str) {
    let made = |value_type: &Value| {
        let document = serde_json::json!({"name": "K8s.server.version", "value": value, "type": value_type});
        serde_json::from_value::<Constraint>(document)
    };
    for value_type in ["null", "\"version\"", "\"string\"", "\"number\""] {
        let value_type: Value = serde_json::from_str(value_type).expect("is JSON");
        let Ok(rule) = made(&value_type).map_err(drop).and_then(|constraint| Rule::parse(&constraint).map_err(drop)) else { continue };
        for reading in ["", "1.34.0", "v1.33.5-eks-3025e55", "80 GiB", "-1e999", "ubuntu", value] {
            drop(rule.holds(reading));
        }
    }
}

#[test]
fn no_document_makes_a_reader_panic_or_hang() {
    let cases: u64 = std::env::var("SEATRIAL_FUZZ_CASES").ok().map_or(CASES, |text| text.parse().expect("a number"));
    let seeds = Seeds::find();
    let mut worst = Vec::new();
    for reader in READERS {
        let documents = (reader.seeds)(&seeds);
        assert!(!documents.is_empty(), "{}: nothing to begin with", reader.name);
        let (say, hear) = mpsc::channel();
        let read = reader.read;
        // A stack that overflows ends the process with this name.
        let named = std::thread::Builder::new().name(reader.name.to_owned());
        let work = move || {
            for case in 0..cases {
                let text = Mutator::new(case).text(&documents);
                if say.send((case, text.clone(), false)).is_err() {
                    return;
                }
                let panicked = catch_unwind(AssertUnwindSafe(|| read(&text))).is_err();
                drop(say.send((case, text, panicked)));
            }
        };
        drop(named.spawn(work).expect("a thread"));
        let mut last = (0, String::new());
        loop {
            match hear.recv_timeout(ONE) {
                Ok((case, text, true)) => worst.push(format!("{} panics with case {case}: {text:?}", reader.name)),
                Ok((case, text, false)) => last = (case, text),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} hangs with case {}: {:?}", reader.name, last.0, last.1),
            }
        }
        assert!(last.0 + 1 == cases || !worst.is_empty(), "{}: ended after {} of {cases} cases", reader.name, last.0 + 1);
    }
    assert!(worst.is_empty(), "{}", worst.join("\n"));
}

#[test]
fn the_seeds_are_read_by_whom_they_are_for() {
    // Otherwise all that is tested is how documents of another kind are refused.
    let seeds = Seeds::find();
    let any = |documents: Vec<String>, read: &dyn Fn(&str) -> bool| documents.iter().filter(|text| read(text)).count();
    assert!(any(yaml_files(&seeds), &|text| yaml::all_from_str::<Value>(text, "x").is_ok()) > 30);
    assert!(any(snapshots(&seeds), &|text| snapshot::read_text(text, "x").is_ok()) >= 2);
    assert!(any(as_json(&seeds), &|text| snapshot::read_text(text, "x").is_ok()) >= 2);
    assert!(any(shown(&seeds), &|text| Manifest::parse(text.as_bytes()).is_ok()) >= 1, "a manifest");
    assert!(any(shown(&seeds), &|text| statement::Statement::parse(text.as_bytes()).is_ok()) >= 1, "a statement");
    assert!(any(shown(&seeds), &|text| Pointer::parse(text, "x").is_ok()) >= 1, "a pointer");
    assert!(any(shown(&seeds), &|text| results::ctrf::read(text.as_bytes()).is_ok()) >= 1, "CTRF");
    assert!(any(seeds.files(|path| path.ends_with("sim-h100.yaml")), &|text| recipe::load::parse(text, "x").is_ok()) >= 1);
    assert!(any(seeds.files(|path| path.contains("/health/")), &|text| health_tests(text).is_ok()) >= 1);
}
