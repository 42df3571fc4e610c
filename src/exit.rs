//! The exit codes, as one public table.

use std::process::ExitCode;

/// How a command ends; the number is the short form of `verdict`, `reason` and `scope` in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything in scope was seen to hold.
    Ok = 0,
    /// A verdict: something was seen to be wrong.
    Failed = 1,
    /// Flags or input files are invalid.
    Usage = 2,
    /// Could not tell: a check errored or an expected check did not run.
    Inconclusive = 3,
    /// Authentication or authorisation is missing.
    Denied = 4,
    /// A deadline or the budget ran out.
    Timeout = 5,
    /// API server, registry, Sigstore or GitHub cannot be reached.
    Unavailable = 6,
    /// A signature is required and absent.
    Unsigned = 10,
    /// The policy does not accept it: signer, scope, hardware, registry, revoked.
    Policy = 11,
    /// Too old, or the recipe has moved on.
    Stale = 12,
    /// Declared checks are missing from the results.
    Coverage = 13,
    /// A signature is present and wrong.
    Signature = 20,
    /// Digests, sizes or inventory disagree.
    Integrity = 21,
    /// The document is not what it claims to be.
    Schema = 22,
    /// SIGINT or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// Every exit code, in the order of the numbers.
    pub const ALL: &'static [Self] = &[
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Inconclusive,
        Self::Denied,
        Self::Timeout,
        Self::Unavailable,
        Self::Unsigned,
        Self::Policy,
        Self::Stale,
        Self::Coverage,
        Self::Signature,
        Self::Integrity,
        Self::Schema,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The name, as in reports and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Inconclusive => "inconclusive",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Unsigned => "unsigned",
            Self::Policy => "policy",
            Self::Stale => "stale",
            Self::Coverage => "coverage",
            Self::Signature => "signature",
            Self::Integrity => "integrity",
            Self::Schema => "schema",
            Self::Interrupted => "interrupted",
        }
    }

    /// What the code says, in one sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "everything in scope was seen to hold",
            Self::Failed => "a verdict: something was seen to be wrong (a check failed; evidence records failures)",
            Self::Usage => "flags or input files are invalid",
            Self::Inconclusive => "could not tell: a check errored or an expected check did not run",
            Self::Denied => "authentication or authorisation missing",
            Self::Timeout => "a deadline or the budget ran out",
            Self::Unavailable => "API server, registry, Sigstore or GitHub cannot be reached",
            Self::Unsigned => "a signature is required and absent",
            Self::Policy => "the policy does not accept it: signer, scope, hardware, registry, revoked",
            Self::Stale => "too old, or the recipe has moved on",
            Self::Coverage => "declared checks are missing from the results",
            Self::Signature => "a signature is present and wrong",
            Self::Integrity => "digests, sizes or inventory disagree",
            Self::Schema => "the document is not what it claims to be",
            Self::Interrupted => "interrupted by SIGINT or SIGTERM",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
