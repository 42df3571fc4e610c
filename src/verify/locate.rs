//! Stage 1: what the input is and where the bundle lies.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::Pointer;
use crate::registry::Repository;
use crate::verify::Input;
use crate::verify::case::{Case, Finding, Place};
use crate::{files, limits};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    match input(&case.request.input) {
        Input::Directory(path) => {
            let said = format!("bundle directory {}", path.display());
            case.place = Some(Place::Directory(path));
            Ok(Finding::Ok(said))
        }
        Input::Oci(reference) => {
            let (repository, digest) = split(&reference)?;
            let said = format!("artifact {repository}@{digest}");
            case.place = Some(Place::Registry(repository, digest));
            Ok(Finding::Ok(said))
        }
        Input::Pointer(path) => {
            let text = files::read_text(&path, limits::DOCUMENT_BYTES).context("read the pointer")?;
            let pointer = Pointer::parse(&text, &path.display().to_string())?;
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

fn input(text: &str) -> Input {
    match text.strip_prefix("oci://") {
        Some(reference) => Input::Oci(reference.to_owned()),
        None if Path::new(text).is_dir() => Input::Directory(PathBuf::from(text)),
        None => Input::Pointer(PathBuf::from(text)),
    }
}

/// Repository and digest of `repository@sha256:…`. A tag can be moved, so it names nothing that could be verified.
fn split(reference: &str) -> Result<(Repository, Digest)> {
    let Some((repository, digest)) = reference.split_once('@') else {
        return Err(Error::usage(format!("oci://{} names no digest", reference.escape_debug()))
            .hint("write oci://host/repository@sha256:…; a tag can be moved to something else"));
    };
    let digest = digest.parse().map_err(|error: Error| Error::usage("the reference names no digest").because(error))?;
    Ok((repository.parse()?, digest))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_digest_is_a_usage_error() {
        for wrong in ["host:5000/a:v1", "host:5000/a", "host:5000/a@sha256:00", "@", "a@b@c"] {
            assert_eq!(split(wrong).expect_err(wrong).kind(), Kind::Usage, "{wrong}");
        }
        let digest = Digest::of(b"");
        assert_eq!(split(&format!("host:5000/a@{digest}")).expect("reads").1, digest);
    }
}
