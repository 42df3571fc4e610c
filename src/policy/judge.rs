//! Whose signatures count, and why the others do not.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::digest::Digest;
use crate::evidence::signer::{Certificate, SignedBy, Times};
use crate::policy::{Certificates, Entry, GITHUB_ISSUER, Pattern, Policy, Revocation, Revoked, Who};
use crate::reason::{Reason, Said};

/// A signature that was verified.
#[derive(Clone, Copy, Debug)]
pub struct Vote<'a> {
    /// Who made it.
    pub by: &'a SignedBy,
    /// When it was proven to be there.
    pub times: &'a Times,
    /// The name of the recipe that it says was run.
    pub recipe: &'a str,
}

/// What the policy says of one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// The entry that it counts for, or that it comes nearest to.
    pub entry: Option<String>,
    /// That entry's organisation.
    pub organisation: Option<String>,
    /// Why it does not count; nothing if it does.
    pub reasons: Vec<Said>,
}

impl Opinion {
    /// True if the signature counts.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What the policy says of all signatures.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// One for each signature, in their order.
    pub opinions: Vec<Opinion>,
    /// Organisations whose signatures count, and entries of each.
    pub organisations: BTreeMap<String, Vec<String>>,
    /// Why they do not suffice; nothing if they do.
    pub refusals: Vec<Said>,
}

impl Policy {
    /// Judges all signatures of a bundle with these digests: of its OCI manifest, of its content.
    #[must_use]
    pub fn judge(&self, votes: &[Vote], digests: &[Digest], now: Timestamp) -> Judgement {
        let opinions: Vec<Opinion> = votes.iter().map(|vote| self.opinion(vote, now)).collect();
        let mut organisations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for opinion in opinions.iter().filter(|opinion| opinion.counts()) {
            if let (Some(organisation), Some(entry)) = (&opinion.organisation, &opinion.entry) {
                organisations.entry(organisation.clone()).or_default().push(entry.clone());
            }
        }
        let mut refusals: Vec<Said> = self.revoked_digest(digests).into_iter().collect();
        if organisations.is_empty() {
            for said in opinions.iter().flat_map(|opinion| &opinion.reasons) {
                if !refusals.contains(said) {
                    refusals.push(said.clone());
                }
            }
        } else if organisations.len() < self.required {
            let names: Vec<&str> = organisations.keys().map(String::as_str).collect();
            let message = format!("{} of {} organisations signed: {}", names.len(), self.required, names.join(", "));
            refusals.push(Said::new(Reason::TooFewOrganisations, message));
        }
        Judgement { opinions, organisations, refusals }
    }

    fn opinion(&self, vote: &Vote, now: Timestamp) -> Opinion {
        let Vote { by, times, .. } = vote;
        let judged = self.entries.iter().map(|entry| (entry, entry.objections(vote, now)));
        let nearest = judged.min_by_key(|(_, objections)| (objections.stranger(), objections.all.len()));
        let mut opinion = match nearest {
            Some((entry, objections)) if !objections.stranger() => {
                Opinion { entry: Some(entry.name.clone()), organisation: Some(entry.organisation.clone()), reasons: objections.all }
            }
            _ => Opinion {
                entry: None,
                organisation: None,
                reasons: vec![Said::new(Reason::SignerUnknown, format!("{by} is nobody whom {} names", self.name))],
            },
        };
        let revoked = self.revoked.iter().filter(|revocation| revocation.hits(by) && !older(times, revocation.since));
        opinion.reasons.extend(revoked.map(|revocation| {
            Said::new(Reason::SignerRevoked, format!("{by} is revoked{}: {}", since(revocation.since), revocation.reason))
        }));
        opinion
    }

    /// What speaks against one signature.
    pub(super) fn opinion_of(&self, vote: &Vote, now: Timestamp) -> Vec<Said> {
        self.opinion(vote, now).reasons
    }

    /// Whether one of these digests is revoked.
    #[must_use]
    pub fn revoked_digest(&self, digests: &[Digest]) -> Option<Said> {
        let hit = |revocation: &&Revocation| matches!(&revocation.what, Revoked::Digest(digest) if digests.contains(digest));
        self.revoked.iter().find(hit).map(|revocation| {
            Said::new(Reason::BundleRevoked, format!("the bundle is revoked{}: {}", since(revocation.since), revocation.reason))
        })
    }
}

/// True if a signature is proven to be older than a time. One whose time nobody vouches for is not.
fn older(times: &Times, than: Option<Timestamp>) -> bool {
    than.is_some_and(|than| times.proven().is_some_and(|proven| proven < than))
}

fn since(time: Option<Timestamp>) -> String {
    time.map(|time| format!(" since {time}")).unwrap_or_default()
}

/// What an entry has against a signature.
struct Objections {
    all: Vec<Said>,
    /// Whether anything but the issuer is as the entry says.
    related: bool,
}

impl Objections {
    /// True if the signature has nothing to do with the entry.
    fn stranger(&self) -> bool {
        !self.related && !self.all.is_empty()
    }
}

