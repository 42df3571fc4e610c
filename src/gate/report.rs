//! The report of a gate: one decision, and a row for everything that the change does to evidence and recipes.
//!
//! Texts that come from the change are shown ones: one line, bounded, without anything hidden ([`crate::gate::shown`]).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::gate::approvals::ApprovalNote;
use crate::reason::Reason;
use crate::snapshot::Hardware;
use crate::verify::Change as Drifted;

/// What a gate came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateReport {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `GateReport`.
    pub kind: String,
    /// The decision.
    pub decision: Decision,
    /// The reason that decides the exit code; absent if it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The exit code.
    pub exit: u8,
    /// Decision and reason in one sentence: the first line of everything that is shown.
    pub summary: String,
    /// What to do next, each once; nothing if it is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// When it was decided; ages count to here.
    pub decided_at: Timestamp,
    /// What is merged into.
    pub base: Side,
    /// What is to be merged.
    pub head: Side,
    /// The commit that both have in common, from which the changes are counted; absent for directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_base: Option<String>,
    /// The policy that judged: the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyUsed>,
    /// How many of each.
    pub counts: Counts,
    /// What is wrong with the change as a whole, and not with one file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Advised>,
    /// Pointers that were added, edited or removed, by path.
    pub pointers: Vec<PointerRow>,
    /// Other files under the directory of evidence that were added, edited or removed, by path.
    pub files: Vec<FileRow>,
    /// Recipes that the change affects or adds evidence for, by name.
    pub recipes: Vec<RecipeRow>,
    /// What the change does to the policy; it judges from the next change on.
    pub policy_changes: Vec<PolicyChange>,
    /// Approvals that were given, and whether they count.
    pub approvals: Vec<ApprovalNote>,
    /// What this decision does not show, whatever it is.
    pub not_shown: Vec<String>,
}

/// What the gate decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Every change to evidence is accepted, and no recipe lacks evidence that the policy wants.
    Accept,
    /// Something is not accepted.
    Refuse,
    /// Nothing is refused, and recipes lack evidence that the policy wants.
    NeedsEvidence,
    /// It could not be told, e.g. as a registry was not reached; never an acceptance.
    Undecided,
}

impl Decision {
    /// The word, as in reports and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::NeedsEvidence => "needs-evidence",
            Self::Undecided => "undecided",
        }
    }
}

/// One of the two trees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Side {
    /// As it was named: a ref, a commit or a directory.
    pub name: String,
    /// The commit; absent for a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// The policy that judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyUsed {
    /// Its path in the base.
    pub path: String,
    /// Digest of the file.
    pub digest: Digest,
    /// Who may approve removals and edits.
    pub owners: Vec<String>,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// Changes to pointers and other files that were accepted.
    pub accepted: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Those of which it could not be told.
    pub undecided: usize,
    /// Recipes that lack evidence which the policy wants.
    pub needs_evidence: usize,
}

/// What becomes of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RowDecision {
    /// Accepted.
    Accept,
    /// Not accepted.
    Refuse,
    /// It could not be told.
    Undecided,
}

impl RowDecision {
    /// The word, as in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refuse => "refuse",
            Self::Undecided => "undecided",
        }
    }
}

/// What a change does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is new.
    Added,
    /// It was there and is another.
    Edited,
    /// It was there and is gone.
    Removed,
}

impl What {
    /// The word, as in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Edited => "edited",
            Self::Removed => "removed",
        }
    }
}

/// A reason with what was seen and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Advised {
    /// The reason.
    pub reason: Reason,
    /// What was seen, in one sentence.
    pub message: String,
    /// What a contributor can do: which command to run, which file to commit. Empty where there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
}

/// One pointer that was added, edited or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PointerRow {
    /// Its path in the repository.
    pub path: String,
    /// The line that names the bundle, for annotations; absent where it cannot be told, and for what is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What the change does to it.
    pub change: What,
    /// What becomes of it.
    pub decision: RowDecision,
    /// The exit code that it would have by itself; that of `evidence verify --policy` where it was verified.
    pub exit: u8,
    /// Why it is not accepted; the first decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Advised>,
    /// Who approved what would be refused otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    /// True if `facts` are anchored in signatures that the policy accepts; otherwise they are only claimed.
    pub verified: bool,
    /// What it says of itself, or what was verified.
    pub facts: Facts,
}

/// What is known of a piece of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// The recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Who signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// The policy's organisations whose signatures count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organisations: Vec<String>,
    /// The repositories whose pipelines signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_repositories: Vec<String>,
    /// Where the bundle is: `host/repository@sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<String>,
    /// What the hardware was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// What its verdict speaks for: `full`, `structural` or `constraints-only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// PASSED, WARNED or FAILED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The earliest time at which somebody else saw a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<Timestamp>,
    /// How long ago the run ended, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
    /// Which checks are covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Covered>,
    /// What has changed since in the recipe: the head's against the evidence's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drifted>,
}

/// Which of the checks that were selected have a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Covered {
    /// Tests that were selected.
    pub selected: usize,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Declared checks that were left out, with their reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_scope: Vec<String>,
}

/// Another file under the directory of evidence that was added, edited or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileRow {
    /// Its path in the repository.
    pub path: String,
    /// What the change does to it.
    pub change: What,
    /// What becomes of it.
    pub decision: RowDecision,
    /// Why it is not accepted; the first decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Advised>,
    /// Who approved what would be refused otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
}

/// A recipe that the change affects or adds evidence for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecipeRow {
    /// Its name.
    pub name: String,
    /// How its evidence stands once the change is merged.
    pub state: RecipeState,
    /// True if it keeps the change from being accepted.
    pub blocks: bool,
    /// Its digest before the change; absent if it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Digest>,
    /// Its digest after the change; absent if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Digest>,
    /// Files of the recipe data that the change touches and that it is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affected_by: Vec<String>,
    /// What the change does to it, input by input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Drifted>,
    /// Its evidence in the head, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceRow>,
    /// Why it needs evidence, or cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Advised>,
}

/// How the evidence of a recipe stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecipeState {
    /// There is evidence, for what the recipe asks now.
    Current,
    /// There is evidence, for what it asked earlier.
    Drifted,
    /// There is none.
    Missing,
    /// The recipe cannot be read or made.
    Invalid,
    /// The change removes the recipe.
    Removed,
}

impl RecipeState {
    /// The word, as in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Drifted => "drifted",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Removed => "removed",
        }
    }
}

/// One pointer of a recipe in the head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceRow {
    /// Its path in the repository.
    pub path: String,
    /// True if this change adds it.
    pub added: bool,
    /// Whether it is about what the recipe asks now.
    pub matches: Match,
}

/// Whether evidence is about what a recipe asks now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// It is about this very recipe.
    Same,
    /// The recipe has changed in what a cluster cannot notice.
    NotMaterial,
    /// The change makes it outdated.
    Drifted,
    /// It was outdated before the change.
    AlreadyDrifted,
    /// It was not accepted, or cannot be read.
    NotAccepted,
}

/// One thing that the change does to the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyChange {
    /// Where: `signers.lab-ci.subject.github.refs.0`, or the policy's path if it was added, removed or cannot be read.
    pub input: String,
    /// What it was; absent if it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it is; absent if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
}
