//! `seatrial evidence list`: the pointers in a tree, as they describe themselves.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::Format;
use crate::error::{Context, Error, Result};
use crate::evidence::Pointer;
use crate::evidence::aicr::{self, AicrPointer, Allowlist};
use crate::evidence::pointer::SignatureRef;
use crate::exit::Exit;
use crate::ui::{Ui, printable};
use crate::verify::many;
use crate::{files, limits, yaml};

/// List the pointers in a directory: recipe, digest, who is said to have signed, hardware, time.
///
/// Nothing is fetched and nothing is verified: what pointers say of themselves are claims. Exit codes: 0, or 22 if a file is no pointer that can be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the pointers.
    #[arg(value_name = "DIR", default_value = "evidence")]
    folder: PathBuf,
    /// The form of the list.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

/// One pointer, as it describes itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    file: String,
    recipe: String,
    digest: Option<String>,
    repository: Option<String>,
    signers: Vec<String>,
    hardware: Option<String>,
    recorded_at: Option<String>,
    /// `seatrial`, or `aicr` for a pointer of NVIDIA AICR.
    format: &'static str,
}

/// A file that is no pointer that can be read.
#[derive(Debug, Serialize)]
struct Unreadable {
    file: String,
    why: String,
}

pub(crate) fn exec(args: &Args, ui: &Ui) -> Result<Exit> {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let found = many::pointers_below(&args.folder)?.ok_or_else(|| {
        Error::usage(format!("{} is not a directory of pointers", args.folder.display()))
            .hint("`seatrial evidence show` is for a bundle, or for one pointer")
    })?;
    for file in found {
        let name = file.strip_prefix(&args.folder).unwrap_or(&file).display().to_string();
        match row(&file, &name) {
            Ok(row) => rows.extend(row),
            Err(error) => wrong.push(Unreadable { file: name, why: error.chain() }),
        }
    }
    match args.format {
        Format::Json => {
            let list = serde_json::json!({"claimed": rows, "unreadable": wrong});
            ui.artefact(&serde_json::to_string_pretty(&list).map_err(|error| Error::internal("write the list").because(error))?);
        }
        Format::Text if rows.is_empty() => ui.line(format!("no pointers in {}", args.folder.display())),
        Format::Text => ui.artefact(&table(&rows)),
    }
    for one in &wrong {
        ui.warn(format!("{}: {}", printable(&one.file), printable(&one.why)));
    }
    Ok(if wrong.is_empty() { Exit::Ok } else { Exit::Schema })
}

/// The row of a file; none if it says that it is something else than a pointer.
fn row(path: &Path, name: &str) -> Result<Option<Row>> {
    let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read a pointer")?;
    if let Some(pointer) = aicr::pointer(&text, name)? {
        return Ok(Some(of_aicr(&pointer, name)));
    }
    if kind(&text).is_some_and(|kind| kind != "EvidencePointer") || Allowlist::parse(&text, name).is_ok() {
        return Ok(None);
    }
    let pointer = Pointer::parse(&text, name)?;
    Ok(Some(Row {
        file: name.to_owned(),
        recipe: pointer.recipe.name,
        digest: Some(pointer.bundle.digest.to_string()),
        repository: Some(pointer.bundle.repository),
        signers: pointer.signatures.iter().map(signer).collect(),
        hardware: Some(pointer.hardware.word().to_owned()),
        recorded_at: Some(pointer.recorded_at.to_string()),
        format: "seatrial",
    }))
}

/// The `kind` that a document says it is of, if it says one.
fn kind(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        kind: Option<String>,
    }
    yaml::from_str::<Head>(text, "document").ok()?.kind
}

fn of_aicr(pointer: &AicrPointer, name: &str) -> Row {
    let attestation = pointer.attestation();
    Row {
        file: name.to_owned(),
        recipe: pointer.recipe.clone(),
        digest: Some(attestation.bundle.digest.clone()).filter(|digest| !digest.is_empty()),
        repository: Some(attestation.bundle.oci.clone()).filter(|place| !place.is_empty()),
        signers: attestation.signer.iter().map(|signer| format!("{} ({})", signer.identity, signer.issuer)).collect(),
        hardware: None,
        recorded_at: attestation.attested_at.map(|time| time.to_string()),
        format: "aicr",
    }
}

/// Whom a pointer names as a signer.
pub(crate) fn signer(signature: &SignatureRef) -> String {
    match (&signature.identity, &signature.issuer, &signature.key) {
        (Some(identity), Some(issuer), _) => format!("{identity} ({issuer})"),
        (Some(identity), None, _) => identity.clone(),
        (None, _, Some(key)) => format!("key {}", key.short()),
        (None, _, None) => "not named".to_owned(),
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["RECIPE", "DIGEST", "CLAIMED SIGNER", "HARDWARE", "RECORDED"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let or = |value: &Option<String>, none: &str| value.as_ref().map_or_else(|| none.to_owned(), |text| printable(text));
        let digest = row.digest.as_deref().map_or("pending".to_owned(), |digest| printable(&digest.chars().take(19).collect::<String>()));
        let signers = if row.signers.is_empty() { "unsigned".to_owned() } else { printable(&row.signers.join(", ")) };
        [printable(&row.recipe), digest, signers, or(&row.hardware, "not said"), or(&row.recorded_at, "not said")]
    });
    aligned(std::iter::once(head).chain(cells))
}

/// Rows of cells under each other; the last column is as long as it is.
pub(crate) fn aligned<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
