//! Offers files as one commit through GitHub's API, which signs it as the workflow's: to a branch, or as a pull request.

use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::github::Api;
use crate::limits;

/// What is offered, and where.
#[derive(Clone, Debug)]
pub struct Offer {
    /// `owner/name`.
    pub repository: String,
    /// The branch that takes the commit.
    pub branch: String,
    /// The branch that a new one starts from, and that a pull request is merged into.
    pub base: String,
    /// The files: path in the repository, and text.
    pub files: Vec<(String, String)>,
    /// The commit's first line, and the pull request's title.
    pub title: String,
    /// Whether to open a pull request.
    pub pull_request: bool,
    /// Where people see the repository: `https://github.com`.
    pub server: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The commit.
    pub commit: String,
    /// The pull request, or the branch.
    pub url: String,
    /// Why there is no pull request although one was wanted.
    pub without: Option<String>,
}

#[derive(Deserialize)]
struct Ref {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: String,
}

#[derive(Deserialize)]
struct Commit {
    tree: Object,
}

#[derive(Deserialize)]
struct Pull {
    html_url: String,
}

impl Offer {
    /// Commits the files, and opens the pull request if one is wanted and none is open.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if somebody else was faster; [`Kind::Denied`] if the token may not; otherwise as GitHub answers.
    pub async fn make(&self, api: &Api) -> Result<Offered> {
        if self.files.is_empty() || self.files.len() > limits::GITHUB_OFFERED_FILES {
            let message = format!("{} files cannot be one commit; from 1 to {} can", self.files.len(), limits::GITHUB_OFFERED_FILES);
            return Err(Error::usage(message));
        }
        for branch in [&self.branch, &self.base] {
            check_branch(branch)?;
        }
        let root = format!("/repos/{}", self.repository);
        let doing = format!("commit to {} of {}", self.branch, self.repository);
        let at = |branch: &str| format!("{root}/git/ref/heads%2F{}", branch.replace('/', "%2F"));
        let (parent, exists) = match api.get::<Ref>(&doing, &at(&self.branch)).await {
            Ok(there) => (there.object.sha, true),
            Err(error) if error.kind() == Kind::NotFound && self.branch != self.base => {
                (api.get::<Ref>(&doing, &at(&self.base)).await?.object.sha, false)
            }
            Err(error) => return Err(error),
        };
        let base: Commit = api.get(&doing, &format!("{root}/git/commits/{parent}")).await?;
        let entries: Vec<_> =
            self.files.iter().map(|(path, text)| json!({"path": path, "mode": "100644", "type": "blob", "content": text})).collect();
        let tree: Object = api.make(&doing, &format!("{root}/git/trees"), &json!({"base_tree": base.tree.sha, "tree": entries})).await?;
        // No author of our own: only then GitHub signs it.
        let body = json!({"message": self.title, "tree": tree.sha, "parents": [parent]});
        let commit: Object = api.make(&doing, &format!("{root}/git/commits"), &body).await?;
        if exists {
            let path = format!("{root}/git/refs/heads%2F{}", self.branch.replace('/', "%2F"));
            let moved: Result<Ref> = api.patch(&doing, &path, &json!({"sha": commit.sha, "force": false})).await;
            moved.map_err(|error| error.hint("if somebody pushed to the branch meanwhile, run it again"))?;
        } else {
            let body = json!({"ref": format!("refs/heads/{}", self.branch), "sha": commit.sha});
            let _: Ref = api.create(&doing, &format!("{root}/git/refs"), &body).await?;
        }
        let branch_url = format!("{}/{}/tree/{}", self.server, self.repository, self.branch);
        if !self.pull_request {
            return Ok(Offered { commit: commit.sha, url: branch_url, without: None });
        }
        match self.pull(api, &root).await {
            Ok(url) => Ok(Offered { commit: commit.sha, url, without: None }),
            // The commit is there: people can open it by hand.
            Err(error) if error.kind() == Kind::Denied => {
                let why = format!("{}; the setting \"Allow GitHub Actions to create and approve pull requests\" may be off", error.chain());
                let (server, repository) = (&self.server, &self.repository);
                let url = format!("{server}/{repository}/compare/{}...{}?expand=1", self.base, self.branch);
                Ok(Offered { commit: commit.sha, url, without: Some(why) })
            }
            Err(error) => Err(error),
        }
    }

    async fn pull(&self, api: &Api, root: &str) -> Result<String> {
        let doing = format!("open a pull request of {} into {} of {}", self.branch, self.base, self.repository);
        let owner = self.repository.split('/').next().unwrap_or_default();
        let query = format!("{root}/pulls?state=open&head={owner}:{}&base={}", self.branch, self.base);
        let open: Vec<Pull> = api.list(&doing, &query).await?;
        if let Some(pull) = open.into_iter().next() {
            return Ok(pull.html_url);
        }
        let paths: Vec<String> = self.files.iter().map(|(path, _)| format!("- `{path}`")).collect();
        let text = format!("Evidence to be judged by this repository's policy:\n\n{}\n", paths.join("\n"));
        let body = json!({"title": self.title, "head": self.branch, "base": self.base, "body": text});
        let pull: Pull = api.create(&doing, &format!("{root}/pulls"), &body).await?;
        Ok(pull.html_url)
    }
}

/// A branch whose name means the same everywhere.
fn check_branch(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte);
    let wrong = name.is_empty() || !name.bytes().all(plain) || name.starts_with(['/', '-', '.']) || name.ends_with(['/', '.']);
    if wrong || name.contains("..") || name.contains("//") {
        return Err(Error::usage(format!("`{}` is no name of a branch that is used here", crate::ui::printable(name)))
            .hint("letters, digits and -_./+ make one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_have_plain_names() {
        for name in ["main", "evidence/20261122-1a2b3c", "release-1.2", "a+b"] {
            check_branch(name).expect(name);
        }
        for name in ["", "-f", "a..b", "/a", "a/", "a b", "a%2Fb", "a?b", "a\nb", "ä", ".a"] {
            check_branch(name).expect_err(name);
        }
    }
}
