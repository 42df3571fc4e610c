//! Who signs, as flags of every command that signs.

use std::path::PathBuf;

use crate::cli::trial;
use crate::error::{Error, Kind, Result};
use crate::sign::{Login, Options, TokenSource, With};

/// Who signs, and which of Sigstore's services are used.
#[derive(Clone, Debug, clap::Args)]
pub struct SigningArgs {
    /// Sign with this private key: ECDSA P-256, as PKCS#8, SEC1 or in cosign's form, PEM; SEATRIAL_KEY_PASSPHRASE opens an encrypted one.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_KEY", conflicts_with_all = ["signer_command", "identity_token", "identity_token_file"])]
    key: Option<PathBuf>,
    /// Sign with this shell command: what is to be signed is on its standard input, its SHA-256 in SEATRIAL_SIGN_SHA256; it writes the signature.
    #[arg(long, value_name = "COMMAND", env = "SEATRIAL_SIGNER_COMMAND", requires = "signer_public_key")]
    signer_command: Option<String>,
    /// The public key of --signer-command, PEM.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_SIGNER_PUBLIC_KEY")]
    signer_public_key: Option<PathBuf>,
    /// Sign without a key, by this OIDC token for the audience `sigstore`: a file, - for standard input, or the token itself.
    #[arg(long, value_name = "FILE|-|TOKEN", conflicts_with_all = ["signer_command", "identity_token_file"])]
    identity_token: Option<String>,
    /// The same, always a file; without either, SIGSTORE_ID_TOKEN, COSIGN_IDENTITY_TOKEN, what the CI system offers, then a login.
    #[arg(long, value_name = "FILE", conflicts_with = "signer_command")]
    identity_token_file: Option<PathBuf>,
    /// Without a token, log in on any device by a code that is shown here; without this, in a browser, if there is a terminal.
    #[arg(long, env = "SEATRIAL_OIDC_DEVICE_FLOW", conflicts_with_all = ["key", "signer_command"])]
    oidc_device_flow: bool,
    /// Where to log in; the signing config says it otherwise.
    #[arg(long, value_name = "URL", env = "SEATRIAL_OIDC_ISSUER")]
    oidc_issuer: Option<String>,
    /// The OAuth client as which to log in; `sigstore` otherwise.
    #[arg(long, value_name = "ID", env = "SEATRIAL_OIDC_CLIENT_ID")]
    oidc_client_id: Option<String>,
    /// Which Sigstore services sign, log and timestamp; the public-good instance's for keyless signing, none for keys otherwise.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_SIGNING_CONFIG")]
    signing_config: Option<PathBuf>,
    /// Have the signature timestamped by this authority (RFC 3161).
    #[arg(long, value_name = "URL", env = "SEATRIAL_TIMESTAMP_URL")]
    timestamp_url: Option<String>,
    /// The trusted root of a private Sigstore, beside the public-good instance's. Repeatable.
    #[arg(long = "trusted-root", value_name = "FILE", env = "SEATRIAL_TRUSTED_ROOT")]
    trusted_roots: Vec<PathBuf>,
}

impl SigningArgs {
    /// True if a flag says who signs.
    #[must_use]
    pub fn named(&self) -> bool {
        let token = self.identity_token.is_some() || self.identity_token_file.is_some();
        self.key.is_some() || self.signer_command.is_some() || token || self.oidc_device_flow
    }

    /// How to sign; without a key or a command, keyless. `yes` says that a name may be published.
    #[must_use]
    pub fn options(&self, yes: bool) -> Options {
        let with = match (&self.key, &self.signer_command, &self.signer_public_key) {
            (Some(key), ..) => With::Key(key.clone()),
            (None, Some(command), Some(public)) => With::Command(command.clone(), public.clone()),
            _ => With::Keyless(TokenSource {
                given: self.identity_token.clone(),
                file: self.identity_token_file.clone(),
                login: Login {
                    issuer: self.oidc_issuer.clone(),
                    client_id: self.oidc_client_id.clone(),
                    device: self.oidc_device_flow,
                    agreed: yes,
                },
            }),
        };
        Options {
            with,
            signing_config: self.signing_config.clone(),
            timestamp_url: self.timestamp_url.clone(),
            trusted_roots: self.trusted_roots.clone(),
        }
    }
}

/// Work in which somebody may be waited for: an interrupt ends it, with an exit code of its own.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let interrupted = trial::signals();
    tokio::select! {
        done = work => done,
        () = interrupted => Err(Error::new(Kind::Interrupted, "interrupted").hint("run the command again: it finishes what is left to do")),
    }
}
