//! Gets published evidence back: the bundle, and every signature that is attached to it, checked against the digests asked for.

mod blobs;
mod cache;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::bundle::Files;
use crate::evidence::contents::{Contents, is_document};
use crate::evidence::directory::Large;
use crate::evidence::{Parcel, oci};
use crate::limits;
use crate::registry::Registry;

use blobs::Blobs;
pub use cache::Cache;

/// Files that are fetched side by side: enough to hide the round trips, few enough for a small registry.
const PARALLEL: usize = 4;

/// A signature as it is attached to a bundle.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Digest of its OCI manifest.
    pub digest: Digest,
    /// The OCI manifest; empty if it could not be had.
    pub manifest: Vec<u8>,
    /// The Sigstore bundle; empty if it could not be had or is no signature that could be looked at.
    pub bytes: Vec<u8>,
}

/// A bundle as it is looked at. Its manifest is always fetched, so that the registry says each time whether it has it; blobs that are
/// on disk are not, and those that come are kept there.
///
/// # Errors
/// [`Kind::Schema`] if the manifest is not that of a bundle, [`Kind::Integrity`] if something else comes than was asked for or it is
/// over the limits; otherwise what the registry or the way to it is wrong with.
async fn contents(registry: &Registry, digest: &Digest, kept: Option<&Blobs>) -> Result<Contents> {
    let manifest = registry.get_manifest(digest).await?;
    let layers = oci::layers(&manifest)?;
    registry.meter().expect(layers.iter().map(|layer| layer.size).sum());
    let sums = layers.iter().map(|layer| (layer.path.clone(), (layer.size, layer.digest.clone()))).collect();
    let looks: Vec<_> = layers.into_iter().map(|layer| look(registry, layer, kept)).collect();
    let got: Vec<Option<(String, Vec<u8>)>> = stream::iter(looks).buffered(PARALLEL).try_collect().await?;
    if let Some(kept) = kept {
        kept.bound(limits::CACHE_BYTES);
    }
    Ok(Contents::compared(got.into_iter().flatten().collect(), sums))
}

/// One file of a bundle, compared with its digest; kept in memory if it is a document.
async fn look(registry: &Registry, layer: oci::Layer, kept: Option<&Blobs>) -> Result<Option<(String, Vec<u8>)>> {
    let oci::Layer { path, digest, size } = layer;
    if is_document(&path) {
        if let Some(bytes) = kept.and_then(|kept| kept.bytes(&digest, size)) {
            registry.meter().spare(size);
            return Ok(Some((path, bytes)));
        }
        let bytes = registry.get_blob(&digest, size).await?;
        kept.inspect(|kept| kept.keep(&digest, &bytes));
        return Ok(Some((path, bytes)));
    }
    if kept.is_some_and(|kept| kept.has(&digest, size)) {
        registry.meter().spare(size);
        return Ok(None);
    }
    if let Some((kept, partial)) = kept.and_then(|kept| Some((kept, kept.partial()?))) {
        match registry.get_blob_into(&digest, size, partial.as_file()).await {
            // The disk is full: it is not kept.
            Err(error) if Error::kind(&error) == Kind::Io => tracing::debug!("{}", error.chain()),
            got => {
                got?;
                kept.finish(partial, &digest, size);
                return Ok(None);
            }
        }
    }
    registry.check_blob(&digest, size).await?;
    Ok(None)
}

/// A bundle with its large artifacts on disk, in files that have no name. They are in `near`, if that is a directory that can be
/// written, so that they can get a name there.
///
/// # Errors
/// [`Kind::Schema`] if the manifest is not that of a bundle, [`Kind::Integrity`] if it is not the one that the files give, something
/// else comes than was asked for, or it is over the limits; otherwise what the registry or the way to it is wrong with.
pub async fn parcel(registry: &Registry, digest: &Digest, near: Option<&Path>) -> Result<Parcel> {
    let manifest = registry.get_manifest(digest).await?;
    let layers = oci::layers(&manifest)?;
    registry.meter().expect(layers.iter().map(|layer| layer.size).sum());
    let got: Vec<(String, Got)> = stream::iter(layers).map(|layer| get(registry, layer, near)).buffered(PARALLEL).try_collect().await?;
    let (mut files, mut large) = (Files::new(), BTreeMap::new());
    for (path, got) in got {
        match got {
            Got::Held(bytes) => drop(files.insert(path, bytes)),
            Got::Large(file) => drop(large.insert(path, file)),
        }
    }
    let parcel = Parcel::new(files, large).with_context(|| format!("read the bundle {digest}"))?;
    if parcel.artifact().digest != *digest {
        return Err(Error::new(Kind::Integrity, format!("the OCI manifest {digest} is not the one that its files give")));
    }
    Ok(parcel)
}

enum Got {
    Held(Vec<u8>),
    Large(Large),
}

async fn get(registry: &Registry, layer: oci::Layer, near: Option<&Path>) -> Result<(String, Got)> {
    if !layer.may_stay_on_disk() {
        return Ok((layer.path, Got::Held(registry.get_blob(&layer.digest, layer.size).await?)));
    }
    let file = near.map_or_else(tempfile::tempfile, |near| tempfile::tempfile_in(near).or_else(|_| tempfile::tempfile()));
    let file = file.with_context(|| format!("make a temporary file for {}", layer.path))?;
    registry.get_blob_into(&layer.digest, layer.size, &file).await?;
    Ok((layer.path, Got::Large(Large { file: Arc::new(file), size: layer.size, digest: layer.digest })))
}

/// Every signature of a subject that somebody has named, or that the registry lists. One that cannot be had is there with nothing in
/// it: anyone who may push can attach rubbish, which must not hide a good signature.
///
/// # Errors
/// What the registry or the way to it is wrong with. A list that cannot be had does not matter if signatures are named.
pub async fn signatures(registry: &Registry, subject: &Digest, named: &[Digest]) -> Result<Vec<Attached>> {
    let listed = match registry.referrers(subject).await {
        Err(error) if !named.is_empty() => {
            tracing::debug!("go on with the signatures that are named: {}", error.chain());
            Vec::new()
        }
        listed => listed?,
    };
    let mut seen = BTreeSet::new();
    let mut all = named.to_vec();
    all.extend(listed);
    all.retain(|digest| seen.insert(digest.clone()));
    all.truncate(limits::SIGNATURES);
    let looks: Vec<_> = all.into_iter().map(|digest| signature(registry, subject, digest)).collect();
    let got: Vec<Option<Attached>> = stream::iter(looks).buffered(PARALLEL).try_collect().await?;
    Ok(got.into_iter().flatten().collect())
}

async fn signature(registry: &Registry, subject: &Digest, digest: Digest) -> Result<Option<Attached>> {
    let get = async {
        let manifest = registry.get_manifest(&digest).await?;
        let Some(layer) = oci::signature_layer(&manifest, subject)? else { return Ok(None) };
        let bytes = registry.get_blob(&layer.digest, layer.size).await?;
        Ok(Some(Attached { digest: digest.clone(), manifest, bytes }))
    };
    match get.await {
        Err(error) if matches!(Error::kind(&error), Kind::NotFound | Kind::Schema | Kind::Integrity) => {
            Ok(Some(Attached { digest: digest.clone(), manifest: Vec::new(), bytes: Vec::new() }))
        }
        got => got.context("get a signature"),
    }
}
