//! Referrers: manifests that name another one as their subject, listed by the registry or, where it cannot, in a tag that clients keep.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use backon::{ConstantBuilder, Retryable};
use regex::Regex;
use reqwest::header::{ACCEPT, LINK};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Registry;
use super::auth::Access;
use super::http::Call;
use super::manifests::{INDEX, MANIFEST};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::limits;

/// What registries without the referrers API answer to it: the specification says 404, some say otherwise.
const NO_API: &[StatusCode] = &[StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_ACCEPTABLE];

impl Registry {
    /// Puts a manifest that names `subject` as its subject, and sees to it that it is found among the subject's referrers.
    ///
    /// Whether the registry lists it is looked up, not believed: where it has no referrers API, the list is kept in the tag
    /// `sha256-<hex>`, as the specification says. Registries cannot compare and swap a tag, so our entry is looked at several
    /// times and written again if another client overwrote it.
    ///
    /// # Errors
    /// [`Kind::Integrity`] if the registry has a referrers API and does not list it, [`Kind::Conflict`] if other clients keep overwriting
    /// our entry; otherwise what the registry or the way to it is wrong with.
    pub async fn attach(&self, subject: &Digest, manifest: &[u8]) -> Result<Digest> {
        let entry = entry(subject, manifest)?;
        let media_type = entry["mediaType"].as_str().unwrap_or(MANIFEST);
        let digest = self.put_manifest(manifest, media_type, None).await?;
        self.get_manifest(&digest).await?;
        let doing = format!("list {digest} among the referrers of {subject} in {}", self.repository);
        let seen = AtomicUsize::new(0);
        let look = || self.look_or_add(&doing, subject, &digest, &entry, &seen);
        look.retry(ConstantBuilder::new().with_delay(limits::BACKOFF_MIN).with_max_times(limits::REFERRER_TRIES).with_jitter())
            .when(|look: &Look| matches!(look, Look::Again { .. }))
            // A slow registry gives other writers more time between reading and writing: the pauses grow with it.
            .adjust(|look, pause| match look {
                Look::Again { took, .. } => pause.map(|pause| pause.max(took.saturating_mul(2))),
                Look::Failed(_) => pause,
            })
            .await
            .map_err(|look| match look {
                Look::Again { error, .. } | Look::Failed(error) => error,
            })?;
        Ok(digest)
    }

    /// The manifests that name `subject` as their subject, of any type; each may be anything, as anyone who may push can add one.
    ///
    /// # Errors
    /// [`Kind::Integrity`] if there are more than [`limits::SIGNATURES`]: none is left out silently; [`Kind::Schema`] if the list cannot
    /// be read; otherwise what the registry or the way to it is wrong with.
    pub async fn referrers(&self, subject: &Digest) -> Result<Vec<Digest>> {
        let doing = format!("list the referrers of {subject} in {}", self.repository);
        let entries = match self.listed(&doing, subject).await? {
            Some(entries) => entries,
            None => match self.tagged(&doing, subject).await? {
                Some(index) => digests(&doing, &index)?,
                None => Vec::new(),
            },
        };
        if entries.len() > limits::SIGNATURES {
            let message = format!("{doing}: there are {}, more than the {} that are looked at", entries.len(), limits::SIGNATURES);
            return Err(Error::new(Kind::Integrity, message).hint("name the one that is meant by its digest"));
        }
        Ok(entries)
    }

