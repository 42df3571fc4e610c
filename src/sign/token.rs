//! Identity tokens: where they come from, in the order in which users of cosign know it.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sigstore_oidc::IdentityToken;

use crate::error::{Context, Error, Kind, Result};
use crate::evidence::signer::Certificate;
use crate::sign::login::Login;
use crate::ui::Ui;
use crate::{files, limits};

/// Environment variables that may hold an identity token, in the order in which they are looked at.
pub const TOKEN_VARIABLES: &[&str] = &["SIGSTORE_ID_TOKEN", "COSIGN_IDENTITY_TOKEN"];

/// Variables by which the CI systems that give tokens are known: GitHub, GitLab, Buildkite, CircleCI.
const CI_VARIABLES: &[&str] = &["GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI"];

/// Where an identity token is to come from. Nothing is read before it is needed: tokens live for minutes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenSource {
    /// A token, a file that holds one, or `-` for standard input.
    pub given: Option<String>,
    /// A file that holds one.
    pub file: Option<PathBuf>,
    /// How somebody logs in, where there is none.
    pub login: Login,
}

impl fmt::Debug for TokenSource {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("given", &self.given.is_some()).field("file", &self.file).field("login", &self.login).finish()
    }
}

impl TokenSource {
    /// True if there seems to be a token; whether it is accepted turns out when it is used.
    pub(super) fn seems_there(&self) -> bool {
        let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        self.given.is_some() || self.file.is_some() || TOKEN_VARIABLES.iter().chain(CI_VARIABLES).any(set)
    }

    /// Fetches a token: the one that was given, of the environment, of the CI system that this runs in, else of somebody who logs in.
    ///
    /// # Errors
    /// [`Kind::Denied`] if one is over or the CI system refuses it: no other source is tried then. [`Kind::Usage`] if there is none and
    /// nobody can log in; otherwise as logging in.
    pub(super) async fn fetch(&self, issuer: &str, ui: Option<&Ui>) -> Result<IdentityToken> {
        let (name, text) = match (&self.given, &self.file) {
            (Some(given), _) if given == "-" => ("standard input".to_owned(), standard_input()?),
            // A token has three parts between dots, of which the first two are JSON objects in base64.
            (Some(given), _) if given.starts_with("ey") && given.matches('.').count() == 2 => {
                ("--identity-token".to_owned(), given.clone())
            }
            (Some(given), _) => (given.clone(), read(Path::new(given))?),
            (None, Some(path)) => (path.display().to_string(), read(path)?),
            (None, None) => {
                match TOKEN_VARIABLES.iter().find_map(|name| Some((*name, std::env::var(name).ok().filter(|text| !text.is_empty())?))) {
                    Some((name, text)) => (name.to_owned(), text),
                    None => match ambient().await? {
                        Some(token) => return Ok(token),
                        None => return self.login.token(issuer, ui).await,
                    },
                }
            }
        };
        let token = IdentityToken::from_jwt(text.trim())
            .map_err(|error| Error::new(Kind::Denied, format!("{name} holds no identity token")).because(error))?;
        if token.is_expired() {
            return Err(Error::new(Kind::Denied, format!("the identity token of {name} was over at {}", token.expiration()))
                .hint("fetch a new one right before signing: they live for minutes"));
        }
        Ok(token)
    }
}

/// True if the certificate is one that Fulcio would make for this token: same issuer, same subject, and for a workflow of GitHub the same
/// repository and ref. What cannot be told is not the same: one signature too many does no harm.
pub(super) fn would_get(token: &IdentityToken, certificate: &Certificate) -> bool {
    let claims = claims(token);
    let text = |name: &str| claims[name].as_str().unwrap_or_default();
    let federated = token.claims().federated_claims.as_ref().and_then(|claims| claims.connector_id.as_deref());
    let same_issuer = certificate.issuer == token.issuer() || Some(certificate.issuer.as_str()) == federated;
    let said = |claim: &Option<String>, name: &str| claim.as_deref().is_some_and(|claim| claim == text(name));
    let same_subject = if claims["job_workflow_ref"].is_string() {
        certificate.identity.ends_with(&format!("/{}", text("job_workflow_ref")))
            && said(&certificate.claims.source_repository_id, "repository_id")
            && said(&certificate.claims.source_ref, "ref")
            && said(&certificate.claims.trigger, "event_name")
    } else if claims["ci_config_ref_uri"].is_string() {
        certificate.identity == format!("https://{}", text("ci_config_ref_uri"))
    } else {
        certificate.identity == token.identity()
    };
    same_issuer && same_subject
}

