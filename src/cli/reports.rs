//! The documents of a run in its directory, and further reports where the user wants them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;
use crate::results::{Report, ctrf, junit, markdown};

/// A kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One CTRF document per step in a folder; one about everything where the name ends in `.json`.
    Ctrf,
    /// JUnit XML.
    Junit,
    /// The results document.
    Json,
    /// Markdown for people.
    Markdown,
}

/// A report that the user wants somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    kind: Kind,
    path: PathBuf,
}

/// Reads `KIND=FILE`.
///
/// # Errors
/// If the kind is unknown or the file is missing.
pub fn parse(text: &str) -> std::result::Result<Wanted, String> {
    let (kind, path) = text.split_once('=').ok_or("expected KIND=FILE")?;
    let kind = match kind {
        "ctrf" => Kind::Ctrf,
        "junit" => Kind::Junit,
        "json" => Kind::Json,
        "markdown" => Kind::Markdown,
        other => return Err(format!("unknown kind `{other}`; kinds: ctrf, junit, json, markdown")),
    };
    match path {
        "" => Err("the file's name is missing".to_owned()),
        "-" => Err("a report goes to a file; standard output has one document".to_owned()),
        path => Ok(Wanted { kind, path: path.into() }),
    }
}

impl Wanted {
    /// Where it goes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_folder(&self) -> bool {
        self.kind == Kind::Ctrf && !is_json(&self.path)
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Ctrf => "ctrf",
            Kind::Junit => "junit",
            Kind::Json => "json",
            Kind::Markdown => "markdown",
        };
        write!(f, "{kind}={}", self.path.display())
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Makes sure that no two of these go to the same place; each is given with what the user called it.
///
/// # Errors
/// A usage error that names both.
pub fn distinct<'a>(targets: impl IntoIterator<Item = (String, &'a Path)>) -> Result<()> {
    let mut seen: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (what, path) in targets {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // What is written to the same device or pipe comes one after the other.
        let shared = std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir());
        if let Some(other) = seen.insert(whole, what.clone()).filter(|_| !shared) {
            let error = Error::usage(format!("{other} and {what} go to the same file, {}", path.display()));
            return Err(error.hint("give each a file of its own"));
        }
    }
    Ok(())
}

/// Makes sure, as far as that can be told beforehand, that the reports can be written.
///
/// # Errors
/// As [`files::can_write`].
pub fn ready(wanted: &[Wanted]) -> Result<()> {
    wanted.iter().try_for_each(|one| if one.is_folder() { files::can_write_into(&one.path) } else { files::can_write(&one.path) })
}

/// Writes the wanted reports where they are wanted.
///
/// # Errors
/// [`crate::error::Kind::Io`] if a file cannot be written.
pub fn write_wanted(report: &Report, wanted: &[Wanted]) -> Result<()> {
    wanted.iter().try_for_each(|one| write(one.kind, &one.path, report))
}

/// Writes `ctrf/<step>.json`, `junit.xml`, `results.json` and `report.md` into the run directory, and the wanted ones where they are wanted.
///
/// # Errors
/// [`crate::error::Kind::Io`] if a file cannot be written.
pub fn write_all(out: &Path, report: &Report, wanted: &[Wanted]) -> Result<()> {
    let standard = [(Kind::Ctrf, "ctrf"), (Kind::Junit, "junit.xml"), (Kind::Json, "results.json"), (Kind::Markdown, "report.md")];
    for (kind, name) in standard {
        write(kind, &out.join(name), report)?;
    }
    write_wanted(report, wanted)
}

/// The CTRF document about everything.
///
/// # Errors
/// Never in practice; the document always has a JSON form.
pub fn whole(report: &Report) -> Result<String> {
    String::from_utf8(ctrf::whole(report)?).map_err(|error| Error::internal("write CTRF").because(error))
}

/// A report that is one document; CTRF is the one about everything.
///
/// # Errors
/// An internal error if it cannot be written.
pub fn text(kind: Kind, report: &Report) -> Result<String> {
    match kind {
        Kind::Ctrf => whole(report),
        Kind::Junit => junit::write(report),
        Kind::Json => serde_json::to_string_pretty(report).map_err(|error| Error::internal("write the results").because(error)),
        Kind::Markdown => markdown::write(report),
    }
}

fn write(kind: Kind, path: &Path, report: &Report) -> Result<()> {
    if kind != Kind::Ctrf || is_json(path) {
        return files::write(path, text(kind, report)?.as_bytes());
    }
    report.steps.iter().try_for_each(|step| {
        let tests = report.tests.iter().filter(|test| test.step == step.id);
        files::write(&path.join(format!("{}.json", step.id)), &ctrf::write(step, tests)?)
    })
}
