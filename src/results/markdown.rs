//! `report.md`: the report for people, as Markdown that is safe to show anywhere.
//!
//! Every value is escaped by the formatter, so that text from a cluster cannot become markup, a link or a mention.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior};
use serde::Serialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::results::{Outcome, Report, StepResult, TestResult, Verdict};
use crate::snapshot::Hardware;

const TEMPLATE: &str = include_str!("report.md.j2");

/// Writes a report as Markdown; the same report gives the same bytes.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the template fails.
pub fn write(report: &Report) -> Result<String> {
    render(TEMPLATE, content(report))
}

/// Fills a template with values, each of them escaped.
///
/// # Errors
/// [`crate::error::Kind::Internal`] if the template fails.
pub fn render(template: &str, content: serde_json::Value) -> Result<String> {
    let failed = |error: minijinja::Error| Error::internal("write the report as Markdown").because(error);
    let mut environment = Environment::new();
    environment
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build().map_err(failed)?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("markdown".into()));
    environment.set_formatter(format);
    environment.render_str(template, Value::from(Serde(content))).map_err(failed)
}

fn content(report: &Report) -> serde_json::Value {
    let exit = report.exit();
    let tests: Vec<Row> = report.tests.iter().map(Row::of_test).collect();
    let steps: Vec<Row> = report.steps.iter().map(|step| Row::of_step(step, &report.tests)).collect();
    let wrong = |row: &&Row| row.wrong;
    let trouble: Vec<&Row> = steps.iter().filter(wrong).chain(tests.iter().filter(wrong)).collect();
    let skipped: Vec<&Row> = tests.iter().filter(|row| row.skipped).collect();
    let elapsed = report.finished_at.duration_since(report.started_at).as_secs_f64();
    json!({
        "verdict": in_words(exit), "scope": report.scope_words(), "exit": exit.code(), "meaning": exit.meaning(),
        "simulated": report.hardware == Hardware::Simulated,
        "unknown": report.hardware == Hardware::Unknown,
        "counts": report.counts, "flaky": report.tests.iter().filter(|test| test.flaky()).count(),
        "run": report.run, "workflow": report.workflow, "recipe": report.recipe, "snapshot": report.snapshot,
        "started": report.started_at, "finished": report.finished_at, "elapsed": format!("{elapsed:.1} s"),
        "numbers": numbers(report), "tests": tests, "steps": steps, "trouble": trouble, "skipped": skipped,
    })
}

/// A step or test as the tables show it.
#[derive(Serialize)]
struct Row {
    id: String,
    step: String,
    phase: String,
    verdict: String,
    message: String,
    fix: Option<String>,
    seen: String,
    statements: String,
    time: String,
    tries: usize,
    wrong: bool,
    skipped: bool,
}

impl Row {
    fn of_test(test: &TestResult) -> Self {
        let tries = test.retries.len() + 1;
        Self { step: test.step.clone(), phase: test.phase.clone(), tries, ..Self::new(&test.id, &test.outcome, test.duration_ms) }
    }

    fn of_step(step: &StepResult, tests: &[TestResult]) -> Self {
        let row = Self::new(&step.id, &step.outcome, step.duration_ms);
        let counts = step.counts;
        let statements = if counts.selected == 0 { String::new() } else { format!("{} of {}", counts.pass, counts.selected) };
        // A step that only repeats what its tests say needs no paragraph of its own.
        Self { wrong: row.wrong && !step.explained(tests), statements, ..row }
    }

    fn new(id: &str, outcome: &Outcome, duration_ms: u64) -> Self {
        let Outcome { verdict, subjects, assertions, .. } = outcome;
        let word = verdict.reason().map_or_else(|| verdict.word().to_owned(), |reason| format!("{} ({reason})", verdict.word()));
        Self {
            id: id.to_owned(),
            step: String::new(),
            phase: String::new(),
            verdict: word,
            message: outcome.message.clone(),
            fix: outcome.fix.clone(),
            seen: if subjects.kind.is_empty() {
                String::new()
            } else {
                format!("{} of {} {}", subjects.seen.len(), subjects.exist, subjects.kind)
            },
            statements: if assertions.total == 0 { String::new() } else { format!("{} of {}", assertions.passed, assertions.total) },
            #[expect(clippy::cast_precision_loss, reason = "a duration in seconds with one digit")]
            time: format!("{:.1} s", duration_ms as f64 / 1000.0),
            tries: 1,
            wrong: matches!(verdict, Verdict::Fail | Verdict::Error(_) | Verdict::NotRun(_)),
            skipped: matches!(verdict, Verdict::Skip(_)),
        }
    }
}

