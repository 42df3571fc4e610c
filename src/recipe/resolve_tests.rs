//! Resolving: order, what overrides what, ties, coverage, removal, and every combination that ships.

use proptest::prelude::*;
use serde_json::json;

use crate::error::Kind;
use crate::recipe::catalog::Catalog;
use crate::recipe::criteria::Criteria;
use crate::recipe::load::{Document, parse};
use crate::recipe::overlay::Part;
use crate::yaml;

fn part(name: &str, spec: &str) -> Part {
    let text = format!("apiVersion: seatrial.dev/v1alpha1\nkind: RecipeOverlay\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    let Document::Overlay(overlay) = parse(&text, name).expect(name) else { panic!("an overlay") };
    Part::of(*overlay, &format!("{name}.yaml")).expect(name)
}

fn catalog(parts: &[(&str, &str)]) -> crate::error::Result<Catalog> {
    Catalog::of(parts.iter().map(|(name, spec)| part(name, spec)).collect())
}

fn criteria(text: &str) -> Criteria {
    yaml::from_str(text, "c.yaml").expect(text)
}

fn value(catalog: &Catalog, query: &str, path: &str) -> serde_json::Value {
    catalog.resolve(&criteria(query)).expect(query).recipe.get(path).expect(path)
}

const BASE: (&str, &str) =
    ("base", "{vendor: nvidia, checks: {conformance: [platform-health]}, components: [{name: a, version: '1', values: {x: {y: 1}}}]}");

#[test]
fn the_more_specific_overlay_wins_field_by_field_and_checks_add_up() {
    let catalog = catalog(&[
        BASE,
        ("z-eks", "{criteria: {service: eks}, components: [{name: a, version: '2'}], checks: {conformance: [dra-support]}}"),
        ("a-eks-h100", "{criteria: {service: eks, accelerator: h100}, components: [{name: a, version: '3', values: {x: {z: 2}}}]}"),
    ])
    .expect("a catalog");
    assert_eq!(value(&catalog, "{service: eks}", "components.a.version"), "2");
    assert_eq!(value(&catalog, "{service: eks, accelerator: h100}", "components.a.version"), "3");
    assert_eq!(value(&catalog, "{service: eks, accelerator: h100}", "components.a.values"), json!({"x": {"y": 1, "z": 2}}));
    let resolved = catalog.resolve(&criteria("{service: eks, accelerator: h100}")).expect("resolves");
    assert_eq!(resolved.recipe.metadata.overlays, ["base", "z-eks", "a-eks-h100"]);
    assert_eq!(resolved.recipe.metadata.name, "h100-eks");
    assert_eq!(resolved.recipe.spec.checks.conformance, ["dra-support", "platform-health"]);
    let told = resolved.explain(Some("components.a.version")).expect("is told");
    assert_eq!((told.len(), told[0].by.as_str()), (1, "a-eks-h100"));
    let before: Vec<(&str, Option<&serde_json::Value>)> =
        told[0].overrode.iter().map(|one| (one.by.as_str(), one.value.as_ref())).collect();
    assert_eq!(before, [("base", Some(&json!("1"))), ("z-eks", Some(&json!("2")))]);
    assert_eq!(resolved.explain(Some("components.b")).expect_err("is refused").kind(), Kind::Usage);
}

#[test]
fn any_in_a_query_takes_only_what_is_for_any() {
    let catalog =
        catalog(&[BASE, ("eks", "{criteria: {service: eks, os: any}, components: [{name: a, version: '2'}]}")]).expect("a catalog");
    assert_eq!(value(&catalog, "{}", "components.a.version"), "1");
    assert_eq!(value(&catalog, "{service: any}", "components.a.version"), "1");
}

#[test]
fn two_overlays_that_differ_at_the_same_specificity_are_a_tie() {
    let eks = ("eks", "{criteria: {service: eks}, components: [{name: a, version: '2'}]}");
    let query = criteria("{service: eks, accelerator: h100}");
    let tie =
        |other: &str, more: &[(&str, &str)]| catalog(&[&[BASE, eks, ("h100", other)], more].concat()).expect("a catalog").resolve(&query);
    let error = tie("{criteria: {accelerator: h100}, components: [{name: a, version: '3'}]}", &[]).expect_err("is a tie");
    assert_eq!(error.kind(), Kind::Usage);
    let says = "overlays eks and h100 both fit, are equally specific, and differ on components.a.version: \"2\" and \"3\"";
    assert_eq!(error.chain(), says);
    assert!(error.hints()[0].contains("eks.yaml and h100.yaml"), "{:?}", error.hints());
    // The same value, another value, a base, and a more specific word are no ties.
    assert!(tie("{criteria: {accelerator: h100}, components: [{name: a, version: '2'}]}", &[]).is_ok());
    assert!(tie("{criteria: {accelerator: h100}, components: [{name: a, namespace: n}]}", &[]).is_ok());
    assert!(tie("{base: eks, criteria: {accelerator: h100}, components: [{name: a, version: '3'}]}", &[]).is_ok());
    let both = ("both", "{criteria: {service: eks, accelerator: h100}, components: [{name: a, version: '4'}]}");
    let settled = tie("{criteria: {accelerator: h100}, components: [{name: a, version: '3'}]}", &[both]).expect("is settled");
    assert_eq!(settled.recipe.get("components.a.version").expect("is there"), "4");
    // To take out what another sets is a tie too, and so is a value where another has a map.
    let error = tie("{criteria: {accelerator: h100}, remove: {components: [a]}}", &[]).expect_err("is a tie");
    assert!(error.chain().contains("components.a taken out"), "{}", error.chain());
    let error = catalog(&[
        BASE,
        ("eks", "{criteria: {service: eks}, components: [{name: a, values: {x: 1}}]}"),
        ("h100", "{criteria: {accelerator: h100}, components: [{name: a, values: {x: {w: 1}}}]}"),
    ]);
    assert!(error.expect("a catalog").resolve(&query).expect_err("is a tie").chain().contains("differ on components.a.values.x"));
}

#[test]
fn a_stated_dimension_that_nothing_covers_is_an_error_with_what_there_is() {
    let catalog = catalog(&[BASE, ("eks", "{criteria: {service: eks}}"), ("k", "{criteria: {platform: kubeflow, intent: training}}")])
        .expect("a catalog");
    let error = catalog.resolve(&criteria("{service: gke}")).expect_err("is refused");
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(error.chain(), "no recipe is for service gke: nothing covers service gke");
    assert!(error.hints()[0].contains("for service there is: eks"), "{:?}", error.hints());
    let error = catalog.resolve(&criteria("{service: eks, platform: kubeflow}")).expect_err("is refused");
    assert!(error.hints()[0].contains("intent training, platform kubeflow"), "{:?}", error.hints());
    assert!(catalog.resolve(&criteria("{service: eks, nodes: 4}")).expect_err("is refused").chain().contains("nothing covers nodes 4"));
}

#[test]
fn what_is_taken_out_is_gone_with_those_that_waited_for_it() {
    let catalog = catalog(&[
        ("base", "{vendor: nvidia, checks: {conformance: [platform-health, dra-support]}, constraints: [{name: A.b.c, value: '1', over: nodes}], \
          components: [{name: a}, {name: b, dependencyRefs: [a]}], health: [x.yaml]}"),
        ("eks", "{criteria: {service: eks}, remove: {checks: [dra-support], components: [a], constraints: [A.b.c], health: [x.yaml]}}"),
    ])
    .expect("a catalog");
    let resolved = catalog.resolve(&criteria("{service: eks}")).expect("resolves");
    let spec = &resolved.recipe.spec;
    assert_eq!(spec.checks.conformance, ["platform-health"]);
    assert_eq!((spec.components.len(), spec.components[0].dependency_refs.len()), (1, 0));
    assert!(spec.constraints.is_empty() && spec.health.is_empty());
    let told = resolved.explain(Some("checks.conformance.dra-support")).expect("is told");
    assert_eq!((told[0].value.as_ref(), told[0].by.as_str(), told[0].overrode[0].by.as_str()), (None, "eks", "base"));
}

#[test]
fn bases_bring_their_criteria_and_circles_and_contradictions_are_refused() {
    let chain = catalog(&[BASE, ("eks", "{criteria: {service: eks}}"), ("eks-h100", "{base: eks, criteria: {accelerator: h100}}")])
        .expect("a catalog");
    assert_eq!(chain.part("eks-h100").expect("is there").criteria, criteria("{service: eks, accelerator: h100}"));
    for (parts, says) in [
        ([("a", "{base: b}"), ("b", "{base: a}")], "in a circle: a, b"),
        ([("a", "{base: a}"), ("b", "{}")], "in a circle: a"),
        ([("abc", "{}"), ("b", "{base: abd}")], "b.yaml: there is no overlay `abd` to build upon"),
        (
            [("a", "{criteria: {service: eks}}"), ("b", "{base: a, criteria: {service: gke}}")],
            "it is for service gke and builds upon a, which is for service eks",
        ),
    ] {
        let error = catalog(&parts).expect_err(says);
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.chain().contains(says), "{}", error.chain());
    }
}

