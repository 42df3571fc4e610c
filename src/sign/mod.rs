//! Signing statements, by whichever signer the user names; every signature is verified before it is handed out.

mod key;

use std::path::PathBuf;

use crate::error::{Context, Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::evidence::signer::{SignedBy, Times};
use crate::evidence::sigstore::{self, Envelope, Proofs};

pub use key::{KeyFiles, LocalKey, PASSPHRASE_VARIABLES, keygen, passphrase_from_env};

/// How evidence is to be signed, as the user has said it; [`Signer::new`] reads what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who signs.
    pub with: With,
}

impl Options {
    /// Signing with a private key in a file, and nothing else.
    #[must_use]
    pub fn key(path: impl Into<PathBuf>) -> Self {
        Self { with: With::Key(path.into()) }
    }
}

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum With {
    /// A private key in a file.
    Key(PathBuf),
}

/// A signature that was verified.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The Sigstore bundle v0.3, as JSON.
    pub bundle: Vec<u8>,
    /// Who made it.
    pub by: SignedBy,
    /// When it is proven to have been there.
    pub times: Times,
}

/// Something that signs statements.
#[derive(Debug)]
pub struct Signer(Maker);

#[derive(Debug)]
enum Maker {
    Local(LocalKey),
}

impl Signer {
    /// Reads keys and settings. Nothing is sent anywhere, and no identity token is fetched.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if a file is missing or malformed.
    pub fn new(options: &Options) -> Result<Self> {
        match &options.with {
            With::Key(path) => Ok(Self(Maker::Local(LocalKey::from_file(path)?))),
        }
    }

    /// Signs a statement.
    ///
    /// # Errors
    /// What the signer or a service that it needs is wrong with; [`crate::error::Kind::Internal`] if the new signature does not verify.
    pub async fn sign(&self, statement: &[u8]) -> Result<Signature> {
        match &self.0 {
            Maker::Local(key) => {
                let made = key.sign(&sigstore::to_sign(statement))?;
                let bundle = sigstore::seal(statement, key.public_key(), made, Proofs::default())?;
                self.recognise(&bundle, statement).context("verify the new signature")
            }
        }
    }

    /// Takes a signature that was made earlier as this signer's own, if it verifies, is by this signer and of this statement.
    ///
    /// # Errors
    /// [`crate::error::Kind::Schema`] or [`crate::error::Kind::Signature`] if it is none, with the reason.
    pub fn recognise(&self, bundle: &[u8], statement: &[u8]) -> Result<Signature> {
        let envelope = Envelope::parse(bundle)?;
        let Maker::Local(key) = &self.0;
        if envelope.verify(key.public_key())? != statement {
            return Err(Error::new(Kind::Signature, "the signature is of another statement"));
        }
        Ok(Signature { bundle: bundle.to_vec(), by: SignedBy::Key(key.public_key().id()), times: Times::default() })
    }

    /// Who will sign, for people: `key sha256:…`.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.0 {
            Maker::Local(key) => format!("key {}", key.public_key().id()),
        }
    }

    /// The public key, where the signer has one of its own.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.0 {
            Maker::Local(key) => Some(key.public_key()),
        }
    }
}
