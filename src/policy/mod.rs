//! The policy on evidence: who may sign for what, and how old, complete and real it must be. Pure decisions: no file but the policy's own
//! is read, and nothing is fetched.

pub mod explain;
pub mod form;
pub mod import;
pub mod judge;
pub mod lint;
pub mod pattern;

use jiff::{SignedDuration, Timestamp};

use crate::digest::Digest;
use crate::error::Result;
use crate::evidence::PublicKey;
use crate::snapshot::Hardware;
pub use form::{Document, GateForm, Weight};
pub use judge::{Judgement, Opinion, Vote};
pub use pattern::Pattern;

/// Who issues tokens to GitHub's workflows.
pub const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// Who issues tokens to GitLab.com's pipelines.
pub const GITLAB_ISSUER: &str = "https://gitlab.com";

/// A policy, ready to judge by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where it is from: a file as the user named it, or the flags.
    pub name: String,
    /// Organisations that must have signed, at least one.
    pub required: usize,
    /// Who may sign.
    pub entries: Vec<Entry>,
    /// How old evidence may be, by a trusted time.
    pub maximum_age: Option<SignedDuration>,
    /// Which declared checks must have run.
    pub coverage: Coverage,
    /// Hardware that counts.
    pub hardware: Vec<Hardware>,
    /// Registries, or parts of them, that may be asked; `None` allows each.
    pub registries: Option<Vec<String>>,
    /// What counts no longer.
    pub revoked: Vec<Revocation>,
    /// Who may approve that evidence is removed or replaced.
    pub owners: Vec<String>,
    /// What the gate makes of changes.
    pub gate: GateForm,
}

/// Who may sign, for what, and until when.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in the policy.
    pub name: String,
    /// Entries of one organisation are one voice.
    pub organisation: String,
    /// Names of recipes that it may speak for; `None` is for all.
    pub recipes: Option<Vec<Pattern>>,
    /// Signatures made later do not count.
    pub expires: Option<Timestamp>,
    /// Whose signatures these are.
    pub who: Who,
}

/// Whose signatures an entry is about.
#[derive(Clone, Debug)]
pub enum Who {
    /// The holder of a key.
    Key(PublicKey),
    /// Those whose certificates fulfil all of this.
    Certificates(Box<Certificates>),
}

/// What a certificate must say. What is `None` may be anything.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The issuer of the token.
    pub issuer: Pattern,
    /// The subject alternative name.
    pub identity: Option<Pattern>,
    /// Number of the repository that was built.
    pub source_repository_id: Option<String>,
    /// The repository that was built, as a URI.
    pub source_repository: Option<Pattern>,
    /// Its branches or tags, any of these.
    pub source_refs: Option<Vec<Pattern>>,
    /// What started the build, any of these.
    pub triggers: Option<Vec<String>>,
    /// `github-hosted` or `self-hosted`.
    pub runner: Option<String>,
    /// A workflow that was named without its callers may be called from its own repository only.
    pub own_source_only: bool,
}

impl std::fmt::Display for Who {
    /// The key's id, or what identity and issuer are wanted.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {}", key.id()),
            Self::Certificates(wanted) => match (&wanted.identity, &wanted.source_repository_id) {
                (Some(identity), _) => write!(f, "{identity} ({})", wanted.issuer),
                (None, Some(id)) => write!(f, "repository {id} ({})", wanted.issuer),
                (None, None) => write!(f, "anybody ({})", wanted.issuer),
            },
        }
    }
}

/// Which declared checks must have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All that the recipe declares.
    Declared,
    /// Those that a simulated cluster can show, where the hardware is simulated; else all.
    InScopeIfSimulated,
    /// Those that were in scope, and what was out of scope is named.
    InScope,
}

/// What counts no longer.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// What is revoked.
    pub what: Revoked,
    /// What is proven to be older still counts; `None` lets nothing count.
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// What is revoked.
#[derive(Clone, Debug)]
pub enum Revoked {
    /// The key with this id.
    Key(Digest),
    /// A bundle, by the digest of its OCI manifest or of its content.
    Digest(Digest),
    /// Identities, of these issuers.
    Identity(Pattern, Pattern),
}

impl Policy {
    /// The small policy that a key is.
    #[must_use]
    pub fn of_key(key: PublicKey) -> Self {
        Self::of_one("--key", Who::Key(key))
    }

    /// The small policy that an identity and an issuer are, as flags name them.
    #[must_use]
    pub fn of_identity(identity: Pattern, issuer: Pattern) -> Self {
        let certificates = Certificates {
            issuer,
            identity: Some(identity),
            source_repository_id: None,
            source_repository: None,
            source_refs: None,
            triggers: None,
            runner: None,
            own_source_only: true,
        };
        Self::of_one("--certificate-identity", Who::Certificates(Box::new(certificates)))
    }

    fn of_one(name: &str, who: Who) -> Self {
        let entry = Entry { name: name.to_owned(), organisation: name.to_owned(), recipes: None, expires: None, who };
        Self {
            name: name.to_owned(),
            required: 1,
            entries: vec![entry],
            maximum_age: None,
            coverage: Coverage::InScope,
            hardware: vec![Hardware::Real, Hardware::Simulated, Hardware::Unknown],
            registries: None,
            revoked: Vec::new(),
            owners: Vec::new(),
            gate: GateForm::default(),
        }
    }

    /// The keys that it names, without which their signatures cannot be verified.
    #[must_use]
    pub fn keys(&self) -> Vec<&PublicKey> {
        self.entries.iter().filter_map(|entry| if let Who::Key(key) = &entry.who { Some(key) } else { None }).collect()
    }

    /// True if it names signers who have certificates.
    #[must_use]
    pub fn accepts_certificates(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.who, Who::Certificates(_)))
    }

    /// True if a repository may be asked: the registry, or the part of it, is on the list, by whole components.
    #[must_use]
    pub fn lists(&self, repository: &str) -> bool {
        let within = |listed: &String| repository == listed || repository.strip_prefix(listed).is_some_and(|rest| rest.starts_with('/'));
        self.registries.as_ref().is_none_or(|listed| listed.iter().any(within))
    }

    /// Reads a policy file, and key files beside it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Schema`] with line and column if it is not a policy; [`crate::error::Kind::Usage`] if it cannot be read.
    pub fn read(path: &std::path::Path) -> Result<Self> {
        form::usable(form::read_with_findings(path)?)
    }

    /// Reads a policy from text; `key` reads a key file by its path from the policy's directory.
    ///
    /// # Errors
    /// As [`Policy::read`].
    pub fn from_text(text: &str, name: &str, key: &dyn Fn(&std::path::Path) -> Result<String>) -> Result<Self> {
        form::usable(form::from_text(text, name, key)?)
    }
}
