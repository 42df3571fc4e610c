//! Recipe data of one's own, over what ships: a directory, or files that were read from elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::{files, limits};

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Own {
    /// In a directory.
    Folder(PathBuf),
    /// In memory: the name of the directory that they are from, and the files by their path below it.
    Files(String, Arc<BTreeMap<String, Vec<u8>>>),
}

impl Own {
    /// A file as the user knows it.
    pub(super) fn place(&self, path: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(path).display().to_string(),
            Self::Files(name, _) => format!("{name}/{path}"),
        }
    }

    /// The YAML files of one of its folders, or directly in it, by their path.
    pub(super) fn documents(&self, below: &str) -> Result<Vec<(String, String)>> {
        match self {
            Self::Folder(folder) => in_folder(folder, below),
            Self::Files(_, files) => {
                let prefix = if below.is_empty() { String::new() } else { format!("{below}/") };
                let directly = |path: &&String| {
                    let rest = path.strip_prefix(&prefix);
                    rest.is_some_and(|rest| rest.ends_with(".yaml") && !rest.contains('/'))
                };
                let documents: Vec<&String> = files.keys().filter(directly).collect();
                if documents.len() > limits::DATA_FILES {
                    return Err(Error::usage(format!("{} has more than {} files", self.place(below), limits::DATA_FILES)));
                }
                documents.into_iter().map(|path| Ok((path.clone(), self.file(path)?.unwrap_or_default()))).collect()
            }
        }
    }

    /// The text of a file; `None` if there is none at this path.
    pub(super) fn file(&self, path: &str) -> Result<Option<String>> {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        match self {
            Self::Folder(folder) if plain && folder.join(path).exists() => {
                files::read_text(&folder.join(path), limits::DOCUMENT_BYTES).map(Some)
            }
            Self::Folder(_) => Ok(None),
            Self::Files(_, files) => files.get(path).map(|bytes| text(bytes, &self.place(path))).transpose(),
        }
    }
}

fn text(bytes: &[u8], place: &str) -> Result<String> {
    if bytes.len() as u64 > limits::DOCUMENT_BYTES {
        return Err(Error::usage(format!("{place} has more than {} bytes, which is the limit for such a file", limits::DOCUMENT_BYTES)));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::usage(format!("{place} is not UTF-8 text")))
}

fn in_folder(folder: &Path, below: &str) -> Result<Vec<(String, String)>> {
    let within = folder.join(below);
    let failed = |error: std::io::Error| Error::usage(format!("read the directory {}", within.display())).because(error);
    let entries = match fs::read_dir(&within) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !below.is_empty() => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_file() && name.ends_with(".yaml") {
            if found.len() >= limits::DATA_FILES {
                return Err(Error::usage(format!("{} has more than {} files", within.display(), limits::DATA_FILES)));
            }
            let below = if below.is_empty() { name } else { format!("{below}/{name}") };
            found.push((below, files::read_text(&path, limits::DOCUMENT_BYTES)?));
        }
    }
    found.sort();
    Ok(found)
}
