//! The policy file: its form, and how it becomes a policy.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::policy::pattern::Pattern;
use crate::policy::{Certificates, Coverage, Entry, GITHUB_ISSUER, GITLAB_ISSUER, Policy, Revocation, Revoked, Who, lint};
use crate::recipe::API_VERSION;
use crate::snapshot::Hardware;
use crate::{files, limits, yaml};

/// `evidence/policy.yaml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `EvidencePolicy`.
    pub kind: PolicyKind,
    /// How many organisations must have signed.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub required: usize,
    /// Who may sign, for which recipes.
    #[schemars(length(min = 1))]
    pub signers: Vec<SignerForm>,
    /// How old evidence may be, e.g. `90d` or `36h`. Needs signatures with a trusted time.
    #[serde(default)]
    pub maximum_age: Option<String>,
    /// Which declared checks must have run.
    #[serde(default)]
    pub coverage: CoverageForm,
    /// Hardware that counts beside real hardware.
    #[serde(default)]
    pub hardware: Vec<OtherHardware>,
    /// Registries, with or without a part of the path, that may be asked; without the field, all.
    #[serde(default)]
    pub registries: Option<Vec<String>>,
    /// What counts no longer.
    #[serde(default)]
    pub revoked: Vec<RevocationForm>,
    /// Who may approve that evidence is removed or replaced, e.g. `@example/platform`.
    #[serde(default)]
    pub owners: Vec<String>,
    /// What keeps a change from being merged, beside evidence that is not accepted.
    #[serde(default)]
    pub gate: GateForm,
}

/// What the gate makes of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateForm {
    /// A change to a recipe that has no evidence.
    #[serde(default)]
    pub recipes_without_evidence: Weight,
    /// A change to a recipe whose evidence is about what it asked earlier.
    #[serde(default)]
    pub drifted: Weight,
    /// A change to this policy that none of the `owners` approved.
    #[serde(default)]
    pub policy_changes: Weight,
}

/// Whether something keeps a change from being merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// It does.
    #[default]
    Block,
    /// It is told, and nothing more.
    Report,
}

/// The kind of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// A policy on evidence.
    EvidencePolicy,
}

/// One who may sign.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignerForm {
    /// A name of its own.
    pub name: String,
    /// Signers of one organisation are one voice; without it, the signer is one of its own.
    #[serde(default)]
    pub organisation: Option<String>,
    /// Names of recipes that it may speak for; `*` stands for any characters.
    #[schemars(length(min = 1))]
    pub recipes: Vec<String>,
    /// Signatures made later do not count.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// Who it is.
    pub subject: SubjectForm,
}

/// Who signs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SubjectForm {
    /// A public key, as a PEM block.
    Key(String),
    /// A public key, in a file beside the policy.
    KeyFile(PathBuf),
    /// Workflows on GitHub.
    Github(GithubForm),
    /// Pipelines on GitLab.
    Gitlab(GitlabForm),
    /// A person, or a service account that has an e-mail address.
    Email(EmailForm),
    /// A workload, by its SPIFFE id.
    Spiffe(SpiffeForm),
    /// A service account of a Kubernetes cluster.
    Kubernetes(KubernetesForm),
    /// Any other subject.
    Identity(IdentityForm),
}

/// Workflows on GitHub. The subject of their certificates is the workflow that was called, which is the same for every caller on GitHub: so
/// the repository that was built, its branch or tag and what started the build are bound too.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GithubForm {
    /// The number of the repository, which a renamed or re-made one does not share: `gh api repos/OWNER/NAME --jq .id`.
    pub repository_id: String,
    /// Its address, for people and as a further condition.
    #[serde(default)]
    pub repository: Option<String>,
    /// Branches and tags, e.g. `refs/heads/main`.
    #[schemars(length(min = 1))]
    pub refs: Vec<Pattern>,
    /// What may start the workflow, e.g. `push`, `schedule`, `workflow_dispatch`.
    #[schemars(length(min = 1))]
    pub triggers: Vec<String>,
    /// The workflow that signs, with its ref; of another repository if it is a reusable one.
    #[serde(default)]
    pub workflow: Option<Pattern>,
    /// `github-hosted` or `self-hosted`; without it, both.
    #[serde(default)]
    pub runner: Option<String>,
    /// The issuer of GitHub Enterprise; without it, GitHub.com's.
    #[serde(default)]
    pub issuer: Option<String>,
}

