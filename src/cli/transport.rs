//! `seatrial evidence push`, `sign`, `publish`, `pack`, `unpack`: evidence on its way.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::registry::RegistryArgs;
use crate::cli::signing::{SigningArgs, unless_interrupted};
use crate::error::Result;
use crate::exit::Exit;
use crate::publish::pack::{self, Moved, Source};
use crate::publish::{self, Published, Target};
use crate::registry::Reference;
use crate::sign::Signer;
use crate::ui::{Ui, printable};

/// Where a bundle is published.
#[derive(Debug, clap::Args)]
struct To {
    /// The repository to push to, e.g. ghcr.io/example/evidence; a tag is made of recipe and content digest unless one is named.
    #[arg(long, env = "SEATRIAL_PUSH", value_name = "REPOSITORY[:TAG]")]
    push: String,
    /// Move the tag, if it names something else.
    #[arg(long)]
    move_tag: bool,
    /// The directory of the pointers.
    #[arg(long, value_name = "DIR", default_value = "evidence", env = "SEATRIAL_POINTER_DIR")]
    pointer_dir: PathBuf,
    #[command(flatten)]
    registry: RegistryArgs,
}

impl To {
    /// The target, with whoever waits told that it takes `what`.
    fn target(&self, what: &str, ui: &Ui) -> Result<Target> {
        let reference: Reference = self.push.parse()?;
        let waiting = format!("{} to take {what}", reference.repository);
        let registry = self.registry.options_shown(ui, &waiting);
        ui.waiting(&waiting);
        Ok(Target { move_tag: self.move_tag, ..Target::new(reference, registry, self.pointer_dir.clone()) })
    }
}

/// Push a bundle and write its pointer; signs nothing.
///
/// A signature that lies beside the bundle is attached, whoever made it. Without one the pointer is pending: `seatrial evidence sign POINTER` finishes it.
/// What is there already is kept: pushing the same bundle again changes nothing.
#[derive(Debug, clap::Args)]
pub struct Push {
    /// The bundle's directory.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    to: To,
}

/// Push a bundle, sign it, attach the signature, and write the pointer.
///
/// What is there already is kept, whatever an earlier try got done: publishing the same bundle again changes nothing.
#[derive(Debug, clap::Args)]
pub struct Publish {
    /// The bundle's directory.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
    /// Do not ask before publishing the name with which somebody logs in to sign.
    #[arg(short, long, env = "SEATRIAL_YES")]
    yes: bool,
    /// Sign nothing, whatever the environment offers: the pointer is pending until `seatrial evidence sign` has finished it.
    #[arg(long)]
    no_sign: bool,
    #[command(flatten)]
    to: To,
}

/// Sign a bundle: in its directory, or where its pointer says that it is published.
///
/// In a directory the signature is kept beside the bundle, and no network is used but the signer's. For a pointer it is attached in the registry and added to
/// the pointer. A signature by the same signer that is there already is used, wherever an earlier try left it.
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// A pointer file, or a bundle's directory.
    #[arg(value_name = "POINTER|DIR")]
    input: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
    /// Do not ask before publishing the name with which somebody logs in to sign.
    #[arg(short, long, env = "SEATRIAL_YES")]
    yes: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Pack evidence with all its signatures as an OCI image layout, for where no registry is reached.
