//! The in-toto statement that is signed: rebuilt from the bundle and the OCI digest alone, with no clock and no randomness.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, canonical_json};
use crate::error::{Error, Kind, Result};
use crate::evidence::bundle::{Files, file, json};
use crate::evidence::{BOM, EVIDENCE, Evidence, MANIFEST, SNAPSHOT, bom};
use crate::exit::Exit;
use crate::results::{Scope, Verdict};
use crate::snapshot::{Hardware, Snapshot};

/// The type of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// The name of the subject that is the OCI manifest.
pub const OCI_SUBJECT: &str = "oci-manifest";

/// An in-toto statement about a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What it is about: the OCI manifest and the content.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    pub predicate_type: String,
    /// What it says.
    pub predicate: Predicate,
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// [`OCI_SUBJECT`] or `manifest.json`.
    pub name: String,
    /// Algorithm → hexadecimal digits.
    pub digest: BTreeMap<String, String>,
}

/// What the tests came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predicate {
    /// The result.
    pub result: TestVerdict,
    /// What was used.
    pub configuration: Vec<Resource>,
    /// Tests that passed, sorted.
    pub passed_tests: Vec<String>,
    /// Tests that were left out and leave a gap in the scope, sorted.
    pub warned_tests: Vec<String>,
    /// Tests that failed, could not tell or did not run, and steps that did not succeed (`step/<id>`), sorted.
    pub failed_tests: Vec<String>,
}

/// The result of a test run, in the predicate's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestVerdict {
    /// Everything that the recipe declares was seen to hold on real hardware.
    Passed,
    /// What was looked at held, but the scope was narrower, or the hardware is not known to be real.
    Warned,
    /// Something was seen to be wrong, or could not be told.
    Failed,
}

/// An in-toto resource descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// What it is.
    pub name: String,
    /// Where it is known under, as a package URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Algorithm → hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// What else is to be known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Resource {
    fn new(name: impl Into<String>, digest: &Digest) -> Self {
        Self { name: name.into(), uri: None, digest: sha256(digest), annotations: BTreeMap::new() }
    }

    fn note(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }
}

fn sha256(digest: &Digest) -> BTreeMap<String, String> {
    BTreeMap::from([("sha256".to_owned(), digest.hex().to_owned())])
}

impl Subject {
    fn new(name: &str, digest: &Digest) -> Self {
        Self { name: name.to_owned(), digest: sha256(digest) }
    }
}

impl Statement {
    /// The statement about a bundle.
    ///
    /// # Errors
    /// [`Kind::Schema`] or [`Kind::Integrity`] if a file of the bundle is missing or cannot be read.
    pub fn of(files: &Files, artifact: &Digest) -> Result<Self> {
        let evidence: Evidence = json(files, EVIDENCE)?;
        let snapshot: Option<Snapshot> = files.contains_key(SNAPSHOT).then(|| json(files, SNAPSHOT)).transpose()?;
        let content = Digest::of(file(files, MANIFEST)?);
        Ok(Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject::new(OCI_SUBJECT, artifact), Subject::new(MANIFEST, &content)],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate::of(&evidence, configuration(files, &evidence, snapshot.as_ref())?),
        })
    }

    /// Reads the payload of a signature.
    ///
    /// # Errors
    /// [`Kind::Schema`] if it is not a test result in an in-toto statement.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::new(Kind::Schema, what.to_owned());
        let head: serde_json::Value = serde_json::from_slice(payload).map_err(|error| wrong("read the signed statement").because(error))?;
        if head["_type"] != STATEMENT_TYPE {
            return Err(wrong("what was signed is not an in-toto statement v1"));
        }
        if head["predicateType"] != PREDICATE_TYPE {
            return Err(wrong("what was signed is not a test result v0.1"));
        }
        serde_json::from_value(head).map_err(|error| wrong("read the signed statement").because(error))
    }

    /// The name of the recipe that it says was run; nothing if it names none, or several.
    #[must_use]
    pub fn recipe(&self) -> Option<&str> {
        let mut named = self.predicate.configuration.iter().filter_map(|resource| resource.name.strip_prefix("recipe/"));
        named.next().filter(|_| named.next().is_none())
    }

    /// True if the statement is about something with this digest.
    #[must_use]
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subject.iter().any(|subject| subject.digest.get("sha256").is_some_and(|hex| hex == digest.hex()))
    }
}

/// Makes the statement's bytes, in canonical form.
///
/// # Errors
/// As [`Statement::of`].
pub fn build(files: &Files, artifact: &Digest) -> Result<Vec<u8>> {
    canonical_json(&Statement::of(files, artifact)?)
}

impl Predicate {
    fn of(evidence: &Evidence, configuration: Vec<Resource>) -> Self {
        let (mut passed, mut warned, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let steps = evidence.steps.iter().map(|step| (format!("step/{}", step.id), step.verdict));
        let checks = evidence.checks.iter().map(|check| (check.id.clone(), check.verdict));
        for (name, verdict) in checks {
            match verdict {
                Verdict::Pass => passed.push(name),
                Verdict::Skip(reason) if reason.narrows_scope() => warned.push(name),
                Verdict::Skip(_) => {}
                Verdict::Fail | Verdict::Error(_) | Verdict::NotRun(_) => failed.push(name),
            }
        }
        failed.extend(steps.filter(|(_, verdict)| !matches!(verdict, Verdict::Pass | Verdict::Skip(_))).map(|(name, _)| name));
        for names in [&mut passed, &mut warned, &mut failed] {
            names.sort();
        }
        let result = match evidence.exit() {
            Exit::Ok if evidence.scope == Scope::Full && evidence.hardware == Hardware::Real && warned.is_empty() => TestVerdict::Passed,
            Exit::Ok => TestVerdict::Warned,
            _ => TestVerdict::Failed,
        };
        Self { result, configuration, passed_tests: passed, warned_tests: warned, failed_tests: failed }
    }
}

fn configuration(files: &Files, evidence: &Evidence, snapshot: Option<&Snapshot>) -> Result<Vec<Resource>> {
    let at = |path: &str| -> Result<Resource> { Ok(Resource::new(path, &Digest::of(file(files, path)?))) };
    let mut all = vec![
        Resource::new(format!("recipe/{}", evidence.recipe.name), &evidence.recipe.digest).note("canonical-form", "RFC 8785"),
        Resource::new(format!("workflow/{}", evidence.workflow.name), &evidence.workflow.digest).note("canonical-form", "RFC 8785"),
        at(EVIDENCE)?.note("scope", evidence.scope.word()).note("hardware", evidence.hardware.word()),
        at(BOM)?,
    ];
    let version = &evidence.tool.version;
    all.push(Resource {
        name: format!("tool/{}", evidence.tool.name),
        uri: Some(format!("pkg:generic/{}@{version}", evidence.tool.name)),
        digest: evidence.tool.digest.as_ref().map(sha256).unwrap_or_default(),
        annotations: BTreeMap::new(),
    });
    if let Some(snapshot) = snapshot {
        all.push(at(SNAPSHOT)?.note("hardware", snapshot.cluster.hardware.word()));
        let images = bom::images(snapshot);
        all.extend(images.keys().filter_map(|image| Some(Resource::new(format!("image/{}", image.written), image.digest.as_ref()?))));
    }
    Ok(all)
}
