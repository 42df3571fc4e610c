//! The list of signers that NVIDIA AICR counts, schema 1.0: by pattern of the identity, or by digest of issuer and identity.

use std::collections::BTreeSet;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::evidence::aicr::pointer::{is_version_one, source_slug};
use crate::yaml;

/// `allowlist.yaml` of AICR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowlist {
    /// `1.0` or `1.0.x`.
    pub schema_version: String,
    /// Pipelines of AICR's own.
    #[serde(default)]
    pub first_party: Vec<Pattern>,
    /// Others who were admitted.
    #[serde(default)]
    pub community: Vec<Source>,
    /// Partners.
    #[serde(default)]
    pub partner: Vec<Source>,
}

/// A signer by a pattern of its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pattern {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The OIDC issuer, literally.
    pub issuer: String,
    /// `^…@…$`, literal up to the `@`.
    pub identity_pattern: String,
}

/// A signer by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The OIDC issuer, literally.
    pub issuer: String,
    /// [`source_slug`] of issuer and identity.
    pub source: String,
}

/// What AICR takes a signer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A pipeline of AICR's own.
    FirstParty,
    /// Someone who was admitted.
    Community,
    /// A partner.
    Partner,
}

impl Allowlist {
    /// Reads a list.
    ///
    /// # Errors
    /// [`Kind::Schema`] if AICR would refuse it too.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let wrong = |what: String| Error::new(Kind::Schema, format!("{name} is not an allowlist of AICR: {what}"));
        let list: Self = yaml::from_str(text, name).map_err(|error| wrong(error.chain()))?;
        list.check().map_err(wrong)?;
        Ok(list)
    }

    /// What a signer is taken for; none if it is not listed.
    #[must_use]
    pub fn classify(&self, issuer: &str, identity: &str) -> Option<Class> {
        let slug = source_slug(issuer, identity);
        let listed = |sources: &[Source]| sources.iter().any(|one| one.source == slug && one.issuer == issuer);
        let matches = |one: &Pattern| one.issuer == issuer && Regex::new(&one.identity_pattern).is_ok_and(|regex| regex.is_match(identity));
        match () {
            () if listed(&self.partner) => Some(Class::Partner),
            () if listed(&self.community) => Some(Class::Community),
            () if self.first_party.iter().any(matches) => Some(Class::FirstParty),
            () => None,
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !is_version_one(&self.schema_version) {
            return Err(format!("schemaVersion `{}` is not 1.0", self.schema_version.escape_debug()));
        }
        let sources = || self.community.iter().chain(&self.partner);
        let mut seen = BTreeSet::new();
        for one in sources() {
            let plain = one.source.len() == 32 && one.source.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            if !plain || one.issuer.is_empty() || !seen.insert(&one.source) {
                return Err(format!("source `{}` is not 32 hexadecimal digits, or is there twice", one.source.escape_debug()));
            }
        }
        let mut heads = BTreeSet::new();
        for one in &self.first_party {
            let shown = one.identity_pattern.escape_debug();
            let head = literal_head(&one.identity_pattern).ok_or_else(|| format!("`{shown}` is not `^<literal>@…$`"))?;
            Regex::new(&one.identity_pattern).map_err(|_| format!("`{shown}` is no regular expression"))?;
            if one.issuer.is_empty() || !heads.insert((one.issuer.clone(), head)) {
                return Err(format!("`{shown}` has no issuer, or another pattern begins like it"));
            }
        }
        let labels = self.first_party.iter().map(|one| &one.label).chain(sources().map(|one| &one.label));
        let mut told = BTreeSet::new();
        match labels.flatten().find(|label| !told.insert(*label)) {
            Some(twice) => Err(format!("two entries are called `{}`", twice.escape_debug())),
            None => Ok(()),
        }
    }
}

/// The part of an anchored pattern before its `@`, if that is literal.
fn literal_head(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let (head, _) = inner.split_once('@')?;
    let mut literal = String::new();
    let mut letters = head.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => literal.push(letters.next().filter(|escaped| !escaped.is_ascii_alphanumeric())?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            other => literal.push(other),
        }
    }
    Some(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://token.actions.githubusercontent.com";

    fn list() -> String {
        let slug = source_slug("https://github.com/login/oauth", "someone@example.com");
        format!(
            "schemaVersion: 1.0.0\nfirstParty:\n- {{label: uat, issuer: {ISSUER}, identityPattern: '^https://github\\.com/NVIDIA/aicr/\\.github/workflows/uat-aws\\.yaml@refs/heads/.+$'}}\ncommunity:\n- {{label: someone, issuer: https://github.com/login/oauth, source: {slug}}}\npartner: []\n"
        )
    }

    #[test]
    fn signers_are_told_apart_as_aicr_does() {
        let list = Allowlist::parse(&list(), "allowlist.yaml").expect("reads");
        let uat = "https://github.com/NVIDIA/aicr/.github/workflows/uat-aws.yaml@refs/heads/main";
        assert_eq!(list.classify(ISSUER, uat), Some(Class::FirstParty));
        assert_eq!(list.classify("https://github.com/login/oauth", "someone@example.com"), Some(Class::Community));
        for (issuer, identity) in
            [(ISSUER, "someone@example.com"), ("https://github.com/login/oauth", uat), (ISSUER, &uat.replace("uat-aws.", "uat-awsx"))]
        {
            assert_eq!(list.classify(issuer, identity), None, "{issuer} {identity}");
        }
    }

    #[test]
    fn a_list_that_aicr_would_refuse_is_refused() {
        let good = list();
        for (from, to) in [
            ("1.0.0", "1.1.0"),
            ("identityPattern", "identity"),
            (r"github\.com/NVIDIA", "github.com/NVIDIA"),
            (".+$'", ".+'"),
            ("label: someone", "label: uat"),
            ("source: ", "source: X"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{from}");
            assert_eq!(Allowlist::parse(&text, "a.yaml").expect_err(to).kind(), Kind::Schema, "{to}");
        }
    }
}
