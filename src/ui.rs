//! The only writer of stdout, stderr and GitHub's files.
//!
//! stdout carries the artefact that was asked for and nothing else; everything for people goes to stderr.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use console::{Style, Term};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::error::Error;

/// How progress and summaries are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Text for people; on a terminal the current line is live.
    Human,
    /// One JSON object per line on stderr.
    Json,
    /// Text with GitHub's groups and annotations.
    Github,
}

/// The writer; clones share it.
#[derive(Clone)]
pub struct Ui(Arc<Inner>);

struct Inner {
    mode: Mode,
    quiet: bool,
    color: bool,
    live: bool,
    bar: Mutex<Option<ProgressBar>>,
    lost: Mutex<Option<io::Error>>,
}

/// How a word is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It holds.
    Good,
    /// It is wrong.
    Bad,
    /// It could not be told, or was left out.
    Doubtful,
    /// Of less interest.
    Faint,
    /// A heading.
    Strong,
}

impl std::fmt::Debug for Ui {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ui").field("mode", &self.0.mode).finish_non_exhaustive()
    }
}

impl Ui {
    /// Makes the writer. `mode` defaults to GitHub's where `GITHUB_ACTIONS` is `true`, else to the human one.
    #[must_use]
    pub fn new(mode: Option<Mode>, quiet: bool) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let github = variable("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let mode = mode.unwrap_or(if github { Mode::Github } else { Mode::Human });
        let terminal = io::stderr().is_terminal() && variable("TERM").is_none_or(|term| term != "dumb");
        let color = mode == Mode::Human && terminal && variable("NO_COLOR").is_none();
        Self(Arc::new(Inner {
            mode,
            quiet,
            color,
            live: mode == Mode::Human && terminal && !quiet,
            bar: Mutex::new(None),
            lost: Mutex::new(None),
        }))
    }

