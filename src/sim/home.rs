//! The directory of a simulated cluster: claimed once, holds everything, is removed whole.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};
use crate::sim::addons::Place;
use crate::{files, limits};

/// The file that marks a directory as a simulated cluster's and says what is in it.
const RECORD: &str = "sim.json";

/// The directory of a simulated cluster.
#[derive(Clone, Debug)]
pub struct Home {
    name: String,
    dir: PathBuf,
}

/// What `up` recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The cluster's name.
    pub name: String,
    /// Process id of the `seatrial sim up` that made it.
    pub up_pid: u32,
    /// Process id of the kwokctl that started its control plane, once there is one.
    pub kwokctl_pid: Option<u32>,
    /// True once `up` was done.
    pub ready: bool,
}

impl Home {
    /// The directory of the cluster called `name`: `dir`, else one under `$XDG_STATE_HOME`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the name is not fit for file and context names, or there is no home directory to put it in.
    pub fn new(name: &str, dir: Option<&Path>) -> Result<Self> {
        let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(fit) || name.starts_with('-') || name.ends_with('-') {
            return Err(Error::usage(format!("`{name}` is no name for a simulated cluster: use a to z, 0 to 9 and -, at most 40")));
        }
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => state_home()?.join("seatrial/sim").join(name),
        };
        let dir = std::path::absolute(&dir).with_context(|| format!("resolve {}", dir.display()))?;
        Ok(Self { name: name.to_owned(), dir })
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Where its add-ons run.
    #[must_use]
    pub fn addons(&self) -> Place {
        Place { dir: self.dir.join("addons"), kubeconfig: self.kubeconfig() }
    }

    /// kwokctl's own directory, which holds all of its clusters.
    pub(super) fn kwok(&self) -> PathBuf {
        self.dir.join("kwok")
    }

    /// kwokctl's directory of this cluster: `bin`, `logs`, `pids`, `etcd` …
    pub(super) fn plane(&self, name: &str) -> PathBuf {
        self.kwok().join("clusters").join(name)
    }

    /// What `up` recorded; `None` if there is no such cluster.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the record cannot be read.
    pub fn record(&self) -> Result<Option<Record>> {
        let path = self.dir.join(RECORD);
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_text(&path, limits::DOCUMENT_BYTES)?;
        let record = serde_json::from_str(&text);
        record.map(Some).map_err(|error| Error::usage(format!("read {}", path.display())).because(error))
    }

    /// Makes the directory ours: it must be new or empty.
    ///
    /// # Errors
    /// [`Kind::Usage`] if a cluster is there already, or something else is.
    pub(super) fn claim(&self) -> Result<Record> {
        let shown = self.dir.display();
        fs::create_dir_all(&self.dir).with_context(|| format!("make {shown}"))?;
        if let Some(found) = self.record()? {
            return Err(self.taken(&found.name));
        }
        if fs::read_dir(&self.dir).with_context(|| format!("read {shown}"))?.next().is_some() {
            return Err(Error::usage(format!("{shown} is not empty and is no simulated cluster's")).hint("give --dir with a new directory"));
        }
        let record = Record { name: self.name.clone(), up_pid: std::process::id(), kwokctl_pid: None, ready: false };
        // Of two that start at once, only one makes the file.
        let text = json(&record)?;
        let made = fs::OpenOptions::new().write(true).create_new(true).open(self.dir.join(RECORD));
        match made.and_then(|mut file| file.write_all(&text)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(self.taken(&self.name)),
            Err(error) => Err(Error::new(Kind::Io, format!("write {shown}/{RECORD}")).because(error)),
            Ok(()) => Ok(record),
        }
    }

    fn taken(&self, name: &str) -> Error {
        let dir = self.dir.display();
        Error::usage(format!("a simulated cluster called {name} is already in {dir}"))
            .hint(format!("stop it with `seatrial sim down --name {name} --dir {dir}`, or start another with --name"))
    }

    pub(super) fn write(&self, record: &Record) -> Result<()> {
        files::write(&self.dir.join(RECORD), &json(record)?)
    }

    /// Removes the directory, the record last: what is cut off half-way can be removed again.
    pub(super) fn remove(&self) -> Result<()> {
        let doing = || format!("remove {}", self.dir.display());
        for entry in fs::read_dir(&self.dir).with_context(doing)? {
            let path = entry.with_context(doing)?.path();
            if path.file_name().is_some_and(|name| name == RECORD) {
                continue;
            }
            let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("remove {}", path.display()))?;
        }
        fs::remove_dir_all(&self.dir).with_context(doing)
    }
}

fn json(record: &Record) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(record).map_err(|error| Error::internal("write the record of a simulated cluster").because(error))
}

fn state_home() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            Error::usage("find a directory for the simulated cluster: neither XDG_STATE_HOME nor HOME is set").hint("give --dir")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_once_and_never_one_that_holds_something_else() {
        let folder = tempfile::tempdir().expect("a directory");
        let home = Home::new("one", Some(&folder.path().join("one"))).expect("is fit");
        home.claim().expect("is new");
        let error = home.claim().expect_err("is taken");
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.chain().contains("called one is already"), "{}", error.chain());
        assert!(error.hints()[0].contains("sim down --name one"), "{:?}", error.hints());
        home.remove().expect("is ours");
        assert!(!home.dir().exists());

        fs::write(folder.path().join("precious"), "x").expect("is written");
        let error = Home::new("two", Some(folder.path())).expect("is fit").claim().expect_err("is not empty");
        assert_eq!(error.kind(), Kind::Usage);
        assert!(folder.path().join("precious").exists());
    }

    #[test]
    fn a_name_that_is_no_file_name_is_refused() {
        for name in ["", "../x", "A", "-x", "a b"] {
            assert_eq!(Home::new(name, None).expect_err(name).kind(), Kind::Usage);
        }
    }
}
