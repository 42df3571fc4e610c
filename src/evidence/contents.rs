//! A bundle as it is looked at: its documents, and size and digest of every file. Artifacts are hashed and not kept.

use crate::digest::Digest;
use crate::error::Result;
use crate::evidence::bundle::{Files, file, json};
use crate::evidence::manifest::{Manifest, Sums, sums};
use crate::evidence::{BOM, EVIDENCE, Evidence, MANIFEST, PLAN, RECIPE, RESULTS, SNAPSHOT, oci};

/// The documents of a bundle, and what every file of it is. Nothing of it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    documents: Files,
    sums: Sums,
}

/// True for a file of which more than size and digest is looked at.
#[must_use]
pub fn is_document(path: &str) -> bool {
    [RECIPE, SNAPSHOT, PLAN, RESULTS, BOM, EVIDENCE, MANIFEST].contains(&path) || path.starts_with("ctrf/")
}

impl Contents {
    /// Documents, and size and digest of all other files.
    #[must_use]
    pub fn new(documents: Files, others: Sums) -> Self {
        let mut all = sums(&documents);
        all.extend(others);
        Self { documents, sums: all }
    }

    /// Documents, and size and digest of every file, the documents among them; they must have been compared.
    pub(crate) fn compared(documents: Files, sums: Sums) -> Self {
        Self { documents, sums }
    }

    /// The documents by path.
    #[must_use]
    pub fn documents(&self) -> &Files {
        &self.documents
    }

    /// Size and digest of every file.
    #[must_use]
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// The bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.sums.values().map(|(size, _)| size).sum()
    }

    /// The OCI manifest that the files give.
    ///
    /// # Errors
    /// Never in practice; the model always has a JSON form.
    pub fn artifact(&self) -> Result<oci::Document> {
        oci::artifact_of(&self.sums)
    }

    /// Holds the manifest against the files, and gives it.
    ///
    /// # Errors
    /// [`Kind::Integrity`](crate::error::Kind::Integrity) or [`Kind::Schema`](crate::error::Kind::Schema) if it is not right about them.
    pub fn check(&self) -> Result<Manifest> {
        let manifest = Manifest::parse(file(&self.documents, MANIFEST)?)?;
        manifest.check_sums(&self.sums)?;
        Ok(manifest)
    }

    /// SHA-256 of `manifest.json`.
    ///
    /// # Errors
    /// [`Kind::Integrity`](crate::error::Kind::Integrity) if there is none.
    pub fn content_digest(&self) -> Result<Digest> {
        Ok(Digest::of(file(&self.documents, MANIFEST)?))
    }

    /// What `evidence.json` says.
    ///
    /// # Errors
    /// [`Kind::Schema`](crate::error::Kind::Schema) if it cannot be read.
    pub fn evidence(&self) -> Result<Evidence> {
        json(&self.documents, EVIDENCE)
    }
}
