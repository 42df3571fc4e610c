//! `seatrial sim`: a simulated GPU cluster.

use crate::cli::Cx;
use crate::error::Result;
use crate::exit::Exit;

/// Arguments of `sim`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) async fn exec(_args: Args, _cx: Cx) -> Result<Exit> {
    Ok(Exit::Ok)
}
