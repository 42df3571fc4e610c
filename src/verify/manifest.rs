//! Stage 5: whether the files are exactly those that the manifest lists.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::evidence::bundle::file;
use crate::evidence::{MANIFEST, Manifest};
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let files = case.files()?;
    let bytes = file(files, MANIFEST)?;
    let content = Digest::of(bytes);
    // First what it is, then what it says: a manifest that nobody signed is not parsed.
    if case.signed.iter().any(|signed| !signed.statement.is_about(&content)) {
        return Err(Error::new(Kind::Integrity, format!("{MANIFEST} ({}) is not the one that was signed", content.short()))
            .hint("the bundle was changed after it was signed, or the signature belongs to another one"));
    }
    let manifest = Manifest::parse(bytes)?;
    manifest.check(files)?;
    Ok(Finding::Ok(format!("{} files, nothing missing, extra or changed; content {content}", manifest.files.len())))
}
