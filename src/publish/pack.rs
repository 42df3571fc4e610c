//! Packing evidence for where no registry is reached, and unpacking it: the bundle with all its signatures, whichever form it is in.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::evidence::layout::{self, Layout, Packed, Signature};
use crate::evidence::sigstore::Envelope;
use crate::evidence::{Parcel, directory, oci};
use crate::publish::{derived_tag, pointer_file};
use crate::pull;
use crate::registry::{self, Registry, Repository};

/// Evidence that was read from somewhere.
#[derive(Debug)]
pub struct Source {
    /// The bundle.
    pub parcel: Parcel,
    /// Its signatures; one that could not be read is there with nothing in it.
    pub signatures: Vec<Signature>,
}

/// What was packed or unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Digest of the OCI manifest.
    pub digest: Digest,
    /// The tag in a layout.
    pub tag: String,
    /// Signatures that are there now.
    pub signatures: usize,
    /// Signatures that were left behind: they could not be read, or a directory has room for one only.
    pub left: usize,
    /// Bytes of the bundle.
    pub bytes: u64,
}

/// Reads evidence: a pointer file, `oci://host/repository@sha256:…`, a bundle's directory, or an OCI layout as directory or tar file.
/// Digests are compared; signatures are not verified. What is fetched and not kept in memory is kept in `near`, if that can be written.
///
/// # Errors
/// [`Kind::Integrity`] if something else is there than the digests say; otherwise what reading it is wrong with.
pub async fn read(input: &str, options: &registry::Options, near: Option<&Path>) -> Result<Source> {
    let path = Path::new(input);
    if let Some(reference) = input.strip_prefix("oci://") {
        let (repository, digest) = Repository::pinned(reference)?;
        return fetched(&repository, &digest, &[], options, near).await;
    }
    if path.is_dir() {
        return if layout::is_layout(path) { of_layout(&Layout::open(path)?) } else { of_folder(path) };
    }
    if let Some(layout) = Layout::open_tar(path)? {
        return of_layout(&layout);
    }
    let pointer = pointer_file::read(path)?;
    let repository: Repository = pointer.bundle.repository.parse()?;
    let named: Vec<Digest> = pointer.signatures.iter().map(|signature| signature.digest.clone()).collect();
    let source = fetched(&repository, &pointer.bundle.digest, &named, options, near).await?;
    if *source.parcel.content_digest() != pointer.bundle.content_digest {
        return Err(Error::new(Kind::Integrity, format!("{} is wrong about the bundle that it names", path.display())));
    }
    Ok(source)
}

async fn fetched(
    repository: &Repository,
    digest: &Digest,
    named: &[Digest],
    options: &registry::Options,
    near: Option<&Path>,
) -> Result<Source> {
    let registry = Registry::open(repository, options)?;
    let parcel = pull::parcel(&registry, digest, near).await?;
    let attached = pull::signatures(&registry, digest, named).await?;
    let signature = |attached: pull::Attached| Signature {
        manifest: oci::Document { bytes: attached.manifest, digest: attached.digest },
        bytes: attached.bytes,
    };
    Ok(Source { parcel, signatures: attached.into_iter().map(signature).collect() })
}

fn of_layout(layout: &Layout) -> Result<Source> {
    Ok(Source { parcel: layout.parcel()?, signatures: layout.signatures() })
}

fn of_folder(folder: &Path) -> Result<Source> {
    let (parcel, found) = Parcel::open(folder)?;
    let signature = found.map(|bytes| -> Result<Signature> {
        Ok(Signature { manifest: oci::signature(parcel.artifact(), &bytes, parcel.evidence().finished_at)?, bytes })
    });
    Ok(Source { signatures: signature.transpose()?.into_iter().collect(), parcel })
}

/// Writes evidence as an OCI layout: to a tar file if the name ends in `.tar`, to a directory otherwise. Neither may be there yet.
///
/// # Errors
/// A usage error if it is there already; [`Kind::Io`] if it cannot be written, and then nothing is left.
pub fn pack(source: &Source, to: &Path) -> Result<Moved> {
    let tag = derived_tag(&source.parcel)?;
    let packed = Packed { parcel: &source.parcel, signatures: &source.signatures, tag: &tag };
    if to.extension().is_some_and(|extension| extension == "tar") {
        layout::write_tar(&packed, to)?;
    } else {
        layout::write_folder(&packed, to)?;
    }
    let signatures = source.signatures.iter().filter(|signature| !signature.bytes.is_empty()).count();
    Ok(moved(source, tag, signatures))
}

/// Writes evidence as a bundle's directory, with the first signature that says that it is about this bundle beside its files.
///
/// # Errors
/// A usage error if the directory holds something else; [`Kind::Io`] if it cannot be written, and then nothing is left.
pub fn unpack(source: &Source, to: &Path) -> Result<Moved> {
    let about =
        |signature: &&Signature| Envelope::parse(&signature.bytes).is_ok_and(|envelope| envelope.stated() == source.parcel.statement());
    let signature = source.signatures.iter().find(about).map(|signature| signature.bytes.as_slice());
    directory::write_parcel(&source.parcel, signature, to)?;
    Ok(moved(source, derived_tag(&source.parcel)?, usize::from(signature.is_some())))
}

fn moved(source: &Source, tag: String, signatures: usize) -> Moved {
    Moved {
        digest: source.parcel.artifact().digest.clone(),
        tag,
        signatures,
        left: source.signatures.len() - signatures,
        bytes: source.parcel.size(),
    }
}

/// Where evidence is packed to if nothing else is said: `<recipe>-<first 12 digits of the content digest>.tar`.
///
/// # Errors
/// As [`derived_tag`].
pub fn default_file(source: &Source) -> Result<PathBuf> {
    Ok(PathBuf::from(format!("{}.tar", derived_tag(&source.parcel)?)))
}
