//! Finds the documents in a tree of pointers.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::{limits, yaml};

/// Folders in folders: recipe, source; a few more for whoever sorts them otherwise.
const DEPTH: usize = 6;

/// Every `.yaml` file below a directory, sorted. Links are not followed.
///
/// # Errors
/// A usage error if it is no directory, or holds more than [`limits::POINTERS`].
pub fn documents(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Err(Error::usage(format!("{} is not a directory", folder.display())).hint("name the directory that the pointers are in"));
    }
    let mut found = Vec::new();
    gather(folder, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn gather(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let doing = || format!("read {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        let kind = entry.file_type().with_context(doing)?;
        let path = entry.path();
        if kind.is_dir() && depth < DEPTH {
            gather(&path, depth + 1, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
        if found.len() > limits::POINTERS {
            return Err(Error::usage(format!("there are more than {} files in {}", limits::POINTERS, folder.display())));
        }
    }
    Ok(())
}

/// The `kind` that a document says it is of, if it says one.
#[must_use]
pub fn kind(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        kind: Option<String>,
    }
    yaml::from_str::<Head>(text, "document").ok()?.kind
}
