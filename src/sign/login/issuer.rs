//! An OpenID Connect issuer: what it says of itself, and what is checked of a token that it hands over.

use http::{Request, Response};
use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType};
use oauth2::{
    AccessToken, AuthUrl, ClientId, DeviceAuthorizationUrl, ErrorResponse, ExtraTokenFields, HttpResponse, RequestTokenError, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use sigstore_oidc::IdentityToken;
use sigstore_sign::reqwest;

use super::SCOPES;
use crate::error::{Error, Kind, Result};
use crate::sign::token;
use crate::{limits, ui};

/// The part of a token answer that OpenID Connect adds.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Identity {
    /// Of a type that does not show what it holds.
    id_token: Option<AccessToken>,
}

impl ExtraTokenFields for Identity {}

/// A token answer.
pub(super) type Answer = StandardTokenResponse<Identity, BasicTokenType>;
/// The client of the protocol, without addresses yet.
pub(super) type Client =
    oauth2::Client<BasicErrorResponse, Answer, BasicTokenIntrospectionResponse, StandardRevocableToken, BasicRevocationErrorResponse>;

/// Why an exchange came to nothing.
pub(super) type Failure<T> = RequestTokenError<Error, T>;

/// An issuer, with the addresses that it has published.
pub(super) struct Issuer {
    name: String,
    client_id: String,
    addresses: Addresses,
    http: reqwest::Client,
}

/// What an issuer publishes at its well-known address; the rest is not read.
#[derive(Deserialize)]
struct Addresses {
    issuer: String,
    token_endpoint: TokenUrl,
    authorization_endpoint: Option<AuthUrl>,
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
}

/// Asks an issuer for its addresses. They are used if it says of itself that it is this issuer, and each is https, or on this machine.
///
/// # Errors
/// [`Kind::Usage`] if the address of the issuer cannot be one, [`Kind::Unavailable`] if it does not answer as issuers do.
pub(super) async fn discover(name: &str, client_id: &str, http: reqwest::Client) -> Result<Issuer> {
    let doing = || format!("ask the issuer {} where to log in", ui::printable(name));
    secure(name).map_err(|error| Error::usage(format!("{} cannot be an issuer", ui::printable(name))).because(error))?;
    let url = format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'));
    let request = Request::get(url).body(Vec::new()).map_err(|error| Error::usage(doing()).because(error))?;
    let answer = call(http.clone(), request).await.map_err(|error| error.context(doing()))?;
    let strange = |what: String| Error::new(Kind::Unavailable, doing()).because(what).hint("--oidc-issuer names another one");
    if !answer.status().is_success() {
        return Err(strange(format!("it answers {}", answer.status())));
    }
    let addresses: Addresses =
        serde_json::from_slice(answer.body()).map_err(|error| strange(format!("its answer is no description: {error}")))?;
    if addresses.issuer.trim_end_matches('/') != name.trim_end_matches('/') {
        return Err(strange(format!("it says that it is {}", ui::printable(&addresses.issuer))));
    }
    let all = [
        Some(addresses.token_endpoint.as_str()),
        addresses.authorization_endpoint.as_ref().map(|url| url.as_str()),
        addresses.device_authorization_endpoint.as_ref().map(|url| url.as_str()),
    ];
    for address in all.into_iter().flatten() {
        secure(address).map_err(|error| strange(error.to_string()))?;
    }
    Ok(Issuer { name: addresses.issuer.clone(), client_id: client_id.to_owned(), addresses, http })
}

