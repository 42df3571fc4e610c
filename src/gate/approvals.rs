//! Who approved the change: given by whoever asks the gate, held against the owners of the base's policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Approvals, as they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals {
    /// Each that was found; those by nobody of weight do no harm.
    pub given: Vec<Approval>,
    /// Why they could not be read, or not all of them. What needs an approval is then undecided instead of refused.
    pub unknown: Option<String>,
}

/// One approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who gave it: `@alice`.
    pub by: String,
    /// Whom it speaks for beside that: `@example/platform`, for teams of which the caller knows that they are a member.
    pub teams: Vec<String>,
    /// The commit that was approved; one that is not the head does not count. `None` is for approvals that have none.
    pub commit: Option<String>,
    /// Where it is from.
    pub source: ApprovalSource,
}

/// Where an approval is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalSource {
    /// A review, as the platform's API reports it.
    Review,
    /// A flag: whoever runs the gate says so.
    Claimed,
}

impl ApprovalSource {
    /// The word, as in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Claimed => "claimed",
        }
    }
}

/// An approval as the report shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalNote {
    /// Who gave it.
    pub by: String,
    /// The owners of the policy that it speaks for; nothing if it does not count.
    pub owners: Vec<String>,
    /// Where it is from.
    pub source: ApprovalSource,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}
