//! `seatrial plan`: what a run would do, before it does anything.

use crate::cli::selection::Selection;
use crate::cli::{Cx, Format};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::plan;
use crate::steps::Publishing;

/// Show what a run would do: the steps, why in this order, what each needs, reads, creates and may take.
///
/// With --recipe no cluster is needed. Without it, a read-only look at the cluster finds the recipe that fits, and GPU needs are checked against what is there.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// The form of the plan.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let (workflow, recipe) = args.selection.read(&cx).await?;
    let (recipe, capacity) = match recipe {
        Some(recipe) => (recipe, None),
        None => {
            let (_, snapshot) = cx.global.look(&cx.ui).await.map_err(|error| {
                error.context("look at the cluster for the recipe that fits").hint("without a cluster, name one with --recipe")
            })?;
            (cx.global.catalog()?.fitting(&snapshot)?, Some(snapshot.gpus()))
        }
    };
    let inputs = args.selection.inputs(workflow, recipe, Publishing::default())?;
    let plan = plan::make(&inputs, capacity)?;
    if let Some(budget) = args.selection.budget() {
        plan.check_budget(budget)?;
    }
    match args.format {
        Format::Text => cx.ui.artefact(&plan.to_text()),
        Format::Json => {
            let json = serde_json::to_string_pretty(&plan).map_err(|error| Error::internal("write the plan").because(error))?;
            cx.ui.artefact(&json);
        }
    }
    Ok(Exit::Ok)
}
