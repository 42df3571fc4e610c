//! Everything that recipes are made of: what ships, and what a directory of one's own replaces or adds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use crate::error::{Error, Result};
use crate::recipe::API_VERSION;
use crate::recipe::criteria::{Criteria, DIMENSIONS, Words};
use crate::recipe::infer;
use crate::recipe::load::{self, Document, LoadedRecipe, Origin};
use crate::recipe::overlay::{Overlay, Part};
use crate::recipe::own::Own;
use crate::recipe::resolve::{self, Resolved};
use crate::snapshot::Snapshot;
use crate::ui::printable;
use crate::{data, files, limits, yaml};

/// The folder of the overlays.
const OVERLAYS: &str = "overlays";

/// Overlays, complete recipes and health files.
#[derive(Clone, Debug)]
pub struct Catalog {
    parts: Vec<Part>,
    recipes: BTreeMap<String, String>,
    own: Option<Own>,
}

static SHIPPED: LazyLock<Result<Catalog>> = LazyLock::new(|| Catalog::open(None));

impl Catalog {
    /// What ships.
    ///
    /// # Errors
    /// Only if something that ships is invalid, which a test excludes.
    pub fn shipped() -> Result<&'static Self> {
        SHIPPED.as_ref().map_err(|error| Error::internal(format!("read the shipped overlays: {}", error.chain())))
    }

    /// What ships, with a directory of one's own over it: a file of the same path below it replaces a shipped one, others are added.
    ///
    /// # Errors
    /// A usage error that names the file: one that cannot be read, a name used twice, a base that is not there or goes in a circle.
    pub fn open(data: Option<&Path>) -> Result<Self> {
        Self::over(data.map(|folder| Own::Folder(folder.to_owned())))
    }

    /// What ships, with data of one's own over it.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn over(own: Option<Own>) -> Result<Self> {
        let mut texts: BTreeMap<String, (String, String)> = BTreeMap::new();
        for path in data::overlay_files() {
            if let Some(text) = data::recipe_file(path) {
                texts.insert(path.to_owned(), (format!("recipes/{path}"), text.to_owned()));
            }
        }
        let mut recipes: BTreeMap<String, String> =
            data::recipe_names().into_iter().map(|name| (name.to_owned(), format!("{name}.yaml"))).collect();
        if let Some(own) = &own {
            let overlays = own.documents(OVERLAYS)?;
            let mut any = !overlays.is_empty();
            for (path, text) in overlays {
                texts.insert(path.clone(), (own.place(&path), text));
            }
            // A directory of another tool holds other documents beside its overlays.
            for (path, _) in own.documents("")?.into_iter().filter(|(_, text)| load::is_recipe(text)) {
                any = true;
                recipes.insert(path.trim_end_matches(".yaml").to_owned(), path);
            }
            // A wrong directory would change nothing, and nobody would see it.
            if let Own::Folder(folder) = own
                && !any
                && !folder.join("health").is_dir()
            {
                return Err(Error::usage(format!("{} holds no recipe data", folder.display()))
                    .hint("overlays lie in its folder `overlays`, health files in its folder `health`, complete recipes in itself"));
            }
        }
        let mut parts = Vec::new();
        for (place, text) in texts.values() {
            parts.push(Part::of(overlay(text, place)?, place)?);
        }
        let mut catalog = Self { parts: Vec::new(), recipes, own };
        catalog.set(parts)?;
        Ok(catalog)
    }

    /// These overlays alone, with the shipped files.
    #[cfg(test)]
    pub(super) fn of(parts: Vec<Part>) -> Result<Self> {
        let mut catalog = Self { parts: Vec::new(), recipes: BTreeMap::new(), own: None };
        catalog.set(parts)?;
        Ok(catalog)
    }

    /// Takes these overlays: checks names and bases, and gives each the criteria of its bases.
    fn set(&mut self, mut parts: Vec<Part>) -> Result<()> {
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(twice) = parts.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Error::usage(format!("two overlays have the name {}: {} and {}", twice[0].name, twice[0].place, twice[1].place)));
        }
        let criteria: Vec<Criteria> = parts.iter().map(|part| inherited(part, &parts)).collect::<Result<_>>()?;
        for (part, criteria) in parts.iter_mut().zip(criteria) {
            part.criteria = criteria;
        }
        self.parts = parts;
        Ok(())
    }

    /// This catalog with one more overlay, in place of one of the same name.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn with(&self, part: Part) -> Result<Self> {
        let mut catalog = self.clone();
        let mut parts = self.parts.clone();
        parts.retain(|other| other.name != part.name);
        parts.push(part);
        catalog.set(parts)?;
        Ok(catalog)
    }

    /// All overlays, by name.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The overlay of this name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// Names of the complete recipes, sorted.
    pub fn recipes(&self) -> impl Iterator<Item = &str> {
        self.recipes.keys().map(String::as_str)
    }

    /// The words that criteria may have.
    #[must_use]
    pub fn words(&self) -> Words {
        Words::of(self.parts.iter().map(|part| &part.criteria))
    }

    /// Makes the recipe for some criteria.
    ///
    /// # Errors
    /// As [`resolve::resolve`].
    pub fn resolve(&self, query: &Criteria) -> Result<Resolved> {
        resolve::resolve(self, query)
    }

    /// Reads a recipe: a complete one or an overlay by name, one for criteria by a name such as `h100-eks-training`, or a file by path.
    ///
    /// # Errors
    /// A usage error that names file, line and column, or the nearest known name.
    pub fn read(&self, name_or_path: &str) -> Result<LoadedRecipe> {
        if name_or_path.contains(['/', '.']) {
            let path = Path::new(name_or_path);
            let text = files::read_text(path, limits::DOCUMENT_BYTES)?;
            return self.from_text(&text, name_or_path, path.parent());
        }
        if let Some(path) = self.recipes.get(name_or_path) {
            let text = self.file(path)?.ok_or_else(|| Error::usage(format!("there is no recipe file {path}")))?;
            return self.from_text(&text, &format!("recipes/{path}"), None);
        }
        let query = self.criteria_of(name_or_path)?.unwrap_or_default();
        self.load(&self.resolve(&query)?)
    }

    /// The criteria that a name stands for: those of an overlay, or those that it is made of. `None` for a complete recipe and for a path.
    ///
    /// # Errors
    /// A usage error with the nearest known name.
    pub fn criteria_of(&self, name: &str) -> Result<Option<Criteria>> {
        if name.contains(['/', '.']) || name == "-" || self.recipes.contains_key(name) {
            return Ok(None);
        }
        match self.part(name) {
            Some(part) if part.mixin => {
                Err(Error::usage(format!("overlay {name} is only a base of others")).hint("`seatrial recipe list` shows all"))
            }
            Some(part) => Ok(Some(part.criteria.clone())),
            None => self.words().read_name(name).map(Some).ok_or_else(|| self.unknown(name)),
        }
    }

    /// Makes the recipe for the criteria of an overlay that is not in this catalog, in place of one of the same name.
    ///
    /// # Errors
    /// As [`Catalog::with`] and [`Catalog::resolve`].
    pub fn resolve_with(&self, overlay: Overlay, place: &str) -> Result<Resolved> {
        let part = Part::of(overlay, place)?;
        if part.mixin {
            return Err(
                Error::usage(format!("{place}: overlay {} is only a base of others", part.name)).hint("name one that builds upon it")
            );
        }
        let name = part.name.clone();
        let catalog = self.with(part)?;
        let query = catalog.part(&name).map(|part| part.criteria.clone()).unwrap_or_default();
        catalog.resolve(&query)
    }

    /// Criteria without what no overlay is for; `tell` hears of each part that is left open.
    pub fn covered_part(&self, criteria: &Criteria, tell: impl Fn(String)) -> Criteria {
        let mut covered = criteria.clone();
        while let Some((dimension, value)) = resolve::uncovered(self, &covered).first() {
            tell(format!("no recipe is for {dimension} {value}: left open"));
            covered = covered.without(dimension);
        }
        covered
    }

    /// All criteria with an accelerator that overlays cover, nodes apart.
    #[must_use]
    pub fn combinations(&self) -> Vec<Criteria> {
        let mut all = vec![Criteria::default()];
        for dimension in DIMENSIONS {
            let values: BTreeSet<&str> = self.parts.iter().filter_map(|part| part.criteria.get(dimension)).collect();
            let open = (dimension != "accelerator").then_some(None);
            let values: Vec<Option<&str>> = open.into_iter().chain(values.into_iter().map(Some)).collect();
            all = all.iter().flat_map(|criteria| values.iter().map(|value| criteria.with(dimension, *value))).collect();
        }
        all.retain(|criteria| resolve::uncovered(self, criteria).is_empty());
        all
    }

    /// The recipe that a snapshot fits best: a complete one, else the one for what the snapshot says of the criteria.
    ///
    /// # Errors
    /// A usage error if none fits, or if two fit equally well.
    pub fn fitting(&self, snapshot: &Snapshot) -> Result<LoadedRecipe> {
        let mut inferred = infer::infer(snapshot, &self.words()).criteria;
        let mut fits = Vec::new();
        for name in self.recipes() {
            let loaded = self.read(name)?;
            let criteria = &loaded.recipe.spec.criteria;
            if criteria.specificity() > 0 && criteria.fit(&inferred) {
                fits.push(loaded);
            }
        }
        match fits.len() {
            0 => {}
            1 => return Ok(fits.remove(0)),
            _ => {
                let names: Vec<&str> = fits.iter().map(|one| one.recipe.metadata.name.as_str()).collect();
                let error = Error::usage(format!("several recipes fit this cluster: {}", names.join(", ")));
                return Err(error.hint("choose one with --recipe"));
            }
        }
        if inferred.accelerator.is_none() {
            return Err(Error::usage("no shipped recipe fits this cluster: it shows no GPU that is known, or several kinds")
                .hint("name one with --recipe; `seatrial recipe list` shows what there is"));
        }
        inferred = self.covered_part(&inferred, |_| ());
        let made = self.resolve(&inferred).and_then(|resolved| self.load(&resolved));
        made.map_err(|error| {
            error.context(format!("make a recipe for this cluster ({})", inferred.in_words())).hint("name one with --recipe")
        })
    }

    /// Reads a recipe from text; health files lie in `folder`, else in this catalog.
    ///
    /// # Errors
    /// A usage error that names file, line and column.
    pub fn from_text(&self, text: &str, name: &str, folder: Option<&Path>) -> Result<LoadedRecipe> {
        self.complete(load::parse(text, name)?, &Origin { name, folder, own: self.own.as_ref() })
    }

    /// Makes a recipe of a document of any kind, and reads its health tests.
    pub(super) fn complete(&self, document: Document, origin: &Origin<'_>) -> Result<LoadedRecipe> {
        match document {
            Document::Recipe(recipe, notes) => load::finish(*recipe, notes, origin),
            Document::Overlay(overlay) => load::finish(self.resolve_with(*overlay, origin.name)?.recipe, Vec::new(), origin),
            Document::Criteria(query) => load::finish(self.resolve(&query)?.recipe, Vec::new(), origin),
        }
    }

    /// The complete recipe, if there is only one.
    #[must_use]
    pub fn only(&self) -> Option<Result<LoadedRecipe>> {
        let mut names = self.recipes();
        match (names.next(), names.next()) {
            (Some(one), None) => Some(self.read(one)),
            _ => None,
        }
    }

    /// Reads the health tests of a resolved recipe.
    ///
    /// # Errors
    /// As [`Catalog::read`].
    pub fn load(&self, resolved: &Resolved) -> Result<LoadedRecipe> {
        let name = &resolved.recipe.metadata.name;
        load::finish(resolved.recipe.clone(), Vec::new(), &Origin { name, folder: None, own: self.own.as_ref() })
    }

    /// The text of a file by its path in the recipe data: one's own, else the shipped one.
    ///
    /// # Errors
    /// As [`files::read_text`].
    pub fn file(&self, path: &str) -> Result<Option<String>> {
        load::file(self.own.as_ref(), path)
    }

    fn unknown(&self, name: &str) -> Error {
        let names: Vec<&str> = self.recipes().chain(self.parts.iter().filter(|part| !part.mixin).map(|part| part.name.as_str())).collect();
        let otherwise = format!(
            "shipped: {}; `seatrial recipe list` shows what can be combined; or give a path such as ./{name}.yaml",
            names.join(", ")
        );
        Error::usage(format!("there is no recipe `{}`", printable(name))).did_you_mean(name, names, printable(&otherwise))
    }

    /// Check ids that an overlay and its bases add.
    #[must_use]
    pub fn checks_of(&self, part: &Part) -> usize {
        part.checks() + self.bases(part).map(Part::checks).sum::<usize>()
    }

    /// The bases of an overlay, the nearest first.
    pub(super) fn bases<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = &'a Part> {
        std::iter::successors(part.base.as_deref().and_then(|base| self.part(base)), |part| {
            part.base.as_deref().and_then(|base| self.part(base))
        })
    }
}

