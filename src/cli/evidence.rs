//! `seatrial evidence`: work with signed evidence.

use crate::cli::Cx;
use crate::error::Result;
use crate::exit::Exit;

/// Arguments of `evidence`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) async fn exec(_args: Args, _cx: Cx) -> Result<Exit> {
    Ok(Exit::Ok)
}
