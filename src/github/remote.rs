//! Which repository on GitHub a working copy belongs to, by its git remote `origin`.

use std::path::Path;

use crate::error::{Error, Result};
use crate::git;

/// A repository on GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `https://github.com`, or that of GitHub Enterprise.
    pub server: String,
    /// Whose it is.
    pub owner: String,
    /// Its name.
    pub name: String,
}

impl Remote {
    /// Reads `https://HOST/OWNER/NAME[.git]`, `ssh://git@HOST/OWNER/NAME.git` and `git@HOST:OWNER/NAME.git`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let rest = match url.split_once("://") {
            Some(("https" | "ssh" | "http" | "git", rest)) => rest.split_once('/')?,
            Some(_) => return None,
            None => url.split_once(':')?,
        };
        let (host, path) = rest;
        // User, password and port are nobody's business.
        let host = host.rsplit('@').next()?.split(':').next()?;
        let (owner, name) = path.trim_matches('/').split_once('/')?;
        let name = name.strip_suffix(".git").unwrap_or(name);
        let all = [host, owner, name];
        let plain = all.iter().all(|part| check_name(part).is_ok() && !part.contains('/'));
        plain.then(|| Self { server: format!("https://{host}"), owner: owner.to_owned(), name: name.to_owned() })
    }
}

/// Names that mean the same in YAML, in paths and in addresses.
///
/// # Errors
/// A usage error for all others.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let odd = name.starts_with(['-', '.', '/']) || name.ends_with(['/', '.']) || name.contains("..") || name.contains("//");
    if name.is_empty() || odd || !name.bytes().all(plain) {
        return Err(Error::usage(format!("`{}` is no plain name", crate::ui::printable(name))).hint("letters, digits and -_./ make one"));
    }
    Ok(())
}

/// The repository that the remote `origin` of a working copy names.
///
/// # Errors
/// A usage error if there is no repository, no such remote, or it is not at GitHub.
pub fn origin(folder: &Path) -> Result<Remote> {
    let shown = folder.display();
    let way_out = "name it: --repository OWNER/NAME";
    let url = git::origin(folder).map_err(|error| error.hint(way_out))?;
    let url = url.ok_or_else(|| Error::usage(format!("the git repository {shown} has no remote `origin`")).hint(way_out))?;
    Remote::parse(&url)
        .ok_or_else(|| Error::usage(format!("the remote `origin` of {shown} does not name OWNER/NAME on a server")).hint(way_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_an_address_name_the_same_repository() {
        for url in [
            "https://github.com/example-org/evidence",
            "https://github.com/example-org/evidence.git",
            "https://user:secret@github.com/example-org/evidence/",
            "git@github.com:example-org/evidence.git",
            "ssh://git@github.com:22/example-org/evidence.git",
        ] {
            let remote = Remote::parse(url).unwrap_or_else(|| panic!("{url}"));
            assert_eq!(
                (remote.server.as_str(), remote.owner.as_str(), remote.name.as_str()),
                ("https://github.com", "example-org", "evidence"),
                "{url}"
            );
        }
        for url in [
            "/srv/git/x.git",
            "file:///srv/x/y",
            "https://github.com/only",
            "https://github.com/a/b/c",
            "git@h:a/b\"x",
            "https://h/../b",
            "x",
        ] {
            assert_eq!(Remote::parse(url), None, "{url}");
        }
    }
}