/// Codes and tokens go to https only, or to this machine.
pub(super) fn secure(address: &str) -> Result<()> {
    let refused = || Error::usage(format!("{} is neither https nor on this machine", ui::printable(address)));
    let url = oauth2::url::Url::parse(address).map_err(|error| refused().because(error))?;
    let local = match url.host() {
        Some(oauth2::url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(oauth2::url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(oauth2::url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" if url.has_host() => Ok(()),
        "http" if local => Ok(()),
        _ => Err(refused()),
    }
}

impl Issuer {
    /// Its name, for people.
    pub(super) fn name(&self) -> String {
        ui::printable(&self.name)
    }

    /// The client of the protocol.
    pub(super) fn client(&self) -> Client {
        Client::new(ClientId::new(self.client_id.clone()))
    }

    /// What tokens are asked for.
    pub(super) fn scopes() -> impl Iterator<Item = Scope> {
        SCOPES.into_iter().map(|scope| Scope::new(scope.to_owned()))
    }

    /// Where codes become tokens.
    pub(super) fn token_address(&self) -> TokenUrl {
        self.addresses.token_endpoint.clone()
    }

    /// Where browsers go.
    pub(super) fn browser_address(&self) -> Result<AuthUrl> {
        self.addresses.authorization_endpoint.clone().ok_or_else(|| self.without("login by browser", "give --oidc-device-flow"))
    }

    /// Where codes for other devices come from.
    pub(super) fn device_address(&self) -> Result<DeviceAuthorizationUrl> {
        self.addresses.device_authorization_endpoint.clone().ok_or_else(|| self.without("login by code", "leave --oidc-device-flow out"))
    }

    fn without(&self, what: &str, hint: &str) -> Error {
        Error::usage(format!("the issuer {} offers no {what}", self.name())).hint(hint)
    }

    /// Sends one request of the protocol.
    pub(super) fn http(&self) -> impl Fn(Request<Vec<u8>>) -> futures::future::BoxFuture<'static, Result<HttpResponse, Error>> + use<> {
        let http = self.http.clone();
        move |request| Box::pin(call(http.clone(), request))
    }

    /// Takes the identity token out of an answer, if it is of this issuer, for this client, and to this question (`nonce`). Its signature is
    /// for Fulcio to verify, as nobody else believes it: here it comes from the issuer itself, over TLS.
    ///
    /// # Errors
    /// [`Kind::Denied`] if it is another one, or none.
    pub(super) fn identity(&self, answer: &Answer, nonce: Option<&str>) -> Result<IdentityToken> {
        let wrong = |what: &str| Error::new(Kind::Denied, format!("the issuer {} gave a token that is not used: {what}", self.name()));
        let text = answer.extra_fields().id_token.as_ref().ok_or_else(|| wrong("it is no identity token"))?;
        let token = IdentityToken::from_jwt(text.secret()).map_err(|_| wrong("it cannot be read"))?;
        if token.issuer() != self.name {
            return Err(wrong("it is of another issuer"));
        }
        if !token.claims().aud.contains(&self.client_id) {
            return Err(wrong("it is for another client"));
        }
        if token.is_expired() {
            return Err(wrong("it is over").hint("compare this machine's clock with another one's"));
        }
        if nonce.is_some_and(|nonce| token::claims(&token)["nonce"] != nonce) {
            return Err(wrong("it answers another login (its nonce is not ours)").hint("log in again; somebody may be in between"));
        }
        Ok(token)
    }

    /// An exchange that came to nothing, where the issuer did not say why in the protocol's words.
    pub(super) fn failed<T: ErrorResponse>(&self, failure: Failure<T>) -> Error {
        let doing = format!("get an identity token of {}", self.name());
        match failure {
            Failure::Request(error) => error.context(doing),
            Failure::ServerResponse(said) => Error::new(Kind::Denied, doing).because(ui::printable(&said.to_string())),
            // The answer may hold a token: nothing of it is repeated.
            Failure::Parse(..) => Error::new(Kind::Unavailable, doing).because("its answer cannot be read"),
            Failure::Other(what) => Error::new(Kind::Unavailable, doing).because(ui::printable(&what)),
        }
    }
}

/// Sends a request and reads a bounded answer.
async fn call(http: reqwest::Client, request: Request<Vec<u8>>) -> Result<HttpResponse> {
    let failed = |error: reqwest::Error| Error::new(Kind::Unavailable, "reach the issuer").because(error.without_url());
    let request = reqwest::Request::try_from(request).map_err(failed)?;
    let mut answer = http.execute(request).await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > limits::LOGIN_ANSWER_BYTES {
            return Err(Error::new(Kind::Unavailable, "the issuer's answer does not end"));
        }
        body.extend_from_slice(&piece);
    }
    let mut whole = Response::new(body);
    *whole.status_mut() = answer.status();
    *whole.headers_mut() = answer.headers().clone();
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_tokens_go_to_https_and_to_this_machine_only() {
        for good in ["https://accounts.example.com/auth", "http://127.0.0.1:5556", "http://localhost/x", "http://[::1]:80/"] {
            secure(good).expect(good);
        }
        for bad in [
            "http://accounts.example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
            "file:///etc/passwd",
            "accounts.example.com",
            "",
        ] {
            assert_eq!(secure(bad).expect_err(bad).kind(), Kind::Usage);
        }
    }
}
