//! Reads a document over https: bounded in size, time and redirects, from public addresses unless the user named another.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, StatusCode, Url};

use crate::error::{Error, Kind, Result, cause_in};
use crate::limits;
use crate::registry::addresses::{host, is_private_by_name, is_public, proxies};
use crate::registry::distrusted;
use crate::ui::printable;

/// How long things may take, and what else tests need.
pub(super) struct Options {
    /// Everything, tries and redirects included.
    pub(super) total: Duration,
    /// The longest silence.
    pub(super) silence: Duration,
    /// One more certificate authority.
    pub(super) authority: Option<reqwest::Certificate>,
}

impl Default for Options {
    fn default() -> Self {
        Self { total: limits::WEB_READ, silence: limits::WEB_SILENCE, authority: None }
    }
}

/// Reads an address.
///
/// # Errors
/// A usage error if it is none or has no host.
pub(super) fn parse(given: &str) -> Result<Url> {
    let wrong = |why: &str| {
        let safe = given.split(['?', '#']).next().unwrap_or_default();
        Error::usage(format!("`{}` is no web address: {why}", printable(safe)))
            .hint("an address looks like https://example.com/recipe.yaml")
    };
    let url = Url::parse(given).map_err(|error| wrong(&error.to_string()))?;
    if host(&url).is_empty() { Err(wrong("it names no host")) } else { Ok(url) }
}

/// The address without what may be secret: user, password, query.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Reads a document of at most `limit` bytes.
///
/// # Errors
/// A usage error if it is too large or lies where nothing is read from; not found, denied, timeout and unavailable as the server has it.
pub(super) async fn fetch(url: &Url, limit: u64, options: &Options) -> Result<Vec<u8>> {
    let doing = format!("read {}", shown(url));
    let client = client(url, options).map_err(|error| Error::internal(format!("{doing}: prepare TLS")).because(error))?;
    let pauses = ExponentialBuilder::new()
        .with_min_delay(limits::BACKOFF_MIN)
        .with_max_delay(limits::BACKOFF_MAX)
        .with_max_times(limits::WEB_TRIES - 1)
        .with_jitter();
    let attempt = || get(&client, url, limit, &doing);
    let tries = attempt
        .retry(pauses)
        .when(|error| error.kind() == Kind::Unavailable)
        .notify(|error, pause| tracing::debug!(?pause, "try again: {}", error.chain()));
    match tokio::time::timeout(options.total, tries).await {
        Ok(read) => read,
        Err(_) => Err(Error::new(Kind::Timeout, format!("{doing}: not read within {} s", options.total.as_secs_f32()))
            .hint("fetch it with another program and give the file")),
    }
}

async fn get(client: &Client, url: &Url, limit: u64, doing: &str) -> Result<Vec<u8>> {
    let broken = |error: reqwest::Error| explain(error.without_url(), doing);
    let mut response = client.get(url.clone()).send().await.map_err(broken)?;
    judge(response.status(), &shown(response.url()), doing)?;
    let too_large = || Error::usage(format!("{doing}: it has more than {limit} bytes, which is the limit for such a document"));
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
    }
    if bytes.is_empty() {
        return Err(Error::usage(format!("{doing}: it is empty")));
    }
    Ok(bytes)
}

fn client(url: &Url, options: &Options) -> reqwest::Result<Client> {
    let named = host(url).to_owned();
    let guard = Guard { named: named.clone(), proxies: proxies() };
    let mut builder = Client::builder()
        .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits::CONNECT)
        .read_timeout(options.silence)
        .redirect(Policy::custom(move |attempt| follow(attempt, &named)))
        .dns_resolver(Arc::new(guard))
        .referer(false)
        // Unpacked, a few bytes could be any number; the limit is of what comes.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd();
    // A proxy could not reach this machine's own addresses.
    if is_private_by_name(host(url)) {
        builder = builder.no_proxy();
    }
    if let Some(authority) = &options.authority {
        builder = builder.tls_certs_merge([authority.clone()]);
    }
    builder.build()
}

/// What is not read, and why.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Refused {}

