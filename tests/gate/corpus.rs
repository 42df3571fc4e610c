//! What a change can do to evidence, and what becomes of it; `evidence verify --policy` says the same of every pointer.

use std::sync::Arc;

use seatrial::evidence::Pointer;
use seatrial::gate::report::{RecipeState, RowDecision};
use seatrial::gate::{Approvals, Decision, GateReport, Request};
use seatrial::policy::Policy;
use seatrial::reason::Reason;
use seatrial::results::Outcome;
use seatrial::verify::{self, Expected};

use crate::evidence::{World, added, judge, options, place, published, recipe, recipe_file, run, signer, unsigned};
use crate::repository::{Node, Touch, file};
use crate::sample::{Sample, Signed};

/// Decision, reason and exit code.
fn came_to(report: &GateReport) -> (Decision, Option<&'static str>, u8) {
    (report.decision, report.reason.map(Reason::id), report.exit)
}

fn gone(path: &str) -> Touch {
    (path.as_bytes().to_vec(), Node::Gone)
}

/// A case: its name, the policy of its base, what the head does, and what that comes to.
struct Case {
    name: &'static str,
    policy: String,
    head: Vec<Touch>,
    comes_to: (Decision, Option<&'static str>, u8),
}

/// Pointers of all kinds.
struct Pointers {
    good: Pointer,
    stranger: Pointer,
    failed: Pointer,
    unsigned: Pointer,
    elsewhere: Pointer,
    down: Pointer,
}

impl Pointers {
    async fn publish(world: &World, stranger: &Signed) -> Self {
        let good = published(&world.server, &run(1), &world.ours).await;
        let mut elsewhere = good.clone();
        elsewhere.bundle.repository = "registry.example.com/team/evidence".to_owned();
        let mut down = good.clone();
        // Nobody listens on the port for discarded packets.
        down.bundle.repository = "127.0.0.1:9/team/evidence".to_owned();
        Self {
            stranger: published(&world.server, &run(2), stranger).await,
            failed: published(&world.server, &run(3).with("gpu-capacity", Outcome::fail("7 of 8")), &world.ours).await,
            unsigned: unsigned(&world.server, &run(4)).await,
            good,
            elsewhere,
            down,
        }
    }
}

fn case(name: &'static str, policy: String, head: Vec<Touch>, comes_to: (Decision, Option<&'static str>, u8)) -> Case {
    Case { name, policy, head, comes_to }
}

fn refuse(reason: &'static str, exit: u8) -> (Decision, Option<&'static str>, u8) {
    (Decision::Refuse, Some(reason), exit)
}

/// What is done to pointers and to what lies beside them.
fn pointers(world: &World, pointers: &Pointers) -> Vec<Case> {
    let usual = || world.policy("");
    let good = &pointers.good;
    let mut edited = world.old.clone();
    edited.recorded_at = "2027-01-01T00:00:00Z".parse().expect("a time");
    let misnamed = place(good).replace(&good.bundle.digest.hex()[..8], "00000000");
    let down_too = usual().replace("/team\"]", "/team\", \"127.0.0.1:9\"]");
    let lying = Pointer { hardware: seatrial::snapshot::Hardware::Real, ..good.clone() };
    vec![
        case("good evidence", usual(), vec![added(good)], (Decision::Accept, None, 0)),
        case("nothing that concerns it", usual(), vec![file("README.md", "y\n")], (Decision::Accept, None, 0)),
        case("a pointer is edited", usual(), vec![added(&edited)], refuse("pointer-edited", 11)),
        case("a pointer is removed", usual(), vec![gone(&place(&world.old))], refuse("pointer-removed", 11)),
        case("another signer", usual(), vec![added(&pointers.stranger)], refuse("signer-unknown", 11)),
        case("simulated hardware", world.policy_with("", ""), vec![added(good)], refuse("hardware-simulated", 11)),
        case("of unknown age", world.policy("maximumAge: 1d\n"), vec![added(good)], refuse("no-trusted-time", 11)),
        case(
            "in another folder",
            usual(),
            vec![file(&place(good).replace("sim-h100", "sim-h200"), good.to_yaml().expect("YAML"))],
            refuse("pointer-misplaced", 21),
        ),
        case(
            "in no folder",
            usual(),
            vec![file(&place(good).replace("sim-h100/", ""), good.to_yaml().expect("YAML"))],
            refuse("pointer-misplaced", 21),
        ),
        case("under another name", usual(), vec![file(&misnamed, good.to_yaml().expect("YAML"))], refuse("pointer-misnamed", 21)),
        case("with another file", usual(), vec![added(good), file("evidence/sim-h100/notes.txt", "x")], refuse("unexpected-file", 11)),
        case("unsigned", usual(), vec![added(&pointers.unsigned)], refuse("unsigned", 10)),
        case("of a failed run", usual(), vec![added(&pointers.failed)], refuse("failures", 1)),
        case("a registry that is not listed", usual(), vec![added(&pointers.elsewhere)], refuse("registry-not-listed", 11)),
        case("a registry that is down", down_too, vec![added(&pointers.down)], (Decision::Undecided, Some("unavailable"), 6)),
        case("a pointer that lies about hardware", usual(), vec![added(&lying)], refuse("replay-disagrees", 21)),
    ]
}

