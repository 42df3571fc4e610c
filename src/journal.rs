//! The run directory's append-only memory: what ran with which inputs, so that a run can go on after a crash.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::results::StepResult;
use crate::steps::Produced;
use crate::{files, limits};

/// The journal's file name.
pub const FILE: &str = "journal.jsonl";

/// One line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Entry {
    RunStarted { header: Header },
    StepStarted { step: String, inputs: Digest, at: Timestamp },
    StepFinished { step: String, inputs: Digest, file: String, digest: Digest, at: Timestamp },
    RunFinished { exit: u8, at: Timestamp },
}

/// What a run is about; a resumed run must be about the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// The run's id.
    pub run: String,
    /// Version of seatrial.
    pub tool: String,
    /// Digest of the workflow.
    pub workflow: Digest,
    /// Digest of the recipe.
    pub recipe: Digest,
    /// The cluster's id.
    pub cluster: String,
    /// When the run began.
    pub started_at: Timestamp,
}

/// What a step that finished left.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// What came of it.
    pub result: StepResult,
    /// What it produced.
    pub produced: Produced,
}

/// An open journal; the file is locked while it is open.
pub struct Journal {
    folder: PathBuf,
    file: File,
    header: Header,
    entries: Vec<Entry>,
}

impl Journal {
    /// Starts a journal in a directory that holds no run yet.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it holds one; [`Kind::Io`] if it cannot be written.
    pub fn create(folder: &Path, header: Header) -> Result<Self> {
        let path = folder.join(FILE);
        let shown = folder.display();
        if path.exists() {
            return Err(
                Error::usage(format!("{shown} holds another run already")).hint("give another --out, or --resume to go on with that run")
            );
        }
        std::fs::create_dir_all(folder).with_context(|| format!("make the run directory {shown}"))?;
        let opened = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = opened.with_context(|| format!("create {}", path.display()))?;
        let mut journal = Self { folder: folder.to_owned(), file, header: header.clone(), entries: Vec::new() };
        journal.lock()?;
        journal.append(Entry::RunStarted { header })?;
        Ok(journal)
    }

    /// Opens the journal of a run that did not end, or that is to be repeated where it has to.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is none, or another process has it open; [`Kind::Schema`] if it is damaged
    /// anywhere but in its last line, which a crash may have cut off.
    pub fn resume(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = files::read_text(&path, limits::SNAPSHOT_BYTES).map_err(|error| {
            error.context(format!("resume the run in {}", folder.display())).hint("there is no run to go on with: leave out --resume")
        })?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut entries = Vec::new();
        for (index, line) in text[..whole].lines().enumerate() {
            let parsed = serde_json::from_str(line);
            entries.push(parsed.map_err(|error| {
                Error::new(Kind::Schema, format!("{}:{}: not a journal entry", path.display(), index + 1)).because(error)
            })?);
        }
        let Some(Entry::RunStarted { header }) = entries.first().cloned() else {
            return Err(Error::new(Kind::Schema, format!("{} does not begin with a run", path.display())));
        };
        let file = OpenOptions::new().append(true).open(&path).with_context(|| format!("open {}", path.display()))?;
        let journal = Self { folder: folder.to_owned(), file, header, entries };
        journal.lock()?;
        if whole < text.len() {
            // What a crash cut off is taken away, so that the next line starts on a line of its own.
            journal.file.set_len(whole as u64).with_context(|| format!("mend {}", path.display()))?;
        }
        Ok(journal)
    }

