//! Pointers that a change brings, each verified to the end with the policy of the base.

use std::sync::Arc;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::evidence::signer::SignedBy;
use crate::evidence::{Evidence, Pointer};
use crate::exit::Exit;
use crate::gate::report::{Advised, Covered, Facts, PointerRow, RowDecision, What};
use crate::gate::{Request, advised, shown};
use crate::limits;
use crate::policy::Policy;
use crate::reason::{Reason, Said};
use crate::recipe::Recipe;
use crate::verify::{self, Expected, Verification, Verified, VerifyReport, Word};

/// A pointer that is to be verified.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) path: String,
    pub(super) change: What,
    /// The folder that it lies in: the recipe that it must be for.
    pub(super) folder: String,
    pub(super) bytes: Arc<[u8]>,
    /// The recipe as it is once the change is merged.
    pub(super) recipe: Arc<Recipe>,
    /// Owners who approved that it takes the place of another.
    pub(super) approved_by: Vec<String>,
}

/// What became of a pointer: accepted is only what was verified.
pub(super) struct Judged {
    pub(super) row: PointerRow,
    /// The evidence, if it was accepted.
    pub(super) evidence: Option<Verified<Evidence>>,
}

/// Verifies all of them, side by side, until the time is over; in the order in which they were given.
pub(super) async fn judge(candidates: Vec<Candidate>, policy: &Arc<Policy>, request: &Request, deadline: Instant) -> Vec<Judged> {
    let checks = Arc::new(request.checks.clone());
    let one = |candidate: Candidate| {
        let asked = verify::Request {
            pointer: Some(candidate.bytes.clone()),
            root: request.root.clone(),
            cache: request.cache.clone(),
            recipe: Some(candidate.recipe.clone()),
            checks: Some(checks.clone()),
            now: request.now,
            ..verify::Request::new(candidate.path.clone(), Expected::Policy(policy.clone()), request.registry.clone())
        };
        async move {
            // Hashing takes a core, so that each has a task of its own, which ends with the time.
            let task = AbortOnDropHandle::new(tokio::spawn(verify::verify(asked)));
            let ended = tokio::time::timeout_at(deadline, task).await;
            judged(&candidate, ended.map(|ended| ended.map_err(|error| error.to_string())).ok(), request)
        }
    };
    stream::iter(candidates).map(one).buffered(limits::POINTERS_PARALLEL).collect().await
}

/// A row that nothing is known of but what the pointer claims.
pub(super) fn row(path: String, change: What, bytes: Option<&[u8]>, now: Timestamp) -> PointerRow {
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let pointer = Pointer::parse(text, &path).ok();
    PointerRow {
        line: pointer.as_ref().and_then(|pointer| line(text, pointer)),
        facts: pointer.as_ref().map(|pointer| claimed(pointer, None, now)).unwrap_or_default(),
        path,
        change,
        decision: RowDecision::Refuse,
        exit: Exit::Inconclusive.code(),
        reasons: Vec::new(),
        approved_by: Vec::new(),
        verified: false,
    }
}

fn judged(candidate: &Candidate, ended: Option<Result<Verification, String>>, request: &Request) -> Judged {
    let mut row = row(candidate.path.clone(), candidate.change, Some(&candidate.bytes), request.now);
    let mut fill = |decision: RowDecision, exit: Exit, reasons: Vec<Advised>| {
        row.decision = decision;
        row.exit = exit.code();
        row.reasons = reasons;
    };
    let verification = match ended {
        Some(Ok(verification)) => verification,
        Some(Err(why)) => {
            fill(RowDecision::Undecided, Exit::Inconclusive, vec![advised(Said::new(Reason::Undecided, shown(&why)))]);
            return Judged { row, evidence: None };
        }
        None => {
            let message = format!("it was not verified within the {} s that all pointers together may take", request.limit.as_secs());
            fill(RowDecision::Undecided, Exit::Timeout, vec![advised(Said::new(Reason::Timeout, message))]);
            return Judged { row, evidence: None };
        }
    };
    let Verification { report, exit, evidence } = verification;
    let reasons = reasons(&report);
    match &evidence {
        Some(_) if exit == Exit::Ok => fill(RowDecision::Accept, exit, Vec::new()),
        _ if is_open(&report) => fill(RowDecision::Undecided, exit, reasons),
        _ => fill(RowDecision::Refuse, exit, reasons),
    }
    row.facts = facts(&report, request.now).unwrap_or(row.facts);
    row.verified = report.verified.is_some();
    row.approved_by.clone_from(&candidate.approved_by);
    let misplaced = row.facts.recipe.as_ref().filter(|recipe| **recipe != candidate.folder);
    if let (RowDecision::Accept, Some(recipe)) = (row.decision, misplaced) {
        // Looked at before anything is fetched; what was verified is held against the folder once more.
        let message = format!("it is about {recipe} and lies in the folder of {}", candidate.folder);
        row.decision = RowDecision::Refuse;
        row.exit = Reason::PointerMisplaced.exit().code();
        row.reasons = vec![advised(Said::new(Reason::PointerMisplaced, message))];
    }
    let evidence = evidence.filter(|_| row.decision == RowDecision::Accept);
    Judged { row, evidence }
}

