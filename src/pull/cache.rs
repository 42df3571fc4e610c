//! Bundles that were fetched before: within a run as they are, between runs as blobs on disk.
//!
//! Nothing in it is believed: each blob is hashed as it is read, and fetched again if it is not what its name says. What may change is
//! never kept: whether the registry still has a bundle, who signed it, and what verification came to.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::blobs::Blobs;
use crate::digest::Digest;
use crate::error::Result;
use crate::evidence::contents::Contents;
use crate::limits;
use crate::registry::Registry;

/// Where bundles that were fetched are kept; copies share it. The default keeps them for as long as it lives, and nothing on disk.
#[derive(Clone, Default)]
pub struct Cache(Arc<Kept>);

#[derive(Default)]
struct Kept {
    blobs: Option<Blobs>,
    bundles: Mutex<Bundles>,
}

/// A bundle in a repository.
type Key = (String, Digest);
/// One that is fetched once, however many ask for it at the same time.
type Shared = Arc<OnceCell<Arc<Contents>>>;

#[derive(Default)]
struct Bundles {
    known: BTreeMap<Key, Shared>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Cache {
    /// Keeps blobs in a folder too, which is made if need be.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self(Arc::new(Kept { blobs: Some(Blobs::new(folder.to_owned())), bundles: Mutex::default() }))
    }

    /// Keeps blobs in this user's cache too: below `XDG_CACHE_HOME`, else in `.cache` of a home that is there.
    #[must_use]
    pub fn of_user() -> Self {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || variable("HOME").filter(|home| home.is_dir()).map(|home| home.join(".cache"));
        variable("XDG_CACHE_HOME").or_else(home).map_or_else(Self::default, |cache| Self::in_folder(&cache.join("seatrial/blobs")))
    }

    /// The bundle with this digest. The registry is asked for it once in a run, and for those blobs that are not on disk.
    ///
    /// # Errors
    /// As the registry says, and [`Kind::Integrity`](crate::error::Kind::Integrity) for what is not what its digest says.
    pub async fn contents(&self, registry: &Registry, digest: &Digest) -> Result<Arc<Contents>> {
        let key = (registry.repository().to_string(), digest.clone());
        let shared = self.bundles(|bundles| bundles.get_or_add(key));
        let fetch = || async { super::contents(registry, digest, self.0.blobs.as_ref()).await.map(Arc::new) };
        let contents = shared.get_or_try_init(fetch).await?.clone();
        self.bundles(Bundles::trim);
        Ok(contents)
    }

    /// What somebody should know of it: entries that were not what their names say.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.0.blobs.as_ref().map(Blobs::remarks).unwrap_or_default()
    }

    fn bundles<T>(&self, of: impl FnOnce(&mut Bundles) -> T) -> T {
        of(&mut self.0.bundles.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bundles {
    fn get_or_add(&mut self, key: Key) -> Shared {
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let added = Shared::default();
        self.known.insert(key.clone(), added.clone());
        self.order.push_back(key);
        added
    }

    /// Forgets the oldest, until what is kept is within its limits.
    fn trim(&mut self) {
        let held = |shared: &Shared| shared.get().map_or(0, |contents| contents.documents().values().map(Vec::len).sum::<usize>());
        let mut bytes: usize = self.known.values().map(held).sum();
        while self.order.len() > 1 && (bytes > limits::CACHED_BYTES || self.order.len() > limits::CACHED_BUNDLES) {
            let oldest = self.order.pop_front().and_then(|key| self.known.remove(&key));
            bytes -= oldest.as_ref().map_or(0, held);
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_the_newest_is_not() {
        let mut bundles = Bundles::default();
        for number in 0..3_u8 {
            let shared = bundles.get_or_add(("r/a".to_owned(), Digest::of(&[number])));
            let documents = [("recipe.yaml".to_owned(), vec![0; limits::CACHED_BYTES / 2])].into();
            shared.set(Arc::new(Contents::new(documents, BTreeMap::new()))).expect("is new");
            bundles.trim();
        }
        let left: Vec<bool> = (0..3_u8).map(|number| bundles.known.contains_key(&("r/a".to_owned(), Digest::of(&[number])))).collect();
        assert_eq!(left, [false, true, true]);
        let large = bundles.get_or_add(("r/a".to_owned(), Digest::of(b"large")));
        let documents = [("recipe.yaml".to_owned(), vec![0; limits::CACHED_BYTES + 1])].into();
        large.set(Arc::new(Contents::new(documents, BTreeMap::new()))).expect("is new");
        bundles.trim();
        assert_eq!(bundles.order.len(), 1, "one that is over the limit alone stays until the next one comes");
    }
}
