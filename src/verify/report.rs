//! The report of a verification: every stage, what is verified, and apart from it what is only claimed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Kind, Result};
use crate::evidence::bundle::file;
use crate::evidence::signer::SignedBy;
use crate::evidence::statement::TestVerdict;
use crate::evidence::{Evidence, MANIFEST, Pointer};
use crate::exit::Exit;
use crate::reason::{Reason, Said};
use crate::recipe::API_VERSION;
use crate::ui::printable;
use crate::verify::Stage;
use crate::verify::case::{Case, Finding, Judged};
use crate::verify::drift::Change;
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
    /// Against what: the policy's file, or the flags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The verdict in one word.
    pub verdict: Word,
    /// The first of the reasons, which decides the exit code; absent if it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The exit code.
    pub exit: u8,
    /// The verdict in one sentence.
    pub summary: String,
    /// What to do next, where something is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Every stage, run or not, in order.
    pub stages: Vec<StageReport>,
    /// Signatures that hold, and what the policy says of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SignatureReport>,
    /// What is anchored in signatures that the policy accepts; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedFacts>,
    /// What is only said, by a pointer or by an unsigned or rejected bundle.
    pub claimed: Claimed,
    /// What has changed in the recipe since, where the recipe of today was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Change>,
    /// What this verification does not show, whatever its verdict.
    pub not_proven: Vec<String>,
}

impl VerifyReport {
    /// The name of the recipe: as verified, else as claimed.
    #[must_use]
    pub fn recipe(&self) -> Option<&str> {
        let verified = self.verified.as_ref().map(|facts| facts.evidence.recipe.name.as_str());
        verified.or_else(|| self.claimed.pointer.as_ref().map(|pointer| pointer.recipe.name.as_str()))
    }

    /// The report of a verification that broke off.
    pub(super) fn broken(input: String, why: &str) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "VerifyReport".to_owned(),
            input,
            policy: None,
            verdict: Word::Undecided,
            reason: Some(Reason::Undecided),
            exit: Exit::Inconclusive.code(),
            summary: format!("undecided: {}", one_line(why)),
            hints: Vec::new(),
            stages: Vec::new(),
            signatures: Vec::new(),
            verified: None,
            claimed: Claimed { pointer: None, signers: Vec::new(), evidence: None },
            drift: Vec::new(),
            not_proven: Vec::new(),
        }
    }
}

/// A signature that holds, and what the policy says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureReport {
    /// Who made it.
    pub by: SignedBy,
    /// The earliest time at which somebody else saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Timestamp>,
    /// True if it counts.
    pub counts: bool,
    /// The policy's entry that it counts for, or that it comes nearest to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Whose voice it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Said>,
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

impl Word {
    /// The word for it, in a table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::IntactNotVerified => "intact",
            Self::Rejected => "rejected",
            Self::Undecided => "undecided",
        }
    }
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
    /// Why it does not hold; the first decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Said>,
    /// What it looks at and what follows from it, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<String>,
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

/// What is anchored in signatures that the policy accepts.
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

/// Reports one stage.
pub(super) fn stage(stage: &Stage, finding: &Result<Finding>, case: &Case) -> StageReport {
    let (status, found, reasons) = match finding {
        Ok(Finding::Ok(found)) => (Status::Ok, found.clone(), Vec::new()),
        Ok(Finding::Warning(found)) => (Status::Warning, found.clone(), Vec::new()),
        Ok(Finding::NotRun(found)) => (Status::NotRun, found.clone(), Vec::new()),
        Ok(Finding::Verdict(reasons) | Finding::Refused(reasons)) => {
            let messages: Vec<&str> = reasons.iter().map(|said| said.message.as_str()).collect();
            (Status::Failed, messages.join("; "), reasons.clone())
        }
        Err(error) => (Status::Failed, error.chain(), vec![Said::new(reason_of(stage.name, error.kind(), case), error.chain())]),
    };
    let reasons = reasons.into_iter().map(|said| Said::new(said.reason, one_line(&said.message))).collect();
    let covers = case.request.explain.then(|| stage.covers.to_owned());
    StageReport { name: stage.name.to_owned(), status, found: one_line(&found), reasons, covers }
}