/// Follows a few redirects, to https and to public addresses only, unless it is the host that the user named.
fn follow(attempt: Attempt<'_>, named: &str) -> Action {
    let to = shown(attempt.url());
    let refused = if attempt.url().scheme() != "https" {
        format!("it leads to {to}, which is not https")
    } else if attempt.previous().len() > limits::WEB_REDIRECTS {
        format!("it leads from one address to the next, more than {} times", limits::WEB_REDIRECTS)
    } else if host(attempt.url()) != named && is_private_by_name(host(attempt.url())) {
        format!("it leads to {to}, which is not on the public internet")
    } else {
        return attempt.follow();
    };
    attempt.error(Refused(refused))
}

/// Resolves names, and leaves out what is not public: a name of the public internet that points to a private network is a trap.
struct Guard {
    /// The host that the user named; one that is private by its very name was meant so.
    named: String,
    /// Hosts of the proxies that the environment names; they resolve the rest.
    proxies: Vec<String>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let trusted = self.proxies.contains(&name) || (name == self.named && is_private_by_name(&name));
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (usable, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| trusted || is_public(address.ip()));
            match (usable.is_empty(), refused.first()) {
                (true, Some(address)) => {
                    let why = format!("{name} is {}, which is not on the public internet", address.ip());
                    Err(Box::new(Refused(why)) as Box<dyn StdError + Send + Sync>)
                }
                _ => Ok(Box::new(usable.into_iter()) as Addrs),
            }
        })
    }
}

fn judge(status: StatusCode, from: &str, doing: &str) -> Result<()> {
    let error = |kind| Error::new(kind, format!("{doing}: {from} answers {status}"));
    Err(match status {
        status if status.is_success() => return Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            error(Kind::Denied).hint("it wants a login: fetch it with a program that has one, and give the file or `-`")
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            error(Kind::NotFound).hint("open the address in a browser: it must give the file itself")
        }
        StatusCode::TOO_MANY_REQUESTS => error(Kind::Unavailable).hint("it limits the rate of requests: try again later"),
        status if status.is_server_error() => error(Kind::Unavailable).hint("the server has a trouble of its own: try again later"),
        _ => error(Kind::Usage).hint("open the address in a browser: it must give the file itself"),
    })
}

/// The error of a connection that could not be made, did not hold, or was not wanted.
fn explain(error: reqwest::Error, doing: &str) -> Error {
    if let Some(Refused(why)) = cause_in(&error) {
        return Error::usage(format!("{doing}: {why}"))
            .hint("if you trust it, fetch it yourself: curl -fsSL ADDRESS, and give the file, or pipe it into `-`");
    }
    if error.is_timeout() {
        return Error::new(Kind::Timeout, format!("{doing}: the server does not answer in time")).because(error);
    }
    if distrusted(&error) {
        let error = Error::new(Kind::Unavailable, format!("{doing}: the server's certificate is not trusted")).because(error);
        return error.hint("for a certificate authority of your own, name its certificate in SSL_CERT_FILE");
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection was cut" };
    let error = Error::new(Kind::Unavailable, format!("{doing}: {what}")).because(error);
    error.hint("is the address right, and is a proxy needed (HTTPS_PROXY)?")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(named: &str, proxies: &[&str], name: &str) -> std::result::Result<usize, String> {
        let guard = Guard { named: named.to_owned(), proxies: proxies.iter().map(|name| (*name).to_owned()).collect() };
        guard.resolve(name.parse().expect("a name")).await.map(Iterator::count).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_refused_unless_the_user_meant_it_or_it_is_the_proxy() {
        // Every machine resolves this name, and not to the public internet.
        let refused = resolved("example.com", &[], "localhost").await.expect_err("is refused");
        assert!(refused.contains("localhost is ") && refused.contains("not on the public internet"), "{refused}");
        assert!(resolved("localhost", &[], "localhost").await.is_ok_and(|count| count > 0));
        assert!(resolved("example.com", &["localhost"], "localhost").await.is_ok_and(|count| count > 0));
    }
}
