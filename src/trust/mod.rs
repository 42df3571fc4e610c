//! Whom Sigstore's certificates, logs and timestamps are believed to come from: trusted roots, built in, updated, or given in files.
//!
//! Reads no network, apart from [`update`].

pub mod update;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sigstore_trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_verify::Verifier;

use crate::error::{Context, Error, Kind, Result};
use crate::{files, limits};

/// What every version of a trusted root says that it is. The library reads other documents as roots that name nobody.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";

/// Trusted roots, each by itself: a signature must be proven by one of them alone. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Root(Arc<Vec<Part>>);

/// One trusted root.
pub(crate) struct Part {
    /// Where it is from, for people.
    pub(crate) name: String,
    /// What verifies by it.
    pub(crate) verifier: Verifier,
    root: TrustedRoot,
    updated: Option<jiff::Timestamp>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Part {
    fn parse(name: String, text: &str) -> Result<Self> {
        let wrong = || Error::new(Kind::Usage, format!("{name} is not a Sigstore trusted root"));
        let root = TrustedRoot::from_json(text).map_err(|error| wrong().because(error))?;
        if !root.media_type.starts_with(MEDIA_TYPE) {
            return Err(wrong().because("it has another media type"));
        }
        let verifier = Verifier::new(&root).map_err(|error| wrong().because(error))?;
        Ok(Self { name, verifier, root, updated: None })
    }

    /// The host name of the log with this id, which is its name.
    pub(crate) fn log_host(&self, id: &[u8]) -> Option<&str> {
        let log = self.root.tlogs.iter().find(|log| log.log_id.key_id.as_bytes() == id)?;
        let rest = log.base_url.split_once("://").map_or(log.base_url.as_str(), |(_, rest)| rest);
        rest.split(['/', ':']).next()
    }
}

impl Root {
    /// The public-good instance's root, and beside it the ones in these files.
    ///
    /// # Errors
    /// [`Kind::Usage`] if a file is missing or is no trusted root.
    pub fn with_files(files: &[PathBuf]) -> Result<Self> {
        let read = |path: &PathBuf| {
            let text = files::read_text(path, limits::DOCUMENT_BYTES).context("read the trusted root")?;
            Part::parse(path.display().to_string(), &text)
        };
        Ok(Self(Arc::new(files.iter().map(read).collect::<Result<_>>()?)))
    }

    /// All of them, those of files first.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the updated root cannot be read.
    pub(crate) fn parts(&self) -> Result<impl Iterator<Item = &Part>> {
        Ok(self.0.iter().chain(std::iter::once(public_good()?)))
    }

    /// What they hold, for people and programs.
    ///
    /// # Errors
    /// As when they are used.
    pub fn show(&self) -> Result<Vec<Shown>> {
        Ok(self.parts()?.map(Shown::of).collect())
    }
}

/// The root of the public-good instance: as last updated on this machine, else as built in. Read when it is first needed.
fn public_good() -> Result<&'static Part> {
    static PART: OnceLock<Part> = OnceLock::new();
    if let Some(part) = PART.get() {
        return Ok(part);
    }
    let part = match update::cached() {
        Some(path) => {
            let text = files::read_text(&path, limits::DOCUMENT_BYTES).context("read the updated trusted root")?;
            let hint = format!("remove {} to go back to the built-in one, or run `seatrial trust update`", path.display());
            let name = format!("Sigstore's public-good instance, updated in {}", path.display());
            let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
            let updated = modified.and_then(|time| jiff::Timestamp::try_from(time).ok());
            Part { updated, ..Part::parse(name, &text).map_err(|error| error.hint(hint))? }
        }
        None => Part::parse("Sigstore's public-good instance, built in".to_owned(), SIGSTORE_PRODUCTION_TRUSTED_ROOT)?,
    };
    Ok(PART.get_or_init(|| part))
}

/// What a trusted root holds.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Where it is from.
    pub name: String,
    /// When it was updated on this machine; not for built-in ones and files of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<jiff::Timestamp>,
    /// Certificate authorities, by address.
    pub certificate_authorities: Vec<Authority>,
    /// Transparency logs of signatures.
    pub logs: Vec<Authority>,
    /// Transparency logs of certificates.
    pub certificate_logs: Vec<Authority>,
    /// Timestamp authorities.
    pub timestamp_authorities: Vec<Authority>,
}

/// One party that a trusted root names.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Authority {
    /// Its address, which is its name.
    pub address: String,
    /// From when on it is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Shown {
    fn of(part: &Part) -> Self {
        let authority = |address: &str, valid: Option<sigstore_trust_root::TimeRange>| Authority {
            address: address.to_owned(),
            from: valid.map(|range| range.start.to_string()),
            until: valid.and_then(|range| range.end).map(|end| end.to_string()),
        };
        let root = &part.root;
        Self {
            name: part.name.clone(),
            updated: part.updated,
            certificate_authorities: root.certificate_authorities.iter().map(|ca| authority(&ca.uri, ca.valid_for)).collect(),
            logs: root.tlogs.iter().map(|log| authority(&log.base_url, log.public_key.valid_for)).collect(),
            certificate_logs: root.ctlogs.iter().map(|log| authority(&log.base_url, log.public_key.valid_for)).collect(),
            timestamp_authorities: root
                .timestamp_authorities
                .iter()
                .map(|tsa| authority(tsa.uri.as_deref().unwrap_or_default(), tsa.valid_for))
                .collect(),
        }
    }
}

/// The folder in which what was updated is kept, if this user has one.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| Path::new(value).is_absolute()).map(PathBuf::from);
    let data = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")))?;
    Some(data.join("seatrial/trust"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_root_can_be_used_and_a_file_that_is_none_is_refused() {
        Part::parse("built in".to_owned(), SIGSTORE_PRODUCTION_TRUSTED_ROOT).expect("is a trusted root");
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("root.json");
        for text in [
            "",
            "{}",
            "[]",
            "{\"mediaType\":\"text/plain\"}",
            "{\"mediaType\":\"application/vnd.dev.sigstore.trustedroot+json;version=0.1\",\"tlogs\":[1]}",
        ] {
            std::fs::write(&path, text).expect("is written");
            assert_eq!(Root::with_files(std::slice::from_ref(&path)).map(drop).expect_err(text).kind(), Kind::Usage);
        }
    }
}