/// The reason that an error of a stage is.
fn reason_of(stage: &str, kind: Kind, case: &Case) -> Reason {
    let named = case.pointer.as_ref().is_some_and(|pointer| !pointer.signatures.is_empty());
    match (stage, kind) {
        (_, Kind::Usage | Kind::NotFound | Kind::Io) => Reason::Usage,
        (_, Kind::Denied) => Reason::Denied,
        (_, Kind::Timeout) => Reason::Timeout,
        (_, Kind::Unavailable) => Reason::Unavailable,
        (_, Kind::Interrupted) => Reason::Interrupted,
        (_, Kind::Unsigned) if named => Reason::SignatureWithheld,
        (_, Kind::Unsigned) => Reason::Unsigned,
        (_, Kind::Signature) => Reason::SignatureWrong,
        (_, Kind::Policy) => Reason::SignerUnknown,
        (_, Kind::Stale) => Reason::TooOld,
        (_, Kind::Coverage) => Reason::ChecksMissing,
        ("locate", Kind::Schema) => Reason::PointerInvalid,
        ("locate", Kind::Integrity) => Reason::PointerMisnamed,
        ("fetch", Kind::Schema) => Reason::NotEvidence,
        ("fetch", Kind::Integrity) => Reason::TransferDiffers,
        // Those that could not be had are there with nothing in them.
        ("signature", Kind::Schema) if named && case.candidates.iter().all(|candidate| candidate.bytes.is_empty()) => {
            Reason::SignatureWithheld
        }
        ("signature" | "identity", Kind::Schema) => Reason::SignatureMalformed,
        ("signature" | "identity", Kind::Integrity) => Reason::SignatureWrong,
        ("manifest", Kind::Schema) => Reason::ManifestInvalid,
        ("manifest", Kind::Integrity) => Reason::FilesDiffer,
        ("subject", Kind::Integrity) => Reason::OtherArtifact,
        ("replay", Kind::Integrity) => Reason::ReplayDisagrees,
        (_, Kind::Schema) => Reason::DocumentInvalid,
        (_, Kind::Integrity) => Reason::ResultsDisagree,
        (_, Kind::Conflict | Kind::Inconclusive | Kind::Internal) => Reason::Undecided,
    }
}

/// What all stages came to.
pub(super) struct Ended {
    /// The first reason of all stages decides.
    pub(super) exit: Exit,
    /// True if signatures that the policy accepts anchor everything that was read.
    pub(super) authentic: bool,
    /// What to do next.
    pub(super) hints: Vec<String>,
}

/// Puts the report together.
pub(super) fn assemble(case: &Case, stages: Vec<StageReport>, ended: &Ended) -> VerifyReport {
    let exit = ended.exit;
    let verified = if ended.authentic { facts(case) } else { None };
    let verdict = match (exit, &verified) {
        (Exit::Ok, Some(_)) => Word::Verified,
        (Exit::Ok, None) if case.integrity_only() => Word::IntactNotVerified,
        (Exit::Usage | Exit::Denied | Exit::Timeout | Exit::Unavailable | Exit::Interrupted, _) => Word::Undecided,
        _ => Word::Rejected,
    };
    let reason = stages.iter().flat_map(|stage| &stage.reasons).next().map(|said| said.reason);
    let evidence = if verified.is_none() { case.evidence.clone() } else { None };
    let advice = reason.and_then(advice).map(str::to_owned);
    VerifyReport {
        api_version: API_VERSION.to_owned(),
        kind: "VerifyReport".to_owned(),
        input: case.request.input.clone(),
        policy: case.policy().map(|policy| policy.name.clone()),
        verdict,
        reason,
        exit: exit.code(),
        summary: one_line(&summary(case, verdict, reason, &stages)),
        hints: ended.hints.iter().map(|hint| one_line(hint)).chain(advice).collect(),
        signatures: case.judged.iter().map(signature).collect(),
        stages,
        drift: case.drift.clone(),
        not_proven: not_proven(case, verified.is_some()),
        verified,
        claimed: Claimed { pointer: case.pointer.clone(), signers: case.others.iter().map(|other| one_line(other)).collect(), evidence },
    }
}

