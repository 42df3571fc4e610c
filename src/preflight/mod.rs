//! Asks beforehand what a run will need: permissions, admission, room under quotas, a registry that takes the evidence, a key that signs.

mod admission;
mod findings;
mod images;
mod samples;

pub use findings::{Findings, Line, Status};

use crate::checks::probe;
use crate::cluster::{Access, Cluster, Missing, Place, scratch};
use crate::error::{Context, Kind, Result};
use crate::registry::{Reference, Registry};
use crate::sign::Signer;
use crate::snapshot::{Hardware, Snapshot};
use crate::steps::{self, Inputs, Publishing};
use crate::ui::Ui;

/// What a run needs beside what its steps and checks declare: its Lease, the GPU lock, its namespace.
#[must_use]
pub fn base_access(own_namespace: bool) -> Vec<Access> {
    let lease = |verbs: &'static [&'static str], place: Place| Access::new("coordination.k8s.io", "leases", verbs, place);
    // What an earlier process of this run, or a dead run, left is looked for by every kind that any run creates.
    // In an administrator's namespace it is removed one by one; a namespace of our own goes as a whole.
    let verbs: &'static [&'static str] = if own_namespace { &["list"] } else { &["delete", "list", "watch"] };
    let swept =
        scratch::NAMESPACED.iter().map(|(api_version, kind)| Access { place: Place::Scratch, ..Access::of_kind(api_version, kind, verbs) });
    let mut accesses = vec![
        lease(&["list"], Place::Cluster),
        lease(&["create", "get", "update", "patch", "delete", "list", "watch"], Place::Scratch),
        lease(&["create", "get", "update", "delete", "list", "watch"], Place::Lock),
        Access::read("", "namespaces"),
    ];
    accesses.extend(swept);
    if own_namespace {
        accesses.push(Access::new("", "namespaces", &["create", "delete"], Place::Cluster));
    }
    accesses
}

/// Everything that a run accesses, sorted.
///
/// # Errors
/// An internal error for an unknown step; workflows are checked when they are read.
pub fn accesses(inputs: &Inputs, own_namespace: bool) -> Result<Vec<Access>> {
    let mut accesses = if inputs.creates() { base_access(own_namespace) } else { Vec::new() };
    for spec in &inputs.workflow.workflow.spec.steps {
        accesses.extend((steps::find(&spec.id)?.access)(inputs, spec));
    }
    if accesses.iter().any(samples::makes_pods) {
        // Controllers make the pods of Jobs and Deployments; whether they would be let in is asked with a pod.
        accesses.push(Access::new("", "pods", &["create"], Place::Scratch));
    }
    accesses.sort();
    accesses.dedup();
    Ok(accesses)
}

/// Asks everything, and creates nothing.
///
/// # Errors
/// Only if the API server cannot be asked; what is refused or missing is a line of the findings.
pub async fn ask(cluster: &Cluster, look: &Snapshot, inputs: &Inputs, place: &scratch::Place, ui: &Ui) -> Result<Findings> {
    ui.waiting("the API server's word on what we may do");
    let mut findings = Findings::default();
    findings.add(cluster_line(cluster, look));
    let accesses = cluster.as_served(accesses(inputs, place.namespace.is_none())?).await.context("ask what we may do")?;
    let missing = cluster.missing(&accesses, &place.namespace(), &place.lock_namespace()).await.context("ask what we may do")?;
    findings.add(permissions_line(&accesses, &missing));
    if let (true, Some(namespace)) = (inputs.behavioral, &place.namespace)
        && cluster.get("v1", "Namespace", None, namespace).await.context("look for the namespace")?.is_none()
    {
        findings.add(
            Line::missing("namespace", Kind::NotFound, format!("there is no namespace {namespace}"))
                .fix(format!("kubectl create namespace {namespace}")),
        );
    }
    if inputs.behavioral {
        let dra = probe::dra_api_version(cluster).await.context("ask what we may create")?;
        let samples = samples::of(inputs, &accesses, dra.as_deref())?;
        ui.waiting("the API server's word on what it would let in");
        for line in admission::ask(cluster, &samples, place, &missing).await.context("ask what we may create")? {
            findings.add(line);
        }
        findings.add(match look.cluster.hardware {
            Hardware::Simulated => Line::new("images", Status::NotTried, "simulated nodes pull no image"),
            Hardware::Real | Hardware::Unknown => {
                ui.waiting("the registries' word on the images of our pods");
                images::ask(&samples.images, &inputs.pods.pull_secrets, &inputs.publishing.registry).await
            }
        });
    } else {
        findings.add(Line::new("admission", Status::Ok, "this run creates nothing"));
    }
    findings.add(registry_line(&inputs.publishing, ui).await);
    findings.add(signing_line(&inputs.publishing, ui));
    ui.clear_live();
    Ok(findings)
}

fn cluster_line(cluster: &Cluster, look: &Snapshot) -> Line {
    let hardware = look.cluster.hardware.word();
    match (look.cluster.id.value(), look.cluster.id.unavailable()) {
        (Some(id), _) => Line::new("cluster", Status::Ok, format!("{} is cluster {id}, {hardware} hardware", cluster.context())),
        (_, why) => {
            let why = why.unwrap_or("not read");
            Line::new("cluster", Status::Unsure, format!("which cluster {} is cannot be told: {why}", cluster.context()))
                .fix("evidence names the cluster by the UID of its namespace kube-system: allow get on it")
        }
    }
}

fn permissions_line(accesses: &[Access], missing: &[Missing]) -> Line {
    if missing.is_empty() {
        let verbs: usize = accesses.iter().map(|access| access.verbs.len()).sum();
        return Line::new("permissions", Status::Ok, format!("all {verbs} that it needs"));
    }
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Line::missing("permissions", Kind::Denied, format!("permissions are missing: {}", list.join("; ")))
        .fix("`seatrial rbac WORKFLOW` prints the roles; give them to the user of this kubeconfig context")
}

async fn registry_line(publishing: &Publishing, ui: &Ui) -> Line {
    let Some(repository) = &publishing.push else {
        return Line::new("registry", Status::NotTried, "nothing is pushed without --push");
    };
    ui.waiting(&format!("{repository} to say whether we may push"));
    let asked = async {
        let reference: Reference = repository.parse()?;
        Registry::open(&reference.repository, &publishing.registry)?.check_push().await
    };
    match asked.await {
        Ok(()) => Line::new("registry", Status::Ok, format!("{repository} lets us push")),
        Err(error) => Line::of("registry", &error.context(format!("ask {repository} whether we may push"))),
    }
}

fn signing_line(publishing: &Publishing, ui: &Ui) -> Line {
    let Some(signing) = &publishing.signing else {
        return Line::new("signing", Status::NotTried, "evidence is not signed without --key");
    };
    match Signer::new(signing).map(|signer| signer.asking(ui)).and_then(|signer| signer.check_ready().map(|()| signer)) {
        Ok(signer) => Line::new("signing", Status::Ok, signer.describe()),
        Err(error) => Line::of("signing", &error),
    }
}
