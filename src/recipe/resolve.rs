//! Makes one recipe out of the overlays that fit, and remembers which overlay set what.
//!
//! Order: the less is stated, the earlier it is applied; at the same specificity a base comes before what builds upon it. Two overlays of the
//! same specificity that have nothing to do with each other must not set the same thing differently.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::recipe::catalog::Catalog;
use crate::recipe::criteria::{Criteria, DIMENSIONS};
use crate::recipe::overlay::Part;
use crate::recipe::tree::{self, Leaves, Path};
use crate::recipe::{API_VERSION, Metadata, Recipe, RecipeKind, Spec};
use crate::ui::printable;

/// A recipe with the story of how it came about.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The recipe; the digests of its health files are filled in when it is loaded.
    pub recipe: Recipe,
    /// The overlays in the order in which they were applied.
    pub applied: Vec<Applied>,
    entries: BTreeMap<Path, Entry>,
}

/// An overlay that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: String,
    /// Its criteria.
    pub criteria: Criteria,
    /// How specific it counts.
    pub specificity: usize,
}

/// What became of one value.
#[derive(Clone, Debug)]
struct Entry {
    value: Option<Value>,
    by: usize,
    before: Vec<(usize, Option<Value>)>,
}

/// What is told about one value of a resolved recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Its path.
    pub path: String,
    /// The value; `None` where it was taken out.
    pub value: Option<Value>,
    /// The overlay that set it, or took it out.
    pub by: String,
    /// What that overrode, the earliest first: overlay and value.
    pub overrode: Vec<Overridden>,
}

/// A value that another one took the place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overridden {
    /// The overlay that had set it, or had taken it out.
    pub by: String,
    /// The value; `None` where it had been taken out.
    pub value: Option<Value>,
}

/// An overlay and the specificity at which it is applied: a mixin's is that of what builds upon it.
struct Layer<'a> {
    part: &'a Part,
    specificity: usize,
}

/// Makes the recipe for a query.
///
/// # Errors
/// A usage error: a stated dimension that nothing covers, a tie, a result that is not a recipe.
pub fn resolve(catalog: &Catalog, query: &Criteria) -> Result<Resolved> {
    let layers = layers(catalog, query);
    covered(catalog, query)?;
    ties(catalog, &layers)?;
    let mut entries: BTreeMap<Path, Entry> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        for removal in &layer.part.removals {
            for (_, entry) in entries.iter_mut().filter(|(path, _)| removal.hits(path)) {
                entry.set(index, None);
            }
        }
        for (path, value) in &layer.part.leaves {
            // A value in place of a map takes the map's values out, and the other way round.
            let other = |other: &Path| other != path && (tree::leads_to(path, other) || tree::leads_to(other, path));
            for (_, entry) in entries.iter_mut().filter(|(known, _)| other(known)) {
                entry.set(index, None);
            }
            match entries.get_mut(path) {
                Some(entry) => entry.set(index, Some(value.clone())),
                None => {
                    entries.insert(path.clone(), Entry { value: Some(value.clone()), by: index, before: Vec::new() });
                }
            }
        }
    }
    let leaves: Leaves = entries.iter().filter_map(|(path, entry)| Some((path.clone(), entry.value.clone()?))).collect();
    let mut applied: Vec<Applied> = Vec::new();
    for layer in &layers {
        applied.push(Applied { name: layer.part.name.clone(), criteria: layer.part.criteria.clone(), specificity: layer.specificity });
    }
    let mut recipe = recipe(&leaves, query, &applied)?;
    // What was taken out is provided by other means, so nothing waits for it.
    let gone = |name: &str| {
        let path = ["components", name, "name"].map(str::to_owned);
        entries.get(path.as_slice()).is_some_and(|entry| entry.value.is_none())
    };
    for component in &mut recipe.spec.components {
        component.dependency_refs.retain(|name| !gone(name));
    }
    Ok(Resolved { recipe, applied, entries })
}

impl Entry {
    fn set(&mut self, by: usize, value: Option<Value>) {
        if self.value == value {
            return;
        }
        self.before.push((self.by, std::mem::replace(&mut self.value, value)));
        self.by = by;
    }
}

