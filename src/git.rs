//! Objects of a git repository, read within limits and held against their own ids.
//!
//! No command is run, no network is used, no work tree is looked at, and what the repository's settings, replacement refs or commit graphs say
//! is not heeded: a commit is what its id says.

use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::objs::tree::EntryKind;
use gix::sec::Trust;

use crate::error::{Error, Kind, Result};
use crate::limits;

/// A repository.
pub struct Repository {
    inner: gix::Repository,
    name: String,
}

/// The address of the remote `origin` of one's own working copy, as its settings have it.
///
/// # Errors
/// A usage error if the directory is not the top of a repository.
pub fn origin(folder: &Path) -> Result<Option<String>> {
    let opened = gix::open_opts(folder, gix::open::Options::isolated());
    let repository =
        opened.map_err(|error| Error::usage(format!("{} is not the top of a git repository", folder.display())).because(error))?;
    Ok(repository.config_snapshot().string("remote.origin.url").map(|url| url.to_string()))
}

/// The id of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit(ObjectId);

impl std::fmt::Display for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.to_hex().fmt(f)
    }
}

/// The id of a tree or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(ObjectId);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.to_hex().fmt(f)
    }
}

/// What a path of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, which may be anything but empty.
    pub name: Vec<u8>,
    /// What it is.
    pub mode: Mode,
    /// The id of its object.
    pub id: Id,
}

impl Repository {
    /// Opens the repository that a directory is in.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is none.
    pub fn open(directory: &Path) -> Result<Self> {
        let name = directory.display().to_string();
        let failed = |error: gix::Error| {
            Error::usage(format!("open the git repository of {name}"))
                .because(error)
                .hint("name its directory with --repository, or compare two directories with --base-dir and --head-dir")
        };
        let (path, _) = gix::discover::upwards(directory).map_err(failed)?;
        // The settings of a repository that somebody else prepared could name commands; none of them is believed.
        let options =
            gix::open::Options::isolated().with(Trust::Reduced).config_overrides(["core.useReplaceRefs=false", "core.commitGraph=false"]);
        let git_dir = path.into_repository_and_work_tree_directories().0;
        let mut inner = gix::ThreadSafeRepository::open_opts(git_dir, options).map_err(failed)?.to_thread_local();
        inner.objects.ignore_replacements = true;
        inner.object_cache_size(Some(limits::GIT_CACHE_BYTES));
        Ok(Self { inner, name })
    }

    /// The commit that a ref or an id names.
    ///
    /// # Errors
    /// [`Kind::Usage`] if nothing has this name, or its objects were not fetched.
    pub fn commit(&self, named: &str) -> Result<Commit> {
        let shown = named.escape_debug();
        let unknown = || Error::usage(format!("there is no commit `{shown}` in {}", self.name)).hint(fetch(named));
        if named.is_empty() || named.len() > limits::GIT_NAME_BYTES || named.starts_with('-') {
            return Err(unknown());
        }
        self.check_plain(named)?;
        let id = self.inner.rev_parse_single(named).map_err(|error| unknown().because(error))?.detach();
        let object = self.find(id, "object").map_err(|error| unknown().because(error))?;
        let commit = object.peel_to_commit().map_err(|error| unknown().because(error))?;
        Ok(Commit(commit.id))
    }

    /// Refuses a name that several refs answer to. Git takes the tag, with a warning: whoever may push a tag `main` would choose what a base is.
    fn check_plain(&self, named: &str) -> Result<()> {
        // Everything that is no name of a ref by itself, such as `main~1`, begins with one.
        let name = named.split(['^', '~', ':', '@']).next().unwrap_or(named);
        let found = ["refs/", "refs/tags/", "refs/heads/", "refs/remotes/"].map(|folder| format!("{folder}{name}"));
        let id =
            |full: &String| self.inner.try_find_reference(full.as_str()).ok().flatten()?.into_fully_peeled_id().ok().map(|id| id.detach());
        let there: Vec<(&String, ObjectId)> = found.iter().filter_map(|full| Some((full, id(full)?))).collect();
        match there.as_slice() {
            [(one, first), others @ ..] if others.iter().any(|(_, other)| other != first) => {
                let names: Vec<&str> = there.iter().map(|(full, _)| full.as_str()).collect();
                Err(Error::usage(format!("`{}` is the name of several refs: {}", name.escape_debug(), names.join(", ")))
                    .hint(format!("name one of them in full, such as {}", names.last().copied().unwrap_or(one))))
            }
            _ => Ok(()),
        }
    }

