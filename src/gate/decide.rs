//! From rows to one decision, its exit code, and its first line.

use crate::exit::Exit;
use crate::gate::approvals::ApprovalNote;
use crate::gate::report::{
    Advised, Counts, Decision, FileRow, GateReport, PointerRow, PolicyChange, RecipeRow, RecipeState, RowDecision, What,
};
use crate::gate::rules::Rules;
use crate::gate::sides::Names;
use crate::gate::{Request, profiles, shown};
use crate::recipe::API_VERSION;
use crate::snapshot::Hardware;

/// Pieces of advice that stand at the top of a report; every row has its own.
const ADVICE: usize = 8;
/// Accepted pointers that the first line names.
const NAMED: usize = 3;

/// What was found of a change.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) reasons: Vec<Advised>,
    pub(super) pointers: Vec<PointerRow>,
    pub(super) files: Vec<FileRow>,
    pub(super) recipes: Vec<RecipeRow>,
    pub(super) policy_changes: Vec<PolicyChange>,
    pub(super) approvals: Vec<ApprovalNote>,
}

/// Why something is not accepted, with what it is.
struct Objection<'a> {
    class: Class,
    reason: &'a Advised,
    /// The exit code of this one by itself.
    exit: u8,
}

/// What an objection makes of the decision, the gravest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Refused,
    Undecided,
    Needs,
}

/// Puts the report together.
pub(super) fn report(request: &Request, names: &Names, rules: Option<&Rules>, found: Found) -> GateReport {
    let objections = objections(&found);
    let gravest = objections.iter().map(|objection| objection.class).min();
    let of_class: Vec<&Objection> = objections.iter().filter(|objection| Some(objection.class) == gravest).collect();
    let decision = match gravest {
        Some(Class::Refused) => Decision::Refuse,
        Some(Class::Undecided) => Decision::Undecided,
        Some(Class::Needs) => Decision::NeedsEvidence,
        // Nothing is accepted without a policy, nor where a row is not and fails to say why.
        None if rules.is_none() || open_rows(&found) => Decision::Undecided,
        None => Decision::Accept,
    };
    // As with many pieces of evidence at once: the highest code counts, and the first that has it is named.
    let exit = of_class.iter().map(|objection| objection.exit).max().unwrap_or(0);
    let exit = if decision == Decision::Accept { 0 } else { exit.max(Exit::Failed.code()) };
    let first = of_class.iter().find(|objection| objection.exit == exit);
    let mut advice: Vec<String> = Vec::new();
    for text in of_class.iter().flat_map(|objection| &objection.reason.advice) {
        if !advice.contains(text) && advice.len() < ADVICE {
            advice.push(text.clone());
        }
    }
    let summary = match first {
        Some(first) => {
            let Advised { reason, message, .. } = first.reason;
            let more = if of_class.len() > 1 { format!("; and {}", many(of_class.len() - 1, "more reason")) } else { String::new() };
            format!("{} ({reason}): {message}{more}", decision.word())
        }
        None => format!("{}: {}", decision.word(), accepted(&found)),
    };
    GateReport {
        api_version: API_VERSION.to_owned(),
        kind: "GateReport".to_owned(),
        decision,
        reason: first.map(|first| first.reason.reason),
        exit,
        summary: shown(&summary),
        advice,
        decided_at: request.now,
        base: names.base.clone(),
        head: names.head.clone(),
        merge_base: names.common.clone(),
        policy: rules.map(Rules::used),
        counts: counts(&found),
        not_shown: not_shown(request, &found),
        reasons: found.reasons,
        pointers: found.pointers,
        files: found.files,
        recipes: found.recipes,
        policy_changes: found.policy_changes,
        approvals: found.approvals,
    }
}

/// All that keeps the change from being accepted.
fn objections(found: &Found) -> Vec<Objection<'_>> {
    let class = |decision: RowDecision| match decision {
        RowDecision::Accept => None,
        RowDecision::Refuse => Some(Class::Refused),
        RowDecision::Undecided => Some(Class::Undecided),
    };
    let of = |class: Class, reason: &'_ Advised| -> (Class, u8) { (class, reason.reason.exit().code()) };
    let mut all = Vec::new();
    for reason in &found.reasons {
        let untold = reason.reason.exit() == Exit::Inconclusive;
        let (class, exit) = of(if untold { Class::Undecided } else { Class::Refused }, reason);
        all.push(Objection { class, reason, exit });
    }
    for row in &found.pointers {
        if let (Some(class), Some(reason)) = (class(row.decision), row.reasons.first()) {
            all.push(Objection { class, reason, exit: row.exit });
        }
    }
    for row in &found.files {
        if let (Some(class), Some(reason)) = (class(row.decision), row.reasons.first()) {
            all.push(Objection { class, reason, exit: reason.reason.exit().code() });
        }
    }
    for row in found.recipes.iter().filter(|row| row.blocks) {
        let class = if row.state == RecipeState::Invalid { Class::Refused } else { Class::Needs };
        all.extend(row.reasons.first().map(|reason| Objection { class, reason, exit: reason.reason.exit().code() }));
    }
    all
}

