//! What is wrong with recipe files, and what is only doubtful.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checks::{self, Known};
use crate::error::{Error, Result, nearest};
use crate::recipe::catalog::Catalog;
use crate::recipe::criteria::{DIMENSIONS, Words};
use crate::recipe::load::{Document, parse};
use crate::recipe::overlay::Part;
use crate::recipe::{Component, ComponentType, Phases, Recipe, Threshold};
use crate::{files, limits};

/// What was found in one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The file.
    pub file: String,
    /// True if the file cannot be used.
    pub error: bool,
    /// What it is, with its place where it has one.
    pub message: String,
    /// What to do.
    pub hints: Vec<String>,
}

/// What was looked at, and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// The files, in order.
    pub files: Vec<String>,
    /// What was found, in the order of the files.
    pub findings: Vec<Finding>,
}

impl Findings {
    fn error(&mut self, file: &str, error: &Error) {
        self.findings.push(Finding { file: file.to_owned(), error: true, message: error.chain(), hints: error.hints().to_vec() });
    }

    fn warn(&mut self, file: &str, message: impl Into<String>) {
        self.findings.push(Finding { file: file.to_owned(), error: false, message: message.into(), hints: Vec::new() });
    }
}

/// Looks at files, and at all YAML files of directories and of the folder `overlays` below them.
///
/// # Errors
/// A usage error if there is no such file, or no file at all.
pub fn lint(paths: &[PathBuf], catalog: &Catalog) -> Result<Findings> {
    let mut found = Findings::default();
    for path in paths {
        if path.is_dir() {
            // A directory is a collection: its overlays may build upon each other.
            let own = Catalog::open(Some(path));
            let files = yaml_files(path)?;
            if files.is_empty() {
                return Err(Error::usage(format!("{} holds no YAML file", path.display())).hint("recipes end with .yaml"));
            }
            let with = own.as_ref().unwrap_or(catalog);
            let before = found.findings.len();
            for file in files {
                one(&file, with, &mut found)?;
            }
            if let Err(error) = &own
                && !found.findings[before..].iter().any(|finding| finding.error)
            {
                found.error(&path.display().to_string(), error);
            }
        } else {
            one(path, catalog, &mut found)?;
        }
    }
    Ok(found)
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in [folder.to_owned(), folder.join("overlays")].into_iter().filter(|folder| folder.is_dir()) {
        let failed = |error: std::io::Error| Error::usage(format!("read the directory {}", folder.display())).because(error);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn one(path: &Path, catalog: &Catalog, found: &mut Findings) -> Result<()> {
    let name = path.display().to_string();
    let text = files::read_text(path, limits::DOCUMENT_BYTES)?;
    found.files.push(name.clone());
    let document = match parse(&text, &name) {
        Ok(document) => document,
        Err(error) => {
            found.error(&name, &error);
            return Ok(());
        }
    };
    match document {
        Document::Recipe(..) => match catalog.from_text(&text, &name, path.parent()) {
            Ok(loaded) => {
                for note in loaded.notes {
                    found.warn(&name, note);
                }
                recipe(&loaded.recipe, &name, found);
            }
            Err(error) => found.error(&name, &error),
        },
        Document::Criteria(query) => {
            if let Err(error) = catalog.resolve(&query) {
                found.error(&name, &error);
            }
        }
        Document::Overlay(overlay) => match Part::of(*overlay, &name).and_then(|part| Ok((catalog.with(part.clone())?, part))) {
            Ok((catalog, part)) => {
                self::overlay(&part, &catalog, &name, found);
                if !part.mixin
                    && let Err(error) = catalog.from_text(&text, &name, path.parent())
                {
                    found.error(&name, &error);
                }
            }
            Err(error) => found.error(&name, &error),
        },
    }
    Ok(())
}

fn recipe(recipe: &Recipe, name: &str, found: &mut Findings) {
    let spec = &recipe.spec;
    for (empty, what) in [
        (spec.health.is_empty(), "spec.health is empty: the health step has nothing to look at but deployment checks"),
        (spec.expect.is_empty(), "spec.expect is empty: the inventory has nothing to look for"),
        (spec.checks.conformance.is_empty(), "spec.checks.conformance is empty: the conformance step has nothing to look at"),
        (spec.constraints.is_empty(), "spec.constraints is empty: nothing is asked of the snapshot"),
        (spec.intent.is_empty(), "spec.intent is empty: no workload is tried"),
    ] {
        if empty {
            found.warn(name, what);
        }
    }
    checks(&spec.checks, name, found);
    components(&spec.components, name, found);
    thresholds(&spec.thresholds, name, found);
    words(&recipe.spec.criteria, name, found);
}

fn checks(phases: &Phases, name: &str, found: &mut Findings) {
    for id in phases.all() {
        if let Ok(Known::NotBuilt(id)) = checks::find(id) {
            found.warn(name, format!("check {id} is known, and this version cannot run it: it will be error(unsupported)"));
        }
    }
}

fn components(components: &[Component], name: &str, found: &mut Findings) {
    for component in components {
        let version = component.version.as_ref().or(component.tag.as_ref());
        if component.component_type.is_some() && version.is_none() {
            found.warn(name, format!("component {} has no version", component.name));
        }
        if component.component_type == Some(ComponentType::Helm) && (component.tag.is_some() || component.path.is_some()) {
            found.warn(name, format!("component {} is a Helm chart, and has the tag or path of a kustomization", component.name));
        }
    }
}

fn thresholds(thresholds: &[Threshold], name: &str, found: &mut Findings) {
    for threshold in thresholds {
        for (missing, what) in
            [(threshold.source.is_none(), "where it comes from (source)"), (threshold.per.is_none(), "what it is for one of (per)")]
        {
            if missing {
                found.warn(name, format!("threshold {} does not say {what}", threshold.id));
            }
        }
    }
}

fn words(criteria: &crate::recipe::Criteria, name: &str, found: &mut Findings) {
    let known = Words::of([]);
    for dimension in DIMENSIONS {
        let Some(word) = criteria.get(dimension) else { continue };
        let words: Vec<&str> = known.in_dimension(dimension).collect();
        if !words.contains(&word)
            && let Some(near) = nearest(word, words.iter().copied())
        {
            found.warn(name, format!("{dimension} `{word}` is not known: is `{near}` meant?"));
        }
    }
}

fn overlay(part: &Part, catalog: &Catalog, name: &str, found: &mut Findings) {
    words(&part.criteria, name, found);
    if part.mixin && !catalog.parts().iter().any(|other| other.base.as_deref() == Some(&part.name)) {
        found.warn(name, "a mixin that nothing builds upon");
    }
    for removal in part.idle_removals(catalog) {
        found.warn(name, format!("remove: no other overlay sets {removal}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Findings {
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(folder.path().join("overlays")).expect("made");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        lint(&[folder.path().to_owned()], Catalog::shipped().expect("a catalog")).expect("lints")
    }

    const HEAD: &str = "apiVersion: seatrial.dev/v1alpha1\nkind: RecipeOverlay\nmetadata: {name: mine}\nspec: ";

    #[test]
    fn the_shipped_files_have_no_errors() {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes"));
        let found = lint(&[folder], Catalog::shipped().expect("a catalog")).expect("lints");
        assert!(found.files.len() > 20);
        let errors: Vec<&Finding> = found.findings.iter().filter(|finding| finding.error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(
            !found.findings.iter().any(|finding| finding.message.contains("remove:") || finding.message.contains("mixin")),
            "{:?}",
            found.findings
        );
    }

    #[test]
    fn a_wrong_file_is_an_error_and_the_others_are_looked_at_too() {
        let overlay = format!("{HEAD}{{criteria: {{service: ekss}}, remove: {{checks: [dra-suport]}}}}\n");
        let wrong = HEAD.replace("mine", "wrong") + "{constraint: []}\n";
        let found = findings(&[("overlays/a.yaml", &wrong), ("overlays/b.yaml", &overlay)]);
        assert_eq!(found.files.len(), 2);
        let said: Vec<(bool, &str)> = found.findings.iter().map(|finding| (finding.error, finding.message.as_str())).collect();
        assert!(said[0].0 && said[0].1.contains("a.yaml:4:8: unknown field"), "{said:?}");
        assert!(said.contains(&(false, "service `ekss` is not known: is `eks` meant?")), "{said:?}");
        assert!(said.contains(&(false, "remove: no other overlay sets checks.dra-suport")), "{said:?}");
    }

    #[test]
    fn a_recipe_is_told_what_it_does_not_ask() {
        let text = "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {name: mine}\nspec: {vendor: nvidia, checks: {performance: [inference-perf]}, thresholds: [{id: x, value: '> 1'}]}\n";
        let found = findings(&[("r.yaml", text)]);
        let said: Vec<&str> = found.findings.iter().map(|finding| finding.message.as_str()).collect();
        for part in
            ["spec.health is empty", "spec.checks.conformance is empty", "inference-perf is known", "threshold x does not say where"]
        {
            assert!(said.iter().any(|said| said.contains(part)), "{part}: {said:?}");
        }
        assert!(found.findings.iter().all(|finding| !finding.error));
    }
}
