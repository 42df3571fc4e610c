//! The names of a repository in a registry, and of a manifest in it, by the grammar of the distribution specification.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

use super::manifests::valid_tag;
use crate::digest::Digest;
use crate::error::{Error, Result};

/// A repository in a registry, written `host[:port]/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// Host and port of the registry, e.g. `127.0.0.1:5000`.
    pub registry: String,
    /// Path of the repository, e.g. `team/evidence`.
    pub repository: String,
}

impl Repository {
    /// Where the registry's API is: Docker Hub's is not at its name.
    pub(super) fn api_host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// The names under which docker and podman keep the registry's credentials.
    pub(super) fn credential_keys(&self) -> Vec<&str> {
        if self.registry == "docker.io" { vec!["https://index.docker.io/v1/", "docker.io"] } else { vec![&self.registry] }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// Host and path; a first component without dot, colon or `localhost` would be a path alone.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
    let port = "(?::[0-9]{1,5})";
    let host = format!(r"localhost{port}?|{label}{port}|{label}(?:\.{label})+{port}?|\[[0-9a-fA-F:]+\]{port}?");
    let part = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*";
    Regex::new(&format!("^({host})/({part}(?:/{part})*)$")).expect("a valid pattern")
});

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Longer names are refused by registries; host and path together have 255 characters.
        let parts = NAME.captures(text).filter(|_| text.len() <= 255);
        match parts {
            Some(parts) => Ok(Self { registry: parts[1].to_owned(), repository: parts[2].to_owned() }),
            None => Err(Error::usage(format!("`{}` is not the name of a repository in a registry", text.escape_debug())).hint(hint(text))),
        }
    }
}

/// A repository, and perhaps a tag in it, written `host[:port]/path[:tag]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag, if one is named.
    pub tag: Option<String>,
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // A colon before the last slash belongs to the port, one after a digest's algorithm to the digest.
        match text.rsplit_once(':') {
            Some((name, tag)) if name.contains('/') && !name.contains('@') && !tag.contains('/') => {
                Ok(Self { repository: name.parse()?, tag: Some(valid_tag(tag)?.to_owned()) })
            }
            _ => Ok(Self { repository: text.parse()?, tag: None }),
        }
    }
}

impl Repository {
    /// Reads `host[:port]/path@sha256:…`. A tag can be moved, so it names nothing that could be verified.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if it is anything else.
    pub fn pinned(reference: &str) -> Result<(Self, Digest)> {
        let Some((repository, digest)) = reference.split_once('@') else {
            return Err(Error::usage(format!("oci://{} names no digest", reference.escape_debug()))
                .hint("write oci://host/repository@sha256:…; a tag can be moved to something else"));
        };
        let digest = digest.parse().map_err(|error: Error| Error::usage("the reference names no digest").because(error))?;
        Ok((repository.parse()?, digest))
    }
}

/// What is most likely wrong with a name.
fn hint(text: &str) -> &'static str {
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    if text.contains("://") {
        "leave out the scheme, as in registry.example.com/team/evidence; --plain-http chooses plain HTTP"
    } else if text.contains('@') {
        "leave out the digest: a repository is meant, as in registry.example.com/team/evidence"
    } else if rest.contains(':') {
        "leave out the tag: a repository is meant, as in registry.example.com/team/evidence"
    } else if rest.chars().any(char::is_uppercase) {
        "a path in a registry has no upper-case letters"
    } else if !first.contains(['.', ':']) && first != "localhost" {
        "name the registry too, as in registry.example.com/team/evidence"
    } else {
        "write host[:port]/path with lower-case letters, digits and single separators (. _ -) in the path"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_name_is_read_and_written_back_as_it_was() {
        for (name, registry, repository) in [
            ("127.0.0.1:5000/team/evidence", "127.0.0.1:5000", "team/evidence"),
            ("ghcr.io/example/a__b-c.d", "ghcr.io", "example/a__b-c.d"),
            ("localhost/a", "localhost", "a"),
            ("registry:5000/a", "registry:5000", "a"),
            ("[::1]:5000/a/b/c", "[::1]:5000", "a/b/c"),
        ] {
            let read: Repository = name.parse().expect(name);
            assert_eq!((read.registry.as_str(), read.repository.as_str()), (registry, repository));
            assert_eq!(read.to_string(), name);
        }
    }

    #[test]
    fn what_is_no_name_is_a_usage_error_that_says_what_to_write() {
        for (wrong, hint) in [
            ("", "name the registry"),
            ("evidence", "name the registry"),
            ("team/evidence", "name the registry"),
            ("https://ghcr.io/a", "scheme"),
            ("ghcr.io/team/evidence:v1", "tag"),
            ("ghcr.io/a@sha256:00", "digest"),
            ("ghcr.io/Team", "upper-case"),
            ("ghcr.io/", "host[:port]/path"),
            ("ghcr.io/a/../b", "host[:port]/path"),
            ("ghcr.io/a//b", "host[:port]/path"),
            ("ghcr.io/a___b", "host[:port]/path"),
            ("ghcr.io/a?x=1", "host[:port]/path"),
            ("ghcr.io:123456/a", "host[:port]/path"),
            ("gh\ncr.io/a", "host[:port]/path"),
        ] {
            let error = wrong.parse::<Repository>().expect_err(wrong);
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hints()[0].contains(hint), "{wrong}: {:?}", error.hints());
        }
        assert!(format!("ghcr.io/{}", "a".repeat(255)).parse::<Repository>().is_err());
    }

    #[test]
    fn a_tag_is_told_from_a_port_and_from_a_digest() {
        for (name, repository, tag) in [
            ("127.0.0.1:5000/team/evidence", "127.0.0.1:5000/team/evidence", None),
            ("127.0.0.1:5000/team/evidence:v1", "127.0.0.1:5000/team/evidence", Some("v1")),
            ("ghcr.io/a:latest", "ghcr.io/a", Some("latest")),
            ("[::1]:5000/a:x_1.2-3", "[::1]:5000/a", Some("x_1.2-3")),
        ] {
            let read: Reference = name.parse().expect(name);
            assert_eq!((read.repository.to_string().as_str(), read.tag.as_deref()), (repository, tag));
        }
        let digest = Digest::of(b"");
        for wrong in ["ghcr.io/a:", "ghcr.io/a:.x", "a:b", "ghcr.io:5000", &format!("ghcr.io/a@{digest}"), "https://ghcr.io/a:v1"] {
            assert_eq!(wrong.parse::<Reference>().expect_err(wrong).kind(), Kind::Usage, "{wrong}");
        }
    }

    #[test]
    fn a_pinned_reference_wants_a_digest() {
        for wrong in ["host:5000/a:v1", "host:5000/a", "host:5000/a@sha256:00", "@", "a@b@c"] {
            assert_eq!(Repository::pinned(wrong).expect_err(wrong).kind(), Kind::Usage, "{wrong}");
        }
        let digest = Digest::of(b"");
        assert_eq!(Repository::pinned(&format!("host:5000/a@{digest}")).expect("reads").1, digest);
    }

    #[test]
    fn docker_hub_is_asked_at_its_api_and_its_credentials_are_found_under_their_old_name() {
        let hub: Repository = "docker.io/library/x".parse().expect("a name");
        assert_eq!((hub.api_host(), hub.credential_keys()[0]), ("registry-1.docker.io", "https://index.docker.io/v1/"));
    }
}
