//! What is wrong with a policy: what makes it unsafe, and what is likely not meant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::policy::form::{CoverageForm, Document, OtherHardware, SignerForm, SubjectForm};
use crate::policy::{GITHUB_ISSUER, GITLAB_ISSUER, Pattern, Policy, Who};

/// The ref of a pull request, which is not its repository's own.
const PULL_REQUEST: &str = "refs/pull/1/merge";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// True if the policy must not be used as it is.
    pub error: bool,
    /// What it is, and what to write instead.
    pub message: String,
}

/// Looks through a policy.
#[must_use]
pub fn lint(document: &Document, policy: &Policy, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut error = |message: String| findings.push(Finding { error: true, message });
    if document.signers.is_empty() {
        error("it names no signer, so nothing could ever be accepted".to_owned());
    }
    let organisations: std::collections::BTreeSet<&str> = policy.entries.iter().map(|entry| entry.organisation.as_str()).collect();
    if document.required == 0 {
        error("`required: 0` would accept what nobody signed; 1 is the least".to_owned());
    } else if document.required > organisations.len() && !document.signers.is_empty() {
        error(format!("it wants {} organisations and names {}, so nothing could ever be accepted", document.required, organisations.len()));
    }
    if document.coverage == CoverageForm::InScope && !document.hardware.contains(&OtherHardware::Simulated) {
        error("`coverage: in-scope` is for simulated hardware; add `simulated` to `hardware`, or leave it at `declared`".to_owned());
    }
    for listed in document.registries.iter().flatten() {
        if let Some(wrong) = registry_name(listed) {
            error(format!("registry `{}` {wrong}", listed.escape_debug()));
        }
    }
    for owner in document.owners.iter().filter(|owner| !is_owner(owner)) {
        error(format!("owner `{}` is nobody's name; write it as in @alice or @example/platform", owner.escape_debug()));
    }
    for signer in &document.signers {
        for message in signer_errors(signer) {
            error(format!("signer `{}`: {message}", signer.name.escape_debug()));
        }
    }
    for message in duplicates(document, policy) {
        error(message);
    }
    let expired = |expires: Option<Timestamp>| expires.filter(|expires| *expires < now);
    for entry in &policy.entries {
        if let Some(expires) = expired(entry.expires) {
            let message = format!("signer `{}` expired at {expires}: remove it, or move the date", entry.name.escape_debug());
            findings.push(Finding { error: false, message });
        }
        if policy.maximum_age.is_some() && matches!(entry.who, Who::Key(_)) {
            let message = format!(
                "signer `{}` is a key and `maximumAge` wants a trusted time: its signatures count only with a timestamp or a log entry",
                entry.name.escape_debug()
            );
            findings.push(Finding { error: false, message });
        }
    }
    findings
}

