//! The report as Markdown, each value escaped, for pull requests and step summaries. The first line says decision and reason.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::gate::report::{GateReport, PointerRow, RecipeRow};
use crate::results::markdown::render;

const TEMPLATE: &str = include_str!("report.md.j2");

/// Rows of one table; a report of a change with more says how many are left out, and the JSON has all.
const ROWS: usize = 60;

/// Writes it.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the template fails.
pub fn write(report: &GateReport) -> Result<String> {
    let mut content = serde_json::to_value(report).map_err(|error| Error::internal("write the report as Markdown").because(error))?;
    let (headline, rest) = report.summary.split_once(": ").unwrap_or((&report.summary, ""));
    content["headline"] = headline.into();
    content["rest"] = rest.into();
    content["advice"] = report.advice.clone().into();
    content["pointers"] = report.pointers.iter().take(ROWS).map(pointer).collect();
    content["files"] = report
        .files
        .iter()
        .take(ROWS)
        .map(|row| {
            let why = row.reasons.first().map_or_else(String::new, |first| first.reason.to_string());
            json!({"path": row.path, "change": row.change.word(), "decision": row.decision.word(), "why": why, "approved": row.approved_by.join(", ")})
        })
        .collect();
    content["recipes"] = report.recipes.iter().take(ROWS).map(recipe).collect();
    content["policyChanges"] = report
        .policy_changes
        .iter()
        .take(ROWS)
        .map(|change| json!({"input": change.input, "was": nothing(change.was.as_ref()), "is": nothing(change.is.as_ref())}))
        .collect();
    content["approvals"] = report
        .approvals
        .iter()
        .take(ROWS)
        .map(|note| json!({"by": note.by, "owners": note.owners.join(", "), "source": note.source, "why": note.why_not.clone().unwrap_or_default()}))
        .collect();
    content["why"] = why(report).into();
    let longest = [report.pointers.len(), report.files.len(), report.recipes.len(), report.policy_changes.len(), report.approvals.len()];
    content["leftOut"] = longest.iter().map(|rows| rows.saturating_sub(ROWS)).sum::<usize>().into();
    content["policyPath"] = report.policy.as_ref().map_or("", |policy| policy.path.as_str()).into();
    render(TEMPLATE, content)
}

fn nothing(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "nothing".to_owned())
}

fn pointer(row: &PointerRow) -> Value {
    let facts = &row.facts;
    let word = |word: Option<&str>| word.unwrap_or("–").to_owned();
    let coverage = facts.coverage.as_ref().map_or_else(String::new, |covered| {
        let left =
            if covered.out_of_scope.is_empty() { String::new() } else { format!(", out of scope: {}", covered.out_of_scope.join(", ")) };
        format!("{} of {} passed{left}", covered.passed, covered.selected)
    });
    let drift: Vec<String> = facts.drift.iter().take(5).map(ToString::to_string).collect();
    json!({
        "path": row.path, "change": row.change.word(), "decision": row.decision.word(), "verified": row.verified,
        "recipe": word(facts.recipe.as_deref()), "signer": facts.signers.join(", "), "source": facts.source_repositories.join(", "),
        "oci": word(facts.oci.as_deref()), "hardware": facts.hardware.map_or_else(String::new, |hardware| hardware.word().to_uppercase()),
        "scope": word(facts.scope.as_deref()), "age": word(facts.age.as_deref()), "coverage": coverage,
        "drift": if row.verified && drift.is_empty() { "none".to_owned() } else { drift.join(", ") },
        "why": row.reasons.first().map_or_else(String::new, |first| first.reason.to_string()), "approved": row.approved_by.join(", "),
    })
}

fn recipe(row: &RecipeRow) -> Value {
    let changes: Vec<String> = row.changes.iter().take(5).map(ToString::to_string).collect();
    let more = if row.changes.len() > 5 { format!(" and {} more", row.changes.len() - 5) } else { String::new() };
    json!({
        "name": row.name, "state": row.state.word(), "blocks": row.blocks, "pointers": row.evidence.len(),
        "by": row.affected_by.join(", "), "changes": changes.join(", ") + &more,
    })
}

/// Everything that is wrong, with what to do.
fn why(report: &GateReport) -> Vec<Value> {
    let of = |subject: &str, reasons: &[crate::gate::report::Advised]| -> Vec<Value> {
        reasons.iter().map(|one| json!({"subject": subject, "reason": one.reason, "message": one.message, "advice": one.advice})).collect()
    };
    let rows = report.pointers.iter().map(|row| of(&row.path, &row.reasons));
    let files = report.files.iter().map(|row| of(&row.path, &row.reasons));
    let recipes = report.recipes.iter().map(|row| of(&row.name, &row.reasons));
    std::iter::once(of("", &report.reasons)).chain(rows).chain(files).chain(recipes).flatten().take(ROWS).collect()
}