/// What is done to recipes and to the policy.
fn documents(world: &World, pointers: &Pointers, stranger: &Signed) -> Vec<Case> {
    let usual = || world.policy("");
    let good = &pointers.good;
    let mut changed = recipe();
    changed.spec.checks.conformance.push("dra-support".to_owned());
    let with_stranger = format!("{}{}", usual(), signer("stranger", stranger));
    vec![
        case("the recipe has moved on", usual(), vec![recipe_file(&changed), added(good)], refuse("recipe-drifted", 12)),
        case("no evidence for the change", usual(), vec![recipe_file(&changed)], (Decision::NeedsEvidence, Some("evidence-outdated"), 12)),
        case(
            "a new recipe without evidence",
            usual(),
            vec![file("recipes/mine.yaml", seatrial::yaml::to_string(&recipe()).expect("YAML").replace("sim-h100", "mine"))],
            (Decision::NeedsEvidence, Some("evidence-missing"), 13),
        ),
        case(
            "no evidence, only reported",
            world.policy("gate: {drifted: report}\n"),
            vec![recipe_file(&changed)],
            (Decision::Accept, None, 0),
        ),
        case("of a recipe that is not there", usual(), vec![gone("recipes/sim-h100.yaml"), added(good)], refuse("recipe-drifted", 12)),
        case(
            "the policy is changed",
            usual(),
            vec![file("evidence/policy.yaml", world.policy("maximumAge: 900d\n"))],
            refuse("policy-changed", 11),
        ),
        case(
            "the policy is changed, which is only reported",
            world.policy("gate: {policyChanges: report}\n"),
            vec![file("evidence/policy.yaml", world.policy("maximumAge: 900d\n"))],
            (Decision::Accept, None, 0),
        ),
        case(
            "the policy is made unusable",
            usual(),
            vec![file("evidence/policy.yaml", "kind: EvidencePolicy\n")],
            refuse("policy-invalid", 22),
        ),
        case(
            "it adds its own signer",
            world.policy("gate: {policyChanges: report}\n"),
            vec![file("evidence/policy.yaml", with_stranger), added(&pointers.stranger)],
            refuse("signer-unknown", 11),
        ),
        case(
            "a recipe that cannot be read",
            usual(),
            vec![file("recipes/sim-h100.yaml", "kind: Recipe\napiVersion: seatrial.dev/v1alpha1\nspec: 3\n")],
            refuse("recipe-invalid", 22),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_comes_to_its_end_and_verification_agrees() {
    let Some(world) = World::start().await else { return };
    let stranger = Sample::good().signed();
    let pointers = Pointers::publish(&world, &stranger).await;
    let mut verified = 0;
    let cases = [self::pointers(&world, &pointers), documents(&world, &pointers, &stranger)].into_iter().flatten();
    for (number, case) in cases.enumerate() {
        let (base, head) = (format!("base-{number}"), format!("head-{number}"));
        world.repository.commit(&base, Some("refs/heads/main"), &[file("evidence/policy.yaml", case.policy.clone())]);
        world.repository.commit(&head, Some(&format!("refs/heads/{base}")), &case.head);
        let report = judge(&world.request(&base, &head)).await;
        assert_eq!(came_to(&report), case.comes_to, "{}: {report:#?}", case.name);
        assert!(report.summary.starts_with(report.decision.word()), "{}", report.summary);
        assert_eq!(report.decision == Decision::Accept, report.exit == 0 && report.reason.is_none(), "{}", case.name);
        assert_eq!(report.advice.is_empty(), report.decision == Decision::Accept, "{}: {report:#?}", case.name);
        for row in report.pointers.iter().filter(|row| row.reasons.iter().all(|one| Reason::ALL.contains(&one.reason))) {
            verified += 1;
            let said = said(&case, &row.path).await;
            assert_eq!((row.exit, row.decision == RowDecision::Accept), (said, said == 0), "{}: {}", case.name, row.path);
        }
    }
    assert!(verified >= 12, "{verified} pointers were held against `evidence verify`");
}

/// How `evidence verify` with the base's policy and the head's recipe ends for a pointer of a case.
async fn said(case: &Case, path: &str) -> u8 {
    let folder = tempfile::tempdir().expect("a directory");
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, &case.policy).expect("is written");
    let of_head = |wanted: &str| case.head.iter().find(|(touched, _)| touched == wanted.as_bytes()).map(|(_, node)| node.clone());
    let Some(Node::File(bytes)) = of_head(path) else { panic!("{path} is no file of the head") };
    let file = folder.path().join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("is made");
    std::fs::write(&file, bytes).expect("is written");
    let today = match of_head("recipes/sim-h100.yaml") {
        Some(Node::File(text)) => {
            seatrial::recipe::load::from_text(&String::from_utf8(text).expect("text"), "r.yaml", None).expect("reads").recipe
        }
        Some(_) => seatrial::recipe::load::read("sim-h100").expect("is shipped").recipe,
        None => recipe(),
    };
    let expected = Expected::Policy(Arc::new(Policy::read(&policy).expect("a policy")));
    let request =
        verify::Request { recipe: Some(Arc::new(today)), ..verify::Request::new(file.display().to_string(), expected, options()) };
    verify::verify(request).await.exit.code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_approves_is_accepted_and_recorded_and_evidence_is_judged_all_the_same() {
    let Some(world) = World::start().await else { return };
    let stranger = Sample::good().signed();
    let removal = [gone(&place(&world.old))];
    let report = world.judge_approved("removed", &removal).await;
    assert_eq!(came_to(&report), (Decision::Accept, None, 0), "{report:#?}");
    assert_eq!(report.pointers[0].approved_by, ["@alice"]);
    assert_eq!(report.recipes.iter().map(|row| row.state).collect::<Vec<_>>(), [RecipeState::Missing]);

    let policy = format!("{}{}", world.policy(""), signer("stranger", &stranger));
    let theirs = published(&world.server, &run(2), &stranger).await;
    let report = world.judge_approved("own-signer", &[file("evidence/policy.yaml", policy.clone()), added(&theirs)]).await;
    assert_eq!(came_to(&report), (Decision::Refuse, Some("signer-unknown"), 11), "approved, and judged by the base's policy");
    let report = world.judge_approved("policy", &[file("evidence/policy.yaml", policy)]).await;
    assert_eq!(came_to(&report), (Decision::Accept, None, 0));
    assert!(report.policy_changes.iter().any(|change| change.input.starts_with("signers.stranger")), "{:?}", report.policy_changes);
    assert_eq!(report.files[0].approved_by, ["@alice"]);

    let mut edited = world.old.clone();
    edited.recorded_at = "2027-01-01T00:00:00Z".parse().expect("a time");
    let report = world.judge_approved("edited", &[added(&edited)]).await;
    assert_eq!(came_to(&report), (Decision::Accept, None, 0), "replaced by what holds as well");
    edited.bundle.content_digest = seatrial::digest::Digest::of(b"other");
    let report = world.judge_approved("edited-wrongly", &[added(&edited)]).await;
    assert_eq!(report.decision, Decision::Refuse, "an approval is for the change, not for evidence that does not hold");

    let unknown = Approvals { given: Vec::new(), unknown: Some("403 Forbidden".to_owned()) };
    let report = judge(&Request { approvals: unknown, ..world.request("main", "removed") }).await;
    assert_eq!(came_to(&report), (Decision::Undecided, Some("approval-unknown"), 3));
}
