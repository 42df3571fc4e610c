//! How a run looks: its head, a line per step and per check, the summary.

pub mod transfer;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::error::Result;
use crate::exit::Exit;
use crate::results::{Counts, Outcome, Report, TestResult, Verdict};
use crate::snapshot::{Hardware, Snapshot};
use crate::ui::{Mode, Tone, Ui, printable};

/// Columns of a step's id.
const STEP: usize = 13;
/// Columns of a check's id.
const CHECK: usize = 30;
/// Columns of the verdict.
const WORD: usize = 5;

/// Shows what is about to run, on which cluster.
pub fn head(ui: &Ui, command: &str, run: &str, context: &str, snapshot: &Snapshot) {
    let totals = snapshot.gpus();
    let version = snapshot.cluster.version.value().map_or("unknown version", String::as_str);
    let nodes = snapshot.nodes.value().map_or(0, Vec::len);
    let hardware = match snapshot.cluster.hardware {
        Hardware::Simulated => "SIMULATED",
        Hardware::Real => "real hardware",
        Hardware::Unknown => "unknown hardware",
    };
    ui.event("run-started", json!({"run": run, "context": context, "hardware": snapshot.cluster.hardware}));
    let cluster = format!("cluster {context} · k8s {version} · {nodes} nodes · {} GPUs · {hardware}", totals.device_plugin + totals.dra);
    ui.line(format!("{}   {}    run {run}\n", ui.paint(&format!("seatrial {command}"), Tone::Strong), printable(&cluster)));
}

/// Shows that a step begins.
pub fn step_started(ui: &Ui, id: &str) {
    ui.event("step-started", json!({"step": id}));
}

/// Shows what came of a step.
pub fn step(ui: &Ui, number: usize, id: &str, outcome: &Outcome, took: Duration, again: bool) {
    ui.clear_live();
    ui.event("step-finished", json!({"step": id, "outcome": outcome, "seconds": took.as_secs_f64(), "resumed": again}));
    let note = if again { "earlier".to_owned() } else { format!("{:.1}s", took.as_secs_f64()) };
    let text = text_of(outcome);
    let width = ui.width().saturating_sub(STEP + WORD + 12).max(40);
    let padding = width.saturating_sub(text.chars().count());
    ui.line(format!("{number:>2} {id:<STEP$} {} {text}{:padding$} {}", word(ui, outcome.verdict), "", ui.paint(&note, Tone::Faint)));
    fix(ui, outcome, STEP + 4, "");
}

/// Shows what came of a test; `explained` if `seatrial explain` has a page about it.
pub fn test(ui: &Ui, result: &TestResult, explained: bool) {
    ui.clear_live();
    ui.event("test", json!(result));
    let flaky = if result.flaky() { format!(" ({} retries)", result.retries.len()) } else { String::new() };
    ui.line(format!("     {:<CHECK$} {} {}{flaky}", result.id, word(ui, result.outcome.verdict), text_of(&result.outcome)));
    let page = if explained { format!(" · seatrial explain {}", result.id) } else { String::new() };
    fix(ui, &result.outcome, CHECK + 6, &page);
    if ui.mode() == Mode::Github && matches!(result.outcome.verdict, Verdict::Fail | Verdict::Error(_)) {
        ui.annotate(&result.id, &result.outcome.message);
    }
}

fn fix(ui: &Ui, outcome: &Outcome, indent: usize, page: &str) {
    if let Some(fix) = &outcome.fix {
        ui.line(format!("{:indent$} {:WORD$} {} {}{page}", "", "", ui.paint("fix:", Tone::Strong), printable(fix)));
    }
}

/// The message, with the reason in front where there is one.
fn text_of(outcome: &Outcome) -> String {
    let message = printable(&outcome.message).replace('\n', " ");
    match outcome.verdict.reason() {
        Some(reason) => format!("{reason}: {message}"),
        None => message,
    }
}

fn word(ui: &Ui, verdict: Verdict) -> String {
    let (word, tone) = match verdict {
        Verdict::Pass => ("ok", Tone::Good),
        Verdict::Fail => ("FAIL", Tone::Bad),
        Verdict::Error(_) => ("ERROR", Tone::Bad),
        Verdict::Skip(_) => ("skip", Tone::Doubtful),
        Verdict::NotRun(_) => ("-", Tone::Doubtful),
    };
    ui.paint(&format!("{word:<WORD$}"), tone)
}

/// Shows what the run came to.
pub fn end(ui: &Ui, report: &Report, exit: Exit, report_file: &Path) {
    ui.clear_live();
    if let Err(error) = outputs(ui, report, exit, report_file) {
        ui.warn(error.chain());
    }
    ui.event(
        "run-finished",
        json!({"verdict": exit.name(), "exit": exit.code(), "scope": report.scope, "hardware": report.hardware, "counts": report.counts, "run": report.run}),
    );
    table(ui, report);
    let tone = if exit == Exit::Ok { Tone::Good } else { Tone::Bad };
    ui.line(format!("\n {}     exit {}     report {}", ui.paint(&verdict_words(report, exit), tone), exit.code(), report_file.display()));
}

/// Sets the outputs of a step of GitHub's: verdict, scope, and the totals.
fn outputs(ui: &Ui, report: &Report, exit: Exit, report_file: &Path) -> Result<()> {
    let file = if report_file.is_file() { report_file.display().to_string() } else { String::new() };
    ui.outputs(&[("verdict", exit.name()), ("reason", exit.name()), ("scope", &report.scope_words()), ("report", &file)])?;
    let Counts { selected, pass, fail, skip, error, not_run } = report.counts;
    let counts = [("selected", selected), ("pass", pass), ("fail", fail), ("skip", skip), ("error", error), ("not-run", not_run)];
    counts.iter().try_for_each(|(name, count)| ui.outputs(&[(name, &count.to_string())]))
}

/// Shows the totals per step; steps without tests have none.
fn table(ui: &Ui, report: &Report) {
    let row = |name: &str, counts: Counts| {
        let cells = [counts.selected, counts.pass, counts.fail, counts.error, counts.skip, counts.not_run];
        let cells: String = cells.iter().map(|cell| format!("{cell:>9}")).collect();
        format!("    {name:<STEP$}{cells}")
    };
    let names = ["tests", "pass", "fail", "error", "skip", "not run"];
    let names: String = names.iter().map(|name| format!("{name:>9}")).collect();
    ui.line(format!("\n    {:<STEP$}{}", "", ui.paint(&names, Tone::Faint)));
    for step in report.steps.iter().filter(|step| step.counts.selected > 0) {
        ui.line(row(&step.id, step.counts));
    }
    ui.line(row("all", report.counts));
}

/// The verdict and its scope in one line: never more than was seen.
#[must_use]
pub fn verdict_words(report: &Report, exit: Exit) -> String {
    let counts = report.counts;
    let of_tests = |count: usize, what: &str| format!("{count} of {} tests {what}", counts.selected);
    let why = match exit {
        Exit::Ok => of_tests(counts.pass, "passed"),
        Exit::Failed if counts.fail > 0 => of_tests(counts.fail, "failed"),
        Exit::Inconclusive if counts.error + counts.not_run > 0 => of_tests(counts.error + counts.not_run, "could not tell"),
        _ => {
            let bad = |verdict: Verdict| !matches!(verdict, Verdict::Pass | Verdict::Skip(_));
            let step = report.steps.iter().find(|step| bad(step.outcome.verdict));
            step.map_or_else(|| exit.meaning().to_owned(), |step| format!("step {}", step.id))
        }
    };
    format!("{}: {why} ({})", exit.name(), report.scope_words())
}
