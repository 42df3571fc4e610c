//! Signing statements, by whichever signer the user names; every signature is verified before it is handed out.

mod command;
mod cosign;
mod key;
mod login;
mod services;
mod token;

use std::path::PathBuf;

use sigstore_sign::SigningContext;

use crate::error::{Context, Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::evidence::signer::{SignedBy, Times};
use crate::evidence::sigstore::{self, Envelope};
use crate::ui::Ui;
use crate::{files, limits, trust};

pub use command::DIGEST_VARIABLE;
pub use key::{KeyFiles, LocalKey, PASSPHRASE_VARIABLES, keygen, passphrase_from_env};
pub use login::Login;
pub use token::{TOKEN_VARIABLES, TokenSource};

/// How evidence is to be signed, as the user has said it; [`Signer::new`] reads what it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who signs.
    pub with: With,
    /// Which Sigstore services are used; for keyless signing the public-good instance's otherwise, for keys none.
    pub signing_config: Option<PathBuf>,
    /// A timestamp authority (RFC 3161) instead of the signing config's.
    pub timestamp_url: Option<String>,
    /// Trusted roots beside the public-good instance's, to verify the new signature with.
    pub trusted_roots: Vec<PathBuf>,
}

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum With {
    /// A private key in a file.
    Key(PathBuf),
    /// A command, which holds the private key; the public one is in a file.
    Command(String, PathBuf),
    /// Whoever an identity token names, with a key that lives for this one signature.
    Keyless(TokenSource),
}

impl Default for With {
    fn default() -> Self {
        Self::Keyless(TokenSource::default())
    }
}

impl Options {
    /// Signing with a private key in a file, and nothing else.
    #[must_use]
    pub fn key(path: impl Into<PathBuf>) -> Self {
        Self { with: With::Key(path.into()), ..Self::default() }
    }
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
pub struct Signer {
    maker: Maker,
    root: trust::Root,
}

#[derive(Debug)]
enum Maker {
    Local(LocalKey, Option<services::Witnesses>),
    Command(command::CommandSigner, Option<services::Witnesses>),
    Keyless(Box<Keyless>),
}

/// Whoever an identity token names.
#[derive(Debug)]
struct Keyless {
    source: TokenSource,
    services: SigningContext,
    /// Where people log in.
    issuer: String,
    /// Where they are asked; without it, nobody is.
    ui: Option<Ui>,
}

impl Signer {
    /// Reads keys and settings. Nothing is sent anywhere, and no identity token is fetched.
    ///
    /// # Errors
    /// [`Kind::Usage`] if a file is missing or malformed.
    pub fn new(options: &Options) -> Result<Self> {
        let maker = match &options.with {
            With::Key(path) => Maker::Local(LocalKey::from_file(path)?, services::Witnesses::new(options)?),
            With::Command(command, path) => {
                let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the signer's public key")?;
                let public = PublicKey::from_pem(&text).with_context(|| format!("read the signer's public key {}", path.display()))?;
                Maker::Command(command::CommandSigner { command: command.clone(), public }, services::Witnesses::new(options)?)
            }
            With::Keyless(source) => {
                let (services, issuer) = services::keyless(options)?;
                Maker::Keyless(Box::new(Keyless { source: source.clone(), services, issuer, ui: None }))
            }
        };
        Ok(Self { maker, root: trust::Root::with_files(&options.trusted_roots)? })
    }

    /// The same, with somebody who can be asked to log in.
    #[must_use]
    pub fn asking(mut self, ui: &Ui) -> Self {
        if let Maker::Keyless(keyless) = &mut self.maker {
            keyless.ui = Some(ui.clone());
        }
        self
    }

    /// Asks, without fetching anything, whether signing has a chance: better now than after an hour of tests.
    ///
    /// # Errors
    /// [`Kind::Usage`] if a keyless signer has no place to take an identity token from, and nobody can log in.
    pub fn check_ready(&self) -> Result<()> {
        match &self.maker {
            Maker::Keyless(keyless) if !keyless.source.seems_there() => keyless.source.login.check(keyless.ui.as_ref()),
            _ => Ok(()),
        }
    }

    /// Signs a statement. An identity token is fetched now, and not before.
    ///
    /// # Errors
    /// What the signer or a service that it needs is wrong with: [`Kind::Denied`] if a token or a command is refused,
    /// [`Kind::Unavailable`] if a service does not do its part, [`Kind::Signature`] if the new signature does not verify.
    pub async fn sign(&self, statement: &[u8]) -> Result<Signature> {
        self.sign_unless_signed(statement, std::iter::empty()).await
    }

