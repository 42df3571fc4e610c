//! What a policy says of a pointer, entry by entry, by what the pointer claims: nothing is fetched and nothing is verified.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evidence::Pointer;
use crate::evidence::pointer::SignatureRef;
use crate::evidence::signer::{Certificate, Claims, SignedBy, Times};
use crate::policy::{Certificates, Entry, Pattern, Policy, Vote, Who};
use crate::reason::{Reason, Said};
use crate::recipe::API_VERSION;
use crate::snapshot::Hardware;

/// What a policy says of a pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyExplanation {
    /// `seatrial.dev/v1alpha1`.
    pub api_version: String,
    /// `PolicyExplanation`.
    pub kind: String,
    /// The policy's file.
    pub policy: String,
    /// The name of the recipe that the pointer claims.
    pub recipe: String,
    /// True if nothing that the pointer claims speaks against it. Only verification can tell whether it is so.
    pub could_be_accepted: bool,
    /// What speaks against the pointer, whoever signed.
    pub reasons: Vec<Said>,
    /// How many organisations must have signed.
    pub required: usize,
    /// What each entry says of each signature that the pointer names.
    pub signatures: Vec<SignatureExplanation>,
}

/// What each entry says of a signature that a pointer names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureExplanation {
    /// Who made it, as the pointer claims; absent if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<SignedBy>,
    /// What each entry says.
    pub entries: Vec<EntryExplanation>,
}

/// What an entry says of a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryExplanation {
    /// The entry's name.
    pub entry: String,
    /// Its organisation.
    pub organisation: String,
    /// What it has against the signature; nothing if it could count.
    pub reasons: Vec<Said>,
    /// What it wants that a pointer does not tell; a certificate does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_wants: Vec<String>,
}

impl Policy {
    /// Says what it makes of a pointer.
    #[must_use]
    pub fn explain(&self, pointer: &Pointer, now: Timestamp) -> PolicyExplanation {
        let mut reasons = Vec::new();
        let repository = &pointer.bundle.repository;
        if !self.lists(repository) {
            reasons.push(Said::new(Reason::RegistryNotListed, format!("{repository} is not on the list")));
        }
        reasons.extend(self.revoked_digest(&[pointer.bundle.digest.clone(), pointer.bundle.content_digest.clone()]));
        if !self.hardware.contains(&pointer.hardware) {
            let reason = if pointer.hardware == Hardware::Simulated { Reason::HardwareSimulated } else { Reason::HardwareUnknown };
            reasons.push(Said::new(reason, format!("the hardware is {}", pointer.hardware.word())));
        }
        let signature = |signature: &SignatureRef| {
            let claimed = claimed(signature);
            let entries = self.entries.iter().map(|entry| self.explain_entry(entry, claimed.as_ref(), &pointer.recipe.name, now)).collect();
            SignatureExplanation { claimed, entries }
        };
        let signatures: Vec<SignatureExplanation> = pointer.signatures.iter().map(signature).collect();
        let fits = signatures.iter().flat_map(|signature| &signature.entries).filter(|entry| entry.reasons.is_empty());
        let organisations: std::collections::BTreeSet<&str> = fits.map(|entry| entry.organisation.as_str()).collect();
        if organisations.len() < self.required {
            let message = format!("by what the pointer claims, {} of {} organisations signed", organisations.len(), self.required);
            reasons.push(Said::new(Reason::TooFewOrganisations, message));
        }
        PolicyExplanation {
            api_version: API_VERSION.to_owned(),
            kind: "PolicyExplanation".to_owned(),
            policy: self.name.clone(),
            recipe: pointer.recipe.name.clone(),
            could_be_accepted: reasons.is_empty(),
            reasons,
            required: self.required,
            signatures,
        }
    }

    fn explain_entry(&self, entry: &Entry, claimed: Option<&SignedBy>, recipe: &str, now: Timestamp) -> EntryExplanation {
        let (told, also_wants) = entry.by_what_a_pointer_tells();
        let reasons = match claimed {
            Some(by) => {
                let alone = Self { entries: vec![told], ..self.clone() };
                alone.opinion_of(&Vote { by, times: &Times::default(), recipe }, now)
            }
            None => vec![Said::new(Reason::SignerUnknown, "the pointer does not say who signed")],
        };
        EntryExplanation { entry: entry.name.clone(), organisation: entry.organisation.clone(), reasons, also_wants }
    }
}

/// Who made a signature, as a pointer claims.
fn claimed(signature: &SignatureRef) -> Option<SignedBy> {
    match (&signature.key, &signature.identity, &signature.issuer) {
        (Some(key), _, _) => Some(SignedBy::Key(key.clone())),
        (None, Some(identity), Some(issuer)) => Some(SignedBy::Certificate(Box::new(Certificate {
            identity: identity.clone(),
            issuer: issuer.clone(),
            claims: Claims { source_repository: signature.source_repository.clone(), ..Claims::default() },
        }))),
        _ => None,
    }
}

impl Entry {
    /// The entry without what a pointer does not tell, and that in words.
    fn by_what_a_pointer_tells(&self) -> (Self, Vec<String>) {
        let Who::Certificates(wanted) = &self.who else { return (self.clone(), Vec::new()) };
        let texts = |patterns: &Vec<Pattern>| patterns.iter().map(Pattern::to_string).collect::<Vec<_>>().join(" or ");
        let also_wants = [
            wanted.source_repository_id.as_ref().map(|id| format!("repository {id}")),
            wanted.source_refs.as_ref().map(texts),
            wanted.triggers.as_ref().map(|triggers| format!("trigger {}", triggers.join(" or "))),
            wanted.runner.as_ref().map(|runner| format!("runner {runner}")),
        ];
        let told = Certificates { source_repository_id: None, source_refs: None, triggers: None, runner: None, ..(**wanted).clone() };
        (Self { who: Who::Certificates(Box::new(told)), ..self.clone() }, also_wants.into_iter().flatten().collect())
    }
}
