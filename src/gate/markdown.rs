//! The report as Markdown, for pull requests, check runs and step summaries. The first line says decision and reason; every value is escaped.

use serde_json::{Value, json};

use crate::error::Result;
use crate::gate::report::{Advised, Decision, Facts, FileRow, GateReport, PointerRow, RecipeRow, Side, What};
use crate::results::markdown::render;
use crate::snapshot::Hardware;

const TEMPLATE: &str = include_str!("report.md.j2");

/// Rows that are shown of each table, until everything fits.
const ROWS: &[usize] = &[1000, 300, 100, 50, 20, 10, 3, 0];
/// Changes of one recipe that a cell names.
const NAMED: usize = 3;
/// Digits of a digest that a cell shows; the whole path stands below the table.
const DIGITS: usize = 12;

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

fn content(report: &GateReport, rows: usize) -> Value {
    let accepted = |decision: &str| decision == "accept";
    let mut pointers: Vec<&PointerRow> = report.pointers.iter().collect();
    pointers.sort_by_key(|row| accepted(row.decision.word()));
    let mut files: Vec<&FileRow> = report.files.iter().collect();
    files.sort_by_key(|row| accepted(row.decision.word()));
    let mut recipes: Vec<&RecipeRow> = report.recipes.iter().collect();
    recipes.sort_by_key(|row| !row.blocks);
    let lengths = [pointers.len(), files.len(), recipes.len(), report.policy_changes.len(), report.approvals.len()];
    let nothing = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let changes = report.policy_changes.iter().take(rows);
    json!({
        "decision": report.decision.word(), "reason": report.reason.map(crate::reason::Reason::id),
        "summary": report.summary.split_once(": ").map_or(report.summary.as_str(), |(_, rest)| rest),
        "advice": report.advice.iter().take(rows.max(3)).map(|line| parts(line)).collect::<Vec<_>>(),
        "reasons": report.reasons.iter().take(rows.max(3)).collect::<Vec<_>>(),
        "pointers": pointers.iter().take(rows).map(|row| pointer(row)).collect::<Vec<_>>(),
        "files": files.iter().take(rows).map(|row| json!({"path": row.path, "word": word(row.decision.word(), row.change, &row.reasons)})).collect::<Vec<_>>(),
        "recipes": recipes.iter().take(rows).map(|row| recipe(row)).collect::<Vec<_>>(),
        "left": lengths.iter().map(|length| length.saturating_sub(rows)).sum::<usize>(),
        "details": details(&pointers, &files, &recipes, rows), "open": report.decision != Decision::Accept,
        "policyChanges": changes.map(|change| json!({"input": change.input, "was": nothing(&change.was), "is": nothing(&change.is)})).collect::<Vec<_>>(),
        "approvals": report.approvals.iter().take(rows).map(|note| {
            let counts = note.why_not.as_ref().map_or_else(|| format!("speaks for {}", note.owners.join(", ")), |why| format!("does not count, {why}"));
            parts(&format!("{} ({}) {counts}", note.by, note.source.word()))
        }).collect::<Vec<_>>(),
        "notShown": report.not_shown.iter().map(|open| parts(open)).collect::<Vec<_>>(),
        "base": side(&report.base), "head": side(&report.head),
        "policy": report.policy.as_ref().map_or_else(|| "none".to_owned(), |policy| format!("{} ({})", policy.path, policy.digest.short())),
        "decided": report.decided_at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    })
}

fn pointer(row: &PointerRow) -> Value {
    let Facts { hardware, scope, age, coverage, drift, .. } = &row.facts;
    let coverage = coverage.as_ref().map(|covered| {
        let left = if covered.out_of_scope.is_empty() { String::new() } else { format!(", {} left out", covered.out_of_scope.len()) };
        format!("{} of {} passed{left}", covered.passed, covered.selected)
    });
    let hardware = hardware.map(|hardware| if hardware == Hardware::Real { "real".to_owned() } else { hardware.word().to_uppercase() });
    let drift = match (row.verified, drift.len()) {
        (false, _) => "–".to_owned(),
        (true, 0) => "unchanged".to_owned(),
        (true, changes) => format!("{changes} changed"),
    };
    json!({
        "path": brief(&row.path), "word": word(row.decision.word(), row.change, &row.reasons), "drift": drift,
        "hardware": told(row, hardware), "scope": told(row, scope.clone()), "age": told(row, age.clone()), "coverage": told(row, coverage),
    })
}

/// What nobody vouches for must not look as if somebody did.
fn told(row: &PointerRow, text: Option<String>) -> String {
    match (row.verified, text.filter(|text| !text.is_empty())) {
        (_, None) => "–".to_owned(),
        (true, Some(text)) => text,
        (false, Some(text)) => format!("claims {text}"),
    }
}

fn recipe(row: &RecipeRow) -> Value {
    let changes: Vec<String> = row.changes.iter().map(ToString::to_string).collect();
    let pointers = match row.evidence.len() {
        0 => String::new(),
        1 => " (1 pointer)".to_owned(),
        many => format!(" ({many} pointers)"),
    };
    json!({
        "name": row.name, "state": format!("{}{pointers}", row.state.word()), "blocks": if row.blocks { "yes" } else { "no" },
        "changes": few(&changes), "by": few(&row.affected_by),
    })
}

/// The decision on a file, with the first reason and what was done to it.
fn word(decision: &str, change: What, reasons: &[Advised]) -> String {
    let done = if change == What::Added { String::new() } else { format!(" ({})", change.word()) };
    reasons.first().map_or_else(|| format!("{decision}{done}"), |said| format!("{decision}: {}{done}", said.reason.id()))
}

