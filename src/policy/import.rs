//! A policy out of an allowlist of NVIDIA AICR, as far as one says the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::error::Result;
use crate::evidence::aicr::{AicrPointer, Allowlist, source_slug};
use crate::policy::{GITHUB_ISSUER, GITLAB_ISSUER};
use crate::recipe::API_VERSION;
use crate::yaml;

/// A policy that says of a list what can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The policy, as YAML; none if nobody on the list could be named.
    pub policy: Option<String>,
    /// Whom it leaves out, and why.
    pub left_out: Vec<String>,
}

/// Makes a policy out of a list. The list names most signers by a hash, and pointers tell who is meant; each may speak for the recipes that
/// its pointers are about, and for no other.
///
/// # Errors
/// Never in practice; the document always has a YAML form.
pub fn from_aicr(list: &Allowlist, pointers: &[AicrPointer]) -> Result<Imported> {
    let mut known: BTreeMap<String, (String, String, BTreeSet<&str>)> = BTreeMap::new();
    for pointer in pointers {
        if let Some(signer) = pointer.attestation().signer {
            let slug = source_slug(&signer.issuer, &signer.identity);
            known.entry(slug).or_insert_with(|| (signer.issuer, signer.identity, BTreeSet::new())).2.insert(&pointer.recipe);
        }
    }
    let (mut signers, mut left_out) = (Vec::new(), Vec::new());
    for (index, one) in list.community.iter().chain(&list.partner).enumerate() {
        let name = one.label.clone().unwrap_or_else(|| format!("source-{index}"));
        match known.get(&one.source) {
            Some((issuer, identity, recipes)) if *issuer == one.issuer => match subject(issuer, identity) {
                Some(subject) => signers.push(json!({"name": name, "recipes": recipes, "subject": subject})),
                None => left_out.push(format!("{name} ({identity}): {FORGE}")),
            },
            _ => left_out.push(format!("{name}: no pointer says who source {} is", one.source)),
        }
    }
    for one in &list.first_party {
        let name = one.label.as_deref().unwrap_or("first party");
        left_out.push(format!("{name} ({}): {FORGE}", one.identity_pattern));
    }
    let document = json!({"apiVersion": API_VERSION, "kind": "EvidencePolicy", "signers": signers});
    let policy = if signers.is_empty() { None } else { Some(yaml::to_string(&document)?) };
    Ok(Imported { policy, left_out })
}

/// Why a pipeline is left out.
const FORGE: &str = "a pipeline's name alone binds no repository: write a `github` or `gitlab` signer with its number, refs and triggers";

/// The signer as a policy names it; none for pipelines.
fn subject(issuer: &str, identity: &str) -> Option<Value> {
    if issuer == GITHUB_ISSUER || issuer == GITLAB_ISSUER {
        return None;
    }
    let address = identity.contains('@') && !identity.contains("://");
    Some(if address {
        json!({"email": {"address": identity, "issuer": issuer}})
    } else {
        json!({"identity": {"identity": identity, "issuer": issuer}})
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::aicr;
    use crate::policy::form;

    const LOGIN: &str = "https://github.com/login/oauth";

    fn list() -> Allowlist {
        let slug = |issuer: &str, identity: &str| source_slug(issuer, identity);
        let text = format!(
            "schemaVersion: 1.0.0\nfirstParty:\n- {{label: uat, issuer: {GITHUB_ISSUER}, identityPattern: '^https://github\\.com/NVIDIA/aicr/x@.+$'}}\ncommunity:\n- {{label: alice, issuer: {LOGIN}, source: {}}}\n- {{label: ci, issuer: {GITHUB_ISSUER}, source: {}}}\n- {{label: nobody, issuer: {LOGIN}, source: {}}}\n",
            slug(LOGIN, "alice@example.com"),
            slug(GITHUB_ISSUER, "https://github.com/a/b/x@refs/heads/main"),
            slug(LOGIN, "who@example.com")
        );
        Allowlist::parse(&text, "allowlist.yaml").expect("reads")
    }

    fn pointer(recipe: &str, issuer: &str, identity: &str) -> AicrPointer {
        let digest = crate::digest::Digest::of(b"x");
        let text = format!(
            "schemaVersion: 1.0.0\nrecipe: {recipe}\nattestations:\n- bundle: {{oci: 'ghcr.io/a/b:1', digest: '{digest}', predicateType: 'https://aicr.run/recipe-evidence/v3'}}\n  signer: {{identity: '{identity}', issuer: '{issuer}'}}\n"
        );
        aicr::pointer(&text, "p.yaml").expect("reads").expect("is one")
    }

    #[test]
    fn people_become_signers_of_the_recipes_that_they_attested_and_pipelines_are_left_to_be_written() {
        let pointers = [
            pointer("h100-eks", LOGIN, "alice@example.com"),
            pointer("h200-k0s", LOGIN, "alice@example.com"),
            pointer("h100-eks", GITHUB_ISSUER, "https://github.com/a/b/x@refs/heads/main"),
        ];
        let imported = from_aicr(&list(), &pointers).expect("is made");
        let text = imported.policy.expect("someone could be named");
        let document = form::parse(&text, "policy.yaml").expect("is a policy");
        assert_eq!(document.signers.len(), 1, "{text}");
        assert_eq!(document.signers[0].recipes, ["h100-eks", "h200-k0s"]);
        assert!(text.contains("address: alice@example.com"), "{text}");
        let told = imported.left_out.join("\n");
        for part in
            ["ci (https://github.com/a/b/x@refs/heads/main): a pipeline's name alone", "nobody: no pointer says who source", "uat (^https"]
        {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert_eq!(from_aicr(&list(), &[]).expect("is made").policy, None);
    }
}