#[test]
fn a_mixin_counts_as_specific_as_what_builds_upon_it_and_fits_nothing_by_itself() {
    let catalog = catalog(&[
        BASE,
        ("mix", "{mixin: true, components: [{name: a, version: '5'}]}"),
        ("eks", "{criteria: {service: eks}, components: [{name: a, version: '2'}]}"),
        ("both", "{base: mix, criteria: {service: eks, accelerator: h100}}"),
    ])
    .expect("a catalog");
    assert_eq!(value(&catalog, "{service: eks}", "components.a.version"), "2");
    assert_eq!(value(&catalog, "{service: eks, accelerator: h100}", "components.a.version"), "5");
}

/// Every combination of what ships, as far as platforms go with intents.
fn combinations() -> Vec<Criteria> {
    let mut all = Vec::new();
    for service in ["any", "eks", "gke", "aks", "openshift", "kind", "sim"] {
        for accelerator in ["h100", "gb200", "mi300x"] {
            for (intent, platform) in [
                ("any", "any"),
                ("training", "any"),
                ("training", "kubeflow"),
                ("inference", "any"),
                ("inference", "dynamo"),
                ("inference", "kserve"),
            ] {
                for (os, nodes) in [("any", 0), ("ubuntu", 4)] {
                    all.push(criteria(&format!(
                        "{{service: {service}, accelerator: {accelerator}, intent: {intent}, platform: {platform}, os: {os}, nodes: {nodes}}}"
                    )));
                }
            }
        }
    }
    all
}

