//! `seatrial rbac`: the exact roles that a run needs.

use clap::ArgGroup;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::selection::Selection;
use crate::cli::{Cx, parse};
use crate::cluster::Cluster;
use crate::error::{Context, Error, Result};
use crate::exit::Exit;
use crate::preflight;
use crate::roles::{self, Subject};
use crate::steps::Publishing;

/// Print the roles that a run needs, as YAML for kubectl: reads in the whole cluster, creates in one namespace.
///
/// With --namespace nothing cluster-wide is created; without it the run makes a namespace of its own and removes it.
/// With --kubeconfig or --context, resources are called as that cluster calls them; else as API authors usually call them.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("subject"))]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Bind the roles to this user, as Kubernetes knows it.
    #[arg(long, value_name = "NAME", group = "subject", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Bind the roles to this service account: NAME in the namespace of --namespace, else in default; or NAMESPACE:NAME.
    #[arg(long, value_name = "[NAMESPACE:]NAME", group = "subject", value_parser = account)]
    service_account: Option<String>,
}

pub(crate) async fn exec(mut args: Args, cx: Cx) -> Result<Exit> {
    args.selection.asked.with_any_image();
    let (workflow, recipe) = args.selection.read(&cx).await?;
    let recipe = match recipe {
        Some(recipe) => recipe,
        None => match cx.global.catalog()?.only() {
            Some(recipe) => recipe?,
            None => return Err(Error::usage("which recipe?").hint("name it with --recipe: roles depend on its checks")),
        },
    };
    let subject = args.subject();
    let inputs = args.selection.inputs(workflow, recipe, Publishing::default())?;
    let namespace = args.selection.namespace.as_deref();
    let mut accesses = preflight::accesses(&inputs, namespace.is_none())?;
    if cx.global.kubeconfig.is_some() || cx.global.context.is_some() {
        let cluster = Cluster::connect(&cx.global.target()).await.context("ask the cluster how it calls its resources")?;
        accesses = cluster.as_served(accesses).await?;
    }
    cx.ui.artefact(&roles::to_yaml(&accesses, namespace, subject.as_ref())?);
    Ok(Exit::Ok)
}

/// Reads `NAME` or `NAMESPACE:NAME` of a service account.
fn account(text: &str) -> std::result::Result<String, String> {
    let (namespace, name) = text.split_once(':').map_or((None, text), |(namespace, name)| (Some(namespace), name));
    namespace.map(parse::namespace).transpose()?;
    // Names of service accounts may have dots between their parts.
    match name.split('.').all(parse::is_label) {
        true => Ok(text.to_owned()),
        false => Err("it is NAME or NAMESPACE:NAME, in lower-case letters, digits, hyphens and dots".to_owned()),
    }
}

impl Args {
    fn subject(&self) -> Option<Subject> {
        if let Some(user) = &self.user {
            return Some(Subject::User(user.clone()));
        }
        let account = self.service_account.as_deref()?;
        let own = self.selection.namespace.as_deref().unwrap_or("default");
        let (namespace, name) = account.split_once(':').unwrap_or((own, account));
        Some(Subject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}
