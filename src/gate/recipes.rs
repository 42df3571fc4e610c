//! Recipes before and after a change: which are affected, and whether their evidence is about what they ask afterwards.
//!
//! Both are made from bytes of the trees. Evidence that is there already is read from its pointers, not fetched: its recipe digest was held
//! against the bundle when it was accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::evidence::Pointer;
use crate::gate::profiles::{self, Profile};
use crate::gate::report::{Advised, EvidenceRow, Match, RecipeRow, RecipeState};
use crate::gate::{advised, shown, shown_change};
use crate::policy::{GateForm, Weight};
use crate::reason::{Reason, Said};
use crate::recipe::catalog::Catalog;
use crate::recipe::{Own, Recipe};
use crate::verify;

/// Changes of one recipe that a report lists.
const LISTED: usize = 50;

/// Files of recipe data, by their path below its directory.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// A recipe on one side, with the files of one's own that it is made of.
#[derive(Clone, Debug)]
struct Made {
    recipe: Arc<Recipe>,
    digest: Digest,
    files: BTreeSet<String>,
}

/// A recipe on both sides.
struct Pair {
    was: Side,
    is: Side,
}

/// A recipe, none, or what is wrong with it.
type Side = Result<Option<Made>, String>;

/// All recipes that matter.
pub(super) struct Recipes {
    pairs: BTreeMap<String, Pair>,
    /// Files of the data that the change touches.
    touched: BTreeSet<String>,
    /// Vendors of which the change edits the profile.
    profiles: BTreeMap<String, Profile>,
}

/// Recipe data, with the files that complete recipes are in, by the names that the recipes have.
struct Index {
    catalog: Catalog,
    complete: BTreeMap<String, Vec<String>>,
}

/// A pointer in the head.
pub(super) struct Held {
    pub(super) path: String,
    /// What it says, if it was there before; `None` if it cannot be read.
    pub(super) pointer: Option<Pointer>,
    /// Whether the change brings it, and whether it was accepted.
    pub(super) added: Option<bool>,
}

impl Recipes {
    /// Makes the recipes before and after. `named` are names that matter beside those that the change touches.
    ///
    /// # Errors
    /// What is wrong with the recipes as a whole once the change is merged.
    pub(super) fn make(directory: &str, before: Data, after: Data, named: &BTreeSet<String>) -> Result<Self, Said> {
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let touched: BTreeSet<String> = paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect();
        if touched.is_empty() && named.is_empty() {
            return Ok(Self { pairs: BTreeMap::new(), touched, profiles: BTreeMap::new() });
        }
        let profiles = profiles::changed(&before, &after)?;
        let catalog = |data: Data| match data.is_empty() {
            true => Catalog::shipped().cloned(),
            false => Catalog::over(Some(Own::Files(directory.to_owned(), Arc::new(data)))),
        };
        let after = catalog(after).map_err(|error| Said::new(Reason::RecipeInvalid, shown(&error.chain())))?;
        // What could not be read before cannot have been evidence's either.
        let before = if touched.is_empty() { Some(after.clone()) } else { catalog(before).ok() };
        let (before, after) = (before.map(Index::of), Index::of(after));
        let mut names = named.clone();
        if !touched.is_empty() {
            names.extend(before.iter().chain([&after]).flat_map(Index::names));
        }
        let mut pairs = BTreeMap::new();
        for name in names {
            let side = |index: &Index| index.made(&name, directory).map_err(|error| shown(&error.chain()));
            let (was, is) = (before.as_ref().map_or(Ok(None), side), side(&after));
            if !matches!((&was, &is), (Ok(None), Ok(None))) {
                pairs.insert(name, Pair { was, is });
            }
        }
        Ok(Self { pairs, touched, profiles })
    }

