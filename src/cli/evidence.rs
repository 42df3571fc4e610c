//! `seatrial evidence`: work with signed evidence.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::cli::signing::SigningArgs;
use crate::cli::{Cx, evidence_diff, evidence_digest, evidence_list, evidence_show, evidence_verify};
use crate::error::Result;
use crate::exit::Exit;
use crate::publish::{self, Target};
use crate::registry;
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
    Publish(Box<Publish>),
    /// Make a key pair: seatrial.key and seatrial.pub.
    Keygen(Keygen),
}

/// Push a bundle, sign it, attach the signature, and write the pointer.
///
/// What is there already is kept: publishing the same bundle again changes nothing.
#[derive(Debug, clap::Args)]
struct Publish {
    /// The bundle's directory.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
    /// The repository to push to, e.g. ghcr.io/example/evidence.
    #[arg(long, env = "SEATRIAL_PUSH", value_name = "REPOSITORY")]
    push: String,
    /// The directory of the pointers.
    #[arg(long, value_name = "DIR", default_value = "evidence")]
    pointer_dir: PathBuf,
    /// Talk plain HTTP to a registry on this machine.
    #[arg(long, env = "SEATRIAL_PLAIN_HTTP")]
    plain_http: bool,
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
        Command::Publish(args) => publish(*args, &cx.ui).await,
        Command::Keygen(args) => keygen(&args, &cx.ui),
    }
}

async fn publish(args: Publish, ui: &Ui) -> Result<Exit> {
    let signer = sign::Signer::new(&args.signing.options())?;
    let registry = registry::Options { plain_http: args.plain_http, ..registry::Options::default() };
    let target = Target { repository: args.push.parse()?, registry, pointers: args.pointer_dir };
    ui.waiting(&format!("push to {}", target.repository));
    let published = publish::publish(&args.folder, &signer, &target).await?;
    ui.clear_live();
    ui.line(format!("  pushed   {}@{}", target.repository, published.digest));
    ui.line(format!("  signed   {}, signature {}", signer.describe(), published.signature));
    ui.line(format!("  pointer  {}", published.pointer.display()));
    ui.event("published", json!({"digest": published.digest, "contentDigest": published.content_digest, "signature": published.signature}));
    ui.artefact(&published.pointer.display().to_string());
    Ok(Exit::Ok)
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
