//! Stage 2: gets the bundle's files and the signatures, checked against the digests under which they were asked for.

use futures::{StreamExt, TryStreamExt, stream};

use crate::digest::Digest;
use crate::error::{Context, Kind, Result};
use crate::evidence::bundle::Files;
use crate::evidence::{directory, oci};
use crate::limits;
use crate::registry::{Registry, Repository};
use crate::verify::case::{Candidate, Case, Finding, Place};

/// Files that are fetched side by side: enough to hide the round trips, few enough for a small registry.
const PARALLEL: usize = 4;

pub(super) async fn run(case: &mut Case) -> Result<Finding> {
    match case.place.take() {
        Some(Place::Directory(path)) => {
            let found = directory::read(&path)?;
            let bytes: usize = found.files.values().map(Vec::len).sum();
            let said = format!("{} files, {}", found.files.len(), size(bytes));
            let name = crate::evidence::SIGNATURE.to_owned();
            case.candidates.extend(found.signature.map(|bytes| Candidate { name, bytes }));
            // What the OCI manifest would be; the statement must name it.
            case.artifact = Some(oci::artifact(&found.files)?.digest);
            case.files = Some(found.files);
            Ok(Finding::Ok(said))
        }
        Some(Place::Registry(repository, digest)) => from_registry(case, &repository, digest).await,
        None => Err(crate::error::Error::internal("an earlier stage left no place")),
    }
}

async fn from_registry(case: &mut Case, repository: &Repository, digest: Digest) -> Result<Finding> {
    let registry = Registry::open(repository, &case.request.registry)?;
    let manifest = registry.get_manifest(&digest).await?;
    let registry = &registry;
    let files: Files = stream::iter(oci::layers(&manifest)?)
        .map(|layer| async move { Ok::<_, crate::error::Error>((layer.path, registry.get_blob(&layer.digest, layer.size).await?)) })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let bytes: usize = files.values().map(Vec::len).sum();
    if !case.integrity_only() {
        case.candidates = signatures(case, registry, &digest).await?;
    }
    let said = format!("{} files, {}, {} from {repository}", files.len(), size(bytes), count(case.candidates.len()));
    case.artifact = Some(digest);
    case.files = Some(files);
    Ok(Finding::Ok(said))
}

/// Every signature that the pointer names or the registry lists. One that cannot be had is left out: others may do.
async fn signatures(case: &Case, registry: &Registry, subject: &Digest) -> Result<Vec<Candidate>> {
    let named: Vec<Digest> =
        case.pointer.iter().flat_map(|pointer| &pointer.signatures).map(|signature| signature.digest.clone()).collect();
    let listed = match registry.referrers(subject).await {
        // The pointer's own signatures may do without the list.
        Err(_) if !named.is_empty() => Vec::new(),
        listed => listed?,
    };
    let mut digests = named;
    digests.extend(listed);
    let mut seen = std::collections::BTreeSet::new();
    digests.retain(|digest| seen.insert(digest.clone()));
    digests.truncate(limits::SIGNATURES);
    let mut candidates = Vec::new();
    for digest in digests {
        match signature(registry, subject, &digest).await {
            Ok(Some(bytes)) => candidates.push(Candidate { name: format!("signature {}", digest.short()), bytes }),
            Ok(None) => {}
            // Anyone who may push can attach rubbish; it must not hide a good signature.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Schema | Kind::Integrity) => {
                candidates.push(Candidate { name: format!("signature {}", digest.short()), bytes: Vec::new() });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(candidates)
}

async fn signature(registry: &Registry, subject: &Digest, digest: &Digest) -> Result<Option<Vec<u8>>> {
    let manifest = registry.get_manifest(digest).await.context("get a signature")?;
    let Some(layer) = oci::signature_layer(&manifest, subject)? else { return Ok(None) };
    Ok(Some(registry.get_blob(&layer.digest, layer.size).await.context("get a signature")?))
}

fn count(signatures: usize) -> String {
    if signatures == 1 { "1 signature".to_owned() } else { format!("{signatures} signatures") }
}

/// A size for people.
fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}
