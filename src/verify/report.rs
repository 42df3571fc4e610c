//! The report of a verification: every stage, what is verified, and apart from it what is only claimed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::evidence::bundle::file;
use crate::evidence::signer::SignedBy;
use crate::evidence::statement::TestVerdict;
use crate::evidence::{Evidence, MANIFEST, Pointer};
use crate::exit::Exit;
use crate::recipe::API_VERSION;
use crate::ui::printable;
use crate::verify::case::{Case, Finding};
use crate::verify::freshness::NO_PROOF;
use crate::verify::results::words;

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyReport {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `VerifyReport`.
    pub kind: String,
    /// What was verified, as it was named.
    pub input: String,
    /// The verdict in one word.
    pub verdict: Word,
    /// Name of the exit code: `ok`, `failed`, `signature`, …
    pub reason: String,
    /// The exit code.
    pub exit: u8,
    /// The verdict in one sentence.
    pub summary: String,
    /// What to do next, where something is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Every stage, run or not, in order.
    pub stages: Vec<StageReport>,
    /// What is anchored in a signature of the expected signer; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedFacts>,
    /// What is only said, by a pointer or by an unsigned or rejected bundle.
    pub claimed: Claimed,
}

/// The verdict on the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Signed by the expected signer, sound, and everything in scope held.
    Verified,
    /// Sound, but nobody's signature was asked for: not verified.
    IntactNotVerified,
    /// Not accepted; `reason` says why.
    Rejected,
    /// Could not be looked at: not there, not to be reached, not allowed, or asked for wrongly.
    Undecided,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What was found, in one sentence.
    pub found: String,
    /// Name of the exit code that it asks for, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It holds.
    Ok,
    /// It holds, and something must be known.
    Warning,
    /// It does not hold.
    Failed,
    /// It was not looked at.
    NotRun,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::NotRun => "not run",
        }
    }
}

/// What is anchored in a signature of the expected signer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifiedFacts {
    /// Who signed.
    pub signers: Vec<SignedBy>,
    /// Digest of the OCI manifest.
    pub digest: Digest,
    /// Digest of `manifest.json`.
    pub content_digest: Digest,
    /// The result in the predicate's words: PASSED, WARNED or FAILED.
    pub result: String,
    /// The evidence, as it was signed.
    pub evidence: Evidence,
    /// Declared checks that were left out, with their reasons.
    pub out_of_scope: Vec<String>,
    /// When it was signed.
    pub time: Time,
}

/// What is known of the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Time {
    /// A time that somebody else vouches for; absent if there is none.
    pub proven: Option<Timestamp>,
    /// When the run ended, by the signer's own word.
    pub stated: Timestamp,
    /// In words.
    pub note: String,
}

/// What is only said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claimed {
    /// The pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<Pointer>,
    /// Who the signatures say that they are from, where that is not the expected signer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// The evidence of a bundle that nobody vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// Reports one stage, and says which exit code it asks for.
pub(super) fn stage(name: &str, finding: &Result<Finding>) -> (StageReport, Exit) {
    let (status, found, exit) = match finding {
        Ok(Finding::Ok(found)) => (Status::Ok, found.clone(), Exit::Ok),
        Ok(Finding::Warning(found)) => (Status::Warning, found.clone(), Exit::Ok),
        Ok(Finding::NotRun(found)) => (Status::NotRun, found.clone(), Exit::Ok),
        Ok(Finding::Verdict(exit, found)) => (Status::Failed, found.clone(), *exit),
        Err(error) => (Status::Failed, error.chain(), error.kind().exit()),
    };
    let reason = (exit != Exit::Ok).then(|| exit.name().to_owned());
    (StageReport { name: name.to_owned(), status, found: one_line(&found), reason }, exit)
}

/// Puts the report together. `authentic` says that a signature of the expected signer anchors everything that was read.
pub(super) fn assemble(case: &Case, stages: Vec<StageReport>, exit: Exit, authentic: bool, cause: Option<&Error>) -> VerifyReport {
    let verified = if authentic { facts(case) } else { None };
    let verdict = match (exit, &verified) {
        (Exit::Ok, Some(_)) => Word::Verified,
        (Exit::Ok, None) if case.integrity_only() => Word::IntactNotVerified,
        (Exit::Usage | Exit::Denied | Exit::Timeout | Exit::Unavailable | Exit::Interrupted, _) => Word::Undecided,
        _ => Word::Rejected,
    };
    let evidence = if verified.is_none() { case.evidence.clone() } else { None };
    VerifyReport {
        api_version: API_VERSION.to_owned(),
        kind: "VerifyReport".to_owned(),
        input: case.request.input.clone(),
        verdict,
        reason: exit.name().to_owned(),
        exit: exit.code(),
        summary: one_line(&summary(case, verdict, exit, &stages)),
        hints: cause.map(|error| error.hints().iter().map(|hint| one_line(hint)).collect()).unwrap_or_default(),
        stages,
        verified,
        claimed: Claimed { pointer: case.pointer.clone(), signers: case.others.clone(), evidence },
    }
}

fn facts(case: &Case) -> Option<VerifiedFacts> {
    let (signed, evidence) = (case.signed.first()?, case.evidence.as_ref()?);
    let result = match signed.statement.predicate.result {
        TestVerdict::Passed => "PASSED",
        TestVerdict::Warned => "WARNED",
        TestVerdict::Failed => "FAILED",
    };
    Some(VerifiedFacts {
        signers: case.signed.iter().map(|signed| signed.by.clone()).collect(),
        digest: case.artifact.clone()?,
        content_digest: Digest::of(file(case.files.as_ref()?, MANIFEST).ok()?),
        result: result.to_owned(),
        evidence: evidence.clone(),
        out_of_scope: case.out_of_scope.clone(),
        time: Time {
            proven: case.proven_time(),
            stated: evidence.finished_at,
            note: case.proven_time().map_or_else(|| format!("no proof of time: {NO_PROOF}"), |time| format!("seen by others at {time}")),
        },
    })
}

fn summary(case: &Case, verdict: Word, exit: Exit, stages: &[StageReport]) -> String {
    let what = case.evidence.as_ref().map(about).unwrap_or_default();
    match verdict {
        Word::Verified => format!("verified: {what}; no proof of time (bare key)"),
        Word::IntactNotVerified => format!("intact, NOT verified (nobody's signature was asked for): {what}"),
        Word::Rejected | Word::Undecided => {
            let word = if verdict == Word::Rejected { "rejected" } else { "undecided" };
            let failed = stages.iter().find(|stage| stage.status == Status::Failed);
            let found = failed.map_or("no stage accepted it", |stage| stage.found.as_str());
            let what = if what.is_empty() { String::new() } else { format!(" — {what}") };
            format!("{word} ({}): {found}{what}", exit.name())
        }
    }
}

/// What the evidence speaks for, never more than was seen.
fn about(evidence: &Evidence) -> String {
    format!(
        "{} of recipe {}, {} scope, {} hardware, {}",
        evidence.workflow.name,
        evidence.recipe.name,
        evidence.scope.word(),
        evidence.hardware.word().to_uppercase(),
        words(&evidence.counts)
    )
}

/// Text from evidence, made safe for a terminal and for one line.
fn one_line(text: &str) -> String {
    printable(text).replace('\n', " ")
}
