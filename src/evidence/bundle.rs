//! A bundle: the files that a run leaves behind, assembled from its inputs and from nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::digest::{Digest, canonical_json};
use crate::error::{Error, Kind, Result};
use crate::evidence::{
    BOM, EVIDENCE, Evidence, MANIFEST, Manifest, PLAN, RECIPE, RESULTS, Redaction, SIGNATURE, SNAPSHOT, Tool, bom, ctrf_path, oci, secrets,
    statement,
};
use crate::limits;
use crate::recipe::Recipe;
use crate::results::{Outcome, Report, ctrf};
use crate::snapshot::Snapshot;
use crate::yaml;

/// Files by path, in the order of the paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a bundle is made of. The same inputs give the same bytes.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// What the run came to; its outcomes still hold their artifacts.
    pub report: &'a Report,
    /// The resolved recipe.
    pub recipe: &'a Recipe,
    /// The snapshot, if one was taken.
    pub snapshot: Option<&'a Snapshot>,
    /// The plan, as JSON.
    pub plan: &'a Value,
    /// Digest of the workflow's canonical JSON.
    pub workflow: Digest,
    /// The program that made this.
    pub tool: Tool,
    /// What the bundle may hold of all this.
    pub redaction: &'a Redaction,
}

/// A complete bundle, without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    files: Files,
    content_digest: Digest,
}

impl Bundle {
    /// Assembles a bundle of what redaction leaves of its inputs.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the inputs do not belong together; [`Kind::Usage`] if the recipe holds a secret, or the policy takes out what a
    /// constraint of it reads.
    pub fn build(inputs: &Inputs) -> Result<Self> {
        check_inputs(inputs)?;
        secrets::refuse(inputs.recipe)?;
        let documents = inputs.redaction.apply(inputs.report, inputs.recipe, inputs.snapshot, inputs.plan)?;
        let (report, snapshot) = (&documents.report, documents.snapshot.as_ref());
        let mut files = Files::new();
        files.insert(RECIPE.to_owned(), yaml::to_string(inputs.recipe)?.into_bytes());
        if let Some(snapshot) = snapshot {
            files.insert(SNAPSHOT.to_owned(), canonical_json(snapshot)?);
        }
        files.insert(PLAN.to_owned(), canonical_json(&documents.plan)?);
        files.insert(RESULTS.to_owned(), canonical_json(report)?);
        files.insert(BOM.to_owned(), bom::write(snapshot, inputs.recipe, &inputs.tool)?);
        let evidence = Evidence::of(report, snapshot, inputs.workflow.clone(), inputs.tool.clone(), documents.redacted);
        files.insert(EVIDENCE.to_owned(), canonical_json(&evidence)?);
        for step in &report.steps {
            let tests = report.tests.iter().filter(|test| test.step == step.id);
            add(&mut files, ctrf_path(&step.id), ctrf::write(step, tests)?)?;
        }
        for test in report.tests.iter().filter(|test| !test.outcome.artifacts.is_empty()) {
            add(&mut files, format!("artifacts/{}.jsonl", safe_name(&test.id)), artifact_lines(&test.outcome)?)?;
        }
        for step in report.steps.iter().filter(|step| !step.outcome.artifacts.is_empty()) {
            add(&mut files, format!("artifacts/{}.jsonl", safe_name(&step.id)), artifact_lines(&step.outcome)?)?;
        }
        let manifest = Manifest::of(&files).to_bytes()?;
        let content_digest = Digest::of(&manifest);
        // What we would refuse to read is not written either.
        Manifest::parse(&manifest)?.check(&files)?;
        files.insert(MANIFEST.to_owned(), manifest);
        Ok(Self { files, content_digest })
    }

    /// Takes files that were read from somewhere as a bundle: the manifest must be right about them.
    ///
    /// # Errors
    /// [`Kind::Integrity`] or [`Kind::Schema`] if it is not.
    pub fn from_files(files: Files) -> Result<Self> {
        let manifest = file(&files, MANIFEST)?;
        Manifest::parse(manifest)?.check(&files)?;
        Ok(Self { content_digest: Digest::of(manifest), files })
    }

    /// The files by path, the manifest among them.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// SHA-256 of `manifest.json`.
    #[must_use]
    pub fn content_digest(&self) -> &Digest {
        &self.content_digest
    }

