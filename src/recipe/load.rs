//! Reads recipe documents of every kind, checks them, and reads their health tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::health::{self, Test};
use crate::recipe::catalog::Catalog;
use crate::recipe::criteria::Criteria;
use crate::recipe::overlay::{self, Overlay};
use crate::recipe::own::Own;
use crate::recipe::{API_VERSION, HealthFile, Recipe, aicr, tree};
use crate::ui::printable;
use crate::{checks, constraints, data, files, limits, vendor, yaml};

/// A recipe that was read and checked, with its health tests.
#[derive(Clone, Debug)]
pub struct LoadedRecipe {
    /// The recipe.
    pub recipe: Recipe,
    /// The tests of its health files, in the recipe's order.
    pub health: Vec<Test>,
    /// What a reader should know of how it was read.
    pub notes: Vec<String>,
}

/// A document that a recipe can come from.
#[derive(Clone, Debug)]
pub enum Document {
    /// A complete recipe, with notes on how it was read.
    Recipe(Box<Recipe>, Vec<String>),
    /// A part of recipes.
    Overlay(Box<Overlay>),
    /// What a recipe is asked for.
    Criteria(Criteria),
}

/// Where a recipe came from.
pub(super) struct Origin<'a> {
    /// The document as the user knows it.
    pub(super) name: &'a str,
    /// Where its health files lie, if it came from a directory.
    pub(super) folder: Option<&'a Path>,
    /// The data of one's own that they lie in otherwise, before what ships.
    pub(super) own: Option<&'a Own>,
}

/// Reads a recipe by the name of a shipped one, of an overlay or of criteria, or by path.
///
/// # Errors
/// A usage error that names file, line and column, or the nearest known name.
pub fn read(name_or_path: &str) -> Result<LoadedRecipe> {
    if name_or_path.contains(['/', '.']) {
        let path = Path::new(name_or_path);
        return from_text(&files::read_text(path, limits::DOCUMENT_BYTES)?, name_or_path, path.parent());
    }
    match data::recipe_file(&format!("{name_or_path}.yaml")) {
        Some(text) => from_text(text, &format!("recipes/{name_or_path}.yaml"), None),
        None => Catalog::shipped()?.read(name_or_path),
    }
}

/// Reads a recipe from text. `name` is the source as the user knows it; health files lie in `folder`, else in what ships.
///
/// # Errors
/// A usage error that names source, line and column.
pub fn from_text(text: &str, name: &str, folder: Option<&Path>) -> Result<LoadedRecipe> {
    let origin = Origin { name, folder, own: None };
    match parse(text, name)? {
        // A complete recipe needs no overlays, and reading them all takes longer than the recipe.
        Document::Recipe(recipe, notes) => finish(*recipe, notes, &origin),
        part => Catalog::shipped()?.complete(part, &origin),
    }
}

/// What every document begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
}

/// Kinds of our own that are read.
const KINDS: [&str; 3] = ["Recipe", "RecipeOverlay", "RecipeCriteria"];

