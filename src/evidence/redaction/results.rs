//! Redacts results, artifacts and plan. Verdicts, counts and numbers stay; texts that may hold anything are said again from what is counted.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::evidence::redaction::policy::listed;
use crate::evidence::redaction::rules::Rules;
use crate::results::{Outcome, Report, Verdict};
use crate::snapshot::redact::Redactor;

/// What stands where a text was that may hold anything.
const GONE: &str = "[removed]";

/// Redacts the results document; artifacts are left for [`artifacts`].
pub(super) fn report(report: &Report, rules: &Rules, redactor: &mut Redactor) -> Report {
    let mut report = report.clone();
    for step in &mut report.steps {
        outcome(&mut step.outcome, &step.id, "steps[]", rules, redactor);
    }
    for test in &mut report.tests {
        outcome(&mut test.outcome, &test.id, "tests[]", rules, redactor);
        for retry in &mut test.retries {
            message(&mut retry.message, GONE, (&test.id, "tests[].retries[].message"), rules, redactor);
        }
    }
    report
}

fn outcome(outcome: &mut Outcome, id: &str, place: &str, rules: &Rules, redactor: &mut Redactor) {
    let instead = said_again(outcome);
    message(&mut outcome.message, &instead, (id, &format!("{place}.message")), rules, redactor);
    if let Some(mut fix) = outcome.fix.take() {
        message(&mut fix, "", (id, &format!("{place}.fix")), rules, redactor);
        outcome.fix = Some(fix).filter(|fix| !fix.is_empty());
    }
    let kind = outcome.subjects.kind.clone();
    for name in &mut outcome.subjects.seen {
        *name = subject(name, &kind, &format!("{place}.subjects"), rules, redactor);
    }
    outcome.subjects.seen.sort();
    for measurement in &mut outcome.measurements {
        for sample in &mut measurement.samples {
            sample.subject = subject(&sample.subject, &kind, &format!("{place}.measurements[].samples"), rules, redactor);
        }
        measurement.samples.sort_by(|a, b| a.subject.cmp(&b.subject));
    }
    if let Some(compared) = &mut outcome.compared {
        message(&mut compared.actual, GONE, (id, &format!("{place}.compared.actual")), rules, redactor);
        message(&mut compared.source, GONE, (id, &format!("{place}.compared.source")), rules, redactor);
    }
}

/// Keeps a text where the policy lists the test, without the names in it; puts something else in its place otherwise.
fn message(text: &mut String, instead: &str, (id, place): (&str, &str), rules: &Rules, redactor: &mut Redactor) {
    if listed(&rules.keep.messages, id) {
        *text = redactor.text(place, "message", std::mem::take(text));
    } else if text != instead {
        instead.clone_into(text);
        redactor.count("message", place);
    }
}

/// What an outcome says, from its counts alone.
fn said_again(outcome: &Outcome) -> String {
    let (subjects, assertions) = (&outcome.subjects, outcome.assertions);
    let reason = outcome.verdict.reason().unwrap_or_default();
    let counted = || {
        let hold = format!("{} of {} statements hold", assertions.passed, assertions.total);
        if subjects.exist == 0 { hold } else { format!("{hold} about {} of {} {}", subjects.seen.len(), subjects.exist, subjects.kind) }
    };
    match outcome.verdict {
        Verdict::Pass | Verdict::Fail => counted(),
        Verdict::Skip(_) => format!("left out: {reason}"),
        Verdict::Error(_) => format!("could not tell: {reason}"),
        Verdict::NotRun(_) => format!("did not run: {reason}"),
    }
}

/// The name of something that was looked at: as it is where it is known, else a pseudonym.
fn subject(name: &str, kind: &str, place: &str, rules: &Rules, redactor: &mut Redactor) -> String {
    if kind == "nodes" {
        redactor.count("node name", place);
        return redactor.pseudonym("node", name.strip_prefix("node ").unwrap_or(name));
    }
    // A constraint's subject, or one of a check: the name of a node goes first, what is left must be known.
    let named = redactor.text(place, "name", name.to_owned());
    let image = named.starts_with("image ") && !named.trim_start_matches("image ").contains(' ');
    if image || named.split([' ', '/']).all(|word| word.is_empty() || rules.phrase(word) || made(word) || device(word)) {
        return named;
    }
    redactor.count("name", place);
    redactor.pseudonym("object", name)
}

/// A pseudonym, which is what a name has become already.
fn made(word: &str) -> bool {
    word.rsplit_once('-').is_some_and(|(head, hex)| {
        ["node", "ip", "pool"].contains(&head) && hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// `GPU`, a number, or a PCI address.
fn device(word: &str) -> bool {
    let pci = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    pci || word == "GPU" || (word.len() < 4 && word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Keeps the artifacts of the tests and steps that are listed, without the names in them.
pub(super) fn artifacts(report: &mut Report, kept: impl Fn(&str) -> bool, redactor: &mut Redactor) {
    let tests = report.tests.iter_mut().map(|test| (&test.id, &mut test.outcome.artifacts));
    let steps = report.steps.iter_mut().map(|step| (&step.id, &mut step.outcome.artifacts));
    for (id, artifacts) in tests.chain(steps) {
        if !kept(id) {
            artifacts.drain(..).for_each(|_| redactor.count("artifact", id));
            continue;
        }
        for artifact in artifacts {
            artifact.name = redactor.text(id, "name", std::mem::take(&mut artifact.name));
            artifact.command = artifact.command.take().map(|command| redactor.text(id, "command", command));
            artifact.data = redactor.anything(id, std::mem::take(&mut artifact.data));
        }
    }
}

/// Takes tokens and keys out of a report that is kept otherwise; artifacts are left for [`artifacts`].
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the report does not survive it, which a test excludes.
pub(super) fn tokens(report: &Report, redactor: &mut Redactor) -> Result<Report> {
    let failed = |error: serde_json::Error| Error::internal("redact results").because(error);
    let value = redactor.value("", "", serde_json::to_value(report).map_err(failed)?);
    let mut redacted: Report = serde_json::from_value(value).map_err(failed)?;
    // Artifacts have no place in the document.
    for (to, from) in redacted.tests.iter_mut().zip(&report.tests) {
        to.outcome.artifacts.clone_from(&from.outcome.artifacts);
    }
    for (to, from) in redacted.steps.iter_mut().zip(&report.steps) {
        to.outcome.artifacts.clone_from(&from.outcome.artifacts);
    }
    Ok(redacted)
}

/// Redacts the plan: it is made of the recipe and of our own words, but for the objects that a workflow applies.
pub(super) fn plan(plan: &Value, rules: &Rules, redactor: &mut Redactor) -> Value {
    let mut plan = redactor.value("", "", plan.clone());
    let steps = plan.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten() {
        for created in step.get_mut("creates").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(text) = created.as_str() else { continue };
            // Resources are `<plural>.<group>`; an object is named `kind namespace/name`.
            if !text.contains([' ', '/']) || rules.phrase(text) {
                continue;
            }
            let kind = text.split(' ').next().unwrap_or_default();
            let pseudonym = redactor.pseudonym("object", text);
            *created = if rules.phrase(kind) { format!("{kind} {pseudonym}") } else { pseudonym }.into();
            redactor.count("name", "steps[].creates[]");
        }
    }
    plan
}
