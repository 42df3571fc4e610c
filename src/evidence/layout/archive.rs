//! A layout in a tar file: opened once, listed within limits, read in place. Nothing of it is extracted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use tar::EntryType;

use super::{Extent, INDEX, MARK};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::limits;

/// What a tar file of this century has at [`MAGIC_AT`].
const MAGIC: &[u8] = b"ustar";
const MAGIC_AT: u64 = 257;
/// Directories that may be there: ours, and one in which oras builds blobs.
const FOLDERS: &[&str] = &["", "blobs", "blobs/sha256", "ingest"];

/// The files of a tar file by name.
pub(super) struct Archive {
    entries: BTreeMap<String, Extent>,
}

impl Archive {
    /// Lists a tar file; none if it is not one.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        // A pipe without a writer would be waited for at its opening.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut file = match File::options().read(true).custom_flags(flags).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.context("open it")?,
        };
        let about = file.metadata().context("look at it")?;
        let mut magic = [0; MAGIC.len()];
        if !about.is_file() || file.read_exact_at(&mut magic, MAGIC_AT).is_err() || magic != MAGIC {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0)).context("read it")?;
        let shared = Arc::new(file);
        let mut entries = BTreeMap::new();
        let (mut count, mut total) = (0_usize, 0_u64);
        let broken = |error: std::io::Error| Error::new(Kind::Schema, "the tar file is damaged").because(error);
        // Raw: extensions of the format, which could rename or resize what follows, are entries of their own, and refused as such.
        for entry in tar::Archive::new(&*shared).entries_with_seek().map_err(broken)?.raw(true) {
            let entry = entry.map_err(broken)?;
            let name = name(&entry.path_bytes())?;
            let (start, size) = (entry.raw_file_position(), entry.size());
            count += 1;
            total = total.saturating_add(size);
            if count > limits::LAYOUT_ENTRIES || total > limits::LAYOUT_BYTES {
                return Err(Error::new(Kind::Integrity, "there is more than a packed bundle may hold"));
            }
            match entry.header().entry_type() {
                EntryType::Directory if FOLDERS.contains(&name.as_str()) && size == 0 => continue,
                EntryType::Regular if is_ours(&name) => {}
                EntryType::Regular | EntryType::Directory => {
                    return Err(Error::new(Kind::Integrity, format!("`{}` does not belong into a layout", name.escape_debug())));
                }
                other => {
                    let message =
                        format!("`{}` is neither a file nor a directory (tar type {:?})", name.escape_debug(), char::from(other.as_byte()));
                    return Err(
                        Error::new(Kind::Integrity, message).hint("pack it with `seatrial evidence pack`, or with tar --format=ustar")
                    );
                }
            }
            if start.checked_add(size).is_none_or(|end| end > about.len()) {
                return Err(Error::new(Kind::Integrity, format!("the tar file ends within {name}")));
            }
            if entries.insert(name.clone(), Extent { file: shared.clone(), start, size }).is_some() {
                return Err(Error::new(Kind::Integrity, format!("{name} is there twice")));
            }
        }
        Ok(Some(Self { entries }))
    }

    pub(super) fn named(&self, name: &str) -> Option<Extent> {
        self.entries.get(name).cloned()
    }
}

/// A name without the `./` that tar puts in front, and without a slash at its end.
fn name(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::new(Kind::Integrity, "a name in the tar file is not text"))?;
    let text = text.strip_prefix("./").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    Ok(if text == "." { String::new() } else { text.to_owned() })
}

fn is_ours(name: &str) -> bool {
    let blob = |hex: &str| format!("sha256:{hex}").parse::<Digest>().is_ok();
    name == MARK || name == INDEX || name.strip_prefix("blobs/sha256/").is_some_and(blob)
}
