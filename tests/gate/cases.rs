//! The corpus: what a change can do to evidence, recipes and policy, and what has to become of it, whoever judges.

use seatrial::evidence::{Bundle, MANIFEST, Manifest, Pointer};
use seatrial::gate::{Decision, GateReport};
use seatrial::reason::Reason;
use seatrial::results::Outcome;
use serde_json::{Value, json};

use crate::evidence::{World, added, place, published, published_as, recipe, recipe_file, run, signer, unsigned};
use crate::repository::{Node, Touch, file};
use crate::sample::{Sample, Signed, change};

/// Decision, reason and exit code.
pub(crate) fn came_to(report: &GateReport) -> (Decision, Option<&'static str>, u8) {
    (report.decision, report.reason.map(Reason::id), report.exit)
}

pub(crate) fn gone(path: &str) -> Touch {
    (path.as_bytes().to_vec(), Node::Gone)
}

/// A case: its name, the policy of its base, what the head does, and what that comes to.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) policy: String,
    pub(crate) head: Vec<Touch>,
    pub(crate) comes_to: (Decision, Option<&'static str>, u8),
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

/// Evidence that is made to look like what it is not, and signers whom the policy limits: the forgeries of `evidence verify`.
async fn forgeries(world: &World) -> Vec<Case> {
    let (usual, ours) = (world.policy(""), &world.ours);
    let signed = async |sample: Sample| published(&world.server, &sample, ours).await;
    // A right manifest of wrong documents, signed by the right signer.
    let forged = async |sample: &Sample, path: &str, place: &str, value: Value| {
        let mut files = change(&sample.bundle(), path, place, value);
        files.insert(MANIFEST.to_owned(), Manifest::of(&files).to_bytes().expect("a manifest"));
        published_as(&world.server, &Bundle::from_files(files).expect("a bundle"), ours).await
    };
    let mut backwards = run(11);
    std::mem::swap(&mut backwards.report.started_at, &mut backwards.report.finished_at);
    let mut labelled = run(12);
    labelled.report.hardware = seatrial::snapshot::Hardware::Real;
    let good = signed(run(13)).await;
    let revoked = world.policy(&format!("revoked: [{{what: {{digest: \"{}\"}}, reason: a broken cluster}}]\n", good.bundle.content_digest));
    let other = usual.replace("[\"*\"]", "[\"h100-*\"]");
    let expired = usual.replace("  recipes:", "  expires: 2026-01-01T00:00:00Z\n  recipes:");
    let lie = forged(&run(14), "evidence.json", "/counts/pass", json!(99)).await;
    vec![
        case("totals that lie", usual.clone(), vec![added(&lie)], refuse("results-disagree", 21)),
        case("a label that lies", usual.clone(), vec![added(&signed(labelled).await)], refuse("hardware-disagrees", 21)),
        case("an end before its beginning", usual.clone(), vec![added(&signed(backwards).await)], refuse("times-disagree", 21)),
        case("without a declared check", usual, vec![added(&signed(run(15).without("gpu-capacity")).await)], refuse("checks-missing", 13)),
        case("revoked", revoked, vec![added(&good)], refuse("bundle-revoked", 11)),
        case("a signer for other recipes", other, vec![added(&good)], refuse("other-recipe", 11)),
        case("a signer whose time is over", expired, vec![added(&good)], refuse("entry-expired", 11)),
    ]
}

/// All of them, with what they are about published.
pub(crate) async fn corpus(world: &World) -> Vec<Case> {
    let stranger = Sample::good().signed();
    let published = Pointers::publish(world, &stranger).await;
    [pointers(world, &published), documents(world, &published, &stranger), forgeries(world).await].into_iter().flatten().collect()
}

impl Case {
    /// Commits base and head, under these names.
    pub(crate) fn commit(&self, world: &World, base: &str, head: &str) -> [String; 2] {
        let below = world.repository.commit(base, Some("refs/heads/main"), &[file("evidence/policy.yaml", self.policy.clone())]);
        [below, world.repository.commit(head, Some(&format!("refs/heads/{base}")), &self.head)]
    }

    /// The file that the head has at a path.
    pub(crate) fn file(&self, path: &str) -> Option<&Node> {
        self.head.iter().find(|(touched, _)| touched == path.as_bytes()).map(|(_, node)| node)
    }
}
