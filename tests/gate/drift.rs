//! Evidence that comes with a change and is about another recipe, by each input that a recipe has: what the gate says names the input.

use seatrial::gate::report::{Match, RecipeState};
use seatrial::gate::{Decision, GateReport};
use seatrial::reason::Reason;
use seatrial::recipe::Recipe;
use seatrial::recipe::catalog::Catalog;
use seatrial::results::{Outcome, TestResult};

use crate::evidence::{World, added, judge, place, published};
use crate::recipes::{HEALTH, data, overlay, own, tree};
use crate::repository::{Touch, file};
use crate::sample::Sample;

/// A run that passed all that the recipe `own` of some data declares: its checks, its constraints, and its health files.
fn run_of(recipe: Recipe) -> Sample {
    let mut sample = Sample::good().without("secure-accelerator-access");
    let constraints = recipe.spec.constraints.iter().map(|one| (format!("constraint/{}", one.name), "snapshot", "readiness"));
    let health = recipe.spec.health.iter().enumerate().map(|(number, _)| (format!("health/{number}"), "health", "deployment"));
    let passed = constraints.chain(health).map(|(id, step, phase)| TestResult::of(id, 1, step, phase, passed()));
    sample.report.tests.splice(0..0, passed);
    sample.report.recipe.name.clone_from(&recipe.metadata.name);
    sample.report.recipe.digest = recipe.digest().expect("a digest");
    sample.recipe = recipe;
    sample.counted()
}

fn resolved(touches: &[Touch]) -> Recipe {
    Catalog::open(Some(tree(touches).path())).expect("reads").read("own").expect("is made").recipe
}

/// A world with recipe data in its base, and evidence of a run of the recipe `own` as it is there.
async fn world() -> Option<(World, Touch)> {
    let world = World::start().await?;
    world.repository.commit("data", Some("refs/heads/main"), &data());
    let evidence = published(&world.server, &run_of(resolved(&data())), &world.ours).await;
    let pointer = added(&evidence);
    world.repository.commit("fits", Some("refs/heads/data"), std::slice::from_ref(&pointer));
    let report = judge(&world.request("data", "fits")).await;
    assert_eq!(report.decision, Decision::Accept, "as it is, it is accepted: {report:#?}");
    assert_eq!(place(&evidence).split('/').nth(1), Some("own"));
    Some((world, pointer))
}

fn drift(report: &GateReport) -> Vec<&str> {
    report.pointers[0].facts.drift.iter().map(|change| change.input.as_str()).collect()
}

