//! Base and head as they are compared: what both have in common, the tip of the base, and the head.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::error::{Error, Kind, Result};
use crate::gate::report::Side;
use crate::gate::rules::Rules;
use crate::gate::trees::{Found, Listing, Tree};
use crate::gate::{Change, Request, shown};
use crate::git::{Mode, Repository};
use crate::limits;
use crate::reason::{Reason, Said};

/// How both are named.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) base: Side,
    pub(super) head: Side,
    pub(super) common: Option<String>,
}

/// The trees.
pub(super) struct Sides<'a> {
    pub(super) names: Names,
    /// What both have in common: the head's changes are counted from here.
    pub(super) common: Tree<'a>,
    /// What is merged into, as it is now.
    pub(super) tip: Tree<'a>,
    /// What is to be merged.
    pub(super) head: Tree<'a>,
}

/// One directory on all sides.
pub(super) struct Listings {
    pub(super) common: Listing,
    pub(super) tip: Listing,
    pub(super) head: Listing,
}

/// Refuses paths that are none of the tree.
///
/// # Errors
/// [`Kind::Usage`] for an absolute path, or one that leads out.
pub(super) fn check(request: &Request) -> Result<()> {
    for (flag, path) in [("--evidence-path", &request.evidence), ("--policy-path", &request.policy), ("--data", &request.data)] {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.is_empty() || path.contains("//") || path.ends_with('/') {
            return Err(Error::usage(format!("{flag} `{}` is no path inside the repository", path.escape_debug()))
                .hint("write it from the root of the repository, as in evidence/policy.yaml"));
        }
    }
    Ok(())
}

/// The repository that the commits are in; `None` for directories.
///
/// # Errors
/// [`Kind::Usage`] if there is none.
pub(super) fn open(change: &Change) -> Result<Option<Repository>> {
    match change {
        Change::Commits { repository, .. } => Repository::open(repository).map(Some),
        Change::Directories { .. } => Ok(None),
    }
}

impl<'a> Sides<'a> {
    /// Finds the trees.
    ///
    /// # Errors
    /// [`Kind::Usage`] if a commit or a directory is not there.
    pub(super) fn of(change: &Change, repository: Option<&'a Repository>) -> Result<Self> {
        match (change, repository) {
            (Change::Commits { base, head, .. }, Some(repository)) => {
                let (base_commit, head_commit) = (repository.commit(base)?, repository.commit(head)?);
                let common = repository.merge_base(base_commit, head_commit)?;
                let tree = |commit| -> Result<Tree<'a>> { Ok(Tree::Commit(repository, repository.tree(commit)?)) };
                Ok(Self {
                    names: Names {
                        base: Side { name: shown(base), commit: Some(base_commit.to_string()) },
                        head: Side { name: shown(head), commit: Some(head_commit.to_string()) },
                        common: Some(common.to_string()),
                    },
                    common: tree(common)?,
                    tip: tree(base_commit)?,
                    head: tree(head_commit)?,
                })
            }
            (Change::Directories { base, head }, _) => {
                let tree = |path: &Path| match path.is_dir() {
                    true => Ok(Tree::Directory(path.to_owned())),
                    false => Err(Error::usage(format!("there is no directory {}", path.display()))),
                };
                let side = |path: &Path| Side { name: shown(&path.display().to_string()), commit: None };
                Ok(Self {
                    names: Names { base: side(base), head: side(head), common: None },
                    common: tree(base)?,
                    tip: tree(base)?,
                    head: tree(head)?,
                })
            }
            (Change::Commits { .. }, None) => Err(Error::internal("commits were named and no repository was opened")),
        }
    }

    /// The policy of the base, or why nothing can be judged.
    ///
    /// # Errors
    /// If the base cannot be read.
    pub(super) fn rules(&self, path: &str) -> Result<Result<Rules, Said>> {
        match Rules::read(&self.tip, path) {
            Ok(Some(rules)) => Ok(Ok(rules)),
            Ok(None) => Ok(Err(Said::new(Reason::NoPolicy, format!("{} has no {path}", self.names.base.name)))),
            Err(error) if matches!(error.kind(), Kind::Schema | Kind::Integrity | Kind::Policy) => {
                Ok(Err(Said::new(Reason::PolicyInvalid, format!("the policy of the base cannot be used: {}", error.chain()))))
            }
            Err(error) => Err(error),
        }
    }