/// All claims of a token, unverified; null if they cannot be read.
pub(super) fn claims(token: &IdentityToken) -> Value {
    let payload = token.expose_secret().split('.').nth(1).unwrap_or_default();
    URL_SAFE_NO_PAD.decode(payload).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The token of the CI system that this runs in, if it is one that gives tokens.
async fn ambient() -> Result<Option<IdentityToken>> {
    match IdentityToken::detect_ambient().await {
        Ok(found) => Ok(found),
        Err(error) => Err(Error::new(Kind::Denied, "this CI system gave no identity token").because(error).hint(
            "on GitHub the job needs `permissions: id-token: write`, which pull requests from forks do not get; on GitLab `id_tokens: SIGSTORE_ID_TOKEN`",
        )),
    }
}

/// There is nobody who could sign.
pub(super) fn none() -> Error {
    Error::usage(
        "nobody is there to sign: no --key was given, there is no identity token, this is no CI system that gives one, and no terminal for a login",
    )
    .hint("give --key to sign with a key of your own")
    .hint("or give a token whose audience is `sigstore`: --identity-token-file FILE, or SIGSTORE_ID_TOKEN in the environment")
    .hint("or log in on another device: --oidc-device-flow --yes, which publishes your e-mail address")
}

fn read(path: &Path) -> Result<String> {
    files::read_text(path, limits::DOCUMENT_BYTES).context("read the identity token")
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(limits::DOCUMENT_BYTES).read_to_string(&mut text).context("read the identity token from standard input")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token without a signature: only Fulcio looks at it.
    fn token(expires: i64) -> String {
        of(&format!(r#"{{"iss":"https://example.com","sub":"someone","exp":{expires}}}"#))
    }

    fn of(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.x", part(r#"{"alg":"none"}"#), part(claims))
    }

    #[test]
    fn a_certificate_is_of_a_token_by_issuer_and_subject_and_for_a_workflow_by_repository_and_ref_too() {
        let is_of =
            |claims: &str, certificate: &Certificate| would_get(&IdentityToken::from_jwt(&of(claims)).expect("a token"), certificate);
        let person = r#"{"iss":"https://i","sub":"1","email":"dev@example.com","exp":9999999999}"#;
        let of_person = Certificate { identity: "dev@example.com".to_owned(), issuer: "https://i".to_owned(), ..Certificate::default() };
        assert!(is_of(person, &of_person));
        assert!(!is_of(person, &Certificate { identity: "other@example.com".to_owned(), ..of_person.clone() }));
        assert!(!is_of(person, &Certificate { issuer: "https://j".to_owned(), ..of_person }));
        let workflow = r#"{"iss":"https://i","sub":"x","exp":9999999999,"job_workflow_ref":"o/r/.github/workflows/w.yml@refs/heads/main",
            "repository_id":"7","ref":"refs/heads/main","event_name":"push"}"#;
        let mut certificate = Certificate {
            identity: "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main".to_owned(),
            issuer: "https://i".to_owned(),
            ..Certificate::default()
        };
        assert!(!is_of(workflow, &certificate), "whose repository it was is not said");
        certificate.claims.source_repository_id = Some("7".to_owned());
        certificate.claims.source_ref = Some("refs/heads/main".to_owned());
        certificate.claims.trigger = Some("push".to_owned());
        assert!(is_of(workflow, &certificate));
        certificate.claims.source_repository_id = Some("8".to_owned());
        assert!(!is_of(workflow, &certificate), "the same workflow, called by another repository");
    }

    #[tokio::test]
    async fn a_token_is_taken_by_value_and_from_files_and_not_when_it_is_over_or_none() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("token");
        std::fs::write(&path, token(9_999_999_999) + "\n").expect("is written");
        let given = |given: &str| TokenSource { given: Some(given.to_owned()), ..TokenSource::default() };
        let fetch = async |source: &TokenSource| source.fetch("https://example.com", None).await;
        for source in [
            given(&token(9_999_999_999)),
            given(&path.display().to_string()),
            TokenSource { file: Some(path.clone()), ..TokenSource::default() },
        ] {
            assert_eq!(fetch(&source).await.expect("a token").subject(), "someone");
            assert!(!format!("{source:?}").contains("ey"), "{source:?}");
        }
        assert_eq!(fetch(&given(&token(1))).await.expect_err("is over").kind(), Kind::Denied);
        std::fs::write(&path, "hello").expect("is written");
        assert_eq!(fetch(&given(&path.display().to_string())).await.expect_err("is no token").kind(), Kind::Denied);
        assert_eq!(fetch(&given("/nonexistent")).await.expect_err("is no file").kind(), Kind::Usage);
    }
}
