//! What a change adds, edits and removes under the directory of evidence, and what each of it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::pointer::check_name;
use crate::gate::report::What;
use crate::gate::shown;
use crate::gate::trees::{Found, Listing};
use crate::git::Mode;
use crate::limits;
use crate::reason::{Reason, Said};

/// One file that the change touches.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    pub(super) path: Vec<u8>,
    pub(super) what: What,
    /// What is there in the head.
    pub(super) is: Option<Found>,
    pub(super) place: Place,
}

impl Changed {
    /// Its path as it may be shown.
    pub(super) fn shown(&self) -> String {
        shown(&String::from_utf8_lossy(&self.path))
    }
}

/// What a path is, by its name and mode alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The policy, or a key file that it names.
    Policy,
    /// `<recipe>/sha256-<digest>.yaml`.
    Pointer(String),
    /// Nothing that belongs there, and why.
    Other(Said),
}

/// What is where under the directory of evidence.
pub(super) struct Layout<'a> {
    /// The directory.
    pub(super) evidence: &'a str,
    /// Paths of the policy and of the key files that it names, in the base or the head.
    pub(super) policy: &'a BTreeSet<String>,
}

/// What differs between what both have in common and the head; what the tip of the base has already is no change.
pub(super) fn between(common: &Listing, tip: &Listing, head: &Listing, layout: &Layout) -> Vec<Changed> {
    let folded = folded(head);
    let paths: BTreeSet<&Vec<u8>> = common.keys().chain(head.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let (was, is) = (common.get(path), head.get(path));
        if was == is || is == tip.get(path) {
            continue;
        }
        let what = match (was, is) {
            (None, _) => What::Added,
            (_, None) => What::Removed,
            _ => What::Edited,
        };
        let mode = is.or(was).map_or(Mode::Link, |found| found.mode);
        // What goes away harms nobody by its name.
        let place = layout.place(path, mode, &folded, is.is_none());
        changes.push(Changed { path: path.clone(), what, is: is.cloned(), place });
    }
    changes
}

impl Layout<'_> {
    fn place(&self, path: &[u8], mode: Mode, folded: &BTreeMap<String, usize>, gone: bool) -> Place {
        let other = |reason: Reason, message: String| Place::Other(Said::new(reason, message));
        let name = String::from_utf8_lossy(path);
        let plain = std::str::from_utf8(path).is_ok_and(|text| shown(text) == text);
        let safe = plain && !name.split('/').any(|part| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git"));
        if !safe && !gone {
            return other(Reason::NameUnsafe, format!("`{}` cannot be the name of a file here", shown(&name)));
        }
        let kind = match mode {
            Mode::File => None,
            Mode::Executable => Some("an executable file"),
            Mode::Link => Some("a symbolic link, or something special"),
            Mode::Submodule => Some("a submodule"),
            Mode::Directory => Some("a directory"),
        };
        if let (Some(kind), false) = (kind, gone) {
            return other(Reason::NotAFile, format!("{} is {kind}", shown(&name)));
        }
        if self.policy.contains(&*name) {
            return Place::Policy;
        }
        if !gone && folded.get(&fold(&name)).is_some_and(|count| *count > 1) {
            return other(Reason::NameCollides, format!("{} differs from another file in letter case only", shown(&name)));
        }
        let below = name.strip_prefix(self.evidence).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&name);
        match below.split('/').collect::<Vec<_>>().as_slice() {
            [recipe, file] if check_name(recipe).is_ok() && is_pointer(file) => Place::Pointer((*recipe).to_owned()),
            [.., file] if is_pointer(file) => {
                let message = format!("{} lies in no folder of a recipe", shown(&name));
                other(Reason::PointerMisplaced, message)
            }
            _ => other(Reason::UnexpectedFile, format!("{} is neither a pointer nor the policy", shown(&name))),
        }
    }
}

/// True for `sha256-<64 hexadecimal digits>.yaml`.
fn is_pointer(file: &str) -> bool {
    let digits = file.strip_prefix("sha256-").and_then(|rest| rest.strip_suffix(".yaml"));
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)))
}

/// Names beside one of ours that some machines take for it, and that were not there.
pub(super) fn look_alikes(names: &[Vec<u8>], before: &[Vec<u8>], ours: &str) -> Vec<String> {
    let alike = |name: &&Vec<u8>| {
        let text = String::from_utf8_lossy(name);
        text != ours && fold(&text) == fold(ours) && !before.contains(name)
    };
    names.iter().filter(alike).map(|name| shown(&String::from_utf8_lossy(name))).take(limits::GATE_FILES).collect()
}

/// How many files and directories of a listing have one name once they are folded.
fn folded(head: &Listing) -> BTreeMap<String, usize> {
    let mut names: BTreeSet<&[u8]> = BTreeSet::new();
    for path in head.keys() {
        names.insert(path);
        names.extend(path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(fold(&String::from_utf8_lossy(name))).or_default() += 1;
    }
    // A file collides where one of its directories does.
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    for path in head.keys() {
        let whole = fold(&String::from_utf8_lossy(path));
        let parts = whole.match_indices('/').map(|(at, _)| &whole[..at]).chain([whole.as_str()]);
        let most = parts.filter_map(|part| counts.get(part)).max().copied().unwrap_or_default();
        wrong.entry(whole).and_modify(|count| *count = most.max(*count)).or_insert(most);
    }
    wrong
}

/// A name as machines take it that do not heed letter case, characters without width, or dots and spaces at the end.
fn fold(name: &str) -> String {
    let parts = name.split('/').map(|part| {
        let visible: String = part.chars().filter(|letter| shown(&letter.to_string()) == letter.to_string()).collect();
        // There and back: some letters have several small forms and one capital.
        visible.to_lowercase().to_uppercase().to_lowercase().trim_end_matches(['.', ' ']).to_owned()
    });
    parts.collect::<Vec<_>>().join("/")
}
