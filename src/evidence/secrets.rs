//! Secrets in a recipe. Recipes are published as they are, so one that holds a secret is refused; where it is, is said, and what it is, is not.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// What a secret looks like, wherever it stands.
static FORMS: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let forms = [
        ("a private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
        ("a JSON Web Token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}\b"),
        ("a Google service account", r#""type"\s*:\s*"service_account""#),
        ("an Azure storage key", r"(?i)\bAccountKey=[A-Za-z0-9+/]{40,}"),
        ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
        ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{16,}"),
        ("a Slack token", r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
        ("an NGC key", r"\bnvapi-[A-Za-z0-9_-]{16,}"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{20,}"),
        ("an API key", r"\bsk-[A-Za-z0-9_-]{20,}"),
        ("a registry's credentials", r#""auth"\s*:\s*"[A-Za-z0-9+/=]{8,}""#),
        ("a kubeconfig's credentials", r"(?i)\b(?:client-key-data|client-certificate-data)\s*:\s*\S{8,}"),
        ("an Authorization header", r"(?i)\b(?:authorization:\s*)?(?:bearer|basic)\s+[A-Za-z0-9+/_=.-]{16,}"),
        ("a password in a URL", r"\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@$({<]+@"),
        (
            "a password",
            r#"(?i)(?:^|[^A-Za-z])(?:password|passwd|passphrase|client[-_]?secret|api[-_]?key|access[-_]?key|secret[-_]?key|auth[-_]?token)["']?\s*[:=]\s*["']?[^\s"'$({<]{4,}"#,
        ),
    ];
    forms.into_iter().filter_map(|(what, pattern)| Some((what, Regex::new(pattern).ok()?))).collect()
});

/// Names of fields that hold a password, whatever it looks like.
static PASSWORDS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?i)(?:password|passwd|passphrase)$").ok());
/// Names of fields that hold a secret if the value is long and no word.
static KEYS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)(?:token|secret|api[-_]?key|access[-_]?key|private[-_]?key|auth)$").ok());

/// Refuses a recipe that holds what looks like a secret.
///
/// # Errors
/// A usage error with the places, never with the values.
pub fn refuse(recipe: &Recipe) -> Result<()> {
    let document = serde_json::to_value(recipe).map_err(|error| Error::internal("read the recipe again").because(error))?;
    let found = find(&document);
    if found.is_empty() {
        return Ok(());
    }
    let places: Vec<String> = found.iter().map(|(place, what)| format!("{} holds {what}", place.escape_debug())).collect();
    Err(Error::usage(format!("recipe {} cannot be part of evidence: {}", recipe.metadata.name, places.join("; ")))
        .hint("evidence publishes the recipe as it is: name a Secret in it, not its content, and revoke what has been in it"))
}

/// What looks like a secret in a document: where, and what sort.
fn find(document: &Value) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    walk("", "", document, &mut found);
    found
}

fn walk(place: &str, key: &str, value: &Value, found: &mut Vec<(String, &'static str)>) {
    match value {
        Value::String(text) => found.extend(sort_of(key, text).map(|what| (place.to_owned(), what))),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, one)| walk(&format!("{place}[{index}]"), key, one, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                found.extend(sort_of("", name).map(|what| (place.to_owned(), what)));
                walk(&below, name, value, found);
            }
        }
        _ => {}
    }
}

/// What sort of secret a text is that stands in a field of this name, if it is one.
fn sort_of(key: &str, text: &str) -> Option<&'static str> {
    if let Some((what, _)) = FORMS.iter().find(|(_, form)| form.is_match(text)) {
        return Some(what);
    }
    let named = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(key));
    // A reference to where the value is, as charts and shells write it, is none.
    let reference = text.is_empty() || text.contains("${") || text.contains("$(") || text.contains("{{") || text.starts_with('$');
    if reference || matches!(text, "true" | "false" | "null") {
        return None;
    }
    if named(&PASSWORDS) {
        return Some("a password");
    }
    let mixed = text.bytes().any(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte.is_ascii_alphabetic());
    (named(&KEYS) && text.len() >= 16 && mixed && !text.contains([' ', '.', ':'])).then_some("a secret")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_sort_of_secret_is_found_at_its_place() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc";
        let cases = [
            (json!("-----BEGIN RSA PRIVATE KEY-----\nMIIE"), "a private key"),
            (json!("-----BEGIN PRIVATE KEY-----"), "a private key"),
            (json!(jwt), "a JSON Web Token"),
            (json!("key AKIAIOSFODNN7EXAMPLE"), "an AWS access key"),
            (json!(format!("AIza{}", "a".repeat(35))), "a Google API key"),
            (json!("{\"type\": \"service_account\"}"), "a Google service account"),
            (json!(format!("ghp_{}", "a1".repeat(18))), "a GitHub token"),
            (json!(format!("glpat-{}", "a1".repeat(10))), "a GitLab token"),
            (json!(format!("nvapi-{}", "a1".repeat(10))), "an NGC key"),
            (json!(format!("hf_{}", "a1".repeat(17))), "a Hugging Face token"),
            (json!("{\"auths\":{\"r.example\":{\"auth\":\"dXNlcjpwYXNz\"}}}"), "a registry's credentials"),
            (json!("client-key-data: LS0tLS1CRUdJTg=="), "a kubeconfig's credentials"),
            (json!("Authorization: Bearer abcdefghijklmnopqrstuvwx"), "an Authorization header"),
            (json!("https://user:hunter2@git.example.com/x"), "a password in a URL"),
            (json!("--set=adminPassword=hunter2 password: hunter2"), "a password"),
        ];
        for (value, what) in cases {
            assert_eq!(find(&json!({"a": [{"b": value}]})), [("a[0].b".to_owned(), what)], "{value}");
        }
        assert_eq!(find(&json!({"adminPassword": "abcd"})), [("adminPassword".to_owned(), "a password")]);
        assert_eq!(find(&json!({"pullToken": "a1b2c3d4e5f6a7b8"})), [("pullToken".to_owned(), "a secret")]);
        assert_eq!(find(&json!({jwt: 1})).len(), 1, "a name can be one too");
    }

    #[test]
    fn references_names_and_switches_are_none() {
        let harmless = json!({
            "password": "", "adminPassword": "${PASSWORD}", "existingSecret": "ngc-secret", "imagePullSecrets": ["ngc-secret"], "tokenSecretRef": {"name": "a"},
            "secretName": "grafana-admin-credentials-1", "automountServiceAccountToken": "true", "url": "https://helm.ngc.nvidia.com/nvidia",
            "image": "registry.example.com:5000/a@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "sshKey": "$(KEY)",
            "command": ["sh", "-c", "exec sleep 100"], "auth": {"enabled": "true"}, "remediation": "ask for a token: see the manual",
        });
        assert_eq!(find(&harmless), []);
    }
}
