//! Publishing a bundle: push, sign, attach the signature, write the pointer. Each part can be done alone, elsewhere, and again: what
//! an earlier try left, in the registry or beside the bundle, is found and used.

pub mod pack;
mod pointer_file;
mod signing;

use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::evidence::oci::{self, MANIFEST_TYPE};
use crate::evidence::parcel::Part;
use crate::evidence::pointer::{BundleRef, PointerKind, SignatureRef};
use crate::evidence::{Parcel, Pointer, Tool, pointer};
use crate::recipe::API_VERSION;
use crate::registry::{self, Reference, Registry, Repository};
use crate::sign::Signer;

pub use signing::{sign, sign_pointer};

/// Blobs that are pushed side by side: enough to hide the round trips, few enough for a small registry.
const PARALLEL: usize = 4;

/// Where a bundle is published.
#[derive(Clone, Debug)]
pub struct Target {
    /// The repository that it is pushed to.
    pub repository: Repository,
    /// The tag that keeps it there; none makes one of the recipe's name and the content digest.
    pub tag: Option<String>,
    /// Whether a tag that names something else may be moved.
    pub move_tag: bool,
    /// How the registry is reached.
    pub registry: registry::Options,
    /// The directory of the pointers, usually `evidence`.
    pub pointers: PathBuf,
}

impl Target {
    /// A target with a tag of its own or the one that is named, which is never moved.
    #[must_use]
    pub fn new(reference: Reference, registry: registry::Options, pointers: PathBuf) -> Self {
        Self { repository: reference.repository, tag: reference.tag, move_tag: false, registry, pointers }
    }
}

/// A published bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The repository that it is in.
    pub repository: Repository,
    /// Digest of the OCI manifest.
    pub digest: Digest,
    /// Digest of `manifest.json`.
    pub content_digest: Digest,
    /// The tag that names it.
    pub tag: String,
    /// Digest of the signature's OCI manifest; none while it waits to be signed.
    pub signature: Option<Digest>,
    /// The pointer file.
    pub pointer: PathBuf,
}

/// This program as the tool of evidence: name, version, and the digest of the program file where it can be read.
#[must_use]
pub fn this_tool() -> Tool {
    let digest = || -> std::io::Result<Digest> {
        let mut file = std::fs::File::open(std::env::current_exe()?)?;
        let mut hasher = Hasher::new();
        let mut piece = vec![0; 1 << 16];
        loop {
            match std::io::Read::read(&mut file, &mut piece)? {
                0 => return Ok(hasher.finish()),
                read => hasher.update(&piece[..read]),
            }
        }
    };
    Tool { name: "seatrial".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), digest: digest().ok() }
}

/// The tag of a bundle that was given none: `<recipe>-<first 12 digits of the content digest>`. Registries that collect manifests
/// without a tag keep it, and no two bundles share it.
///
/// # Errors
/// [`Kind::Schema`](crate::error::Kind::Schema) if the recipe's name is not valid.
pub fn derived_tag(parcel: &Parcel) -> Result<String> {
    let name = &parcel.evidence().recipe.name;
    pointer::check_name(name)?;
    Ok(format!("{name}-{}", parcel.content_digest().short()))
}

/// Pushes a bundle, without a signature: one blob per file, then the manifest, under a tag. What is there already is not sent again.
///
/// # Errors
/// A usage error if the tag names something else and may not be moved, before anything is pushed; otherwise what the registry or the
/// way to it is wrong with.
pub async fn push(parcel: &Parcel, registry: &Registry, tag: &str, move_tag: bool) -> Result<Digest> {
    let artifact = parcel.artifact();
    // Registries cannot compare and swap a tag: whoever moves it in the meantime is overwritten.
    match registry.tagged_as(tag).await? {
        Some(there) if there == artifact.digest => return Ok(there),
        Some(there) if !move_tag => {
            let message = format!("the tag {tag} of {} names {there}, which is something else", registry.repository());
            return Err(Error::usage(message).hint("leave the tag out to have one of its own, or move this one with --move-tag"));
        }
        _ => {}
    }
    let empty = (Digest::of(oci::EMPTY), Part::Held(oci::EMPTY));
    registry.meter().expect(parcel.size() + oci::EMPTY.len() as u64);
    let pushes = parcel.parts().map(|(_, part)| (part.digest(), part)).chain([empty]);
    let pushes: Vec<_> = pushes.map(|(digest, part)| push_part(registry, digest, part)).collect();
    stream::iter(pushes).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    registry.put_manifest(&artifact.bytes, MANIFEST_TYPE, Some(tag)).await
}

