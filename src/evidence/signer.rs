//! Who made a signature and when, as far as the signature itself, its certificate, logs and timestamps prove it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::evidence::pointer::LogRef;

/// Who made a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SignedBy {
    /// The holder of a key: SHA-256 of its SubjectPublicKeyInfo.
    Key(Digest),
    /// Whom a certificate authority has vouched for, for a few minutes.
    Certificate(Box<Certificate>),
}

/// What a certificate of Fulcio's says, and a trusted root has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The subject alternative name: an e-mail address, or a URI (a workflow, a SPIFFE id).
    pub identity: String,
    /// Who vouched for it: the OIDC issuer (1.3.6.1.4.1.57264.1.8, or .1.1 in old certificates).
    pub issuer: String,
    /// What a build system said of the build; all absent for people.
    #[serde(default)]
    pub claims: Claims,
}

/// Claims of a build system, as Fulcio copies them into a certificate (1.3.6.1.4.1.57264.1.9 to .22).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Claims {
    /// The workflow that ran, which may be another repository's (.9).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_signer_uri: Option<String>,
    /// `github-hosted` or `self-hosted` (.11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_environment: Option<String>,
    /// The repository that was built, as a URI (.12).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository: Option<String>,
    /// Its commit (.13).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// Its branch or tag, e.g. `refs/heads/main` (.14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<String>,
    /// Its number, which a renamed or re-made repository does not share (.15).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_id: Option<String>,
    /// Its owner, as a URI (.16).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_owner: Option<String>,
    /// Its owner's number (.17).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_owner_id: Option<String>,
    /// The workflow at the top, which called the others (.18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_config_uri: Option<String>,
    /// What started it: `push`, `pull_request`, … (.20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// The run, as a URI (.21).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Times at which a signature is proven to have been there, none for a bare key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Times {
    /// By timestamp authorities (RFC 3161).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timestamps: Vec<Timestamp>,
    /// By a log that promises its time (Rekor v1; v2 makes no such promise).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged: Option<Timestamp>,
    /// The log's entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

impl Times {
    /// The earliest time at which somebody else saw the signature.
    #[must_use]
    pub fn proven(&self) -> Option<Timestamp> {
        self.timestamps.iter().chain(&self.logged).min().copied()
    }
}

impl std::fmt::Display for SignedBy {
    /// For people: `key sha256:…` or `IDENTITY (ISSUER)`; what comes from a certificate is not yet safe for a terminal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key {id}"),
            Self::Certificate(certificate) => write!(f, "{} ({})", certificate.identity, certificate.issuer),
        }
    }
}
