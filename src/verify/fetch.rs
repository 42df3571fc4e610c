//! Stage 2: gets the bundle's files and the signatures, checked against the digests under which they were asked for.

use std::sync::Arc;

use crate::digest::Digest;
use crate::error::Result;
use crate::evidence::{Contents, directory};
use crate::pull;
use crate::registry::{Registry, Repository};
use crate::ui::printable_size;
use crate::verify::case::{Candidate, Case, Finding, Place};

pub(super) async fn run(case: &mut Case) -> Result<Finding> {
    match case.place.take() {
        Some(Place::Directory(path)) => {
            let (contents, signature) = directory::look(&path)?;
            let said = told(&contents);
            let name = crate::evidence::SIGNATURE.to_owned();
            case.candidates.extend(signature.map(|bytes| Candidate { name, bytes }));
            // What the OCI manifest would be; the statement must name it.
            case.artifact = Some(contents.artifact()?.digest);
            case.contents = Some(Arc::new(contents));
            Ok(Finding::Ok(said))
        }
        Some(Place::Layout(layout)) => {
            let contents = layout.contents()?;
            if !case.integrity_only() {
                case.candidates.extend(layout.signatures().into_iter().map(|found| candidate(&found.manifest.digest, found.bytes)));
            }
            let said = format!("{}, {} from an OCI layout", told(&contents), count(case.candidates.len()));
            case.artifact = Some(layout.digest().clone());
            case.contents = Some(Arc::new(contents));
            Ok(Finding::Ok(said))
        }
        Some(Place::Registry(repository, digest)) => from_registry(case, &repository, digest).await,
        None => Err(crate::error::Error::internal("an earlier stage left no place")),
    }
}

async fn from_registry(case: &mut Case, repository: &Repository, digest: Digest) -> Result<Finding> {
    let registry = Registry::open(repository, &case.request.registry)?;
    let contents = case.request.cache.contents(&registry, &digest).await?;
    if !case.integrity_only() {
        let named = case.pointer.iter().flat_map(|pointer| &pointer.signatures);
        let named: Vec<Digest> = named.map(|signature| signature.digest.clone()).collect();
        let attached = pull::signatures(&registry, &digest, &named).await?;
        case.candidates = attached.into_iter().map(|found| candidate(&found.digest, found.bytes)).collect();
    }
    let said = format!("{}, {} from {repository}", told(&contents), count(case.candidates.len()));
    case.artifact = Some(digest);
    case.contents = Some(contents);
    Ok(Finding::Ok(said))
}

/// A signature; without bytes if it could not be had, which another may make up for.
fn candidate(digest: &Digest, bytes: Vec<u8>) -> Candidate {
    Candidate { name: format!("signature {}", digest.short()), bytes }
}

fn count(signatures: usize) -> String {
    if signatures == 1 { "1 signature".to_owned() } else { format!("{signatures} signatures") }
}

fn told(contents: &Contents) -> String {
    format!("{} files, {}", contents.sums().len(), printable_size(contents.size()))
}