/// The pointer comes with a change to its recipe.
async fn drifts(change: Touch, input: &str) {
    let Some((world, pointer)) = world().await else { return };
    world.repository.commit("drifts", Some("refs/heads/data"), &[pointer, change]);
    let report = judge(&world.request("data", "drifts")).await;
    assert_eq!((report.decision, report.reason, report.exit), (Decision::Refuse, Some(Reason::RecipeDrifted), 12), "{report:#?}");
    assert!(drift(&report).iter().any(|one| one.starts_with(input)), "{input}: {:?}", drift(&report));
    assert!(report.pointers[0].reasons[0].message.contains(input), "{input} is named: {:?}", report.pointers[0].reasons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_file_that_changed_after_the_run_is_named() {
    drifts(file("recipes/health/own.yaml", format!("{HEALTH}# more\n")), "spec.health").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_threshold_that_changed_after_the_run_is_named() {
    drifts(overlay("own", &own("nccl, value: '>= 200'")), "spec.thresholds.nccl").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_that_changed_after_the_run_is_named_by_what_it_gives_to_the_recipe() {
    let base = overlay("ground", "  mixin: true\n  components: [{name: gpu-operator, version: v25.10.0}]\n");
    drifts(base, "spec.components.gpu-operator.version").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_judges_anew_since_the_run_is_named_and_one_that_judged_newer_already_is_not_held_against_it() {
    let Some((world, pointer)) = world().await else { return };
    world.repository.commit("head", Some("refs/heads/data"), &[pointer]);
    let version = |version: u32| {
        let mut request = world.request("data", "head");
        request.checks.insert("gpu-capacity".to_owned(), version);
        request
    };
    let report = judge(&version(2)).await;
    assert_eq!((report.decision, report.reason, report.exit), (Decision::Refuse, Some(Reason::RecipeDrifted), 12), "{report:#?}");
    assert_eq!(drift(&report), ["checks.gpu-capacity.version"]);
    assert!(report.summary.contains("checks.gpu-capacity.version from 1 to 2"), "{}", report.summary);
    // A version of one's own that is older than the evidence's says nothing against it, and is shown.
    let report = judge(&version(0)).await;
    assert_eq!(report.decision, Decision::Accept, "{report:#?}");
    assert_eq!(drift(&report), ["checks.gpu-capacity.version"]);
    // A check that this program does not know has no version to compare with.
    let mut request = world.request("data", "head");
    request.checks.clear();
    assert_eq!(judge(&request).await.decision, Decision::Accept);
}

const PROFILE: &str = include_str!("../../recipes/vendors/nvidia.yaml");

/// A profile of one's own that differs from the shipped one in a single name.
fn profile(resource: &str) -> Touch {
    assert!(PROFILE.contains("resource: nvidia.com/gpu"), "{PROFILE}");
    file("recipes/vendors/nvidia.yaml", PROFILE.replacen("resource: nvidia.com/gpu", &format!("resource: {resource}"), 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_profile_is_part_of_every_recipe_of_its_vendor() {
    let Some((world, pointer)) = world().await else { return };
    world.repository.commit("with", Some("refs/heads/data"), &[pointer]);
    world.repository.commit("same", Some("refs/heads/with"), &[profile("nvidia.com/gpu")]);
    let report = judge(&world.request("with", "same")).await;
    assert_eq!((report.decision, report.recipes.len()), (Decision::Accept, 0), "it says what ships: {report:#?}");

    world.repository.commit("other", Some("refs/heads/with"), &[profile("example.org/gpu")]);
    let report = judge(&world.request("with", "other")).await;
    assert_eq!(report.decision, Decision::NeedsEvidence, "{report:#?}");
    let row = report.recipes.iter().find(|row| row.name == "own").expect("is affected");
    assert_eq!((row.state, row.blocks, row.was == row.is), (RecipeState::Drifted, true, true), "{row:#?}");
    assert_eq!(
        (row.affected_by.as_slice(), row.changes[0].input.as_str()),
        (["vendors/nvidia.yaml".to_owned()].as_slice(), "vendors.nvidia.resource")
    );
    assert_eq!(row.evidence[0].matches, Match::Drifted);
    assert!(report.recipes.iter().any(|row| row.name == "h100-eks-training"), "recipes that ship are affected too");
    assert!(report.recipes.iter().all(|row| !row.name.contains("mi300x")), "those of other vendors are not");

    // Evidence that comes with the profile may have been made by it; that it was, nobody can see.
    let renewed = published(&world.server, &run_of(resolved(&data())).with("gpu-capacity", passed()), &world.ours).await;
    world.repository.commit("renewed", Some("refs/heads/with"), &[profile("example.org/gpu"), added(&renewed)]);
    let report = judge(&world.request("with", "renewed")).await;
    let row = report.recipes.iter().find(|row| row.name == "own").expect("is affected");
    assert_eq!(row.state, RecipeState::Current, "{row:#?}");
    assert!(report.not_shown.iter().any(|open| open.contains("vendor profile")), "{:?}", report.not_shown);

    world.repository.commit("broken", Some("refs/heads/with"), &[file("recipes/vendors/nvidia.yaml", "name: 3\nx: y\n")]);
    let report = judge(&world.request("with", "broken")).await;
    assert_eq!((report.decision, report.reason), (Decision::Refuse, Some(Reason::RecipeInvalid)), "{report:#?}");
}

fn passed() -> Outcome {
    Outcome::pass("2 of 2 nodes").seen("nodes", vec!["sim-1".to_owned(), "sim-2".to_owned()], 2).asserted(2, 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_both_sides_made_of_a_recipe_is_not_known_before_it_is_merged() {
    let Some((world, pointer)) = world().await else { return };
    // The head makes the recipe weaker in one place, the base stricter in another: neither is what a merge makes of both.
    world.repository.commit(
        "head",
        Some("refs/heads/data"),
        &[pointer.clone(), overlay("own", &own("nccl, value: '>= 100'").replace("gpu-capacity", "dra-support"))],
    );
    world.repository.commit("data", Some("refs/heads/data"), &[overlay("own", &own("nccl, value: '>= 300'"))]);
    let report = judge(&world.request("data", "head")).await;
    assert_eq!((report.decision, report.reason, report.exit), (Decision::Undecided, Some(Reason::MergeUnknown), 3), "{report:#?}");
    assert!(
        report.summary.contains("recipes/overlays/own.yaml") && report.advice.iter().any(|advice| advice.contains("merge the base")),
        "{report:#?}"
    );
    // The same edit on both sides is no riddle.
    world.repository.commit("head", Some("refs/heads/fits"), &[overlay("own", &own("nccl, value: '>= 300'"))]);
    let report = judge(&world.request("data", "head")).await;
    assert_ne!(report.reason, Some(Reason::MergeUnknown), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_file_takes_the_name_of_a_recipe() {
    let Some(world) = World::start().await else { return };
    // It sorts before the real one, asks for less, and has the same name.
    let lesser = "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {name: sim-h100}\nspec:\n  vendor: nvidia\n  checks: {conformance: [gpu-capacity]}\n";
    let mut run = run_of(seatrial::recipe::load::from_text(lesser, "r.yaml", None).expect("reads").recipe);
    run.report.run = "20261122-101530-00000b".to_owned();
    let evidence = published(&world.server, &run, &world.ours).await;
    world.repository.commit("head", Some("refs/heads/main"), &[file("recipes/a.yaml", lesser), added(&evidence)]);
    let report = judge(&world.request("main", "head")).await;
    assert_eq!((report.decision, report.reason), (Decision::Refuse, Some(Reason::RecipeInvalid)), "{report:#?}");
    assert!(report.summary.contains("both hold a recipe of this name"), "{}", report.summary);
}
