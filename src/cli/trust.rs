//! `seatrial trust`: whom Sigstore's certificates, logs and timestamps are believed to come from.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::{Cx, Format};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::trust::{Authority, Root, Shown, update};
use crate::ui::{Tone, printable};

/// Show or update the trusted roots: whose certificates, logs and timestamps are believed when a signature is verified.
///
/// The root of Sigstore's public-good instance is built in, so verification needs no network. `update` fetches it anew.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  seatrial trust show\n  seatrial trust show --trusted-root trusted_root.json -t json\n  seatrial trust update\n  seatrial trust update --mirror https://tuf.example.com --root root.json -o trusted_root.json"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the trusted roots that verification uses.
    Show(Show),
    /// Fetch the public-good instance's root anew, by TUF (The Update Framework), and keep it for verification; or a private one's, into a file.
    Update(Update),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The trusted root of a private Sigstore, beside the public-good instance's. Repeatable.
    #[arg(long = "trusted-root", value_name = "FILE", env = "SEATRIAL_TRUSTED_ROOT")]
    trusted_roots: Vec<PathBuf>,
    /// The form of the list.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Update {
    /// The TUF repository of a private Sigstore.
    #[arg(long, value_name = "URL", requires_all = ["root", "output"])]
    mirror: Option<String>,
    /// Its root.json that you got from somebody whom you believe; later ones follow from it.
    #[arg(long, value_name = "FILE", requires = "mirror")]
    root: Option<PathBuf>,
    /// Where its trusted root is kept, for --trusted-root.
    #[arg(short, long, value_name = "FILE", requires = "mirror")]
    output: Option<PathBuf>,
}

pub(crate) async fn exec(args: Args, cx: Cx) -> Result<Exit> {
    match args.command {
        Command::Show(args) => show(&args, &cx),
        Command::Update(args) => {
            let repository = match (&args.mirror, &args.root, &args.output) {
                (Some(url), Some(root), Some(output)) => update::Repository::mirror(url, root, output)?,
                _ => update::Repository::public_good()?,
            };
            cx.ui.waiting("the repository of trusted roots");
            update::update(&repository).await?;
            let path = repository.file();
            cx.ui.line(format!("  updated  {}", path.display()));
            cx.ui.event("updated", json!({"file": path}));
            cx.ui.artefact(&path.display().to_string());
            Ok(Exit::Ok)
        }
    }
}

fn show(args: &Show, cx: &Cx) -> Result<Exit> {
    let roots = Root::with_files(&args.trusted_roots)?.show()?;
    match args.format {
        Format::Text => cx.ui.artefact(&roots.iter().map(text).collect::<Vec<_>>().join("\n\n")),
        Format::Json => {
            let json = serde_json::to_string_pretty(&roots).map_err(|error| Error::internal("write the trusted roots").because(error))?;
            cx.ui.artefact(&json);
        }
    }
    let old = |root: &Shown| root.updated.is_some_and(|at| Timestamp::now().duration_since(at).as_hours() > MOSTLY_FRESH_HOURS);
    if roots.iter().any(old) {
        cx.ui.warn("the updated root is more than 90 days old: `seatrial trust update` fetches it anew");
    }
    cx.ui.line(cx.ui.paint("  A signature must be proven by one of these alone.", Tone::Faint));
    Ok(Exit::Ok)
}

/// The public-good instance changes its root every few months.
const MOSTLY_FRESH_HOURS: i64 = 90 * 24;

/// One root for people.
fn text(root: &Shown) -> String {
    let updated = root.updated.map(|at| format!(" at {}", at.strftime("%Y-%m-%d"))).unwrap_or_default();
    let mut lines = vec![format!("{}{updated}", printable(&root.name))];
    let groups = [
        ("certificates", &root.certificate_authorities),
        ("their log", &root.certificate_logs),
        ("signatures' log", &root.logs),
        ("timestamps", &root.timestamp_authorities),
    ];
    for (what, authorities) in groups {
        lines.extend(authorities.iter().map(|authority| format!("  {what:<16} {}", line(authority))));
    }
    lines.join("\n")
}

fn line(authority: &Authority) -> String {
    let from = authority.from.as_deref().map(|from| format!(" from {from}")).unwrap_or_default();
    let until = authority.until.as_deref().map(|until| format!(" until {until}")).unwrap_or_default();
    format!("{}{}", printable(&authority.address), printable(&format!("{from}{until}")))
}
