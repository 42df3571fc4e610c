//! Publishing a bundle: push, sign, attach the signature, write the pointer; each part can be done again without harm.

use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::evidence::oci::{self, MANIFEST_TYPE};
use crate::evidence::pointer::{BundleRef, PointerKind, SignatureRef};
use crate::evidence::signer::SignedBy;
use crate::evidence::{Bundle, Pointer, Tool, directory, pointer};
use crate::recipe::API_VERSION;
use crate::registry::{self, Registry, Repository};
use crate::sign::{Signature, Signer};
use crate::{files, limits};

/// Blobs that are pushed side by side: enough to hide the round trips, few enough for a small registry.
const PARALLEL: usize = 4;

/// Where a bundle is published.
#[derive(Clone, Debug)]
pub struct Target {
    /// The repository that it is pushed to.
    pub repository: Repository,
    /// How the registry is reached.
    pub registry: registry::Options,
    /// The directory of the pointers, usually `evidence`.
    pub pointers: PathBuf,
}

/// A published bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Digest of the OCI manifest.
    pub digest: Digest,
    /// Digest of `manifest.json`.
    pub content_digest: Digest,
    /// Digest of the signature's OCI manifest.
    pub signature: Digest,
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

/// Signs the bundle in a directory and keeps the signature beside its files. One by the same key that is there already is kept.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) if the signature that is there is by another key; otherwise what reading, signing or
/// writing is wrong with.
pub async fn sign(folder: &Path, signer: &Signer) -> Result<(Bundle, Signature)> {
    let found = directory::read(folder)?;
    let bundle = Bundle::from_files(found.files).with_context(|| format!("read the bundle in {}", folder.display()))?;
    let statement = bundle.statement()?;
    if let Some(old) = found.signature {
        return match signer.recognise(&old, &statement) {
            Ok(signature) => Ok((bundle, signature)),
            Err(error) => {
                let message =
                    format!("{} already has a signature, which is not by {} or not about this bundle", folder.display(), signer.describe());
                Err(Error::usage(message).because(error).hint("remove signature.sigstore.json if it is to be signed anew"))
            }
        };
    }
    let signature = signer.sign(&statement).await?;
    directory::write_signature(folder, &signature.bundle)?;
    Ok((bundle, signature))
}

/// Pushes a bundle, without a signature: one blob per file, then the manifest.
///
/// # Errors
/// What the registry or the way to it is wrong with.
pub async fn push(bundle: &Bundle, registry: &Registry) -> Result<Digest> {
    let artifact = bundle.artifact()?;
    let empty = [oci::EMPTY.to_vec()];
    let blobs = bundle.files().values().chain(&empty);
    let pushes: Vec<_> = blobs.map(|bytes| push_blob(registry, bytes)).collect();
    stream::iter(pushes).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    registry.put_manifest(&artifact.bytes, MANIFEST_TYPE, None).await
}

async fn push_blob(registry: &Registry, bytes: &[u8]) -> Result<()> {
    registry.push_blob(&Digest::of(bytes), bytes).await
}

/// Publishes the bundle in a directory: sign, push, attach the signature, write the pointer.
///
/// # Errors
/// As [`sign`] and [`push`]; an existing pointer that says something else is not overwritten.
pub async fn publish(folder: &Path, signer: &Signer, target: &Target) -> Result<Published> {
    let registry = Registry::open(&target.repository, &target.registry)?;
    let (bundle, signature) = sign(folder, signer).await?;
    let evidence = bundle.evidence()?;
    pointer::check_name(&evidence.recipe.name)?;
    let artifact = bundle.artifact()?;
    let digest = push(&bundle, &registry).await?;
    registry.push_blob(&Digest::of(&signature.bundle), &signature.bundle).await?;
    // The run's end, not the clock: publishing the same signature again makes the same manifest.
    let referrer = oci::signature(&artifact, &signature.bundle, evidence.finished_at)?;
    let attached = registry.attach(&digest, &referrer.bytes).await?;
    let reference = reference(&attached, &signature);
    let pointer = Pointer {
        api_version: API_VERSION.to_owned(),
        kind: PointerKind::EvidencePointer,
        recipe: evidence.recipe.clone(),
        bundle: BundleRef {
            repository: target.repository.to_string(),
            digest: digest.clone(),
            content_digest: bundle.content_digest().clone(),
        },
        signatures: vec![reference],
        hardware: evidence.hardware,
        recorded_at: now(),
    };
    let path = write_pointer(pointer, &target.pointers)?;
    Ok(Published { digest, content_digest: bundle.content_digest().clone(), signature: attached, pointer: path })
}

/// What the pointer says of a signature, for people and search: verification takes nothing of it on trust.
fn reference(attached: &Digest, signature: &Signature) -> SignatureRef {
    let (key, certificate) = match &signature.by {
        SignedBy::Key(id) => (Some(id.clone()), None),
        SignedBy::Certificate(certificate) => (None, Some(certificate)),
    };
    SignatureRef {
        digest: attached.clone(),
        key,
        issuer: certificate.map(|certificate| certificate.issuer.clone()),
        identity: certificate.map(|certificate| certificate.identity.clone()),
        source_repository: certificate.and_then(|certificate| certificate.claims.source_repository.clone()),
        log: signature.times.log.clone(),
    }
}

/// The time for people: whole seconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Writes a pointer. One that is there already is only added to.
fn write_pointer(mut pointer: Pointer, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(pointer.path()?);
    if path.exists() {
        let shown = path.display().to_string();
        let mut old = Pointer::parse(&files::read_text(&path, limits::DOCUMENT_BYTES)?, &shown)?;
        if (&old.bundle, &old.recipe, old.hardware) != (&pointer.bundle, &pointer.recipe, pointer.hardware) {
            return Err(
                Error::usage(format!("{shown} says something else about this bundle")).hint("pointers are never changed; see what it says")
            );
        }
        let new = pointer.signatures.into_iter().filter(|signature| old.signatures.iter().all(|seen| seen.digest != signature.digest));
        let new: Vec<SignatureRef> = new.collect();
        if new.is_empty() {
            return Ok(path);
        }
        old.signatures.extend(new);
        pointer = old;
    }
    files::write(&path, pointer.to_yaml()?.as_bytes())?;
    Ok(path)
}
