//! Two trees as bounded data: what lies below one of their directories, and the bytes of single files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Kind, Result};
use crate::git::{self, Mode};
use crate::{files, limits};

/// A tree.
pub(super) enum Tree<'a> {
    /// Of a commit.
    Commit(&'a git::Repository, git::Id),
    /// A directory.
    Directory(PathBuf),
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) mode: Mode,
    id: Id,
}

/// What tells one content from another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    Object(git::Id),
    Content(Digest),
    /// A link or something special, which is never read.
    Unread,
}

/// What lies below a directory, by path from the root of the tree.
pub(super) type Listing = BTreeMap<Vec<u8>, Found>;

impl Tree<'_> {
    /// All that lies at or below a path, directories apart. What is no directory itself is listed alone.
    ///
    /// # Errors
    /// [`Kind::Policy`] if there is more than what is looked at; all of reading trees.
    pub(super) fn below(&self, path: &str) -> Result<Listing> {
        let mut listing = Listing::new();
        match self {
            Self::Commit(repository, root) => {
                let mut tree = *root;
                let mut at: Vec<u8> = Vec::new();
                for part in path.split('/') {
                    let entries = repository.entries(tree)?;
                    let Some(entry) = entries.into_iter().find(|entry| entry.name == part.as_bytes()) else { return Ok(listing) };
                    at = joined(&at, &entry.name);
                    if entry.mode != Mode::Directory {
                        listing.insert(at, Found { mode: entry.mode, id: Id::Object(entry.id) });
                        return Ok(listing);
                    }
                    tree = entry.id;
                }
                Walk { repository, trees: BTreeMap::new(), seen: 0 }.below(tree, &at, 0, &mut listing)?;
            }
            Self::Directory(root) => {
                let folder = root.join(path);
                let Some(about) = look(&folder)? else { return Ok(listing) };
                // A link on the way to it leads who knows where.
                let mut way = root.clone();
                for part in path.split('/') {
                    way.push(part);
                    if look(&way)?.is_some_and(|about| about.file_type().is_symlink()) {
                        let at = way.strip_prefix(root).unwrap_or(&way).as_os_str().as_bytes().to_vec();
                        listing.insert(at, Found { mode: Mode::Link, id: Id::Unread });
                        return Ok(listing);
                    }
                }
                if about.is_dir() {
                    walk_folder(&folder, path.as_bytes(), 0, &mut 0, &mut listing)?;
                } else {
                    listing.insert(path.as_bytes().to_vec(), found(&folder, &about)?);
                }
            }
        }
        Ok(listing)
    }

    /// The names in one of its directories; `""` is its root. There are none in what is no directory.
    ///
    /// # Errors
    /// As [`Tree::below`].
    pub(super) fn names(&self, folder: &str) -> Result<Vec<Vec<u8>>> {
        let parts = || folder.split('/').filter(|part| !part.is_empty());
        match self {
            Self::Commit(repository, root) => {
                let mut entries = repository.entries(*root)?;
                for part in parts() {
                    let below = entries.into_iter().find(|entry| entry.name == part.as_bytes() && entry.mode == Mode::Directory);
                    let Some(below) = below else { return Ok(Vec::new()) };
                    entries = repository.entries(below.id)?;
                }
                Ok(entries.into_iter().map(|entry| entry.name).collect())
            }
            Self::Directory(root) => {
                let mut way = root.clone();
                for part in parts() {
                    way.push(part);
                    if !look(&way)?.is_some_and(|about| about.is_dir()) {
                        return Ok(Vec::new());
                    }
                }
                let listed = || format!("list {}", way.display());
                let (mut names, mut seen) = (Vec::new(), 0);
                for entry in fs::read_dir(&way).with_context(listed)? {
                    let name = entry.with_context(listed)?.file_name().into_vec();
                    count(&name, 0, &mut seen)?;
                    names.push(name);
                }
                Ok(names)
            }
        }
    }

    /// The bytes of a file that was listed.
    ///
    /// # Errors
    /// [`Kind::Policy`] if it is larger than `limit`; [`Kind::Integrity`] for what is no file, or is another by now.
    pub(super) fn read(&self, path: &[u8], found: &Found, limit: u64) -> Result<Vec<u8>> {
        let shown = super::shown(&String::from_utf8_lossy(path));
        if !matches!(found.mode, Mode::File | Mode::Executable) {
            return Err(Error::new(Kind::Integrity, format!("{shown} is no file")));
        }
        match (self, &found.id) {
            (Self::Commit(repository, _), Id::Object(id)) => repository.file(*id, limit).with_context(|| format!("read {shown}")),
            (Self::Directory(root), Id::Content(digest)) => {
                let file = root.join(std::ffi::OsStr::from_bytes(path));
                let size = fs::symlink_metadata(&file).with_context(|| format!("look at {shown}"))?.len();
                if size > limit {
                    return Err(Error::new(Kind::Policy, format!("{shown} has {size} bytes, of which at most {limit} are read")));
                }
                let bytes = files::read(&file, limit)?;
                if Digest::of(&bytes) != *digest {
                    return Err(Error::new(Kind::Integrity, format!("{shown} was changed while it was looked at")));
                }
                Ok(bytes)
            }
            _ => Err(Error::internal(format!("{shown} was listed in another tree"))),
        }
    }

    /// The bytes of the plain file at a path; `None` if nothing is there.
    ///
    /// # Errors
    /// As [`Tree::read`]; [`Kind::Integrity`] also for a link or a directory.
    pub(super) fn file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let listing = self.below(path)?;
        match listing.get(path.as_bytes()) {
            Some(found) => self.read(path.as_bytes(), found, limit).map(Some),
            None if listing.is_empty() => Ok(None),
            None => Err(Error::new(Kind::Integrity, format!("{path} is no plain file"))),
        }
    }
}

fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// Counts one more entry, and looks whether it is still within what is looked at.
fn count(path: &[u8], depth: usize, seen: &mut usize) -> Result<()> {
    *seen += 1;
    let shown = || super::shown(&String::from_utf8_lossy(path));
    let what = if *seen > limits::GATE_ENTRIES {
        format!("there are more than {} entries up to {}", limits::GATE_ENTRIES, shown())
    } else if depth > limits::GATE_DEPTH {
        format!("{} lies deeper than {} directories", shown(), limits::GATE_DEPTH)
    } else if path.len() > limits::GATE_PATH_BYTES {
        format!("a path is longer than {} bytes: {}", limits::GATE_PATH_BYTES, shown())
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Policy, what))
}

/// A walk through the trees of a repository. One that stands in many places is read once.
struct Walk<'a> {
    repository: &'a git::Repository,
    trees: BTreeMap<git::Id, Rc<Vec<git::Entry>>>,
    seen: usize,
}

impl Walk<'_> {
    fn below(&mut self, tree: git::Id, at: &[u8], depth: usize, listing: &mut Listing) -> Result<()> {
        let entries = match self.trees.get(&tree) {
            Some(entries) => entries.clone(),
            None => {
                let entries = Rc::new(self.repository.entries(tree)?);
                self.trees.insert(tree, entries.clone());
                entries
            }
        };
        for entry in entries.iter() {
            let path = joined(at, &entry.name);
            count(&path, depth, &mut self.seen)?;
            if entry.mode == Mode::Directory {
                self.below(entry.id, &path, depth + 1, listing)?;
            } else {
                listing.insert(path, Found { mode: entry.mode, id: Id::Object(entry.id) });
            }
        }
        Ok(())
    }
}

fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(about) => Ok(Some(about)),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look at {}", path.display())),
    }
}

fn walk_folder(folder: &Path, at: &[u8], depth: usize, seen: &mut usize, listing: &mut Listing) -> Result<()> {
    let listed = || format!("list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(listed)? {
        let entry = entry.with_context(listed)?;
        let path = joined(at, entry.file_name().as_bytes());
        count(&path, depth, seen)?;
        let Some(about) = look(&entry.path())? else { continue };
        if about.is_dir() {
            walk_folder(&entry.path(), &path, depth + 1, seen, listing)?;
        } else {
            listing.insert(path, found(&entry.path(), &about)?);
        }
    }
    Ok(())
}

fn found(path: &Path, about: &fs::Metadata) -> Result<Found> {
    if !about.is_file() {
        return Ok(Found { mode: Mode::Link, id: Id::Unread });
    }
    if about.len() > limits::BUNDLE_FILE_BYTES {
        let what = format!("{} has {} bytes, of which at most {} are read", path.display(), about.len(), limits::BUNDLE_FILE_BYTES);
        return Err(Error::new(Kind::Policy, what));
    }
    let mode = if about.permissions().mode() & 0o111 == 0 { Mode::File } else { Mode::Executable };
    let read = || format!("read {}", path.display());
    let mut file = fs::File::open(path).with_context(read)?.take(limits::BUNDLE_FILE_BYTES);
    let mut hasher = Hasher::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece).with_context(read)? {
            0 => return Ok(Found { mode, id: Id::Content(hasher.finish()) }),
            length => hasher.update(&piece[..length]),
        }
    }
}
