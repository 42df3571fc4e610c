//! The case file: what the stages have found so far.

use std::sync::Arc;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::evidence::bundle::Files;
use crate::evidence::contents::Contents;
use crate::evidence::signer::{SignedBy, Times};
use crate::evidence::statement::Statement;
use crate::evidence::{Evidence, Layout, Pointer};
use crate::policy::{Opinion, Policy};
use crate::reason::{Reason, Said};
use crate::recipe::Recipe;
use crate::registry::Repository;
use crate::results::Report;
use crate::snapshot::Snapshot;
use crate::verify::drift::Change;
use crate::verify::{Expected, Request};

/// What a stage found, if it could look.
pub(super) enum Finding {
    /// It holds.
    Ok(String),
    /// It holds, and something must be known.
    Warning(String),
    /// There was nothing to look at, or it was not asked for.
    NotRun(String),
    /// The evidence is what it claims to be, and what it says is not good enough; the stages that follow look as well.
    Verdict(Vec<Said>),
    /// It is not what it claims to be, or nobody who counts says so; there is nothing left to look at.
    Refused(Vec<Said>),
}

impl Finding {
    /// A refusal for one reason.
    pub(super) fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::Refused(vec![Said::new(reason, message)])
    }
}

/// What the policy says of a signature that was verified.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// Who made it, and when.
    pub(super) by: SignedBy,
    pub(super) times: Times,
    /// What the policy says.
    pub(super) opinion: Opinion,
}

/// Where the bundle is.
pub(super) enum Place {
    /// In a directory on this machine.
    Directory(std::path::PathBuf),
    /// In an OCI layout.
    Layout(Box<Layout>),
    /// In a registry, under a digest.
    Registry(Repository, Digest),
}

/// A signature that was found.
pub(super) struct Candidate {
    /// Where it is from, for people.
    pub(super) name: String,
    /// The Sigstore bundle.
    pub(super) bytes: Vec<u8>,
}

/// A statement whose signature was verified.
pub(super) struct Signed {
    /// Who made the signature.
    pub(super) by: SignedBy,
    /// When it was proven to be there.
    pub(super) times: Times,
    /// What was signed.
    pub(super) statement: Statement,
}

/// What the stages have found so far.
pub(super) struct Case {
    pub(super) request: Request,
    pub(super) pointer: Option<Pointer>,
    pub(super) place: Option<Place>,
    pub(super) contents: Option<Arc<Contents>>,
    pub(super) candidates: Vec<Candidate>,
    /// Signatures that were not verified: whom they name, and why not.
    pub(super) others: Vec<String>,
    /// Signatures that were verified, and that somebody expected made. If one is about this bundle, all are.
    pub(super) signed: Vec<Signed>,
    /// What the policy says of each of them. After the stage `identity`, `signed` holds those that count.
    pub(super) judged: Vec<Judged>,
    /// Digest of the OCI manifest: as fetched, or as rebuilt from a directory.
    pub(super) artifact: Option<Digest>,
    pub(super) evidence: Option<Evidence>,
    pub(super) report: Option<Report>,
    pub(super) recipe: Option<Recipe>,
    pub(super) snapshot: Option<Snapshot>,
    /// Declared checks that were left out, with their reason.
    pub(super) out_of_scope: Vec<String>,
    /// What has changed since in the recipe.
    pub(super) drift: Vec<Change>,
}

impl Case {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            pointer: None,
            place: None,
            contents: None,
            candidates: Vec::new(),
            others: Vec::new(),
            signed: Vec::new(),
            judged: Vec::new(),
            artifact: None,
            evidence: None,
            report: None,
            recipe: None,
            snapshot: None,
            out_of_scope: Vec::new(),
            drift: Vec::new(),
        }
    }

    /// True if the policy was satisfied by signatures that were verified.
    pub(super) fn signer_accepted(&self) -> bool {
        !self.signed.is_empty() && self.judged.iter().any(|judged| judged.opinion.counts())
    }

    /// The policy; none if nobody's signature was asked for.
    pub(super) fn policy(&self) -> Option<&Policy> {
        self.request.expected.policy()
    }

    /// The earliest time at which somebody else saw one of the signatures.
    pub(super) fn proven_time(&self) -> Option<jiff::Timestamp> {
        self.signed.iter().filter_map(|signed| signed.times.proven()).min()
    }

    /// True if nobody's signature was asked for.
    pub(super) fn integrity_only(&self) -> bool {
        matches!(self.request.expected, Expected::IntegrityOnly)
    }

    /// The bundle.
    pub(super) fn contents(&self) -> Result<&Contents> {
        known(self.contents.as_deref(), "bundle")
    }

    /// Its documents; of artifacts there are sizes and digests only.
    pub(super) fn files(&self) -> Result<&Files> {
        Ok(self.contents()?.documents())
    }

    pub(super) fn artifact(&self) -> Result<&Digest> {
        known(self.artifact.as_ref(), "OCI digest")
    }

    pub(super) fn evidence(&self) -> Result<&Evidence> {
        known(self.evidence.as_ref(), "evidence")
    }

    pub(super) fn report(&self) -> Result<&Report> {
        known(self.report.as_ref(), "results")
    }

    pub(super) fn recipe(&self) -> Result<&Recipe> {
        known(self.recipe.as_ref(), "recipe")
    }
}

/// A stage that needs what an earlier one did not leave behind is a defect of ours, and never a pass.
fn known<'a, T>(value: Option<&'a T>, what: &str) -> Result<&'a T> {
    value.ok_or_else(|| Error::internal(format!("an earlier stage left no {what}")))
}
