//! Signing what is published or will be: a signature that is there already, wherever it is, is used and not made again.

use std::path::Path;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::evidence::oci;
use crate::evidence::pointer::SignatureRef;
use crate::evidence::signer::SignedBy;
use crate::evidence::sigstore::{Claim, Envelope};
use crate::evidence::{Parcel, directory};
use crate::publish::{Published, derived_tag, pointer_file};
use crate::pull;
use crate::registry::{self, Registry, Repository};
use crate::sign::{Signature, Signer};

/// Signs the bundle in a directory and keeps the signature beside its files. One by the same signer that is there already is kept.
/// Needs no registry.
///
/// # Errors
/// [`Kind::Usage`] if the signature that is there is by another signer; otherwise what reading, signing or writing is wrong with.
pub async fn sign(folder: &Path, signer: &Signer) -> Result<(Parcel, Signature)> {
    let (parcel, found) = Parcel::open(folder)?;
    if let Some(found) = found {
        let signature = beside(folder, &parcel, signer, &found)?;
        return Ok((parcel, signature));
    }
    let signature = signer.sign(parcel.statement()).await?;
    directory::write_signature(folder, &signature.bundle)?;
    Ok((parcel, signature))
}

/// Signs the published bundle that a pointer names, attaches the signature, and adds it to the pointer.
///
/// # Errors
/// [`Kind::Integrity`] if the pointer is wrong about the bundle, and then nothing is signed; otherwise as [`sign`] and
/// [`publish`](crate::publish::publish).
pub async fn sign_pointer(path: &Path, signer: &Signer, options: &registry::Options) -> Result<Published> {
    let mut pointer = pointer_file::read(path)?;
    let repository: Repository = pointer
        .bundle
        .repository
        .parse()
        .map_err(|error: Error| Error::new(Kind::Schema, "the pointer's repository cannot be used").because(error))?;
    let registry = Registry::open(&repository, options)?;
    let parcel = pull::parcel(&registry, &pointer.bundle.digest, None).await?;
    let evidence = parcel.evidence();
    if (parcel.content_digest(), &evidence.recipe, evidence.hardware) != (&pointer.bundle.content_digest, &pointer.recipe, pointer.hardware)
    {
        return Err(Error::new(Kind::Integrity, format!("{} is wrong about the bundle that it names", path.display()))
            .hint("publish the bundle anew from its directory: seatrial evidence publish DIR"));
    }
    let named: Vec<Digest> = pointer.signatures.iter().map(|signature| signature.digest.clone()).collect();
    let signature = found_or_made(&parcel, &registry, &named, signer).await?;
    let reference = attach(&parcel, &registry, &signature).await?;
    let published = Published {
        repository,
        digest: pointer.bundle.digest.clone(),
        content_digest: pointer.bundle.content_digest.clone(),
        tag: derived_tag(&parcel)?,
        signature: Some(reference.digest.clone()),
        pointer: path.to_owned(),
    };
    pointer.signatures = vec![reference];
    pointer_file::write(pointer, path)?;
    Ok(published)
}

/// The signature that lies beside a bundle, if it is by this signer.
pub(super) fn beside(folder: &Path, parcel: &Parcel, signer: &Signer, found: &[u8]) -> Result<Signature> {
    signer.recognise(found, parcel.statement()).map_err(|error| {
        let message =
            format!("{} already has a signature, which is not by {} or not about this bundle", folder.display(), signer.describe());
        Error::usage(message)
            .because(error)
            .hint("remove signature.sigstore.json if it is to be signed anew; to have a second signer, publish it and sign the pointer")
    })
}

/// The signature by this signer that is attached to a published bundle; a new one if there is none.
pub(super) async fn found_or_made(parcel: &Parcel, registry: &Registry, named: &[Digest], signer: &Signer) -> Result<Signature> {
    let attached = pull::signatures(registry, &parcel.artifact().digest, named).await?;
    signer.sign_unless_signed(parcel.statement(), attached.iter().map(|attached| attached.bytes.as_slice())).await
}

/// Attaches a signature. The same one is attached once, however often this is called.
pub(super) async fn attach(parcel: &Parcel, registry: &Registry, signature: &Signature) -> Result<SignatureRef> {
    Ok(reference(attach_bytes(parcel, registry, &signature.bundle).await?, signature))
}

pub(super) async fn attach_bytes(parcel: &Parcel, registry: &Registry, signature: &[u8]) -> Result<Digest> {
    registry.push_blob(&Digest::of(signature), signature).await?;
    registry.push_blob(&Digest::of(oci::EMPTY), oci::EMPTY).await?;
    // The run's end, not the clock: the same signature always makes the same manifest.
    let referrer = oci::signature(parcel.artifact(), signature, parcel.evidence().finished_at)?;
    // A tag of its own: registries that collect manifests without one take those in a list of referrers too.
    let tag = format!("{}.sig-{}", derived_tag(parcel)?, referrer.digest.short());
    registry.put_manifest(&referrer.bytes, oci::MANIFEST_TYPE, Some(&tag)).await?;
    registry.attach(&parcel.artifact().digest, &referrer.bytes).await
}

/// What the pointer says of a signature, for people and search: verification takes nothing of it on trust.
fn reference(digest: Digest, signature: &Signature) -> SignatureRef {
    let (key, certificate) = match &signature.by {
        SignedBy::Key(id) => (Some(id.clone()), None),
        SignedBy::Certificate(certificate) => (None, Some(certificate)),
    };
    SignatureRef {
        digest,
        key,
        issuer: certificate.map(|certificate| certificate.issuer.clone()),
        identity: certificate.map(|certificate| certificate.identity.clone()),
        source_repository: certificate.and_then(|certificate| certificate.claims.source_repository.clone()),
        log: signature.times.log.clone(),
    }
}

/// A signature that nobody here can verify, with what it says of itself; refused if it is about something else.
pub(super) fn stated(folder: &Path, parcel: &Parcel, bytes: Vec<u8>) -> Result<(Vec<u8>, SignatureRef)> {
    let envelope = Envelope::parse(&bytes).map_err(|error| error.context(format!("read the signature in {}", folder.display())))?;
    if envelope.stated() != parcel.statement() {
        return Err(Error::usage(format!("the signature in {} is not about this bundle", folder.display()))
            .hint("remove signature.sigstore.json and sign the bundle anew"));
    }
    let key = match envelope.claim() {
        Claim::Key(id) => Some(id.clone()),
        _ => None,
    };
    let digest = Digest::of(&bytes);
    Ok((bytes, SignatureRef { digest, key, issuer: None, identity: None, source_repository: None, log: None }))
}
