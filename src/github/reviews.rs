//! Who approved a pull request: the last word of each reviewer, with the commit that it was about.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Kind, Result};
use crate::gate::{Approval, ApprovalSource, Approvals};
use crate::github::{Api, Event, Subject};

#[derive(Deserialize)]
struct Review {
    user: Option<User>,
    state: String,
    commit_id: Option<String>,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

#[derive(Deserialize)]
struct Pull {
    head: Head,
}

#[derive(Deserialize)]
struct Head {
    sha: String,
}

#[derive(Deserialize)]
struct Membership {
    state: String,
}

/// The approvals of the event's pull request, with the teams among `owners` that each reviewer is in.
///
/// What cannot be read is said in [`Approvals::unknown`]: what needs an approval is then undecided.
pub async fn approvals(api: &Api, event: &Event, owners: &[String]) -> Approvals {
    let Some(number) = event.pull_request() else { return Approvals::default() };
    let doing = format!("read the reviews of pull request {number} of {}", event.repository);
    let path = format!("/repos/{}/pulls/{number}/reviews", event.repository);
    let reviews = match api.list(&doing, &path).await {
        Ok(reviews) => reviews,
        Err(error) => return Approvals { given: Vec::new(), unknown: Some(error.chain()) },
    };
    // The queue merges a commit of its own. Who approved the pull request's newest one approved that: a push takes it out of the queue.
    let queued = match &event.subject {
        Subject::MergeGroup { head, .. } => match api.get::<Pull>(&doing, &format!("/repos/{}/pulls/{number}", event.repository)).await {
            Ok(pull) => Some((pull.head.sha, head.clone())),
            Err(error) => return Approvals { given: Vec::new(), unknown: Some(error.chain()) },
        },
        _ => None,
    };
    let mut unknown = None;
    let mut given = Vec::new();
    for (login, commit) in last_words(reviews) {
        let commit = match &queued {
            Some((newest, merged)) if commit.as_ref() == Some(newest) => Some(merged.clone()),
            _ => commit,
        };
        let mut teams = Vec::new();
        for owner in owners {
            match is_member(api, owner, &login).await {
                Ok(true) => teams.push(owner.clone()),
                Ok(false) => {}
                Err(error) => unknown = Some(error.chain()),
            }
        }
        given.push(Approval { by: format!("@{login}"), teams, commit, source: ApprovalSource::Review });
    }
    Approvals { given, unknown }
}

/// Who approves, and which commit. Later reviews take the place of earlier ones; mere comments do not.
fn last_words(reviews: Vec<Review>) -> BTreeMap<String, Option<String>> {
    let mut approving = BTreeMap::new();
    for review in reviews {
        let Some(user) = review.user else { continue };
        match review.state.as_str() {
            "APPROVED" => {
                approving.insert(user.login, review.commit_id);
            }
            "CHANGES_REQUESTED" | "DISMISSED" => {
                approving.remove(&user.login);
            }
            _ => {}
        }
    }
    approving
}

/// Whether somebody is in a team, `@organisation/team`; nobody is in an owner that is no team.
async fn is_member(api: &Api, owner: &str, login: &str) -> Result<bool> {
    let Some((organisation, team)) = owner.strip_prefix('@').and_then(|name| name.split_once('/')) else { return Ok(false) };
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // Bots, `name[bot]`, are in no team.
    if !(plain(organisation) && plain(team) && plain(login)) {
        return Ok(false);
    }
    let doing = format!("ask whether @{login} is in {owner}, for which a token needs `members: read` of the organisation");
    match api.get::<Membership>(&doing, &format!("/orgs/{organisation}/teams/{team}/memberships/{login}")).await {
        Ok(membership) => Ok(membership.state == "active"),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_each_reviewer_counts_and_comments_are_none() {
        let review = |login: &str, state: &str, commit: &str| Review {
            user: Some(User { login: login.to_owned() }),
            state: state.to_owned(),
            commit_id: Some(commit.to_owned()),
        };
        let reviews = vec![
            review("ann", "APPROVED", "1"),
            review("ann", "COMMENTED", "2"),
            review("bob", "APPROVED", "1"),
            review("bob", "CHANGES_REQUESTED", "1"),
            review("eve", "APPROVED", "1"),
            review("eve", "DISMISSED", "1"),
            review("kim", "CHANGES_REQUESTED", "1"),
            review("kim", "APPROVED", "2"),
            Review { user: None, state: "APPROVED".to_owned(), commit_id: None },
        ];
        let approving: Vec<(String, Option<String>)> = last_words(reviews).into_iter().collect();
        assert_eq!(approving, [("ann".to_owned(), Some("1".to_owned())), ("kim".to_owned(), Some("2".to_owned()))]);
    }
}
