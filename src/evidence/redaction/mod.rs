//! Redaction: what a bundle does not hold, on purpose. Applied once, before anything is hashed, to every document alike.
//!
//! A policy lists what is kept of everything open-ended, and the rest is taken out. What is kept goes through one set of pseudonyms, made
//! by a key that is not in the bundle. What the recipe's constraints read stays, so that a verifier can judge them again.

mod policy;
mod reduce;
mod results;
mod rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::constraints::judge_all;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::evidence::{PLAN, RESULTS, SNAPSHOT};
use crate::recipe::Recipe;
use crate::results::Report;
use crate::snapshot::redact::{Pseudonyms, Reach, Redactor};
use crate::snapshot::{Address, Snapshot};
use policy::listed;
pub use policy::{Base, Keep, Policy, Spec};
use rules::Rules;

/// How a bundle is redacted.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// What is kept.
    pub policy: Policy,
    /// What pseudonyms are made by: random bytes that stay with whoever ran it.
    pub key: Vec<u8>,
}

/// What was left out of a bundle on purpose: told in `evidence.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redacted {
    /// The policy's name: `minimal`, `full`, or that of a file.
    pub policy: String,
    /// Digest of the policy's canonical JSON.
    pub digest: Digest,
    /// What was taken out or replaced, by document and place; never the values.
    pub removed: Vec<Removal>,
}

/// One sort of thing that was taken out or replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Removal {
    /// The document, e.g. `snapshot.json`; what is in `results.json` is the same in `ctrf/`.
    pub document: String,
    /// Where in it, e.g. `nodes[].labels.*`.
    pub place: String,
    /// What it was: `entry`, `node name`, `message`, `IP address`, …
    pub what: String,
    /// How often.
    pub count: usize,
}

/// The documents of a run, as a bundle may hold them.
pub(super) struct Documents {
    pub(super) report: Report,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) plan: Value,
    pub(super) redacted: Redacted,
}

impl Redaction {
    /// Redacts the documents of a run.
    ///
    /// # Errors
    /// A usage error if a constraint could not be judged again by what is left.
    pub(super) fn apply(&self, report: &Report, recipe: &Recipe, snapshot: Option<&Snapshot>, plan: &Value) -> Result<Documents> {
        let full = self.policy.is_full();
        let reach = if full { Reach::Tokens } else { Reach::AllButImages };
        let mut redactor = Redactor::of(snapshot, &Pseudonyms::Keyed(self.key.clone())).reaching(reach);
        let rules = Rules::of(&self.policy, recipe)?;
        let mut removed = Vec::new();
        let mut note = |document: &str, redactor: &mut Redactor| {
            let of = |one: crate::snapshot::redact::Removed| Removal {
                document: document.to_owned(),
                place: one.place,
                what: one.what,
                count: one.count,
            };
            removed.extend(redactor.take_removed().into_iter().map(of));
        };
        let shipped = match snapshot {
            Some(snapshot) if full => Some(redactor.snapshot(snapshot)?),
            Some(snapshot) => {
                let reduced = reduce::snapshot(snapshot, &rules, &mut redactor)?;
                let shipped = redactor.snapshot(&reduced)?;
                stays_true(recipe, snapshot, &shipped, &self.policy)?;
                Some(shipped)
            }
            None => None,
        };
        note(SNAPSHOT, &mut redactor);
        let mut report = if full { results::tokens(report, &mut redactor)? } else { results::report(report, &rules, &mut redactor) };
        if let Some(shipped) = shipped.as_ref().filter(|_| !full) {
            judged_again(&mut report, recipe, shipped)?;
        }
        report.snapshot = shipped.as_ref().map(Digest::of_json).transpose()?;
        note(RESULTS, &mut redactor);
        results::artifacts(&mut report, |id| full || listed(&rules.keep.artifacts, id), &mut redactor);
        note("artifacts/", &mut redactor);
        let plan = if full { redactor.value("", "", plan.clone()) } else { results::plan(plan, &rules, &mut redactor) };
        note(PLAN, &mut redactor);
        removed.sort();
        let redacted = Redacted { policy: self.policy.metadata.name.clone(), digest: self.policy.digest()?, removed };
        Ok(Documents { report, snapshot: shipped, plan, redacted })
    }
}

/// What verification derives from the snapshot must come out of the shipped one as it did of the whole one.
fn stays_true(recipe: &Recipe, whole: &Snapshot, shipped: &Snapshot, policy: &Policy) -> Result<()> {
    if whole.derived_hardware() != shipped.derived_hardware() {
        return Err(Error::internal("redaction changed what the hardware is"));
    }
    for constraint in &recipe.spec.constraints {
        let address = Address::parse(&constraint.name)?;
        let read = |snapshot: &Snapshot| {
            let readings = snapshot.readings(&address, constraint.over);
            let mut values: Vec<Option<String>> = readings.iter().map(|at| at.reading.value().cloned()).collect();
            values.sort();
            values
        };
        if read(whole) != read(shipped) {
            let name = &policy.metadata.name;
            return Err(Error::usage(format!("constraint {} reads what redaction policy `{name}` cannot show", constraint.name))
                .hint("a verifier could not judge it again: take the constraint out of the recipe, or use --redaction full"));
        }
    }
    Ok(())
}

/// Constraints are told as they are judged by the shipped snapshot, where that comes to the same verdict.
fn judged_again(report: &mut Report, recipe: &Recipe, shipped: &Snapshot) -> Result<()> {
    for judged in judge_all(&recipe.spec.constraints, shipped, "snapshot")? {
        let told = report.tests.iter_mut().find(|test| test.id == judged.id);
        if let Some(test) = told.filter(|test| test.outcome.verdict == judged.outcome.verdict) {
            let artifacts = std::mem::take(&mut test.outcome.artifacts);
            test.outcome = judged.outcome;
            test.outcome.artifacts = artifacts;
        }
    }
    Ok(())
}