    /// Looks whether our entry is there, and adds it to the tag if it is not and the registry keeps no list itself.
    async fn look_or_add(&self, doing: &str, subject: &Digest, digest: &Digest, entry: &Value, seen: &AtomicUsize) -> Result<(), Look> {
        let began = Instant::now();
        let again = |kind, what: &str| Look::Again { took: began.elapsed(), error: Error::new(kind, format!("{doing}: {what}")) };
        if let Some(entries) = self.listed(doing, subject).await? {
            // Some registries list with a delay.
            return if entries.contains(digest) {
                Ok(())
            } else {
                Err(again(Kind::Integrity, "the registry stored it and does not list it"))
            };
        }
        let began = Instant::now();
        let mut index =
            self.tagged(doing, subject).await?.unwrap_or_else(|| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}));
        if digests(doing, &index)?.contains(digest) {
            return if seen.fetch_add(1, Ordering::Relaxed) + 1 >= limits::REFERRER_SIGHTINGS {
                Ok(())
            } else {
                Err(Look::Again {
                    took: began.elapsed(),
                    error: Error::new(Kind::Conflict, format!("{doing}: other clients keep overwriting it")),
                })
            };
        }
        seen.store(0, Ordering::Relaxed);
        if let Some(manifests) = index["manifests"].as_array_mut() {
            manifests.push(entry.clone());
        }
        let bytes = serde_json::to_vec(&index).map_err(|error| Error::internal("write an index").because(error))?;
        if bytes.len() as u64 > limits::MANIFEST_BYTES {
            return Err(Error::new(Kind::Integrity, format!("{doing}: the list is full, it would have {} bytes", bytes.len())).into());
        }
        self.put_manifest(&bytes, INDEX, Some(&tag(subject))).await?;
        Err(Look::Again { took: began.elapsed(), error: Error::new(Kind::Conflict, format!("{doing}: other clients keep overwriting it")) })
    }

    /// The registry's own list, all pages; none if it has no referrers API.
    async fn listed(&self, doing: &str, subject: &Digest) -> Result<Option<Vec<Digest>>> {
        let mut url = self.url("referrers", subject.as_str())?;
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        for page in 0..limits::REFERRER_PAGES {
            let call = Call::new(doing, Method::GET, url.clone(), Access::Pull).header(ACCEPT, INDEX);
            let answers = if page == 0 { NO_API } else { &[] };
            let reply = self.call(&Call { limit: limits::MANIFEST_BYTES, answers, ..call }).await?;
            if !reply.status.is_success() {
                return Ok(None);
            }
            let listed = digests(doing, &index(doing, &reply.body)?)?;
            all.extend(listed.into_iter().filter(|digest| seen.insert(digest.clone())));
            let Some(next) = reply.header(LINK).and_then(next) else { return Ok(Some(all)) };
            url = reply.url.join(next).ok().filter(|url| url.origin() == self.base.origin()).ok_or_else(|| {
                Error::new(Kind::Schema, format!("{doing}: the next page `{}` is not in this registry", next.escape_debug()))
            })?;
        }
        Err(Error::new(Kind::Integrity, format!("{doing}: the list has more than {} pages", limits::REFERRER_PAGES)))
    }

    /// The list that clients keep in a tag; none if there is no such tag.
    async fn tagged(&self, doing: &str, subject: &Digest) -> Result<Option<Value>> {
        let bytes = self.manifest(doing, &tag(subject), &[StatusCode::NOT_FOUND]).await?;
        bytes.map(|bytes| index(doing, &bytes)).transpose()
    }
}

/// Why a look at the list did not end the matter.
enum Look {
    /// Our entry is not there for certain yet; `took` is how long reading and writing the list took.
    Again { took: std::time::Duration, error: Error },
    /// It makes no sense to go on.
    Failed(Error),
}