/// Reads a document of any kind that a recipe can come from.
///
/// # Errors
/// A usage error with source, line and column: another kind or API version, an unknown field, more than one document.
pub fn parse(text: &str, name: &str) -> Result<Document> {
    let mut headers: Vec<Spanned<Header>> = yaml::all_from_str(text, name)?;
    if let [_, second, ..] = headers.as_slice() {
        let place = format!("{name}:{}:{}", second.referenced.line(), second.referenced.column());
        return Err(Error::usage(format!("{place}: a second document, where one recipe was expected")).hint("give each a file of its own"));
    }
    let Some(header) = headers.pop() else {
        return Err(Error::usage(format!("{name} is empty")));
    };
    let place = |at: &Spanned<String>| format!("{name}:{}:{}", at.referenced.line(), at.referenced.column());
    let mut known = KINDS.to_vec();
    known.extend(aicr::KINDS.into_iter().filter(|kind| !KINDS.contains(kind)));
    let Some(kind) = &header.value.kind else {
        return Err(Error::usage(format!("{name} says no kind")).hint(format!("kinds that are read: {}", known.join(", "))));
    };
    let Some(api_version) = &header.value.api_version else {
        return Err(Error::usage(format!("{name} says no apiVersion")).hint(format!("a recipe of seatrial has {API_VERSION}")));
    };
    if !known.contains(&kind.value.as_str()) {
        let error = Error::usage(format!("{}: kind is `{}`, which is no recipe", place(kind), printable(&kind.value)));
        return Err(error.did_you_mean(&kind.value, known.iter().copied(), format!("kinds that are read: {}", known.join(", "))));
    }
    let own = api_version.value == API_VERSION;
    if !own && !aicr::API_VERSIONS.contains(&api_version.value.as_str()) {
        let what = format!("{}: apiVersion is `{}`, this version reads {API_VERSION}", place(api_version), printable(&api_version.value));
        return Err(Error::usage(what).hint(format!("and of NVIDIA AICR: {}", aicr::API_VERSIONS.join(", "))));
    }
    match (own, kind.value.as_str()) {
        (true, "Recipe") => Ok(Document::Recipe(yaml::from_str(text, name)?, Vec::new())),
        (true, "RecipeOverlay") => Ok(Document::Overlay(yaml::from_str(text, name)?)),
        (_, "RecipeCriteria") => yaml::from_str::<Asked>(text, name).map(|asked| Document::Criteria(asked.spec)),
        (false, "RecipeResult" | "Recipe") => aicr::resolved(text, name).map(|(recipe, notes)| Document::Recipe(Box::new(recipe), notes)),
        (false, "RecipeMetadata") => aicr::overlay(text, name).map(|overlay| Document::Overlay(Box::new(overlay))),
        (_, other) => Err(Error::usage(format!("{}: there is no {other} of {}", place(kind), printable(&api_version.value)))
            .hint(format!("{} are of {API_VERSION}, {} of NVIDIA AICR", KINDS.join(", "), aicr::KINDS.join(", ")))),
    }
}

/// True for a document that says it is a complete recipe.
pub(super) fn is_recipe(text: &str) -> bool {
    let header = yaml::from_str::<Header>(text, "recipe").ok();
    header.and_then(|header| header.kind).is_some_and(|kind| matches!(kind.value.as_str(), "Recipe" | "RecipeResult"))
}

/// A document that asks for a recipe.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    spec: Criteria,
}

/// Checks a recipe, reads its health tests and fills in their digests.
pub(super) fn finish(mut recipe: Recipe, notes: Vec<String>, origin: &Origin<'_>) -> Result<LoadedRecipe> {
    for component in &mut recipe.spec.components {
        recipe.spec.expect.append(&mut component.expect);
    }
    check(&recipe, origin.name)?;
    let health = health_tests(&mut recipe.spec.health, origin)?;
    Ok(LoadedRecipe { recipe, health, notes })
}

fn check(recipe: &Recipe, name: &str) -> Result<()> {
    let wrong = |message: String| Err(Error::usage(format!("{name}: {message}")));
    if !overlay::is_name(&recipe.metadata.name) {
        return wrong("metadata.name must be 1 to 63 lower-case letters, digits and hyphens".to_owned());
    }
    let spec = &recipe.spec;
    vendor::named(&spec.vendor).map_err(|error| error.context(format!("{name}: spec.vendor")))?;
    for id in spec.checks.all() {
        checks::find(id).map_err(|error| error.context(format!("{name}: spec.checks")))?;
        if spec.checks.all().filter(|other| *other == id).count() > 1 {
            return wrong(format!("check `{id}` is listed twice"));
        }
    }
    if spec.constraints.is_empty() && spec.checks.all().next().is_none() && spec.health.is_empty() {
        return Err(Error::usage(format!(
            "{name}: it has no constraint, no check and no health test: a recipe that asks nothing proves nothing"
        ))
        .hint("name a check under spec.checks; `seatrial list checks` shows all"));
    }
    let json = serde_json::to_value(spec).map_err(|error| Error::internal("write the recipe as JSON").because(error))?;
    tree::leaves(&json).map_err(|error| error.context(name.to_owned()))?;
    for constraint in &spec.constraints {
        constraints::check(constraint).map_err(|error| error.context(name.to_owned()))?;
    }
    for threshold in &spec.thresholds {
        if let Err(cause) = threshold.bound() {
            return wrong(format!("spec.thresholds: {} of {}", cause, printable(&threshold.id)));
        }
    }
    if let Some(problem) = spec.controllers.iter().find_map(crate::recipe::Controller::problem) {
        return wrong(format!("spec.controllers: {problem}"));
    }
    if let Some(problem) = spec.gang_schedulers.iter().find_map(crate::recipe::GangScheduler::problem) {
        return wrong(format!("spec.gangSchedulers: {problem}"));
    }
    for object in &spec.expect {
        if let Some(range) = &object.version
            && let Err(error) = semver::VersionReq::parse(range)
        {
            return wrong(format!("spec.expect: version `{}` of {} is no range: {error}", printable(range), object.name));
        }
    }
    for (intent, spec) in &spec.intent {
        if spec.pods == 0 || spec.gpus_per_pod == 0 {
            return wrong(format!("spec.intent.{} wants no pods or no GPUs, which proves nothing", intent.word()));
        }
        if spec.pods > MOST_PODS || spec.gpus_per_pod > MOST_GPUS {
            return wrong(format!("spec.intent.{} wants more than {MOST_PODS} pods or {MOST_GPUS} GPUs per pod", intent.word()));
        }
    }
    if let Some(Err(problem)) = spec.autoscaling.as_ref().map(super::Autoscaling::check) {
        return wrong(problem);
    }
    order(recipe).map_err(|error| error.context(name.to_owned())).map(|_| ())
}

