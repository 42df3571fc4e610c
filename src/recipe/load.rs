//! Reads recipes: shipped ones by name, others by path; and finds the one that a snapshot fits.

use std::path::Path;

use crate::error::{Error, Result};
use crate::health::{self, Test};
use crate::recipe::{API_VERSION, Recipe};
use crate::snapshot::Snapshot;
use crate::{checks, data, files, limits, vendor, yaml};

/// A recipe that was read and checked, with its health tests.
#[derive(Clone, Debug)]
pub struct LoadedRecipe {
    /// The recipe.
    pub recipe: Recipe,
    /// The tests of its health files, in the recipe's order.
    pub health: Vec<Test>,
}

/// Reads a recipe by the name of a shipped one or by path.
///
/// # Errors
/// A usage error that names file, line and column, or the nearest known name.
pub fn read(name_or_path: &str) -> Result<LoadedRecipe> {
    let is_path = name_or_path.contains(['/', '.']);
    let (text, name, folder) = if is_path {
        let path = Path::new(name_or_path);
        (files::read_text(path, limits::DOCUMENT_BYTES)?, name_or_path.to_owned(), path.parent())
    } else {
        let file = format!("{name_or_path}.yaml");
        let text = data::recipe_file(&file).ok_or_else(|| unknown_recipe(name_or_path))?;
        (text.to_owned(), format!("recipes/{file}"), None)
    };
    let recipe: Recipe = yaml::from_str(&text, &name)?;
    check(&recipe, &name)?;
    let health = health_tests(&recipe, folder, &name)?;
    Ok(LoadedRecipe { recipe, health })
}

/// The shipped recipe, if there is only one.
#[must_use]
pub fn only() -> Option<Result<LoadedRecipe>> {
    match data::recipe_names().as_slice() {
        [one] => Some(read(one)),
        _ => None,
    }
}

/// The shipped recipe that a snapshot fits best.
///
/// # Errors
/// A usage error if none fits, or if two fit equally well.
pub fn fitting(snapshot: &Snapshot) -> Result<LoadedRecipe> {
    let mut fits = Vec::new();
    for name in data::recipe_names() {
        let loaded = read(name)?;
        if fits_snapshot(&loaded.recipe, snapshot) {
            fits.push(loaded);
        }
    }
    match fits.len() {
        0 => Err(Error::usage("no shipped recipe fits this cluster")
            .hint(format!("give --recipe FILE, or one of: {}", data::recipe_names().join(", ")))),
        1 => Ok(fits.remove(0)),
        _ => {
            let names: Vec<&str> = fits.iter().map(|one| one.recipe.metadata.name.as_str()).collect();
            Err(Error::usage(format!("several recipes fit this cluster: {}", names.join(", "))).hint("choose one with --recipe"))
        }
    }
}

fn fits_snapshot(recipe: &Recipe, snapshot: &Snapshot) -> bool {
    recipe.spec.criteria.iter().all(|(dimension, wanted)| match dimension.as_str() {
        "service" => (wanted == "sim") == (snapshot.cluster.hardware == crate::snapshot::Hardware::Simulated),
        "accelerator" => snapshot.gpu_nodes().any(|node| {
            let product = node.gpus.product.as_deref().unwrap_or_default().to_lowercase();
            product.contains(&wanted.to_lowercase())
        }),
        _ => true,
    })
}

fn unknown_recipe(name: &str) -> Error {
    let known = data::recipe_names();
    let all = format!("shipped: {}; or give a path such as ./{name}.yaml", known.join(", "));
    Error::usage(format!("there is no recipe `{}`", crate::ui::printable(name))).did_you_mean(name, known, all)
}