impl From<Error> for Look {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The entry of a manifest in its subject's list: a descriptor with its artifact type and annotations, as the specification says.
fn entry(subject: &Digest, manifest: &[u8]) -> Result<Value> {
    let parsed: Value = serde_json::from_slice(manifest).map_err(|error| Error::internal("read our own manifest").because(error))?;
    if parsed["subject"]["digest"].as_str() != Some(subject.as_str()) {
        return Err(Error::internal(format!("the manifest to attach does not name {subject} as its subject")));
    }
    let media_type = parsed["mediaType"].as_str().unwrap_or(MANIFEST);
    let mut entry = json!({"mediaType": media_type, "digest": Digest::of(manifest), "size": manifest.len()});
    let artifact_type = parsed.get("artifactType").or_else(|| parsed["config"].get("mediaType"));
    for (key, value) in [("artifactType", artifact_type), ("annotations", parsed.get("annotations"))] {
        if let Some(value) = value {
            entry[key] = value.clone();
        }
    }
    Ok(entry)
}

fn index(doing: &str, bytes: &[u8]) -> Result<Value> {
    let wrong = || Error::new(Kind::Schema, format!("{doing}: what the registry gives is not an image index"));
    let mut index: Value = serde_json::from_slice(bytes).map_err(|error| wrong().because(error))?;
    if index["schemaVersion"] == 2 && index.get("manifests").is_some_and(Value::is_null) {
        // What registries written in Go make of an empty list.
        index["manifests"] = json!([]);
    }
    if index["manifests"].is_array() { Ok(index) } else { Err(wrong()) }
}

/// The digests in an index. Entries with another digest algorithm are passed over: they cannot be ours.
fn digests(doing: &str, index: &Value) -> Result<Vec<Digest>> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for entry in index["manifests"].as_array().into_iter().flatten() {
        let text = entry["digest"].as_str().ok_or_else(|| Error::new(Kind::Schema, format!("{doing}: an entry has no digest")))?;
        match text.parse::<Digest>() {
            Ok(digest) if !seen.insert(digest.clone()) => {}
            Ok(digest) => found.push(digest),
            Err(_) => tracing::debug!("{doing}: passed over {}", text.escape_debug()),
        }
    }
    Ok(found)
}

/// The address of the next page in a `Link` header.
fn next(link: &str) -> Option<&str> {
    static NEXT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"<([^>]*)>(?:\s*;[^,;<]*)*?\s*;\s*rel="?next"?\s*(?:[;,]|$)"#).expect("a valid pattern"));
    NEXT.captures(link).and_then(|found| found.get(1)).map(|found| found.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        assert_eq!(next(r#"</v2/a/referrers/x?n=2&last=y>; rel="next""#), Some("/v2/a/referrers/x?n=2&last=y"));
        assert_eq!(next("</first>; rel=first, </next>; title=a; rel=next"), Some("/next"));
        assert_eq!(next(r#"</prev>; rel="prev""#), None);
        assert_eq!(next(""), None);
    }

    #[test]
    fn an_entry_copies_type_and_annotations_and_wants_the_right_subject() {
        let subject = Digest::of(b"subject");
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b", "annotations": {"x": "y"},
            "config": {"mediaType": "application/vnd.oci.empty.v1+json"}, "subject": {"digest": subject}});
        let bytes = serde_json::to_vec(&manifest).expect("json");
        assert_eq!(
            entry(&subject, &bytes).expect("an entry"),
            json!({"mediaType": MANIFEST, "digest": Digest::of(&bytes), "size": bytes.len(), "artifactType": "a/b", "annotations": {"x": "y"}})
        );
        assert_eq!(entry(&Digest::of(b"other"), &bytes).expect_err("another subject").kind(), Kind::Internal);
    }

    #[test]
    fn an_empty_list_may_be_null() {
        assert_eq!(index("test", br#"{"schemaVersion": 2, "manifests": null}"#).expect("an index")["manifests"], json!([]));
    }

    #[test]
    fn what_is_no_index_is_not_taken_for_an_empty_list() {
        for wrong in ["", "{}", "[]", "<html>", r#"{"manifests": {}}"#, r#"{"schemaVersion": 2, "layers": []}"#] {
            assert_eq!(index("test", wrong.as_bytes()).expect_err(wrong).kind(), Kind::Schema);
        }
        let entry_without_digest = json!({"manifests": [{}]});
        assert_eq!(digests("test", &entry_without_digest).expect_err("no digest").kind(), Kind::Schema);
    }
}
