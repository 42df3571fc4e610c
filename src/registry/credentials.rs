//! Credentials for a registry: from the files of podman and docker, and from docker's credential helpers.

use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde_json::{Value, json};

use super::Repository;
use crate::error::{Context, Error, Kind, Result};
use crate::limits;

/// Where credentials are looked for.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    /// Files, of which the first that knows the registry is used. With whether the file must be there.
    files: Vec<(PathBuf, bool)>,
}

impl Sources {
    /// One folder with docker's `config.json`, and nothing else.
    pub(super) fn folder(folder: &Path) -> Self {
        Self { files: vec![(folder.join("config.json"), false)] }
    }

    /// What the environment names: `REGISTRY_AUTH_FILE` alone if it is set; else `DOCKER_CONFIG` if it is set, then podman's
    /// `auth.json`, then docker's `config.json`.
    pub(super) fn of(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            return Self { files: vec![(file, true)] };
        }
        let config = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
        let files = [
            variable("DOCKER_CONFIG").map(|folder| folder.join("config.json")),
            variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            config.map(|folder| folder.join("containers/auth.json")),
            variable("HOME").map(|home| home.join(".docker/config.json")),
        ];
        Self { files: files.into_iter().flatten().map(|file| (file, false)).collect() }
    }

    /// Looks a repository up; none is no error. May run a helper program.
    pub(super) fn find(&self, repository: &Repository) -> Result<Option<DockerCredential>> {
        for (path, needed) in &self.files {
            if !needed && !path.exists() {
                continue;
            }
            let reading = || format!("read registry credentials from {}", path.display());
            let bytes = crate::files::read(path, limits::DOCUMENT_BYTES).with_context(reading)?;
            let document: Value = serde_json::from_slice(&bytes).map_err(|error| Error::usage(reading()).because(error))?;
            if let Some(found) = in_document(&document, repository).map_err(|error| error.context(reading()))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Looks a repository up in one file: first an entry for it or for the longest path above it, then the registry's.
fn in_document(document: &Value, repository: &Repository) -> Result<Option<DockerCredential>> {
    let name = repository.to_string();
    let above = name.match_indices('/').map(|(at, _)| &name[..at]).skip(1);
    let mut paths: Vec<&str> = above.chain([name.as_str()]).collect();
    paths.reverse();
    for path in paths {
        if let Some(entry) = document["auths"].get(path) {
            return get(&json!({"auths": {path: entry}}), path);
        }
    }
    // The library takes an entry of any path below the registry for the registry's: those of others are not shown to it.
    let mut own = document.clone();
    if let Some(auths) = own["auths"].as_object_mut() {
        auths.retain(|key, _| key.starts_with("http://") || key.starts_with("https://") || !key.contains('/'));
    }
    for key in repository.credential_keys() {
        if let Some(found) = get(&own, key)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn get(document: &Value, key: &str) -> Result<Option<DockerCredential>> {
    let bytes = serde_json::to_vec(document).map_err(|error| Error::internal("write credentials").because(error))?;
    match docker_credential::get_credential_from_reader(bytes.as_slice(), key) {
        Ok(credential) => Ok(Some(credential)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // The protocol's way to say that a helper knows nothing of this registry.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => Ok(None),
        // The error's own text can hold what a helper printed: it is not repeated.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(Error::new(Kind::Denied, format!("{helper} gives no credentials for {key}")).hint(format!("docker login {key}")))
        }
        Err(error) => Err(Error::usage(format!("read the entry for {key}")).because(error)),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn entry(user: &str) -> Value {
        json!({"auth": STANDARD.encode(format!("{user}:secret"))})
    }

    fn user(found: Option<DockerCredential>) -> String {
        match found {
            Some(DockerCredential::UsernamePassword(user, _)) => user,
            Some(DockerCredential::IdentityToken(token)) => format!("token {token}"),
            None => "nobody".to_owned(),
        }
    }

    #[test]
    fn the_longest_path_wins_and_an_entry_of_another_path_is_not_used() {
        let document = json!({"auths": {
            "ghcr.io": entry("all"), "ghcr.io/team": entry("team"), "ghcr.io/team/evidence": entry("own"), "quay.io/others": entry("others"),
            "https://index.docker.io/v1/": entry("hub"), "acr.example.com": {"auth": STANDARD.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": "refresh"},
        }});
        for (repository, expected) in [
            ("ghcr.io/team/evidence", "own"),
            ("ghcr.io/team/evidence/more", "own"),
            ("ghcr.io/team/other", "team"),
            ("ghcr.io/teams", "all"),
            ("quay.io/others/a", "others"),
            ("quay.io/ours/a", "nobody"),
            ("docker.io/library/a", "hub"),
            ("acr.example.com/a", "token refresh"),
            ("example.com/a", "nobody"),
        ] {
            let found = in_document(&document, &repository.parse().expect("a name")).expect("can be read");
            assert_eq!(user(found), expected, "{repository}");
        }
    }

    #[test]
    fn files_are_looked_at_in_order_and_one_that_is_named_must_be_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, name: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("is made");
            std::fs::write(path, json!({"auths": {"ghcr.io": entry(name)}}).to_string()).expect("is written");
        };
        let set = std::cell::RefCell::new(vec!["HOME"]);
        let find = || {
            let variable = |name: &str| set.borrow().contains(&name).then(|| folder.path().join(name));
            Sources::of(variable).find(&"ghcr.io/a".parse().expect("a name")).map(user)
        };
        assert_eq!(find().expect("none is no error"), "nobody");
        for (variable, path) in [
            ("HOME", "HOME/.docker/config.json"),
            ("HOME", "HOME/.config/containers/auth.json"),
            ("XDG_CONFIG_HOME", "XDG_CONFIG_HOME/containers/auth.json"),
            ("XDG_RUNTIME_DIR", "XDG_RUNTIME_DIR/containers/auth.json"),
            ("DOCKER_CONFIG", "DOCKER_CONFIG/config.json"),
            ("REGISTRY_AUTH_FILE", "REGISTRY_AUTH_FILE"),
        ] {
            set.borrow_mut().push(variable);
            if variable == "REGISTRY_AUTH_FILE" {
                assert_eq!(find().expect_err("it is named and not there").kind(), Kind::Usage);
            }
            write(path, path);
            assert_eq!(find().expect("reads"), path);
        }
    }
}
