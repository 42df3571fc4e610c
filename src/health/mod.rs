//! Health tests: chainsaw Test files, run natively.
//!
//! `file` (with `schema`, `bindings` and `identity`) reads them, `tree` (with `syntax`, `expression` and `functions`) compares objects,
//! `judge` decides on what was read, `run` waits, `diagnose` keeps what explains a verdict.

mod bindings;
mod diagnose;
mod expression;
mod file;
mod functions;
mod identity;
mod judge;
mod run;
mod schema;
mod syntax;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::limits;
pub use diagnose::Diagnostic;
pub use file::{Beside, load};
pub use run::run;
pub use tree::{Findings, Tree, Violation, Why};

/// The version of the verdict logic of health tests.
pub const VERSION: u32 = 2;

/// A chainsaw Test.
#[derive(Clone, Debug)]
pub struct Test {
    /// `metadata.name`.
    pub name: String,
    /// `spec.description`.
    pub description: String,
    /// What it looks at, in the order of the file.
    pub operations: Vec<Operation>,
    /// What explains a verdict.
    pub diagnostics: Vec<Diagnostic>,
}

impl Test {
    /// The id in reports.
    #[must_use]
    pub fn id(&self) -> String {
        format!("health/{}", self.name)
    }

    /// The longest that it may take: all operations wait to their end.
    #[must_use]
    pub fn worst_case(&self) -> Duration {
        let looks: Duration = self.operations.iter().map(|operation| operation.limit).sum();
        looks + limits::HEALTH_DIAGNOSTIC * u32::try_from(self.diagnostics.len()).unwrap_or(u32::MAX)
    }

    /// True if it may read logs of containers.
    #[must_use]
    pub fn reads_logs(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| matches!(diagnostic.what, diagnose::What::Logs { .. }))
    }

    /// `apiVersion` and `kind` of what it reads; it lists and watches these.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<(String, String)> {
        let kind = |operation: &Operation| (operation.selector.api_version.clone(), operation.selector.kind.clone());
        self.operations.iter().map(kind).chain(self.diagnostics.iter().flat_map(Diagnostic::reads)).collect()
    }
}

/// An `assert` or an `error` on one resource.
#[derive(Clone, Debug)]
pub struct Operation {
    /// True for `error`: no object may satisfy the tree.
    pub negative: bool,
    /// Which objects it looks at.
    pub selector: Selector,
    /// What they must look like, or must not.
    pub tree: Tree,
    /// The tree in a few words, for messages.
    pub unwanted: String,
    /// How long it waits for that.
    pub limit: Duration,
    /// File and line.
    pub place: String,
    /// The number of its step, from 0.
    pub step: usize,
}

/// Which objects an operation looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// Namespace; none for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// The one object of this name; else all with the labels.
    pub name: Option<String>,
    /// Labels that the objects have.
    pub labels: BTreeMap<String, String>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_lowercase();
        match (&self.name, &self.namespace) {
            (Some(name), Some(namespace)) => return write!(f, "{kind} {namespace}/{name}"),
            (Some(name), None) => return write!(f, "{kind} {name}"),
            (None, Some(namespace)) => write!(f, "{kind} in namespace {namespace}")?,
            (None, None) => f.write_str(&kind)?,
        }
        for (index, (key, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { " with " } else { "," })?;
        }
        Ok(())
    }
}

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// What a health test reads: the API server, or objects in memory.
pub trait Objects: Sync {
    /// Whether objects of the kind live in namespaces; `None` if the kind is not served.
    fn scope(&self, api_version: &str, kind: &str) -> impl Future<Output = Result<Option<Scope>>> + Send;

    /// Shows `look` all objects of the selector, first as they are and again after each change, until it is content (`true`) or `limit` is over (`false`).
    ///
    /// # Errors
    /// As reading does. A watch that had trouble until the limit is an error, not `false`.
    fn observe(
        &self,
        selector: &Selector,
        limit: Duration,
        look: &mut (dyn FnMut(&[&Value]) -> bool + Send),
    ) -> impl Future<Output = Result<bool>> + Send;

    /// What a container of a pod has written, up to `bytes`; for diagnostics.
    ///
    /// # Errors
    /// As reading does; also where there are no logs to be had.
    fn log(&self, pod: &Value, container: &str, bytes: u64) -> impl Future<Output = Result<String>> + Send {
        let _ = (pod, container, bytes);
        async { Err(Error::new(Kind::NotFound, "there are no logs here")) }
    }
}

/// Refuses the first part of a file that seatrial does not run.
fn refuse(file: &str, within: &str, parts: &[(&str, &schema::Elsewhere)]) -> Result<()> {
    let Some((name, part)) = parts.iter().find_map(|(name, part)| part.as_ref().map(|part| (name, part))) else { return Ok(()) };
    let line = part.referenced.line();
    let error = Error::usage(format!("{file}:{line}: `{name}` in {within}: seatrial does not run this part of chainsaw's language"));
    Err(error.hint("seatrial runs `assert` and `error` on resources; run other tests with chainsaw"))
}