    fn lock(&self) -> Result<()> {
        match self.file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Error::usage(format!("another seatrial is at work in {}", self.folder.display()))
                .hint("wait for it, or give another --out")),
            Err(TryLockError::Error(error)) => {
                Err(Error::new(Kind::Io, format!("lock {}", self.folder.join(FILE).display())).because(error))
            }
        }
    }

    /// What the run is about.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The run directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes that a step begins.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be written.
    pub fn started(&mut self, step: &str, inputs: &Digest) -> Result<()> {
        self.append(Entry::StepStarted { step: step.to_owned(), inputs: inputs.clone(), at: Timestamp::now() })
    }

    /// Keeps what a step left, then notes that it has finished: a crash in between repeats the step. Returns when, and the digest of the record.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be written.
    pub fn finished(&mut self, step: &str, inputs: &Digest, record: &Record) -> Result<(Timestamp, Digest)> {
        let file = format!("steps/{step}.json");
        let bytes = serde_json::to_vec_pretty(record).map_err(|error| Error::internal("write a step's record").because(error))?;
        files::write(&self.folder.join(&file), &bytes)?;
        let (digest, at) = (Digest::of(&bytes), Timestamp::now());
        self.append(Entry::StepFinished { step: step.to_owned(), inputs: inputs.clone(), file, digest: digest.clone(), at })?;
        Ok((at, digest))
    }

    /// Notes that the run has ended.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be written.
    pub fn ended(&mut self, exit: u8) -> Result<()> {
        self.append(Entry::RunFinished { exit, at: Timestamp::now() })
    }

    /// What a step left that finished with these very inputs: its record, when it finished, and the record's digest.
    ///
    /// # Errors
    /// [`Kind::Integrity`] if the record is not the one that was written then.
    pub fn recall(&self, step: &str, inputs: &Digest) -> Result<Option<(Record, Timestamp, Digest)>> {
        let found = self.entries.iter().rev().find_map(|entry| match entry {
            Entry::StepFinished { step: name, inputs: known, file, digest, at } if name == step && known == inputs => {
                Some((file, digest, *at))
            }
            _ => None,
        });
        let Some((file, digest, at)) = found else { return Ok(None) };
        let path = self.folder.join(file);
        let bytes = files::read(&path, limits::SNAPSHOT_BYTES)?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::new(Kind::Integrity, format!("{} was changed after the step had finished", path.display()))
                .hint("start a new run with another --out"));
        }
        let record = serde_json::from_slice(&bytes)
            .map_err(|error| Error::new(Kind::Schema, format!("{} is not a step's record", path.display())).because(error))?;
        Ok(Some((record, at, digest.clone())))
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        let mut line = serde_json::to_string(&entry).map_err(|error| Error::internal("write a journal entry").because(error))?;
        line.push('\n');
        let path = self.folder.join(FILE);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            Error::new(Kind::Io, format!("write {}", path.display())).because(error).hint("check that the disk is not full")
        })?;
        self.entries.push(entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Counts, Outcome};

    fn header() -> Header {
        Header {
            run: "r".to_owned(),
            tool: "0".to_owned(),
            workflow: Digest::of(b"w"),
            recipe: Digest::of(b"r"),
            cluster: "c".to_owned(),
            started_at: "2026-11-22T10:00:00Z".parse().expect("a time"),
        }
    }

    fn record() -> Record {
        let result = StepResult { id: "snapshot".to_owned(), outcome: Outcome::pass("x"), duration_ms: 1, counts: Counts::default() };
        Record { result, produced: Produced::default() }
    }

    #[test]
    fn a_finished_step_is_recalled_with_the_same_inputs_only_and_a_cut_off_line_is_mended() {
        let folder = tempfile::tempdir().expect("a directory");
        let inputs = Digest::of(b"inputs");
        {
            let mut journal = Journal::create(folder.path(), header()).expect("starts");
            journal.finished("snapshot", &inputs, &record()).expect("is kept");
        }
        let path = folder.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).expect("readable");
        text.push_str("{\"event\":\"step-fini");
        std::fs::write(&path, text).expect("written");
        let mut journal = Journal::resume(folder.path()).expect("goes on");
        assert!(journal.recall("snapshot", &inputs).expect("readable").is_some());
        assert!(journal.recall("snapshot", &Digest::of(b"other")).expect("readable").is_none());
        journal.ended(0).expect("is written");
        drop(journal);
        assert!(Journal::resume(folder.path()).is_ok());
    }

    #[test]
    fn a_directory_with_a_run_is_refused_and_so_is_a_second_process() {
        let folder = tempfile::tempdir().expect("a directory");
        let _first = Journal::create(folder.path(), header()).expect("starts");
        assert_eq!(Journal::create(folder.path(), header()).err().expect("is refused").kind(), Kind::Usage);
        assert_eq!(Journal::resume(folder.path()).err().expect("is refused").kind(), Kind::Usage);
    }

    #[test]
    fn a_record_that_was_changed_is_an_integrity_error() {
        let folder = tempfile::tempdir().expect("a directory");
        let inputs = Digest::of(b"inputs");
        let mut journal = Journal::create(folder.path(), header()).expect("starts");
        journal.finished("snapshot", &inputs, &record()).expect("is kept");
        std::fs::write(folder.path().join("steps/snapshot.json"), b"{}").expect("written");
        assert_eq!(journal.recall("snapshot", &inputs).expect_err("is refused").kind(), Kind::Integrity);
    }
}
