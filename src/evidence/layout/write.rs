//! Writes a layout: whole or not at all, and the same bytes for the same evidence.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{Descriptor, INDEX, INDEX_TYPE, Index, MARK, Mark, REF_NAME, Signature, VERSION, blob_path};
use crate::digest::{Digest, canonical_json};
use crate::error::{Context, Error, Result};
use crate::evidence::directory::Large;
use crate::evidence::parcel::{Parcel, Part};
use crate::evidence::{directory, oci};

/// What goes into a layout.
#[derive(Debug)]
pub struct Packed<'a> {
    /// The bundle.
    pub parcel: &'a Parcel,
    /// Its signatures; those that are empty are left out.
    pub signatures: &'a [Signature],
    /// The tag that the bundle has in the layout.
    pub tag: &'a str,
}

/// Writes a layout to a directory that does not exist yet.
///
/// # Errors
/// A usage error if it is there already; [`Kind::Io`](crate::error::Kind::Io) if it cannot be written, and then nothing is left there.
pub fn write_folder(packed: &Packed, path: &Path) -> Result<()> {
    absent(path)?;
    directory::whole(path, |partial| {
        for (name, part) in entries(packed)? {
            let to = partial.join(&name);
            let failed = || format!("write {name}");
            std::fs::create_dir_all(to.parent().unwrap_or(partial)).with_context(failed)?;
            let mut file = File::create_new(&to).with_context(failed)?;
            io::copy(&mut part.reader(), &mut file).with_context(failed)?;
        }
        Ok(())
    })
}

/// Writes a layout to a tar file that does not exist yet.
///
/// # Errors
/// As [`write_folder`].
pub fn write_tar(packed: &Packed, path: &Path) -> Result<()> {
    absent(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("write {}", path.display());
    std::fs::create_dir_all(folder).with_context(writing)?;
    let mut partial = tempfile::Builder::new().prefix(".seatrial-").tempfile_in(folder).with_context(writing)?;
    {
        let mut builder = tar::Builder::new(io::BufWriter::new(partial.as_file_mut()));
        for (name, part) in entries(packed)? {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(part.size());
            header.set_mode(0o644);
            // No clock and no owner: the same evidence is the same file.
            header.set_mtime(0);
            builder.append_data(&mut header, &name, part.reader()).with_context(|| format!("write {name}"))?;
        }
        let mut writer = builder.into_inner().with_context(writing)?;
        writer.flush().with_context(writing)?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    partial.as_file().set_permissions(mode).with_context(writing)?;
    partial.persist_noclobber(path).map_err(|error| error.error).with_context(writing)?;
    Ok(())
}

fn absent(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::usage(format!("{} is there already", path.display())).hint("name another, or remove it first"))
}

/// A file of a layout.
enum Entry<'a> {
    Bytes(Vec<u8>),
    Held(&'a [u8]),
    Large(&'a Large),
}

impl Entry<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Held(bytes) => bytes.len() as u64,
            Self::Large(large) => large.size,
        }
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Bytes(bytes) => Box::new(bytes.as_slice()),
            Self::Held(bytes) => Box::new(*bytes),
            Self::Large(large) => Box::new(reader(large)),
        }
    }
}

/// Reads a large file from its beginning, wherever others are in it.
pub(crate) fn reader(large: &Large) -> impl Read + use<> {
    Reader { file: large.file.clone(), at: 0, size: large.size }
}

struct Reader {
    file: Arc<File>,
    at: u64,
    size: u64,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.size - self.at).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut into[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Every file, in the order in which it is written: what says what it is comes first.
fn entries<'a>(packed: &Packed<'a>) -> Result<Vec<(String, Entry<'a>)>> {
    let artifact = packed.parcel.artifact();
    let annotations = BTreeMap::from([(REF_NAME.to_owned(), packed.tag.to_owned())]);
    let described = |document: &oci::Document, kind: &str, annotations| Descriptor {
        media_type: oci::MANIFEST_TYPE.to_owned(),
        digest: document.digest.clone(),
        size: document.bytes.len() as u64,
        artifact_type: Some(kind.to_owned()),
        annotations,
    };
    let mut manifests = vec![described(artifact, oci::ARTIFACT_TYPE, annotations)];
    let mut blobs: BTreeMap<String, Entry<'a>> = BTreeMap::new();
    blobs.insert(blob_path(&artifact.digest), Entry::Bytes(artifact.bytes.clone()));
    blobs.insert(blob_path(&Digest::of(oci::EMPTY)), Entry::Held(oci::EMPTY));
    for (_, part) in packed.parcel.parts() {
        let entry = match part {
            Part::Held(bytes) => Entry::Held(bytes),
            Part::Large(large) => Entry::Large(large),
        };
        blobs.insert(blob_path(&part.digest()), entry);
    }
    for signature in packed.signatures.iter().filter(|signature| !signature.bytes.is_empty()) {
        manifests.push(described(&signature.manifest, oci::SIGNATURE_TYPE, BTreeMap::new()));
        blobs.insert(blob_path(&signature.manifest.digest), Entry::Bytes(signature.manifest.bytes.clone()));
        blobs.insert(blob_path(&Digest::of(&signature.bytes)), Entry::Held(&signature.bytes));
    }
    let index = Index { schema_version: 2, media_type: Some(INDEX_TYPE.to_owned()), manifests };
    let mark = Mark { image_layout_version: VERSION.to_owned() };
    let head = [(MARK.to_owned(), Entry::Bytes(canonical_json(&mark)?)), (INDEX.to_owned(), Entry::Bytes(canonical_json(&index)?))];
    Ok(head.into_iter().chain(blobs).collect())
}