fn open_rows(found: &Found) -> bool {
    let mut decisions = found.pointers.iter().map(|row| row.decision).chain(found.files.iter().map(|row| row.decision));
    decisions.any(|decision| decision != RowDecision::Accept)
}

fn counts(found: &Found) -> Counts {
    let rows = || found.pointers.iter().map(|row| row.decision).chain(found.files.iter().map(|row| row.decision));
    let of = |decision: RowDecision| rows().filter(|one| *one == decision).count();
    Counts {
        accepted: of(RowDecision::Accept),
        refused: of(RowDecision::Refuse),
        undecided: of(RowDecision::Undecided),
        needs_evidence: found.recipes.iter().filter(|row| row.blocks && row.state != RecipeState::Invalid).count(),
    }
}

/// What an acceptance is for, never more than was seen.
fn accepted(found: &Found) -> String {
    let mut parts = Vec::new();
    let verified: Vec<&PointerRow> = found.pointers.iter().filter(|row| row.verified).collect();
    if !verified.is_empty() {
        let about = |row: &&PointerRow| {
            let facts = &row.facts;
            let hardware = facts.hardware.unwrap_or(Hardware::Unknown).word().to_uppercase();
            let scope = facts.scope.as_deref().unwrap_or("unknown");
            format!("{} ({hardware} hardware, {scope} scope)", facts.recipe.as_deref().unwrap_or_default())
        };
        let named: Vec<String> = verified.iter().take(NAMED).map(about).collect();
        let more = if verified.len() > NAMED { format!(" and {} more", verified.len() - NAMED) } else { String::new() };
        parts.push(format!("{} verified: {}{more}", many(verified.len(), "pointer"), named.join(", ")));
    }
    let approved = found.pointers.iter().filter(|row| !row.approved_by.is_empty()).count()
        + found.files.iter().filter(|row| !row.approved_by.is_empty()).count();
    if approved > 0 {
        parts.push(format!("{} approved by an owner", many(approved, "change")));
    }
    let gone = found.pointers.iter().filter(|row| row.change == What::Removed).count();
    if gone > 0 {
        parts.push(format!("{} removed", many(gone, "pointer")));
    }
    if !found.policy_changes.is_empty() {
        parts.push("the policy changes from the next change on".to_owned());
    }
    let in_state = |wanted: &[RecipeState]| found.recipes.iter().filter(|row| wanted.contains(&row.state)).count();
    let (current, lacking) = (in_state(&[RecipeState::Current]), in_state(&[RecipeState::Missing, RecipeState::Drifted]));
    if current > 0 {
        parts.push(format!("{} with current evidence", many(current, "recipe")));
    }
    if lacking > 0 {
        parts.push(format!("{} WITHOUT current evidence, which the policy lets pass", many(lacking, "recipe")));
    }
    if parts.is_empty() {
        return "nothing that concerns evidence or recipes is changed".to_owned();
    }
    parts.join("; ")
}

fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What the decision does not show, whatever it is.
fn not_shown(request: &Request, found: &Found) -> Vec<String> {
    let mut open = vec![format!(
        "that evidence which is there already still holds: it is read, not verified again; `seatrial evidence verify {} --policy {}` does",
        request.evidence, request.policy
    )];
    if found.pointers.iter().any(|row| row.verified) {
        open.push("that a cluster exists: a signature speaks for its signer, who says so".to_owned());
    }
    let by_profile = |row: &RecipeRow| row.changes.iter().any(|change| change.input.starts_with(profiles::INPUT));
    if found.pointers.iter().any(|row| row.verified) && found.recipes.iter().any(by_profile) {
        open.push("that evidence which comes with a vendor profile was made by that profile: evidence does not record it".to_owned());
    }
    if found.approvals.iter().any(|note| note.source == crate::gate::ApprovalSource::Claimed) {
        open.push("that approvals were given which are only claimed by a flag".to_owned());
    }
    open
}

impl GateReport {
    /// True if it is accepted because nothing in it is the gate's concern: there is nothing to tell anybody.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let rows = self.pointers.len() + self.files.len() + self.recipes.len() + self.policy_changes.len() + self.reasons.len();
        self.decision == Decision::Accept && rows == 0
    }

    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::ALL.iter().copied().find(|exit| exit.code() == self.exit).unwrap_or(Exit::Inconclusive)
    }
}