    /// What `evidence.json` says.
    ///
    /// # Errors
    /// [`Kind::Schema`] if it cannot be read.
    pub fn evidence(&self) -> Result<Evidence> {
        json(&self.files, EVIDENCE)
    }

    /// The OCI manifest: its bytes and digest.
    ///
    /// # Errors
    /// Never in practice; the model always has a JSON form.
    pub fn artifact(&self) -> Result<oci::Document> {
        oci::artifact(&self.files)
    }

    /// The in-toto statement that is signed.
    ///
    /// # Errors
    /// [`Kind::Schema`] if a file of the bundle cannot be read.
    pub fn statement(&self) -> Result<Vec<u8>> {
        statement::build(&self.files, &self.artifact()?.digest)
    }
}

fn check_inputs(inputs: &Inputs) -> Result<()> {
    let report = inputs.report;
    let wrong = |what: &str| Err(Error::internal(format!("make a bundle of run {}: {what}", report.run)));
    if report.recipe.digest != inputs.recipe.digest()? || report.recipe.name != inputs.recipe.metadata.name {
        return wrong("the report is about another recipe");
    }
    if report.snapshot != inputs.snapshot.map(Digest::of_json).transpose()? {
        return wrong("the report is about another snapshot");
    }
    let steps: BTreeSet<&str> = report.steps.iter().map(|step| step.id.as_str()).collect();
    if let Some(stray) = report.tests.iter().find(|test| !steps.contains(test.step.as_str())) {
        return wrong(&format!("test {} ran in step {}, which is not in the report", stray.id, stray.step));
    }
    let mut ids = BTreeSet::new();
    if let Some(twice) = report.tests.iter().find(|test| !ids.insert(test.id.as_str())) {
        return wrong(&format!("there are two tests {}", twice.id));
    }
    Ok(())
}

fn add(files: &mut Files, path: String, bytes: Vec<u8>) -> Result<()> {
    if files.contains_key(&path) {
        return Err(Error::internal(format!("two files of a bundle would have the path {path}")));
    }
    files.insert(path, bytes);
    Ok(())
}

fn artifact_lines(outcome: &Outcome) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for artifact in &outcome.artifacts {
        lines.extend(canonical_json(artifact)?);
        lines.push(b'\n');
    }
    Ok(lines)
}

/// A file of a bundle.
pub(crate) fn file<'a>(files: &'a Files, path: &str) -> Result<&'a [u8]> {
    files.get(path).map(Vec::as_slice).ok_or_else(|| Error::new(Kind::Integrity, format!("the bundle has no {path}")))
}

/// A JSON file of a bundle.
pub(crate) fn json<T: serde::de::DeserializeOwned>(files: &Files, path: &str) -> Result<T> {
    serde_json::from_slice(file(files, path)?).map_err(|error| Error::new(Kind::Schema, format!("read {path}")).because(error))
}

/// A name made safe as part of a path: everything but letters, digits and `._-/` becomes `%XX`; so does a leading dot of a part.
pub(crate) fn safe_name(name: &str) -> String {
    let mut safe = String::new();
    let mut start = true;
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && !start) || (byte == b'/' && !start);
        if plain {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
        start = byte == b'/';
    }
    safe
}

/// Accepts a path that means the same everywhere: relative, of plain ASCII names, nothing hidden, no way up, not one of the reserved names.
pub(crate) fn check_path(path: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'%');
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    if path.len() <= limits::BUNDLE_PATH && path != SIGNATURE && path.split('/').all(part) {
        return Ok(());
    }
    let shown: String = path.chars().take(limits::BUNDLE_PATH).collect();
    Err(Error::new(Kind::Schema, format!("`{}` is not a path that a bundle may hold", shown.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_a_path_that_is_accepted_and_no_two_become_one() {
        let names =
            ["dra-support", "health/nvidia driver.yaml", "../../etc/passwd", "/etc", ".hidden", "a/.b", "a%20b", "a b", "ü", "a//b"];
        let safe: BTreeSet<String> = names.iter().map(|name| safe_name(name)).collect();
        assert_eq!(safe.len(), names.len());
        for name in safe {
            check_path(&name).expect(&name);
        }
    }
}