/// The components in an order in which each comes after what it depends on; by name where that leaves a choice.
///
/// # Errors
/// A usage error if a component depends on one that is not there, or on itself in the end.
pub fn order(recipe: &Recipe) -> Result<Vec<&str>> {
    let mut left: Vec<&crate::recipe::Component> = recipe.spec.components.iter().collect();
    left.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = left.iter().map(|component| component.name.as_str()).collect();
    for component in &left {
        if let Some(missing) = component.dependency_refs.iter().find(|name| !names.contains(&name.as_str())) {
            let error =
                Error::usage(format!("component {} depends on `{}`, which is not in the recipe", component.name, printable(missing)));
            return Err(error.did_you_mean(missing, names, "add it, or take it out of dependencyRefs"));
        }
    }
    let mut order: Vec<&str> = Vec::new();
    while let Some(next) = left.iter().position(|component| component.dependency_refs.iter().all(|name| order.contains(&name.as_str()))) {
        order.push(&left.remove(next).name);
    }
    if left.is_empty() {
        return Ok(order);
    }
    let circle: Vec<&str> = left.iter().map(|component| component.name.as_str()).collect();
    Err(Error::usage(format!("components depend on each other in a circle: {}", circle.join(", "))))
}

/// Pods of an intent: Kubernetes supports clusters of 5,000 nodes, and one pod on each is enough.
const MOST_PODS: u32 = 5000;
/// GPUs of one pod: no node has more than 16; rack-scale nodes may.
const MOST_GPUS: u32 = 128;

fn health_tests(health: &mut [HealthFile], origin: &Origin<'_>) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for entry in health {
        let text = match &entry.test {
            Some(text) => text.clone(),
            None => health_file(&entry.file, origin)?,
        };
        same_digest(&mut entry.digest, &text, &entry.file, origin)?;
        if let Some(path) = entry.values_from.take() {
            // Merged here, so that the recipe's digest covers them.
            let mut values: serde_json::Map<String, serde_json::Value> = yaml::from_str(&health_file(&path, origin)?, &path)?;
            values.append(&mut entry.values);
            entry.values = values;
        }
        let referred = RefCell::new(BTreeMap::new());
        let read = |path: &str| {
            // Beside the file of tests, which lies somewhere below the recipe.
            let text = health_file(&Path::new(&entry.file).with_file_name(path).to_string_lossy(), origin)?;
            referred.borrow_mut().insert(path.to_owned(), text.clone());
            Ok(text)
        };
        tests.extend(health::load(&entry.file, &text, &health::Beside { read: &read, values: &entry.values })?);
        let mut found = BTreeMap::new();
        for (path, text) in referred.into_inner() {
            let mut digest = entry.resources.get(&path).cloned();
            same_digest(&mut digest, &text, &path, origin)?;
            found.extend(digest.map(|digest| (path, digest)));
        }
        entry.resources = found;
    }
    let mut ids: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!("two health tests of the recipe have the name {}", twice[0])));
    }
    Ok(tests)
}

