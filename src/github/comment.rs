//! A gate's report as GitHub shows it: comment, check run and step summary. The first line says decision and reason; every value is escaped.

use serde_json::{Value, json};

use crate::error::Result;
use crate::gate::GateReport;
use crate::gate::report::{Advised, Facts, FileRow, PointerRow, Side};
use crate::results::markdown::render;
use crate::snapshot::Hardware;

/// The first line of our comment, by which it is found again.
pub const MARKER: &str = "<!-- seatrial: evidence gate -->";

const TEMPLATE: &str = include_str!("comment.md.j2");

/// Rows that are shown of each table, until everything fits.
const ROWS: &[usize] = &[1000, 300, 100, 50, 20, 10, 3, 0];

/// Writes the report within so many bytes, by leaving rows out and saying how many.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the template fails.
pub fn write(report: &GateReport, limit: usize) -> Result<String> {
    let mut text = String::new();
    for rows in ROWS {
        text = render(TEMPLATE, content(report, *rows))?;
        if text.len() <= limit {
            return Ok(text);
        }
    }
    // Texts of the report are bounded, so that this is not reached.
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= limit).last().unwrap_or_default();
    text.truncate(end);
    Ok(text)
}

/// The title of a check run: decision and reason.
#[must_use]
pub fn title(report: &GateReport) -> String {
    let reason = report.reason.map(|reason| format!(": {}", reason.id())).unwrap_or_default();
    format!("{}{reason}", report.decision.word())
}

fn content(report: &GateReport, rows: usize) -> Value {
    let trouble_first = |row: &&PointerRow| row.decision.word() == "accept";
    let mut pointers: Vec<&PointerRow> = report.pointers.iter().collect();
    pointers.sort_by_key(trouble_first);
    let mut files: Vec<&FileRow> = report.files.iter().collect();
    files.sort_by_key(|row| row.decision.word() == "accept");
    let recipes: Vec<Value> = report
        .recipes
        .iter()
        .take(rows)
        .map(|row| json!({"name": row.name, "state": row.state.word(), "blocks": if row.blocks { "yes" } else { "no" }, "affected": few(&row.affected_by)}))
        .collect();
    let left = [pointers.len(), files.len(), report.recipes.len()].iter().map(|length| length.saturating_sub(rows)).sum::<usize>();
    let approvals: Vec<String> = report
        .approvals
        .iter()
        .take(rows)
        .map(|note| {
            let counts = note
                .why_not
                .as_ref()
                .map_or_else(|| format!("speaks for {}", note.owners.join(", ")), |why| format!("does not count, {why}"));
            format!("{} {counts}", note.by)
        })
        .collect();
    let changes: Vec<Value> = report
        .policy_changes
        .iter()
        .take(rows)
        .map(
            |change| json!({"input": change.input, "was": change.was.as_deref().unwrap_or("-"), "is": change.is.as_deref().unwrap_or("-")}),
        )
        .collect();
    json!({
        "decision": report.decision.word(), "reason": report.reason.map(crate::reason::Reason::id), "summary": report.summary.split_once(": ").map_or(report.summary.as_str(), |(_, rest)| rest),
        "advice": report.advice.iter().take(rows.max(3)).collect::<Vec<_>>(),
        "reasons": report.reasons.iter().take(rows.max(3)).collect::<Vec<_>>(),
        "pointers": pointers.iter().take(rows).map(|row| pointer(row)).collect::<Vec<_>>(),
        "files": files.iter().take(rows).map(|row| json!({"path": row.path, "change": row.change.word(), "word": word(row.decision.word(), &row.reasons)})).collect::<Vec<_>>(),
        "recipes": recipes, "left": left,
        "details": details(report, rows),
        "policyChanges": changes, "approvals": approvals,
        "base": side(&report.base), "head": side(&report.head), "baseName": report.base.name,
        "policy": report.policy.as_ref().map_or_else(|| "none".to_owned(), |policy| format!("{} ({})", policy.path, policy.digest.short())),
        "decided": report.decided_at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    })
}

fn pointer(row: &PointerRow) -> Value {
    let Facts { signers, source_repositories, hardware, scope, age, coverage, .. } = &row.facts;
    // What nobody vouches for must not look as if somebody did.
    let told = |text: String| match (row.verified, text.is_empty()) {
        (_, true) => "-".to_owned(),
        (true, false) => text,
        (false, false) => format!("claims {text}"),
    };
    let coverage = coverage.as_ref().map(|covered| {
        let left = if covered.out_of_scope.is_empty() { String::new() } else { format!(", {} left out", covered.out_of_scope.len()) };
        format!("{} of {} passed{left}", covered.passed, covered.selected)
    });
    json!({
        "path": row.path, "word": word(row.decision.word(), &row.reasons),
        "signers": told(few(signers)), "sources": told(few(source_repositories)),
        "hardware": told(hardware.map(Hardware::word).unwrap_or_default().to_owned()),
        "scope": told(scope.clone().unwrap_or_default()), "age": told(age.clone().unwrap_or_default()),
        "coverage": told(coverage.unwrap_or_default()),
    })
}

/// The decision on a file, with the first reason.
fn word(decision: &str, reasons: &[Advised]) -> String {
    reasons.first().map_or_else(|| decision.to_owned(), |said| format!("{decision}: {}", said.reason.id()))
}

/// What is said of each file that is not accepted, and where the evidence is.
fn details(report: &GateReport, rows: usize) -> Vec<Value> {
    let said = |reasons: &[Advised]| -> Vec<String> {
        reasons
            .iter()
            .flat_map(|said| std::iter::once(format!("{}: {}", said.reason.id(), said.message)).chain(said.advice.iter().cloned()))
            .collect()
    };
    let approved = |by: &[String]| (!by.is_empty()).then(|| format!("approved by {}", by.join(", ")));
    let pointers = report.pointers.iter().map(|row| {
        let mut lines = said(&row.reasons);
        lines.extend(approved(&row.approved_by));
        lines.extend(row.facts.drift.iter().take(5).map(|drift| format!("the recipe has changed: {drift}")));
        (row.path.clone(), row.facts.oci.clone(), lines)
    });
    let files = report.files.iter().map(|row| {
        let mut lines = said(&row.reasons);
        lines.extend(approved(&row.approved_by));
        (row.path.clone(), None, lines)
    });
    let recipes = report.recipes.iter().map(|row| {
        let mut lines = said(&row.reasons);
        lines.extend(row.changes.iter().take(5).map(|change| format!("this change: {change}")));
        (row.name.clone(), None, lines)
    });
    let all = pointers.chain(files).chain(recipes).filter(|(_, oci, lines)| oci.is_some() || !lines.is_empty());
    all.take(rows).map(|(path, oci, lines)| json!({"path": path, "oci": oci.unwrap_or_default(), "lines": lines})).collect()
}

/// A list, cut where it is long.
fn few(all: &[String]) -> String {
    match all {
        [first, second, third, rest @ ..] if !rest.is_empty() => format!("{first}, {second}, {third} and {} more", rest.len()),
        _ => all.join(", "),
    }
}

fn side(side: &Side) -> String {
    side.commit.as_ref().map_or_else(|| side.name.clone(), |commit| commit.chars().take(12).collect())
}
