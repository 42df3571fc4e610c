//! Collects the facts of one machine.

use std::env;
use std::path::{Path, PathBuf};

use crate::facts::model::{Facts, View};
use crate::facts::reading::Reading;

/// Where the machine is.
#[derive(Clone, Debug)]
pub struct Root {
    /// The directory that stands for `/`: `/` itself, a mounted host, a stand-in tree.
    pub path: PathBuf,
    /// Directories that tools are looked for in, in this order.
    pub tools: Vec<PathBuf>,
    /// What is below `path`: the machine's own files, or what a container sees.
    pub view: View,
}

impl Root {
    /// This machine, with the tools of `PATH`.
    #[must_use]
    pub fn here(view: View) -> Self {
        let tools = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        Self { path: PathBuf::from("/"), tools, view }
    }

    /// A machine below a directory, with the tools in these directories.
    pub fn at(path: impl Into<PathBuf>, tools: Vec<PathBuf>, view: View) -> Self {
        Self { path: path.into(), tools, view }
    }

    /// A path of the machine, `/proc/cmdline`, as it is found below the root.
    #[must_use]
    pub fn join(&self, path: &str) -> PathBuf {
        self.path.join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }
}

/// Collects the facts of the machine below a root. Never fails: what cannot be had is a reading that says why.
pub async fn collect(root: &Root) -> Facts {
    let later = || "not read".to_owned();
    Facts {
        view: root.view,
        kernel: Reading::Unavailable(later()),
        os_release: Reading::Unavailable(later()),
        cmdline: Reading::Unavailable(later()),
        sysctl: Reading::Unavailable(later()),
        modules: Reading::Unavailable(later()),
        units: Reading::Unavailable(later()),
        runtimes: Reading::Unavailable(later()),
        pci: Reading::Unavailable(later()),
        gpus: Reading::Unavailable(later()),
        nics: Reading::Unavailable(later()),
        rdma: Reading::Unavailable(later()),
    }
}
