//! A bundle on its way: what is signed and pushed of it, without its large artifacts in memory.

use std::collections::BTreeMap;
use std::path::Path;

use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::evidence::bundle::{Bundle, Files, file, json};
use crate::evidence::directory::{self, Large};
use crate::evidence::manifest::{Manifest, sums};
use crate::evidence::{EVIDENCE, Evidence, MANIFEST, oci, statement};

/// A bundle whose manifest is right about its files, with all that is made of it.
#[derive(Clone, Debug)]
pub struct Parcel {
    files: Files,
    large: BTreeMap<String, Large>,
    artifact: oci::Document,
    statement: Vec<u8>,
    content_digest: Digest,
    evidence: Evidence,
}

/// A file of a bundle, wherever it is.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// In memory.
    Held(&'a [u8]),
    /// On disk.
    Large(&'a Large),
}

impl Parcel {
    /// Opens the bundle in a directory. Gives its signature too, if one lies beside the files; nothing of it is checked.
    ///
    /// # Errors
    /// As [`directory::read`] and [`Bundle::from_files`].
    pub fn open(folder: &Path) -> Result<(Self, Option<Vec<u8>>)> {
        let found = directory::open(folder)?;
        let parcel = Self::new(found.files, found.large).with_context(|| format!("read the bundle in {}", folder.display()))?;
        Ok((parcel, found.signature))
    }

    /// Takes a bundle that is in memory.
    ///
    /// # Errors
    /// [`Kind::Schema`](crate::error::Kind::Schema) if a file of it cannot be read.
    pub fn of(bundle: &Bundle) -> Result<Self> {
        Self::new(bundle.files().clone(), BTreeMap::new())
    }

    /// Takes files, some of which are on disk.
    ///
    /// # Errors
    /// [`Kind::Integrity`](crate::error::Kind::Integrity) or [`Kind::Schema`](crate::error::Kind::Schema) if the manifest is not right
    /// about them, or a file cannot be read.
    pub fn new(files: Files, large: BTreeMap<String, Large>) -> Result<Self> {
        let mut all = sums(&files);
        all.extend(large.iter().map(|(path, large)| (path.clone(), (large.size, large.digest.clone()))));
        let manifest = file(&files, MANIFEST)?;
        Manifest::parse(manifest)?.check_sums(&all)?;
        let artifact = oci::artifact_of(&all)?;
        Ok(Self {
            statement: statement::build(&files, &artifact.digest)?,
            content_digest: Digest::of(manifest),
            evidence: json(&files, EVIDENCE)?,
            artifact,
            files,
            large,
        })
    }

    /// The OCI manifest.
    #[must_use]
    pub fn artifact(&self) -> &oci::Document {
        &self.artifact
    }

    /// The in-toto statement that is signed.
    #[must_use]
    pub fn statement(&self) -> &[u8] {
        &self.statement
    }

    /// SHA-256 of `manifest.json`.
    #[must_use]
    pub fn content_digest(&self) -> &Digest {
        &self.content_digest
    }

    /// What `evidence.json` says.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts().map(|(_, part)| part.size()).sum()
    }

    /// Every file, by path.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Part<'_>)> {
        let held = self.files.iter().map(|(path, bytes)| (path.as_str(), Part::Held(bytes)));
        held.chain(self.large.iter().map(|(path, large)| (path.as_str(), Part::Large(large))))
    }
}

impl Part<'_> {
    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Large(large) => large.size,
        }
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Held(bytes) => Digest::of(bytes),
            Self::Large(large) => large.digest.clone(),
        }
    }
}
