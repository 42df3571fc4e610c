//! The gate: what a change from one tree to another does to evidence and recipes, and whether that is accepted.
//!
//! The base's policy judges. The head is bounded data: nothing of it is run, and nothing of it decides by which rules it is judged.

pub mod approvals;
mod changes;
mod decide;
mod evidence;
mod files;
pub mod markdown;
mod profiles;
mod recipes;
pub mod report;
mod rules;
mod sides;
mod standing;
pub mod text;
mod trees;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::error::Result;
use crate::reason::Said;
use crate::{pull, registry, trust, verify};
pub use approvals::{Approval, ApprovalSource, Approvals};
use decide::Found;
use report::Advised;
pub use report::{Decision, GateReport};
use sides::Sides;
use standing::Standing;

/// Characters of a text from outside that are shown.
const SHOWN: usize = 400;

/// What to judge, and by what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The two trees.
    pub change: Change,
    /// The directory of pointers, by its path in both trees: `evidence`.
    pub evidence: String,
    /// The policy, by its path in the base: `evidence/policy.yaml`.
    pub policy: String,
    /// The directory of recipe data, by its path in both trees; where it is in neither, what ships is all there is.
    pub data: String,
    /// Who approved.
    pub approvals: Approvals,
    /// The checks of this program, by id, with their versions.
    pub checks: BTreeMap<String, u32>,
    /// How registries are reached.
    pub registry: registry::Options,
    /// Where bundles that were fetched before are kept, as bytes by their digests; never what verifying them came to.
    pub cache: pull::Cache,
    /// Whose certificates, logs and timestamps are believed.
    pub root: trust::Root,
    /// How long verifying may take, all pointers together.
    pub limit: Duration,
    /// The time of the decision.
    pub now: Timestamp,
}

/// Two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Two commits of a repository. What the head changes is counted from the commit that both have in common; the policy is the base's.
    Commits {
        /// The repository's directory, or one below it.
        repository: PathBuf,
        /// A ref or a commit: what is merged into.
        base: String,
        /// A ref or a commit: what is to be merged.
        head: String,
    },
    /// Two directories.
    Directories {
        /// What is merged into.
        base: PathBuf,
        /// What is to be merged.
        head: PathBuf,
    },
}

/// Judges a change. What is wrong with the change is in the report, not an error.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if there is nothing to compare: no repository, no such commit, history that was not fetched.
pub async fn judge(request: &Request) -> Result<GateReport> {
    let deadline = Instant::now() + request.limit;
    sides::check(request)?;
    let repository = sides::open(&request.change)?;
    let sides = Sides::of(&request.change, repository.as_ref())?;
    let mut found = Found::default();
    let rules = match sides.rules(&request.policy)? {
        Ok(rules) => rules,
        Err(said) => {
            found.reasons.push(advised(said));
            return Ok(decide::report(request, &sides.names, None, found));
        }
    };
    let standing = Standing::of(&request.approvals, &rules.policy.owners, sides.names.head.commit.as_deref());
    files::look(request, &sides, &rules, &standing, deadline, &mut found).await?;
    found.approvals = standing.notes;
    Ok(decide::report(request, &sides.names, Some(&rules), found))
}

/// A reason with what a contributor can do about it.
fn advised(said: Said) -> Advised {
    Advised { reason: said.reason, message: shown(&said.message), advice: vec![said.reason.act().to_owned()] }
}

/// A changed input as it may be shown.
fn shown_change(change: &verify::Change) -> verify::Change {
    let text = |value: &Option<String>| value.as_deref().map(shown);
    verify::Change { input: shown(&change.input), was: text(&change.was), is: text(&change.is), material: change.material }
}

/// Text from outside as it may be shown: one line, bounded, nothing hidden in it, and no command of a CI system.
#[must_use]
pub fn shown(text: &str) -> String {
    let hidden = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
            || matches!(letter, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(letter, '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}')
            || matches!(letter, '\u{e0000}'..='\u{e0fff}')
    };
    let letters = text.chars().map(|letter| match letter {
        '\n' | '\t' => ' ',
        letter if hidden(letter) => '\u{fffd}',
        letter => letter,
    });
    let mut line: String = letters.take(SHOWN + 1).collect();
    if let Some((end, _)) = line.char_indices().nth(SHOWN) {
        line.truncate(end);
        line.push('…');
    }
    // GitHub's older commands may stand anywhere in a line, the newer ones at its beginning.
    let line = line.replace("##[", "#\u{fffd}[");
    if line.trim_start().starts_with("::") { line.replacen("::", ":\u{fffd}", 1) } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_one_bounded_line_without_anything_hidden() {
        assert_eq!(shown("a\nb\tc"), "a b c");
        assert_eq!(shown("\u{1b}[31m\u{202e}x\u{200b}\u{e0041}"), "\u{fffd}[31m\u{fffd}x\u{fffd}\u{fffd}");
        assert_eq!(shown("x ##[add-mask]y"), "x #\u{fffd}[add-mask]y");
        assert_eq!(shown("\n::error::x"), " :\u{fffd}error::x");
        assert_eq!(shown("[::1]:5000/team"), "[::1]:5000/team");
        assert_eq!(shown(&"ä".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
