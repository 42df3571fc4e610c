//! The report for people: a few aligned lines, the decision first.

use crate::gate::report::{Advised, Decision, GateReport, PointerRow, RecipeRow, RowDecision};
use crate::snapshot::Hardware;

/// What a line says, for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something holds.
    Good,
    /// Something is wrong.
    Bad,
    /// Something could not be told, or is missing.
    Doubtful,
    /// Of less interest.
    Plain,
}

/// The lines of a report.
#[must_use]
pub fn lines(report: &GateReport) -> Vec<(Weight, String)> {
    let mut lines = vec![(of(report.decision), report.summary.clone())];
    let policy = report.policy.as_ref().map_or_else(String::new, |policy| format!(", by {} of the base", policy.path));
    lines.push((Weight::Plain, format!("  {} into {}{policy}     exit {}", report.head.name, report.base.name, report.exit)));
    for row in &report.pointers {
        lines.push((of_row(row.decision), format!("  {:<9} {} {}{}", row.decision.word(), row.path, row.change.word(), about(row))));
        lines.extend(reasons(&row.reasons));
        lines.extend(approved(&row.approved_by));
    }
    for row in &report.files {
        lines.push((of_row(row.decision), format!("  {:<9} {} {}", row.decision.word(), row.path, row.change.word())));
        lines.extend(reasons(&row.reasons));
        lines.extend(approved(&row.approved_by));
    }
    for reason in &report.reasons {
        lines.extend(reasons(std::slice::from_ref(reason)));
    }
    for change in &report.policy_changes {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        lines.push((Weight::Doubtful, format!("  policy    {}: from {} to {}", change.input, value(&change.was), value(&change.is))));
    }
    for row in &report.recipes {
        lines.push(recipe(row));
        for change in &row.changes {
            lines.push((Weight::Plain, format!("            {change}")));
        }
        lines.extend(reasons(&row.reasons));
    }
    for note in &report.approvals {
        let what = note.why_not.as_ref().map_or_else(|| format!("for {}", note.owners.join(", ")), |why| format!("does not count: {why}"));
        lines.push((Weight::Plain, format!("  approval  {} ({}) {what}", note.by, note.source.word())));
    }
    lines.extend(report.not_shown.iter().map(|open| (Weight::Plain, format!("  not shown: {open}"))));
    lines
}

fn of(decision: Decision) -> Weight {
    match decision {
        Decision::Accept => Weight::Good,
        Decision::Refuse => Weight::Bad,
        Decision::NeedsEvidence | Decision::Undecided => Weight::Doubtful,
    }
}

fn of_row(decision: RowDecision) -> Weight {
    match decision {
        RowDecision::Accept => Weight::Good,
        RowDecision::Refuse => Weight::Bad,
        RowDecision::Undecided => Weight::Doubtful,
    }
}

/// Who signed what, as far as it was verified.
fn about(row: &PointerRow) -> String {
    let facts = &row.facts;
    if !row.verified {
        return String::new();
    }
    let hardware = facts.hardware.unwrap_or(Hardware::Unknown).word().to_uppercase();
    let scope = facts.scope.as_deref().unwrap_or("unknown");
    let age = facts.age.as_deref().unwrap_or("of unknown age");
    format!(
        "; {} by {}, {hardware} hardware, {scope} scope, {age} old",
        facts.result.as_deref().unwrap_or_default(),
        facts.signers.join(", ")
    )
}

fn recipe(row: &RecipeRow) -> (Weight, String) {
    let weight = if row.blocks { Weight::Doubtful } else { Weight::Plain };
    let evidence = row.evidence.len();
    let by = if row.affected_by.is_empty() { String::new() } else { format!(", affected by {}", row.affected_by.join(", ")) };
    let blocks = if row.blocks { ", which blocks" } else { "" };
    (weight, format!("  recipe    {}: evidence {}{blocks} ({evidence} pointers{by})", row.name, row.state.word()))
}

fn reasons(reasons: &[Advised]) -> Vec<(Weight, String)> {
    let mut lines = Vec::new();
    for one in reasons {
        lines.push((Weight::Plain, format!("            {}: {}", one.reason, one.message)));
        lines.extend(one.advice.iter().map(|advice| (Weight::Plain, format!("            hint: {advice}"))));
    }
    lines
}

fn approved(by: &[String]) -> Option<(Weight, String)> {
    (!by.is_empty()).then(|| (Weight::Plain, format!("            approved by {}", by.join(", "))))
}