impl Resolved {
    /// The story of every value at or below a path, or of all.
    ///
    /// # Errors
    /// A usage error if there is nothing at this path.
    pub fn explain(&self, path: Option<&str>) -> Result<Vec<Told>> {
        let name = |index: usize| self.applied.get(index).map_or_else(String::new, |layer| layer.name.clone());
        let below = |shown: &str| {
            path.is_none_or(|path| shown.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '@', ' '])))
        };
        let told: Vec<Told> = self
            .entries
            .iter()
            .map(|(path, entry)| Told {
                path: tree::shown(path),
                value: entry.value.clone(),
                by: name(entry.by),
                overrode: entry.before.iter().map(|(by, value)| Overridden { by: name(*by), value: value.clone() }).collect(),
            })
            .filter(|told| below(&told.path))
            .collect();
        match (path, told.is_empty()) {
            (Some(path), true) => {
                // A path into a value: the story is that of the value.
                tree::look_up(&self.recipe.keyed()?, path)?;
                let all = self.explain(None)?;
                Ok(all.into_iter().filter(|told| path.starts_with(&format!("{}.", told.path))).collect())
            }
            _ => Ok(told),
        }
    }
}

impl Recipe {
    /// The content as one tree, each list as a map by what names its members.
    pub(super) fn keyed(&self) -> Result<Value> {
        let json = |error: serde_json::Error| Error::internal("write the recipe as JSON").because(error);
        let mut keyed = tree::keyed(&tree::leaves(&serde_json::to_value(&self.spec).map_err(json)?)?);
        if let Value::Object(keyed) = &mut keyed {
            keyed.insert("criteria".to_owned(), serde_json::to_value(&self.spec.criteria).map_err(json)?);
            keyed.insert("metadata".to_owned(), serde_json::to_value(&self.metadata).map_err(json)?);
        }
        Ok(keyed)
    }

    /// The value at a dotted path such as `components.gpu-operator.version`.
    ///
    /// # Errors
    /// A usage error that says what is there instead.
    pub fn get(&self, path: &str) -> Result<Value> {
        tree::look_up(&self.keyed()?, path.trim_matches('.')).cloned()
    }
}

/// The overlays that fit, with their bases, in the order in which they are applied.
fn layers<'a>(catalog: &'a Catalog, query: &Criteria) -> Vec<Layer<'a>> {
    let mut layers: BTreeMap<(usize, usize, &str), Layer<'a>> = BTreeMap::new();
    for part in catalog.parts().iter().filter(|part| !part.mixin && part.criteria.fit(query)) {
        let mut specificity = part.criteria.specificity();
        for part in std::iter::once(part).chain(catalog.bases(part)) {
            if !part.mixin {
                specificity = part.criteria.specificity();
            }
            let depth = catalog.bases(part).count();
            layers.insert((specificity, depth, &part.name), Layer { part, specificity });
        }
    }
    layers.into_values().collect()
}

/// What a query states that no overlay that fits it is for: dimension and value.
pub(super) fn uncovered(catalog: &Catalog, query: &Criteria) -> Vec<(&'static str, String)> {
    let fits: Vec<&Part> = catalog.parts().iter().filter(|part| !part.mixin && part.criteria.fit(query)).collect();
    let open = |dimension: &str| !fits.iter().any(|part| part.criteria.states(dimension));
    query.stated().into_iter().filter(|(dimension, _)| open(dimension)).collect()
}

