//! What the user wants of what the recipe declares: single tests, or all but some.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::checks;
use crate::error::{Error, Result};
use crate::recipe::LoadedRecipe;
use crate::results::{Outcome, SkipReason};
use crate::ui::printable;

/// Tests picked by the user; by default all that the recipe declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Picked {
    /// Only these; all if empty.
    only: BTreeSet<String>,
    /// All but these.
    skip: BTreeSet<String>,
}

impl Picked {
    /// Picks by the ids of checks and health tests of a recipe.
    ///
    /// # Errors
    /// A usage error for a name that the recipe does not declare, with the nearest one that it does.
    pub fn new(only: &[String], skip: &[String], recipe: &LoadedRecipe) -> Result<Self> {
        let spec = &recipe.recipe.spec.checks;
        let checks = spec.deployment.iter().chain(&spec.conformance).chain(&spec.performance).cloned();
        let declared: BTreeSet<String> = checks.chain(recipe.health.iter().map(crate::health::Test::id)).collect();
        for (flag, name) in only.iter().map(|name| ("--check", name)).chain(skip.iter().map(|name| ("--skip-check", name))) {
            if declared.contains(name) {
                continue;
            }
            let recipe = &recipe.recipe.metadata.name;
            let all = format!("it declares: {}", declared.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
            return Err(if checks::find(name).is_ok() {
                Error::usage(format!("{flag} {name}: recipe {recipe} does not declare this check")).hint(all)
            } else {
                let error = Error::usage(format!("{flag} {}: recipe {recipe} declares no such check", printable(name)));
                error.did_you_mean(name, declared.iter().map(String::as_str), all)
            });
        }
        if let Some(both) = only.iter().find(|name| skip.contains(name)) {
            return Err(Error::usage(format!("{} is both in --check and in --skip-check", printable(both))));
        }
        Ok(Self { only: only.iter().cloned().collect(), skip: skip.iter().cloned().collect() })
    }

    /// The outcome of a test that was not picked; nothing for one that was.
    #[must_use]
    pub fn left_out(&self, id: &str) -> Option<Outcome> {
        if self.skip.contains(id) {
            return Some(Outcome::skip(SkipReason::ByRequest, "named in --skip-check"));
        }
        let left_out = !self.only.is_empty() && !self.only.contains(id);
        left_out.then(|| Outcome::skip(SkipReason::ByRequest, "not named in --check"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::load;

    fn picked(only: &[&str], skip: &[&str]) -> Result<Picked> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Picked::new(&own(only), &own(skip), &load::read("sim-h100").expect("a recipe"))
    }

    #[test]
    fn what_is_not_picked_is_a_skip_by_request() {
        let all = Picked::default();
        assert_eq!(all.left_out("gpu-capacity"), None);
        let one = picked(&["gpu-capacity"], &[]).expect("known");
        assert!(one.left_out("gpu-capacity").is_none() && one.left_out("dra-support").is_some());
        let but = picked(&[], &["gpu-capacity"]).expect("known");
        assert!(but.left_out("dra-support").is_none());
        assert!(but.left_out("gpu-capacity").is_some_and(|outcome| outcome.message.contains("--skip-check")));
    }

    #[test]
    fn a_name_that_the_recipe_does_not_declare_is_refused() {
        let error = picked(&["gpu-capacty"], &[]).expect_err("misspelt");
        assert_eq!(error.hints(), ["did you mean `gpu-capacity`?"]);
        let error = picked(&[], &["gang-scheduling"]).expect_err("not declared");
        assert!(error.chain().contains("does not declare this check"), "{}", error.chain());
        assert!(picked(&["gpu-capacity"], &["gpu-capacity"]).is_err(), "both");
    }
}