/// True if it could not be told; a bundle that is nowhere is the fault of whoever points to it.
fn is_open(report: &VerifyReport) -> bool {
    match report.reason {
        Some(Reason::Usage) => false,
        Some(Reason::Undecided) | None => true,
        Some(_) => report.verdict == Word::Undecided,
    }
}

/// The reasons of a report, the deciding one with the report's hints.
fn reasons(report: &VerifyReport) -> Vec<Advised> {
    let mut all: Vec<Advised> =
        report.stages.iter().flat_map(|stage| &stage.reasons).map(|said| advised(Said::new(said.reason, shown(&said.message)))).collect();
    match all.first_mut() {
        // What the verification itself says is nearer to the matter.
        Some(first) if !report.hints.is_empty() => first.advice = report.hints.iter().map(|hint| shown(hint)).collect(),
        Some(_) => {}
        None => all.push(advised(Said::new(Reason::Undecided, "no stage accepted it, and none said why"))),
    }
    all
}

/// What was verified, or what the bundle claims.
fn facts(report: &VerifyReport, now: Timestamp) -> Option<Facts> {
    let Some(verified) = &report.verified else {
        return report.claimed.pointer.as_ref().map(|pointer| claimed(pointer, report.claimed.evidence.as_ref(), now));
    };
    let counts = report.signatures.iter().filter(|signature| signature.counts);
    let mut organisations: Vec<String> = counts.filter_map(|signature| signature.organisation.as_deref().map(shown)).collect();
    organisations.sort();
    organisations.dedup();
    let repository = report.claimed.pointer.as_ref().map(|pointer| pointer.bundle.repository.as_str()).unwrap_or_default();
    let mut facts = of_evidence(&verified.evidence, now);
    facts.signers = verified.signers.iter().map(|signer| shown(&signer.to_string())).collect();
    facts.organisations = organisations;
    facts.source_repositories = verified.signers.iter().filter_map(source).collect();
    facts.oci = Some(shown(&format!("{repository}@{}", verified.digest)));
    facts.result = Some(verified.result.clone());
    facts.proven_at = verified.time.proven;
    if let Some(coverage) = &mut facts.coverage {
        coverage.out_of_scope = verified.out_of_scope.iter().map(|check| shown(check)).collect();
    }
    facts.drift = report.drift.iter().take(limits::GATE_FILES).map(super::shown_change).collect();
    Some(facts)
}

fn of_evidence(evidence: &Evidence, now: Timestamp) -> Facts {
    let counts = evidence.counts;
    Facts {
        recipe: Some(shown(&evidence.recipe.name)),
        hardware: Some(evidence.hardware),
        scope: Some(evidence.scope.word().to_owned()),
        finished_at: Some(evidence.finished_at),
        age: Some(words(now.duration_since(evidence.finished_at))),
        coverage: Some(Covered { selected: counts.selected, passed: counts.pass, failed: counts.fail, out_of_scope: Vec::new() }),
        ..Facts::default()
    }
}

fn claimed(pointer: &Pointer, evidence: Option<&Evidence>, now: Timestamp) -> Facts {
    let signatures = pointer.signatures.iter().take(limits::SIGNATURES);
    let who = |signature: &crate::evidence::pointer::SignatureRef| match (&signature.identity, &signature.issuer, &signature.key) {
        (Some(identity), Some(issuer), _) => Some(shown(&format!("{identity} ({issuer})"))),
        (Some(identity), None, _) => Some(shown(identity)),
        (None, _, Some(key)) => Some(format!("key {key}")),
        _ => None,
    };
    Facts {
        recipe: Some(shown(&pointer.recipe.name)),
        signers: signatures.clone().filter_map(who).collect(),
        source_repositories: signatures.filter_map(|signature| signature.source_repository.as_deref().map(shown)).collect(),
        oci: Some(shown(&format!("{}@{}", pointer.bundle.repository, pointer.bundle.digest))),
        hardware: Some(pointer.hardware),
        ..evidence.map(|evidence| of_evidence(evidence, now)).unwrap_or_default()
    }
}

fn source(signer: &SignedBy) -> Option<String> {
    match signer {
        SignedBy::Certificate(certificate) => certificate.claims.source_repository.as_deref().map(shown),
        SignedBy::Key(_) => None,
    }
}

/// The line of the bundle's digest.
fn line(text: &str, pointer: &Pointer) -> Option<u32> {
    let at = text.lines().position(|line| line.contains(pointer.bundle.digest.hex()))?;
    u32::try_from(at + 1).ok()
}

/// A length of time for people.
fn words(long: SignedDuration) -> String {
    let word = |count: i64, unit: &str| if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") };
    match long.as_secs() {
        seconds if seconds < 0 => "in the future".to_owned(),
        seconds @ 0..3600 => word(seconds / 60, "minute"),
        seconds @ 3600..172_800 => word(seconds / 3600, "hour"),
        seconds => word(seconds / 86_400, "day"),
    }
}
