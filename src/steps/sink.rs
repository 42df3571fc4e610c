//! What a step produces while it runs, kept as it comes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::results::{Artifact, TestResult};
use crate::snapshot::Snapshot;

/// What one step produces beside its own outcome; kept as it comes, so that an interruption loses nothing that has ended.
#[derive(Default)]
pub struct Sink(Mutex<Produced>);

/// Content of a [`Sink`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Produced {
    /// Tests that have ended.
    pub tests: Vec<TestResult>,
    /// Things seen, by test id.
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
    /// The snapshot.
    pub snapshot: Option<Snapshot>,
    /// Outputs for a step of GitHub's, by name: a run that goes on sets them again for the steps that it does not repeat.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

impl Sink {
    /// Keeps a test's result.
    pub fn test(&self, mut result: TestResult) {
        let artifacts = std::mem::take(&mut result.outcome.artifacts);
        let mut produced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !artifacts.is_empty() {
            produced.artifacts.insert(result.id.clone(), artifacts);
        }
        produced.tests.push(result);
    }

    /// Keeps the snapshot.
    pub fn snapshot(&self, snapshot: Snapshot) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).snapshot = Some(snapshot);
    }

    /// Keeps an output for a step of GitHub's.
    pub fn output(&self, name: &str, value: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outputs.insert(name.to_owned(), value.into());
    }

    /// Takes what has been kept.
    #[must_use]
    pub fn take(&self) -> Produced {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tests that have ended so far.
    #[must_use]
    pub fn ended(&self) -> Vec<TestResult> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tests.clone()
    }
}
