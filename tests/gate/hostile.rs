//! Changes that mean harm: bounded time, never accepted, and nothing of them raw in the output.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use seatrial::evidence::Pointer;
use seatrial::gate::{Decision, GateReport, Request};
use seatrial::reason::Reason;

use crate::evidence::{World, added, judge, place, recipe};
use crate::fault_proxy::{Fault, FaultProxy, Rule};
use crate::measure::measured;
use crate::output::assert_harmless;
use crate::repository::{Node, Touch, file};

/// The longest that one change may take here, where nothing is optimised and others use the machine too: 2 s of processor time have been
/// seen to take 36 s.
const LONGEST: Duration = Duration::from_secs(90);

/// The most memory that one change may take: a hundred thousand paths, and the program itself.
const MEMORY: u64 = 160 << 20;

/// Texts that would do something if they were raw.
const INJECTIONS: &[&str] = &[
    "x\n::error::injected",
    "x ##[add-mask]injected",
    "<script>injected</script>",
    "<img src=x onerror=injected>",
    "![injected](https://evil.example/x.png)",
    "[injected](javascript:injected)",
    "@everyone and #1",
    "a | b | c",
    "```\ninjected",
    "\u{1b}[31minjected\u{1b}]0;x\u{7}",
    "\u{202e}detcejni\u{202c}",
    "in\u{200b}jec\u{feff}ted",
    "# injected\n## x",
    "https://evil.example/injected www.evil.example",
    "</details><details open>",
    "{{ injected }} {% raw %}",
    "*/ --> <!-- injected",
];

/// Every reason that a report gives anywhere.
fn reasons(report: &GateReport) -> Vec<&'static str> {
    let pointers = report.pointers.iter().flat_map(|row| &row.reasons);
    let files = report.files.iter().flat_map(|row| &row.reasons);
    let recipes = report.recipes.iter().flat_map(|row| &row.reasons);
    report.reasons.iter().chain(pointers).chain(files).chain(recipes).map(|one| Reason::id(one.reason)).collect()
}

/// Judges a branch and looks that it is refused for a reason, in time, without anything raw.
async fn refused(name: &str, request: &Request, expected: &str) -> GateReport {
    let began = Instant::now();
    let report = judge(request).await;
    assert!(began.elapsed() < LONGEST, "{name}: {:?}", began.elapsed());
    assert_ne!(report.decision, Decision::Accept, "{name}: {report:#?}");
    assert_ne!(report.decision, Decision::NeedsEvidence, "{name}: {report:#?}");
    assert_ne!(report.exit, 0, "{name}");
    assert!(reasons(&report).contains(&expected), "{name}: wants {expected}: {:?} {}", reasons(&report), report.summary);
    assert_harmless(name, &report);
    report
}

fn bytes(path: &[u8], text: &str) -> Touch {
    (path.to_vec(), Node::text(text))
}

/// A pointer's text with something replaced, where the pointer belongs.
fn with(pointer: &Pointer, from: &str, to: &str) -> Touch {
    let text = pointer.to_yaml().expect("YAML");
    assert!(text.contains(from), "{from} is not in {text}");
    file(&place(pointer), text.replace(from, to))
}

/// A pointer that was not there, to a bundle that nobody has.
fn fresh(world: &World, repository: &str) -> Pointer {
    let mut pointer = world.old.clone();
    pointer.bundle.digest = seatrial::digest::Digest::of(b"nowhere");
    pointer.bundle.repository = repository.replace("LISTED", &world.server.address);
    pointer
}