/// Every stated dimension must be one that an applied overlay is for.
fn covered(catalog: &Catalog, query: &Criteria) -> Result<()> {
    for (dimension, value) in uncovered(catalog, query) {
        let parts = catalog.parts().iter().filter(|part| !part.mixin);
        let with = |part: &&Part| part.criteria.stated().iter().any(|(stated, own)| *stated == dimension && *own == value);
        let near: Vec<String> = parts.clone().filter(with).map(|part| part.criteria.in_words()).collect();
        let error = Error::usage(format!("no recipe is for {}: nothing covers {dimension} {value}", query.in_words()));
        if !near.is_empty() {
            return Err(error.hint(format!("{dimension} {value} is there together with: {}", near.join("; "))));
        }
        let mut values: Vec<String> = if DIMENSIONS.contains(&dimension) {
            parts.filter_map(|part| part.criteria.get(dimension).map(str::to_owned)).collect()
        } else {
            parts.filter_map(|part| part.criteria.nodes.map(|nodes| format!("{nodes} and more"))).collect()
        };
        values.sort();
        values.dedup();
        let there = if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
        return Err(error.hint(format!("for {dimension} there is: {there}; leave it out, or add an overlay with --data DIR")));
    }
    Ok(())
}

/// Refuses two overlays of the same specificity, neither of them a base of the other, that set the same thing differently.
fn ties(catalog: &Catalog, layers: &[Layer<'_>]) -> Result<()> {
    let related = |a: &Part, b: &Part| catalog.bases(a).any(|base| base.name == b.name) || catalog.bases(b).any(|base| base.name == a.name);
    for (index, a) in layers.iter().enumerate() {
        for b in layers.iter().skip(index + 1).filter(|b| b.specificity == a.specificity) {
            if a.part.name == b.part.name || related(a.part, b.part) {
                continue;
            }
            let settled = |path: &Path| {
                let above = layers.iter().filter(|layer| layer.specificity > a.specificity);
                above.into_iter().any(|layer| {
                    layer.part.leaves.keys().any(|set| tree::leads_to(set, path))
                        || layer.part.removals.iter().any(|removal| removal.hits(path))
                })
            };
            if let Some((path, one, other)) = clash(a.part, b.part).into_iter().find(|(path, _, _)| !settled(path)) {
                let (a, b) = (a.part, b.part);
                let what = format!(
                    "overlays {} and {} both fit, are equally specific, and differ on {}",
                    a.name,
                    b.name,
                    printable(&path.join("."))
                );
                return Err(Error::usage(format!("{what}: {one} and {other}")).hint(format!(
                    "let one build upon the other with `base`, or set the value in an overlay for both: {} and {}",
                    a.place, b.place
                )));
            }
        }
    }
    Ok(())
}

/// Where two overlays differ: the path, and what each makes of it.
fn clash(a: &Part, b: &Part) -> Vec<(Path, String, String)> {
    let mut found = Vec::new();
    for (path, value) in &a.leaves {
        for (other, theirs) in &b.leaves {
            let differ = if path == other { value != theirs } else { tree::leads_to(path, other) || tree::leads_to(other, path) };
            if differ {
                found.push((path.clone(), value.to_string(), theirs.to_string()));
            }
        }
    }
    for (setter, remover, first) in [(a, b, true), (b, a, false)] {
        for (path, value) in &setter.leaves {
            if let Some(removal) = remover.removals.iter().find(|removal| removal.hits(path)) {
                let (set, taken) = (value.to_string(), format!("{} taken out", removal.shown()));
                found.push(if first { (path.clone(), set, taken) } else { (path.clone(), taken, set) });
            }
        }
    }
    found
}

fn recipe(leaves: &Leaves, query: &Criteria, applied: &[Applied]) -> Result<Recipe> {
    let mut spec = tree::spec(leaves);
    let json = |error: serde_json::Error| Error::internal("put the overlays together").because(error);
    if spec.get("vendor").is_none() {
        return Err(Error::usage(format!("no overlay for {} says which vendor's GPUs they are", query.in_words()))
            .hint("state --accelerator, or set `vendor` in an overlay"));
    }
    if let Value::Object(spec) = &mut spec {
        spec.insert("criteria".to_owned(), serde_json::to_value(query).map_err(json)?);
    }
    let spec: Spec = serde_json::from_value(spec).map_err(json)?;
    let mut overlays: Vec<String> = Vec::new();
    for layer in applied {
        if !overlays.contains(&layer.name) {
            overlays.push(layer.name.clone());
        }
    }
    let metadata = Metadata { name: query.name(), overlays };
    Ok(Recipe { api_version: API_VERSION.to_owned(), kind: RecipeKind::Recipe, metadata, spec })
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