    /// Signs a statement, unless one of these signatures is this signer's own already: then that one is handed out. Whose a keyless
    /// signature would be says the identity token, which is fetched first.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub async fn sign_unless_signed<'a>(&self, statement: &[u8], made: impl Iterator<Item = &'a [u8]>) -> Result<Signature> {
        let token = match &self.maker {
            Maker::Keyless(keyless) => Some(keyless.source.fetch(&keyless.issuer, keyless.ui.as_ref()).await?),
            Maker::Local(..) | Maker::Command(..) => None,
        };
        for signature in made.filter_map(|bundle| self.recognise(bundle, statement).ok()) {
            match (&token, &signature.by) {
                (None, _) => return Ok(signature),
                (Some(token), SignedBy::Certificate(certificate)) if token::would_get(token, certificate) => return Ok(signature),
                (Some(_), _) => {}
            }
        }
        let message = sigstore::to_sign(statement);
        let bundle = match &self.maker {
            Maker::Local(key, witnesses) => {
                let made = key.sign(&message)?;
                seal(statement, &message, made, key.public_key(), witnesses.as_ref()).await?
            }
            Maker::Command(command, witnesses) => {
                let made = command.sign(&message).await?;
                seal(statement, &message, made, &command.public, witnesses.as_ref()).await?
            }
            Maker::Keyless(keyless) => {
                let context = &keyless.services;
                let token = token.ok_or_else(|| Error::internal("sign without a key and without a token"))?;
                let bundle = context.signer(token).sign_raw_statement(statement).await.map_err(|error| refused(error, context))?;
                bundle.to_json().map_err(|error| Error::internal("write a Sigstore bundle").because(error))?.into_bytes()
            }
        };
        self.recognise(&bundle, statement).context("verify the new signature, which is thrown away")
    }

    /// Takes a signature that was made earlier as this signer's own, if it verifies, is by this signer and of this statement. For a keyless
    /// signer it may be anybody's with a certificate; [`Signer::sign_unless_signed`] looks at whose.
    ///
    /// # Errors
    /// [`Kind::Schema`] or [`Kind::Signature`] if it is none, with the reason.
    pub fn recognise(&self, bundle: &[u8], statement: &[u8]) -> Result<Signature> {
        let envelope = Envelope::parse(bundle)?;
        let proven = match self.public_key() {
            Some(key) => envelope.prove_by_key(key, &self.root)?,
            None => envelope.prove_by_certificate(&self.root)?,
        };
        if proven.payload != statement {
            return Err(Error::new(Kind::Signature, "the signature is of another statement"));
        }
        Ok(Signature { bundle: bundle.to_vec(), by: proven.by, times: proven.times })
    }

    /// Who will sign, for people: `key sha256:…`.
    #[must_use]
    pub fn describe(&self) -> String {
        match (self.public_key(), &self.maker) {
            (_, Maker::Keyless(keyless)) => {
                format!("whom the identity token names, certified by {}", keyless.services.services().fulcio_url())
            }
            (Some(key), Maker::Command(..)) => format!("key {} by a command", key.id()),
            (key, _) => key.map(|key| format!("key {}", key.id())).unwrap_or_default(),
        }
    }

    /// The public key, where the signer has one of its own.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.maker {
            Maker::Local(key, _) => Some(key.public_key()),
            Maker::Command(command, _) => Some(&command.public),
            Maker::Keyless(..) => None,
        }
    }
}

/// Puts a statement and its signature together with what the services say of it. A wrong signature is not shown to them.
async fn seal(
    statement: &[u8],
    message: &[u8],
    signature: Vec<u8>,
    key: &PublicKey,
    witnesses: Option<&services::Witnesses>,
) -> Result<Vec<u8>> {
    let alone = sigstore::seal(statement, key, signature.clone(), sigstore::Proofs::default())?;
    Envelope::parse(&alone)?.verify(key).context("verify the new signature, which is thrown away")?;
    match witnesses {
        Some(witnesses) => {
            let proofs = witnesses.see(message, &signature, key).await?;
            sigstore::seal(statement, key, signature, proofs)
        }
        None => Ok(alone),
    }
}

/// Why a keyless signature was not made.
fn refused(error: sigstore_sign::Error, context: &SigningContext) -> Error {
    use sigstore_sign::fulcio::Error::Status;
    match &error {
        sigstore_sign::Error::Fulcio(Status { status: 400..=403, .. }) => {
            Error::new(Kind::Denied, format!("{} refused the identity token", context.services().fulcio_url()))
                .because(error)
                .hint("it must be valid now, for the audience `sigstore`, of an issuer that this certificate authority knows")
        }
        _ => Error::new(Kind::Unavailable, "a Sigstore service did not do its part").because(error),
    }
}