fn signer_errors(signer: &SignerForm) -> Vec<String> {
    let mut wrong = Vec::new();
    if signer.name.is_empty() {
        wrong.push("it has no name".to_owned());
    }
    if signer.recipes.is_empty() {
        wrong.push("it may speak for no recipe; name some in `recipes`, or write \"*\" for all".to_owned());
    }
    let mut everything = |what: &str, pattern: &Pattern| {
        if pattern.matches_everything() {
            wrong.push(format!("{what} `{}` matches everything", pattern.text()));
        }
    };
    match &signer.subject {
        SubjectForm::Github(github) => {
            github.workflow.iter().for_each(|pattern| everything("workflow", pattern));
            github.refs.iter().for_each(|pattern| everything("ref", pattern));
            let bound = [
                (
                    is_number(&github.repository_id),
                    "`repositoryId` is the number of the repository, as `gh api repos/OWNER/NAME --jq .id` shows it",
                ),
                (!github.refs.is_empty(), "`refs` names no branch or tag, so that a pull request's would do"),
                (!github.triggers.is_empty(), "`triggers` names nothing that may start the workflow"),
            ];
            wrong.extend(
                github
                    .refs
                    .iter()
                    .filter(|pattern| pattern.matches(PULL_REQUEST))
                    .map(|pattern| format!("ref `{}` covers pull requests, which anyone may open", pattern.text())),
            );
            wrong.extend(bound.iter().filter(|(holds, _)| !holds).map(|(_, message)| (*message).to_owned()));
            let foreign = ["pull_request", "pull_request_target"];
            wrong.extend(
                github
                    .triggers
                    .iter()
                    .filter(|trigger| foreign.contains(&trigger.as_str()))
                    .map(|trigger| format!("trigger `{trigger}` lets whoever opens a pull request start the workflow")),
            );
        }
        SubjectForm::Gitlab(gitlab) => {
            gitlab.config.iter().for_each(|pattern| everything("config", pattern));
            gitlab.refs.iter().for_each(|pattern| everything("ref", pattern));
            if !is_number(&gitlab.project_id) {
                wrong.push("`projectId` is the number of the project, as its page shows it".to_owned());
            }
            if gitlab.refs.is_empty() {
                wrong.push("`refs` names no branch or tag".to_owned());
            }
        }
        SubjectForm::Spiffe(spiffe) => {
            everything("id", &spiffe.id);
            if !spiffe.id.text().starts_with("spiffe://") {
                wrong.push("a SPIFFE id begins with spiffe://".to_owned());
            }
        }
        SubjectForm::Identity(any) => {
            everything("identity", &any.identity);
            if any.issuer == GITHUB_ISSUER || any.issuer == GITLAB_ISSUER {
                let form = if any.issuer == GITHUB_ISSUER { "github" } else { "gitlab" };
                wrong.push(format!(
                    "the subject of a pipeline's certificate is the same for every repository that calls it; use `{form}`, which binds the repository's number"
                ));
            }
        }
        SubjectForm::Email(email) => {
            if !email.address.contains('@') {
                wrong.push(format!("`{}` is no e-mail address", email.address.escape_debug()));
            }
        }
        SubjectForm::Kubernetes(_) | SubjectForm::Key(_) | SubjectForm::KeyFile(_) => {}
    }
    wrong
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Names that stand twice, and keys that could speak with two voices.
fn duplicates(document: &Document, policy: &Policy) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for signer in &document.signers {
        *names.entry(&signer.name).or_default() += 1;
    }
    wrong.extend(
        names
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(name, count)| format!("{count} signers have the name `{}`", name.escape_debug())),
    );
    for (index, one) in policy.entries.iter().enumerate() {
        for other in &policy.entries[index + 1..] {
            let names = format!("signers `{}` and `{}`", one.name.escape_debug(), other.name.escape_debug());
            let (subject, conditions) = same(&one.who, &other.who);
            if subject && one.organisation != other.organisation {
                wrong.push(format!("{names} are one subject and would be two voices; give both the same `organisation`"));
            } else if subject && conditions && one.recipes == other.recipes {
                wrong.push(format!("{names} are the same"));
            }
        }
    }
    wrong
}

/// Whether two are the same key, repository or person, and whether all else is the same too.
fn same(one: &Who, other: &Who) -> (bool, bool) {
    match (one, other) {
        (Who::Key(one), Who::Key(other)) => (one.id() == other.id(), true),
        (Who::Certificates(one), Who::Certificates(other)) => {
            let subject = match (&one.source_repository_id, &other.source_repository_id) {
                (None, None) => one.identity == other.identity,
                (one, other) => one == other,
            };
            let conditions = one.identity == other.identity && one.source_refs == other.source_refs && one.triggers == other.triggers;
            (subject && one.issuer == other.issuer, conditions)
        }
        _ => (false, false),
    }
}

/// True for `@name` and `@organisation/team`; GitLab's groups may be nested.
fn is_owner(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    name.strip_prefix('@').is_some_and(|name| name.split('/').all(part))
}

/// What is wrong with the name of a registry, or of a part of it.
fn registry_name(name: &str) -> Option<&'static str> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "./-_:[]".contains(letter);
    if name.contains("://") {
        Some("has a scheme; write it as in ghcr.io/example")
    } else if name.is_empty() || name.starts_with('/') || name.ends_with('/') || name.contains("//") {
        Some("is not a registry with or without a path; write it as in ghcr.io/example")
    } else if !name.chars().all(plain) {
        Some("has characters that no registry has; names are compared as they stand, without patterns")
    } else {
        None
    }
}