#[test]
fn every_combination_that_ships_resolves_loads_and_comes_back_from_its_yaml() {
    let catalog = Catalog::shipped().expect("a catalog");
    for query in combinations() {
        let loaded = catalog
            .resolve(&query)
            .and_then(|resolved| catalog.load(&resolved))
            .unwrap_or_else(|error| panic!("{}: {}", query.name(), error.chain()));
        let spec = &loaded.recipe.spec;
        let amd = query.accelerator.as_deref() == Some("mi300x");
        assert_eq!(spec.vendor, if amd { "amd" } else { "nvidia" });
        assert!(!amd || spec.components.iter().all(|component| !component.name.contains("nvidia")), "{}", query.name());
        for threshold in &spec.thresholds {
            assert!(
                threshold.source.is_some() && threshold.per.is_some(),
                "To fix: say where {} of {} comes from, and per what",
                threshold.id,
                query.name()
            );
        }
        assert!(
            spec.constraints.iter().all(|constraint| constraint.source.is_some() && constraint.remediation.is_some()),
            "{}",
            query.name()
        );
        let text = yaml::to_string(&loaded.recipe).expect("YAML");
        let again: crate::recipe::Recipe = yaml::from_str(&text, "again.yaml").expect(&text);
        assert_eq!(again, loaded.recipe);
        assert_eq!(again.digest().expect("a digest"), loaded.recipe.digest().expect("a digest"));
        let by_name = catalog.read(&query.name()).expect("by name").recipe;
        assert_eq!(by_name, loaded.recipe);
    }
}

