//! Evidence of NVIDIA AICR, by its documented formats: pointers, allowlists, and bundles as directories. Read, never written.
//!
//! Its signature is verified, and speaks for a predicate of its own, so none of it can come out as verified evidence of ours; what can be
//! held against itself is, stage by stage.

mod allowlist;
mod bundle;
mod pointer;
mod signature;

use std::path::Path;

use serde::Serialize;

use crate::error::{Context, Result};
use crate::evidence::directory;
use crate::{files, limits, trust};
pub use allowlist::{Allowlist, Class};
pub use bundle::{AicrBundle, Predicate};
pub use pointer::{AicrPointer, Attestation, PREDICATE_TYPES, pointer, source_slug};

/// What became of one stage of verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Its name, as in our own verification.
    pub name: &'static str,
    /// What became of it.
    pub status: Status,
    /// What was found, or why there was nothing to look at.
    pub found: String,
}

/// What became of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It holds.
    Ok,
    /// It does not.
    Failed,
    /// It does not apply, or cannot be looked at.
    NotRun,
}

/// A piece of evidence of AICR, and which stages apply to it.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The pointer, where one was given.
    pub pointer: Option<AicrPointer>,
    /// The bundle's predicate, where a directory was given.
    pub predicate: Option<Predicate>,
    /// Every stage, in order.
    pub stages: Vec<Stage>,
}

impl Survey {
    /// What became of a stage.
    #[must_use]
    pub fn status(&self, name: &str) -> Status {
        self.stages.iter().find(|stage| stage.name == name).map_or(Status::NotRun, |stage| stage.status)
    }

    /// True if nothing that could be looked at was wrong.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.stages.iter().all(|stage| stage.status != Status::Failed)
    }
}

/// What is said of a stage.
type Told = (Status, String);

/// Looks at a file or directory. None if it is not AICR's. A signature is verified by `root`.
///
/// # Errors
/// [`Schema`](crate::error::Kind::Schema) for a document of AICR's that breaks its own rules; [`Integrity`](crate::error::Kind::Integrity) for what cannot be read as files.
pub fn survey(input: &Path, root: &trust::Root) -> Result<Option<Survey>> {
    if input.is_dir() {
        return of_directory(input, root);
    }
    // Whatever cannot be read is none of AICR's; our own reader says what is wrong with it.
    let Ok(text) = files::read_text(input, limits::DOCUMENT_BYTES) else { return Ok(None) };
    let Some(pointer) = pointer(&text, &input.display().to_string())? else { return Ok(None) };
    let place = &pointer.attestation().bundle.oci;
    let fetch = if place.is_empty() {
        "nothing was pushed: a pending pointer".to_owned()
    } else {
        format!("its artifact is one tar layer: `oras pull {}`, and give the directory", place.escape_debug())
    };
    let located = format!("pointer of AICR, schema {}, recipe {}", pointer.schema_version, pointer.recipe);
    let stages = stages(vec![("locate", (Status::Ok, located)), ("fetch", (Status::NotRun, fetch))]);
    Ok(Some(Survey { pointer: Some(pointer), predicate: None, stages }))
}

fn of_directory(folder: &Path, root: &trust::Root) -> Result<Option<Survey>> {
    let inner = folder.join("summary-bundle");
    let folder = if inner.is_dir() { inner.as_path() } else { folder };
    if !folder.join(bundle::STATEMENT).is_file() {
        return Ok(None);
    }
    let found = directory::read(folder).with_context(|| format!("read the AICR bundle in {}", folder.display()))?;
    let bundle = AicrBundle::parse(found.files).with_context(|| format!("read the AICR bundle in {}", folder.display()))?;
    let signature::Judged { signature, identity, freshness } = signature::judge(&bundle, root);
    let predicate = bundle.predicate();
    let own_clock = || (Status::NotRun, format!("attestedAt {} is the producer's own clock", predicate.attested_at));
    let mut told = vec![
        ("locate", (Status::Ok, format!("bundle directory of AICR, {}", predicate.predicate_type))),
        ("fetch", (Status::Ok, format!("{} files", bundle.files().len()))),
        ("signature", signature),
        ("manifest", bundle.manifest()),
        ("subject", bundle.subject()),
        ("results", bundle.results()),
        ("freshness", freshness.unwrap_or_else(own_clock)),
    ];
    told.extend(identity.map(|told| ("identity", told)));
    Ok(Some(Survey { pointer: None, predicate: Some(predicate.clone()), stages: stages(told) }))
}

/// Every stage in the order of our verification: what was told of it, or why it does not apply.
fn stages(told: Vec<(&'static str, Told)>) -> Vec<Stage> {
    const ALL: &[(&str, &str)] = &[
        ("locate", ""),
        ("fetch", ""),
        ("signature", "there are no files to look at"),
        ("identity", "without a verified signature there is no signer"),
        ("manifest", "there are no files to look at"),
        ("subject", "there are no files to look at"),
        ("results", "there are no files to look at"),
        ("coverage", "its recipe names validators of AICR, which are no checks of ours"),
        ("replay", "constraints were judged by a snapshot of which the bundle holds a part"),
        ("freshness", "there is no time that can be trusted"),
    ];
    let mut told: std::collections::BTreeMap<&str, Told> = told.into_iter().collect();
    let stage = |(name, otherwise): &(&'static str, &str)| {
        let (status, found) = told.remove(name).unwrap_or_else(|| (Status::NotRun, (*otherwise).to_owned()));
        Stage { name, status, found }
    };
    ALL.iter().map(stage).collect()
}
