//! Finds the programs of a control plane: named by the environment, among Kubernetes' test assets, or on the PATH.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The programs that kwokctl starts, with the names of its options for them. It downloads those that are not found.
const COMPONENTS: [(&str, &str); 6] = [
    ("etcd", "etcdBinary"),
    ("kube-apiserver", "kubeApiserverBinary"),
    ("kube-controller-manager", "kubeControllerManagerBinary"),
    ("kube-scheduler", "kubeSchedulerBinary"),
    ("kubectl", "kubectlBinary"),
    ("kwok", "kwokControllerBinary"),
];

/// The programs that were found.
#[derive(Debug)]
pub(super) struct Binaries {
    /// kwokctl itself.
    pub(super) kwokctl: PathBuf,
    /// kwokctl's option for each of the others that was found, with the path.
    pub(super) options: Vec<(&'static str, PathBuf)>,
    /// Those that kwokctl will download.
    pub(super) absent: Vec<&'static str>,
}

/// Looks for all of them.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if kwokctl is not there, or a variable names something that is not a file.
pub(super) fn find() -> Result<Binaries> {
    let Some(kwokctl) = locate("kwokctl")? else {
        return Err(Error::usage("find kwokctl, which starts the control plane: it is neither in $SEATRIAL_BIN_KWOKCTL nor on the PATH")
            .hint("in a checkout of seatrial: export SEATRIAL_BIN_KWOKCTL=$(testenv/get.sh kwokctl | cut -d= -f2)")
            .hint("elsewhere: https://kwok.sigs.k8s.io/docs/user/installation/"));
    };
    let mut found = Binaries { kwokctl, options: Vec::new(), absent: Vec::new() };
    for (name, option) in COMPONENTS {
        match locate(name)? {
            Some(path) => found.options.push((option, path)),
            None => found.absent.push(name),
        }
    }
    Ok(found)
}

/// The variable that names a program.
pub(super) fn variable(name: &str) -> String {
    format!("SEATRIAL_BIN_{}", name.to_uppercase().replace('-', "_"))
}

/// Finds one program; nothing if it is nowhere.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if its variable names something that is not a file.
pub(super) fn locate(name: &str) -> Result<Option<PathBuf>> {
    let variable = variable(name);
    if let Some(path) = std::env::var_os(&variable).filter(|path| !path.is_empty()).map(PathBuf::from) {
        if !path.is_file() {
            return Err(Error::usage(format!("{variable} names {}, which is not a file", path.display())));
        }
        return Ok(Some(absolute(&path)));
    }
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = assets.into_iter().chain(std::env::split_paths(&folders)).map(|folder| folder.join(name));
    Ok(candidates.find(|path| is_program(path)).map(|path| absolute(&path)))
}

/// kwokctl links to the paths from another directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}