/// Measured numbers: test, metric, value, threshold.
fn numbers(report: &Report) -> Vec<[String; 4]> {
    let rows = report.tests.iter().flat_map(|test| {
        test.outcome.measurements.iter().map(|number| {
            let threshold = number.threshold.map(|threshold| format!("{threshold} {}", number.unit)).unwrap_or_default();
            [test.id.clone(), number.metric.clone(), format!("{} {}", number.value, number.unit), threshold]
        })
    });
    rows.collect()
}

fn in_words(exit: Exit) -> &'static str {
    match exit {
        Exit::Ok => "ok",
        Exit::Failed => "FAILED",
        Exit::Interrupted => "INTERRUPTED",
        _ => "COULD NOT TELL",
    }
}

fn format(out: &mut Output, _: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    if value.is_undefined() {
        return Err(minijinja::ErrorKind::UndefinedError.into());
    }
    out.write_str(&escape(&value.to_string())).map_err(|_| minijinja::ErrorKind::WriteFailure.into())
}

/// Escapes text for the inside of a Markdown line, also within a table.
fn escape(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut escaped = String::with_capacity(line.len());
    // At the start of a line or list item, these would begin a list, a quote or a heading.
    let digits = line.len() - line.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    for (index, letter) in line.char_indices() {
        let number =
            index > 0 && index == digits && ".)".contains(letter) && line[index + 1..].chars().next().is_none_or(|next| next == ' ');
        let begins_item = number || (index == 0 && "-+=".contains(letter));
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // Nothing but a break keeps a name from being mentioned, or a number from becoming a reference.
            '@' | '#' => escaped.extend(['\\', letter, '\u{200b}']),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '|' | '~' | '!' | '$' => escaped.extend(['\\', letter]),
            ':' if line[index..].starts_with("://") => escaped.push_str("\\:"),
            '.' if line[..index].to_ascii_lowercase().ends_with("www") => escaped.push_str("\\."),
            _ if begins_item => escaped.extend(['\\', letter]),
            _ if is_hidden(letter) => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Control characters, and those that change the direction of text or have no width.
fn is_hidden(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;
    use crate::results::{ErrorReason, Scope, samples};

    #[test]
    fn a_report_reads_as_the_golden_file() {
        expect_file!["golden/report.md"].assert_eq(&write(&samples::mixed()).expect("is written"));
    }

    #[test]
    fn the_title_says_verdict_scope_and_hardware_in_words() {
        let title = |report: &Report| write(report).expect("is written").lines().next().unwrap_or_default().to_owned();
        let mut report = samples::mixed();
        assert_eq!(title(&report), "# seatrial conformance: FAILED (structural, simulated hardware)");
        report.tests.retain(|test| test.outcome.verdict == Verdict::Pass);
        report.steps.retain(|step| step.outcome.verdict == Verdict::Pass);
        report.scope = Scope::Full;
        report.hardware = Hardware::Real;
        assert_eq!(title(&report), "# seatrial conformance: ok (full, real hardware)");
        assert!(!write(&report).expect("is written").contains("SIMULATED"));
        report.tests[0].outcome = Outcome::error(ErrorReason::Denied, "403");
        assert_eq!(title(&report), "# seatrial conformance: COULD NOT TELL (full, real hardware)");
        report.tests.clear();
        report.steps.clear();
        assert_eq!(title(&report), "# seatrial conformance: COULD NOT TELL (full, real hardware)");
    }

    #[test]
    fn a_report_of_unknown_hardware_says_so() {
        let report = Report { hardware: Hardware::Unknown, ..samples::mixed() };
        assert!(write(&report).expect("is written").contains("**Hardware unknown.**"));
    }

    #[test]
    fn a_step_that_failed_by_itself_has_its_paragraph() {
        let mut report = samples::mixed();
        report.steps[1].outcome = Outcome::error(ErrorReason::Unavailable, "the API server went away");
        assert!(write(&report).expect("is written").contains("### health: error (unavailable)"));
    }

    #[test]
    fn no_text_becomes_markup() {
        for (text, escaped) in [
            ("a|b\n# c", "a\\|b \\#\u{200b} c"),
            ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
            ("[x](javascript:y) ![i](z)", "\\[x\\](javascript:y) \\!\\[i\\](z)"),
            ("*b* _i_ ~s~ `c` $m$ \\", "\\*b\\* \\_i\\_ \\~s\\~ \\`c\\` \\$m\\$ \\\\"),
            ("see https://evil.example www.evil.example", "see https\\://evil.example www\\.evil.example"),
            ("@team &amp; {{ x }}", "\\@\u{200b}team &amp;amp; \\{\\{ x \\}\\}"),
            ("- x", "\\- x"),
            ("12. x", "12\\. x"),
            ("1.5 GB/s in gpu-operator", "1.5 GB/s in gpu-operator"),
            ("\u{1b}[31m\u{202e}x", "\u{fffd}\\[31m\u{fffd}x"),
        ] {
            assert_eq!(escape(text), escaped, "{text}");
        }
    }
}
