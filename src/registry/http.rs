//! One request to a registry: credentials, bounded answers, retries, and which kind of error a status is.

use std::error::Error as StdError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use tokio_util::bytes::Bytes;

use super::Registry;
use super::auth::Access;
use super::body::{Body, Unreadable};
use super::meter::Count;
use super::reach::Refused;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Kind, Result, cause_in};
use crate::limits;
use crate::retry::{Failure, retry};

/// A request, as often as it is tried.
pub(super) struct Call<'a> {
    /// What is being done to which object, for messages: "push blob sha256:… to ghcr.io/team/evidence".
    pub(super) doing: &'a str,
    /// The HTTP method.
    pub(super) method: Method,
    /// The address.
    pub(super) url: Url,
    /// What the token must allow.
    pub(super) access: Access,
    /// Headers apart from credentials and length.
    pub(super) headers: Vec<(HeaderName, String)>,
    /// The body; empty for none.
    pub(super) body: Body,
    /// The most bytes that a successful answer may have.
    pub(super) limit: u64,
    /// Statuses apart from 2xx that are an answer, not an error.
    pub(super) answers: &'static [StatusCode],
    /// Where the body of a successful answer goes.
    pub(super) into: Sink<'a>,
    /// Where what has gone of a blob is counted.
    pub(super) count: Option<Count>,
}

/// Where the body of a successful answer goes.
#[derive(Clone, Copy)]
pub(super) enum Sink<'a> {
    /// Into memory.
    Memory,
    /// Into an empty file.
    File(&'a File),
    /// Nowhere: only its size and digest are of interest.
    Nowhere,
}

