//! What a workflow runs for: the event's file and the variables of the runner.

use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::{files, limits};

/// The event of a workflow run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `owner/name` of the repository in which the workflow runs.
    pub repository: String,
    /// What it is about.
    pub subject: Subject,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pull request (`pull_request` or `pull_request_target`).
    PullRequest(PullRequest),
    /// What the merge queue is about to merge.
    MergeGroup {
        /// The pull request that is merged last, by the name of the queue's branch.
        number: Option<u64>,
        /// What it is merged into.
        base: String,
        /// The commit of the merge.
        head: String,
    },
    /// Something else: a push, a schedule, by hand.
    Other {
        /// The branch or tag: `refs/heads/main`.
        reference: String,
    },
}

/// A pull request, as its event has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// The commit that it is merged into.
    pub base: String,
    /// Its newest commit.
    pub head: String,
}

#[derive(Deserialize)]
struct File {
    pull_request: Option<FilePull>,
    merge_group: Option<FileGroup>,
}

#[derive(Deserialize)]
struct FilePull {
    number: u64,
    base: FileCommit,
    head: FileCommit,
}

#[derive(Deserialize)]
struct FileCommit {
    sha: String,
}

#[derive(Deserialize)]
struct FileGroup {
    base_sha: String,
    head_sha: String,
    head_ref: String,
}

impl Event {
    /// The event of this process' environment.
    ///
    /// # Errors
    /// A usage error outside of GitHub's workflows; [`Kind::Schema`] if the event cannot be read.
    pub fn of_environment() -> Result<Self> {
        let repository = variable("GITHUB_REPOSITORY")?;
        let path = PathBuf::from(variable("GITHUB_EVENT_PATH")?);
        let text = files::read_text(&path, limits::GITHUB_EVENT_BYTES)?;
        Self::parse(&repository, &variable("GITHUB_EVENT_NAME")?, &std::env::var("GITHUB_REF").unwrap_or_default(), &text)
    }

    fn parse(repository: &str, name: &str, reference: &str, text: &str) -> Result<Self> {
        let broken = |why: &str| Error::new(Kind::Schema, format!("read the event {name} of {repository}: {why}"));
        if !is_repository(repository) {
            return Err(broken("GITHUB_REPOSITORY is not owner/name"));
        }
        let file: File = serde_json::from_str(text).map_err(|error| broken("GITHUB_EVENT_PATH is no event").because(error))?;
        let subject = match (name, file.pull_request, file.merge_group) {
            ("pull_request" | "pull_request_target" | "pull_request_review", Some(pull), _) => {
                Subject::PullRequest(PullRequest { number: pull.number, base: pull.base.sha, head: pull.head.sha })
            }
            ("merge_group", _, Some(group)) => {
                Subject::MergeGroup { number: number_of(&group.head_ref), base: group.base_sha, head: group.head_sha }
            }
            ("pull_request" | "pull_request_target" | "pull_request_review" | "merge_group", ..) => {
                return Err(broken("it does not say what is merged into what"));
            }
            _ => Subject::Other { reference: reference.to_owned() },
        };
        let event = Self { repository: repository.to_owned(), subject };
        match event.change() {
            Some((base, head)) if !(is_commit(base) && is_commit(head)) => Err(broken("base or head is no commit")),
            _ => Ok(event),
        }
    }

    /// Base and head, where something is merged.
    #[must_use]
    pub fn change(&self) -> Option<(&str, &str)> {
        match &self.subject {
            Subject::PullRequest(PullRequest { base, head, .. }) | Subject::MergeGroup { base, head, .. } => Some((base, head)),
            Subject::Other { .. } => None,
        }
    }

    /// The number of the pull request, where there is one.
    #[must_use]
    pub fn pull_request(&self) -> Option<u64> {
        match &self.subject {
            Subject::PullRequest(pull) => Some(pull.number),
            Subject::MergeGroup { number, .. } => *number,
            Subject::Other { .. } => None,
        }
    }
}

/// A variable of the runner.
fn variable(name: &str) -> Result<String> {
    let given = std::env::var(name).ok().filter(|value| !value.is_empty());
    given.ok_or_else(|| Error::usage(format!("{name} is not set: this is no workflow run of GitHub")).hint("name base and head by flags"))
}

fn is_repository(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name) && name != "." && name != "..")
}

fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `7` of `refs/heads/gh-readonly-queue/main/pr-7-0123…`.
fn number_of(queue: &str) -> Option<u64> {
    let (_, rest) = queue.rsplit_once("/pr-")?;
    rest.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "0123456789012345678901234567890123456789";
    const HEAD: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";

    fn parse(name: &str, text: &str) -> Result<Event> {
        Event::parse("o/r", name, "refs/heads/x", text)
    }

    #[test]
    fn pull_requests_and_the_merge_queue_say_what_is_merged_into_what() {
        let pull = format!(r#"{{"pull_request": {{"number": 7, "base": {{"sha": "{BASE}"}}, "head": {{"sha": "{HEAD}"}}}}}}"#);
        for name in ["pull_request", "pull_request_target", "pull_request_review"] {
            let event = parse(name, &pull).expect("is read");
            assert_eq!((event.change(), event.pull_request()), (Some((BASE, HEAD)), Some(7)), "{name}");
        }
        let queue = "refs/heads/gh-readonly-queue/release/pr-1/pr-12-0123456789";
        let group = format!(r#"{{"merge_group": {{"base_sha": "{BASE}", "head_sha": "{HEAD}", "head_ref": "{queue}"}}}}"#);
        let event = parse("merge_group", &group).expect("is read");
        assert_eq!((event.change(), event.pull_request()), (Some((BASE, HEAD)), Some(12)));
        let event = parse("push", r#"{"ref": "refs/heads/x"}"#).expect("is read");
        assert_eq!((event.change(), event.pull_request()), (None, None));
    }

    #[test]
    fn an_event_without_its_commits_is_an_error_and_not_nothing_to_judge() {
        let injected = r#"{"pull_request": {"number": 7, "base": {"sha": "--upload-pack=x"}, "head": {"sha": "x"}}}"#;
        for (name, text) in [("pull_request_target", "{}"), ("merge_group", "{}"), ("pull_request", "no JSON"), ("pull_request", injected)]
        {
            assert_eq!(parse(name, text).expect_err("is refused").kind(), Kind::Schema, "{name} {text}");
        }
        for name in ["", "o", "o/", "/r", "o/..", "o/r/x", "o/r?x"] {
            assert!(Event::parse(name, "push", "", "{}").is_err(), "{name}");
        }
    }
}
