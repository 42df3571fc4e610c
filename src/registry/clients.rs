//! HTTP clients that were made, by the registry that they are for: making one reads all certificates of this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;

use super::reach;
use crate::error::Result;

/// What is made for one registry.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) pull: Client,
    pub(super) push: Client,
    pub(super) guard: Arc<reach::Guard>,
}

/// What a client depends on: `scheme://host:port`, own authorities, patience.
pub(super) type Key = (String, Option<PathBuf>, Duration);

/// Clients; copies share them.
#[derive(Clone, Default)]
pub struct Clients(Arc<Mutex<BTreeMap<Key, Made>>>);

impl Clients {
    /// The clients for a registry, made the first time.
    pub(super) fn get_or_make(&self, key: Key, make: impl FnOnce() -> Result<Made>) -> Result<Made> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = known.get(&key) {
            return Ok(made.clone());
        }
        let made = make()?;
        known.insert(key, made.clone());
        Ok(made)
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

/// They are no setting: options that agree in everything else are the same.
impl PartialEq for Clients {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Clients {}
