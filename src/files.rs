//! Reads files within bounds and writes them whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Context, Error, Kind, Result};

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// [`Kind::Usage`] if it does not exist, is not a regular file or is too large; [`Kind::Io`] if it cannot be read.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let shown = path.display();
    // A pipe without a writer would be waited for at its opening; it is refused below instead.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::usage(format!("there is no file {shown}")));
        }
        opened => opened.with_context(|| format!("open {shown}"))?,
    };
    let about = file.metadata().with_context(|| format!("look at {shown}"))?;
    if !about.is_file() {
        return Err(Error::usage(format!("{shown} is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("read {shown}"))?;
    if bytes.len() as u64 > limit {
        return Err(Error::usage(format!("{shown} has more than {limit} bytes, which is the limit for such a file")));
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// As [`read`]; [`Kind::Usage`] if it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| Error::usage(format!("{} is not UTF-8 text", path.display())))
}

/// Writes a file under a temporary name in the same directory and renames it: a reader sees all of it or none.
///
/// # Errors
/// [`Kind::Io`] if the directory cannot be made or the file cannot be written, e.g. on a full disk; the old file stays.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(path, bytes, 0o644)
}

/// The same for a file that only its owner may read.
///
/// # Errors
/// As [`write()`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(path, bytes, 0o600)
}

fn write_as(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| {
        Error::new(Kind::Io, format!("write {}", path.display()))
            .because(error)
            .hint("check that the directory is writable and that the disk is not full")
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut partial = tempfile::Builder::new().prefix(".seatrial-").tempfile_in(folder).map_err(failed)?;
    partial.write_all(bytes).map_err(failed)?;
    // Temporary files are private; most of what we write is for everyone who may read the directory.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    partial.as_file().set_permissions(mode).map_err(failed)?;
    partial.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a/b.txt");
        write(&path, b"old").expect("is written");
        let error = write(&path.join("below-a-file"), b"new").expect_err("a file is no directory");
        assert_eq!(error.kind(), Kind::Io);
        assert_eq!(read(&path, 10).expect("is there"), b"old");
    }

    #[test]
    fn a_missing_file_a_directory_a_pipe_and_a_large_file_are_usage_errors() {
        let folder = tempfile::tempdir().expect("a directory");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
        write(&folder.path().join("large"), &[0; 11]).expect("is written");
        for wrong in ["missing", "", "pipe", "large"] {
            assert_eq!(read(&folder.path().join(wrong), 10).expect_err(wrong).kind(), Kind::Usage);
        }
    }
}
