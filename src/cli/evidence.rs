//! `seatrial evidence`: work with signed evidence.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::{Cx, evidence_diff, evidence_digest, evidence_list, evidence_show, evidence_verify, transport};
use crate::error::Result;
use crate::exit::Exit;
use crate::sign;
use crate::ui::Ui;

/// Arguments of `evidence`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(Box<evidence_verify::Verify>),
    Show(evidence_show::Args),
    List(evidence_list::Args),
    Diff(evidence_diff::Args),
    Digest(evidence_digest::Args),
    /// Push a bundle, sign it, attach the signature, and write the pointer.
    Publish(Box<transport::Publish>),
    /// Push a bundle and write its pointer; signs nothing.
    Push(transport::Push),
    /// Sign a bundle: in its directory, or where its pointer says that it is published.
    Sign(Box<transport::Sign>),
    /// Pack evidence with all its signatures as an OCI image layout, for where no registry is reached.
    Pack(transport::Pack),
    /// Unpack evidence to a bundle's directory, with a signature beside its files.
    Unpack(transport::Unpack),
    /// Make a key pair: seatrial.key and seatrial.pub.
    Keygen(Keygen),
}

/// Make a key pair: seatrial.key and seatrial.pub.
///
/// With SEATRIAL_KEY_PASSPHRASE in the environment the private key is encrypted with it.
#[derive(Debug, clap::Args)]
struct Keygen {
    /// Where to write the two files.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match args.command {
        Command::Verify(args) => evidence_verify::exec(*args, &cx).await,
        Command::Show(args) => evidence_show::exec(args, &cx.ui).await,
        Command::List(args) => evidence_list::exec(&args, &cx.ui),
        Command::Diff(args) => evidence_diff::exec(args, &cx.ui).await,
        Command::Digest(args) => evidence_digest::exec(&args, &cx.ui),
        Command::Publish(args) => transport::publish(*args, &cx.ui).await,
        Command::Push(args) => transport::push(args, &cx.ui).await,
        Command::Sign(args) => transport::sign(*args, &cx.ui).await,
        Command::Pack(args) => transport::pack(args, &cx.ui).await,
        Command::Unpack(args) => transport::unpack(args, &cx.ui).await,
        Command::Keygen(args) => keygen(&args, &cx.ui),
    }
}

fn keygen(args: &Keygen, ui: &Ui) -> Result<Exit> {
    let passphrase = sign::passphrase_from_env();
    let made = sign::keygen(&args.out, passphrase.as_deref())?;
    let protection = if passphrase.is_some() { "encrypted" } else { "not encrypted" };
    ui.line(format!("  private  {} ({protection}, keep it secret)", made.private.display()));
    ui.line(format!("  public   {}", made.public.display()));
    ui.line(format!("  key id   {}", made.key.id()));
    ui.artefact(&made.public.display().to_string());
    Ok(Exit::Ok)
}
