//! Where evidence goes, as flags of `run` and `validate`.

use std::path::PathBuf;

use crate::cli::registry::RegistryArgs;
use crate::cli::signing::SigningArgs;
use crate::error::Result;
use crate::evidence::redaction::Policy;
use crate::sign::{self, Signer};
use crate::steps::Publishing;
use crate::ui::Ui;

/// Who signs evidence, and where it goes.
#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    #[command(flatten)]
    signing: SigningArgs,
    /// Sign nothing, whatever the environment offers: what is pushed is pending until `seatrial evidence sign` has finished it.
    #[arg(long)]
    no_sign: bool,
    /// The repository that takes the evidence, e.g. ghcr.io/example/evidence, under a tag made of recipe and content digest, or the one that is named.
    /// Without --key it is signed by an identity token.
    #[arg(long, value_name = "REPOSITORY[:TAG]", env = "SEATRIAL_PUSH")]
    pub push: Option<String>,
    /// Move the tag, if it names something else.
    #[arg(long)]
    move_tag: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    /// The folder under which the pointer file is written.
    #[arg(long, value_name = "DIR", default_value = "evidence", env = "SEATRIAL_POINTER_DIR")]
    pointer_dir: PathBuf,
    /// What the evidence may hold: `minimal`, `full`, or a file with a redaction policy.
    #[arg(long, value_name = "POLICY", default_value = "minimal", env = "SEATRIAL_REDACTION")]
    redaction: String,
}

impl PublishArgs {
    /// Reads keys and settings once, to be thrown away: better now than after an hour of tests.
    ///
    /// # Errors
    /// As [`Signer::new`].
    pub fn check_key(&self, yes: bool, ui: &Ui) -> Result<()> {
        match self.signing(yes) {
            Some(signing) => Signer::new(&signing)?.asking(ui).check_ready(),
            None => Ok(()),
        }
    }

    fn signing(&self, yes: bool) -> Option<sign::Options> {
        let wanted = self.signing.named() || self.push.is_some();
        (wanted && !self.no_sign).then(|| self.signing.options(yes))
    }

    /// Where evidence goes, with the bundle in this directory, or in the run's own. `yes` says that a signer's name may be published.
    ///
    /// # Errors
    /// A usage error if the redaction policy cannot be read.
    pub fn publishing(&self, bundle: Option<PathBuf>, yes: bool) -> Result<Publishing> {
        Ok(Publishing {
            bundle,
            signing: self.signing(yes),
            push: self.push.clone(),
            registry: self.registry.options(),
            move_tag: self.move_tag,
            pointers: self.pointer_dir.clone(),
            redaction: Some(Policy::read(&self.redaction)?),
        })
    }
}
