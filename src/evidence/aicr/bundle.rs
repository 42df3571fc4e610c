//! Bundles of NVIDIA AICR, as directories: the manifest, the predicate, and the totals recomputed from CTRF.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::evidence::aicr::pointer::{PREDICATE_TYPES, is_version_one};
use crate::evidence::aicr::{Status, Told};
use crate::evidence::bundle::{Files, file};

/// The statement that a bundle of AICR always holds, unsigned.
pub(super) const STATEMENT: &str = "statement.intoto.json";
/// Its signature, where it was signed here.
const SIGNATURE: &str = "attestation.intoto.jsonl";
const MANIFEST: &str = "manifest.json";
const RECIPE: &str = "recipe.yaml";
/// Files that follow from the manifest, so that it cannot list them.
const UNLISTED: &[&str] = &[MANIFEST, STATEMENT, SIGNATURE];
/// AICR's phases.
const PHASES: &[&str] = &["deployment", "performance", "conformance"];

/// A bundle of AICR. Nothing of it is verified.
#[derive(Clone, Debug)]
pub struct AicrBundle {
    files: Files,
    manifest: Manifest,
    predicate: Predicate,
    stated: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: String,
    files: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    size: u64,
    sha256: String,
}

/// What a bundle of AICR claims. Fields that say more than this are let be: newer versions add some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    /// One of [`PREDICATE_TYPES`].
    #[serde(skip_deserializing)]
    pub predicate_type: String,
    /// `1.0.x`.
    pub schema_version: String,
    /// By the producer's clock.
    pub attested_at: Timestamp,
    /// Version of AICR.
    #[serde(default)]
    pub aicr_version: String,
    /// The recipe by name and digest, in hexadecimal digits without a prefix.
    pub recipe: Recipe,
    /// What was recognised of the cluster.
    #[serde(default)]
    pub fingerprint: BTreeMap<String, Value>,
    /// Totals by phase.
    #[serde(default)]
    pub phases: BTreeMap<String, Phase>,
    /// The inventory.
    pub manifest: ManifestRef,
    /// What was taken out; absent says nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Value>,
}

/// A recipe of AICR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
}

/// Totals of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were left out.
    pub skipped: u64,
    /// Digest of the phase's CTRF document, `sha256:<hex>`.
    pub ctrf_digest: String,
}

/// The inventory by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestRef {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Files that it lists.
    #[serde(default)]
    pub file_count: u64,
}

impl AicrBundle {
    /// Reads a bundle's files.
    ///
    /// # Errors
    /// [`Kind::Integrity`] if a file is missing; [`Kind::Schema`] if one is not what AICR documents.
    pub fn parse(files: Files) -> Result<Self> {
        let wrong = |what: String| Error::new(Kind::Schema, what);
        let manifest: Manifest = json(file(&files, MANIFEST)?, MANIFEST)?;
        if !is_version_one(&manifest.schema_version) || manifest.files.is_empty() {
            return Err(wrong(format!("{MANIFEST} lists nothing, or is not of schema 1.0")));
        }
        let statement: Value = json(file(&files, STATEMENT)?, STATEMENT)?;
        let predicate_type = statement["predicateType"].as_str().unwrap_or_default().to_owned();
        if !PREDICATE_TYPES.contains(&predicate_type.as_str()) {
            return Err(wrong(format!("{STATEMENT} has predicate type `{}`, which is none of AICR's", predicate_type.escape_debug())));
        }
        let predicate: Predicate = serde_json::from_value(statement["predicate"].clone())
            .map_err(|error| wrong(format!("read the predicate in {STATEMENT}")).because(error))?;
        let stated = statement["predicate"].clone();
        Ok(Self { files, manifest, predicate: Predicate { predicate_type, ..predicate }, stated })
    }

    /// The files by path.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What it claims.
    #[must_use]
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// The predicate as it is written, with what we do not know of.
    pub(super) fn stated(&self) -> &Value {
        &self.stated
    }

    /// The signature that lies beside it.
    pub(super) fn signature(&self) -> Option<&[u8]> {
        self.files.get(SIGNATURE).map(Vec::as_slice)
    }

