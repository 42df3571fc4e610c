//! Where evidence goes, as flags of `run` and `validate`.

use std::path::PathBuf;

use crate::cli::signing::SigningArgs;
use crate::error::Result;
use crate::evidence::redaction::Policy;
use crate::sign::{self, Signer};
use crate::steps::Publishing;

/// Who signs evidence, and where it goes.
#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    #[command(flatten)]
    signing: SigningArgs,
    /// The repository that takes the evidence, e.g. ghcr.io/example/evidence. Without --key it is signed by an identity token.
    #[arg(long, value_name = "REPOSITORY", env = "SEATRIAL_PUSH")]
    pub push: Option<String>,
    /// Talk plain HTTP to a registry on this machine.
    #[arg(long, env = "SEATRIAL_PLAIN_HTTP")]
    plain_http: bool,
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
    pub fn check_key(&self) -> Result<()> {
        self.signing().as_ref().map(Signer::new).transpose().map(drop)
    }

    fn signing(&self) -> Option<sign::Options> {
        (self.signing.named() || self.push.is_some()).then(|| self.signing.options())
    }

    /// Where evidence goes, with the bundle in this directory, or in the run's own.
    ///
    /// # Errors
    /// A usage error if the redaction policy cannot be read.
    pub fn publishing(&self, bundle: Option<PathBuf>) -> Result<Publishing> {
        Ok(Publishing {
            bundle,
            signing: self.signing(),
            push: self.push.clone(),
            plain_http: self.plain_http,
            pointers: self.pointer_dir.clone(),
            redaction: Some(Policy::read(&self.redaction)?),
        })
    }
}