/// Names and kinds of files.
fn paths(world: &World) -> Vec<(&'static str, Vec<Touch>, &'static str)> {
    let pointer = fresh(world, "LISTED/team/evidence");
    let at = place(&pointer);
    let text = pointer.to_yaml().expect("YAML");
    let evidence_gone = || vec![(b"evidence".to_vec(), Node::Gone)];
    let everything = |node: Node| [evidence_gone(), vec![(b"evidence".to_vec(), node)]].concat();
    let deep = format!("evidence/{}x.yaml", "d/".repeat(20));
    let long = format!("evidence/{}x.yaml", "long-name-of-a-folder/".repeat(6).repeat(10));
    vec![
        ("a link for a pointer", vec![(at.clone().into_bytes(), Node::Link("/etc/passwd"))], "not-a-file"),
        ("an executable pointer", vec![(at.clone().into_bytes(), Node::Executable(text.clone().into_bytes()))], "not-a-file"),
        ("a submodule for a pointer", vec![(at.clone().into_bytes(), Node::Submodule)], "not-a-file"),
        ("a submodule for a folder", vec![(b"evidence/other".to_vec(), Node::Submodule)], "not-a-file"),
        ("a link for all evidence", everything(Node::Link("../..")), "not-a-file"),
        ("a submodule for all evidence", everything(Node::Submodule), "not-a-file"),
        ("a file for all evidence", everything(Node::text("x")), "policy-invalid"),
        ("all evidence is gone", evidence_gone(), "pointer-removed"),
        ("a link for the policy", vec![(b"evidence/policy.yaml".to_vec(), Node::Link("mine.yaml"))], "not-a-file"),
        ("a name that is not UTF-8", vec![bytes(b"evidence/sim-h100/\xff\xfe.yaml", "x")], "name-unsafe"),
        ("a name with a line", vec![bytes(b"evidence/x\n::error::injected.yaml", "x")], "name-unsafe"),
        ("a name with an escape", vec![bytes(b"evidence/\x1b[31m.yaml", "x")], "name-unsafe"),
        ("a name that runs backwards", vec![bytes("evidence/\u{202e}lmay.x".as_bytes(), "x")], "name-unsafe"),
        ("a name without width", vec![bytes("evidence/sim\u{200b}-h100/x.yaml".as_bytes(), "x")], "name-unsafe"),
        ("a name with a command", vec![bytes(b"evidence/##[error]x.yaml", "x")], "name-unsafe"),
        ("a name with a tag", vec![bytes(b"evidence/<img src=x>.yaml", "x")], "unexpected-file"),
        ("a name with a link", vec![bytes(b"evidence/[x](https:evil).yaml", "x")], "unexpected-file"),
        ("a name with a mention", vec![bytes(b"evidence/@everyone.yaml", "x")], "unexpected-file"),
        ("a name with bars and backticks", vec![bytes(b"evidence/a|b`c`|d.yaml", "x")], "unexpected-file"),
        ("a name with a backslash", vec![bytes(b"evidence/..\\x.yaml", "x")], "unexpected-file"),
        ("a folder in capitals", vec![file(&at.replace("sim-h100", "SIM-H100"), text.clone())], "name-collides"),
        ("two names that fold", vec![file(&at, text.clone()), file(&at.replace(".yaml", ".YAML"), text.clone())], "name-collides"),
        ("evidence in capitals", vec![file("Evidence/policy.yaml", "x")], "name-collides"),
        ("recipes in capitals", vec![file("Recipes/overlays/x.yaml", "x")], "name-collides"),
        ("recipes with a long s", vec![file("recipe\u{17f}/overlays/x.yaml", "x")], "name-collides"),
        ("evidence without width", vec![bytes("ev\u{200c}idence/policy.yaml".as_bytes(), "x")], "name-collides"),
        ("a deep tree", vec![file(&deep, "x")], "too-much"),
        ("a long path", vec![file(&long, "x")], "too-much"),
        ("a hidden file", vec![file("evidence/.gitattributes", "* filter=x")], "unexpected-file"),
        ("a second policy", vec![file("evidence/policy.yml", world.policy(""))], "unexpected-file"),
        ("a folder for the policy", vec![file("evidence/policy.yaml/x", "x")], "policy-invalid"),
    ]
}

