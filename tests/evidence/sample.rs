//! A small run on a simulated cluster, and its signed bundle.

use std::path::{Path, PathBuf};

use seatrial::digest::Digest;
use seatrial::evidence::pointer::{BundleRef, PointerKind, SignatureRef};
use seatrial::evidence::redaction::{Policy, Redaction};
use seatrial::evidence::{Bundle, Files, Inputs, MANIFEST, Manifest, Pointer, PublicKey, Tool, directory, oci, statement};
use seatrial::publish;
use seatrial::recipe::Recipe;
use seatrial::results::{Counts, Outcome, RecipeRef, Report, Scope, SkipReason, StepResult, TestResult};
use seatrial::sign::{Options, Signer, keygen};
use seatrial::snapshot::Snapshot;
use seatrial::verify::{self, Request, Verification};
use seatrial::{registry, yaml};
use serde_json::{Value, json};

/// The inputs of a bundle.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) report: Report,
    pub(crate) recipe: Recipe,
    pub(crate) snapshot: Snapshot,
    pub(crate) plan: Value,
    pub(crate) redaction: Redaction,
}

const RECIPE: &str = "
apiVersion: seatrial.dev/v1alpha1
kind: Recipe
metadata: {name: sim-h100}
spec:
  criteria: {accelerator: h100}
  vendor: simulated
  checks:
    deployment: [platform-health]
    conformance: [gpu-capacity, secure-accelerator-access]
";

impl Sample {
    /// A run that passed, with one check out of scope.
    pub(crate) fn good() -> Self {
        let recipe: Recipe = yaml::from_str(RECIPE, "recipe.yaml").expect("a recipe");
        let snapshot = snapshot();
        let held = |message: &str| Outcome::pass(message).seen("nodes", vec!["sim-1".to_owned(), "sim-2".to_owned()], 2).asserted(2, 2);
        let capacity = held("2 of 2 nodes agree with themselves").measured("gpus", 16.0, "1").artifact(
            "node sim-1",
            Some("kubectl get node sim-1"),
            json!({"nvidia.com/gpu": "8"}),
        );
        let tests = vec![
            test("platform-health", "health", "deployment", held("everything is available")),
            test("gpu-capacity", "conformance", "conformance", capacity),
            test("secure-accelerator-access", "conformance", "conformance", Outcome::skip(SkipReason::NeedsNode, "no container runs here")),
        ];
        let report = Report {
            api_version: "seatrial.dev/v1alpha1".to_owned(),
            kind: "Results".to_owned(),
            run: "20261122-101530-7f3a9c".to_owned(),
            workflow: "conformance".to_owned(),
            recipe: RecipeRef { name: recipe.metadata.name.clone(), digest: recipe.digest().expect("a digest") },
            snapshot: Some(Digest::of_json(&snapshot).expect("a digest")),
            scope: Scope::Full,
            hardware: snapshot.cluster.hardware,
            counts: Counts::default(),
            steps: ["snapshot", "health", "conformance"].map(step).into(),
            tests,
            started_at: "2026-11-22T10:15:30Z".parse().expect("a time"),
            finished_at: "2026-11-22T10:16:04Z".parse().expect("a time"),
        };
        let plan = json!({"workflow": "conformance", "steps": ["snapshot", "health", "conformance"]});
        Self { report, recipe, snapshot, plan, redaction: redaction(Policy::full()) }.counted()
    }

    /// The same with another outcome of one test.
    pub(crate) fn with(mut self, id: &str, outcome: Outcome) -> Self {
        self.report.tests.iter_mut().find(|test| test.id == id).expect("there is such a test").outcome = outcome;
        self.counted()
    }

    /// The same without one test.
    pub(crate) fn without(mut self, id: &str) -> Self {
        self.report.tests.retain(|test| test.id != id);
        self.counted()
    }

    /// The same with the totals and the scope that its verdicts give.
    pub(crate) fn counted(mut self) -> Self {
        let verdict = |test: &TestResult| test.outcome.verdict;
        self.report.counts = Counts::of(self.report.tests.iter().map(verdict));
        self.report.scope = Scope::of(self.report.tests.iter().map(verdict));
        for step in &mut self.report.steps {
            step.counts = Counts::of(self.report.tests.iter().filter(|test| test.step == step.id).map(verdict));
        }
        self
    }

    pub(crate) fn bundle(&self) -> Bundle {
        self.try_bundle().expect("a bundle")
    }

    pub(crate) fn try_bundle(&self) -> seatrial::error::Result<Bundle> {
        let tool = Tool { name: "seatrial".to_owned(), version: "0.1.0".to_owned(), digest: Some(Digest::of(b"tool")) };
        let inputs = Inputs {
            report: &self.report,
            recipe: &self.recipe,
            snapshot: Some(&self.snapshot),
            plan: &self.plan,
            workflow: Digest::of(b"workflow"),
            tool,
            redaction: &self.redaction,
        };
        Bundle::build(&inputs)
    }

    /// The same, redacted by the policy that holds where no other is named.
    pub(crate) fn minimal(mut self) -> Self {
        self.redaction = redaction(Policy::minimal().expect("is shipped"));
        self
    }

    /// Writes the bundle and signs it.
    pub(crate) fn signed(&self) -> Signed {
        let signed = Signed::unsigned(&self.bundle());
        // A local key waits for nobody.
        futures::executor::block_on(publish::sign(&signed.bundle(), &signed.signer)).expect("is signed");
        signed
    }
}