impl Entry {
    fn objections(&self, vote: &Vote, now: Timestamp) -> Objections {
        let by = vote.by;
        let mut objections = match (&self.who, by) {
            (Who::Key(key), SignedBy::Key(id)) if key.id() == *id => Objections { all: Vec::new(), related: true },
            (Who::Certificates(wanted), SignedBy::Certificate(certificate)) => wanted.objections(&self.name, certificate),
            _ => Objections { all: vec![Said::new(Reason::SignerUnknown, format!("{by} is not `{}`", self.name))], related: false },
        };
        objections.all.extend(self.out_of_scope(vote.recipe));
        objections.all.extend(self.out_of_date(vote.times, now));
        objections
    }

    /// What is wrong if it may not speak for a recipe.
    #[must_use]
    pub fn out_of_scope(&self, recipe: &str) -> Option<Said> {
        let speaks = self.recipes.as_ref().is_none_or(|recipes| recipes.iter().any(|pattern| pattern.matches(recipe)));
        (!speaks).then(|| {
            let names: Vec<&str> = self.recipes.iter().flatten().map(Pattern::text).collect();
            Said::new(Reason::OtherRecipe, format!("`{}` may speak for {}, not for {recipe}", self.name, names.join(", ")))
        })
    }

    /// What is wrong if it has expired before a signature is proven to have been there.
    #[must_use]
    pub fn out_of_date(&self, times: &Times, now: Timestamp) -> Option<Said> {
        let expires = self.expires?;
        let at = times.proven().unwrap_or(now);
        (at > expires).then(|| {
            let seen = times.proven().map_or_else(|| "whose time nobody vouches for".to_owned(), |time| format!("of {time}"));
            Said::new(Reason::EntryExpired, format!("`{}` expired at {expires}, before the signature {seen}", self.name))
        })
    }
}

impl Certificates {
    fn objections(&self, entry: &str, certificate: &Certificate) -> Objections {
        let claims = &certificate.claims;
        let mut all = Vec::new();
        let mut object = |reason: Reason, seen: &str, wanted: String| {
            all.push(Said::new(reason, format!("`{entry}` wants {wanted}, the certificate says {seen}")));
        };
        let shown = |claim: &Option<String>| claim.clone().unwrap_or_else(|| "nothing".to_owned());
        let mut related = false;
        let mut alike = false;
        if let Some(identity) = &self.identity {
            related = identity.matches(&certificate.identity);
            alike = identity.resembles(&certificate.identity);
            if !related {
                let reason = if alike { Reason::SignerLooksAlike } else { Reason::OtherIdentity };
                object(reason, &certificate.identity, identity.to_string());
            }
        }
        if !self.issuer.matches(&certificate.issuer) {
            object(Reason::OtherIssuer, &certificate.issuer, format!("issuer {}", self.issuer));
        }
        if let Some(id) = &self.source_repository_id {
            let same = claims.source_repository_id.as_ref() == Some(id);
            related |= same && self.issuer.matches(&certificate.issuer);
            if !same {
                let seen = format!("{} ({})", shown(&claims.source_repository_id), shown(&claims.source_repository));
                object(Reason::OtherSource, &seen, format!("repository {id}"));
            }
        }
        if let Some(repository) = &self.source_repository {
            let seen = claims.source_repository.as_deref().unwrap_or_default();
            let same = repository.matches(seen);
            related |= same;
            alike |= repository.resembles(seen);
            if !same {
                let reason = if repository.resembles(seen) { Reason::SignerLooksAlike } else { Reason::OtherSource };
                object(reason, seen, repository.to_string());
            }
        }
        if self.own_source_only && !certificate.is_of_its_own_source() {
            object(
                Reason::OtherSource,
                &shown(&claims.source_repository),
                "the workflow's own repository, as no other is named".to_owned(),
            );
        }
        if let Some(refs) = &self.source_refs
            && !refs.iter().any(|pattern| claims.source_ref.as_deref().is_some_and(|seen| pattern.matches(seen)))
        {
            let wanted: Vec<String> = refs.iter().map(Pattern::to_string).collect();
            object(Reason::OtherRef, &shown(&claims.source_ref), wanted.join(" or "));
        }
        if let Some(triggers) = &self.triggers
            && !triggers.iter().any(|trigger| claims.trigger.as_ref() == Some(trigger))
        {
            object(Reason::OtherTrigger, &shown(&claims.trigger), format!("trigger {}", triggers.join(" or ")));
        }
        if let Some(runner) = &self.runner
            && claims.runner_environment.as_ref() != Some(runner)
        {
            object(Reason::OtherRunner, &shown(&claims.runner_environment), format!("runner {runner}"));
        }
        Objections { related: related || alike, all }
    }
}

impl Certificate {
    /// True if the repository that was built is the one that holds the workflow. A person has neither; a workflow of GitHub's whose
    /// certificate does not say what was built could have been called by anyone.
    fn is_of_its_own_source(&self) -> bool {
        match &self.claims.source_repository {
            Some(source) => self.identity.strip_prefix(source.as_str()).is_some_and(|rest| rest.starts_with('/')),
            None => self.issuer != GITHUB_ISSUER,
        }
    }
}

impl Revocation {
    fn hits(&self, by: &SignedBy) -> bool {
        match (&self.what, by) {
            (Revoked::Key(revoked), SignedBy::Key(id)) => revoked == id,
            (Revoked::Identity(identity, issuer), SignedBy::Certificate(certificate)) => {
                identity.matches(&certificate.identity) && issuer.matches(&certificate.issuer)
            }
            _ => false,
        }
    }
}
