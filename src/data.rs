//! Data that ships inside the binary: workflows, recipes, health tests.

use include_dir::{Dir, include_dir};

static WORKFLOWS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/workflows");
static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/recipes");

/// The text of a shipped workflow.
#[must_use]
pub fn workflow(name: &str) -> Option<&'static str> {
    WORKFLOWS.get_file(format!("{name}.yaml"))?.contents_utf8()
}

/// Names of the shipped workflows, sorted.
#[must_use]
pub fn workflow_names() -> Vec<&'static str> {
    stems(&WORKFLOWS)
}

/// The text of a file under `recipes/`, by its path there.
#[must_use]
pub fn recipe_file(path: &str) -> Option<&'static str> {
    RECIPES.get_file(path)?.contents_utf8()
}

/// Paths of the shipped overlays below `recipes/`, sorted.
#[must_use]
pub fn overlay_files() -> Vec<&'static str> {
    let folder = RECIPES.get_dir("overlays");
    let mut paths: Vec<&str> = folder.into_iter().flat_map(Dir::files).filter_map(|file| file.path().to_str()).collect();
    paths.retain(|path| path.ends_with(".yaml"));
    paths.sort_unstable();
    paths
}

/// Names of the shipped complete recipes, sorted.
#[must_use]
pub fn recipe_names() -> Vec<&'static str> {
    stems(&RECIPES)
}

fn stems(folder: &'static Dir<'static>) -> Vec<&'static str> {
    let mut names: Vec<&str> = folder.files().filter_map(|file| file.path().file_stem()?.to_str()).collect();
    names.sort_unstable();
    names
}