/// A bundle's directory with a key pair beside it.
pub(crate) struct Signed {
    folder: tempfile::TempDir,
    pub(crate) signer: Signer,
    pub(crate) public: PathBuf,
}

impl Signed {
    pub(crate) fn unsigned(bundle: &Bundle) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let keys = keygen(folder.path(), None).expect("a key pair");
        directory::write(bundle, &folder.path().join("bundle")).expect("is written");
        Self { signer: Signer::new(&Options::key(keys.private)).expect("reads"), public: keys.public, folder }
    }

    /// The signer's signature of any bytes.
    pub(crate) fn sign(&self, statement: &[u8]) -> Vec<u8> {
        // A local key waits for nobody.
        futures::executor::block_on(self.signer.sign(statement)).expect("is signed").bundle
    }

    /// Files of anybody's making, with a manifest that is right about them, signed with the right key.
    pub(crate) fn forged(mut files: Files) -> Self {
        let manifest = Manifest::of(&files).to_bytes().expect("a manifest");
        files.insert(MANIFEST.to_owned(), manifest);
        let signed = Self::unsigned(&Bundle::from_files(files.clone()).expect("a bundle"));
        let artifact = oci::artifact(&files).expect("a manifest").digest;
        let statement = statement::build(&files, &artifact).expect("a statement");
        let signature = signed.sign(&statement);
        directory::write_signature(&signed.bundle(), &signature).expect("is written");
        signed
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.folder.path().join("bundle")
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.signer.public_key().expect("a local key").clone()
    }

    pub(crate) async fn verify(&self) -> Verification {
        verify_with(&self.bundle().display().to_string(), self.key()).await
    }
}

pub(crate) async fn verify_with(input: &str, key: PublicKey) -> Verification {
    let registry = registry::Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..registry::Options::default() };
    verify::verify(Request::new(input, verify::Expected::key(key), registry)).await
}

/// The stage that decided, and the exit code.
pub(crate) fn ended(verification: &Verification) -> (String, u8) {
    let failed = verification.report.stages.iter().find(|stage| !stage.reasons.is_empty());
    (failed.map(|stage| stage.name.clone()).unwrap_or_default(), verification.exit.code())
}

/// Files of a bundle with a JSON document changed.
pub(crate) fn change(bundle: &Bundle, path: &str, place: &str, value: Value) -> Files {
    let mut files = bundle.files().clone();
    let mut document: Value = serde_json::from_slice(&files[path]).expect("JSON");
    *document.pointer_mut(place).expect("is there") = value;
    files.insert(path.to_owned(), seatrial::digest::canonical_json(&document).expect("JSON"));
    files
}

/// A policy with pseudonyms that are the same in every run of the tests.
pub(crate) fn redaction(policy: Policy) -> Redaction {
    Redaction { policy, key: b"the key of the samples".to_vec() }
}

fn test(id: &str, step: &str, phase: &str, outcome: Outcome) -> TestResult {
    TestResult {
        id: id.to_owned(),
        version: 1,
        step: step.to_owned(),
        phase: phase.to_owned(),
        outcome,
        started_ms: 1_795_342_530_000,
        duration_ms: 120,
        retries: Vec::new(),
    }
}

fn step(id: &str) -> StepResult {
    StepResult { id: id.to_owned(), outcome: Outcome::pass("done"), duration_ms: 500, counts: Counts::default() }
}

fn snapshot() -> Snapshot {
    let node = |name: &str| {
        json!({"name": name, "hardware": "simulated", "marks": ["label type=kwok"], "labels": {"type": "kwok"}, "taints": [], "unschedulable": false,
            "capacity": {"nvidia.com/gpu": "8"}, "allocatable": {"nvidia.com/gpu": "8"}, "conditions": {"Ready": "True"}, "versions": {},
            "gpus": {"vendor": "simulated", "labelCount": 8, "capacity": 8, "allocatable": 8}})
    };
    let image = "registry.example.com/driver:1.2";
    let ran = format!("registry.example.com/driver@{}", Digest::of(b"image"));
    serde_json::from_value(json!({
        "apiVersion": "seatrial.dev/v1alpha1", "kind": "Snapshot",
        "cluster": {"id": {"value": "6f2c"}, "version": {"value": "v1.35.4"}, "hardware": "simulated"},
        "nodes": {"value": [node("sim-1"), node("sim-2")]}, "pools": {"value": []}, "deviceClasses": {"unavailable": "403 Forbidden"},
        "workloads": {"value": [{"kind": "DaemonSet", "namespace": "gpu", "name": "driver", "versions": {}, "images": {image: [ran]}}]},
        "crds": {"value": []}, "apis": {"value": {"apps": ["v1"]}}
    }))
    .expect("a snapshot")
}

/// The pointer to a bundle, as it would be if it had been published.
pub(crate) fn pointer_to(bundle: &Bundle) -> Pointer {
    let evidence = bundle.evidence().expect("evidence");
    let (digest, key) = (Digest::of(b"signature manifest"), Some(Digest::of(b"public key")));
    Pointer {
        api_version: evidence.api_version,
        kind: PointerKind::EvidencePointer,
        recipe: evidence.recipe,
        bundle: BundleRef {
            repository: "ghcr.io/example/evidence".to_owned(),
            digest: bundle.artifact().expect("a manifest").digest,
            content_digest: bundle.content_digest().clone(),
        },
        signatures: vec![SignatureRef { digest, key, issuer: None, identity: None, source_repository: None, log: None }],
        hardware: evidence.hardware,
        recorded_at: evidence.finished_at,
    }
}
