//! OCI image layouts, as a directory or in a tar file: a bundle with its signatures where no registry is reached.
//!
//! Nothing is ever written to a name that a layout gives: blobs are read by their digests, and what comes is compared with them.

mod archive;
mod folder;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::bundle::Files;
use crate::evidence::contents::{Contents, is_document};
use crate::evidence::directory::Large;
use crate::evidence::manifest::Sums;
use crate::evidence::{Parcel, oci};
use crate::limits;

pub(crate) use write::reader;
pub use write::{Packed, write_folder, write_tar};

/// The file that says that a directory is a layout.
const MARK: &str = "oci-layout";
/// The list of manifests.
const INDEX: &str = "index.json";
/// The media type of an index.
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The annotation that names a manifest by a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The version of the layout.
const VERSION: &str = "1.0.0";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    image_layout_version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// A part of a file that was opened once.
#[derive(Clone)]
struct Extent {
    file: Arc<File>,
    start: u64,
    size: u64,
}

/// Where the blobs are.
enum Store {
    Folder(folder::Folder),
    Archive(archive::Archive),
}

/// A layout that holds one bundle and its signatures.
pub struct Layout {
    store: Store,
    /// Digest and bytes of the bundle's OCI manifest.
    artifact: oci::Document,
    /// The other manifests.
    others: Vec<oci::Document>,
}

/// A signature in a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its OCI manifest.
    pub manifest: oci::Document,
    /// The Sigstore bundle; empty if it could not be read.
    pub bytes: Vec<u8>,
}

/// True if a directory is a layout.
#[must_use]
pub fn is_layout(folder: &Path) -> bool {
    folder.join(MARK).is_file()
}

impl Layout {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`Kind::Schema`] if it is no layout or does not hold exactly one bundle; [`Kind::Integrity`] for links, devices, wrong digests
    /// and whatever is over the limits.
    pub fn open(folder: &Path) -> Result<Self> {
        let doing = || format!("read the OCI layout {}", folder.display());
        folder::Folder::open(folder).and_then(|store| Self::new(Store::Folder(store))).with_context(doing)
    }

    /// Opens a tar file; none if the file is not one. It may be anything: a pipe, a directory and a missing file are not looked into.
    ///
    /// # Errors
    /// As [`Layout::open`].
    pub fn open_tar(path: &Path) -> Result<Option<Self>> {
        let doing = || format!("read the OCI layout in {}", path.display());
        let Some(store) = archive::Archive::open(path).with_context(doing)? else { return Ok(None) };
        Self::new(Store::Archive(store)).map(Some).with_context(doing)
    }

    fn new(store: Store) -> Result<Self> {
        let small = |name: &str, limit: u64| -> Result<Vec<u8>> {
            let extent = store.named(name)?.ok_or_else(|| Error::new(Kind::Schema, format!("there is no {name}")))?;
            extent.bytes(name, limit)
        };
        let wrong = |name: &str, error: serde_json::Error| Error::new(Kind::Schema, format!("read {name}")).because(error);
        let mark: Mark = serde_json::from_slice(&small(MARK, limits::DOCUMENT_BYTES)?).map_err(|error| wrong(MARK, error))?;
        if mark.image_layout_version != VERSION {
            return Err(Error::new(Kind::Schema, format!("its version is `{}`, not {VERSION}", mark.image_layout_version.escape_debug())));
        }
        let index: Index = serde_json::from_slice(&small(INDEX, limits::MANIFEST_BYTES)?).map_err(|error| wrong(INDEX, error))?;
        if index.manifests.len() > limits::LAYOUT_MANIFESTS {
            let message = format!("{INDEX} lists {} manifests; the limit is {}", index.manifests.len(), limits::LAYOUT_MANIFESTS);
            return Err(Error::new(Kind::Integrity, message));
        }
        let (mut bundles, mut others) = (BTreeMap::new(), Vec::new());
        for entry in index.manifests.iter().filter(|entry| entry.media_type == oci::MANIFEST_TYPE) {
            if entry.size > limits::MANIFEST_BYTES {
                return Err(Error::new(
                    Kind::Integrity,
                    format!("manifest {} has {} bytes, more than a manifest may have", entry.digest, entry.size),
                ));
            }
            let document = oci::Document { bytes: store.bytes(&entry.digest, entry.size)?, digest: entry.digest.clone() };
            if oci::is_bundle(&document.bytes) {
                bundles.insert(document.digest.clone(), document);
            } else {
                others.push(document);
            }
        }
        let count = bundles.len();
        let mut bundles = bundles.into_values();
        match (bundles.next(), bundles.next()) {
            (Some(artifact), None) => Ok(Self { store, artifact, others }),
            _ => Err(Error::new(Kind::Schema, format!("it holds {count} bundles of evidence and should hold one"))
                .hint("`seatrial evidence pack` makes a layout with one bundle and all its signatures")),
        }
    }

    /// Digest of the bundle's OCI manifest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.artifact.digest
    }

    /// The bundle as it is looked at: its documents, and size and digest of every file.
    ///
    /// # Errors
    /// [`Kind::Schema`] if the manifest is not that of a bundle; [`Kind::Integrity`] if a blob is missing or is not what its digest says.
    pub fn contents(&self) -> Result<Contents> {
        let (mut documents, mut sums) = (Files::new(), Sums::new());
        for layer in oci::layers(&self.artifact.bytes)? {
            if is_document(&layer.path) {
                documents.insert(layer.path.clone(), self.store.bytes(&layer.digest, layer.size)?);
            } else {
                self.store.blob(&layer.digest, layer.size)?.check(&layer.digest, None)?;
            }
            sums.insert(layer.path, (layer.size, layer.digest));
        }
        Ok(Contents::compared(documents, sums))
    }

    /// The bundle, with its large artifacts left where they are.
    ///
    /// # Errors
    /// As [`Layout::contents`]; [`Kind::Integrity`] if the manifest is not the one that the files give.
    pub fn parcel(&self) -> Result<Parcel> {
        let (mut files, mut large) = (Files::new(), BTreeMap::new());
        for layer in oci::layers(&self.artifact.bytes)? {
            if layer.may_stay_on_disk() {
                large.insert(layer.path, self.store.large(&layer.digest, layer.size)?);
            } else {
                files.insert(layer.path, self.store.bytes(&layer.digest, layer.size)?);
            }
        }
        let parcel = Parcel::new(files, large)?;
        if parcel.artifact().digest != self.artifact.digest {
            return Err(Error::new(Kind::Integrity, "the OCI manifest is not the one that its files give"));
        }
        Ok(parcel)
    }

    /// The signatures that are attached to the bundle. One that cannot be read is there with nothing in it.
    #[must_use]
    pub fn signatures(&self) -> Vec<Signature> {
        let read = |manifest: &oci::Document| -> Result<Option<Vec<u8>>> {
            let Some(layer) = oci::signature_layer(&manifest.bytes, &self.artifact.digest)? else { return Ok(None) };
            self.store.bytes(&layer.digest, layer.size).map(Some)
        };
        let signature = |manifest: &oci::Document| match read(manifest) {
            Ok(bytes) => bytes.map(|bytes| Signature { manifest: manifest.clone(), bytes }),
            Err(error) => {
                tracing::debug!("signature {} cannot be read: {}", manifest.digest, error.chain());
                Some(Signature { manifest: manifest.clone(), bytes: Vec::new() })
            }
        };
        self.others.iter().filter_map(signature).take(limits::SIGNATURES).collect()
    }
}

