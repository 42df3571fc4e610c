//! Fetching a trusted root anew, by TUF: The Update Framework.

use std::path::{Path, PathBuf};

use sigstore_trust_root::{SigstoreInstance, reqwest};
use sigstore_tuf::{FileStore, HttpRepository, Updater, UpdaterConfig};

use super::{Part, folder};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::{files, limits};

/// What a repository calls its trusted root.
const TARGET: &str = "trusted_root.json";

/// A TUF repository: where it is, with which keys believing it begins, and where what is fetched is kept.
#[derive(Clone, Debug)]
pub struct Repository {
    url: String,
    root: Vec<u8>,
    /// Verified metadata, so that no older one is ever taken again.
    memory: PathBuf,
    to: PathBuf,
}

impl Repository {
    /// The public-good instance's; what is fetched is kept where verification finds it.
    ///
    /// # Errors
    /// [`Kind::Usage`] if this user has no directory for it.
    pub fn public_good() -> Result<Self> {
        let (instance, folder) = (SigstoreInstance::PublicGood, home()?);
        let (url, root) = (instance.tuf_url().to_owned(), instance.tuf_root().to_vec());
        Ok(Self { url, root, memory: folder.join("tuf"), to: folder.join(TARGET) })
    }

    /// A private Sigstore's, believed from the keys in `root` on; what is fetched is kept in the file `to`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if `root` cannot be read, or this user has no directory for what is to be remembered.
    pub fn mirror(url: &str, root: &Path, to: &Path) -> Result<Self> {
        let text = files::read_text(root, limits::DOCUMENT_BYTES).context("read the first root of the repository")?;
        let memory = home()?.join(format!("tuf-{}", Digest::of(url.trim_end_matches('/').as_bytes()).short()));
        Ok(Self { url: url.to_owned(), root: text.into_bytes(), memory, to: to.to_owned() })
    }

    /// The file in which what is fetched is kept.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.to
    }
}

fn home() -> Result<PathBuf> {
    folder().ok_or_else(|| {
        Error::usage("find a directory for the trusted root: neither XDG_DATA_HOME nor HOME is set")
            .hint("set HOME, or give --trusted-root")
    })
}

/// The updated root of the public-good instance, if there is one.
#[must_use]
pub fn cached() -> Option<PathBuf> {
    folder().map(|folder| folder.join(TARGET)).filter(|path| path.exists())
}

/// Fetches a repository's trusted root, and keeps it once it is proven and can be used. What was there stays otherwise.
///
/// # Errors
/// [`Kind::Unavailable`] if it cannot be fetched, [`Kind::Timeout`] if that takes too long, [`Kind::Signature`] if others have signed it,
/// [`Kind::Integrity`] if it is older than what was seen or not what was signed, [`Kind::Stale`] if it has expired, [`Kind::Schema`] if it is
/// something else.
pub async fn update(from: &Repository) -> Result<()> {
    let limit = limits::TRUST_UPDATE;
    let fetched = tokio::time::timeout(limit, fetch(from)).await;
    let late = |_| Error::new(Kind::Timeout, format!("{} has not given its trusted root within {} s", from.url, limit.as_secs()));
    let usable = |text: String| match Part::parse(from.url.clone(), &text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Error::new(Kind::Schema, format!("what {} has signed cannot be used", from.url)).because(error)),
    };
    let text = fetched.map_err(late).flatten().and_then(usable).map_err(|error| {
        error.hint(
            "verification goes on with the root that is there; on a machine without the internet, copy a trusted_root.json and give --trusted-root",
        )
    })?;
    files::write(&from.to, text.as_bytes())
}

async fn fetch(from: &Repository) -> Result<String> {
    let refused = |error| refused(error, &from.url);
    let client = reqwest::Client::builder()
        .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits::CONNECT)
        .timeout(limits::SIGSTORE_REQUEST);
    let client = client.build().map_err(|error| Error::internal("make ready to talk to a TUF repository").because(error))?;
    let repository = HttpRepository::new(&from.url).map_err(refused)?.with_http_client(client);
    std::fs::create_dir_all(&from.memory).with_context(|| format!("make {}", from.memory.display()))?;
    let now = jiff::Timestamp::now();
    // What is larger could not be read back.
    let mut bounds = UpdaterConfig::default();
    bounds.target_max_length = limits::DOCUMENT_BYTES;
    let updater = Updater::new(repository, &from.root).map_err(refused)?.with_config(bounds);
    let mut updater = updater.with_store(FileStore::new(&from.memory));
    updater.refresh(now).await.map_err(refused)?;
    let bytes = updater.get_target(TARGET, now).await.map_err(refused)?;
    String::from_utf8(bytes)
        .map_err(|error| Error::new(Kind::Schema, format!("the trusted root of {} is not text", from.url)).because(error))
}

/// Why TUF does not accept what a repository gave.
fn refused(error: sigstore_tuf::Error, url: &str) -> Error {
    use sigstore_tuf::Error as Tuf;
    let (kind, what) = match &error {
        Tuf::Expired { .. } => (Kind::Stale, "has nothing that is still good: its clock or ours is wrong, or somebody keeps news from us"),
        Tuf::Rollback { .. } | Tuf::EqualVersion { .. } | Tuf::BadRootVersion { .. } => {
            (Kind::Integrity, "gave something older than what was seen before")
        }
        Tuf::IntegrityMismatch(_) => (Kind::Integrity, "gave something else than what is signed"),
        Tuf::ThresholdNotMet { .. }
        | Tuf::DuplicateSignature { .. }
        | Tuf::UnusableKey { .. }
        | Tuf::UnsupportedScheme { .. }
        | Tuf::Crypto(_) => (Kind::Signature, "gave something that is not signed by those who are believed"),
        Tuf::Json(_) | Tuf::Malformed(_) | Tuf::NonIntegerNumber | Tuf::UnknownRole(_) | Tuf::TargetNotFound(_) => {
            (Kind::Schema, "is no TUF repository with a trusted root")
        }
        Tuf::Io { .. } => (Kind::Io, "was reached, but what is remembered of it cannot be read or written"),
        _ => (Kind::Unavailable, "does not give its trusted root"),
    };
    Error::new(kind, format!("{url} {what}")).because(error)
}
