//! Where evidence goes, as flags of `run` and `validate`.

use std::path::PathBuf;

use crate::error::Result;
use crate::evidence::redaction::Policy;
use crate::sign::Signer;
use crate::steps::Publishing;

/// Who signs evidence, and where it goes.
#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    /// The private key that signs the evidence: ECDSA P-256, PKCS#8 PEM; SEATRIAL_KEY_PASSPHRASE opens an encrypted one.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_KEY")]
    key: Option<PathBuf>,
    /// The repository that takes the evidence, e.g. ghcr.io/example/evidence.
    #[arg(long, value_name = "REPOSITORY", env = "SEATRIAL_PUSH", requires = "key")]
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
    /// Reads the key once, to be thrown away: better now than after an hour of tests.
    ///
    /// # Errors
    /// As [`Signer::from_file`].
    pub fn check_key(&self) -> Result<()> {
        self.key.as_deref().map(Signer::from_file).transpose().map(drop)
    }

    /// Where evidence goes, with the bundle in this directory, or in the run's own.
    ///
    /// # Errors
    /// A usage error if the redaction policy cannot be read.
    pub fn publishing(&self, bundle: Option<PathBuf>) -> Result<Publishing> {
        Ok(Publishing {
            bundle,
            key: self.key.clone(),
            push: self.push.clone(),
            plain_http: self.plain_http,
            pointers: self.pointer_dir.clone(),
            redaction: Some(Policy::read(&self.redaction)?),
        })
    }
}
