//! What has changed between the recipe of the evidence and the recipe of today, input by input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// Changes that a sentence names; the report has all.
const NAMED: usize = 8;
/// Characters of a value that are shown.
const SHOWN: usize = 60;

/// One input that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Where it is: `spec.components.gpu-operator.version`.
    pub input: String,
    /// What it was in the evidence's recipe, as JSON; absent if it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it is today; absent if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// True if a cluster could pass the one and not the other.
    pub material: bool,
}

/// All that has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift(pub Vec<Change>);

impl Drift {
    /// True if what was asked for is another thing today.
    #[must_use]
    pub fn is_material(&self) -> bool {
        self.0.iter().any(|change| change.material)
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("unchanged");
        }
        let material = self.0.iter().filter(|change| change.material);
        let others = self.0.iter().filter(|change| !change.material);
        let named: Vec<String> = material.chain(others).take(NAMED).map(Change::to_string).collect();
        f.write_str(&named.join(", "))?;
        if self.0.len() > NAMED { write!(f, " and {} more", self.0.len() - NAMED) } else { Ok(()) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let word = if self.material { "" } else { " (not material)" };
        write!(f, "{} from {} to {}{word}", self.input, shown(&self.was), shown(&self.is))
    }
}

/// Compares two recipes.
///
/// # Errors
/// Never in practice; the model always has a JSON form.
pub fn between(evidence: &Recipe, today: &Recipe) -> Result<Drift> {
    if evidence.digest()? == today.digest()? {
        return Ok(Drift::default());
    }
    let json = |recipe: &Recipe| serde_json::to_value(recipe).map_err(|error| Error::internal("compare recipes").because(error));
    let mut changes = documents(&json(evidence)?, &json(today)?);
    for change in &mut changes {
        change.material = is_material(&change.input);
    }
    if changes.is_empty() {
        // The digests differ and no input does: the entries of a list are the same in another order.
        changes.push(Change { input: "the order of entries".to_owned(), was: None, is: None, material: false });
    }
    Ok(Drift(changes))
}

/// What differs between two documents, leaf by leaf; all of it counts as material.
#[must_use]
pub fn documents(was: &Value, is: &Value) -> Vec<Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    leaves(was, "", &mut before);
    leaves(is, "", &mut after);
    let inputs: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = inputs.into_iter().filter(|input| before.get(*input) != after.get(*input));
    let change = |input: &String| Change {
        input: input.clone(),
        was: before.get(input).map(short),
        is: after.get(input).map(short),
        material: true,
    };
    changed.map(change).collect()
}

/// What has changed in how the checks of the evidence judge. One whose logic is newer today might have said something else.
pub(super) fn versions<'a>(ran: impl Iterator<Item = (&'a str, u32)>, today: &BTreeMap<String, u32>) -> Vec<Change> {
    let changed = ran.filter_map(|(id, version)| Some((id, version, *today.get(id)?))).filter(|(_, was, is)| was != is);
    let change = |(id, was, is): (&str, u32, u32)| Change {
        input: format!("checks.{id}.version"),
        was: Some(was.to_string()),
        is: Some(is.to_string()),
        material: was < is,
    };
    changed.map(change).collect()
}

/// Which overlays a recipe was made from says nothing of what it asks for.
fn is_material(input: &str) -> bool {
    !input.starts_with("metadata.overlays")
}

/// Every leaf under its path. Entries of lists have their name in the path, or themselves, so that a new one does not move the others.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| leaves(value, &below(key), found)),
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                let name = ["name", "id", "path", "file"].iter().find_map(|key| entry.get(key)?.as_str());
                let mut key = below(&name.or(entry.as_str()).map_or_else(|| index.to_string(), str::to_owned));
                // Two may have one name, such as bounds on one reading from both sides.
                if is_taken(&key, found) {
                    key = format!("{key}#{index}");
                }
                leaves(entry, &key, found);
            }
        }
        other => {
            found.insert(path.to_owned(), other.clone());
        }
    }
}

/// True if there is a leaf at this path or below it.
fn is_taken(path: &str, found: &BTreeMap<String, Value>) -> bool {
    let below = format!("{path}.");
    found.contains_key(path) || found.range(below.clone()..).next().is_some_and(|(other, _)| other.starts_with(&below))
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn recipe(text: &str) -> Recipe {
        let text = format!("apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\n{text}");
        yaml::from_str(&text, "recipe").expect("a recipe")
    }

    const OLD: &str = "
metadata: {name: h100, overlays: [a, b]}
spec:
  vendor: nvidia
  components: [{name: driver, version: '570'}, {name: operator, version: v25.3}]
  constraints: [{name: K8s.server.version, value: '>= 1.30'}]
  checks: {conformance: [gpu-capacity, dra-support]}
";

    #[test]
    fn a_change_is_named_by_its_input_and_what_says_nothing_of_the_cluster_is_not_material() {
        let old = recipe(OLD);
        assert_eq!(between(&old, &old).expect("is compared").to_string(), "unchanged");

        let newer = recipe(&OLD.replace("v25.3", "v25.4").replace("gpu-capacity, dra-support", "new-check, gpu-capacity, dra-support"));
        let drift = between(&old, &newer).expect("is compared");
        assert!(drift.is_material());
        let expected =
            "spec.checks.conformance.new-check from nothing to \"new-check\", spec.components.operator.version from \"v25.3\" to \"v25.4\"";
        assert_eq!(drift.to_string(), expected);

        let overlays = recipe(&OLD.replace("[a, b]", "[a, c]"));
        let drift = between(&old, &overlays).expect("is compared");
        assert!(!drift.is_material() && drift.to_string().contains("not material"), "{drift}");

        let order = recipe(&OLD.replace("gpu-capacity, dra-support", "dra-support, gpu-capacity"));
        assert!(!between(&old, &order).expect("is compared").is_material());
    }
}