/// What is said of each file and recipe, with what does not fit a table.
fn details(pointers: &[&PointerRow], files: &[&FileRow], recipes: &[&RecipeRow], rows: usize) -> Vec<Value> {
    let line = |label: &str, text: &str| json!({"label": label, "text": parts(text)});
    let said = |reasons: &[Advised]| -> Vec<Value> {
        let one = |said: &Advised| {
            let advice = said.advice.iter().map(|advice| line("", advice));
            std::iter::once(line(said.reason.id(), &said.message)).chain(advice).collect::<Vec<_>>()
        };
        reasons.iter().flat_map(one).collect()
    };
    let approved = |by: &[String]| (!by.is_empty()).then(|| line("approved by", &by.join(", ")));
    let of_pointer = |row: &&PointerRow| {
        let facts = &row.facts;
        let mut lines = said(&row.reasons);
        lines.extend(approved(&row.approved_by));
        for (label, values) in [("signed by", &facts.signers), ("source repository", &facts.source_repositories)] {
            if !values.is_empty() {
                lines.push(line(label, &told(row, Some(few(values)))));
            }
        }
        lines.extend(facts.oci.iter().map(|oci| line("bundle", oci)));
        let left = facts.coverage.as_ref().map(|covered| covered.out_of_scope.as_slice()).unwrap_or_default();
        if !left.is_empty() {
            lines.push(line("left out", &left.join(", ")));
        }
        lines.extend(facts.drift.iter().take(5).map(|drift| line("the recipe has changed", &drift.to_string())));
        (row.path.clone(), lines)
    };
    let of_file = |row: &&FileRow| {
        let mut lines = said(&row.reasons);
        lines.extend(approved(&row.approved_by));
        (row.path.clone(), lines)
    };
    let of_recipe = |row: &&RecipeRow| {
        let mut lines = said(&row.reasons);
        lines.extend(row.changes.iter().skip(NAMED).take(5).map(|change| line("also changed", &change.to_string())));
        (format!("recipe {}", row.name), lines)
    };
    let all = pointers.iter().map(of_pointer).chain(files.iter().map(of_file)).chain(recipes.iter().map(of_recipe));
    all.filter(|(_, lines)| !lines.is_empty()).take(rows).map(|(path, lines)| json!({"path": path, "lines": lines})).collect()
}

/// A text in parts, those between backticks as code; each part is escaped where it is written.
fn parts(text: &str) -> Vec<Value> {
    let pieces: Vec<&str> = text.split('`').collect();
    // What is opened and not closed is text.
    if pieces.len().is_multiple_of(2) {
        return vec![json!({"space": false, "code": false, "text": text})];
    }
    let begins = |piece: &str| piece.starts_with(char::is_whitespace);
    let ends = |piece: &str| piece.ends_with(char::is_whitespace);
    let part = |(at, piece): (usize, &&str)| {
        let before = at.checked_sub(1).map(|before| pieces[before]);
        let space = before.is_some_and(|before| begins(piece) || ends(before));
        (!piece.trim().is_empty()).then(|| json!({"space": space, "code": at % 2 == 1, "text": piece}))
    };
    pieces.iter().enumerate().filter_map(part).collect()
}

/// A list, cut where it is long.
fn few(all: &[String]) -> String {
    match all.get(NAMED..) {
        Some(rest) if !rest.is_empty() => format!("{} and {} more", all[..NAMED].join(", "), rest.len()),
        _ => all.join(", "),
    }
}

/// A pointer's recipe with the beginning of its digest.
fn brief(path: &str) -> String {
    let digits = path.rsplit_once("/sha256-").and_then(|(folder, rest)| Some((folder, rest.strip_suffix(".yaml")?)));
    match digits.filter(|(_, digits)| digits.len() == 64 && digits.is_ascii()) {
        Some((folder, digits)) => {
            let recipe = folder.rsplit('/').next().unwrap_or(folder);
            format!("{recipe}, sha256-{}…", &digits[..DIGITS])
        }
        None => path.to_owned(),
    }
}

fn side(side: &Side) -> String {
    match &side.commit {
        // A commit that is named by its id is known by the beginning of it.
        Some(commit) if side.name == *commit => commit.chars().take(DIGITS).collect(),
        _ => side.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_code_and_what_is_not_closed_is_text() {
        let shape = |text: &str| -> Vec<(bool, bool, String)> {
            let part =
                |part: Value| (part["space"] == true, part["code"] == true, part["text"].as_str().unwrap_or_default().trim().to_owned());
            parts(text).into_iter().map(part).collect()
        };
        let expected =
            [(false, false, "run".to_owned()), (true, true, "seatrial run".to_owned()), (false, false, ", then commit".to_owned())];
        assert_eq!(shape("run `seatrial run`, then commit"), expected);
        assert_eq!(shape("a ` b"), [(false, false, "a ` b".to_owned())]);
        assert_eq!(shape("`x` y"), [(false, true, "x".to_owned()), (true, false, "y".to_owned())]);
    }

    #[test]
    fn a_long_name_is_known_by_its_beginning() {
        assert_eq!(brief(&format!("evidence/h100/sha256-{}.yaml", "a".repeat(64))), "h100, sha256-aaaaaaaaaaaa…");
        assert_eq!(brief("evidence/h100/sha256-ä.yaml"), "evidence/h100/sha256-ä.yaml");
        assert_eq!(few(&["a", "b", "c", "d"].map(str::to_owned)), "a, b, c and 1 more");
    }
}