fn check(recipe: &Recipe, name: &str) -> Result<()> {
    let wrong = |message: String| Err(Error::usage(format!("{name}: {message}")));
    if recipe.api_version != API_VERSION {
        return wrong(format!("apiVersion is `{}`, this version reads {API_VERSION}", crate::ui::printable(&recipe.api_version)));
    }
    let id = &recipe.metadata.name;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || id.len() > 63 || !id.bytes().all(allowed) || id.starts_with('-') || id.ends_with('-') {
        return wrong("metadata.name must be 1 to 63 lower-case letters, digits and hyphens".to_owned());
    }
    vendor::named(&recipe.spec.vendor).map_err(|error| error.context(format!("{name}: spec.vendor")))?;
    let phases = [&recipe.spec.checks.deployment, &recipe.spec.checks.conformance, &recipe.spec.checks.performance];
    for id in phases.into_iter().flatten() {
        checks::find(id).map_err(|error| error.context(format!("{name}: spec.checks")))?;
        if phases.into_iter().flatten().filter(|other| *other == id).count() > 1 {
            return wrong(format!("check `{id}` is listed twice"));
        }
    }
    if recipe.spec.checks.conformance.is_empty() {
        return wrong("spec.checks.conformance is empty: a recipe that asks nothing proves nothing".to_owned());
    }
    if recipe.spec.health.is_empty() {
        return wrong("spec.health is empty: a recipe without health tests proves nothing of the platform".to_owned());
    }
    for object in &recipe.spec.expect {
        if let Some(range) = &object.version
            && let Err(error) = semver::VersionReq::parse(range)
        {
            return wrong(format!("spec.expect: version `{}` of {} is no range: {error}", crate::ui::printable(range), object.name));
        }
    }
    for (intent, spec) in &recipe.spec.intent {
        if spec.pods == 0 || spec.gpus_per_pod == 0 {
            return wrong(format!("spec.intent.{} wants no pods or no GPUs, which proves nothing", intent.word()));
        }
        if spec.pods > MOST_PODS || spec.gpus_per_pod > MOST_GPUS {
            return wrong(format!("spec.intent.{} wants more than {MOST_PODS} pods or {MOST_GPUS} GPUs per pod", intent.word()));
        }
    }
    Ok(())
}

/// Pods of an intent: Kubernetes supports clusters of 5,000 nodes, and one pod on each is enough.
const MOST_PODS: u32 = 5000;
/// GPUs of one pod: no node has more than 16; rack-scale nodes may.
const MOST_GPUS: u32 = 128;

fn health_tests(recipe: &Recipe, folder: Option<&Path>, name: &str) -> Result<Vec<Test>> {
    let none = |file: &str| -> Result<String> {
        Err(Error::usage(format!("the health test refers to the file {file}")).hint("write the resource into the test"))
    };
    let mut tests = Vec::new();
    for file in &recipe.spec.health {
        tests.extend(health::load(file, &health_file(file, folder, name)?, &none)?);
    }
    let mut ids: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!("two health tests of the recipe have the name {}", twice[0])));
    }
    Ok(tests)
}

fn health_file(file: &str, folder: Option<&Path>, name: &str) -> Result<String> {
    let text = match folder {
        Some(folder) if folder.join(file).exists() => Some(files::read_text(&folder.join(file), limits::DOCUMENT_BYTES)?),
        _ => data::recipe_file(file).map(str::to_owned),
    };
    text.ok_or_else(|| {
        Error::usage(format!("{name}: there is no health file {}", crate::ui::printable(file)))
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
    fn an_empty_phase_an_unknown_check_and_a_wrong_name_are_refused() {
        let text = data::recipe_file("sim-h100.yaml").expect("shipped");
        for (from, to, says) in [
            ("- gpu-capacity", "- gpu-capasity", "there is no check `gpu-capasity`"),
            ("name: sim-h100", "name: ../x", "metadata.name"),
            ("vendor: nvidia", "vendor: nvidai", "no vendor profile"),
            ("seatrial.dev/v1alpha1", "seatrial.dev/v9", "apiVersion"),
            ("pods: 2, gpusPerPod: 8", "pods: 4294967295, gpusPerPod: 8", "more than 5000 pods"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let folder = tempfile::tempdir().expect("a directory");
            let path = folder.path().join("r.yaml");
            std::fs::write(&path, changed).expect("written");
            let error = read(path.to_str().expect("text")).expect_err(to);
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(error.chain().contains(says), "{}", error.chain());
        }
    }
}
