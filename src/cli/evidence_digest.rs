//! `seatrial evidence digest`: under which digests a bundle is known.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::Format;
use crate::error::{Context, Error, Result};
use crate::evidence::{Bundle, Pointer, directory};
use crate::exit::Exit;
use crate::ui::Ui;
use crate::{files, limits};

/// Print the digests of a bundle: of its content (`sha256sum manifest.json`) and of its OCI manifest.
///
/// Of a directory both are computed, after its files were held against its manifest. Of a pointer they are what it says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A bundle's directory, or a pointer file.
    #[arg(value_name = "DIR|POINTER")]
    input: PathBuf,
    /// The form of the answer.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn exec(args: &Args, ui: &Ui) -> Result<Exit> {
    let shown = args.input.display();
    let (content, artifact, computed) = if args.input.is_dir() {
        let bundle = Bundle::from_files(directory::read(&args.input)?.files).with_context(|| format!("read the bundle in {shown}"))?;
        (bundle.content_digest().clone(), bundle.artifact()?.digest, true)
    } else {
        let pointer = pointer(&args.input)?;
        (pointer.bundle.content_digest, pointer.bundle.digest, false)
    };
    let text = match args.format {
        Format::Text => format!("content   {content}\nartifact  {artifact}"),
        Format::Json => {
            let answer = json!({"contentDigest": content, "digest": artifact, "computed": computed});
            serde_json::to_string_pretty(&answer).map_err(|error| Error::internal("write the digests").because(error))?
        }
    };
    ui.artefact(&text);
    Ok(Exit::Ok)
}

fn pointer(path: &Path) -> Result<Pointer> {
    let text = files::read_text(path, limits::DOCUMENT_BYTES)
        .map_err(|error| error.hint("give a bundle's directory or a pointer file"))
        .context("read the pointer")?;
    Pointer::parse(&text, &path.display().to_string())
}
