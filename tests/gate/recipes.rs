//! Which recipes a change affects, by overlay, base, health file or threshold, and what becomes of their evidence.

use std::collections::BTreeMap;

use seatrial::evidence::{Pointer, pointer::PointerKind};
use seatrial::gate::report::{Match, RecipeState};
use seatrial::gate::{Decision, GateReport};
use seatrial::reason::Reason;
use seatrial::recipe::catalog::Catalog;

use crate::evidence::{World, judge, place};
use crate::repository::{Touch, file};

const HEAD: &str = "apiVersion: seatrial.dev/v1alpha1\nkind: RecipeOverlay\n";

pub(crate) fn overlay(name: &str, spec: &str) -> Touch {
    file(&format!("recipes/overlays/{name}.yaml"), format!("{HEAD}metadata: {{name: {name}}}\nspec:\n{spec}"))
}

const OWN: &str = "  vendor: nvidia\n  criteria: {accelerator: own}\n  checks: {conformance: [gpu-capacity]}\n";
pub(crate) const HEALTH: &str = include_str!("../../recipes/health/sim/nodes.yaml");

/// The overlay `own`, with a threshold.
pub(crate) fn own(threshold: &str) -> String {
    format!("  base: ground\n{OWN}  health: [health/own.yaml]\n  thresholds: [{{id: {threshold}}}]\n")
}

/// Recipe data: a mixin, an overlay on it with a health file, and one that has nothing to do with them.
pub(crate) fn data() -> Vec<Touch> {
    vec![
        overlay("ground", "  mixin: true\n  components: [{name: gpu-operator, version: v25.3.0}]\n"),
        overlay("own", &own("nccl, value: '>= 100'")),
        overlay("other", &OWN.replace("own", "other")),
        file("recipes/health/own.yaml", HEALTH),
    ]
}

/// The files of some recipe data, in a directory.
pub(crate) fn tree(touches: &[Touch]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (path, node) in touches {
        let (path, crate::repository::Node::File(bytes)) = (String::from_utf8_lossy(path), node) else { panic!("no file") };
        let path = folder.path().join(path.strip_prefix("recipes/").expect("below"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("is made");
        std::fs::write(path, bytes).expect("is written");
    }
    folder
}

/// The digest of a recipe of some data.
fn digest(touches: &[Touch], name: &str) -> seatrial::digest::Digest {
    let loaded = Catalog::open(Some(tree(touches).path())).expect("reads").read(name).expect("is made");
    loaded.recipe.digest().expect("a digest")
}

/// A pointer that was accepted once, for a recipe with this digest.
fn accepted(world: &World, name: &str, digest: seatrial::digest::Digest) -> Touch {
    let mut pointer = Pointer { kind: PointerKind::EvidencePointer, ..world.old.clone() };
    pointer.recipe.name = name.to_owned();
    pointer.recipe.digest = digest;
    file(&place(&pointer), pointer.to_yaml().expect("YAML"))
}

fn rows(report: &GateReport) -> BTreeMap<&str, (RecipeState, bool)> {
    report.recipes.iter().map(|row| (row.name.as_str(), (row.state, row.blocks))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipe_is_affected_by_all_that_it_is_made_of_and_evidence_is_held_against_what_it_asks_then() {
    let Some(world) = World::start().await else { return };
    let before = [data(), vec![accepted(&world, "own", digest(&data(), "own"))]].concat();
    world.repository.commit("data", Some("refs/heads/main"), &before);
    let drifted = (RecipeState::Drifted, true);
    let current = (RecipeState::Current, false);
    for (name, touches, by, expected) in [
        ("the overlay", vec![overlay("own", &format!("  base: ground\n{OWN}"))], "overlays/own.yaml", drifted),
        (
            "its base",
            vec![overlay("ground", "  mixin: true\n  components: [{name: gpu-operator, version: v25.10.0}]\n")],
            "overlays/ground.yaml",
            drifted,
        ),
        ("its health file", vec![file("recipes/health/own.yaml", format!("{HEALTH}# more\n"))], "health/own.yaml", drifted),
        ("a threshold", vec![overlay("own", &own("nccl, value: '>= 200'"))], "overlays/own.yaml", drifted),
        ("an overlay that says nothing", vec![overlay("void", "  criteria: {accelerator: own}\n")], "overlays/void.yaml", current),
    ] {
        world.repository.commit("change", Some("refs/heads/data"), &touches);
        let report = judge(&world.request("data", "change")).await;
        assert_eq!(rows(&report), BTreeMap::from([("own", expected)]), "{name}: {report:#?}");
        let row = &report.recipes[0];
        assert_eq!(row.affected_by, [by], "{name}");
        assert!(!row.changes.is_empty(), "{name}");
        let (decision, reason) =
            if expected == current { (Decision::Accept, None) } else { (Decision::NeedsEvidence, Some(Reason::EvidenceOutdated)) };
        assert_eq!((report.decision, report.reason), (decision, reason), "{name}");
        let matches = if expected == current { Match::NotMaterial } else { Match::Drifted };
        assert_eq!(row.evidence.iter().map(|one| one.matches).collect::<Vec<_>>(), [matches], "{name}");
    }

    world.repository.commit(
        "other",
        Some("refs/heads/data"),
        &[overlay("other", &OWN.replace("own", "other").replace("gpu-capacity", "dra-support"))],
    );
    let report = judge(&world.request("data", "other")).await;
    assert_eq!(rows(&report), BTreeMap::from([("other", (RecipeState::Missing, true))]));
    assert_eq!((report.decision, report.exit), (Decision::NeedsEvidence, 13));
    assert!(report.advice.iter().any(|advice| advice.contains("seatrial run")), "{:?}", report.advice);

    world.repository.commit("moved", Some("refs/heads/data"), &[overlay("own", &format!("  base: ground\n{OWN}"))]);
    world.repository.commit("back", Some("refs/heads/moved"), &data());
    let report = judge(&world.request("moved", "back")).await;
    assert_eq!(rows(&report), BTreeMap::from([("own", current)]), "evidence of what it asks again");
}
