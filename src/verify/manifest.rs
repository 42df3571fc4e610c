//! Stage 5: whether the files are exactly those that the manifest lists.

use crate::digest::Digest;
use crate::error::Result;
use crate::evidence::MANIFEST;
use crate::evidence::bundle::file;
use crate::reason::Reason;
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let files = case.files()?;
    let bytes = file(files, MANIFEST)?;
    let content = Digest::of(bytes);
    // First what it is, then what it says: a manifest that nobody signed is not parsed.
    if case.signed.iter().any(|signed| !signed.statement.is_about(&content)) {
        return Ok(Finding::refused(
            Reason::OtherBundle,
            format!(
                "{MANIFEST} ({}) is not the one that was signed: it was changed, or the signature is about another bundle",
                content.short()
            ),
        ));
    }
    let manifest = case.contents()?.check()?;
    Ok(Finding::Ok(format!("{} files, nothing missing, extra or changed; content {content}", manifest.files.len())))
}