    /// The recipe as it is afterwards.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn today(&self, name: &str) -> Result<Arc<Recipe>, Said> {
        match self.pairs.get(name).map(|pair| &pair.is) {
            Some(Ok(Some(made))) => Ok(made.recipe.clone()),
            Some(Err(why)) => Err(Said::new(Reason::RecipeInvalid, format!("recipe {name} cannot be made: {why}"))),
            _ => Err(Said::new(Reason::RecipeUnknown, format!("there is no recipe `{}`", shown(name)))),
        }
    }

    /// Names of recipes that the change affects.
    fn affected(&self) -> impl Iterator<Item = (&String, &Pair)> {
        self.pairs.iter().filter(|(_, pair)| match (&pair.was, &pair.is) {
            (Ok(None), Ok(None)) | (Err(_), Err(_)) => false,
            (Ok(Some(was)), Ok(Some(is))) => was.digest != is.digest || self.profile(is).is_some(),
            _ => true,
        })
    }

    /// What the change does to the profile of a recipe's vendor.
    fn profile(&self, made: &Made) -> Option<&Profile> {
        self.profiles.get(&made.recipe.spec.vendor)
    }

    /// Names of recipes whose pointers are to be looked at: those that the change affects.
    pub(super) fn affected_names(&self) -> BTreeSet<String> {
        self.affected().map(|(name, _)| name.clone()).collect()
    }

    /// A row for each recipe that is affected, or named in `also`; `held` are the pointers in the head, by recipe.
    pub(super) fn rows(&self, also: &BTreeSet<String>, held: &BTreeMap<String, Vec<Held>>, gate: &GateForm) -> Vec<RecipeRow> {
        let affected = self.affected_names();
        let wanted = self.pairs.iter().filter(|(name, _)| affected.contains(*name) || also.contains(*name));
        let none = Vec::new();
        wanted.map(|(name, pair)| self.row(name, pair, held.get(name).unwrap_or(&none), affected.contains(name), gate)).collect()
    }

    fn row(&self, name: &str, pair: &Pair, held: &[Held], affected: bool, gate: &GateForm) -> RecipeRow {
        let digest = |made: &Made| made.digest.clone();
        let files = |made: Option<&Made>| made.map(|made| made.files.clone()).unwrap_or_default();
        let known = |side: &'_ Side| side.as_ref().ok().and_then(Option::as_ref).cloned();
        let (was, is) = (known(&pair.was), known(&pair.is));
        let made_of: BTreeSet<String> = files(was.as_ref()).union(&files(is.as_ref())).cloned().collect();
        let mut row = RecipeRow {
            name: shown(name),
            state: RecipeState::Missing,
            blocks: false,
            was: was.as_ref().map(digest),
            is: is.as_ref().map(digest),
            affected_by: made_of.intersection(&self.touched).take(LISTED).map(|path| shown(path)).collect(),
            changes: Vec::new(),
            evidence: Vec::new(),
            reasons: Vec::new(),
        };
        match &pair.is {
            Err(why) => {
                row.state = RecipeState::Invalid;
                row.blocks = affected;
                row.reasons = vec![advised(Said::new(Reason::RecipeInvalid, format!("recipe {name} cannot be made: {why}")))];
            }
            Ok(None) => row.state = RecipeState::Removed,
            Ok(Some(is)) => {
                let compared = was.as_ref().map(|was| verify::between(&was.recipe, &is.recipe));
                let drift = compared.as_ref().and_then(|compared| compared.as_ref().ok());
                let profile = self.profile(is);
                let changes = drift.iter().flat_map(|drift| &drift.0).chain(profile.iter().flat_map(|profile| &profile.changes));
                row.changes = changes.take(LISTED).map(shown_change).collect();
                row.affected_by.extend(profile.iter().flat_map(|profile| &profile.files).map(|path| shown(path)));
                // What could not be compared is never taken for the same.
                let material = profile.is_some() || matches!(compared, Some(Err(_))) || drift.is_some_and(|drift| drift.is_material());
                row.evidence = held.iter().map(|held| matched(held, was.as_ref(), is, material, profile.is_some())).collect();
                row.state = state(&row.evidence);
                let (weight, reason) = wanted(row.state, name, gate);
                row.blocks = affected && weight == Weight::Block && !reason.is_empty();
                row.reasons = if affected { reason } else { Vec::new() };
            }
        }
        row
    }
}

impl Index {
    fn of(catalog: Catalog) -> Self {
        let mut complete: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in catalog.recipes() {
            // One that cannot be read is known by its file's name, and is an error there.
            let name = catalog.read(file).map_or_else(|_| file.to_owned(), |loaded| loaded.recipe.metadata.name);
            complete.entry(name).or_default().push(file.to_owned());
        }
        Self { catalog, complete }
    }

