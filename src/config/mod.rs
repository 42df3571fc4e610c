//! Settings from `seatrial.yaml`: names are those of flags, sections those of commands; nothing is listed here twice.
//!
//! A flag goes before its `SEATRIAL_*` variable, that before the file, that before the default. What the file says is handed to
//! the parser of the command line as flags that nobody gave, so that each command's own rules hold for it.

mod document;
mod settings;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};

pub use document::{Entry, Given};
pub use settings::{Setting, settings_of};

use crate::error::{Error, Result};
use crate::ui::printable;
use crate::{files, limits, yaml};

/// The file's name.
pub const FILE: &str = "seatrial.yaml";

/// The variable that names another file.
pub const VARIABLE: &str = "SEATRIAL_CONFIG";

/// A file of settings that was read.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its path, as messages show it.
    pub path: PathBuf,
    /// True if it was found, not named: then it may not say what only the user may.
    found: bool,
    entries: Vec<Entry>,
}

/// A flag that the file gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The flag's id.
    pub id: String,
    /// How clap shows it in messages: `--max-gpus <N>`.
    pub shown: String,
    /// Where it stands: `seatrial.yaml:3`.
    pub place: String,
    /// The arguments that it makes.
    pub arguments: Vec<OsString>,
}

/// Where the file is: what `--config` says, what the variable says, else the nearest `seatrial.yaml` upwards. Named or found.
#[must_use]
pub fn locate(args: &[OsString], variable: Option<OsString>, from: Option<&Path>) -> Option<(PathBuf, bool)> {
    let named = argument(args).or(variable).filter(|path| !path.is_empty());
    if let Some(path) = named {
        return Some((PathBuf::from(path), false));
    }
    let file = from?.ancestors().map(|folder| folder.join(FILE)).find(|path| path.symlink_metadata().is_ok())?;
    Some((file, true))
}

/// What the arguments say after `--config`, before they are parsed.
fn argument(args: &[OsString]) -> Option<OsString> {
    let mut args = args.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().cloned();
        }
        if let Some(path) = arg.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(OsString::from(path));
        }
    }
    None
}

impl Config {
    /// Reads a file and checks its names against the commands.
    ///
    /// # Errors
    /// A usage error with line, column and the nearest known name.
    pub fn read((path, found): (PathBuf, bool), commands: &Command) -> Result<Self> {
        let text = files::read_text(&path, limits::DOCUMENT_BYTES)?;
        let shown = shown(&path);
        // A file of comments says nothing, and that is not wrong.
        let document: Option<document::Document> = yaml::from_str(&text, &shown)?;
        let config = Self { path: PathBuf::from(shown), found, entries: document.map(|document| document.0).unwrap_or_default() };
        settings::check(&config, commands)?;
        Ok(config)
    }

    /// What the file says for a command, given by the names on the way to it: the deepest section wins.
    #[must_use]
    pub fn of<'a>(&'a self, path: &[String], name: &str) -> Option<&'a Entry> {
        let mut entries = self.entries.as_slice();
        let mut found = flag(entries, name);
        for section in path {
            let Some(inside) = entries.iter().find_map(|entry| entry.section().filter(|_| entry.key == *section)) else { break };
            entries = inside;
            found = flag(entries, name).or(found);
        }
        found
    }

    /// The flags that the file gives to the command of these matches: those that nobody gave, and that do not stand against one given.
    ///
    /// # Errors
    /// A usage error if a value has not the form that the flag wants.
    pub fn flags(&self, commands: &Command, matches: &ArgMatches) -> Result<Vec<Injected>> {
        let (path, command, matches) = settings::chosen(commands, matches);
        let mut flags = Vec::new();
        for setting in settings::of(command) {
            let Some(entry) = self.of(&path, &setting.name) else { continue };
            let explicit = settings::is_explicit(matches, &setting.id);
            if !explicit && !settings::stands_against_one_given(command, matches, &setting.id) {
                flags.push(settings::inject(self, entry, &setting)?);
            }
        }
        Ok(flags)
    }

    /// Where an entry stands, as `file:line`.
    #[must_use]
    pub fn place(&self, entry: &Entry) -> String {
        format!("{}:{}", self.path.display(), entry.line)
    }

    /// An error about an entry: file, line, column.
    fn wrong(&self, entry: &Entry, message: &str) -> Error {
        Error::usage(format!("{}:{}:{}: {message}", self.path.display(), entry.line, entry.column))
    }
}

fn flag<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == name && entry.section().is_none())
}

/// A path as people write it: from the working directory, where it lies there.
fn shown(path: &Path) -> String {
    let short = std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    printable(&short.unwrap_or_else(|| path.to_owned()).display().to_string())
}

/// Adds what the file gives to the arguments, before what follows `--`.
#[must_use]
pub fn with(args: &[OsString], flags: &[Injected]) -> Vec<OsString> {
    let end = args.iter().position(|arg| arg == OsStr::new("--")).unwrap_or(args.len());
    let mut all = args[..end].to_vec();
    all.extend(flags.iter().flat_map(|flag| flag.arguments.clone()));
    all.extend_from_slice(&args[end..]);
    all
}

/// The parser's error, if what it is about stands in the file: with file and line.
#[must_use]
pub fn explain(error: &clap::Error, flags: &[Injected]) -> Option<Error> {
    let named: Vec<String> = error.context().map(|(_, value)| value.to_string()).collect();
    let guilty: Vec<&Injected> = flags.iter().filter(|flag| named.iter().any(|text| text.contains(&flag.shown))).collect();
    let first = guilty.first()?;
    let text = error.to_string();
    let cause: Vec<&str> =
        text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).map(str::trim).collect();
    let cause = cause.join(" ");
    let message = format!("{}: {}", first.place, cause.trim().trim_start_matches("error: "));
    Some(Error::usage(message).hint("`seatrial config show` lists all settings and where they come from"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_upwards_is_found_and_one_that_is_named_goes_first() {
        let folder = tempfile::tempdir().expect("a directory");
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).expect("is made");
        let args = |given: &[&str]| given.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(locate(&args(&["seatrial", "run"]), None, Some(&deep)), None);
        for place in ["", "a"] {
            let file = folder.path().join(place).join(FILE);
            std::fs::write(&file, "").expect("is written");
            assert_eq!(locate(&args(&["seatrial", "run"]), None, Some(&deep)), Some((file, true)));
        }
        let named = Some((PathBuf::from("x.yaml"), false));
        assert_eq!(locate(&args(&["seatrial"]), Some("x.yaml".into()), Some(&deep)), named);
        for given in [&["seatrial", "--config", "x.yaml"][..], &["seatrial", "run", "--config=x.yaml"]] {
            assert_eq!(locate(&args(given), Some("y.yaml".into()), Some(&deep)), named);
        }
        assert_eq!(locate(&args(&["seatrial", "--", "--config", "x.yaml"]), None, None), None);
    }
}
