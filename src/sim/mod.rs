//! A simulated GPU cluster on this machine: a real control plane by kwokctl, nodes and GPUs that are only objects.
//!
//! Controllers that run beside it are in `addons`. Node profiles, cluster descriptions, platform workloads and kwok stages are data in the top-level `sim/` folder.

pub mod addons;
mod binaries;
pub mod description;
pub mod home;
pub mod load;
mod log;
pub mod mark;
pub mod objects;
pub mod plane;
mod ports;
mod processes;
pub mod profile;
pub mod status;

use include_dir::{Dir, include_dir};

/// The data that comes with the program.
static DATA: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sim");

/// Label of everything that is simulated; its value is `true`. Also a device attribute.
pub const SIMULATED: &str = "seatrial.dev/simulated";
/// Annotation by which kwok knows the nodes that it plays.
pub const KWOK_NODE: &str = "kwok.x-k8s.io/node";
/// Field manager of what a simulated cluster is loaded with.
pub(crate) const MANAGER: &str = "seatrial-sim";

/// The text of an embedded file.
fn embedded(path: &str) -> Option<&'static str> {
    DATA.get_file(path).and_then(|file| file.contents_utf8())
}

/// Names of the embedded YAML files of a folder, sorted.
fn embedded_names(folder: &str) -> Vec<&'static str> {
    let files = DATA.get_dir(folder).map(|dir| dir.files().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<&str> = files.iter().filter_map(|file| file.path().file_stem()?.to_str()).collect();
    names.sort_unstable();
    names
}
