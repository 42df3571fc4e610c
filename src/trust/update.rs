//! Fetching the public-good instance's trusted root anew, by TUF: The Update Framework.

use std::path::PathBuf;

use sigstore_trust_root::{TrustedRoot, TufConfig};

use super::folder;
use crate::error::{Context, Error, Kind, Result};
use crate::files;

/// The updated root, if there is one.
#[must_use]
pub fn cached() -> Option<PathBuf> {
    folder().map(|folder| folder.join("trusted_root.json")).filter(|path| path.exists())
}

/// Fetches the root and keeps it where verification finds it. Hands out the file.
///
/// # Errors
/// [`Kind::Unavailable`] if it cannot be fetched, or what was fetched is not what TUF promises; what was there stays.
pub async fn update() -> Result<PathBuf> {
    let folder = folder().ok_or_else(|| {
        Error::usage("find a directory for the trusted root: neither XDG_DATA_HOME nor HOME is set")
            .hint("set HOME, or give --trusted-root")
    })?;
    let config = TufConfig::production().with_cache_dir(folder.join("tuf"));
    let root = TrustedRoot::from_tuf(config).await.map_err(|error| {
        Error::new(Kind::Unavailable, "fetch the trusted root from tuf-repo-cdn.sigstore.dev")
            .because(error)
            .hint("verification goes on with the root that is there; on a machine without the internet, copy a trusted_root.json and give --trusted-root")
    })?;
    let text = serde_json::to_string_pretty(&root).map_err(|error| Error::internal("write the trusted root").because(error))?;
    let path = folder.join("trusted_root.json");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    files::write(&path, text.as_bytes())?;
    Ok(path)
}