    /// Shows the program's own log on stderr: warnings, with `-v` what is being done, with `-vv` every request.
    pub fn show_log(&self, verbose: u8) {
        let filter = match verbose {
            // What kube has to say about a request is in our own error about it.
            0 => "error,kube_client=off",
            1 => "seatrial=debug",
            _ => "seatrial=trace,kube=debug,hyper=info,reqwest=debug",
        };
        let format = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::new(filter)).with_writer(io::stderr);
        let format = format.with_ansi(self.0.color).without_time();
        // A second call finds the log shown already; in JSON mode every line is an object.
        match self.0.mode {
            Mode::Json => format.json().try_init().unwrap_or(()),
            Mode::Human | Mode::Github => format.try_init().unwrap_or(()),
        }
    }

    /// How things are shown.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// Writes the artefact that was asked for to stdout. A reader that went away is not an error; anything else that kept it from
    /// being written is kept for [`Ui::lost`].
    pub fn artefact(&self, text: &str) {
        self.clear_live();
        let mut out = io::stdout().lock();
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        // The reader closed the pipe (`| head`): the Unix convention is to end quietly.
        match write!(out, "{text}{newline}").and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.0.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Why an artefact did not get to stdout, e.g. for want of room on the disk that it was sent to.
    #[must_use]
    pub fn lost(&self) -> Option<Error> {
        let lost = self.0.lost.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let error = Error::new(crate::error::Kind::Io, "write to standard output").because(lost);
        Some(error.hint("what was written there is not whole: make room, or write elsewhere, and do it again"))
    }

    /// Writes a line for people; nothing in JSON mode or when quiet.
    pub fn line(&self, text: impl AsRef<str>) {
        if self.0.mode != Mode::Json && !self.0.quiet {
            self.write_calm(text.as_ref());
        }
    }

    /// Writes what somebody has to act on now, also when quiet; nothing in JSON mode, where an event says it.
    pub fn notice(&self, text: impl AsRef<str>) {
        if self.0.mode != Mode::Json {
            self.write(text.as_ref());
        }
    }

    /// Writes an event for programs; nothing in the other modes.
    pub fn event(&self, kind: &str, data: Value) {
        if self.0.mode == Mode::Json {
            let mut event = json!({"event": kind});
            if let (Some(event), Value::Object(data)) = (event.as_object_mut(), data) {
                event.extend(data);
            }
            // The same to programs, and nothing to GitHub's runner.
            self.write(&event.to_string().replace("##[", "##\\u005b"));
        }
    }

    /// Writes a warning, also when quiet.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = &printable(text.as_ref());
        match self.0.mode {
            Mode::Human => self.write_calm(&format!("{} {text}", self.paint("warning:", Tone::Doubtful))),
            Mode::Github => self.write(&format!("::warning::{}", workflow_command(text))),
            Mode::Json => self.event("warning", json!({"message": text})),
        }
    }

    /// Writes an error with its causes and hints.
    pub fn error(&self, error: &Error) {
        match self.0.mode {
            Mode::Json => {
                let kind = error.kind().exit();
                self.event("error", json!({"message": error.chain(), "reason": kind.name(), "exit": kind.code(), "hints": error.hints()}));
            }
            mode => {
                self.write_calm(&format!("{} {}", self.paint("error:", Tone::Bad), printable(&error.chain())));
                for hint in error.hints() {
                    self.write_calm(&format!("  {} {}", self.paint("hint:", Tone::Strong), printable(hint)));
                }
                if mode == Mode::Github {
                    self.write(&format!("::error::{}", workflow_command(&error.chain())));
                }
            }
        }
    }

    /// Adds an annotation to the pull request or run, in GitHub's mode.
    pub fn annotate(&self, title: &str, message: &str) {
        if self.0.mode == Mode::Github {
            let title = workflow_command(title).replace(':', "%3A").replace(',', "%2C");
            self.write(&format!("::error title={title}::{}", workflow_command(message)));
        }
    }

    /// Appends Markdown to the step summary, where GitHub asks for one.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] if the file cannot be written.
    pub fn step_summary(&self, markdown: &str) -> crate::error::Result<()> {
        let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty() && self.0.mode == Mode::Github) else {
            return Ok(());
        };
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(markdown.as_bytes()));
        crate::error::Context::with_context(written, || "append to GITHUB_STEP_SUMMARY")
    }

    /// Adds an annotation at a line of a file, in GitHub's mode.
    pub fn annotate_line(&self, path: &str, line: u32, title: &str, message: &str) {
        if self.0.mode == Mode::Github {
            let property = |text: &str| workflow_command(text).replace(':', "%3A").replace(',', "%2C");
            let (path, title) = (property(path), property(title));
            self.write(&format!("::error file={path},line={line},title={title}::{}", workflow_command(message)));
        }
    }

    /// Sets outputs of the step, where GitHub asks for them. Those of a command's end come last and count.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] if the file cannot be written.
    pub fn outputs(&self, outputs: &[(&str, &str)]) -> crate::error::Result<()> {
        let Some(path) = std::env::var_os("GITHUB_OUTPUT").filter(|path| !path.is_empty() && self.0.mode == Mode::Github) else {
            return Ok(());
        };
        let mut text = String::new();
        for (name, value) in outputs {
            text.push_str(&output(name, value));
        }
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        crate::error::Context::with_context(written, || "append to GITHUB_OUTPUT")
    }

    /// Shows what is being waited for: a live line on a terminal, one line each time elsewhere.
    pub fn waiting(&self, text: &str) {
        let text = printable(text);
        match self.0.mode {
            Mode::Json => self.event("waiting", json!({"for": text})),
            _ if self.0.quiet => {}
            _ if self.0.live => {
                let mut bar = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner);
                let bar = bar.get_or_insert_with(|| {
                    let bar = ProgressBar::new_spinner();
                    if let Ok(style) = ProgressStyle::with_template("   {spinner} {msg} ({elapsed})") {
                        bar.set_style(style);
                    }
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bar
                });
                if bar.message() != text {
                    bar.reset_elapsed();
                    bar.set_message(text);
                }
            }
            _ => self.write_calm(&format!("   … {text}")),
        }
    }

    /// True if somebody can be asked: there is a terminal to read from and to write to.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.0.live && io::stdin().is_terminal()
    }

    /// Says how far what is waited for has come: in the live line, or in a line of its own; nothing in JSON mode.
    pub fn progress(&self, text: &str) {
        if self.0.mode == Mode::Json || self.0.quiet {
            return;
        }
        let live = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|bar| bar.set_message(printable(text)));
        if live.is_none() {
            self.waiting(text);
        }
    }

    /// True if there is a live line.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.live
    }

    /// Asks a yes-or-no question on a terminal; without one the answer is no.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] if the terminal cannot be read.
    pub fn ask(&self, question: &str) -> crate::error::Result<bool> {
        if !self.can_ask() {
            return Ok(false);
        }
        self.clear_live();
        let term = Term::stderr();
        let asked = term.write_str(&format!("{question} [y/N] ")).and_then(|()| term.read_line());
        let answer = crate::error::Context::context(asked, "read the answer from the terminal")?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Ends the live line, if there is one.
    pub fn clear_live(&self) {
        if let Some(bar) = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }

    /// Colours a word, where colours are shown.
    #[must_use]
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        if !self.0.color {
            return text.to_owned();
        }
        let style = Style::new().force_styling(true);
        let style = match tone {
            Tone::Good => style.green(),
            Tone::Bad => style.red().bold(),
            Tone::Doubtful => style.yellow(),
            Tone::Faint => style.dim(),
            Tone::Strong => style.bold(),
        };
        style.apply_to(text).to_string()
    }

    /// Columns of the terminal; 120 where there is none.
    #[must_use]
    pub fn width(&self) -> usize {
        if self.0.live { usize::from(Term::stderr().size().1).max(60) } else { 120 }
    }

    /// Writes text that may hold words from outside.
    fn write_calm(&self, text: &str) {
        self.write(&no_command(text));
    }

    fn write(&self, text: &str) {
        let bar = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let print = || {
            let mut err = io::stderr().lock();
            // Nobody is left to tell.
            writeln!(err, "{text}").unwrap_or(());
        };
        match bar.as_ref() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

/// Replaces control characters, so that text from a cluster or a file cannot move the cursor or colour the terminal, and characters
/// that are not seen or turn the direction, so that it cannot look like other text.
#[must_use]
pub fn printable(text: &str) -> String {
    let unseen = |c: char| matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().map(|c| if (c.is_control() && c != '\n') || unseen(c) { '\u{fffd}' } else { c }).collect()
}

/// Takes the force out of lines that GitHub's runner would take for commands: it looks for `::` where a line begins, blanks apart, and
/// for `##[` anywhere.
#[must_use]
pub fn no_command(text: &str) -> Cow<'_, str> {
    let is_one = |line: &str| line.trim_start().starts_with("::");
    if !text.contains("##[") && !text.lines().any(is_one) {
        return Cow::Borrowed(text);
    }
    let calm = |line: &str| {
        let line = line.replace("##[", "#\u{fffd}[");
        if is_one(&line) { line.replacen("::", ":\u{fffd}", 1) } else { line }
    };
    Cow::Owned(text.split('\n').map(calm).collect::<Vec<_>>().join("\n"))
}

