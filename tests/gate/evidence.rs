//! A world for the gate: a registry with signed evidence in it, and a repository with a policy, a recipe and a pointer.

use std::path::PathBuf;
use std::time::Duration;

use seatrial::evidence::{Bundle, Parcel, Pointer};
use seatrial::gate::{self, Approval, ApprovalSource, Approvals, Change, GateReport, Request};
use seatrial::publish::{Target, publish, push};
use seatrial::recipe::Recipe;
use seatrial::registry::{Options, Registry};
use seatrial::results::Outcome;
use seatrial::{checks, yaml};

use crate::registry_server::{Flavour, RegistryServer};
use crate::repository::{Repository, Touch, file};
use crate::sample::{Sample, Signed, pointer_to};

/// The one who may approve.
pub(crate) const OWNER: &str = "@alice";

/// Everything that a case of the gate needs.
pub(crate) struct World {
    pub(crate) server: RegistryServer,
    pub(crate) repository: Repository,
    /// Whose signatures the policy accepts.
    pub(crate) ours: Signed,
    /// Published before, and in the base.
    pub(crate) old: Pointer,
}

/// A run that passed every check on a simulated cluster, of a recipe that can be read from a file.
pub(crate) fn run(number: usize) -> Sample {
    let mut sample = Sample::good();
    sample.recipe = recipe();
    sample.report.recipe.digest = sample.recipe.digest().expect("a digest");
    sample.report.run = format!("20261122-101530-{number:06}");
    let access = Outcome::pass("a pod without a claim sees no GPU").seen("pods", vec!["a".to_owned()], 1).asserted(1, 1);
    sample.with("secure-accelerator-access", access)
}

/// The recipe of all runs.
pub(crate) fn recipe() -> Recipe {
    let mut recipe = Sample::good().recipe;
    recipe.spec.vendor = "nvidia".to_owned();
    recipe
}

pub(crate) fn recipe_file(recipe: &Recipe) -> Touch {
    file("recipes/sim-h100.yaml", yaml::to_string(recipe).expect("YAML"))
}

pub(crate) fn options() -> Options {
    let read_timeout = Duration::from_millis(500);
    Options { plain_http: true, docker_config: Some("/nonexistent".into()), read_timeout, ..Options::default() }
}

/// Where a pointer belongs.
pub(crate) fn place(pointer: &Pointer) -> String {
    format!("evidence/{}", pointer.path().expect("a name").display())
}

/// A pointer in its place.
pub(crate) fn added(pointer: &Pointer) -> Touch {
    file(&place(pointer), pointer.to_yaml().expect("YAML"))
}

/// Publishes a run.
pub(crate) async fn published(server: &RegistryServer, sample: &Sample, signed: &Signed) -> Pointer {
    published_as(server, &sample.bundle(), signed).await
}

/// Publishes a bundle, whatever is in it.
pub(crate) async fn published_as(server: &RegistryServer, bundle: &Bundle, signed: &Signed) -> Pointer {
    let bundle = Signed::unsigned(bundle);
    let reference = format!("{}/team/evidence", server.address).parse().expect("a name");
    let target = Target::new(reference, options(), bundle.root().join("evidence"));
    let path: PathBuf = publish(&bundle.bundle(), &signed.signer, &target).await.expect("is published").pointer;
    Pointer::parse(&std::fs::read_to_string(path).expect("is there"), "pointer").expect("reads")
}

/// Pushes a run that nobody signs.
pub(crate) async fn unsigned(server: &RegistryServer, sample: &Sample) -> Pointer {
    let bundle = sample.bundle();
    let repository = format!("{}/team/evidence", server.address);
    let registry = Registry::open(&repository.parse().expect("a name"), &options()).expect("opens");
    push(&Parcel::of(&bundle).expect("a parcel"), &registry, "unsigned", false).await.expect("is pushed");
    let mut pointer = pointer_to(&bundle);
    pointer.bundle.repository = repository;
    pointer.signatures.clear();
    pointer
}

impl World {
    /// Starts it; none if this machine has no registry (and it is not required).
    pub(crate) async fn start() -> Option<Self> {
        let server = RegistryServer::start(Flavour::Native)?;
        let ours = run(0).signed();
        let old = published(&server, &run(0), &ours).await;
        let world = Self { server, repository: Repository::new(), ours, old };
        let base = [file("evidence/policy.yaml", world.policy("")), recipe_file(&recipe()), added(&world.old), file("README.md", "x\n")];
        world.repository.commit("main", None, &base);
        Some(world)
    }

    /// A policy that accepts our signatures of simulated runs, from this registry; with more lines.
    pub(crate) fn policy(&self, more: &str) -> String {
        self.policy_with("hardware: [simulated]\n", more)
    }

    /// The same with other lines on hardware.
    pub(crate) fn policy_with(&self, hardware: &str, more: &str) -> String {
        format!(
            "apiVersion: seatrial.dev/v1alpha1\nkind: EvidencePolicy\nregistries: [\"{}/team\"]\nowners: [\"{OWNER}\"]\n{hardware}{more}signers:\n{}",
            self.server.address,
            signer("lab", &self.ours)
        )
    }

    /// A request about two branches.
    pub(crate) fn request(&self, base: &str, head: &str) -> Request {
        let repository = self.repository.path().to_owned();
        request(Change::Commits { repository, base: base.to_owned(), head: head.to_owned() })
    }

    /// Judges a branch that is made of these touches upon main, with the owner's approval.
    pub(crate) async fn judge_approved(&self, branch: &str, touches: &[Touch]) -> GateReport {
        let commit = self.repository.commit(branch, Some("refs/heads/main"), touches);
        let approval = Approval { by: OWNER.to_owned(), teams: Vec::new(), commit: Some(commit), source: ApprovalSource::Review };
        let approvals = Approvals { given: vec![approval], unknown: None };
        judge(&Request { approvals, ..self.request("main", branch) }).await
    }
}

/// An entry of a policy.
pub(crate) fn signer(name: &str, signed: &Signed) -> String {
    let key = std::fs::read_to_string(&signed.public).expect("a key");
    let key: String = key.lines().map(|line| format!("      {line}\n")).collect();
    format!("- name: {name}\n  recipes: [\"*\"]\n  subject:\n    key: |\n{key}")
}

pub(crate) fn request(change: Change) -> Request {
    Request {
        change,
        evidence: "evidence".to_owned(),
        policy: "evidence/policy.yaml".to_owned(),
        data: "recipes".to_owned(),
        approvals: Approvals::default(),
        checks: checks::ALL.iter().map(|check| (check.id.to_owned(), check.version)).collect(),
        registry: options(),
        cache: seatrial::pull::Cache::default(),
        root: seatrial::trust::Root::default(),
        limit: Duration::from_secs(20),
        now: jiff::Timestamp::now(),
    }
}

pub(crate) async fn judge(request: &Request) -> GateReport {
    gate::judge(request).await.expect("there is something to compare")
}
