//! `seatrial list`: what this version knows.

use clap::Subcommand;
use serde_json::json;

use crate::checks;
use crate::cli::{Cx, Format};
use crate::data;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::workflow::Loaded;

/// List what this version knows: checks, workflows, recipes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// The form of the list.
    #[arg(short = 't', long, value_enum, default_value = "text", global = true)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Checks, with what each is about.
    Checks,
    /// Shipped workflows.
    Workflows,
    /// Shipped recipes.
    Recipes,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let rows: Vec<(String, String)> = match args.what {
        What::Checks => {
            let built = checks::ALL.iter().map(|check| (check.id.to_owned(), format!("{:<12} {}", check.phase.word(), check.title)));
            let later =
                checks::NOT_BUILT_YET.iter().map(|id| ((*id).to_owned(), "known, not in this version: error(unsupported)".to_owned()));
            let mut rows: Vec<(String, String)> = built.chain(later).collect();
            rows.sort();
            rows
        }
        What::Workflows => {
            let row = |name: &str| {
                let steps: Vec<String> = Loaded::read(name)?.workflow.spec.steps.into_iter().map(|step| step.id).collect();
                Ok((name.to_owned(), steps.join(" → ")))
            };
            data::workflow_names().into_iter().map(row).collect::<Result<_>>()?
        }
        What::Recipes => {
            let catalog = cx.global.catalog()?;
            let row = |name: &str| {
                let recipe = catalog.read(name)?.recipe;
                let criteria: Vec<String> =
                    recipe.spec.criteria.stated().iter().map(|(dimension, value)| format!("{dimension}={value}")).collect();
                Ok((name.to_owned(), criteria.join(" ")))
            };
            catalog.recipes().map(row).collect::<Result<_>>()?
        }
    };
    match args.format {
        Format::Text => {
            let width = rows.iter().map(|(id, _)| id.len()).max().unwrap_or(0);
            let lines: Vec<String> = rows.iter().map(|(id, about)| format!("{id:<width$}  {about}")).collect();
            cx.ui.artefact(&lines.join("\n"));
        }
        Format::Json => {
            let list: Vec<serde_json::Value> = rows.iter().map(|(id, about)| json!({"id": id, "about": about})).collect();
            let text = serde_json::to_string_pretty(&list).map_err(|error| Error::internal("write the list").because(error))?;
            cx.ui.artefact(&text);
        }
    }
    Ok(Exit::Ok)
}
