//! Blobs on disk, one file each, named by their digests. Several processes may use one folder; any entry may be wrong or gone.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::digest::{Digest, Hasher};
use crate::limits;

/// What files that are being written begin with.
const PARTIAL: &str = ".partial-";

/// A folder of blobs. Trouble with it never stops anybody: what it does not have is fetched.
pub(super) struct Blobs {
    folder: PathBuf,
    remarks: Mutex<BTreeSet<String>>,
    /// Bytes that were kept since the folder was last looked through; at first more than any.
    since: AtomicU64,
}

impl Blobs {
    /// A folder, which need not be there yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, remarks: Mutex::default(), since: AtomicU64::new(u64::MAX / 2) }
    }

    /// What somebody should know: entries that were not what their names say.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A blob, if it is there and is what its name says.
    pub(super) fn bytes(&self, digest: &Digest, size: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(digest, size, |piece| bytes.extend_from_slice(piece)).then_some(bytes)
    }

    /// Whether a blob is there and is what its name says.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        self.read(digest, size, |_| ())
    }

    fn read(&self, digest: &Digest, size: u64, take: impl FnMut(&[u8])) -> bool {
        let path = self.path(digest);
        let seen = match open(&path).and_then(|file| hash(&file, size, take)) {
            Ok(seen) => seen,
            Err(error) if error.kind() == ErrorKind::NotFound => return false,
            Err(error) => {
                tracing::debug!("the cache's {} cannot be read: {error}", path.display());
                return false;
            }
        };
        if seen.as_ref() == Some(digest) {
            return true;
        }
        let remark = format!("{} was not what its name says; it was fetched again", path.display());
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).insert(remark);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::debug!("the cache's {} cannot be removed: {error}", path.display());
        }
        false
    }

    /// Keeps a blob.
    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8]) {
        if let Some(mut partial) = self.partial() {
            match partial.write_all(bytes) {
                Ok(()) => self.finish(partial, digest, bytes.len() as u64),
                Err(error) => tracing::debug!("{digest} is not kept: {error}"),
            }
        }
    }

    /// A file to write a blob to; none if the folder cannot be written.
    pub(super) fn partial(&self) -> Option<NamedTempFile> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        let partial = made.and_then(|()| tempfile::Builder::new().prefix(PARTIAL).tempfile_in(&self.folder));
        partial.map_err(|error| tracing::debug!("nothing is kept in {}: {error}", self.folder.display())).ok()
    }

    /// Gives a blob that is written its name: whoever looks sees all of it or none.
    pub(super) fn finish(&self, partial: NamedTempFile, digest: &Digest, size: u64) {
        match partial.persist(self.path(digest)) {
            Ok(_) => drop(self.since.fetch_add(size, Ordering::Relaxed)),
            Err(error) => tracing::debug!("{digest} is not kept: {error}"),
        }
    }

    /// Keeps the folder within a limit. It is looked through when something was kept for the first time, and now and then after that.
    pub(super) fn bound(&self, limit: u64) {
        if self.since.load(Ordering::Relaxed) >= limit / 8 {
            self.since.store(0, Ordering::Relaxed);
            self.trim(limit);
        }
    }

    /// Removes what was not used for longest, until the folder is well within its limit, and what killed processes left half written.
    fn trim(&self, limit: u64) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let mut blobs = Vec::new();
        for entry in entries.flatten() {
            let Some(about) = entry.metadata().ok().filter(std::fs::Metadata::is_file) else { continue };
            let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if !entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                blobs.push((used, about.len(), entry.path()));
            } else if used.elapsed().is_ok_and(|age| age > Duration::from_secs(24 * 60 * 60)) {
                remove(&entry.path());
            }
        }
        let mut all: u64 = blobs.iter().map(|(_, size, _)| size).sum();
        if all <= limit {
            return;
        }
        blobs.sort();
        for (_, size, path) in blobs {
            if all <= limit / 4 * 3 {
                break;
            }
            remove(&path);
            all -= size;
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }
}

