//! The name of a repository in a registry, by the grammar of the distribution specification.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

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

    /// The name under which docker keeps the registry's credentials.
    pub(super) fn credential_key(&self) -> &str {
        if self.registry == "docker.io" { "https://index.docker.io/v1/" } else { &self.registry }
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
    fn docker_hub_is_asked_at_its_api_and_its_credentials_are_found_under_their_old_name() {
        let hub: Repository = "docker.io/library/x".parse().expect("a name");
        assert_eq!((hub.api_host(), hub.credential_key()), ("registry-1.docker.io", "https://index.docker.io/v1/"));
    }
}
