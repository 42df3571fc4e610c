//! What a registry's challenge makes of the credentials for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use docker_credential::DockerCredential;
use reqwest::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::body::Body;
use super::credentials::Sources;
use super::http::{Call, Reply};
use super::{Registry, Repository};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::retry::Failure;

/// What a token must allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

/// What is known about getting into a registry.
pub(super) struct Auth {
    sources: Sources,
    repository: Repository,
    /// Looked up at the first challenge: a public registry needs none, and a helper may ask the user.
    credential: OnceCell<Option<DockerCredential>>,
    /// Headers that were accepted.
    accepted: Mutex<HashMap<Access, HeaderValue>>,
}

impl Auth {
    pub(super) fn new(repository: &Repository, sources: Sources) -> Self {
        Self { sources, repository: repository.clone(), credential: OnceCell::new(), accepted: Mutex::default() }
    }

    /// The header that was accepted last.
    pub(super) fn known(&self, access: Access) -> Option<HeaderValue> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).get(&access).cloned()
    }

    /// Keeps a header that was accepted.
    pub(super) fn remember(&self, access: Access, authorization: HeaderValue) {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(access, authorization);
    }

    async fn credential(&self) -> Result<Option<&DockerCredential>> {
        let find = || async {
            let (sources, repository) = (self.sources.clone(), self.repository.clone());
            // Reads a file and may run a helper program.
            let found = tokio::task::spawn_blocking(move || sources.find(&repository));
            match tokio::time::timeout(limits::REGISTRY_READ, found).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => Err(Error::internal("look for registry credentials").because(error)),
                Err(_) => Err(Error::new(Kind::Timeout, format!("the credential helper for {} does not answer", self.repository.registry))),
            }
        };
        self.credential.get_or_try_init(find).await.map(Option::as_ref)
    }
}

/// The answer of a token server; which of the two names is used depends on the server.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// Makes the header that answers a registry's challenge; none if there is nothing to answer with.
    pub(super) async fn authorise(&self, access: Access, challenge: &Reply) -> Result<Option<HeaderValue>, Failure> {
        let credential = self.auth.credential().await?;
        let texts = || challenge.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = texts().filter_map(|text| http_auth::parse_challenges(text).ok()).flatten().collect();
        let named = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        if let Some(bearer) = named("Bearer") {
            let value =
                |name: &str| bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped());
            let token = self.token(access, value("realm").as_deref(), value("service").as_deref(), credential).await?;
            return secret(format!("Bearer {token}")).map(Some);
        }
        match (named("Basic"), credential) {
            (Some(_), Some(DockerCredential::UsernamePassword(user, password))) => secret(basic(user, password)).map(Some),
            _ => Ok(None),
        }
    }

    /// Asks the token server that the registry names; without credentials for an anonymous token.
    async fn token(
        &self,
        access: Access,
        realm: Option<&str>,
        service: Option<&str>,
        credential: Option<&DockerCredential>,
    ) -> Result<String, Failure> {
        let registry = &self.repository.registry;
        let realm = realm.and_then(|realm| Url::parse(realm).ok()).filter(|url| {
            // The password goes there, so it may not go in the clear, but from and to this machine.
            url.scheme() == "https"
                || (url.scheme() == "http" && self.base.scheme() == "http" && url.host_str().is_some_and(super::is_loopback))
        });
        let Some(mut url) = realm else {
            return Err(Error::new(Kind::Denied, format!("{registry} names no token server that credentials can be sent to")).into());
        };
        let doing = format!("get a token for {} from {}", self.repository, url.host_str().unwrap_or_default());
        let actions = if access == Access::Push { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", self.repository.repository);
        let mut authorization = None;
        let call = if let Some(DockerCredential::IdentityToken(identity)) = credential {
            let mut fields = Url::parse("form:").map_err(|error| Error::internal("make a form").because(error))?;
            fields
                .query_pairs_mut()
                .extend_pairs([("grant_type", "refresh_token"), ("client_id", "seatrial"), ("scope", &scope), ("refresh_token", identity)])
                .extend_pairs(service.map(|service| ("service", service)));
            let form = fields.query().unwrap_or_default().to_owned();
            let call = Call::new(&doing, Method::POST, url, access);
            Call { body: Body::of(form.into()), ..call }.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        } else {
            url.query_pairs_mut().append_pair("scope", &scope).extend_pairs(service.map(|service| ("service", service)));
            if let Some(DockerCredential::UsernamePassword(user, password)) = credential {
                authorization = Some(secret(basic(user, password))?);
            }
            Call::new(&doing, Method::GET, url, access)
        };
        let reply = self.exchange(&call, authorization).await?;
        let reply = self.judge(&call, reply)?;
        let token: Token = serde_json::from_slice(&reply.body)
            .map_err(|error| Error::new(Kind::Unavailable, format!("{doing}: the answer is no token")).because(error))?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        Ok(token.ok_or_else(|| Error::new(Kind::Denied, format!("{doing}: the answer holds no token")))?)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A header whose value is kept out of logs.
fn secret(text: String) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Error::new(Kind::Denied, "the registry's credentials hold characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}