    /// Whether the files are those of the inventory, and the inventory that of the predicate.
    pub(super) fn manifest(&self) -> Told {
        let mut wrong = Vec::new();
        let digest = self.files.get(MANIFEST).map(|bytes| Digest::of(bytes));
        if digest.as_ref().map(Digest::as_str) != Some(prefixed(&self.predicate.manifest.digest).as_str()) {
            wrong.push("the predicate names another manifest".to_owned());
        }
        let mut listed = BTreeSet::new();
        for entry in &self.manifest.files {
            let shown = entry.path.escape_debug();
            let Some(bytes) = self.files.get(&entry.path) else {
                wrong.push(format!("{shown} is missing"));
                continue;
            };
            // A size of zero says nothing.
            if (entry.size > 0 && entry.size != bytes.len() as u64) || Digest::of(bytes).as_str() != prefixed(&entry.sha256) {
                wrong.push(format!("{shown} was changed"));
            }
            if !listed.insert(entry.path.as_str()) {
                wrong.push(format!("{shown} is listed twice"));
            }
        }
        let extra = self.files.keys().filter(|path| !UNLISTED.contains(&path.as_str()) && !listed.contains(path.as_str()));
        wrong.extend(extra.map(|path| format!("{path} is not listed")));
        told(wrong, format!("{} files as listed; the predicate names this manifest", listed.len()))
    }

    /// Whether predicate and recipe are about the same, as far as it can be told without AICR's own YAML library.
    pub(super) fn subject(&self) -> Told {
        let Some(recipe) = self.files.get(RECIPE) else { return (Status::Failed, format!("there is no {RECIPE}")) };
        let said = self.predicate.recipe.digest.trim_start_matches("sha256:");
        // Version 3 leaves metadata.version out of the digest, and the file holds it.
        if self.predicate.predicate_type.ends_with("/v3") {
            let without = without_version(&String::from_utf8_lossy(recipe));
            if Digest::of(without.as_bytes()).hex() == said || Digest::of(recipe).hex() == said {
                return (Status::Ok, format!("{RECIPE} has the digest that the predicate names"));
            }
        } else if Digest::of(recipe).hex() == said {
            return (Status::Ok, format!("{RECIPE} has the digest that the predicate names"));
        }
        let why = "its digest is over what AICR's YAML library writes, which this file is not byte by byte";
        (Status::NotRun, format!("recipe {}: {why}", self.predicate.recipe.name.escape_debug()))
    }

    /// Whether the predicate's totals are those of the CTRF documents. What it does not count is named.
    pub(super) fn results(&self) -> Told {
        let mut wrong = Vec::new();
        let (mut passed, mut uncounted) = (0, 0);
        for (name, phase) in &self.predicate.phases {
            let path = format!("ctrf/{name}.json");
            if !PHASES.contains(&name.as_str()) {
                wrong.push(format!("`{}` is no phase of AICR", name.escape_debug()));
                continue;
            }
            let Some(bytes) = self.files.get(&path) else {
                wrong.push(format!("{path} is missing"));
                continue;
            };
            if Digest::of(bytes).as_str() != prefixed(&phase.ctrf_digest) {
                wrong.push(format!("the predicate names another {path}"));
            }
            match counts(bytes, &path) {
                Ok([seen_passed, seen_failed, seen_skipped, other]) => {
                    if (seen_passed, seen_failed, seen_skipped) != (phase.passed, phase.failed, phase.skipped) {
                        wrong.push(format!("the totals of {path} are others than the predicate's"));
                    }
                    passed += seen_passed;
                    uncounted += other;
                    if seen_failed > 0 {
                        wrong.push(format!("{path} records {seen_failed} failures"));
                    }
                }
                Err(error) => wrong.push(error.chain()),
            }
        }
        if passed == 0 {
            wrong.push("no test passed".to_owned());
        }
        if uncounted > 0 {
            wrong.push(format!("{uncounted} tests could not tell or did not run, which AICR's predicate does not count"));
        }
        told(wrong, format!("recomputed from CTRF: {passed} passed in {} phases", self.predicate.phases.len()))
    }
}

fn told(wrong: Vec<String>, fine: String) -> Told {
    if wrong.is_empty() { (Status::Ok, fine) } else { (Status::Failed, wrong.join("; ")) }
}

/// Passed, failed, skipped, and everything else, by the tests themselves.
fn counts(bytes: &[u8], path: &str) -> Result<[u64; 4]> {
    let document: Value = json(bytes, path)?;
    let Some(tests) = document["results"]["tests"].as_array() else {
        return Err(Error::new(Kind::Schema, format!("{path} has no tests")));
    };
    let mut counts = [0; 4];
    for test in tests {
        let at = match test["status"].as_str() {
            Some("passed") => 0,
            Some("failed") => 1,
            Some("skipped") => 2,
            _ => 3,
        };
        counts[at] += 1;
    }
    Ok(counts)
}