impl<'a> Call<'a> {
    /// A request without headers and body that answers with little.
    pub(super) fn new(doing: &'a str, method: Method, url: Url, access: Access) -> Self {
        Self {
            doing,
            method,
            url,
            access,
            headers: Vec::new(),
            body: Body::of(Bytes::new()),
            limit: limits::REGISTRY_ANSWER_BYTES,
            answers: &[],
            into: Sink::Memory,
            count: None,
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer, read to its end.
pub(super) struct Reply {
    /// The status.
    pub(super) status: StatusCode,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The body; that of an error is cut at [`limits::REGISTRY_ANSWER_BYTES`]. Empty if it did not go into memory.
    pub(super) body: Vec<u8>,
    /// Size and digest of what did not go into memory.
    pub(super) passed: Option<(u64, Digest)>,
}

impl Reply {
    /// A header as text, if it is there and is text.
    pub(super) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Registry {
    /// Makes a request that may be repeated, until it is answered.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Reply> {
        retry(limits::REGISTRY_TRIES, || self.call_once(call)).await
    }

    /// Makes a request once, with credentials if the registry asks for them.
    pub(super) async fn call_once(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        // An upload or a page may be at another host; that one gets no credentials of ours.
        let ours = |url: &Url| url.origin() == self.base.origin();
        let known = if ours(&call.url) { self.auth.known(call.access) } else { None };
        let mut reply = self.exchange(call, known).await?;
        if reply.status == StatusCode::UNAUTHORIZED && ours(&reply.url) {
            let Some(authorization) = self.authorise(call.access, &reply).await? else {
                return Err(self.denied(call, &reply, "it wants credentials and none are configured").into());
            };
            reply = self.exchange(call, Some(authorization.clone())).await?;
            if reply.status != StatusCode::UNAUTHORIZED {
                self.auth.remember(call.access, authorization);
            }
        }
        self.judge(call, reply)
    }

    /// Sends a request and reads the answer, whatever its status.
    pub(super) async fn exchange(&self, call: &Call<'_>, authorization: Option<HeaderValue>) -> Result<Reply, Failure> {
        let client: &Client = if call.method == Method::GET || call.method == Method::HEAD { &self.pull } else { &self.push };
        let most = call.limit.max(call.body.size());
        // The read timeout ends a silent connection; this one ends a dripping one.
        let pieces = u32::try_from(most / limits::REGISTRY_CHUNK as u64).unwrap_or(u32::MAX).saturating_add(1);
        let mut request = client.request(call.method.clone(), call.url.clone()).timeout(self.read_timeout.saturating_mul(pieces));
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if call.body.size() > 0 {
            request = request.header(CONTENT_LENGTH, call.body.size()).body(call.body.sent());
        } else if call.method != Method::GET && call.method != Method::HEAD {
            // Some registries want it even when there is nothing.
            request = request.header(CONTENT_LENGTH, 0);
        }
        let response = self.answered(call, request.send()).await?;
        let (status, url, headers) = (response.status(), response.url().clone(), response.headers().clone());
        let (body, passed) = match call.into {
            Sink::File(file) if status.is_success() => (Vec::new(), Some(self.read_past(call, response, Some(file)).await?)),
            Sink::Nowhere if status.is_success() => (Vec::new(), Some(self.read_past(call, response, None).await?)),
            _ => (self.read(call, response).await?, None),
        };
        Ok(Reply { status, url, headers, body, passed })
    }

    /// Waits for an answer. A large body may take its time as long as some of it goes.
    async fn answered(&self, call: &Call<'_>, sending: impl Future<Output = reqwest::Result<Response>>) -> Result<Response, Failure> {
        let mut sending = std::pin::pin!(sending);
        let began = std::time::Instant::now();
        loop {
            let moved = call.count.as_ref().map_or(began, |count| count.moved().max(began));
            let patience = self.read_timeout.saturating_sub(moved.elapsed());
            match tokio::time::timeout(patience, &mut sending).await {
                Ok(answer) => return answer.map_err(|error| self.broken(call, error)),
                Err(_) if call.count.as_ref().is_some_and(|count| count.moved() > moved) => {}
                Err(elapsed) => return Err(self.silent(call).because(elapsed).into()),
            }
        }
    }

    /// Reads a body that is not kept in memory, in pieces as they come, and perhaps into a file from its beginning.
    async fn read_past(&self, call: &Call<'_>, mut response: Response, file: Option<&File>) -> Result<(u64, Digest), Failure> {
        let too_long = || self.too_long(call, call.limit);
        if response.content_length().is_some_and(|length| length > call.limit) {
            return Err(too_long());
        }
        let failed = |error: std::io::Error| Failure::from(Error::new(Kind::Io, format!("{}: write it down", call.doing)).because(error));
        // An earlier try may have left something.
        file.map_or(Ok(()), |file| file.set_len(0)).map_err(failed)?;
        call.count.iter().for_each(Count::restart);
        let (mut size, mut hasher) = (0, Hasher::new());
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(call, error))? {
            if size + piece.len() as u64 > call.limit {
                return Err(too_long());
            }
            file.map_or(Ok(()), |file| file.write_all_at(&piece, size)).map_err(failed)?;
            call.count.iter().for_each(|count| count.add(piece.len() as u64));
            hasher.update(&piece);
            size += piece.len() as u64;
        }
        Ok((size, hasher.finish()))
    }

    fn too_long(&self, call: &Call<'_>, limit: u64) -> Failure {
        let message = format!("{}: {} answers with more than the {limit} bytes there should be", call.doing, self.repository.registry);
        Error::new(Kind::Integrity, message).into()
    }

    /// Reads a body; one that is longer than allowed is refused, if possible before a byte of it is taken.
    async fn read(&self, call: &Call<'_>, mut response: Response) -> Result<Vec<u8>, Failure> {
        let success = response.status().is_success();
        let limit = if success { call.limit } else { limits::REGISTRY_ANSWER_BYTES };
        let too_long = || self.too_long(call, limit);
        let body = call.method != Method::HEAD;
        if success && body && response.content_length().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let counted = call.count.as_ref().filter(|_| success && body && call.method == Method::GET);
        counted.into_iter().for_each(Count::restart);
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(call, error))? {
            bytes.extend_from_slice(&piece);
            counted.into_iter().for_each(|count| count.add(piece.len() as u64));
            if bytes.len() as u64 > limit {
                if success {
                    return Err(too_long());
                }
                break;
            }
        }
        Ok(bytes)
    }

    /// Turns statuses that are no answer into errors.
    pub(super) fn judge(&self, call: &Call<'_>, reply: Reply) -> Result<Reply, Failure> {
        let status = reply.status;
        if status.is_success() || call.answers.contains(&status) {
            return Ok(reply);
        }
        let registry = &self.repository.registry;
        let error = |kind, what: &str| Error::new(kind, format!("{}: {registry} answers {status}{what}{}", call.doing, said(&reply)));
        Err(match status {
            StatusCode::UNAUTHORIZED => self.denied(call, &reply, "the credentials are not accepted").into(),
            StatusCode::FORBIDDEN => self.denied(call, &reply, "the account may not do this").into(),
            StatusCode::NOT_FOUND => error(Kind::NotFound, "").hint(format!("is {} the right name?", self.repository)).into(),
            StatusCode::TOO_MANY_REQUESTS => {
                let asked = reply.header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
                let error = error(Kind::Unavailable, ", it limits the rate of requests");
                match asked {
                    Some(asked) if asked > limits::RETRY_AFTER_MAX => {
                        error.hint(format!("it asks to be left alone for {} s: try again then", asked.as_secs())).into()
                    }
                    asked => Failure::transient(error.hint("try again later")).after(asked),
                }
            }
            status if status.is_server_error() => {
                Failure::transient(error(Kind::Unavailable, "").hint("the registry has a trouble of its own: try again later"))
            }
            status if status.is_redirection() => {
                let target = reply.header(LOCATION).and_then(|target| reply.url.join(target).ok());
                let host = target.as_ref().and_then(Url::host_str).unwrap_or("nowhere");
                error(Kind::Unavailable, &format!(", which leads to {host} and is not followed"))
                    .hint("name the registry that it leads to, if that is the one you mean")
                    .into()
            }
            _ => error(Kind::Unavailable, "").into(),
        })
    }

    /// The error of a registry that does not let us in.
    fn denied(&self, call: &Call<'_>, reply: &Reply, why: &str) -> Error {
        let registry = &self.repository.registry;
        let message = format!("{}: {registry} answers {}, {why}{}", call.doing, reply.status, said(reply));
        let right = if call.access == Access::Push { "push to" } else { "pull from" };
        Error::new(Kind::Denied, message).hint(format!("docker login {registry}, with an account that may {right} {}", self.repository))
    }

    /// The error of a registry that keeps silent, or sends and takes too slowly.
    fn silent(&self, call: &Call<'_>) -> Error {
        let message = format!("{}: {} does not answer in time", call.doing, self.repository.registry);
        Error::new(Kind::Timeout, message).hint("try again, or look at the way to the registry")
    }

    /// The error of a connection that could not be made or did not hold.
    fn broken(&self, call: &Call<'_>, error: reqwest::Error) -> Failure {
        // Upload addresses can carry tokens in their query.
        let error = error.without_url();
        let (doing, registry) = (call.doing, &self.repository.registry);
        if let Some(refused) = cause_in::<Refused>(&error) {
            return Error::new(Kind::Unavailable, format!("{doing}: {registry} {refused}"))
                .hint("if you trust where it leads, name the registry that is there")
                .into();
        }
        if cause_in::<Unreadable>(&error).is_some() {
            return Error::new(Kind::Io, doing).because(error).hint("leave the bundle alone while it is pushed").into();
        }
        if error.is_timeout() {
            return self.silent(call).because(error).into();
        }
        if error.is_builder() {
            return Error::internal(format!("{doing}: make the request")).because(error).into();
        }
        if distrusted(&error) {
            let error = Error::new(Kind::Unavailable, format!("{doing}: the certificate of {registry} is not trusted")).because(error);
            return error
                .hint("for a certificate authority of your own, name its certificate with --registry-ca, or in SSL_CERT_FILE")
                .into();
        }
        let connect = error.is_connect();
        let message =
            if connect { format!("{doing}: cannot connect to {registry}") } else { format!("{doing}: {registry} cut the connection") };
        let error = Error::new(Kind::Unavailable, message).because(error);
        Failure::transient(match (connect, self.base.scheme(), super::is_loopback(registry)) {
            (true, "https", true) => error.hint("a registry on this machine without TLS needs --plain-http"),
            (true, ..) => error.hint(format!("is {registry} the right address, and does it run?")),
            _ => error.hint("try again"),
        })
    }
}

/// Whether a connection failed because of the server's certificate.
pub(crate) fn distrusted(error: &(dyn StdError + 'static)) -> bool {
    matches!(cause_in(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// A registry's own words: `{"errors": [{"code": "…", "message": "…"}]}`.
#[derive(Deserialize)]
struct Said {
    errors: Vec<Remark>,
}

#[derive(Deserialize)]
struct Remark {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What the registry says about it, on one line, printable and short; empty if it says nothing in the specified form.
fn said(reply: &Reply) -> String {
    let Ok(Said { errors }) = serde_json::from_slice(&reply.body) else { return String::new() };
    let Some(Remark { code, message }) = errors.into_iter().next() else { return String::new() };
    let text: String = format!("{code} {message}").trim().chars().take(200).collect();
    format!(" ({})", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_bad_certificate_is_told_from_other_trouble_with_tls() {
        let wrapped = |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(distrusted(&wrapped(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))));
        assert!(!distrusted(&wrapped(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))));
        assert!(!distrusted(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
