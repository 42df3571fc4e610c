//! Manifests: put as the bytes they are, fetched by digest, tags resolved.

use std::sync::LazyLock;

use regex::Regex;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use reqwest::{Method, StatusCode};
use tokio_util::bytes::Bytes;

use super::Registry;
use super::auth::Access;
use super::blobs::check;
use super::body::Body;
use super::http::Call;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::limits;

/// An image manifest, which is also the form of any other artifact.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Everything that a tag can name: Docker's own types too, which registries hide from those who do not ask for them.
pub(super) const ANY_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*;q=0.1";

impl Registry {
    /// Puts a manifest under its digest, or under a tag, and gives its digest.
    ///
    /// # Errors
    /// [`Kind::Integrity`] if the registry says that it stored something else; otherwise what the registry or the way to it is wrong with.
    pub async fn put_manifest(&self, bytes: &[u8], media_type: &str, tag: Option<&str>) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let reference = match tag {
            Some(tag) => valid_tag(tag)?,
            None => digest.as_str(),
        };
        let doing = format!("put manifest {reference} into {}", self.repository);
        let call = Call::new(&doing, Method::PUT, self.url("manifests", reference)?, Access::Push).header(CONTENT_TYPE, media_type);
        let reply = self.call(&Call { body: Body::of(Bytes::copy_from_slice(bytes)), ..call }).await?;
        match reply.header(HeaderName::from_static("docker-content-digest")) {
            Some(stored) if stored != digest.as_str() => {
                let message = format!("{doing}: the registry stored {} and we sent {digest}", stored.escape_debug());
                Err(Error::new(Kind::Integrity, message))
            }
            _ => Ok(digest),
        }
    }

    /// Fetches a manifest by its digest.
    ///
    /// # Errors
    /// [`Kind::Integrity`] if what comes is something else, [`Kind::NotFound`] if there is none; otherwise what the registry or the way
    /// to it is wrong with.
    pub async fn get_manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        let doing = format!("fetch manifest {digest} from {}", self.repository);
        let bytes = self.manifest(&doing, digest.as_str(), &[]).await?.unwrap_or_default();
        check(&doing, digest, &bytes)?;
        Ok(bytes)
    }

    /// Finds the digest of what a tag names now.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such tag; otherwise what the registry or the way to it is wrong with.
    pub async fn resolve(&self, tag: &str) -> Result<Digest> {
        let doing = format!("look up the tag {} in {}", valid_tag(tag)?, self.repository);
        // The digest is taken of what comes: a header that names it would be one more thing to believe.
        Ok(Digest::of(&self.manifest(&doing, tag, &[]).await?.unwrap_or_default()))
    }

    /// Finds what a tag names now, of any type; none if there is no such tag.
    ///
    /// # Errors
    /// What the registry or the way to it is wrong with.
    pub async fn tagged_as(&self, tag: &str) -> Result<Option<Digest>> {
        let doing = format!("look up the tag {} in {}", valid_tag(tag)?, self.repository);
        let call = Call::new(&doing, Method::GET, self.url("manifests", tag)?, Access::Push).header(ACCEPT, ANY_MANIFEST);
        let reply = self.call(&Call { limit: limits::MANIFEST_BYTES, answers: &[StatusCode::NOT_FOUND], ..call }).await?;
        Ok(reply.status.is_success().then(|| Digest::of(&reply.body)))
    }

    /// Fetches a manifest by digest or tag; none if the status is one of `answers`.
    pub(super) async fn manifest(&self, doing: &str, reference: &str, answers: &'static [StatusCode]) -> Result<Option<Vec<u8>>> {
        let call =
            Call::new(doing, Method::GET, self.url("manifests", reference)?, Access::Pull).header(ACCEPT, format!("{MANIFEST}, {INDEX}"));
        let reply = self.call(&Call { limit: limits::MANIFEST_BYTES, answers, ..call }).await?;
        Ok(reply.status.is_success().then_some(reply.body))
    }
}

/// Accepts a tag that registries accept.
pub(super) fn valid_tag(tag: &str) -> Result<&str> {
    static TAG: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$").expect("a valid pattern"));
    if TAG.is_match(tag) {
        return Ok(tag);
    }
    let error = Error::usage(format!("`{}` is not a valid tag", tag.escape_debug()));
    Err(error.hint("a tag has letters, digits, `_`, `.` and `-`, at most 128 of them, and does not begin with `.` or `-`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tag_is_not_sent() {
        let long = "a".repeat(129);
        for wrong in ["", "../x", "a/b", "a:b", ".a", "-a", "a b", &long] {
            assert_eq!(valid_tag(wrong).expect_err(wrong).kind(), Kind::Usage);
        }
        assert!(valid_tag("sha256-0123").is_ok() && valid_tag("v1.2_3-4").is_ok());
    }
}
