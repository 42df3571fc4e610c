//! `manifest.json`: every file of a bundle with its digest; its own SHA-256 is the content digest.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, canonical_json};
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::bundle::{Files, check_path};
use crate::evidence::{MANIFEST, oci};
use crate::limits;
use crate::recipe::API_VERSION;

/// Size and digest of files by path: all that an inventory wants to know of them.
pub type Sums = BTreeMap<String, (u64, Digest)>;

/// Size and digest of every file.
#[must_use]
pub fn sums(files: &Files) -> Sums {
    files.iter().map(|(path, bytes)| (path.clone(), (bytes.len() as u64, Digest::of(bytes)))).collect()
}

/// The inventory of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `EvidenceManifest`.
    pub kind: ManifestKind,
    /// Every file but the manifest itself, by path.
    pub files: Vec<Entry>,
}

/// The kind of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManifestKind {
    /// `manifest.json`.
    EvidenceManifest,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Path in the bundle, with `/`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Media type.
    pub media_type: String,
}

impl Manifest {
    /// The inventory of some files; a manifest among them is left out.
    #[must_use]
    pub fn of(files: &Files) -> Self {
        let entry = |(path, bytes): (&String, &Vec<u8>)| Entry {
            path: path.clone(),
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
            media_type: oci::media_type(path).to_owned(),
        };
        let files = files.iter().filter(|(path, _)| *path != MANIFEST).map(entry).collect();
        Self { api_version: API_VERSION.to_owned(), kind: ManifestKind::EvidenceManifest, files }
    }

    /// The one byte form (RFC 8785).
    ///
    /// # Errors
    /// Never in practice; the model always has a JSON form.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        canonical_json(self)
    }

    /// Reads a manifest: canonical, sorted, with safe paths that no file system can confuse, within the limits.
    ///
    /// # Errors
    /// [`Kind::Schema`] if it is anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: String| Error::new(Kind::Schema, what).context(format!("read {MANIFEST}"));
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| Error::new(Kind::Schema, format!("read {MANIFEST}")).because(error))?;
        if manifest.api_version != API_VERSION {
            return Err(wrong(format!("unknown apiVersion `{}`", manifest.api_version.escape_debug())));
        }
        if manifest.to_bytes()? != bytes {
            return Err(wrong("it is not in canonical form (RFC 8785)".to_owned()));
        }
        if manifest.files.len() >= limits::BUNDLE_FILES {
            return Err(wrong(format!("it lists {} files; the limit is {}", manifest.files.len(), limits::BUNDLE_FILES)));
        }
        if !manifest.files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(wrong("its files are not sorted, or one is listed twice".to_owned()));
        }
        let mut folded = BTreeSet::new();
        for entry in &manifest.files {
            check_path(&entry.path).context(format!("read {MANIFEST}"))?;
            if entry.path == MANIFEST || !folded.insert(entry.path.to_ascii_lowercase()) {
                return Err(wrong(format!("`{}` is listed twice, or is the manifest itself", entry.path)));
            }
        }
        Ok(manifest)
    }

    /// Compares the inventory with the files at hand: nothing missing, nothing extra, nothing changed.
    ///
    /// # Errors
    /// [`Kind::Integrity`], naming every file that disagrees.
    pub fn check(&self, files: &Files) -> Result<()> {
        self.check_sums(&sums(files))
    }

    /// The same for files that are not in memory.
    ///
    /// # Errors
    /// As [`Manifest::check`].
    pub fn check_sums(&self, files: &Sums) -> Result<()> {
        let listed: BTreeSet<&str> = self.files.iter().map(|entry| entry.path.as_str()).collect();
        let missing = self.files.iter().filter(|entry| !files.contains_key(&entry.path)).map(|entry| format!("{} is missing", entry.path));
        let extra =
            files.keys().filter(|path| *path != MANIFEST && !listed.contains(path.as_str())).map(|path| format!("{path} is not listed"));
        let changed = self.files.iter().filter_map(|entry| {
            let (size, digest) = files.get(&entry.path)?;
            if *size != entry.size {
                return Some(format!("{} has {size} bytes instead of {}", entry.path, entry.size));
            }
            (*digest != entry.digest).then(|| format!("{} is {} instead of {}", entry.path, digest.short(), entry.digest.short()))
        });
        let wrong: Vec<String> = missing.chain(extra).chain(changed).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Integrity, format!("the files disagree with {MANIFEST}: {}", wrong.join(", ")))
            .hint("the bundle was changed after it was made; get it again from where it was published"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        [("a.json", "{}"), ("ctrf/x.json", "[]")].into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_manifest_reads_back_and_finds_missing_extra_and_changed_files() {
        let manifest = Manifest::of(&files());
        let bytes = manifest.to_bytes().expect("has a form");
        assert_eq!(Manifest::parse(&bytes).expect("reads"), manifest);
        manifest.check(&files()).expect("agrees");
        let mut bad = files();
        bad.remove("a.json");
        bad.insert("b.json".to_owned(), vec![1]);
        bad.insert("ctrf/x.json".to_owned(), b"{}".to_vec());
        let error = manifest.check(&bad).expect_err("disagrees");
        assert_eq!(error.kind(), Kind::Integrity);
        for part in ["a.json is missing", "b.json is not listed", "ctrf/x.json is 44136fa355b3 instead of"] {
            assert!(error.chain().contains(part), "{part}: {}", error.chain());
        }
    }

    #[test]
    fn a_manifest_that_is_not_canonical_or_leads_outside_is_refused() {
        let manifest = Manifest::of(&files());
        let spaced = serde_json::to_vec_pretty(&manifest).expect("JSON");
        assert_eq!(Manifest::parse(&spaced).expect_err("is refused").kind(), Kind::Schema);
        for path in ["../a", "/a", "a//b", "a/./b", "a/..", "", "a\\b", "a\nb", ".hidden", "signature.sigstore.json", "manifest.json"] {
            let mut bad = manifest.clone();
            bad.files = vec![Entry { path: path.to_owned(), ..manifest.files[0].clone() }];
            assert_eq!(Manifest::parse(&bad.to_bytes().expect("JSON")).expect_err(path).kind(), Kind::Schema, "{path}");
        }
        let mut twice = manifest.clone();
        twice.files =
            vec![Entry { path: "A".to_owned(), ..manifest.files[0].clone() }, Entry { path: "a".to_owned(), ..manifest.files[0].clone() }];
        assert_eq!(Manifest::parse(&twice.to_bytes().expect("JSON")).expect_err("a case collision").kind(), Kind::Schema);
    }
}
