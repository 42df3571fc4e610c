//! What was found beforehand: a line per question, and what it comes to.

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::ui::{Tone, Ui, printable};

/// How a question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Yes.
    Ok,
    /// No: a run would fail.
    Missing,
    /// It was asked, and the answer does not tell.
    Unsure,
    /// It was not asked; the line says why.
    NotTried,
}

impl Status {
    fn word(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("ok", Tone::Good),
            Self::Missing => ("MISSING", Tone::Bad),
            Self::Unsure => ("unsure", Tone::Doubtful),
            Self::NotTried => ("not tried", Tone::Faint),
        }
    }
}

/// One question with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about.
    pub subject: &'static str,
    /// How it was answered.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<String>,
    /// The kind of error that a run would end in.
    #[serde(skip)]
    kind: Kind,
}

impl Line {
    pub(super) fn new(subject: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { subject, status, found: found.into(), fix: Vec::new(), kind: Kind::Inconclusive }
    }

    pub(super) fn missing(subject: &'static str, kind: Kind, found: impl Into<String>) -> Self {
        Self { kind, ..Self::new(subject, Status::Missing, found) }
    }

    /// The line of an error.
    pub(super) fn of(subject: &'static str, error: &Error) -> Self {
        Self { fix: error.hints().to_vec(), ..Self::missing(subject, error.kind(), error.chain()) }
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }
}

/// All lines, in the order in which they were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The lines.
    pub lines: Vec<Line>,
}

impl Findings {
    pub(super) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    fn of(&self, status: Status) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.status == status)
    }

    /// How the command ends: as the first thing that is missing would end a run; 3 if something could not be told.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match (self.of(Status::Missing).next(), self.of(Status::Unsure).next()) {
            (Some(missing), _) => missing.kind.exit(),
            (None, Some(_)) => Exit::Inconclusive,
            (None, None) => Exit::Ok,
        }
    }

    /// Nothing, if a run may begin; what could not be told is a warning.
    ///
    /// # Errors
    /// All that is missing, with the kind of the first.
    pub fn require(&self, ui: &Ui) -> Result<()> {
        let missing: Vec<&Line> = self.of(Status::Missing).collect();
        let Some(first) = missing.first() else {
            self.of(Status::Unsure).for_each(|line| ui.warn(&line.found));
            return Ok(());
        };
        let all: Vec<&str> = missing.iter().map(|line| line.found.as_str()).collect();
        let error = Error::new(first.kind, all.join("; "));
        Err(missing.iter().flat_map(|line| &line.fix).fold(error, |error, fix| error.hint(fix.as_str())))
    }

    /// The lines for people.
    #[must_use]
    pub fn to_text(&self, paint: impl Fn(&str, Tone) -> String) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let (word, tone) = line.status.word();
            text.push_str(&format!("  {:<12} {} {}\n", line.subject, paint(&format!("{word:<9}"), tone), printable(&line.found)));
            for fix in &line.fix {
                text.push_str(&format!("  {:<12} {:<9} fix: {}\n", "", "", printable(fix)));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Mode;

    #[test]
    fn what_is_missing_decides_then_what_is_unsure_and_what_was_not_tried_is_said() {
        let ui = Ui::new(Some(Mode::Human), true);
        let mut findings = Findings::default();
        findings.add(Line::new("images", Status::NotTried, "only a pod can tell"));
        assert_eq!(findings.exit(), Exit::Ok);
        findings.add(Line::new("admission", Status::Unsure, "two answers"));
        assert_eq!(findings.exit(), Exit::Inconclusive);
        findings.require(&ui).expect("a run may begin");
        findings.add(Line::missing("registry", Kind::Unavailable, "no answer").fix("look"));
        findings.add(Line::missing("signing", Kind::Usage, "no key").fix("give one"));
        assert_eq!(findings.exit(), Exit::Unavailable);
        let error = findings.require(&ui).expect_err("it may not");
        assert_eq!((error.kind(), error.chain().as_str()), (Kind::Unavailable, "no answer; no key"));
        assert_eq!(error.hints(), ["look", "give one"]);
        let text = findings.to_text(|word, _| word.to_owned());
        assert!(text.contains("images       not tried only a pod can tell\n") && text.contains("fix: give one"), "{text}");
    }
}