async fn push_part(registry: &Registry, digest: Digest, part: Part<'_>) -> Result<()> {
    match part {
        Part::Held(bytes) => registry.push_blob(&digest, bytes).await,
        Part::Large(large) => registry.push_file(&digest, &large.file, large.size).await,
    }
}

/// Publishes the bundle in a directory: push, sign, attach the signature, write the pointer. It is pushed first: a registry that
/// refuses it is found before a signature is made, which may be in a public log for ever.
///
/// # Errors
/// As [`sign`] and [`push`]; an existing pointer that says something else is not overwritten.
pub async fn publish(folder: &Path, signer: &Signer, target: &Target) -> Result<Published> {
    let (parcel, beside) = Parcel::open(folder)?;
    let registry = Registry::open(&target.repository, &target.registry)?;
    let tag = pushed(&parcel, &registry, target).await?;
    let signature = match beside {
        Some(beside) => signing::beside(folder, &parcel, signer, &beside)?,
        None => {
            let signature = signing::found_or_made(&parcel, &registry, &[], signer).await?;
            crate::evidence::directory::write_signature(folder, &signature.bundle)?;
            signature
        }
    };
    let reference = signing::attach(&parcel, &registry, &signature).await?;
    written(&parcel, target, tag, Some(reference))
}

/// Pushes the bundle in a directory, with the signature that lies beside it if there is one, and writes the pointer, which is
/// pending if there is none. Nothing is signed, and no key is needed.
///
/// # Errors
/// A usage error if the signature is not about this bundle; otherwise as [`push`].
pub async fn publish_unsigned(folder: &Path, target: &Target) -> Result<Published> {
    let (parcel, beside) = Parcel::open(folder)?;
    let registry = Registry::open(&target.repository, &target.registry)?;
    let stated = beside.map(|bytes| signing::stated(folder, &parcel, bytes)).transpose()?;
    let tag = pushed(&parcel, &registry, target).await?;
    let reference = match stated {
        Some((bytes, reference)) => {
            let digest = signing::attach_bytes(&parcel, &registry, &bytes).await?;
            Some(SignatureRef { digest, ..reference })
        }
        None => None,
    };
    written(&parcel, target, tag, reference)
}

/// Pushes to a target, and gives the tag.
async fn pushed(parcel: &Parcel, registry: &Registry, target: &Target) -> Result<String> {
    let derived = derived_tag(parcel)?;
    let tag = target.tag.clone().unwrap_or(derived);
    push(parcel, registry, &tag, target.move_tag).await?;
    Ok(tag)
}

/// Writes the pointer.
fn written(parcel: &Parcel, target: &Target, tag: String, signature: Option<SignatureRef>) -> Result<Published> {
    let evidence = parcel.evidence();
    let (digest, content_digest) = (parcel.artifact().digest.clone(), parcel.content_digest().clone());
    let attached = signature.as_ref().map(|signature| signature.digest.clone());
    let pointer = Pointer {
        api_version: API_VERSION.to_owned(),
        kind: PointerKind::EvidencePointer,
        recipe: evidence.recipe.clone(),
        bundle: BundleRef { repository: target.repository.to_string(), digest: digest.clone(), content_digest: content_digest.clone() },
        signatures: signature.into_iter().collect(),
        hardware: evidence.hardware,
        recorded_at: now(),
    };
    let path = target.pointers.join(pointer.path()?);
    pointer_file::write(pointer, &path)?;
    Ok(Published { repository: target.repository.clone(), digest, content_digest, tag, signature: attached, pointer: path })
}

/// The time for people: whole seconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