/// Pipelines on GitLab.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitlabForm {
    /// The number of the project.
    pub project_id: String,
    /// Branches and tags, e.g. `refs/heads/main`.
    #[schemars(length(min = 1))]
    pub refs: Vec<Pattern>,
    /// What may start the pipeline, e.g. `push`, `schedule`, `web`; without it, anything.
    #[serde(default)]
    pub triggers: Option<Vec<String>>,
    /// The pipeline's configuration file, with its ref.
    #[serde(default)]
    pub config: Option<Pattern>,
    /// The issuer of another GitLab; without it, GitLab.com's.
    #[serde(default)]
    pub issuer: Option<String>,
}

/// A person, or a service account that has an e-mail address.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailForm {
    /// The address.
    pub address: String,
    /// Who vouches for it, e.g. `https://accounts.google.com`.
    pub issuer: String,
}

/// A workload, by its SPIFFE id.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpiffeForm {
    /// `spiffe://trust-domain/path`.
    pub id: Pattern,
    /// Who vouches for it.
    pub issuer: String,
}

/// A service account of a Kubernetes cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesForm {
    /// The cluster's issuer of service account tokens.
    pub issuer: String,
    /// The namespace.
    pub namespace: String,
    /// The service account's name.
    pub service_account: String,
}

/// Any other subject, by the subject alternative name of its certificates.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityForm {
    /// The subject alternative name.
    pub identity: Pattern,
    /// Who vouches for it.
    pub issuer: String,
}

/// Which declared checks must have run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CoverageForm {
    /// All that the recipe declares.
    #[default]
    Declared,
    /// On simulated hardware, those that it can show; needs `simulated` in `hardware`.
    InScope,
}

/// Hardware that is not known to be real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OtherHardware {
    /// Marks of a simulator were seen.
    Simulated,
    /// Nothing is known.
    Unknown,
}

/// What counts no longer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevocationForm {
    /// What is revoked.
    pub what: RevokedForm,
    /// What is proven to be older still counts; without it, nothing does.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// What is revoked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RevokedForm {
    /// A key, by its id: SHA-256 of its SubjectPublicKeyInfo.
    Key(Digest),
    /// A bundle, by the digest of its OCI manifest or of its content.
    Digest(Digest),
    /// Certificates, by their subject and issuer.
    Identity(RevokedIdentity),
}

/// Certificates, by their subject and issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokedIdentity {
    /// The subject alternative name.
    pub identity: Pattern,
    /// Who vouches for it.
    pub issuer: Pattern,
}

fn one() -> usize {
    1
}

/// Reads a policy and says what is wrong with it.
///
/// # Errors
/// [`Kind::Schema`] with line and column if it is not a policy; [`Kind::Usage`] if a file cannot be read.
pub fn read_with_findings(path: &Path) -> Result<(Policy, Vec<lint::Finding>)> {
    let name = path.display().to_string();
    let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the policy")?;
    let folder = path.parent().unwrap_or(Path::new("."));
    from_text(&text, &name, &|key| files::read_text(&folder.join(key), limits::DOCUMENT_BYTES).context("read a public key"))
}

