//! Many pointers at once: finds them below a directory, verifies them side by side, and puts one list together.

use std::path::{Path, PathBuf};

use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};
use crate::evidence::{EVIDENCE, MANIFEST};
use crate::exit::Exit;
use crate::limits;
use crate::recipe::API_VERSION;
use crate::verify::{Request, VerifyReport, verify};

/// What lies in the directory of pointers and is none.
const NO_POINTERS: &[&str] = &["policy.yaml"];

/// Reports on many pointers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyReportList {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `VerifyReportList`.
    pub kind: String,
    /// The exit code: the highest of all.
    pub exit: u8,
    /// How many were verified.
    pub verified: usize,
    /// One for each, in the order of their paths.
    pub reports: Vec<VerifyReport>,
}

/// The pointers below a directory, sorted; `None` if it holds a bundle, or is no directory.
///
/// # Errors
/// [`Kind::Integrity`] for links; [`Kind::Usage`] if there are too many, or none at all.
pub fn pointers_below(folder: &Path) -> Result<Option<Vec<PathBuf>>> {
    let is_bundle = [MANIFEST, EVIDENCE, "oci-layout"].iter().any(|name| folder.join(name).exists());
    if !folder.is_dir() || is_bundle {
        return Ok(None);
    }
    let mut found = Vec::new();
    walk(folder, 0, &mut found)?;
    if found.is_empty() {
        return Err(Error::usage(format!("{} holds neither a bundle nor pointers", folder.display()))
            .hint("name a pointer, a bundle's directory, or a directory of pointers such as evidence/"));
    }
    found.sort();
    Ok(Some(found))
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let shown = folder.display();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {shown}"))? {
        let entry = entry.with_context(|| format!("list {shown}"))?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type().with_context(|| format!("look at {}", path.display()))?;
        let is_document = name.ends_with(".yaml") || name.ends_with(".yml");
        if name.starts_with('.') || (depth == 0 && NO_POINTERS.contains(&&*name)) {
            continue;
        }
        if kind.is_symlink() {
            return Err(Error::new(Kind::Integrity, format!("{} is a symbolic link; a directory of pointers holds none", path.display())));
        }
        if kind.is_dir() && depth < limits::POINTER_DEPTH {
            walk(&path, depth + 1, found)?;
        } else if kind.is_file() && is_document {
            found.push(path);
        }
        if found.len() > limits::POINTERS {
            return Err(Error::usage(format!("below {shown} there are more than {} pointers", limits::POINTERS)));
        }
    }
    Ok(())
}

/// Verifies all of them, side by side; the reports come in the order of the requests.
pub async fn verify_all(requests: Vec<Request>) -> VerifyReportList {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let runtime = tokio::runtime::Handle::current();
    let one = |request: Request| {
        let runtime = runtime.clone();
        let input = request.input.clone();
        // Hashing and parsing take a core, so that each has a thread of its own.
        let task = tokio::task::spawn_blocking(move || runtime.block_on(verify(request)).report);
        async move { task.await.unwrap_or_else(|error| VerifyReport::broken(input, &error.to_string())) }
    };
    let reports: Vec<VerifyReport> = stream::iter(requests).map(one).buffered(cores.max(limits::POINTERS_PARALLEL)).collect().await;
    VerifyReportList {
        api_version: API_VERSION.to_owned(),
        kind: "VerifyReportList".to_owned(),
        exit: reports.iter().map(|report| report.exit).max().unwrap_or(Exit::Usage.code()),
        verified: reports.iter().filter(|report| report.exit == Exit::Ok.code()).count(),
        reports,
    }
}

impl VerifyReportList {
    /// How the command ends: as the one with the highest code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::ALL.iter().copied().find(|exit| exit.code() == self.exit).unwrap_or(Exit::Inconclusive)
    }
}
