//! `seatrial preflight`: whether a run may do what it will do, without doing it.

use crate::cli::publishing::PublishArgs;
use crate::cli::selection::Selection;
use crate::cli::{Cx, Format};
use crate::cluster::scratch;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::{limits, plan, preflight};

/// Ask beforehand what a run will need: permissions, admission, room under quotas, the registry, the key. Creates nothing.
///
/// Admission is asked by server-side dry run of every kind of object that the run creates. Each line is ok, missing, unsure or not tried.
/// Exit codes: 0 nothing is missing, 3 something cannot be told, 4 permissions, admission or room are missing, others as a run would end.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    publish: PublishArgs,
    /// Print the findings to standard output in this format.
    #[arg(short = 't', long, value_enum)]
    format: Option<Format>,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let (workflow, recipe) = args.selection.read(&cx).await?;
    let (cluster, look) = cx.global.look(&cx.ui).await?;
    let recipe = match recipe {
        Some(recipe) => recipe,
        None => cx.global.catalog()?.fitting(&look)?,
    };
    let publishing = args.publish.publishing(None, true);
    let inputs = args.selection.inputs(workflow, recipe, publishing?)?;
    // What a run refuses before it asks anything.
    let plan = plan::make(&inputs, Some(look.gpus()))?;
    if let Some(budget) = args.selection.budget() {
        plan.check_budget(budget)?;
    }
    let place = scratch::Place {
        run: "preflight".to_owned(),
        namespace: args.selection.namespace.clone(),
        lease: limits::LEASE,
        creates: Vec::new(),
        keep: false,
    };
    let findings = preflight::ask(&cluster, &look, &inputs, &place, &cx.ui).await?;
    let exit = findings.exit();
    cx.ui.event("preflight", serde_json::json!({"lines": findings.lines, "exit": exit.code()}));
    match args.format {
        Some(Format::Text) => cx.ui.artefact(&findings.to_text(|word, _| word.to_owned())),
        Some(Format::Json) => {
            let json = serde_json::to_string_pretty(&findings).map_err(|error| Error::internal("write the findings").because(error))?;
            cx.ui.artefact(&json);
        }
        None => {}
    }
    if args.format != Some(Format::Text) {
        let word = if exit == Exit::Ok { "nothing is missing" } else { "not everything is there" };
        cx.ui.line(format!("{}\n  {word}     exit {}", findings.to_text(|word, tone| cx.ui.paint(word, tone)), exit.code()));
    }
    Ok(exit)
}
