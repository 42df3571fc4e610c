//! Who approved the change, held against the owners of the base's policy.

use crate::gate::approvals::{Approval, ApprovalNote, ApprovalSource, Approvals};
use crate::gate::report::{Advised, RowDecision};
use crate::gate::{advised, shown};
use crate::limits;
use crate::reason::{Reason, Said};

/// What approvals come to.
pub(super) struct Standing {
    /// Owners who approved, with whom spoke for them.
    pub(super) owners: Vec<String>,
    /// All approvals, as the report shows them.
    pub(super) notes: Vec<ApprovalNote>,
    /// Why there may be others.
    unknown: Option<String>,
}

/// What becomes of something that needs an approval.
pub(super) struct Ruling {
    pub(super) decision: RowDecision,
    pub(super) reasons: Vec<Advised>,
    pub(super) approved_by: Vec<String>,
}

impl Standing {
    /// Holds approvals against the owners; `commit` is the head's.
    pub(super) fn of(approvals: &Approvals, owners: &[String], commit: Option<&str>) -> Self {
        let mut found: Vec<String> = Vec::new();
        let mut notes = Vec::new();
        for approval in approvals.given.iter().take(limits::GATE_FILES) {
            let (speaks_for, why_not) = judge(approval, owners, commit);
            for owner in &speaks_for {
                let name = if same(owner, &approval.by) { owner.clone() } else { format!("{} for {owner}", shown(&approval.by)) };
                if !found.contains(&name) {
                    found.push(name);
                }
            }
            notes.push(ApprovalNote { by: shown(&approval.by), owners: speaks_for, source: approval.source, why_not });
        }
        Self { owners: found, notes, unknown: approvals.unknown.as_deref().map(shown) }
    }

    /// Accepts what an owner approved; else it is refused for this reason, or undecided if there may be approvals that were not seen.
    pub(super) fn rule(&self, said: Said) -> Ruling {
        if !self.owners.is_empty() {
            return Ruling { decision: RowDecision::Accept, reasons: Vec::new(), approved_by: self.owners.clone() };
        }
        let reason = advised(said);
        match &self.unknown {
            None => Ruling { decision: RowDecision::Refuse, reasons: vec![reason], approved_by: Vec::new() },
            Some(unknown) => {
                let message = format!("{}; approvals could not be read: {unknown}", reason.message);
                let reasons = vec![advised(Said::new(Reason::ApprovalUnknown, message)), reason];
                Ruling { decision: RowDecision::Undecided, reasons, approved_by: Vec::new() }
            }
        }
    }
}

/// For which owners an approval speaks, or why for none.
fn judge(approval: &Approval, owners: &[String], commit: Option<&str>) -> (Vec<String>, Option<String>) {
    if let (Some(approved), Some(head)) = (&approval.commit, commit)
        && approved != head
    {
        return (Vec::new(), Some(format!("it is about {}, and the head is {head}", shown(approved))));
    }
    if approval.source == ApprovalSource::Review && approval.commit.is_none() && commit.is_some() {
        return (Vec::new(), Some("it does not say which commit it is about".to_owned()));
    }
    let names = || std::iter::once(&approval.by).chain(&approval.teams);
    let speaks_for: Vec<String> = owners.iter().filter(|owner| names().any(|name| same(owner, name))).cloned().collect();
    if speaks_for.is_empty() {
        return (speaks_for, Some("the base's policy does not name them in `owners`".to_owned()));
    }
    (speaks_for, None)
}

/// Names of people and teams are the same in any letter case.
fn same(owner: &str, name: &str) -> bool {
    let bare = |name: &str| name.trim_start_matches('@').to_ascii_lowercase();
    !bare(owner).is_empty() && bare(owner) == bare(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(by: &str, teams: &[&str], commit: Option<&str>) -> Approval {
        let teams = teams.iter().map(|team| (*team).to_owned()).collect();
        Approval { by: by.to_owned(), teams, commit: commit.map(str::to_owned), source: ApprovalSource::Review }
    }

    fn standing(given: Vec<Approval>, unknown: Option<&str>) -> Standing {
        let owners = ["@alice".to_owned(), "@example/platform".to_owned()];
        Standing::of(&Approvals { given, unknown: unknown.map(str::to_owned) }, &owners, Some("abc"))
    }

    #[test]
    fn an_owner_or_a_member_of_an_owning_team_approves_the_head_and_nothing_else() {
        let removed = || Said::new(Reason::PointerRemoved, "gone");
        for (given, counts) in [
            (approval("@Alice", &[], Some("abc")), true),
            (Approval { source: ApprovalSource::Claimed, ..approval("alice", &[], None) }, true),
            (approval("@alice", &[], None), false),
            (approval("@bob", &["@example/platform"], Some("abc")), true),
            (approval("@bob", &["@example/other"], Some("abc")), false),
            (approval("@alice", &[], Some("def")), false),
            (approval("@alicf", &[], Some("abc")), false),
            (approval("", &[""], Some("abc")), false),
        ] {
            let standing = standing(vec![given.clone()], None);
            let ruling = standing.rule(removed());
            assert_eq!(ruling.decision == RowDecision::Accept, counts, "{given:?}");
            assert_eq!(standing.notes[0].why_not.is_none(), counts);
        }
        let ruling = standing(Vec::new(), Some("403")).rule(removed());
        assert_eq!((ruling.decision, ruling.reasons[0].reason), (RowDecision::Undecided, Reason::ApprovalUnknown));
        let ruling = standing(vec![approval("@alice", &[], Some("abc"))], Some("403")).rule(removed());
        assert_eq!(ruling.decision, RowDecision::Accept);
    }
}
