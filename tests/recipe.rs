//! Recipes from the command line: made, explained, looked into, listed, checked, refused.

use std::path::Path;

use expect_test::expect_file;
use seatrial::digest::{Digest, canonical_json};
use seatrial::recipe::{DIGEST_ALGORITHM, Recipe};
use seatrial::yaml;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How a run ended.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `seatrial` in a directory, with nothing of the caller's environment.
fn seatrial(folder: &Path, args: &[&str]) -> Ran {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_seatrial"));
    command.env_clear().env("HOME", folder).current_dir(folder).args(args);
    let output = command.output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[track_caller]
fn good(folder: &Path, args: &[&str]) -> Ran {
    let ran = seatrial(folder, args);
    assert_eq!(ran.code, 0, "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
    ran
}

/// Insists that a command is refused as wrong input, with all of these words and nothing on stdout.
#[track_caller]
fn refused(folder: &Path, args: &[&str], words: &[&str]) {
    let ran = seatrial(folder, args);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}\n{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
    }
}

/// A directory with these files.
fn with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    folder
}

fn overlay(name: &str, spec: &str) -> String {
    format!("apiVersion: seatrial.dev/v1alpha1\nkind: RecipeOverlay\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

#[test]
fn a_directory_without_recipe_data_is_refused_and_names_are_read_whole() {
    let here = with(&[("empty/notes.txt", "x"), ("own/health/mine.yaml", "x")]);
    refused(here.path(), &["--data", "empty", "recipe", "-r", "h100"], &["empty holds no recipe data", "overlays"]);
    good(here.path(), &["--data", "own", "recipe", "-r", "h100"]);
    assert_eq!(good(here.path(), &["recipe", "-r", "H100-EKS"]).stdout, good(here.path(), &["recipe", "-r", "h100-eks"]).stdout);
    for wrong in ["sim-h100-", "h100--eks", "-h100"] {
        refused(here.path(), &["recipe", &format!("--recipe={wrong}")], &["there is no recipe"]);
    }
}

#[test]
fn the_constraints_in_the_documentation_are_what_they_are_said_to_be() {
    let page = include_str!("../docs/recipes.md");
    let block = page.split("<!-- constraints -->\n```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let constraints: Vec<seatrial::constraints::Constraint> = yaml::from_str(block, "docs/recipes.md").expect("constraints");
    assert_eq!(constraints.len(), 6);
    for constraint in &constraints {
        seatrial::constraints::check(constraint).unwrap_or_else(|error| panic!("{}", error.chain()));
    }
}

#[test]
fn names_that_kubernetes_has_not_are_refused_before_roles_are_printed() {
    let here = with(&[]);
    for wrong in
        ["--namespace=UPPER", "--namespace=a.b", "--service-account=a:b:c", "--service-account=Up", "--service-account=a:", "--user="]
    {
        refused(here.path(), &["rbac", "conformance", "-r", "sim-h100", wrong], &[wrong.split('=').next().expect("a flag")]);
    }
    let ran = good(here.path(), &["rbac", "conformance", "-r", "sim-h100", "--service-account=ci:runner.v2"]);
    assert!(ran.stdout.contains("name: runner.v2") && ran.stdout.contains("namespace: ci"), "{}", ran.stdout);
}

fn digest_in(stderr: &str) -> &str {
    stderr.split_whitespace().find(|word| word.starts_with("sha256:")).expect("a digest on stderr")
}

#[test]
fn made_recipes_are_what_they_were() {
    let here = with(&[]);
    for name in ["h100-eks-ubuntu-training-kubeflow", "gb200-eks-training-nodes2", "mi300x-openshift-inference-kserve", "h100-sim"] {
        let ran = good(here.path(), &["recipe", "resolve", "-r", name]);
        let digest = digest_in(&ran.stderr);
        expect_file![format!("recipe/golden/{name}.yaml")].assert_eq(&format!("# {digest}\n{}", ran.stdout));
    }
}

#[test]
fn the_same_question_gives_the_same_bytes_in_every_form() {
    let here = with(&[(
        "c.yaml",
        "kind: RecipeCriteria\napiVersion: aicr.run/v1alpha2\nspec: {service: EKS, accelerator: h100, intent: training}\n",
    )]);
    let flags = ["recipe", "--service", "eks", "--gpu", "H100", "--intent", "training", "--platform", "any", "--nodes", "0"];
    let (bare, again) = (good(here.path(), &flags), good(here.path(), &flags));
    assert_eq!(bare.stdout, again.stdout);
    for other in [
        vec!["recipe", "resolve", "--criteria", "c.yaml"],
        vec!["recipe", "resolve", "--criteria", "c.yaml", "--accelerator", "h100"],
        vec!["recipe", "resolve", "-r", "eks-training-h100"],
        vec!["recipe", "resolve", "-r", "h100-eks-training"],
        vec!["recipe", "resolve", "-r", "./c.yaml"],
    ] {
        assert_eq!(good(here.path(), &other).stdout, bare.stdout, "{other:?}");
    }
    let json = good(here.path(), &[&flags[..], &["-t", "json", "-o", "r.json"]].concat());
    assert_eq!((json.stdout.as_str(), digest_in(&json.stderr)), ("", digest_in(&bare.stderr)));
    // What was written is read back, with the same digest.
    let read = good(here.path(), &["recipe", "-r", "./r.json"]);
    assert_eq!(read.stdout, bare.stdout);
    let recipe: Recipe = yaml::from_str(&bare.stdout, "stdout").expect("a recipe");
    assert_eq!(recipe.digest().expect("a digest").as_str(), digest_in(&bare.stderr));
}

#[test]
fn a_snapshot_tells_service_accelerator_and_system_and_flags_the_rest() {
    let theirs = "kind: Snapshot\napiVersion: aicr.nvidia.com/v1alpha1\nmetadata: {version: v0.11.1, source-node: n1}\nmeasurements:\n\
                  - type: K8s\n  subtypes: [{subtype: server, data: {version: v1.34.1-eks-abc}}]\n\
                  - type: GPU\n  subtypes: [{subtype: smi, data: {gpu.model: NVIDIA H100 80GB HBM3, gpu-count: 8}}]\n\
                  - type: OS\n  subtypes: [{subtype: release, data: {ID: ol}}]\n";
    let here = with(&[("s.yaml", theirs)]);
    let ran = good(here.path(), &["recipe", "--snapshot", "s.yaml", "--intent", "training"]);
    assert_eq!(ran.stdout, good(here.path(), &["recipe", "-r", "h100-eks-training"]).stdout);
    for words in
        ["service eks, by the server's version v1.34.1-eks-abc", "accelerator h100, by the model", "no recipe is for os ol: left open"]
    {
        assert!(ran.stderr.contains(words), "`{words}` is not in: {}", ran.stderr);
    }
    let other = good(here.path(), &["recipe", "--snapshot", "s.yaml", "--accelerator", "gb200"]);
    assert!(other.stdout.contains("name: gb200-eks\n"), "{}", other.stdout);
}

#[test]
fn what_cannot_be_made_is_refused_with_what_there_is() {
    let here = with(&[
        ("two.yaml", &format!("{}---\n{}", overlay("a", "{}"), overlay("b", "{}"))),
        ("typo.yaml", &overlay("typo", "{constraint: []}")),
        ("recipe.yaml", "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {name: mine}\nspec: {vendor: nvidia}\n"),
        (
            "address.yaml",
            "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {name: mine}\nspec: {vendor: nvidia, constraints: [{name: K8S.serverr.version, value: '1'}]}\n",
        ),
        ("snapshot.yaml", "apiVersion: seatrial.dev/v1alpha1\nkind: Snapshot\n"),
    ]);
    for (args, words) in [
        (vec!["recipe"], vec!["what is the recipe for", "--service", "recipe list"]),
        (vec!["recipe", "--service", "ekss"], vec!["there is no service `ekss`", "did you mean `eks`", "openshift"]),
        (
            vec!["recipe", "--service", "oke", "--gpu", "h100"],
            vec!["nothing covers service oke", "for service there is: aks, eks, gke, kind, openshift, sim"],
        ),
        (vec!["recipe", "--gpu", "h100", "--platform", "kubeflow"], vec!["nothing covers platform kubeflow", "intent training"]),
        (vec!["recipe", "--gpu", "h100", "--nodes", "1"], vec!["nothing covers nodes 1", "2 and more"]),
        (vec!["recipe", "--gpu", "h100", "--nodes", "-5"], vec!["nodes"]),
        (vec!["recipe", "--gpu", "h100", "stray"], vec!["stray"]),
        (vec!["recipe", "--gpu", "h100", "--gpu", "gb200"], vec!["accelerator"]),
        (vec!["recipe", "-r", "h100-eks-trainin"], vec!["there is no recipe `h100-eks-trainin`", "did you mean `h100-eks-training`"]),
        (vec!["recipe", "-r", "nvidia"], vec!["only a base of others"]),
        (vec!["recipe", "-r", "./two.yaml"], vec!["two.yaml:6:1: a second document"]),
        (vec!["recipe", "-r", "./typo.yaml"], vec!["typo.yaml:4:8: unknown field `constraint`", "did you mean `constraints`"]),
        (vec!["recipe", "-r", "./recipe.yaml"], vec!["no constraint, no check and no health test"]),
        (vec!["recipe", "-r", "./address.yaml"], vec!["K8S"]),
        (vec!["recipe", "-r", "./snapshot.yaml"], vec!["snapshot.yaml:2:7: kind is `Snapshot`"]),
        (vec!["recipe", "--criteria", "./recipe.yaml"], vec!["holds no criteria"]),
        (
            vec!["recipe", "get", "components.gpu-operator.versoin", "--gpu", "h100"],
            vec!["no `versoin` in `components.gpu-operator`", "did you mean `version`", "there is: chart"],
        ),
        (vec!["recipe", "get", "component", "--gpu", "h100"], vec!["did you mean `components`"]),
        (vec!["recipe", "explain", "-r", "sim-h100"], vec!["complete recipe"]),
    ] {
        refused(here.path(), &args, &words);
    }
}

#[test]
fn values_are_printed_and_their_story_is_told() {
    let here = with(&[]);
    let version = good(here.path(), &["recipe", "get", "components.gpu-operator.version", "--gpu", "h100"]);
    assert_eq!(version.stdout, "v25.10.1\n");
    let json =
        good(here.path(), &["recipe", "get", "--selector", "thresholds.nccl-all-reduce-bw@efa", "-t", "json", "-r", "h100-eks-training"]);
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).expect("JSON")["value"], ">= 300");
    let told = good(here.path(), &["recipe", "explain", "constraints.K8s", "-r", "h100-eks-training"]);
    for words in [
        "K8s.server.version = >= 1.34",
        "set by nvidia",
        "over base: >= 1.25",
        "h100-eks-training    accelerator h100, service eks, intent training",
    ] {
        assert!(told.stdout.contains(words), "`{words}` is not in: {}", told.stdout);
    }
    let all: Value =
        serde_json::from_str(&good(here.path(), &["recipe", "explain", "--service", "openshift", "-t", "json"]).stdout).expect("JSON");
    let gone = all["values"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|told| told["path"] == "components.prometheus-adapter.version")
        .expect("is told");
    assert_eq!(
        (&gone["value"], &gone["by"], &gone["overrode"]),
        (&Value::Null, &json!("openshift"), &json!([{"by": "base", "value": "5.3.0"}]))
    );
}

#[test]
fn the_list_names_overlays_recipes_and_every_combination() {
    let here = with(&[]);
    let list: Value = serde_json::from_str(&good(here.path(), &["recipe", "list", "-t", "json"]).stdout).expect("JSON");
    assert_eq!(list["recipes"], json!(["sim-h100"]));
    let combinations: Vec<&str> = list["combinations"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(combinations.contains(&"h100-eks-ubuntu-training-kubeflow") && !combinations.contains(&"h100-eks-ubuntu-kubeflow"));
    good(here.path(), &["recipe", "-r", combinations[combinations.len() / 2]]);
    let text = good(here.path(), &["recipe", "list"]).stdout;
    let line = text.lines().find(|line| line.starts_with("h100-kind ")).expect("a line");
    let words: Vec<&str> = line.split_whitespace().take(6).collect();
    assert_eq!(words, ["h100-kind", "accelerator", "h100,", "service", "kind", "0"]);
}

#[test]
fn data_of_ones_own_adds_and_replaces_and_ties_are_named() {
    let shipped = include_str!("../recipes/health/sim/nodes.yaml");
    let here = with(&[
        ("data/overlays/rke2.yaml", &overlay("rke2", "{criteria: {service: rke2}, components: [{name: mine, version: 1.10}]}")),
        ("data/overlays/base.yaml", &overlay("base", "{vendor: nvidia, checks: {conformance: [gpu-capacity]}}")),
        ("data/registry.yaml", "kind: ComponentRegistry\n"),
        ("data/mine.yaml", &include_str!("../recipes/sim-h100.yaml").replace("name: sim-h100", "name: mine")),
        ("data/health/sim/nodes.yaml", &format!("{shipped}# of my own\n")),
        ("tie/overlays/a.yaml", &overlay("a", "{criteria: {service: eks}, components: [{name: x, version: '1'}]}")),
        ("tie/overlays/b.yaml", &overlay("b", "{criteria: {accelerator: h100}, components: [{name: x, version: '2'}]}")),
        ("circle/overlays/a.yaml", &overlay("a", "{base: b}")),
        ("circle/overlays/b.yaml", &overlay("b", "{base: a}")),
        ("twice/overlays/a.yaml", &overlay("eks", "{}")),
    ]);
    let mine = ["--data", "data", "recipe", "get", "components.mine.version", "--service", "rke2"];
    assert_eq!(good(here.path(), &mine).stdout, "1.10\n", "a version is text, whatever it looks like");
    refused(
        here.path(),
        &["recipe", "get", "components.cert-manager.version", "--service", "rke2", "--data", "data"],
        &["there is no `cert-manager"],
    );
    let digest = |args: &[&str]| digest_in(&good(here.path(), args).stderr).to_owned();
    assert_ne!(digest(&["recipe", "-r", "sim-h100"]), digest(&["recipe", "-r", "sim-h100", "--data", "data"]));
    let list = good(here.path(), &["recipe", "list", "--data", "data"]).stdout;
    assert!(list.contains("complete recipes: mine, sim-h100"), "{list}");
    let tie = ["recipe", "--service", "eks", "--gpu", "h100", "--data", "tie"];
    refused(here.path(), &tie, &["overlays a and b both fit", "components.x.version: \"1\" and \"2\"", "tie/overlays/a.yaml"]);
    good(here.path(), &["recipe", "--service", "eks", "--data", "tie"]);
    refused(here.path(), &["recipe", "--gpu", "h100", "--data", "circle"], &["in a circle: a, b"]);
    refused(here.path(), &["recipe", "--gpu", "h100", "--data", "twice"], &["two overlays have the name eks", "twice/overlays/a.yaml"]);
    refused(here.path(), &["recipe", "--gpu", "h100", "--data", "nowhere"], &["nowhere"]);
}

#[test]
fn overlays_of_another_tool_are_data_too() {
    let theirs = "kind: RecipeMetadata\napiVersion: aicr.run/v1beta1\nmetadata: {name: h100-ours}\nspec:\n  base: h100\n  criteria: {service: rke2}\n  \
                  constraints: [{name: OS.release.ID, value: rhel, severity: error}]\n  validation: {conformance: {checks: [gang-scheduling]}}\n";
    let here = with(&[("data/overlays/h100-ours.yaml", theirs), ("o.yaml", theirs)]);
    for args in [vec!["recipe", "--gpu", "h100", "--service", "rke2", "--data", "data"], vec!["recipe", "-r", "./o.yaml"]] {
        let recipe: Recipe = yaml::from_str(&good(here.path(), &args).stdout, "stdout").expect("a recipe");
        assert!(recipe.spec.constraints.iter().any(|constraint| constraint.name == "OS.release.ID"));
        assert!(recipe.spec.checks.conformance.contains(&"gang-scheduling".to_owned()));
    }
}

#[test]
fn a_made_recipe_is_planned_by_name_and_from_a_file_and_holds_on_to_its_health_files() {
    let here = with(&[]);
    let made = good(here.path(), &["recipe", "-r", "h100-eks-training", "-o", "r.yaml"]);
    let plan = |recipe: &str| -> Value {
        serde_json::from_str(&good(here.path(), &["plan", "training", "-r", recipe, "-t", "json"]).stdout).expect("JSON")
    };
    let (by_name, by_file) = (plan("h100-eks-training"), plan("./r.yaml"));
    assert_eq!(by_name, by_file);
    assert!(by_name.to_string().contains(digest_in(&made.stderr)), "the plan names the recipe by its digest");
    let text = std::fs::read_to_string(here.path().join("r.yaml")).expect("is there");
    let digest = Digest::of(include_bytes!("../recipes/health/sim/nodes.yaml"));
    assert!(text.contains(digest.as_str()));
    std::fs::write(here.path().join("r.yaml"), text.replace(digest.as_str(), Digest::of(b"other").as_str())).expect("written");
    refused(here.path(), &["plan", "training", "-r", "./r.yaml"], &["health file health/sim/nodes.yaml is", "and the recipe wants"]);
}

#[test]
fn lint_tells_errors_from_warnings() {
    let here = with(&[
        (
            "good/r.yaml",
            "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {name: mine}\nspec: {vendor: nvidia, checks: {conformance: [gpu-capacity]}}\n",
        ),
        ("bad/overlays/o.yaml", &overlay("mine", "{chekcs: {}}")),
    ]);
    let warned = good(here.path(), &["recipe", "lint", "good"]);
    assert!(warned.stdout.contains("warning: good/r.yaml: spec.health is empty"), "{}", warned.stdout);
    assert_eq!(seatrial(here.path(), &["recipe", "lint", "good", "--deny-warnings"]).code, 1);
    let wrong = seatrial(here.path(), &["recipe", "lint", "good", "bad", "-t", "json"]);
    assert_eq!(wrong.code, 2);
    let found: Value = serde_json::from_str(&wrong.stdout).expect("JSON");
    let error = found["findings"].as_array().expect("a list").iter().find(|finding| finding["error"] == true).expect("an error");
    assert!(error["message"].as_str().expect("text").contains("bad/overlays/o.yaml:4:8"), "{error}");
    assert_eq!(error["hints"], json!(["did you mean `checks`?"]));
    refused(here.path(), &["recipe", "lint", "nowhere"], &["there is no file nowhere"]);
}

#[test]
fn the_digests_in_the_documentation_are_those_of_its_recipes() {
    let text = include_str!("../docs/recipes.md");
    let vectors: Vec<&str> = text.split("<!-- vector -->\n").skip(1).collect();
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let recipe = vector.trim_start_matches("```yaml\n").split("```").next().expect("a recipe");
        let recipe: Recipe = yaml::from_str(recipe, "docs/recipes.md").expect("a recipe");
        let bytes = canonical_json(&json!({"algorithm": DIGEST_ALGORITHM, "recipe": recipe})).expect("JSON");
        let digest = recipe.digest().expect("a digest");
        assert_eq!(digest, Digest::of(&bytes));
        let bytes = String::from_utf8(bytes).expect("text");
        let wanted = format!("```json\n{bytes}\n```\n\n`{digest}`\n");
        assert!(vector.contains(&wanted), "To fix: write below the recipe\n{wanted}");
    }
}
