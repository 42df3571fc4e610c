//! Stage 1: what the input is and where the bundle lies.

use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::evidence::{Layout, Pointer, layout};
use crate::registry::Repository;
use crate::verify::Input;
use crate::verify::case::{Case, Finding, Place};
use crate::{files, limits};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let found = match &case.request.pointer {
        Some(bytes) => Input::Pointer(PathBuf::from(&case.request.input), bytes.to_vec()),
        None => input(&case.request.input)?,
    };
    match found {
        Input::Layout(path, layout) => {
            let said = format!("OCI layout {} with {}", path.display(), layout.digest());
            case.place = Some(Place::Layout(layout));
            Ok(Finding::Ok(said))
        }
        Input::Directory(path) => {
            let said = format!("bundle directory {}", path.display());
            case.place = Some(Place::Directory(path));
            Ok(Finding::Ok(said))
        }
        Input::Oci(reference) => {
            let (repository, digest) = Repository::pinned(&reference)?;
            let said = format!("artifact {repository}@{digest}");
            case.place = Some(Place::Registry(repository, digest));
            Ok(Finding::Ok(said))
        }
        Input::Pointer(path, bytes) => {
            let name = path.display().to_string();
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::new(Kind::Schema, format!("{name} is not an evidence pointer: it is not UTF-8 text")))?;
            let pointer = Pointer::parse(&text, &name)?;
            check_file_name(&path, &pointer)?;
            let repository: Repository = pointer
                .bundle
                .repository
                .parse()
                .map_err(|error: Error| Error::new(Kind::Schema, "the pointer's repository cannot be used").because(error))?;
            let digest = pointer.bundle.digest.clone();
            let said = format!("pointer to {repository}@{digest}");
            case.place = Some(Place::Registry(repository, digest));
            case.pointer = Some(pointer);
            Ok(Finding::Ok(said))
        }
    }
}

fn input(text: &str) -> Result<Input> {
    let path = PathBuf::from(text);
    Ok(match text.strip_prefix("oci://") {
        Some(reference) => Input::Oci(reference.to_owned()),
        None if layout::is_layout(&path) => {
            let layout = Layout::open(&path)?;
            Input::Layout(path, Box::new(layout))
        }
        None if path.is_dir() => Input::Directory(path),
        None => match Layout::open_tar(&path)? {
            Some(layout) => Input::Layout(path, Box::new(layout)),
            None => {
                let bytes = files::read(&path, limits::DOCUMENT_BYTES).context("read the pointer")?;
                Input::Pointer(path, bytes)
            }
        },
    })
}

/// A pointer that is named like one must be the one that its name says.
fn check_file_name(path: &Path, pointer: &Pointer) -> Result<()> {
    let expected = pointer.path()?;
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sha256-"));
    if named && path.file_name() != expected.file_name() {
        return Err(Error::new(Kind::Integrity, "the pointer's file name is not the digest of its bundle")
            .hint(format!("it would have to be {}", expected.display())));
    }
    Ok(())
}
