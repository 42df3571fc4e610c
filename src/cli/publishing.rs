//! Where evidence goes, as flags of `run` and `validate`.

use std::path::PathBuf;

use crate::cli::registry::RegistryArgs;
use crate::error::Result;
use crate::sign::{self, Signer};
use crate::steps::Publishing;

/// Who signs evidence, and where it goes.
#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    /// The private key that signs the evidence: ECDSA P-256, PKCS#8 PEM; SEATRIAL_KEY_PASSPHRASE opens an encrypted one.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_KEY", group = "signer")]
    key: Option<PathBuf>,
    /// Sign nothing: what is pushed is pending until `seatrial evidence sign` has finished it.
    #[arg(long, group = "signer", conflicts_with = "key")]
    no_sign: bool,
    /// The repository that takes the evidence, e.g. ghcr.io/example/evidence; a tag is made of recipe and content digest unless one is named.
    #[arg(long, value_name = "REPOSITORY[:TAG]", env = "SEATRIAL_PUSH", requires = "signer")]
    pub push: Option<String>,
    /// Move the tag, if it names something else.
    #[arg(long)]
    move_tag: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    /// The folder under which the pointer file is written.
    #[arg(long, value_name = "DIR", default_value = "evidence", env = "SEATRIAL_POINTER_DIR")]
    pointer_dir: PathBuf,
}

impl PublishArgs {
    /// Reads the key once, to be thrown away: better now than after an hour of tests.
    ///
    /// # Errors
    /// As [`Signer::new`].
    pub fn check_key(&self) -> Result<()> {
        self.signing().as_ref().map(Signer::new).transpose().map(drop)
    }

    fn signing(&self) -> Option<sign::Options> {
        self.key.clone().map(sign::Options::key)
    }

    /// Where evidence goes, with the bundle in this directory, or in the run's own.
    #[must_use]
    pub fn publishing(&self, bundle: Option<PathBuf>) -> Publishing {
        Publishing {
            bundle,
            signing: self.signing(),
            push: self.push.clone(),
            registry: self.registry.options(),
            move_tag: self.move_tag,
            pointers: self.pointer_dir.clone(),
        }
    }
}
