//! Reads and writes the directory form of a bundle: bounded, without following links, whole or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, linkat, openat};

use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::SIGNATURE;
use crate::evidence::bundle::{Bundle, Files};
use crate::evidence::contents::{Contents, is_document};
use crate::evidence::layout;
use crate::evidence::manifest::Sums;
use crate::evidence::oci::may_stay_on_disk;
use crate::evidence::parcel::{Parcel, Part};
use crate::{files, limits};

/// Folders in folders; ours have one level.
const DEPTH: usize = 8;

/// What a bundle's directory holds. Nothing of it is checked.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The files by path, without the signature.
    pub files: Files,
    /// The local copy of the signature.
    pub signature: Option<Vec<u8>>,
}

/// A file that stays on disk, opened once: what is read of it later is of the same file.
#[derive(Clone, Debug)]
pub struct Large {
    /// The file.
    pub file: Arc<File>,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

impl Large {
    /// Writes it to a file that is not there yet. One that has no name yet, and is on the same file system, just gets it.
    fn write(&self, to: &Path) -> std::io::Result<()> {
        if fstat(&*self.file)?.st_nlink == 0 {
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            if linkat(CWD, own, CWD, to, AtFlags::SYMLINK_FOLLOW).is_ok() {
                return self.file.set_permissions(PermissionsExt::from_mode(0o644));
            }
        }
        let mut file = BufWriter::with_capacity(limits::COPY_PIECE, File::create_new(to)?);
        std::io::copy(&mut layout::reader(self), &mut file)?;
        file.flush()
    }
}

/// What a bundle's directory holds, where large artifacts are not read into memory. Nothing of it is checked.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// The files by path, without large artifacts and the signature.
    pub files: Files,
    /// Large artifacts by path.
    pub large: BTreeMap<String, Large>,
    /// The local copy of the signature.
    pub signature: Option<Vec<u8>>,
}

/// Reads every file of a directory.
///
/// # Errors
/// [`Kind::Usage`] if it is no directory; [`Kind::Integrity`] for links, devices and whatever is over the limits.
pub fn read(folder: &Path) -> Result<Found> {
    let walk = walk(folder, Keep::All)?;
    Ok(Found { files: walk.files, signature: walk.signature })
}

/// Reads a directory, and leaves artifacts of more than [`limits::HELD_BYTES`] on disk.
///
/// # Errors
/// As [`read`].
pub fn open(folder: &Path) -> Result<Opened> {
    let walk = walk(folder, Keep::AllButLarge)?;
    Ok(Opened { files: walk.files, large: walk.large, signature: walk.signature })
}

/// Reads the documents of a directory, and hashes all other files. Gives the local copy of the signature too.
///
/// # Errors
/// As [`read`].
pub fn look(folder: &Path) -> Result<(Contents, Option<Vec<u8>>)> {
    let walk = walk(folder, Keep::Documents)?;
    Ok((Contents::new(walk.files, walk.sums), walk.signature))
}

fn walk(folder: &Path, keep: Keep) -> Result<Walk> {
    let shown = folder.display();
    // The folder itself may be reached through a link: the user named it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, folder, flags, Mode::empty())
        .map_err(|error| Error::usage(format!("{shown} is not a directory that can be read")).because(error))?;
    let mut walk = Walk { keep, ..Walk::default() };
    walk.folder(&root, "", 0).with_context(|| format!("read the bundle in {shown}"))?;
    walk.signature = walk.files.remove(SIGNATURE);
    Ok(walk)
}

/// Writes a bundle to a directory of its own. A directory that already holds the same bundle is left as it is.
///
/// # Errors
/// [`Kind::Usage`] if the directory holds something else; [`Kind::Io`] if it cannot be written, and then nothing is left there.
pub fn write(bundle: &Bundle, folder: &Path) -> Result<()> {
    let shown = folder.display();
    if folder.exists() {
        if read(folder)?.files == *bundle.files() {
            return Ok(());
        }
        return Err(Error::usage(format!("{shown} already holds something else")).hint("name a directory that does not exist yet"));
    }
    whole(folder, |partial| {
        for (path, bytes) in bundle.files() {
            files::write(&partial.join(path), bytes)?;
        }
        Ok(())
    })
}

/// Writes a bundle, and perhaps its signature, to a directory of its own. One that already holds the same bundle is left as it is.
///
/// # Errors
/// As [`write()`].
pub fn write_parcel(parcel: &Parcel, signature: Option<&[u8]>, folder: &Path) -> Result<()> {
    let shown = folder.display();
    if folder.exists() {
        if Parcel::open(folder).is_ok_and(|(there, _)| there.artifact() == parcel.artifact()) {
            return Ok(());
        }
        return Err(Error::usage(format!("{shown} already holds something else")).hint("name a directory that does not exist yet"));
    }
    whole(folder, |partial| {
        for (path, part) in parcel.parts() {
            match part {
                Part::Held(bytes) => files::write(&partial.join(path), bytes)?,
                Part::Large(large) => {
                    let (to, writing) = (partial.join(path), || format!("write {path}"));
                    std::fs::create_dir_all(to.parent().unwrap_or(partial)).with_context(writing)?;
                    large.write(&to).with_context(writing)?;
                }
            }
        }
        signature.map_or(Ok(()), |signature| write_signature(partial, signature))
    })
}

/// Fills a directory under another name and renames it: whoever looks sees all of it or none.
pub(super) fn whole(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let shown = folder.display();
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    let partial =
        tempfile::Builder::new().prefix(".seatrial-").tempdir_in(parent).with_context(|| format!("write below {}", parent.display()))?;
    fill(partial.path())?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(partial.path(), mode).with_context(|| format!("write {shown}"))?;
    std::fs::rename(partial.path(), folder).with_context(|| format!("write {shown}"))?;
    // It has another name now; there is nothing left to remove under the old one.
    drop(partial.keep());
    Ok(())
}

