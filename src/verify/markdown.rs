//! Reports of verifications as Markdown, each value escaped, safe to show in a pull request.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::results::markdown::render;
use crate::verify::{Status, VerifyReport, VerifyReportList};

const ONE: &str = include_str!("report.md.j2");
const LIST: &str = include_str!("list.md.j2");

/// Writes one report.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the template fails.
pub fn write(report: &VerifyReport) -> Result<String> {
    render(ONE, content(report)?)
}

/// Writes a list: a table, then the reports of those that were not verified.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the template fails.
pub fn write_list(list: &VerifyReportList) -> Result<String> {
    let reports = list.reports.iter().map(content).collect::<Result<Vec<Value>>>()?;
    render(LIST, json!({"verified": list.verified, "all": list.reports.len(), "exit": list.exit, "reports": reports}))
}

fn content(report: &VerifyReport) -> Result<Value> {
    let mut content = serde_json::to_value(report).map_err(|error| Error::internal("write the report as Markdown").because(error))?;
    let words: Vec<&str> = report.stages.iter().map(|stage| stage.status.word()).collect();
    let why: Vec<Value> = report
        .stages
        .iter()
        .flat_map(|stage| stage.reasons.iter().map(|said| json!({"stage": stage.name, "reason": said.reason, "message": said.message})))
        .collect();
    let signers: Vec<Value> = report
        .signatures
        .iter()
        .map(|signature| {
            let why: Vec<&str> = signature.reasons.iter().map(|said| said.reason.id()).collect();
            json!({"by": signature.by.to_string(), "counts": signature.counts, "organisation": signature.organisation.clone().unwrap_or_default(),
                "why": why.join(", ")})
        })
        .collect();
    for (stage, word) in content["stages"].as_array_mut().into_iter().flatten().zip(words) {
        stage["word"] = word.into();
    }
    content["why"] = why.into();
    content["signers"] = signers.into();
    content["hints"] = report.hints.clone().into();
    content["failed"] = report.stages.iter().any(|stage| stage.status == Status::Failed).into();
    content["recipe"] = report.recipe().unwrap_or_default().into();
    content["reasonId"] = report.reason.map_or("", crate::reason::Reason::id).into();
    Ok(content)
}