#[test]
fn a_training_recipe_for_h100_on_eks_is_what_it_says() {
    let loaded = Catalog::shipped().expect("a catalog").read("h100-eks-ubuntu-training-kubeflow").expect("reads");
    let recipe = &loaded.recipe;
    let overlays = ["base", "eks", "nvidia", "training", "ubuntu", "h100", "kubeflow", "h100-eks-training"];
    assert_eq!(recipe.metadata.overlays, overlays);
    assert_eq!(recipe.get("constraints.K8s.server.version.value").expect("is there"), ">= 1.34");
    assert_eq!(recipe.get("thresholds.nccl-all-reduce-bw@efa.value").expect("is there"), ">= 300");
    assert_eq!(recipe.get("components.gpu-operator.version").expect("is there"), "v25.10.1");
    assert!(recipe.get("checks.conformance.gang-scheduling").is_ok() && recipe.get("checks.conformance.inference-gateway").is_err());
}

proptest! {
    /// Overlays with all sorts of criteria, each setting a value of its own and a shared one.
    #[test]
    fn the_result_is_that_of_the_most_specific_and_does_not_depend_on_names(
        masks in proptest::collection::vec(0_usize..8, 1..6), salt in "[a-z]{3}"
    ) {
        let spec = |mask: usize| {
            let word = |bit: usize, name: &str, value: &str| if mask & bit == 0 { String::new() } else { format!("{name}: {value}, ") };
            let criteria = [word(1, "service", "eks"), word(2, "accelerator", "h100"), word(4, "intent", "training")].concat();
            format!("{{vendor: nvidia, criteria: {{{}}}, components: [{{name: a, version: '{}'}}]}}", criteria.trim_end_matches(", "), mask.count_ones())
        };
        let mut parts: Vec<Part> = masks.iter().enumerate().map(|(index, mask)| part(&format!("{salt}{index}"), &spec(*mask))).collect();
        parts.push(part("zero", &spec(0)));
        let query = criteria("{service: eks, accelerator: h100, intent: training}");
        let all = masks.iter().fold(0, |all, mask| all | mask);
        let resolved = Catalog::of(parts).expect("a catalog").resolve(&query);
        if all == 7 {
            let most = masks.iter().map(|mask| mask.count_ones()).max().unwrap_or_default();
            prop_assert_eq!(resolved.expect("resolves").recipe.get("components.a.version").expect("is there"), most.to_string());
        } else {
            prop_assert!(resolved.expect_err("is refused").chain().contains("nothing covers"));
        }
    }

    #[test]
    fn any_values_come_back_from_yaml_with_the_same_digest(values in values()) {
        let mut recipe = Catalog::shipped().expect("a catalog").read("h100").expect("reads").recipe;
        recipe.spec.components[0].values.insert("x".to_owned(), values);
        let text = yaml::to_string(&recipe).expect("YAML");
        let again: crate::recipe::Recipe = yaml::from_str(&text, "again.yaml").expect(&text);
        prop_assert_eq!(again.digest().expect("a digest"), recipe.digest().expect("a digest"), "{}", text);
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i32>().prop_map(|value| json!(value)),
        (-1000_i32..1000).prop_map(|value| json!(f64::from(value) / 8.0)),
        "[ -~]{0,12}".prop_map(|value| json!(value)),
        prop_oneof![
            "on",
            "no",
            "y",
            "~",
            "null",
            "010",
            "1e3",
            "0x10",
            "1_000",
            "true",
            "- a",
            "a: b",
            "#a",
            "a\nb",
            " a ",
            ".5",
            ".inf",
            "2026-01-01"
        ]
        .prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            proptest::collection::btree_map("[a-z.:# -]{1,6}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}
