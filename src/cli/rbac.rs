//! `seatrial rbac`: the exact roles that a run needs.

use crate::cli::Cx;
use crate::cli::selection::Selection;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::recipe::load;
use crate::roles;
use crate::steps::Publishing;

/// Print the roles that a run needs, as YAML for kubectl: reads in the whole cluster, creates in one namespace.
///
/// With --namespace nothing cluster-wide is created; without it the run makes a namespace of its own and removes it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Bind the roles to this user, as Kubernetes knows it.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let (workflow, recipe) = args.selection.read()?;
    let recipe = match recipe {
        Some(recipe) => recipe,
        None => match load::only() {
            Some(recipe) => recipe?,
            None => return Err(Error::usage("which recipe?").hint("name it with --recipe: roles depend on its checks")),
        },
    };
    let inputs = args.selection.inputs(workflow, recipe, Publishing::default())?;
    cx.ui.artefact(&roles::to_yaml(&inputs, args.selection.namespace.as_deref(), args.user.as_deref())?);
    Ok(Exit::Ok)
}
