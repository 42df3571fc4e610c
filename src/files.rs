//! Reads files within bounds and writes them whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Access, OFlags};

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
    if about.is_dir() {
        return Err(Error::usage(format!("{shown} is a directory")).hint("give the name of a file in it"));
    }
    if !about.is_file() {
        return Err(Error::usage(format!("{shown} is not a regular file")));
    }
    bounded(file, &shown.to_string(), limit)
}

/// Reads a regular file, or what a pipe such as `<(command)` still brings, of at most `limit` bytes.
///
/// # Errors
/// As [`read`]; a pipe that nobody writes to is empty, and is not waited for.
pub fn read_or_drain(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let is_pipe = fs::metadata(path).is_ok_and(|about| about.file_type().is_fifo());
    if !is_pipe {
        return read(path, limit);
    }
    let shown = path.display().to_string();
    // Opened without waiting for a writer; those that are there are then waited for as usual.
    let file = open_without_waiting(File::options().read(true), path).with_context(|| format!("open {shown}"))?;
    let bytes = bounded(file, &shown, limit)?;
    if bytes.is_empty() {
        return Err(
            Error::usage(format!("{shown} is a pipe that brings nothing")).hint("what should write into it failed, or does not run")
        );
    }
    Ok(bytes)
}

fn bounded(from: File, shown: &str, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("read {shown}"))?;
    if bytes.len() as u64 > limit {
        return Err(Error::usage(format!("{shown} has more than {limit} bytes, which is the limit for such a file")));
    }
    Ok(bytes)
}

/// Opens a pipe or device that may have nobody at its other end.
fn open_without_waiting(how: &mut fs::OpenOptions, path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = how.custom_flags(flags).open(path)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
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
/// A device or pipe, such as `/dev/stdout`, is written into and never replaced.
///
/// # Errors
/// [`Kind::Usage`] for a directory; [`Kind::Io`] if the directory cannot be made or the file cannot be written, e.g. on a full disk; the old file stays.
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

/// Makes sure, as far as that can be told beforehand, that a file can be written: better now than after an hour of tests.
///
/// # Errors
/// [`Kind::Usage`] for a directory; [`Kind::Io`] if the file could not be made there.
pub fn can_write(path: &Path) -> Result<()> {
    match place(path)? {
        Place::Opened => Ok(()),
        Place::File => can_fill(folder_of(path)).map_err(|error| not_written(path, error)),
    }
}

/// The same for a directory that is to be made or filled.
///
/// # Errors
/// [`Kind::Io`] if it could not be.
pub fn can_write_into(folder: &Path) -> Result<()> {
    can_fill(folder).map_err(|error| not_written(folder, error))
}

/// Whether the directory, or the nearest one above it that is there, is a writable one.
fn can_fill(folder: &Path) -> std::io::Result<()> {
    let above = folder.ancestors().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    for folder in above {
        match fs::metadata(folder) {
            Ok(about) if about.is_dir() => return Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?),
            Ok(_) => return Err(std::io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::ErrorKind::NotFound.into())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn not_written(path: &Path, error: std::io::Error) -> Error {
    let hint = "check that the directory is writable and that the disk is not full";
    Error::new(Kind::Io, format!("write {}", path.display())).because(error).hint(hint)
}

/// How something is written there.
enum Place {
    /// As a new file that takes the name.
    File,
    /// Into what is there, which is no file, or is one that this process was handed.
    Opened,
}

fn place(path: &Path) -> Result<Place> {
    // `/dev/stdout` leads to what the shell opened; the name itself is everybody's.
    if ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|special| path.starts_with(special)) && path.exists() {
        return Ok(Place::Opened);
    }
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => {
            Err(Error::usage(format!("{} is a directory", path.display())).hint("give the name of a file in it"))
        }
        Ok(about) if !about.is_file() => Ok(Place::Opened),
        _ => Ok(Place::File),
    }
}

fn write_as(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let folder = folder_of(path);
    let failed = |error: std::io::Error| not_written(path, error);
    if let Place::Opened = place(path)? {
        let mut file = open_without_waiting(File::options().append(true), path).map_err(failed)?;
        return match file.write_all(bytes) {
            // Whoever reads it has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(failed),
        };
    }
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
    fn a_device_or_a_pipe_is_written_into_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a directory");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a pipe");
        assert_eq!(write(&pipe, b"lost").expect_err("nobody reads it").kind(), Kind::Io);
        let mut reader = open_without_waiting(File::options().read(true), &pipe).expect("opens");
        write(&pipe, b"seen").expect("is written");
        let mut seen = String::new();
        reader.read_to_string(&mut seen).expect("is read");
        assert_eq!(seen, "seen");
        assert!(fs::metadata(&pipe).expect("is there").file_type().is_fifo());
        // A link to a device, as `/dev/stdout` is one; the device itself is not at stake here.
        let full = folder.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
        let error = write(&full, b"x").expect_err("no room");
        assert!(error.chain().contains("No space left"), "{}", error.chain());
        assert!(fs::symlink_metadata(&full).expect("is there").is_symlink());
        assert_eq!(write(folder.path(), b"x").expect_err("a directory").kind(), Kind::Usage);
    }

    #[test]
    fn what_a_pipe_still_brings_is_read_and_one_without_a_writer_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a directory");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a pipe");
        assert!(read_or_drain(&pipe, 10).expect_err("nothing").chain().contains("brings nothing"));
        let (reader, bytes) = (pipe.clone(), b"a: 1\n");
        let held = open_without_waiting(File::options().read(true), &reader).expect("opens");
        let mut writer = File::options().write(true).open(&pipe).expect("opens");
        writer.write_all(bytes).expect("is written");
        drop(writer);
        assert_eq!(read_or_drain(&pipe, 10).expect("is read"), bytes);
        drop(held);
    }

    #[test]
    fn whether_a_file_can_be_written_is_told_beforehand() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("file");
        write(&file, b"x").expect("is written");
        can_write(&file).expect("may be replaced");
        can_write(&folder.path().join("a/b/c")).expect("can be made");
        can_write_into(&folder.path().join("a/b")).expect("can be made");
        assert_eq!(can_write(folder.path()).expect_err("a directory").kind(), Kind::Usage);
        for wrong in [can_write(&file.join("below")), can_write_into(&file)] {
            assert_eq!(wrong.expect_err("cannot be made").kind(), Kind::Io);
        }
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