impl Store {
    /// One of the two files that are not blobs.
    fn named(&self, name: &str) -> Result<Option<Extent>> {
        match self {
            Self::Folder(folder) => folder.named(name),
            Self::Archive(archive) => Ok(archive.named(name)),
        }
    }

    /// A blob of the size that was said, not yet compared with its digest.
    fn blob(&self, digest: &Digest, size: u64) -> Result<Extent> {
        let found = match self {
            Self::Folder(folder) => folder.blob(digest)?,
            Self::Archive(archive) => archive.named(&blob_path(digest)),
        };
        let extent = found.ok_or_else(|| Error::new(Kind::Integrity, format!("blob {digest} is missing")))?;
        if extent.size == size {
            return Ok(extent);
        }
        Err(Error::new(Kind::Integrity, format!("blob {digest} has {} bytes and there should be {size}", extent.size)))
    }

    /// A blob, in memory.
    fn bytes(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let bytes = self.blob(digest, size)?.bytes(digest.as_str(), size)?;
        agree(digest, &Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// A blob, in a file of its own or in one that has no name.
    fn large(&self, digest: &Digest, size: u64) -> Result<Large> {
        let extent = self.blob(digest, size)?;
        let own = (extent.start > 0).then(tempfile::tempfile).transpose().context("make a temporary file")?;
        extent.check(digest, own.as_ref())?;
        Ok(Large { file: own.map_or(extent.file, Arc::new), size, digest: digest.clone() })
    }
}

impl Extent {
    /// Compares it with a digest, without all of it in memory, and perhaps copies it into an empty file.
    fn check(&self, digest: &Digest, copy: Option<&File>) -> Result<()> {
        let reading = || format!("read blob {digest}");
        let (mut hasher, mut piece, mut at) = (Hasher::new(), vec![0; limits::COPY_PIECE], 0);
        while at < self.size {
            let most = piece.len().min(usize::try_from(self.size - at).unwrap_or(usize::MAX));
            self.file.read_exact_at(&mut piece[..most], self.start + at).with_context(reading)?;
            hasher.update(&piece[..most]);
            copy.map_or(Ok(()), |copy| copy.write_all_at(&piece[..most], at)).with_context(reading)?;
            at += most as u64;
        }
        agree(digest, &hasher.finish())
    }

    fn bytes(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let size = usize::try_from(self.size).ok().filter(|_| self.size <= limit);
        let size = size.ok_or_else(|| Error::new(Kind::Integrity, format!("{name} has {} bytes; the limit is {limit}", self.size)))?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.start).with_context(|| format!("read {name}"))?;
        Ok(bytes)
    }
}

fn agree(digest: &Digest, got: &Digest) -> Result<()> {
    if got == digest { Ok(()) } else { Err(Error::new(Kind::Integrity, format!("blob {digest} has the digest {got}"))) }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
