//! Gets a bundle to look at it: found, fetched and held against its own manifest, and nothing of it verified.

use std::sync::Arc;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::evidence::{Contents, Pointer};
use crate::registry;
use crate::verify::case::Case;
use crate::verify::{Expected, Request, fetch, locate};

/// A bundle that was got. What it says are claims.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The pointer that led to it, if one did.
    pub pointer: Option<Pointer>,
    /// The bundle, whose files are those that its manifest lists.
    pub contents: Arc<Contents>,
    /// Digest of its OCI manifest.
    pub artifact: Digest,
}

/// Gets a bundle by a pointer file, `oci://host/repository@sha256:…`, its directory, or an OCI layout as directory or tar file.
///
/// # Errors
/// As verification has them: [`crate::error::Kind::Integrity`] if files and manifest disagree, and all of the registry.
pub async fn open(input: &str, registry: &registry::Options) -> Result<Opened> {
    let mut case = Case::new(Request::new(input, Expected::IntegrityOnly, registry.clone()));
    locate::run(&mut case)?;
    fetch::run(&mut case).await?;
    case.contents()?.check()?;
    let artifact = case.artifact()?.clone();
    let contents = case.contents.ok_or_else(|| Error::internal("an earlier stage left no bundle"))?;
    Ok(Opened { artifact, pointer: case.pointer, contents })
}
