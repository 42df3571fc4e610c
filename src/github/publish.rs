//! Tells a pull request what the gate came to: a check run with annotations, and one comment that is kept up to date.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::gate::report::PointerRow;
use crate::gate::{Decision, GateReport, markdown};
use crate::github::{Api, Event, Subject};
use crate::limits;

/// The check run's name, which branch rules can require.
pub const CHECK: &str = "seatrial evidence";

/// The first line of our comment, by which it is found again.
pub const MARKER: &str = "<!-- seatrial: evidence gate -->";

/// The title of a check run: decision and reason.
#[must_use]
pub fn title(report: &GateReport) -> String {
    let reason = report.reason.map(|reason| format!(": {}", reason.id())).unwrap_or_default();
    format!("{}{reason}", report.decision.word())
}

/// What was told, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// In words: `check run`, `comment`.
    pub done: Vec<String>,
    /// What the token may not do, or what GitHub did not take.
    pub left_out: Vec<String>,
    /// Annotations that are on no check run.
    pub annotations: Vec<Annotation>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.done.is_empty() { "the step summary only".to_owned() } else { self.done.join(", ") };
        write!(f, "reported as {done}")?;
        if self.left_out.is_empty() { Ok(()) } else { write!(f, "; left out: {}", self.left_out.join("; ")) }
    }
}

/// A note at a line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Annotation {
    /// The file.
    pub path: String,
    /// The line.
    pub start_line: u32,
    /// The same.
    pub end_line: u32,
    /// `failure`.
    pub annotation_level: &'static str,
    /// The reason.
    pub title: String,
    /// What was seen, and what to do.
    pub message: String,
}

#[derive(Deserialize)]
struct Made {
    id: u64,
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: Option<String>,
    user: Option<User>,
    author_association: Option<String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "type")]
    kind: String,
}

/// Tells it. What the token may not do is left out and named; so is what GitHub refuses, as the decision stands without it.
///
/// # Errors
/// An internal error if the text cannot be written.
pub async fn tell(api: &Api, event: &Event, report: &GateReport) -> Result<Told> {
    let text = markdown::write(report, limits::GITHUB_TEXT_BYTES - MARKER.len() - 1)?;
    let annotations = annotations(report);
    let mut told = Told::default();
    match event.change() {
        Some((_, head)) => match check_run(api, event, head, report, &text, &annotations).await {
            Ok(()) => told.done.push("check run".to_owned()),
            Err(error) => {
                told.left_out.push(error.chain());
                told.annotations = annotations;
            }
        },
        None => told.annotations = annotations,
    }
    // The merge queue has no reader.
    if let Subject::PullRequest(pull) = &event.subject {
        match one_comment(api, event, pull.number, &format!("{MARKER}\n{text}"), !report.is_idle()).await {
            Ok(true) => told.done.push("comment".to_owned()),
            Ok(false) => {}
            Err(error) => told.left_out.push(error.chain()),
        }
    }
    Ok(told)
}

/// Anything but an acceptance has to keep a required check from passing; GitHub lets `neutral` and `skipped` pass.
fn conclusion(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "success",
        Decision::NeedsEvidence => "action_required",
        Decision::Refuse | Decision::Undecided => "failure",
    }
}

async fn check_run(api: &Api, event: &Event, head: &str, report: &GateReport, text: &str, annotations: &[Annotation]) -> Result<()> {
    let doing = format!("make the check run on {head} of {}", event.repository);
    let output = |annotations: &[Annotation]| -> Value { json!({"title": title(report), "summary": text, "annotations": annotations}) };
    let mut pieces = annotations.chunks(limits::GITHUB_ANNOTATIONS);
    let first = pieces.next().unwrap_or_default();
    let body = json!({
        "name": CHECK, "head_sha": head, "status": "completed", "conclusion": conclusion(report.decision), "output": output(first),
    });
    let path = format!("/repos/{}/check-runs", event.repository);
    // Of two with one name on one commit the later counts.
    let made: Made = api.make(&doing, &path, &body).await?;
    for piece in pieces {
        let _: Made = api.patch(&doing, &format!("{path}/{}", made.id), &json!({"output": output(piece)})).await?;
    }
    Ok(())
}

/// Writes our comment: the one that is there, else a new one if there is something to say; further ones of ours are removed. True if there is one.
async fn one_comment(api: &Api, event: &Event, number: u64, body: &str, anything: bool) -> Result<bool> {
    let repository = &event.repository;
    let doing = format!("write the comment of pull request {number} of {repository}");
    let body = json!({"body": body});
    let list = format!("/repos/{repository}/issues/{number}/comments");
    let mut ours = ours(api.list(&doing, &list).await?);
    if ours.is_empty() && !anything {
        return Ok(false);
    }
    if ours.is_empty() {
        match api.create::<Made>(&doing, &list, &body).await {
            // Only GitHub knows whether it took this one: looked at once more, it is not made twice.
            Err(error) if error.kind() == Kind::Unavailable => ours = self::ours(api.list(&doing, &list).await?),
            made => return made.map(|_| true),
        }
    }
    let at = |id: u64| format!("/repos/{repository}/issues/comments/{id}");
    let Some((first, others)) = ours.split_first() else {
        return api.create::<Made>(&doing, &list, &body).await.map(|_| true);
    };
    let _: Made = api.patch(&doing, &at(*first), &body).await?;
    for other in others {
        api.delete(&doing, &at(*other)).await?;
    }
    Ok(true)
}

/// Our comments among all: those with our mark by somebody who may write here. Anybody can copy the mark.
fn ours(comments: Vec<Comment>) -> Vec<u64> {
    let marked = |comment: &Comment| comment.body.as_deref().is_some_and(|body| body.starts_with(MARKER));
    let trusted = |comment: &Comment| {
        let bot = comment.user.as_ref().is_some_and(|user| user.kind == "Bot");
        bot || comment.author_association.as_deref().is_some_and(|role| matches!(role, "OWNER" | "MEMBER"))
    };
    comments.into_iter().filter(|comment| marked(comment) && trusted(comment)).map(|comment| comment.id).collect()
}

/// What is wrong, at the lines that it is about.
#[must_use]
pub fn annotations(report: &GateReport) -> Vec<Annotation> {
    let of = |row: &PointerRow| {
        let line = row.line?;
        let said = row.reasons.first()?;
        let advice = said.advice.first().map(|advice| format!("\n{advice}")).unwrap_or_default();
        Some(Annotation {
            path: row.path.clone(),
            start_line: line,
            end_line: line,
            annotation_level: "failure",
            title: said.reason.id().to_owned(),
            message: format!("{}{advice}", said.message),
        })
    };
    report.pointers.iter().filter_map(of).take(limits::GITHUB_ANNOTATIONS_MOST).collect()
}

/// The API, where there is a token; otherwise why nothing can be told.
///
/// # Errors
/// Anything but a missing token.
pub fn api() -> Result<Result<Api, Error>> {
    match Api::of_environment() {
        Err(error) if error.kind() == Kind::Denied => Ok(Err(error)),
        other => other.map(Ok),
    }
}
