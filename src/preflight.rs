//! Asks beforehand what a run will need: permissions, a registry that takes the evidence.

use crate::cluster::scratch;
use crate::cluster::{Access, Cluster, Place};
use crate::error::{Context, Error, Kind, Result};
use crate::registry::{Options, Registry};
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
    let mut accesses = if inputs.behavioral { base_access(own_namespace) } else { Vec::new() };
    for spec in &inputs.workflow.workflow.spec.steps {
        accesses.extend((steps::find(&spec.id)?.access)(inputs, spec));
    }
    accesses.sort();
    accesses.dedup();
    Ok(accesses)
}

/// Asks the API server whether the run may do all it will do.
///
/// # Errors
/// [`Kind::Denied`] with the complete list of what is missing, by verb and resource.
pub async fn permissions(cluster: &Cluster, inputs: &Inputs, place: &scratch::Place, ui: &Ui) -> Result<()> {
    ui.waiting("the API server's word on what we may do");
    let accesses = accesses(inputs, place.namespace.is_none())?;
    let missing = cluster.missing(&accesses, &place.namespace(), &place.lock_namespace()).await.context("ask what we may do")?;
    ui.clear_live();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(Error::new(Kind::Denied, format!("permissions are missing: {}", list.join("; ")))
        .hint("`seatrial rbac WORKFLOW` prints the roles; give them to the user of this kubeconfig context"))
}

/// Asks the registry whether we may push.
///
/// # Errors
/// [`Kind::Denied`], [`Kind::Unavailable`] and the like, naming registry and repository.
pub async fn registry(publishing: &Publishing, ui: &Ui) -> Result<()> {
    let Some(repository) = &publishing.push else { return Ok(()) };
    ui.waiting(&format!("{repository} to say whether we may push"));
    let options = Options { plain_http: publishing.plain_http, ..Options::default() };
    let asked = Registry::open(&repository.parse()?, &options)?.check_push().await;
    ui.clear_live();
    asked.with_context(|| format!("ask {repository} whether we may push"))
}
