//! `seatrial man`: manual pages, derived from the commands.

use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::{Cli, Cx};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::files;

/// Print the manual page, or write one per command into a directory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory that takes a page per command, e.g. ~/.local/share/man/man1.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    let mut root = Cli::command();
    root.build();
    let Some(folder) = &args.folder else {
        cx.ui.artefact(&String::from_utf8_lossy(&page(&root)?));
        return Ok(Exit::Ok);
    };
    let mut pages = Vec::new();
    collect(&root, &mut pages);
    for command in &pages {
        let file = Man::new(command.clone()).get_filename();
        files::write(&folder.join(file), &page(command)?)?;
    }
    cx.ui.line(format!("{} manual pages in {}", pages.len(), folder.display()));
    Ok(Exit::Ok)
}

fn collect(command: &Command, pages: &mut Vec<Command>) {
    pages.push(command.clone());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        collect(below, pages);
    }
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Man::new(command.clone()).render(&mut bytes).map_err(|error| Error::internal("write a manual page").because(error))?;
    Ok(bytes)
}