/// What to do about a reason whose error says nothing of it.
fn advice(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::SignerUnknown => {
            Some("if you trust this signer, name it with --key, --certificate-identity or in the policy; if not, do not use the evidence")
        }
        Reason::SignerLooksAlike => Some("look at each character of the signer's name: somebody may want to be taken for somebody else"),
        Reason::SignatureWithheld => {
            Some("ask the registry's owner, or whoever wrote the pointer, where the signatures went; sign again if they are lost")
        }
        Reason::NoTrustedTime => Some("sign with a timestamp or a log entry, or leave `maximumAge` out of the policy"),
        Reason::ChecksOutOfScope => {
            Some("run on a cluster that can show them; for simulated clusters a policy can say `coverage: in-scope`")
        }
        Reason::HardwareSimulated | Reason::HardwareUnknown => Some("a policy that accepts such hardware says so in `hardware`"),
        Reason::TooOld | Reason::RecipeDrifted => Some("run it again and publish the new evidence"),
        _ => None,
    }
}

fn signature(judged: &Judged) -> SignatureReport {
    let opinion = &judged.opinion;
    let said = |said: &Said| Said::new(said.reason, one_line(&said.message));
    SignatureReport {
        by: judged.by.clone(),
        proven: judged.times.proven(),
        counts: opinion.counts(),
        entry: opinion.entry.clone(),
        organisation: opinion.organisation.clone(),
        reasons: opinion.reasons.iter().map(said).collect(),
    }
}

/// What this verification does not show, whatever it came to.
fn not_proven(case: &Case, verified: bool) -> Vec<String> {
    let mut open = Vec::new();
    if verified {
        open.push("that the cluster exists: a signature speaks for its signer, who says so".to_owned());
        open.push("that the hardware is what its label says: the label follows from a snapshot that the signer made".to_owned());
    } else {
        open.push("anything that the evidence says: no signature that counts anchors it".to_owned());
    }
    if case.proven_time().is_none() {
        open.push(format!("when it was made: {NO_PROOF}"));
    }
    if !case.out_of_scope.is_empty() {
        open.push(format!("what was out of scope: {}", case.out_of_scope.join(", ")));
    }
    if case.request.recipe.is_none() {
        open.push("that the recipe still asks for the same: no recipe of today was given".to_owned());
    }
    if case.policy().is_none_or(|policy| policy.maximum_age.is_none()) {
        open.push("that the cluster is still as it was: nothing limits the age".to_owned());
    }
    open.into_iter().map(|text| one_line(&text)).collect()
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
        content_digest: Digest::of(file(case.files().ok()?, MANIFEST).ok()?),
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

fn summary(case: &Case, verdict: Word, reason: Option<Reason>, stages: &[StageReport]) -> String {
    let what = case.evidence.as_ref().map(about).unwrap_or_default();
    match verdict {
        Word::Verified => {
            let time = case.proven_time().map_or_else(|| "no proof of time (bare key)".to_owned(), |time| format!("signed by {time}"));
            format!("verified: {what}; {time}")
        }
        Word::IntactNotVerified => format!("intact, NOT verified (nobody's signature was asked for): {what}"),
        Word::Rejected | Word::Undecided => {
            let word = if verdict == Word::Rejected { "rejected" } else { "undecided" };
            let failed = stages.iter().find(|stage| stage.status == Status::Failed);
            let found = failed.map_or("no stage accepted it", |stage| stage.found.as_str());
            let what = if what.is_empty() { String::new() } else { format!(" — {what}") };
            format!("{word} ({}): {found}{what}", reason.map_or("unsigned", Reason::id))
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
