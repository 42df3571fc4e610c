//! Checks that try several things of a kind: why a trial ends early, and one outcome of those of all.

use crate::error::Error;
use crate::results::{Outcome, Verdict};

/// Why a trial ends before its end.
pub(super) enum Stop {
    /// The cluster was seen to be wrong, or could not be judged.
    Seen(Box<Outcome>),
    /// We were in trouble.
    Trouble(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Trouble(error)
    }
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Self {
        Self::Seen(Box::new(outcome))
    }
}

/// A step of a trial.
pub(super) type Step<T> = std::result::Result<T, Stop>;

/// One outcome of those of several trials by name, with the statements and artifacts of all: never better than the worst. None of none.
pub(super) fn worst(trials: Vec<(String, Outcome)>) -> Option<Outcome> {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Fail => 0,
        Verdict::Error(_) | Verdict::NotRun(_) => 1,
        Verdict::Skip(_) => 2,
        Verdict::Pass => 3,
    };
    let passed = trials.iter().map(|(_, outcome)| outcome.assertions.passed).sum();
    let total = trials.iter().map(|(_, outcome)| outcome.assertions.total).sum();
    let messages: Vec<String> = trials.iter().map(|(_, outcome)| outcome.message.clone()).collect();
    let mut artifacts = Vec::new();
    let mut worst: Option<Outcome> = None;
    for (name, mut outcome) in trials {
        for mut artifact in outcome.artifacts.drain(..) {
            artifact.name = format!("{name}: {}", artifact.name);
            artifacts.push(artifact);
        }
        if worst.as_ref().is_none_or(|worst| rank(outcome.verdict) < rank(worst.verdict)) {
            worst = Some(outcome);
        }
    }
    let worst = worst?;
    let message = if worst.verdict == Verdict::Pass { messages.join("; ") } else { worst.message.clone() };
    Some(Outcome { message, artifacts, ..worst }.asserted(passed, total))
}