/// What is in pointers.
fn pointers(world: &World) -> Vec<(&'static str, Vec<Touch>, &'static str)> {
    let pointer = fresh(world, "LISTED/team/evidence");
    let at = place(&pointer);
    let bomb = format!("a: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x,".repeat(500), "*a,".repeat(500), "*b,".repeat(500));
    let to = |repository: &str| vec![added(&fresh(world, repository))];
    let many = (0..10_000).map(|number| {
        let mut one = pointer.clone();
        one.bundle.digest = seatrial::digest::Digest::of(format!("{number}").as_bytes());
        added(&one)
    });
    vec![
        ("ten thousand pointers", many.collect(), "too-much"),
        ("five thousand other files", (0..5000).map(|number| file(&format!("evidence/x/{number}"), "x")).collect(), "too-much"),
        ("a large pointer", vec![file(&at, "#".repeat(2 << 20))], "too-much"),
        ("an empty pointer", vec![file(&at, "")], "pointer-invalid"),
        ("a pointer with NUL", vec![file(&at, "apiVersion: \0")], "pointer-invalid"),
        ("a pointer that is not UTF-8", vec![(at.clone().into_bytes(), Node::File(vec![0xff; 100]))], "pointer-invalid"),
        ("a pointer of aliases", vec![file(&at, bomb)], "pointer-invalid"),
        ("a nested pointer", vec![file(&at, "[".repeat(100_000))], "pointer-invalid"),
        ("two documents", vec![file(&at, format!("{0}---\n{0}", pointer.to_yaml().expect("YAML")))], "pointer-invalid"),
        ("a surprise", vec![with(&pointer, "hardware:", "<script>: '@everyone'\nhardware:")], "pointer-invalid"),
        ("a recipe that leads out", vec![with(&pointer, "name: sim-h100", "name: ../../etc")], "pointer-invalid"),
        ("another recipe", vec![with(&pointer, "name: sim-h100", "name: sim-h200")], "pointer-misplaced"),
        (
            "a recipe that is nowhere",
            vec![file(&at.replace("sim-h100", "nobodys"), pointer.to_yaml().expect("YAML").replace("name: sim-h100", "name: nobodys"))],
            "recipe-unknown",
        ),
        ("the metadata address", to("169.254.169.254/latest/meta-data"), "registry-not-listed"),
        ("this machine", to("127.0.0.1:22/team/evidence"), "registry-not-listed"),
        ("the beginning of a listed name", to("LISTED/teamwork/evidence"), "registry-not-listed"),
        ("a user in the address", to("LISTED@evil.example/team/evidence"), "pointer-invalid"),
        ("a way up", to("LISTED/team/../other/evidence"), "pointer-invalid"),
        ("a scheme", to("http://LISTED/team/evidence"), "pointer-invalid"),
        ("a query", to("LISTED/team/evidence?x=y"), "pointer-invalid"),
        ("a bundle that is nowhere", to("LISTED/team/evidence"), "usage"),
    ]
}