/// Writes the local copy of a signature beside the files of a bundle.
///
/// # Errors
/// [`Kind::Io`] if it cannot be written.
pub fn write_signature(folder: &Path, signature: &[u8]) -> Result<()> {
    files::write(&folder.join(SIGNATURE), signature)
}

/// What is read into memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Keep {
    #[default]
    All,
    AllButLarge,
    Documents,
}

#[derive(Default)]
struct Walk {
    files: Files,
    large: BTreeMap<String, Large>,
    /// Size and digest of what is not kept.
    sums: Sums,
    signature: Option<Vec<u8>>,
    keep: Keep,
    bytes: u64,
    entries: usize,
}

impl Walk {
    fn folder(&mut self, folder: &OwnedFd, prefix: &str, depth: usize) -> Result<()> {
        let failed = |error: rustix::io::Errno| Error::new(Kind::Io, format!("list /{prefix}")).because(error);
        for entry in Dir::read_from(folder.as_fd()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.entries += 1;
            if self.entries > limits::BUNDLE_FILES * 2 || depth > DEPTH {
                return Err(Error::new(Kind::Integrity, "there is more than a bundle may hold"));
            }
            let Ok(name) = name.to_str() else {
                return Err(Error::new(
                    Kind::Integrity,
                    format!("{prefix}{} is not a name that a bundle may hold", name.to_string_lossy()),
                ));
            };
            self.entry(folder, name, &format!("{prefix}{name}"), depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, name: &str, path: &str, depth: usize) -> Result<()> {
        // Opened first and looked at then, so that nobody can swap it in between; a pipe must not make us wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::LOOP) => {
                return Err(Error::new(Kind::Integrity, format!("{path} is a symbolic link; a bundle holds none")));
            }
            Err(error) => return Err(Error::new(Kind::Io, format!("open {path}")).because(error)),
        };
        let about = fstat(&file).map_err(|error| Error::new(Kind::Io, format!("look at {path}")).because(error))?;
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Directory => self.folder(&file, &format!("{path}/"), depth + 1),
            FileType::RegularFile => {
                let size = u64::try_from(about.st_size).unwrap_or_default();
                if self.keep == Keep::Documents && path != SIGNATURE && !is_document(path) {
                    let Large { size, digest, .. } = self.summed(File::from(file), path)?;
                    self.sums.insert(path.to_owned(), (size, digest));
                } else if self.keep == Keep::AllButLarge && may_stay_on_disk(path, size) {
                    let large = self.summed(File::from(file), path)?;
                    self.large.insert(path.to_owned(), large);
                } else {
                    let bytes = self.bounded(File::from(file), path)?;
                    self.files.insert(path.to_owned(), bytes);
                }
                Ok(())
            }
            _ => Err(Error::new(Kind::Integrity, format!("{path} is neither a file nor a directory"))),
        }
    }

    fn bounded(&mut self, file: File, path: &str) -> Result<Vec<u8>> {
        let limit = if path == SIGNATURE { limits::SIGNATURE_BYTES } else { limits::BUNDLE_FILE_BYTES };
        let limit = limit.min(limits::BUNDLE_BYTES - self.bytes);
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("read {path}"))?;
        self.count(bytes.len() as u64, limit, path)?;
        Ok(bytes)
    }

    /// The digest of a file that is not kept in memory.
    fn summed(&mut self, mut file: File, path: &str) -> Result<Large> {
        let limit = limits::BUNDLE_FILE_BYTES.min(limits::BUNDLE_BYTES - self.bytes);
        let (mut size, mut hasher, mut piece) = (0, Hasher::new(), vec![0; limits::COPY_PIECE]);
        loop {
            let read = file.read(&mut piece).with_context(|| format!("read {path}"))?;
            if read == 0 || size > limit {
                break;
            }
            hasher.update(&piece[..read]);
            size += read as u64;
        }
        self.count(size, limit, path)?;
        Ok(Large { file: Arc::new(file), size, digest: hasher.finish() })
    }

    fn count(&mut self, size: u64, limit: u64, path: &str) -> Result<()> {
        if size > limit || self.files.len() + self.large.len() + self.sums.len() > limits::BUNDLE_FILES {
            return Err(Error::new(Kind::Integrity, format!("with {path} there is more than a bundle may hold")));
        }
        self.bytes += size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_pipes_and_hidden_depths_are_refused_and_read_as_integrity_errors() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path();
        std::fs::write(path.join("a.json"), b"{}").expect("is written");
        assert_eq!(read(path).expect("reads").files.len(), 1);

        std::os::unix::fs::symlink("/etc", path.join("ctrf")).expect("is made");
        let error = read(path).expect_err("a linked folder");
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(error.chain().contains("ctrf is a symbolic link"), "{}", error.chain());
        std::fs::remove_file(path.join("ctrf")).expect("is removed");

        let deep = (0..20).fold(path.to_owned(), |path, _| path.join("d"));
        std::fs::create_dir_all(deep).expect("is made");
        assert_eq!(read(path).expect_err("too deep").kind(), Kind::Integrity);
        std::fs::remove_dir_all(path.join("d")).expect("is removed");

        rustix::fs::mkfifoat(CWD, path.join("pipe"), Mode::RUSR | Mode::WUSR).expect("is made");
        assert_eq!(read(path).expect_err("a pipe").kind(), Kind::Integrity);
    }

    #[test]
    fn a_directory_that_is_not_there_is_a_usage_error() {
        assert_eq!(read(Path::new("/nonexistent-bundle")).expect_err("is refused").kind(), Kind::Usage);
    }
}
