//! Collects the facts of one machine.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::facts::model::{Facts, View};
use crate::facts::reading::Reading;
use crate::facts::{gpus, network, pci, sysctl, system, units};
use crate::limits;

/// Where the machine is.
#[derive(Clone, Debug)]
pub struct Root {
    /// The directory that stands for `/`: `/` itself, a mounted host, a stand-in tree.
    pub path: PathBuf,
    /// Directories that tools are looked for in, in this order.
    pub tools: Vec<PathBuf>,
    /// What is below `path`: the machine's own files, or what a container sees.
    pub view: View,
    /// How long one tool may take.
    pub patience: Duration,
}

impl Root {
    /// This machine, with the tools of `PATH`.
    #[must_use]
    pub fn here(view: View) -> Self {
        let tools = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        Self::at("/", tools, view)
    }

    /// A machine below a directory, with the tools in these directories.
    pub fn at(path: impl Into<PathBuf>, tools: Vec<PathBuf>, view: View) -> Self {
        Self { path: path.into(), tools, view, patience: limits::TOOL }
    }

    /// A path of the machine, `/proc/cmdline`, as it is found below the root.
    #[must_use]
    pub fn join(&self, path: &str) -> PathBuf {
        self.path.join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }

    /// A file's text without the space around it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn text(&self, path: &str) -> Result<String, String> {
        let why = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => format!("there is no {path}"),
            ErrorKind::PermissionDenied => format!("{path} may not be read: run as root"),
            _ => format!("{path} cannot be read: {error}"),
        };
        let mut bytes = Vec::new();
        let file = File::open(self.followed(path)).map_err(why)?;
        file.take(limits::FACT_BYTES).read_to_end(&mut bytes).map_err(why)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A path below the root whose links, if they name an absolute path, stay below the root: a mounted host's `/etc/os-release` is not ours.
    fn followed(&self, path: &str) -> PathBuf {
        let mut found = self.join(path);
        for _ in 0..limits::LINKS {
            match fs::read_link(&found) {
                Ok(target) if target.is_absolute() && !target.starts_with(&self.path) => found = self.join(&target.to_string_lossy()),
                _ => break,
            }
        }
        found
    }

    /// A file's text, or nothing where there is none.
    pub(super) fn text_or_empty(&self, path: &str) -> String {
        self.text(path).unwrap_or_default()
    }

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(self.join(path)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("there is no {path}"),
            _ => format!("{path} cannot be read: {error}"),
        })?;
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The last part of what a link points to.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        fs::read_link(self.join(path)).ok()?.file_name()?.to_str().map(str::to_owned)
    }
}

/// The host name of the machine below a root.
#[must_use]
pub fn host_name(root: &Root) -> String {
    let ways = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    ways.iter().find_map(|path| root.text(path).ok().filter(|name| !name.is_empty())).unwrap_or_else(|| "localhost".to_owned())
}

/// Collects the facts of the machine below a root. Never fails: what cannot be had is a reading that says why.
pub async fn collect(root: &Root) -> Facts {
    let files = root.clone();
    // Files of /proc and /sys are read on a thread of their own: one that hangs does not stop the tools' deadlines.
    let files = tokio::task::spawn_blocking(move || from_files(&files));
    let (units, runtimes) = tokio::join!(units::units(root), units::runtimes(root));
    let mut facts = match files.await {
        Ok(facts) => facts,
        Err(_) => from_nothing(root.view, "the files of this machine could not be read"),
    };
    (facts.units, facts.runtimes) = (units, runtimes);
    facts.gpus = gpus::collect(root, &facts).await;
    facts
}

fn from_files(root: &Root) -> Facts {
    Facts {
        kernel: root.text("/proc/sys/kernel/osrelease").into(),
        os_release: system::os_release(root),
        cmdline: system::cmdline(root),
        sysctl: sysctl::collect(root),
        modules: system::modules(root),
        pci: pci::collect(root),
        nics: network::nics(root),
        rdma: network::rdma(root),
        ..from_nothing(root.view, "not read")
    }
}

fn from_nothing(view: View, why: &str) -> Facts {
    fn none<T>(why: &str) -> Reading<T> {
        Reading::Unavailable(why.to_owned())
    }
    Facts {
        view,
        kernel: none(why),
        os_release: none(why),
        cmdline: none(why),
        sysctl: none(why),
        modules: none(why),
        units: none(why),
        runtimes: none(why),
        pci: none(why),
        gpus: none(why),
        nics: none(why),
        rdma: none(why),
    }
}
