//! `seatrial explain`: what a check checks, why it matters, how to fix it.

use crate::checks::{self, Known};
use crate::cli::Cx;
use crate::error::Result;
use crate::exit::Exit;

/// Explain a check: what it checks, why it matters, how to fix it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The check's id; `seatrial list checks` shows all.
    #[arg(value_name = "CHECK")]
    check: String,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match checks::find(&args.check)? {
        Known::Built(check) => cx.ui.artefact(&checks::page(check)),
        Known::NotBuilt(id) => {
            cx.ui.artefact(&format!("{id}: a known check that this version cannot run; a recipe that names it gets error(unsupported)"));
        }
    }
    Ok(Exit::Ok)
}
