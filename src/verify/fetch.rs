//! Stage 2: gets the bundle's files and the signatures, checked against the digests under which they were asked for.

use crate::digest::Digest;
use crate::error::Result;
use crate::evidence::{directory, oci};
use crate::pull;
use crate::registry::{Registry, Repository};
use crate::verify::case::{Candidate, Case, Finding, Place};

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
        Some(Place::Layout(layout)) => {
            let files = layout.files()?;
            if !case.integrity_only() {
                case.candidates.extend(layout.signatures().into_iter().map(|found| candidate(&found.manifest.digest, found.bytes)));
            }
            let bytes: usize = files.values().map(Vec::len).sum();
            let said = format!("{} files, {}, {} from an OCI layout", files.len(), size(bytes), count(case.candidates.len()));
            case.artifact = Some(layout.digest().clone());
            case.files = Some(files);
            Ok(Finding::Ok(said))
        }
        Some(Place::Registry(repository, digest)) => from_registry(case, &repository, digest).await,
        None => Err(crate::error::Error::internal("an earlier stage left no place")),
    }
}

async fn from_registry(case: &mut Case, repository: &Repository, digest: Digest) -> Result<Finding> {
    let registry = Registry::open(repository, &case.request.registry)?;
    let files = pull::files(&registry, &digest).await?;
    let bytes: usize = files.values().map(Vec::len).sum();
    if !case.integrity_only() {
        let named = case.pointer.iter().flat_map(|pointer| &pointer.signatures);
        let named: Vec<Digest> = named.map(|signature| signature.digest.clone()).collect();
        let attached = pull::signatures(&registry, &digest, &named).await?;
        case.candidates = attached.into_iter().map(|found| candidate(&found.digest, found.bytes)).collect();
    }
    let said = format!("{} files, {}, {} from {repository}", files.len(), size(bytes), count(case.candidates.len()));
    case.artifact = Some(digest);
    case.files = Some(files);
    Ok(Finding::Ok(said))
}

/// A signature; without bytes if it could not be had, which another may make up for.
fn candidate(digest: &Digest, bytes: Vec<u8>) -> Candidate {
    Candidate { name: format!("signature {}", digest.short()), bytes }
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
