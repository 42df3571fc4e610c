//! Sigstore's services: where they are, how they are reached, and what they say of a signature.

use std::path::Path;

use sigstore_rekor::{HashedRekordV2, RekorV2Client, RekorV2KeyDetails};
use sigstore_sign::reqwest::{Client, redirect};
use sigstore_sign::{SigningContext, SigningServices};
use sigstore_trust_root::{SIGSTORE_PRODUCTION_SIGNING_CONFIG, SigningConfig};
use sigstore_tsa::TimestampClient;
use sigstore_types::{Sha256Hash, SignatureBytes};

use super::Options;
use crate::error::{Context, Error, Kind, Result};
use crate::evidence::PublicKey;
use crate::evidence::sigstore::Proofs;
use crate::{files, limits};

/// Where people log in who sign with the public-good instance, if no signing config says so.
const PUBLIC_ISSUER: &str = "https://oauth2.sigstore.dev/auth";

/// The services that a key's signature is sent to, none of which it needs.
#[derive(Debug)]
pub(super) struct Witnesses {
    log: Option<String>,
    clock: Option<String>,
    http: Client,
}

impl Witnesses {
    /// Reads which services are wanted; none if none are.
    pub(super) fn new(options: &Options) -> Result<Option<Self>> {
        let (mut log, mut clock) = (None, None);
        if let Some(path) = &options.signing_config {
            let config = signing_config(path)?;
            log = config.rekor_url(Some(2)).map(|service| service.url.clone());
            if log.is_none() && !config.rekor_tlog_urls.is_empty() {
                return Err(Error::usage(format!("{} names no log that speaks version 2 of Rekor's API", path.display()))
                    .hint("a key's signature is entered in such a log only; take the logs out, or sign without a key"));
            }
            clock = config.tsa_url().map(|service| service.url.clone());
        }
        clock = options.timestamp_url.clone().or(clock);
        if log.is_none() && clock.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { log, clock, http: client()? }))
    }

    /// Enters a signature in the log and has it timestamped. `message` is what was signed.
    pub(super) async fn see(&self, message: &[u8], signature: &[u8], key: &PublicKey) -> Result<Proofs> {
        let mut proofs = Proofs::default();
        let signature = SignatureBytes::from_bytes(signature);
        if let Some(url) = &self.log {
            if !key.is_p256() {
                return Err(Error::usage("only ECDSA P-256 signatures can be entered in a log").hint("give a signing config without logs"));
            }
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
            let digest = Sha256Hash::try_from(digest.as_ref()).map_err(|error| Error::internal("hash the statement").because(error))?;
            let entry = HashedRekordV2::new_with_public_key(&digest, &signature, key.der(), RekorV2KeyDetails::PkixEcdsaP256Sha256);
            let doing = || format!("enter the signature in the log {url}");
            let log = RekorV2Client::builder(url).with_http_client(self.http.clone()).build();
            let log = log.map_err(|error| Error::new(Kind::Unavailable, doing()).because(error))?;
            let entry = log.create_entry(entry).await.map_err(|error| Error::new(Kind::Unavailable, doing()).because(error))?;
            proofs.logged.push(entry);
        }
        if let Some(url) = &self.clock {
            let doing = || format!("have the signature timestamped by {url}");
            let clock = TimestampClient::builder(url).with_http_client(self.http.clone()).build();
            let clock = clock.map_err(|error| Error::new(Kind::Unavailable, doing()).because(error))?;
            let stamp = clock.timestamp_signature(&signature).await;
            proofs.timestamps.push(stamp.map_err(|error| Error::new(Kind::Unavailable, doing()).because(error))?);
        }
        Ok(proofs)
    }
}

/// The services that a keyless signature needs, and where people log in: those of a signing config, else the public-good instance's.
pub(super) fn keyless(options: &Options) -> Result<(SigningContext, String)> {
    let (name, config) = match &options.signing_config {
        Some(path) => (path.display().to_string(), signing_config(path)?),
        None => {
            let config = SigningConfig::from_json(SIGSTORE_PRODUCTION_SIGNING_CONFIG);
            (
                "the built-in signing config".to_owned(),
                config.map_err(|error| Error::internal("read the built-in signing config").because(error))?,
            )
        }
    };
    let services = SigningServices::from_signing_config(&config)
        .map_err(|error| Error::usage(format!("{name} does not name all that keyless signing needs")).because(error))?;
    let services = match &options.timestamp_url {
        Some(url) => services.with_tsa_url(url),
        None => services,
    };
    let issuer = config.oidc_url().map_or(PUBLIC_ISSUER, |service| &service.url).to_owned();
    Ok((SigningContext::new(services).with_http_client(client()?), issuer))
}

fn signing_config(path: &Path) -> Result<SigningConfig> {
    let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the signing config")?;
    SigningConfig::from_json(&text)
        .map_err(|error| Error::usage(format!("{} is not a Sigstore signing config", path.display())).because(error))
}

/// Services are never followed elsewhere: what is sent to them holds a token.
pub(super) fn client() -> Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits::CONNECT)
        .timeout(limits::SIGSTORE_REQUEST)
        .redirect(redirect::Policy::none());
    builder.build().map_err(|error| Error::internal("make ready to talk to Sigstore").because(error))
}
