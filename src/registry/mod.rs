//! OCI registries: pushes blobs, manifests and referrers, and gets them back checked against their digests.
//!
//! The only module that opens a socket to a registry. It knows nothing of bundles or signatures: bytes in, bytes out.

mod auth;
mod blobs;
mod http;
mod manifests;
mod referrers;
mod repository;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

pub(crate) use http::distrusted;
pub use repository::Repository;

use crate::error::{Error, Result};
use crate::limits;

/// How a registry is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// Talk plain HTTP instead of TLS; only a registry on this machine may be talked to so.
    pub plain_http: bool,
    /// The folder with docker's `config.json`, where credentials come from; default `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// How long the registry may keep silent.
    pub read_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { plain_http: false, docker_config: None, read_timeout: limits::REGISTRY_READ }
    }
}

/// One repository of a registry, ready to be talked to.
pub struct Registry {
    repository: Repository,
    /// `https://host/v2/team/evidence/`.
    base: Url,
    /// Follows redirects, as blobs often lie in an object store.
    pull: Client,
    /// Follows none, so that what is pushed goes to the registry that was named.
    push: Client,
    read_timeout: Duration,
    auth: auth::Auth,
}

impl Registry {
    /// Prepares to talk to a repository; no connection is made yet.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if the name is not valid, or plain HTTP is asked for to another machine.
    pub fn open(repository: &Repository, options: &Options) -> Result<Self> {
        // The fields are public: a name that was put together by hand is checked here.
        let repository: Repository = repository.to_string().parse()?;
        let local = is_loopback(&repository.registry);
        if options.plain_http && !local {
            return Err(Error::usage(format!(
                "plain HTTP to {} would send what is pushed over the network in the clear",
                repository.registry
            ))
            .hint("--plain-http is for registries on this machine; leave it out to use TLS"));
        }
        let scheme = if options.plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}/", repository.api_host(), repository.repository);
        let base = Url::parse(&base).map_err(|error| Error::usage(format!("`{repository}` gives no address")).because(error))?;
        let client = |redirects: Policy| {
            let builder = Client::builder()
                .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(limits::CONNECT)
                .read_timeout(options.read_timeout)
                .redirect(redirects)
                .referer(false);
            // A proxy could not reach this machine's own addresses.
            let builder = if local { builder.no_proxy() } else { builder };
            builder.build().map_err(|error| Error::internal(format!("prepare TLS for {}", repository.registry)).because(error))
        };
        let (pull, push) = (client(Policy::custom(follow_without_downgrade))?, client(Policy::none())?);
        let auth = auth::Auth::new(&repository, options.docker_config.clone());
        Ok(Self { base, pull, push, read_timeout: options.read_timeout, auth, repository })
    }

    /// The address of something in the repository, e.g. `manifests/latest`.
    fn url(&self, kind: &str, reference: &str) -> Result<Url> {
        self.base
            .join(&format!("{kind}/{reference}"))
            .map_err(|error| Error::internal(format!("make the address of {kind}/{reference} in {}", self.repository)).because(error))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.base.as_str()).finish()
    }
}

/// Follows up to ten redirects, none from TLS to plain HTTP. Credentials are not sent to another host (reqwest drops them).
fn follow_without_downgrade(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let downgrade = attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
    if downgrade || attempt.previous().len() > 10 { attempt.stop() } else { attempt.follow() }
}

/// Whether a host, with or without port, is this machine by its name alone.
fn is_loopback(host: &str) -> bool {
    Url::parse(&format!("http://{host}/")).is_ok_and(|url| match url.host_str() {
        Some(name) => name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let options = Options { plain_http: true, ..Options::default() };
        for local in ["127.0.0.1:5000/a", "localhost:5000/a", "[::1]:5000/a", "127.1.2.3/a"] {
            let registry = Registry::open(&local.parse().expect("a name"), &options).expect("is this machine");
            assert_eq!(registry.base.scheme(), "http");
        }
        for other in ["10.0.0.1:5000/a", "registry.example.com/a", "localhost.example.com/a", "128.0.0.1/a"] {
            let error = Registry::open(&other.parse().expect("a name"), &options).expect_err(other);
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hints()[0].contains("--plain-http"), "{:?}", error.hints());
        }
    }

    #[test]
    fn tls_is_used_even_to_this_machine_unless_the_flag_is_given() {
        let registry = Registry::open(&"127.0.0.1:5000/team/evidence".parse().expect("a name"), &Options::default()).expect("opens");
        assert_eq!(registry.base.as_str(), "https://127.0.0.1:5000/v2/team/evidence/");
    }

    #[test]
    fn a_name_put_together_by_hand_is_checked() {
        let repository = Repository { registry: "127.0.0.1:5000".to_owned(), repository: "../../admin".to_owned() };
        assert_eq!(Registry::open(&repository, &Options::default()).expect_err("no name").kind(), Kind::Usage);
    }
}
