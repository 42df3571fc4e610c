//! Health tests: chainsaw Test files, run natively.
//!
//! `file` reads them, `tree` (with `syntax` and `expression`) compares objects, `judge` decides on what was read, `run` waits.

mod expression;
mod file;
mod judge;
mod run;
mod syntax;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde_json::Value;

use crate::error::Result;
pub use file::load;
pub use run::run;
pub use tree::{Findings, Tree, Violation, Why};

/// The version of the verdict logic of health tests.
pub const VERSION: u32 = 1;

/// A chainsaw Test.
#[derive(Clone, Debug)]
pub struct Test {
    /// `metadata.name`.
    pub name: String,
    /// `spec.description`.
    pub description: String,
    /// What it looks at, in the order of the file.
    pub operations: Vec<Operation>,
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
        self.operations.iter().map(|operation| operation.limit).sum()
    }

    /// `apiVersion` and `kind` of what it reads; it lists and watches these.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<(String, String)> {
        let kind = |operation: &Operation| (operation.selector.api_version.clone(), operation.selector.kind.clone());
        self.operations.iter().map(kind).collect()
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
}