///
/// `seatrial evidence verify` takes it as it is; oras and other tools read it.
#[derive(Debug, clap::Args)]
pub struct Pack {
    /// A pointer file, oci://host/repository@sha256:…, a bundle's directory, or an OCI layout as directory or tar file.
    #[arg(value_name = "POINTER|oci://REF|DIR|TAR")]
    input: String,
    /// The tar file (*.tar) or directory to write; made of recipe and content digest unless one is named.
    #[arg(short, long, value_name = "FILE.tar|DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Unpack evidence to a bundle's directory, with a signature beside its files.
///
/// Digests are compared; who signed is for `seatrial evidence verify` to say.
#[derive(Debug, clap::Args)]
pub struct Unpack {
    /// An OCI layout as directory or tar file, a pointer file, or oci://host/repository@sha256:….
    #[arg(value_name = "TAR|DIR|POINTER|oci://REF")]
    input: String,
    /// The directory to write.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) async fn push(args: Push, ui: &Ui) -> Result<Exit> {
    unsigned(&args.folder, &args.to, ui).await
}

pub(crate) async fn publish(args: Publish, ui: &Ui) -> Result<Exit> {
    if args.no_sign {
        return unsigned(&args.folder, &args.to, ui).await;
    }
    let signer = Signer::new(&args.signing.options(args.yes))?.asking(ui);
    let target = args.to.target("the bundle and its signature", ui)?;
    let published = unless_interrupted(publish::publish(&args.folder, &signer, &target)).await?;
    told(&published, Some(&signer), ui);
    Ok(Exit::Ok)
}

async fn unsigned(folder: &Path, to: &To, ui: &Ui) -> Result<Exit> {
    let target = to.target("the bundle", ui)?;
    let published = publish::publish_unsigned(folder, &target).await?;
    told(&published, None, ui);
    Ok(Exit::Ok)
}

pub(crate) async fn sign(args: Sign, ui: &Ui) -> Result<Exit> {
    let signer = Signer::new(&args.signing.options(args.yes))?.asking(ui);
    if args.input.is_dir() {
        let (parcel, _) = unless_interrupted(publish::sign(&args.input, &signer)).await?;
        let file = args.input.join(crate::evidence::SIGNATURE);
        ui.line(format!("  signed   {}, content {}", signer.describe(), parcel.content_digest()));
        ui.event("signed", json!({"contentDigest": parcel.content_digest(), "signature": file}));
        ui.artefact(&file.display().to_string());
        return Ok(Exit::Ok);
    }
    let waiting = "the registry to give the bundle and to take its signature";
    ui.waiting(waiting);
    let published = unless_interrupted(publish::sign_pointer(&args.input, &signer, &args.registry.options_shown(ui, waiting))).await?;
    told(&published, Some(&signer), ui);
    Ok(Exit::Ok)
}

fn told(published: &Published, signer: Option<&Signer>, ui: &Ui) {
    ui.clear_live();
    let pointer = published.pointer.display();
    ui.line(format!("  pushed   {}@{} as {}", published.repository, published.digest, published.tag));
    match (&published.signature, signer) {
        (Some(signature), Some(signer)) => ui.line(format!("  signed   {}, signature {signature}", signer.describe())),
        (Some(signature), None) => ui.line(format!("  signed   by whoever made the signature beside the bundle, signature {signature}")),
        (None, _) => {
            ui.line(format!("  pending  nobody has signed it yet: seatrial evidence sign {pointer}, with --key KEY or an identity token"))
        }
    }
    ui.line(format!("  pointer  {pointer}"));
    let (digest, content) = (&published.digest, &published.content_digest);
    ui.event("published", json!({"digest": digest, "contentDigest": content, "tag": published.tag, "signature": published.signature}));
    ui.artefact(&pointer.to_string());
}

pub(crate) async fn pack(args: Pack, ui: &Ui) -> Result<Exit> {
    let source = read(&args.input, &args.registry, None, ui).await?;
    let to = args.output.map_or_else(|| pack::default_file(&source), Ok)?;
    let moved = pack::pack(&source, &to)?;
    moved_to("packed", &moved, &to, ui);
    Ok(Exit::Ok)
}

pub(crate) async fn unpack(args: Unpack, ui: &Ui) -> Result<Exit> {
    // Beside what is written, what was fetched need not be copied.
    let near = args.output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let source = read(&args.input, &args.registry, Some(near), ui).await?;
    let moved = pack::unpack(&source, &args.output)?;
    moved_to("unpacked", &moved, &args.output, ui);
    Ok(Exit::Ok)
}

async fn read(input: &str, registry: &RegistryArgs, near: Option<&Path>, ui: &Ui) -> Result<Source> {
    let waiting = format!("{} to be read", printable(input));
    ui.waiting(&waiting);
    pack::read(input, &registry.options_shown(ui, &waiting), near).await
}

fn moved_to(word: &str, moved: &Moved, to: &Path, ui: &Ui) {
    ui.clear_live();
    let left = if moved.left == 0 { String::new() } else { format!(", {} left behind", moved.left) };
    ui.line(format!("  {word:<9}{}, signatures: {}{left}", moved.digest, moved.signatures));
    ui.event(
        word,
        json!({"digest": moved.digest, "tag": moved.tag, "signatures": moved.signatures, "left": moved.left, "bytes": moved.bytes}),
    );
    ui.artefact(&to.display().to_string());
}