    /// Names of the recipes, as evidence has them: of complete ones, and of overlays that state an accelerator.
    fn names(&self) -> BTreeSet<String> {
        let overlays = self.catalog.parts().iter().filter(|part| !part.mixin && part.criteria.accelerator.is_some());
        self.complete.keys().cloned().chain(overlays.map(|part| part.criteria.name())).collect()
    }

    /// Makes the recipe of a name; `None` if there is none.
    fn made(&self, name: &str, directory: &str) -> Result<Option<Made>> {
        let catalog = &self.catalog;
        let own = |place: &str| place.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned);
        let (loaded, mut files) = match self.complete.get(name).map(Vec::as_slice) {
            Some([file]) => (catalog.read(file)?, BTreeSet::from([format!("{file}.yaml")])),
            // Which of them evidence is about is not for the order of their names to say.
            Some([first, second, ..]) => {
                return Err(Error::usage(format!("{first}.yaml and {second}.yaml both hold a recipe of this name")));
            }
            _ => {
                let Ok(Some(criteria)) = catalog.criteria_of(name) else { return Ok(None) };
                let stated = catalog.parts().iter().any(|part| part.criteria == criteria);
                let resolved = match catalog.resolve(&criteria) {
                    Ok(resolved) => resolved,
                    // A name that only looks like criteria, such as one that nothing covers, is no recipe.
                    Err(_) if !stated => return Ok(None),
                    Err(error) => return Err(error),
                };
                let parts = resolved.applied.iter().filter_map(|layer| catalog.part(&layer.name));
                (catalog.load(&resolved)?, parts.filter_map(|part| own(&part.place)).collect())
            }
        };
        let recipe = loaded.recipe;
        if recipe.metadata.name != name {
            return Ok(None);
        }
        files.extend(recipe.spec.health.iter().map(|health| health.file.clone()));
        Ok(Some(Made { digest: recipe.digest()?, recipe: Arc::new(recipe), files }))
    }
}

/// Whether a pointer is about what the recipe asks now. `material`: the change matters; `profile`: it is to the vendor's profile, which no digest holds.
fn matched(held: &Held, was: Option<&Made>, is: &Made, material: bool, profile: bool) -> EvidenceRow {
    let digest = held.pointer.as_ref().map(|pointer| &pointer.recipe.digest);
    let same = digest == Some(&is.digest);
    let matches = match (held.added, digest) {
        (Some(false), _) | (_, None) => Match::NotAccepted,
        (Some(true), _) if same => Match::Same,
        // Verified against what the recipe asks now: what differs was found not to be material.
        (Some(true), _) => Match::NotMaterial,
        (None, _) if same && profile => Match::Drifted,
        (None, _) if same => Match::Same,
        (None, Some(digest)) if was.is_some_and(|was| was.digest == *digest) => {
            if material {
                Match::Drifted
            } else {
                Match::NotMaterial
            }
        }
        (None, _) => Match::AlreadyDrifted,
    };
    EvidenceRow { path: held.path.clone(), added: held.added.is_some(), matches }
}

fn state(evidence: &[EvidenceRow]) -> RecipeState {
    let any = |wanted: &[Match]| evidence.iter().any(|row| wanted.contains(&row.matches));
    if any(&[Match::Same, Match::NotMaterial]) {
        RecipeState::Current
    } else if any(&[Match::Drifted, Match::AlreadyDrifted]) {
        RecipeState::Drifted
    } else {
        RecipeState::Missing
    }
}

/// What is wanted of a recipe in this state, and how much that weighs.
fn wanted(state: RecipeState, name: &str, gate: &GateForm) -> (Weight, Vec<Advised>) {
    let steps = vec![
        format!("run `seatrial run --recipe {name} --out out` on a cluster that it is for"),
        format!(
            "publish it with `seatrial evidence publish --push <repository> out/bundle`, then commit evidence/{name}/sha256-<digest>.yaml, which it writes"
        ),
    ];
    let reason = |reason: Reason, message: String| vec![Advised { reason, message, advice: steps.clone() }];
    match state {
        RecipeState::Missing => {
            (gate.recipes_without_evidence, reason(Reason::EvidenceMissing, format!("recipe {name} is affected and has no evidence")))
        }
        RecipeState::Drifted => (
            gate.drifted,
            reason(Reason::EvidenceOutdated, format!("recipe {name} is affected, and all of its evidence is about what it asked earlier")),
        ),
        _ => (Weight::Report, Vec::new()),
    }
}