/// Reads a policy from text and says what is wrong with it; `key` reads a key file by its path from the policy's directory.
///
/// # Errors
/// As [`read_with_findings`].
pub fn from_text(text: &str, name: &str, key: &dyn Fn(&Path) -> Result<String>) -> Result<(Policy, Vec<lint::Finding>)> {
    let document = parse(text, name)?;
    let policy = build(&document, name, key)?;
    let findings = lint::lint(&document, &policy, Timestamp::now());
    Ok((policy, findings))
}

/// A policy that may be used: one in which [`lint`] finds nothing that makes it unsafe.
pub(super) fn usable((policy, findings): (Policy, Vec<lint::Finding>)) -> Result<Policy> {
    match findings.into_iter().find(|finding| finding.error) {
        None => Ok(policy),
        Some(finding) => Err(Error::new(Kind::Schema, format!("{}: {}", policy.name, finding.message))
            .hint(format!("seatrial policy lint {} shows all that is wrong with it", policy.name))),
    }
}

/// The key files that a policy names.
#[must_use]
pub fn key_files(document: &Document) -> Vec<&Path> {
    let files = document.signers.iter().filter_map(|signer| match &signer.subject {
        SubjectForm::KeyFile(path) => Some(path.as_path()),
        _ => None,
    });
    files.collect()
}

/// Reads a policy's text.
///
/// # Errors
/// [`Kind::Schema`] with line and column.
pub fn parse(text: &str, name: &str) -> Result<Document> {
    let wrong = |error: Error| {
        let hints = error.hints().to_vec();
        hints.into_iter().fold(Error::new(Kind::Schema, format!("{name} is not a policy: {}", error.chain())), Error::hint)
    };
    let document: Document = yaml::from_str(text, name).map_err(wrong)?;
    if document.api_version != API_VERSION {
        return Err(wrong(Error::usage(format!("unknown apiVersion `{}`", document.api_version.escape_debug()))));
    }
    Ok(document)
}

fn build(document: &Document, name: &str, key: &dyn Fn(&Path) -> Result<String>) -> Result<Policy> {
    let entry = |signer: &SignerForm| -> Result<Entry> {
        let recipes = signer.recipes.iter().map(|recipe| Pattern::glob(recipe)).collect::<Result<_>>()?;
        Ok(Entry {
            name: signer.name.clone(),
            organisation: signer.organisation.clone().unwrap_or_else(|| signer.name.clone()),
            recipes: Some(recipes),
            expires: signer.expires,
            who: who(&signer.subject, key)?,
        })
    };
    let entry =
        |signer: &SignerForm| entry(signer).map_err(|error| reworded(error, &format!("{name}: signer `{}`", signer.name.escape_debug())));
    let age = |text: &String| age(text).map_err(|error| reworded(error, &format!("{name}: maximumAge")));
    let mut hardware = vec![Hardware::Real];
    hardware.extend(document.hardware.iter().map(|other| match other {
        OtherHardware::Simulated => Hardware::Simulated,
        OtherHardware::Unknown => Hardware::Unknown,
    }));
    Ok(Policy {
        name: name.to_owned(),
        required: document.required,
        entries: document.signers.iter().map(entry).collect::<Result<_>>()?,
        maximum_age: document.maximum_age.as_ref().map(age).transpose()?,
        coverage: match document.coverage {
            CoverageForm::Declared => Coverage::Declared,
            CoverageForm::InScope => Coverage::InScopeIfSimulated,
        },
        hardware,
        registries: document.registries.clone(),
        revoked: document.revoked.iter().map(revocation).collect(),
        owners: document.owners.clone(),
        gate: document.gate,
    })
}

/// What is wrong with a part of a policy makes the policy unusable.
fn reworded(error: Error, place: &str) -> Error {
    let hints = error.hints().to_vec();
    hints.into_iter().fold(Error::new(Kind::Schema, format!("{place}: {}", error.chain())), Error::hint)
}

