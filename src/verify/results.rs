//! Stage 7: what the tests came to, recomputed from CTRF and held against results, evidence and statement.

use crate::error::{Error, Kind, Result};
use crate::evidence::bundle::{Files, file, json};
use crate::evidence::statement::Statement;
use crate::evidence::{EVIDENCE, Evidence, RECIPE, RESULTS, SNAPSHOT, ctrf_path};
use crate::exit::Exit;
use crate::reason::{Reason, Said};
use crate::recipe::{API_VERSION, Recipe};
use crate::results::{Counts, Report, Scope, Verdict, ctrf};
use crate::snapshot::Snapshot;
use crate::verify::case::{Case, Finding};
use crate::yaml;

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let files = case.files()?;
    let report: Report = json(files, RESULTS)?;
    let evidence: Evidence = json(files, EVIDENCE)?;
    let snapshot: Option<Snapshot> = files.contains_key(SNAPSHOT).then(|| json(files, SNAPSHOT)).transpose()?;
    let recipe = recipe(files)?;
    if evidence.api_version != API_VERSION || report.api_version != API_VERSION {
        return Err(Error::new(Kind::Schema, "the evidence has an apiVersion that this version does not know"));
    }
    let verdicts = recount(files, &report)?;
    // A report that claims a wider scope than its verdicts leave would say more than was seen.
    if report.scope < Scope::of(verdicts.iter().copied()) {
        return Err(wrong(format!("{RESULTS} claims {} scope, and its verdicts leave less", report.scope.word())));
    }
    let told = (evidence.workflow.digest.clone(), evidence.tool.clone(), evidence.redaction.clone());
    let rebuilt = Evidence::of(&report, snapshot.as_ref(), told.0, told.1, told.2);
    if rebuilt != evidence {
        return Err(wrong(format!("{EVIDENCE} disagrees with {RESULTS}")));
    }
    let statement = Statement::of(files, case.artifact()?)?;
    if case.signed.iter().any(|signed| signed.statement.predicate != statement.predicate) {
        return Err(wrong("the signed predicate disagrees with the bundle".to_owned()));
    }
    let finding = judge(&report);
    (case.report, case.evidence, case.recipe, case.snapshot) = (Some(report), Some(evidence), Some(recipe), snapshot);
    Ok(finding)
}

fn wrong(what: String) -> Error {
    Error::new(Kind::Integrity, what).hint("the documents of a bundle must tell one story; this one was not made by a sound seatrial")
}

fn recipe(files: &Files) -> Result<Recipe> {
    let text = std::str::from_utf8(file(files, RECIPE)?).map_err(|_| Error::new(Kind::Schema, format!("{RECIPE} is not text")))?;
    yaml::from_str(text, RECIPE).map_err(|error| Error::new(Kind::Schema, format!("read {RECIPE}")).because(error))
}

/// Every verdict by the CTRF documents, which must be those of the report's steps, with the same tests in the same order.
fn recount(files: &Files, report: &Report) -> Result<Vec<Verdict>> {
    let found = files.keys().filter(|path| path.starts_with("ctrf/")).count();
    if found != report.steps.len() {
        return Err(wrong(format!("there are {found} CTRF documents for {} steps", report.steps.len())));
    }
    let mut verdicts = Vec::new();
    let mut counts = Vec::new();
    let mut tests = 0;
    for step in &report.steps {
        let path = ctrf_path(&step.id);
        let ctrf = ctrf::read(file(files, &path)?).map_err(|error| error.context(path.clone()))?;
        let told = report.tests.iter().filter(|test| test.step == step.id);
        let told: Vec<_> = told.map(|test| (test.id.as_str(), test.version, test.phase.as_str(), test.outcome.verdict)).collect();
        let seen: Vec<_> = ctrf.tests.iter().map(|test| (test.id.as_str(), test.version, test.phase.as_str(), test.verdict)).collect();
        if ctrf.step != step.id || ctrf.verdict != step.outcome.verdict || ctrf.counts != step.counts || told != seen {
            return Err(wrong(format!("{path} disagrees with {RESULTS}")));
        }
        tests += seen.len();
        verdicts.push(ctrf.verdict);
        counts.extend(ctrf.tests.iter().map(|test| test.verdict));
    }
    if tests != report.tests.len() || Counts::of(counts.iter().copied()) != report.counts {
        return Err(wrong(format!("the totals of {RESULTS} disagree with the CTRF documents")));
    }
    verdicts.extend(counts);
    Ok(verdicts)
}

/// What the verdicts, which the CTRF documents bear out, come to. Only a run in which everything was told and nothing failed goes on as ok.
fn judge(report: &Report) -> Finding {
    let said = words(&report.counts);
    let counts = &report.counts;
    let mut reasons = Vec::new();
    let failed = names(report, |v| v == Verdict::Fail);
    if !failed.is_empty() {
        reasons.push(Said::new(Reason::Failures, format!("the evidence records failures: {said}{failed}")));
    }
    let nothing = match counts.selected {
        0 => Some((Reason::ZeroChecks, "the run made no check")),
        all if all == counts.skip => Some((Reason::AllSkipped, "every check was skipped")),
        all if all == counts.error => Some((Reason::AllErrored, "no check could tell")),
        _ => None,
    };
    if let Some((reason, message)) = nothing {
        reasons.push(Said::new(reason, format!("{message}: {said}")));
    }
    let untold = names(report, |verdict| matches!(verdict, Verdict::Error(_) | Verdict::NotRun(_)));
    let is_open = report.exit() != Exit::Ok && reasons.is_empty();
    if is_open || (!untold.is_empty() && nothing.is_none()) {
        reasons.push(Said::new(Reason::Inconclusive, format!("the evidence is inconclusive: {said}{untold}")));
    }
    if reasons.is_empty() { Finding::Ok(format!("recomputed from CTRF: {said}")) } else { Finding::Verdict(reasons) }
}

/// Totals for people, without the zeros.
pub(super) fn words(counts: &Counts) -> String {
    let rest = [(counts.fail, "failed"), (counts.error, "could not tell"), (counts.not_run, "did not run"), (counts.skip, "skipped")];
    let rest: String = rest.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}")).collect();
    format!("{} of {} passed{rest}", counts.pass, counts.selected)
}

fn names(report: &Report, wanted: impl Fn(Verdict) -> bool) -> String {
    let tests = report.tests.iter().filter(|test| wanted(test.outcome.verdict)).map(|test| test.id.clone());
    let steps = report.steps.iter().filter(|step| wanted(step.outcome.verdict)).map(|step| format!("step {}", step.id));
    let names: Vec<String> = tests.chain(steps).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}