/// A recipe in AICR's form without the line `version:` of its metadata, and without metadata that is then empty.
fn without_version(recipe: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in recipe.split_inclusive('\n') {
        let nested = line.starts_with([' ', '\t']);
        inside = if nested { inside } else { line.trim_end() == "metadata:" };
        if !(inside && nested && line.trim_start().starts_with("version:")) {
            kept.push(line);
        }
    }
    let empty = kept.iter().position(|line| line.trim_end() == "metadata:");
    if let Some(at) = empty.filter(|at| kept.get(at + 1).is_none_or(|next| !next.starts_with([' ', '\t']))) {
        kept.remove(at);
    }
    kept.concat()
}

/// Digests are written with and without `sha256:`.
fn prefixed(digest: &str) -> String {
    if digest.starts_with("sha256:") { digest.to_owned() } else { format!("sha256:{digest}") }
}

fn json<T: DeserializeOwned>(bytes: &[u8], path: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Schema, format!("read {path}")).because(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(ctrf: &Value, passed: u64) -> Files {
        let recipe = "kind: Recipe\nmetadata:\n  version: v0.12\nspec: {}\n";
        let mut files: Files = [(RECIPE, recipe.as_bytes().to_vec()), ("ctrf/conformance.json", ctrf.to_string().into_bytes())]
            .into_iter()
            .map(|(path, bytes)| (path.to_owned(), bytes))
            .collect();
        let entries: Vec<Value> =
            files.iter().map(|(path, bytes)| json!({"path": path, "size": bytes.len(), "sha256": Digest::of(bytes).as_str()})).collect();
        let manifest = json!({"schemaVersion": "1.0.0", "files": entries}).to_string().into_bytes();
        let predicate = json!({"schemaVersion": "1.0.0", "attestedAt": "2026-09-20T10:00:00Z", "aicrVersion": "v0.12",
            "recipe": {"name": "h100-eks", "digest": Digest::of(b"kind: Recipe\nspec: {}\n").hex()},
            "phases": {"conformance": {"passed": passed, "failed": 0, "skipped": 1, "ctrfDigest": Digest::of(&files["ctrf/conformance.json"]).as_str()}},
            "manifest": {"digest": Digest::of(&manifest).as_str(), "fileCount": 2}, "newer": true});
        let statement = json!({"predicateType": "https://aicr.run/recipe-evidence/v3", "predicate": predicate});
        files.insert(STATEMENT.to_owned(), statement.to_string().into_bytes());
        files.insert(MANIFEST.to_owned(), manifest);
        files
    }

    fn ctrf(statuses: &[&str]) -> Value {
        json!({"results": {"tests": statuses.iter().map(|status| json!({"name": "x", "status": status})).collect::<Vec<_>>()}})
    }

    #[test]
    fn a_sound_bundle_holds_at_every_stage_that_applies() {
        let bundle = AicrBundle::parse(files(&ctrf(&["passed", "skipped"]), 1)).expect("reads");
        for (what, (status, found)) in [("manifest", bundle.manifest()), ("subject", bundle.subject()), ("results", bundle.results())] {
            assert_eq!(status, Status::Ok, "{what}: {found}");
        }
        assert_eq!(bundle.signature(), None);
    }

    #[test]
    fn what_aicr_does_not_count_and_what_was_changed_is_found() {
        let told = |files: Files| AicrBundle::parse(files).expect("reads");
        let (status, found) = told(files(&ctrf(&["passed", "skipped", "other"]), 1)).results();
        assert!(status == Status::Failed && found.contains("1 tests could not tell"), "{found}");
        let (status, found) = told(files(&ctrf(&["skipped"]), 0)).results();
        assert!(status == Status::Failed && found.contains("no test passed"), "{found}");
        let (status, found) = told(files(&ctrf(&["passed", "skipped"]), 2)).results();
        assert!(status == Status::Failed && found.contains("totals"), "{found}");
        let mut changed = files(&ctrf(&["passed", "skipped"]), 1);
        changed.insert(RECIPE.to_owned(), b"kind: Recipe\n".to_vec());
        changed.insert("extra".to_owned(), Vec::new());
        let (status, found) = told(changed).manifest();
        assert!(status == Status::Failed && found.contains("recipe.yaml was changed") && found.contains("extra is not listed"), "{found}");
    }

    #[test]
    fn what_is_not_of_its_kind_is_a_schema_error() {
        let mut other = files(&ctrf(&["passed"]), 1);
        other.insert(STATEMENT.to_owned(), json!({"predicateType": "https://example.com/x"}).to_string().into_bytes());
        assert_eq!(AicrBundle::parse(other).expect_err("is refused").kind(), Kind::Schema);
    }
}
