//! Pointer files: written whole, never changed, only added to, also by two processes at once.

use std::fs::File;
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::evidence::Pointer;
use crate::{files, limits};

/// Reads a pointer.
pub(super) fn read(path: &Path) -> Result<Pointer> {
    let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the pointer")?;
    Pointer::parse(&text, &path.display().to_string())
}

/// Writes a pointer. To one that is there already, its signatures are added.
///
/// # Errors
/// A usage error if the one that is there says something else; [`Kind::Io`](crate::error::Kind::Io) if it cannot be written.
pub(super) fn write(mut pointer: Pointer, path: &Path) -> Result<()> {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    // Held until this returns: another process reads the pointer after we wrote it, and adds to what we wrote.
    let lock = File::open(folder).with_context(|| format!("open {}", folder.display()))?;
    lock.lock().with_context(|| format!("lock {}", folder.display()))?;
    if path.exists() {
        let mut old = read(path)?;
        if (&old.bundle, &old.recipe, old.hardware) != (&pointer.bundle, &pointer.recipe, pointer.hardware) {
            return Err(
                Error::usage(format!("{shown} says something else about this bundle")).hint("pointers are never changed; see what it says")
            );
        }
        let new = pointer.signatures.into_iter().filter(|signature| old.signatures.iter().all(|seen| seen.digest != signature.digest));
        let new: Vec<_> = new.collect();
        if new.is_empty() {
            return Ok(());
        }
        old.signatures.extend(new);
        pointer = old;
    }
    files::write(path, pointer.to_yaml()?.as_bytes())
}
