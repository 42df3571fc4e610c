//! A layout in a directory: each file is opened once, without following links, and only those that are asked for.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::Extent;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directories of a layout, opened once.
pub(super) struct Folder {
    root: OwnedFd,
    blobs: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |name: &str, error: Errno| match error {
            Errno::LOOP | Errno::NOTDIR => Error::new(Kind::Integrity, format!("{name} is not a directory")),
            Errno::NOENT => Error::new(Kind::Schema, format!("there is no {name}")),
            error => Error::new(Kind::Io, format!("open {name}")).because(error),
        };
        // The folder itself may be reached through a link: the user named it.
        let root = openat(CWD, path, FOLDER, Mode::empty()).map_err(|error| Error::usage("it cannot be opened").because(error))?;
        let blobs = openat(&root, "blobs", FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| failed("blobs", error))?;
        let blobs = openat(&blobs, "sha256", FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| failed("blobs/sha256", error))?;
        Ok(Self { root, blobs })
    }

    pub(super) fn named(&self, name: &str) -> Result<Option<Extent>> {
        file(&self.root, name)
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<Extent>> {
        file(&self.blobs, digest.hex())
    }
}

fn file(folder: &OwnedFd, name: &str) -> Result<Option<Extent>> {
    // Opened first and looked at then; a pipe must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(Error::new(Kind::Integrity, format!("{name} is a symbolic link; a layout holds none"))),
        Err(error) => return Err(Error::new(Kind::Io, format!("open {name}")).because(error)),
    };
    let about = fstat(&file).map_err(|error| Error::new(Kind::Io, format!("look at {name}")).because(error))?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(Error::new(Kind::Integrity, format!("{name} is not a regular file")));
    }
    let size = u64::try_from(about.st_size).unwrap_or_default();
    Ok(Some(Extent { file: Arc::new(File::from(file)), start: 0, size }))
}