fn revocation(form: &RevocationForm) -> Revocation {
    let what = match &form.what {
        RevokedForm::Key(id) => Revoked::Key(id.clone()),
        RevokedForm::Digest(digest) => Revoked::Digest(digest.clone()),
        RevokedForm::Identity(certificates) => Revoked::Identity(certificates.identity.clone(), certificates.issuer.clone()),
    };
    Revocation { what, since: form.since, reason: form.reason.clone() }
}

/// A length of time, in words or in the form of ISO 8601; a day has 24 hours.
///
/// # Errors
/// A usage error if it is none, or not more than nothing.
pub fn age(text: &str) -> Result<SignedDuration> {
    let wrong = || Error::usage(format!("`{}` is not a length of time", text.escape_debug())).hint("write it as in 90d or 36h");
    let span: Span = text.parse().map_err(|error: jiff::Error| wrong().because(error))?;
    let long = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| wrong().because(error))?;
    if long.is_positive() { Ok(long) } else { Err(wrong()) }
}

fn who(subject: &SubjectForm, key: &dyn Fn(&Path) -> Result<String>) -> Result<Who> {
    let anyone = |issuer: &str| -> Result<Certificates> {
        Ok(Certificates {
            issuer: Pattern::exact(issuer)?,
            identity: None,
            source_repository_id: None,
            source_repository: None,
            source_refs: None,
            triggers: None,
            runner: None,
            own_source_only: false,
        })
    };
    let certificates = match subject {
        SubjectForm::Key(pem) => return PublicKey::from_pem(pem).map(Who::Key),
        SubjectForm::KeyFile(path) => {
            let pem = key(path)?;
            return PublicKey::from_pem(&pem).map(Who::Key).with_context(|| format!("read the public key {}", path.display()));
        }
        SubjectForm::Github(github) => Certificates {
            identity: github.workflow.clone(),
            source_repository_id: Some(github.repository_id.clone()),
            source_repository: github.repository.as_deref().map(Pattern::exact).transpose()?,
            source_refs: Some(github.refs.clone()),
            triggers: Some(github.triggers.clone()),
            runner: github.runner.clone(),
            ..anyone(github.issuer.as_deref().unwrap_or(GITHUB_ISSUER))?
        },
        SubjectForm::Gitlab(gitlab) => Certificates {
            identity: gitlab.config.clone(),
            source_repository_id: Some(gitlab.project_id.clone()),
            source_refs: Some(gitlab.refs.clone()),
            triggers: gitlab.triggers.clone(),
            ..anyone(gitlab.issuer.as_deref().unwrap_or(GITLAB_ISSUER))?
        },
        SubjectForm::Email(email) => Certificates { identity: Some(Pattern::exact(&email.address)?), ..anyone(&email.issuer)? },
        SubjectForm::Spiffe(spiffe) => Certificates { identity: Some(spiffe.id.clone()), ..anyone(&spiffe.issuer)? },
        SubjectForm::Kubernetes(account) => {
            let subject = format!("https://kubernetes.io/namespaces/{}/serviceaccounts/{}", account.namespace, account.service_account);
            Certificates { identity: Some(Pattern::exact(&subject)?), ..anyone(&account.issuer)? }
        }
        SubjectForm::Identity(any) => Certificates { identity: Some(any.identity.clone()), own_source_only: true, ..anyone(&any.issuer)? },
    };
    Ok(Who::Certificates(Box::new(certificates)))
}

/// The pattern of a flag, exact or as a regular expression.
///
/// # Errors
/// A usage error if both or neither are given, or one is no pattern.
pub fn of_flags(name: &str, exact: Option<&str>, regex: Option<&str>) -> Result<Pattern> {
    match (exact, regex) {
        (Some(text), None) => Pattern::exact(text),
        (None, Some(text)) => Pattern::regex(text),
        _ => Err(Error::usage(format!("--{name} or --{name}-regexp is wanted, one of them"))
            .hint("a certificate is known by its identity and by the issuer that vouches for it; give both")),
    }
    .with_context(|| format!("read --{name}"))
}