    /// The commit that two have in common, from which the second has gone its own way.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is none, or several.
    pub fn merge_base(&self, base: Commit, head: Commit) -> Result<Commit> {
        let failed = |error: gix::Error| Error::usage(format!("find what {base} and {head} have in common")).because(error).hint(DEEPEN);
        match self.inner.merge_bases_many(base.0, &[head.0]).map_err(failed)?.as_slice() {
            [one] => Ok(Commit(one.detach())),
            [] => Err(Error::usage(format!("{base} and {head} have no commit in common, as far as the history was fetched")).hint(DEEPEN)),
            several => Err(Error::usage(format!(
                "{base} and {head} have {} commits in common, none of them after the others, so it is not clear what the head changes",
                several.len()
            ))
            .hint("merge the base branch into the head, or rebase the head onto it")),
        }
    }

    /// The id of a commit's tree.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it was not fetched; [`Kind::Integrity`] if it is not what its id says.
    pub fn tree(&self, commit: Commit) -> Result<Id> {
        let object = self.find(commit.0, "commit")?;
        let commit = object.try_into_commit().map_err(|error| malformed(commit.0, error))?;
        commit.tree_id().map(|id| Id(id.detach())).map_err(|error| malformed(commit.id, error))
    }

    /// The entries of a tree, in its order.
    ///
    /// # Errors
    /// As [`Repository::tree`]; [`Kind::Integrity`] also for an entry without a name or a name that stands twice; [`Kind::Policy`] if the
    /// tree is larger than what is read.
    pub fn entries(&self, Id(tree): Id) -> Result<Vec<Entry>> {
        let object = self.read(tree, "tree", limits::GIT_TREE_BYTES)?.try_into_tree().map_err(|error| malformed(tree, error))?;
        let mut entries: Vec<Entry> = Vec::new();
        for entry in object.iter() {
            let entry = entry.map_err(|error| malformed(tree, error))?;
            let mode = match entry.mode().kind() {
                EntryKind::Tree => Mode::Directory,
                EntryKind::Blob => Mode::File,
                EntryKind::BlobExecutable => Mode::Executable,
                EntryKind::Link => Mode::Link,
                EntryKind::Commit => Mode::Submodule,
            };
            entries.push(Entry { name: entry.filename().to_vec(), mode, id: Id(entry.object_id()) });
        }
        let mut names: Vec<&[u8]> = entries.iter().map(|entry| entry.name.as_slice()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(wrong) = twice.or(names.first().copied().filter(|name| name.is_empty())) {
            return Err(Error::new(
                Kind::Integrity,
                format!("the tree {tree} has a wrong entry `{}`", wrong.as_bstr().to_string().escape_debug()),
            ));
        }
        Ok(entries)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// As [`Repository::tree`]; [`Kind::Policy`] if it is larger than `limit`.
    pub fn file(&self, Id(id): Id, limit: u64) -> Result<Vec<u8>> {
        let mut object = self.read(id, "file", limit)?.try_into_blob().map_err(|error| malformed(id, error))?;
        Ok(object.take_data())
    }

    /// An object of which the size is looked at before anything is read.
    fn read(&self, id: ObjectId, what: &str, limit: u64) -> Result<gix::Object<'_>> {
        let size = self.inner.find_header(id).map_err(|error| missing(id, what, error))?.size();
        if size > limit {
            return Err(Error::new(Kind::Policy, format!("the {what} {id} has {size} bytes, of which at most {limit} are read")));
        }
        self.find(id, what)
    }

    /// An object that is what its id says.
    fn find(&self, id: ObjectId, what: &str) -> Result<gix::Object<'_>> {
        let object = self.inner.find_object(id).map_err(|error| missing(id, what, error))?;
        let data = gix::objs::Data { kind: object.kind, object_hash: id.kind(), data: &object.data };
        data.verify_checksum(&id).map_err(|error| malformed(id, error))?;
        Ok(object)
    }
}

/// How to get history that is missing.
const DEEPEN: &str = "a clone that was cut off lacks it: `git fetch --unshallow origin`, or with actions/checkout `fetch-depth: 0`";

fn fetch(named: &str) -> String {
    if !named.is_empty() && named.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)) && !named.starts_with('-') {
        return format!("if it is on the server: `git fetch origin {named}`");
    }
    "name a branch, a tag or a commit".to_owned()
}

fn missing(id: ObjectId, what: &str, error: gix::Error) -> Error {
    Error::usage(format!("the {what} {id} is not in the repository"))
        .because(error)
        .hint("a clone that leaves out files lacks them: `git fetch --refetch --no-filter origin`")
}

fn malformed(id: ObjectId, error: gix::Error) -> Error {
    Error::new(Kind::Integrity, format!("the object {id} is not what its id says")).because(error)
}
