//! `seatrial evidence`: work with signed evidence.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::cli::{Cx, evidence_aicr, evidence_diff, evidence_digest, evidence_list, evidence_show};
use crate::error::{Context, Error, Result};
use crate::evidence::PublicKey;
use crate::exit::Exit;
use crate::publish::{self, Target};
use crate::registry;
use crate::sign;
use crate::ui::{Tone, Ui, printable};
use crate::verify::{self, Expected, Request, Status, VerifyReport, Word};
use crate::{files, limits};

/// Arguments of `evidence`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a bundle and its signature, stage by stage.
    Verify(Verify),
    Show(evidence_show::Args),
    List(evidence_list::Args),
    Diff(evidence_diff::Args),
    Digest(evidence_digest::Args),
    /// Push a bundle, sign it, attach the signature, and write the pointer.
    Publish(Publish),
    /// Make a key pair: seatrial.key and seatrial.pub.
    Keygen(Keygen),
}

/// Verify a bundle and its signature, stage by stage.
///
/// Nothing of the evidence is trusted before its signature has been verified with the key that you pass; a directory is verified without any network.
/// Exit codes: 0 verified, 1 the evidence records failures, 3 it is inconclusive, 10 unsigned, 11 signed by someone else, 13 declared checks are missing,
/// 20 wrong signature, 21 changed, 22 not what it claims to be.
#[derive(Debug, clap::Args)]
struct Verify {
    /// A pointer file, oci://host/repository@sha256:…, or a bundle's directory.
    #[arg(value_name = "POINTER|oci://REF|DIR")]
    input: String,
    /// The public key of the expected signer, in PEM form.
    #[arg(long, env = "SEATRIAL_PUBLIC_KEY", value_name = "PUB", required_unless_present = "integrity_only")]
    key: Option<PathBuf>,
    /// Look at integrity only, for whom no signer is known: nothing comes out as verified.
    #[arg(long, conflicts_with = "key")]
    integrity_only: bool,
    /// Talk plain HTTP to a registry on this machine.
    #[arg(long, env = "SEATRIAL_PLAIN_HTTP")]
    plain_http: bool,
    /// Write the report to standard output in this format.
    #[arg(short = 't', long, value_enum)]
    format: Option<Format>,
    /// Write the report to this file (as JSON, unless --format says otherwise).
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Push a bundle, sign it, attach the signature, and write the pointer.
///
/// What is there already is kept: publishing the same bundle again changes nothing.
#[derive(Debug, clap::Args)]
struct Publish {
    /// The bundle's directory.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The private key: ECDSA P-256, PKCS#8 PEM; the passphrase of an encrypted one comes from SEATRIAL_KEY_PASSPHRASE.
    #[arg(long, env = "SEATRIAL_KEY", value_name = "KEY")]
    key: PathBuf,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match args.command {
        Command::Verify(args) => verify(args, &cx.ui).await,
        Command::Show(args) => evidence_show::exec(args, &cx.ui).await,
        Command::List(args) => evidence_list::exec(&args, &cx.ui),
        Command::Diff(args) => evidence_diff::exec(args, &cx.ui).await,
        Command::Digest(args) => evidence_digest::exec(&args, &cx.ui),
        Command::Publish(args) => publish(args, &cx.ui).await,
        Command::Keygen(args) => keygen(&args, &cx.ui),
    }
}

async fn verify(args: Verify, ui: &Ui) -> Result<Exit> {
    if let Some(exit) = evidence_aicr::verify(Path::new(&args.input), ui)? {
        return Ok(exit);
    }
    let expected = match (&args.key, args.integrity_only) {
        (Some(path), _) => {
            let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the public key")?;
            Expected::Key(PublicKey::from_pem(&text).with_context(|| format!("read the public key {}", path.display()))?)
        }
        (None, true) => Expected::IntegrityOnly,
        (None, false) => return Err(Error::usage("no key was given").hint("pass --key with the public key of the signer that you trust")),
    };
    let registry = registry::Options { plain_http: args.plain_http, ..registry::Options::default() };
    let verification = verify::verify(Request { input: args.input, expected, registry }).await;
    let report = &verification.report;
    let rendered = match args.format {
        Some(Format::Text) => lines(report, |text, _| text.to_owned()).join("\n") + "\n",
        _ => serde_json::to_string_pretty(report).map_err(|error| Error::internal("write the report").because(error))? + "\n",
    };
    match &args.output {
        Some(path) => files::write(path, rendered.as_bytes())?,
        None if args.format.is_some() => ui.artefact(&rendered),
        None => {}
    }
    for stage in &report.stages {
        ui.event("stage", json!({"name": stage.name, "status": stage.status, "found": stage.found}));
    }
    ui.event("verification", json!({"verdict": report.verdict, "reason": report.reason, "exit": report.exit, "summary": report.summary}));
    // The text is for people; where it was asked for as the artefact, once is enough.
    if args.output.is_some() || args.format != Some(Format::Text) {
        lines(report, |text, tone| ui.paint(text, tone)).iter().for_each(|line| ui.line(line));
    }
    Ok(verification.exit)
}

/// The report for people: one aligned line per stage, then what it comes to.
fn lines(report: &VerifyReport, paint: impl Fn(&str, Tone) -> String) -> Vec<String> {
    let mut lines = vec![format!("{} {}", paint("seatrial evidence verify", Tone::Strong), printable(&report.input)), String::new()];
    for stage in &report.stages {
        let tone = match stage.status {
            Status::Ok => Tone::Good,
            Status::Warning => Tone::Doubtful,
            Status::Failed => Tone::Bad,
            Status::NotRun => Tone::Faint,
        };
        lines.push(format!("  {:<10}{} {}", stage.name, paint(&format!("{:<8}", stage.status.word()), tone), stage.found));
    }
    lines.push(String::new());
    let tone = if report.verdict == Word::Verified { Tone::Good } else { Tone::Bad };
    let (word, rest) = report.summary.split_once(':').unwrap_or((&report.summary, ""));
    lines.push(format!("  {}:{rest}     exit {}", paint(word, tone), report.exit));
    lines.extend(report.hints.iter().map(|hint| format!("  {} {hint}", paint("hint:", Tone::Strong))));
    lines
}

async fn publish(args: Publish, ui: &Ui) -> Result<Exit> {
    let signer = sign::Signer::from_file(&args.key)?;
    let registry = registry::Options { plain_http: args.plain_http, ..registry::Options::default() };
    let target = Target { repository: args.push.parse()?, registry, pointers: args.pointer_dir };
    ui.waiting(&format!("push to {}", target.repository));
    let published = publish::publish(&args.folder, &signer, &target).await?;
    ui.clear_live();
    ui.line(format!("  pushed   {}@{}", target.repository, published.digest));
    ui.line(format!("  signed   key {}, signature {}", signer.public_key().id(), published.signature));
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
