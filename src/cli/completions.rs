//! `seatrial completions`: what a shell completes, derived from the commands.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, Cx};
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;

/// Print shell completions, e.g. source <(seatrial completions bash).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "seatrial", &mut bytes);
    let text = String::from_utf8(bytes).map_err(|error| Error::new(Kind::Internal, "write completions").because(error))?;
    cx.ui.artefact(&text);
    Ok(Exit::Ok)
}