/// Fills in the digest of a file, or compares it with the one that the recipe has.
fn same_digest(wanted: &mut Option<Digest>, text: &str, file: &str, origin: &Origin<'_>) -> Result<()> {
    let digest = Digest::of(text.as_bytes());
    if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted != digest) {
        let (file, is, wanted) = (printable(file), digest.short(), wanted.short());
        return Err(Error::usage(format!("{}: health file {file} is {is}, and the recipe wants {wanted}", origin.name))
            .hint("take the file that the recipe was made with, or leave `digest` out to take this one"));
    }
    *wanted = Some(digest);
    Ok(())
}

/// The text of a file by its path in the recipe data: that of one's own, else the shipped one.
pub(super) fn file(own: Option<&Own>, path: &str) -> Result<Option<String>> {
    match own.map(|own| own.file(path)).transpose()?.flatten() {
        Some(text) => Ok(Some(text)),
        None => Ok(data::recipe_file(path).map(str::to_owned)),
    }
}

fn health_file(file: &str, origin: &Origin<'_>) -> Result<String> {
    // A recipe may come from anybody: it names what came with it, and nothing else of this machine.
    if !Path::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(Error::usage(format!("{}: health file {} does not lie beside the recipe", origin.name, printable(file)))
            .hint("the path is relative to the recipe file, without `..`"));
    }
    let text = match origin.folder {
        Some(folder) if folder.join(file).exists() => Some(files::read_text(&folder.join(file), limits::DOCUMENT_BYTES)?),
        _ => self::file(origin.own, file)?,
    };
    text.ok_or_else(|| {
        Error::usage(format!("{}: there is no health file {}", origin.name, printable(file)))
            .hint("the path is relative to the recipe file, else to the shipped recipes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_recipe_is_valid() {
        let names = data::recipe_names();
        assert!(!names.is_empty());
        for name in names {
            assert_eq!(read(name).expect(name).recipe.metadata.name, name, "To fix: name the recipe like its file");
        }
    }

    #[test]
    fn an_unknown_check_and_a_wrong_name_are_refused() {
        let text = data::recipe_file("sim-h100.yaml").expect("shipped");
        for (from, to, says) in [
            ("- gpu-capacity", "- gpu-capasity", "there is no check `gpu-capasity`"),
            ("name: sim-h100", "name: ../x", "metadata.name"),
            ("vendor: nvidia", "vendor: nvidai", "no vendor profile"),
            ("seatrial.dev/v1alpha1", "seatrial.dev/v9", "r.yaml:2:13: apiVersion"),
            ("pods: 2, gpusPerPod: 8", "pods: 4294967295, gpusPerPod: 8", "more than 5000 pods"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let error = from_text(&changed, "r.yaml", None).expect_err(to);
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(error.chain().contains(says), "{}", error.chain());
        }
    }

    #[test]
    fn a_changed_health_file_changes_the_digest() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("health/sim");
        std::fs::create_dir_all(&path).expect("made");
        let text = data::recipe_file("health/sim/nodes.yaml").expect("shipped");
        let digest =
            || from_text(data::recipe_file("sim-h100.yaml").expect("shipped"), "r.yaml", Some(folder.path())).expect("reads").recipe;
        std::fs::write(path.join("nodes.yaml"), text).expect("written");
        let (before, shipped) = (digest(), read("sim-h100").expect("reads").recipe);
        assert_eq!(before.digest().expect("digest"), shipped.digest().expect("digest"));
        std::fs::write(path.join("nodes.yaml"), text.replacen("timeouts", "# another\n  timeouts", 1) + "\n# changed\n").expect("written");
        assert_ne!(digest().digest().expect("digest"), before.digest().expect("digest"));
    }
    /// A recipe with these lines in its `spec`.
    fn with(spec: &str) -> Result<LoadedRecipe> {
        let text = format!(
            "apiVersion: {API_VERSION}\nkind: Recipe\nmetadata: {{name: mine}}\nspec:\n  vendor: nvidia\n  checks: {{conformance: [gpu-capacity]}}\n{spec}\n"
        );
        from_text(&text, "r.yaml", None)
    }

    #[test]
    fn parts_that_contradict_themselves_are_refused() {
        for (spec, says) in [
            ("  components: [{name: a, dependencyRefs: [b]}, {name: b, dependencyRefs: [a]}]", "in a circle: a, b"),
            ("  components: [{name: a, dependencyRefs: [c]}]", "component a depends on `c`, which is not in the recipe"),
            ("  components: [{name: a}, {name: a}]", "components.a.name is stated twice"),
            (
                "  constraints: [{name: K8s.server.version, value: '1'}, {name: K8s.server.version, value: '2'}]",
                "constraints.K8s.server.version is stated twice",
            ),
            ("  health: [health/sim/nodes.yaml, health/sim/nodes.yaml]", "health.health/sim/nodes.yaml is stated twice"),
            ("  health: [{flie: x}]", "r.yaml:7:13: unknown field `flie`"),
            ("  health: [nowhere.yaml]", "there is no health file nowhere.yaml"),
            ("  health: [/etc/hostname]", "/etc/hostname does not lie beside the recipe"),
            ("  health: [health/../../x.yaml]", "does not lie beside the recipe"),
            ("  health: [{file: x.yaml, test: hello}]", "x.yaml:1:1"),
            ("  thresholds: [{id: x, value: '>= fast'}]", "`>= fast` is not an operator and a number"),
            ("  expect: [{apiVersion: v1, kind: Pod, name: a, version: new}]", "version `new` of a is no range"),
        ] {
            let error = with(spec).expect_err(spec);
            assert_eq!(error.kind(), crate::error::Kind::Usage, "{spec}");
            assert!(error.chain().contains(says), "{spec}: {}", error.chain());
        }
        let loaded = with("  components: [{name: a, dependencyRefs: [b]}, {name: b}, {name: 0}]").expect("reads");
        assert_eq!(order(&loaded.recipe).expect("an order"), ["0", "b", "a"]);
    }

    #[test]
    fn values_and_files_of_a_health_test_are_read_beside_it_and_are_in_the_digest() {
        let folder = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let test = "apiVersion: chainsaw.kyverno.io/v1alpha1\nkind: Test\nmetadata: {name: mine}\nspec: {steps: [{try: [{assert: {file: parts/node.yaml}}]}]}\n";
        write("tests/mine.yaml", test);
        write("tests/parts/node.yaml", "{apiVersion: v1, kind: Node, metadata: {name: ($values.node)}, labels: {a: ($values.more)}}");
        write("values.yaml", "{node: one, more: x}");
        let read = |entry: &str| {
            let spec =
                format!("apiVersion: {API_VERSION}\nkind: Recipe\nmetadata: {{name: mine}}\nspec: {{vendor: nvidia, health: [{entry}]}}\n");
            from_text(&spec, "r.yaml", Some(folder.path()))
        };
        let entry = "{file: tests/mine.yaml, valuesFrom: values.yaml, values: {node: two}}";
        let first = read(entry).expect("reads");
        assert_eq!(first.health[0].operations[0].selector.to_string(), "node two", "what the recipe says itself wins");
        let written = serde_json::to_value(&first.recipe.spec.health[0]).expect("JSON");
        assert_eq!(written["values"], serde_json::json!({"node": "two", "more": "x"}));
        assert!(written["resources"]["parts/node.yaml"].is_string() && written.get("valuesFrom").is_none(), "{written:#}");
        let digest = |entry: &str| read(entry).expect("reads").recipe.digest().expect("a digest");
        let before = digest(entry);
        write("values.yaml", "{node: one, more: y}");
        let other_values = digest(entry);
        write("tests/parts/node.yaml", "{apiVersion: v1, kind: Node}");
        assert!(before != other_values && other_values != digest(entry), "each of them changes the digest");
        let held = format!("{{file: tests/mine.yaml, resources: {{parts/node.yaml: \"{}\"}}}}", Digest::of(b"another"));
        assert!(read(&held).expect_err("is refused").chain().contains("health file parts/node.yaml is"));
        let outside = read("{file: tests/mine.yaml, valuesFrom: ../values.yaml}").expect_err("is refused");
        assert!(outside.chain().contains("does not lie beside the recipe"), "{}", outside.chain());
    }

    #[test]
    fn what_a_component_brings_is_expected() {
        let loaded = with("  components: [{name: a, expect: [{apiVersion: v1, kind: Namespace, name: a}]}]").expect("reads");
        assert_eq!((loaded.recipe.spec.expect.len(), loaded.recipe.spec.components[0].expect.len()), (1, 0));
    }
}