/// Reads an overlay. One of ours is read in one go; where that fails, a closer look says why, or finds one of another tool.
fn overlay(text: &str, place: &str) -> Result<Overlay> {
    if let Ok(overlay) = yaml::from_str::<Overlay>(text, place)
        && overlay.api_version == API_VERSION
    {
        return Ok(overlay);
    }
    match load::parse(text, place)? {
        Document::Overlay(overlay) => Ok(*overlay),
        _ => Err(Error::usage(format!("{place} is no overlay")).hint("complete recipes lie one folder up")),
    }
}

/// The criteria of an overlay with those of its bases.
fn inherited(part: &Part, parts: &[Part]) -> Result<Criteria> {
    let mut criteria = part.criteria.clone();
    let mut seen = BTreeSet::from([part.name.as_str()]);
    let mut at = part;
    while let Some(base) = &at.base {
        let names = parts.iter().map(|part| part.name.as_str());
        let found = parts.iter().find(|part| part.name == *base).ok_or_else(|| {
            let all: Vec<&str> = names.clone().collect();
            let error = Error::usage(format!("{}: there is no overlay `{}` to build upon", at.place, printable(base)));
            error.did_you_mean(base, names, format!("there is: {}; `--data DIR` adds others", all.join(", ")))
        })?;
        if !seen.insert(&found.name) {
            let circle: Vec<&str> = seen.into_iter().collect();
            return Err(Error::usage(format!("{}: overlays build upon each other in a circle: {}", part.place, circle.join(", ")))
                .hint("take `base` out of one of them"));
        }
        criteria = criteria.within(&found.criteria).map_err(|(dimension, own, other)| {
            let what =
                format!("{}: it is for {dimension} {own} and builds upon {}, which is for {dimension} {other}", part.place, found.name);
            Error::usage(what).hint("an overlay is for what its base is for, or less")
        })?;
        at = found;
    }
    Ok(criteria)
}