/// A size for people, rounded up.
#[must_use]
pub fn printable_size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}

/// An output as GitHub reads it: a value between two lines that it does not hold.
fn output(name: &str, value: &str) -> String {
    let value = printable(value);
    let mut end = "seatrial-end".to_owned();
    while value.lines().any(|line| line == end) {
        end.push('-');
    }
    format!("{name}<<{end}\n{value}\n{end}\n")
}

/// Escapes text for a GitHub workflow command, which ends at the end of the line.
fn workflow_command(text: &str) -> String {
    printable(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A").replace("##[", "#\u{fffd}[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_cannot_end_early_and_set_another() {
        assert_eq!(output("pointer", "a"), "pointer<<seatrial-end\na\nseatrial-end\n");
        let injected = "a\nseatrial-end\nverdict=ok";
        assert_eq!(output("reason", injected), format!("reason<<seatrial-end-\n{injected}\nseatrial-end-\n"));
    }

    #[test]
    fn text_from_outside_cannot_carry_control_characters_or_workflow_commands() {
        assert_eq!(printable("a\u{1b}[31mb\r"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(printable("ubuntu\u{200b} \u{202e}txt.\u{2066}é\n"), "ubuntu\u{fffd} \u{fffd}txt.\u{fffd}é\n");
        assert_eq!(no_command("a ::b\n  ::error::c\n##[group]d"), "a ::b\n  :\u{fffd}error::c\n#\u{fffd}[group]d");
        assert!(matches!(no_command("error: x\n  at y::z\n"), Cow::Borrowed(_)));
        assert_eq!(workflow_command("100%\n::set-output::x"), "100%25%0A::set-output::x");
    }
}