fn remove(path: &Path) {
    // Another process may have been faster.
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!("the cache's {} cannot be removed: {error}", path.display());
    }
}

/// Opens an entry. A link is not followed and a pipe not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    // So that it counts as used; where that is not allowed, it counts as old.
    file.set_modified(SystemTime::now()).unwrap_or(());
    Ok(file)
}

/// The digest of a file that must have so many bytes; none if it has others or is no file.
fn hash(mut file: &File, size: u64, mut take: impl FnMut(&[u8])) -> io::Result<Option<Digest>> {
    let about = file.metadata()?;
    if !about.is_file() || about.len() != size {
        return Ok(None);
    }
    let (mut hasher, mut piece, mut all) = (Hasher::new(), vec![0; limits::COPY_PIECE], 0);
    loop {
        let read = file.read(&mut piece)?;
        all += read as u64;
        if read == 0 || all > size {
            return Ok((all == size).then(|| hasher.finish()));
        }
        hasher.update(&piece[..read]);
        take(&piece[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_never_given_and_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::new(folder.path().join("deep/blobs"));
        let digest = Digest::of(b"right");
        assert_eq!(blobs.bytes(&digest, 5), None, "there is no folder yet");
        blobs.keep(&digest, b"right");
        assert_eq!(blobs.bytes(&digest, 5).as_deref(), Some(&b"right"[..]));
        assert!(blobs.has(&digest, 5) && blobs.remarks().is_empty());
        let path = blobs.path(&digest);
        let elsewhere = folder.path().join("elsewhere");
        for poison in [&b"wrong"[..], b"", b"righ", b"right and more"] {
            std::fs::write(&path, poison).expect("is written");
            assert!(!blobs.has(&digest, 5), "{poison:?}");
            assert!(!path.exists() && blobs.remarks().len() == 1, "{poison:?}");
        }
        std::fs::write(&elsewhere, b"right").expect("is written");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("is made");
        assert!(!blobs.has(&digest, 5), "a link");
        std::fs::remove_file(&path).expect("is there");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("is made");
        assert!(!blobs.has(&digest, 5), "a pipe");
    }

    #[test]
    fn what_was_not_used_for_longest_is_removed_first_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::new(folder.path().to_owned());
        let digests: Vec<Digest> = (0..4_u8).map(|number| Digest::of(&[number; 100])).collect();
        for (number, digest) in (0..4_u8).zip(&digests) {
            blobs.keep(digest, &[number; 100]);
            let long_ago = SystemTime::now() - Duration::from_secs(1000 - u64::from(number));
            File::open(blobs.path(digest)).and_then(|file| file.set_modified(long_ago)).expect("is ours");
        }
        let writing = blobs.partial().expect("can be written");
        let left = || digests.iter().map(|digest| blobs.path(digest).exists()).collect::<Vec<_>>();
        blobs.trim(400);
        assert_eq!(left(), [true; 4], "it is within the limit");
        assert!(blobs.has(&digests[0], 100), "it counts as used now");
        blobs.trim(399);
        assert_eq!(left(), [true, false, false, true]);
        assert!(writing.path().exists());
        // A process looks at once, and then when it has kept an eighth.
        let blobs = Blobs::new(folder.path().to_owned());
        blobs.bound(160);
        assert_eq!(left(), [true, false, false, false]);
        for digest in &digests[1..] {
            blobs.keep(digest, &[digests.iter().position(|one| one == digest).expect("is one of them") as u8; 100]);
        }
        blobs.bound(2_408);
        assert_eq!(left(), [true; 4], "300 are less than an eighth");
        blobs.bound(300);
        assert_eq!(left().iter().filter(|there| **there).count(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_made_keeps_nothing_and_stops_nobody() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let blobs = Blobs::new(file.path().join("blobs"));
        blobs.keep(&Digest::of(b"x"), b"x");
        assert!(blobs.partial().is_none() && !blobs.has(&Digest::of(b"x"), 1));
        blobs.trim(0);
    }
}
