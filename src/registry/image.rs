//! Names of container images as pods have them, and whether a registry has one.

use std::str::FromStr;

use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode};

use super::auth::Access;
use super::http::Call;
use super::manifests::{ANY_MANIFEST, valid_tag};
use super::{Registry, Repository};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits;

/// An image as a pod names it; a name without a registry is one of Docker Hub's, one without a tag is `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The repository.
    pub repository: Repository,
    /// Its tag, or its digest, which goes before a tag.
    pub reference: String,
}

impl FromStr for Image {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (name, "latest"),
        };
        let reference = match digest {
            Some(digest) => digest.parse::<Digest>()?.to_string(),
            None => valid_tag(tag)?.to_owned(),
        };
        let whole = match name.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
            Some(_) => format!("docker.io/{name}"),
            None => format!("docker.io/library/{name}"),
        };
        Ok(Self { repository: whole.parse()?, reference })
    }
}

impl Registry {
    /// Asks whether the repository has something under a tag or a digest, of whatever type.
    ///
    /// # Errors
    /// What the registry or the way to it is wrong with; [`Kind::Denied`](crate::error::Kind::Denied) if it does not tell us.
    pub async fn has(&self, reference: &str) -> Result<bool> {
        let doing = format!("look for {reference} in {}", self.repository());
        let call = Call::new(&doing, Method::GET, self.url("manifests", reference)?, Access::Pull).header(ACCEPT, ANY_MANIFEST);
        let reply = self.call(&Call { limit: limits::MANIFEST_BYTES, answers: &[StatusCode::NOT_FOUND], ..call }).await?;
        Ok(reply.status.is_success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_read_as_container_runtimes_read_them() {
        let digest = Digest::of(b"");
        for (text, repository, reference) in [
            ("busybox", "docker.io/library/busybox", "latest"),
            ("nvidia/cuda:13.0", "docker.io/nvidia/cuda", "13.0"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause", "3.10"),
            ("localhost:5000/a/b", "localhost:5000/a/b", "latest"),
            (&format!("nvcr.io/a:v1@{digest}"), "nvcr.io/a", digest.as_str()),
        ] {
            let image: Image = text.parse().expect(text);
            assert_eq!((image.repository.to_string().as_str(), image.reference.as_str()), (repository, reference));
        }
        for wrong in ["", "A/b", "a:b:c", "a@sha256:00"] {
            assert!(wrong.parse::<Image>().is_err(), "{wrong}");
        }
    }
}