    /// A directory on all sides, or what is wrong with the head's.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn listings(&self, path: &str) -> Result<Result<Listings, Said>> {
        let head = match self.head.below(path) {
            Ok(head) => head,
            Err(error) => return said(error).map(Err),
        };
        Ok(Ok(Listings { common: self.common.below(path)?, tip: self.tip.below(path)?, head }))
    }
}

impl Listings {
    /// A file below that base and head have both changed, each in its own way.
    fn torn(&self, counts: impl Fn(&[u8]) -> bool) -> Option<&Vec<u8>> {
        let differs = |path: &&Vec<u8>| {
            let (was, tip, head) = (self.common.get(*path), self.tip.get(*path), self.head.get(*path));
            was != tip && was != head && tip != head && counts(path)
        };
        self.common.keys().chain(self.tip.keys()).chain(self.head.keys()).find(differs)
    }

    /// Paths that are there once the head is merged into the tip, and whether each is the head's.
    pub(super) fn merged(&self) -> Vec<(&Vec<u8>, &Found, bool)> {
        let paths: BTreeSet<&Vec<u8>> = self.tip.keys().chain(self.head.keys()).collect();
        let merged = paths.into_iter().filter_map(|path| {
            let (was, is) = (self.common.get(path), self.head.get(path));
            let of_head = was != is;
            let found = if of_head { is } else { self.tip.get(path) };
            found.map(|found| (path, found, of_head))
        });
        merged.collect()
    }
}

/// What is wrong with a head that cannot be read within bounds.
///
/// # Errors
/// The error itself, if it says nothing of the head.
pub(super) fn said(error: Error) -> Result<Said> {
    match error.kind() {
        Kind::Policy => Ok(Said::new(Reason::TooMuch, error.chain())),
        Kind::Integrity => Ok(Said::new(Reason::NotAFile, error.chain())),
        _ => Err(error),
    }
}

/// Files of recipe data, by their path below its directory.
type Files = Vec<(String, Vec<u8>)>;

/// The recipe data before and after, or what is wrong with it.
pub(super) fn data(sides: &Sides, path: &str) -> Result<Result<[Files; 2], Said>> {
    let listings = match sides.listings(path)? {
        Ok(listings) => listings,
        Err(said) => return Ok(Err(said)),
    };
    if let Some(torn) = listings.torn(|path| path.ends_with(b".yaml")) {
        let message = format!("base and head have both changed {} since they parted", shown(&String::from_utf8_lossy(torn)));
        return Ok(Err(Said::new(Reason::MergeUnknown, message)));
    }
    let before: Vec<(&Vec<u8>, &Found, bool)> = listings.tip.iter().map(|(path, found)| (path, found, false)).collect();
    let mut both = [Vec::new(), Vec::new()];
    for (files, listed) in both.iter_mut().zip([before, listings.merged()]) {
        let mut bytes = 0;
        for (file, found, of_head) in listed {
            let shown = || shown(&String::from_utf8_lossy(file));
            let wrong = |message: String| Ok(Err(Said::new(Reason::RecipeInvalid, message)));
            let document = file.ends_with(b".yaml");
            let name = std::str::from_utf8(file).ok().and_then(|file| file.strip_prefix(path)?.strip_prefix('/'));
            let plain = matches!(found.mode, Mode::File | Mode::Executable);
            let Some(name) = name.filter(|_| plain) else {
                match document || *file == path.as_bytes() {
                    true => return wrong(format!("{} is no plain file, or has a name that is not UTF-8", shown())),
                    false => continue,
                }
            };
            let tree = if of_head { &sides.head } else { &sides.tip };
            match tree.read(file, found, limits::DOCUMENT_BYTES) {
                Ok(text) => {
                    bytes += text.len();
                    if bytes > limits::GATE_DATA_BYTES {
                        let message = format!("recipe data has more than {} bytes", limits::GATE_DATA_BYTES);
                        return Ok(Err(Said::new(Reason::TooMuch, message)));
                    }
                    files.push((name.to_owned(), text));
                }
                // Whatever else lies there may be large; no recipe is made of it.
                Err(error) if error.kind() == Kind::Policy && !document => {}
                Err(error) => return said(error).map(Err),
            }
        }
    }
    Ok(Ok(both))
}
