//! OCI registries: pushes blobs, manifests and referrers, and gets them back checked against their digests.
//!
//! The only module that opens a socket to a registry. It knows nothing of bundles or signatures: bytes in, bytes out.

pub(crate) mod addresses;
mod auth;
mod blobs;
mod body;
mod clients;
mod credentials;
mod http;
mod image;
mod manifests;
mod meter;
mod reach;
mod referrers;
mod repository;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Url};

pub use clients::Clients;
pub(crate) use http::distrusted;
pub use image::Image;
pub use meter::{Meter, Moved};
pub use repository::{Reference, Repository};

use crate::error::{Context, Error, Result};
use crate::limits;

/// How a registry is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Talk plain HTTP instead of TLS; only a registry on this machine may be talked to so.
    pub plain_http: bool,
    /// Talk plain HTTP to any registry: what is pushed, and the credentials for it, go over the network in the clear.
    pub insecure_plain_http: bool,
    /// A file with certificates in PEM form, of authorities that are trusted besides the usual ones.
    pub authority: Option<PathBuf>,
    /// The one folder whose `config.json` credentials come from; otherwise the files of podman and docker that the environment names.
    pub docker_config: Option<PathBuf>,
    /// How long the registry may keep silent.
    pub read_timeout: Duration,
    /// Clients that were made with these options, or with a copy of them.
    pub clients: Clients,
    /// Who watches what of the blobs has gone.
    pub meter: Meter,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain_http: false,
            insecure_plain_http: false,
            authority: None,
            docker_config: None,
            read_timeout: limits::REGISTRY_READ,
            clients: Clients::default(),
            meter: Meter::default(),
        }
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
    /// Keeps it from leading us where it must not.
    guard: Arc<reach::Guard>,
    read_timeout: Duration,
    auth: auth::Auth,
    meter: Meter,
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
        if options.plain_http && !options.insecure_plain_http && !local {
            return Err(Error::usage(format!(
                "plain HTTP to {} would send what is pushed over the network in the clear",
                repository.registry
            ))
            .hint("--plain-http is for registries on this machine; leave it out to use TLS, or say --insecure-plain-http if you mean it"));
        }
        let plain = options.plain_http || options.insecure_plain_http;
        let scheme = if plain { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}/", repository.api_host(), repository.repository);
        let base = Url::parse(&base).map_err(|error| Error::usage(format!("`{repository}` gives no address")).because(error))?;
        let sources = match &options.docker_config {
            Some(folder) => credentials::Sources::folder(folder),
            None => credentials::Sources::of(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)),
        };
        let auth = auth::Auth::new(&repository, sources);
        let key = (base.origin().ascii_serialization(), options.authority.clone(), options.read_timeout);
        let clients::Made { pull, push, guard } = options.clients.get_or_make(key, || Self::clients(&repository, &base, local, options))?;
        Ok(Self { base, pull, push, guard, read_timeout: options.read_timeout, auth, meter: options.meter.clone(), repository })
    }

    fn clients(repository: &Repository, base: &Url, local: bool, options: &Options) -> Result<clients::Made> {
        let authorities = options.authority.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let guard = Arc::new(reach::Guard::new(base));
        let client = |redirects: Policy| {
            let builder = Client::builder()
                .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(limits::CONNECT)
                .redirect(redirects)
                .dns_resolver(Arc::new(reach::Resolver(guard.clone())))
                .tls_certs_merge(authorities.clone())
                .referer(false)
                // Digests are of the bytes as they come; unpacked, a few of them could be any number.
                .no_gzip()
                .no_brotli()
                .no_deflate()
                .no_zstd();
            // A proxy could not reach this machine's own addresses.
            if local { builder.no_proxy() } else { builder }
        };
        let made = |builder: ClientBuilder| {
            builder.build().map_err(|error| Error::internal(format!("prepare TLS for {}", repository.registry)).because(error))
        };
        let follows = guard.clone();
        let pull = made(client(Policy::custom(move |attempt| follows.follow(attempt))).read_timeout(options.read_timeout))?;
        // What is sent may take longer than any silence: that some of it goes is watched where it is sent.
        let push = made(client(Policy::none()))?;
        Ok(clients::Made { pull, push, guard })
    }

    /// Who watches what of the blobs has gone.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
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

/// Reads certificates in PEM form.
fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let reading = || format!("read the certificates in {}", path.display());
    let bytes = crate::files::read(path, limits::DOCUMENT_BYTES).with_context(reading)?;
    let found = Certificate::from_pem_bundle(&bytes).map_err(|error| Error::usage(reading()).because(error))?;
    if found.is_empty() {
        return Err(
            Error::usage(format!("{} holds no certificate", path.display())).hint("it must have blocks -----BEGIN CERTIFICATE-----")
        );
    }
    Ok(found)
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