/// What is in recipes and the policy.
fn documents(world: &World) -> Vec<(&'static str, Vec<Touch>, &'static str)> {
    let head = "apiVersion: seatrial.dev/v1alpha1\nkind: RecipeOverlay\n";
    let bomb =
        format!("{head}metadata: {{name: x}}\na: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x,".repeat(500), "*a,".repeat(500), "*b,".repeat(500));
    let circle = |name: &str, base: &str| {
        file(&format!("recipes/overlays/{name}.yaml"), format!("{head}metadata: {{name: {name}}}\nspec: {{base: {base}}}\n"))
    };
    let large = (0..20).map(|number| file(&format!("recipes/{number}.txt"), "#".repeat(1 << 20)));
    let keys = world.policy("").replace("key: |", "keyFile: ../../../etc/passwd\n  #");
    let keys: String =
        keys.lines().filter(|line| !line.contains("-----") && !line.starts_with("      M")).map(|line| format!("{line}\n")).collect();
    let ours = |text: &str| file("recipes/sim-h100.yaml", text);
    vec![
        ("a recipe that is a link", vec![(b"recipes/overlays/x.yaml".to_vec(), Node::Link("/etc/passwd"))], "recipe-invalid"),
        ("recipes that are a link", vec![(b"recipes".to_vec(), Node::Gone), (b"recipes".to_vec(), Node::Link("/etc"))], "recipe-invalid"),
        ("a recipe of aliases", vec![file("recipes/overlays/x.yaml", bomb)], "recipe-invalid"),
        ("a recipe that is large", vec![file("recipes/overlays/x.yaml", "#".repeat(2 << 20))], "too-much"),
        ("recipe data that is large", large.collect(), "too-much"),
        ("overlays in a circle", vec![circle("a", "b"), circle("b", "a")], "recipe-invalid"),
        (
            "a recipe with a strange name",
            vec![file("recipes/overlays/x.yaml", format!("{head}metadata: {{name: '@everyone <script>'}}\nspec: {{}}\n"))],
            "recipe-invalid",
        ),
        (
            "an unknown check",
            vec![ours(&seatrial::yaml::to_string(&recipe()).expect("YAML").replace("gpu-capacity", "\"x\\n::error::injected @everyone\""))],
            "recipe-invalid",
        ),
        (
            "a health file that leads out",
            vec![ours(&seatrial::yaml::to_string(&recipe()).expect("YAML").replace("health: []", "health: [../../../etc/passwd]"))],
            "recipe-invalid",
        ),
        ("a policy with a key file that leads out", vec![file("evidence/policy.yaml", keys)], "policy-invalid"),
        (
            "a policy of aliases",
            vec![file(
                "evidence/policy.yaml",
                format!("a: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x,".repeat(500), "*a,".repeat(500), "*b,".repeat(500)),
            )],
            "policy-invalid",
        ),
        (
            "a policy that accepts everybody",
            vec![file("evidence/policy.yaml", "apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePolicy\nrequired: 0\nsigners: []\n")],
            "policy-invalid",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_means_harm_is_refused_in_time_and_nothing_of_it_is_raw() {
    let Some(world) = World::start().await else { return };
    let cases: Vec<_> = [paths(&world), pointers(&world), documents(&world)].into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for (number, (name, touches, expected)) in cases.into_iter().enumerate() {
        let branch = format!("hostile-{number}");
        world.repository.commit(&branch, Some("refs/heads/main"), &touches);
        let request = world.request("main", &branch);
        // Each has its say before the test ends.
        if AssertUnwindSafe(refused(name, &request, expected)).catch_unwind().await.is_err() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_that_is_shown_is_escaped() {
    let Some(world) = World::start().await else { return };
    for (number, injection) in INJECTIONS.iter().enumerate() {
        let mut pointer = fresh(&world, "registry.example.com/team/evidence");
        let signature = &mut pointer.signatures[0];
        signature.identity = Some((*injection).to_owned());
        signature.issuer = Some((*injection).to_owned());
        signature.source_repository = Some((*injection).to_owned());
        let quoted = serde_json::to_string(injection).expect("JSON");
        let policy = world.policy(&format!("revoked:\n- what: {{key: \"sha256:{}\"}}\n  reason: {quoted}\n", "0".repeat(64)));
        let overlay = format!(
            "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {{name: mine}}\nspec:\n  vendor: nvidia\n  checks: {{conformance: [gpu-capacity]}}\n  expect: [{{apiVersion: v1, kind: {quoted}, name: {quoted}}}]\n"
        );
        let branch = format!("injected-{number}");
        let touches = [added(&pointer), file("evidence/policy.yaml", policy), file("recipes/mine.yaml", overlay)];
        world.repository.commit(&branch, Some("refs/heads/main"), &touches);
        let report = refused(injection, &world.request("main", &branch), "registry-not-listed").await;
        assert_eq!(report.pointers[0].facts.signers.len(), 1, "{injection}");
        assert!(!report.policy_changes.is_empty() && report.recipes.iter().any(|row| row.name == "mine"), "{injection}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_registry_that_means_harm_costs_no_more_than_its_time() {
    let Some(world) = World::start().await else { return };
    let metadata =
        Fault::Answer { status: 307, headers: vec![("location", "http://169.254.169.254/latest/".to_owned())], body: String::new() };
    for (number, (name, fault, expected)) in [
        ("it is silent", Fault::Silence, "timeout"),
        ("it drips", Fault::Drip(Duration::from_millis(50)), "timeout"),
        ("it never ends", Fault::Endless, "transfer-differs"),
        ("it leads to the metadata address", metadata, "unavailable"),
        (
            "it injects",
            Fault::Answer {
                status: 403,
                headers: Vec::new(),
                body: "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"x\\n::error::injected @everyone <script>\"}]}".to_owned(),
            },
            "denied",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let proxy = FaultProxy::start(&world.server.address);
        proxy.inject(Rule::new(fault));
        let policy = world.policy("").replace(&world.server.address, &proxy.address);
        let (base, head) = (format!("trap-base-{number}"), format!("trap-{number}"));
        world.repository.commit(&base, Some("refs/heads/main"), &[file("evidence/policy.yaml", policy)]);
        let mut pointer = fresh(&world, "");
        pointer.bundle.repository = format!("{}/team/evidence", proxy.address);
        world.repository.commit(&head, Some(&format!("refs/heads/{base}")), &[added(&pointer)]);
        let request = Request { limit: Duration::from_secs(2), ..world.request(&base, &head) };
        let began = Instant::now();
        let report = judge(&request).await;
        assert!(began.elapsed() < Duration::from_secs(8), "{name}: {:?}", began.elapsed());
        assert_ne!(report.decision, Decision::Accept, "{name}");
        assert_harmless(name, &report);
        assert_eq!(report.reason.map(Reason::id), Some(expected), "{name}: {}", report.summary);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_on_the_way_to_evidence_and_policy_are_told_apart_too() {
    let Some(world) = World::start().await else { return };
    world.repository.commit("deep", Some("refs/heads/main"), &[file("a/b/policy.yaml", world.policy("")), file("a/b/evidence/x", "x")]);
    for (name, path) in [("directory", "a/B/x"), ("evidence", "a/b/Evidence/x"), ("policy", "a/b/Policy.yaml")] {
        let branch = format!("alike-{name}");
        world.repository.commit(&branch, Some("refs/heads/deep"), &[file(path, "x")]);
        let request =
            Request { evidence: "a/b/evidence".to_owned(), policy: "a/b/policy.yaml".to_owned(), ..world.request("deep", &branch) };
        refused(name, &request, "name-collides").await;
    }
}

#[tokio::test]
async fn trees_that_git_would_not_make_are_refused() {
    let Some(world) = World::start().await else { return };
    let repository = &world.repository;
    let blob = repository.blob(b"x");
    // One tree many times below itself: as many files as anybody likes, in a few hundred bytes.
    let mut bomb = repository.tree(&[("100644", "blob", &blob, b"x")]);
    for _ in 0..7 {
        let entries: Vec<(String, String)> = (0..20).map(|number| (bomb.clone(), format!("d{number}"))).collect();
        let entries: Vec<(&str, &str, &str, &[u8])> =
            entries.iter().map(|(id, name)| ("040000", "tree", id.as_str(), name.as_bytes())).collect();
        bomb = repository.tree(&entries);
    }
    let twice = repository.tree(&[("100644", "blob", &blob, b"policy.yaml"), ("100644", "blob", &blob, b"policy.yaml")]);
    let up = repository.tree(&[("100644", "blob", &blob, b"..")]);
    let git = repository.tree(&[("100644", "blob", &blob, b".git")]);
    let lost = repository.tree(&[("100644", "blob", &"2".repeat(40), b"policy.yaml")]);
    for (name, tree, expected) in [
        ("a bomb", &bomb, "too-much"),
        ("a name twice", &twice, "not-a-file"),
        ("a way up", &up, "name-unsafe"),
        ("a repository", &git, "name-unsafe"),
    ] {
        let branch = name.replace(' ', "-");
        let root = repository.tree(&[("040000", "tree", tree, b"evidence"), ("100644", "blob", &blob, b"README.md")]);
        repository.commit_tree(&branch, "main", &root);
        refused(name, &world.request("main", &branch), expected).await;
    }
    let many: Vec<Touch> = (0..10_000).map(|number| file(&format!("evidence/sim-h100/sha256-{number:064}.yaml"), "x")).collect();
    repository.commit("many", Some("refs/heads/main"), &many);
    for branch in ["a-bomb", "many"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command.args(["gate", "--base", "main", "--head", branch, "-q", "--repository"]).arg(repository.path());
        let measured = measured(&mut command, LONGEST);
        assert_eq!(measured.output.status.code(), Some(11), "{branch}: {measured:?}");
        assert!(measured.peak < MEMORY && measured.time < LONGEST, "{branch}: {} MiB, {:?}", measured.peak >> 20, measured.time);
    }
    let root = repository.tree(&[("040000", "tree", &lost, b"evidence")]);
    repository.commit_tree("lost", "main", &root);
    let report = judge(&world.request("main", "lost")).await;
    assert_ne!(report.decision, Decision::Accept, "a file that was not fetched");
}
