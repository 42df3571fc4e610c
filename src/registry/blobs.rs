//! Blobs: pushed as they are read, fetched with digest and size checked, and the question whether we may push at all.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION};
use reqwest::{Method, StatusCode, Url};
use tokio_util::bytes::Bytes;

use super::Registry;
use super::auth::Access;
use super::body::{Body, Source};
use super::http::{Call, Reply, Sink};
use super::meter::Count;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::retry::{Failure, retry};

const BYTES: &str = "application/octet-stream";

impl Registry {
    /// Pushes a blob, unless the registry has it.
    ///
    /// # Errors
    /// What the registry or the way to it is wrong with.
    pub async fn push_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.push(digest, bytes.len() as u64, || Source::Bytes(Bytes::copy_from_slice(bytes))).await
    }

    /// Pushes the first `size` bytes of a file as a blob, reading it as it goes, unless the registry has it.
    ///
    /// # Errors
    /// [`Kind::Io`] if the file cannot be read or has become shorter; otherwise what the registry or the way to it is wrong with.
    pub async fn push_file(&self, digest: &Digest, file: &Arc<File>, size: u64) -> Result<()> {
        self.push(digest, size, || Source::File(file.clone())).await
    }

    async fn push(&self, digest: &Digest, size: u64, source: impl Fn() -> Source) -> Result<()> {
        let doing = format!("push blob {digest} to {}", self.repository);
        let blob = Blob { doing: &doing, digest, size, count: self.meter.count() };
        let look = Call::new(&doing, Method::HEAD, self.url("blobs", digest.as_str())?, Access::Push);
        let look = Call { answers: &[StatusCode::NOT_FOUND], ..look };
        if self.call(&look).await?.status != StatusCode::NOT_FOUND {
            blob.count.add(size);
            return Ok(());
        }
        let source = source();
        let whole = AtomicBool::new(true);
        // An upload whose connection was cut cannot be taken up again everywhere: the next try starts a new one.
        retry(limits::REGISTRY_TRIES, || {
            blob.count.restart();
            // Something on the way may want no more than a few MB in one request: if all at once does not get through, pieces may.
            let piece = if whole.swap(false, Ordering::Relaxed) { size } else { limits::REGISTRY_CHUNK as u64 };
            self.push_once(&blob, &source, piece)
        })
        .await
    }

    async fn push_once(&self, blob: &Blob<'_>, source: &Source, piece: u64) -> Result<(), Failure> {
        let &Blob { doing, size, ref count, .. } = blob;
        let begun = self.begin_upload(doing).await?;
        let least = begun.header(HeaderName::from_static("oci-chunk-min-length")).and_then(|text| text.parse().ok());
        let mut to = self.upload_address(doing, &begun)?;
        let piece = piece.max(least.unwrap_or(0)).min(limits::BUNDLE_FILE_BYTES);
        let mut start = 0;
        while size - start > piece {
            let body = Body::part(source, start, piece, count);
            let patch = Call { body, count: Some(count.clone()), ..Call::new(doing, Method::PATCH, to.clone(), Access::Push) };
            let patch = patch.header(CONTENT_RANGE, format!("{start}-{}", start + piece - 1)).header(CONTENT_TYPE, BYTES);
            to = self.upload_address(doing, &self.call_once(&patch).await?)?;
            start += piece;
        }
        to.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let body = Body::part(source, start, size - start, count);
        let put = Call { body, count: Some(count.clone()), ..Call::new(doing, Method::PUT, to, Access::Push) };
        let mut put = put.header(CONTENT_TYPE, BYTES);
        if start > 0 {
            put = put.header(CONTENT_RANGE, format!("{start}-{}", size - 1));
        } else if size > limits::REGISTRY_CHUNK as u64 {
            put = Call { answers: &[StatusCode::PAYLOAD_TOO_LARGE], ..put };
        }
        match self.call_once(&put).await?.status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Failure::transient(Error::new(Kind::Unavailable, format!("{doing}: it is too large for one request"))))
            }
            _ => Ok(()),
        }
    }

    /// Fetches a blob of a known digest and size (bytes).
    ///
    /// # Errors
    /// [`Kind::Integrity`] if what comes is something else, [`Kind::NotFound`] if there is none; otherwise what the registry or the way
    /// to it is wrong with.
    pub async fn get_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let reply = self.fetch(digest, size, Sink::Memory).await?;
        Ok(reply.body)
    }

    /// Fetches a blob of a known digest and size (bytes) into an empty file, piece by piece.
    ///
    /// # Errors
    /// As [`Registry::get_blob`]; [`Kind::Io`] if it cannot be written. What the file holds then is of no use.
    pub async fn get_blob_into(&self, digest: &Digest, size: u64, file: &File) -> Result<()> {
        self.fetch(digest, size, Sink::File(file)).await.map(drop)
    }

    /// Fetches a blob of a known digest and size (bytes) and keeps nothing of it: it is there, and is what its digest says.
    ///
    /// # Errors
    /// As [`Registry::get_blob`].
    pub async fn check_blob(&self, digest: &Digest, size: u64) -> Result<()> {
        self.fetch(digest, size, Sink::Nowhere).await.map(drop)
    }

    async fn fetch(&self, digest: &Digest, size: u64, into: Sink<'_>) -> Result<Reply> {
        let doing = format!("fetch blob {digest} from {}", self.repository);
        if size > limits::BUNDLE_FILE_BYTES {
            let message = format!("{doing}: it has {size} bytes, more than the {} allowed", limits::BUNDLE_FILE_BYTES);
            return Err(Error::new(Kind::Integrity, message));
        }
        let call = Call::new(&doing, Method::GET, self.url("blobs", digest.as_str())?, Access::Pull).header(ACCEPT, "*/*");
        let reply = self.call(&Call { limit: size, into, count: Some(self.meter.count()), ..call }).await?;
        let (came, seen) = reply.passed.clone().unwrap_or_else(|| (reply.body.len() as u64, Digest::of(&reply.body)));
        if came != size {
            return Err(Error::new(Kind::Integrity, format!("{doing}: {came} bytes came and there should be {size}")));
        }
        agree(&doing, digest, &seen)?;
        Ok(reply)
    }

    /// Asks whether we may push here, by starting an upload and giving it up again.
    ///
    /// # Errors
    /// [`Kind::Denied`] if we may not; otherwise what the registry or the way to it is wrong with.
    pub async fn check_push(&self) -> Result<()> {
        let doing = format!("start an upload to {}", self.repository);
        let begun = self.begin_upload(&doing).await?;
        let url = self.upload_address(&doing, &begun)?;
        // Registries drop uploads that are not finished; one that does not let us give it up is no reason to complain.
        if let Err(failure) = self.call_once(&Call::new(&doing, Method::DELETE, url, Access::Push)).await {
            tracing::debug!("give up an upload: {}", failure.error.chain());
        }
        Ok(())
    }

    /// Starts an upload. Registries drop one that is never finished, so this may be tried again.
    async fn begin_upload(&self, doing: &str) -> Result<Reply> {
        self.call(&Call::new(doing, Method::POST, self.url("blobs", "uploads/")?, Access::Push)).await
    }

    /// Where an upload goes on.
    fn upload_address(&self, doing: &str, reply: &Reply) -> Result<Url> {
        let registry = &self.repository.registry;
        let wrong = |what: &str| Error::new(Kind::Unavailable, format!("{doing}: {registry} {what}"));
        let location = reply.header(LOCATION).ok_or_else(|| wrong("does not say where the upload goes on"))?;
        let url = reply.url.join(location).map_err(|_| wrong("names no valid address for the upload"))?;
        if url.scheme() != self.base.scheme() && url.scheme() != "https" {
            return Err(wrong("wants the upload in the clear, over plain HTTP"));
        }
        if let Some(refused) = self.guard.refuses(&url) {
            return Err(wrong(&refused));
        }
        Ok(url)
    }
}

/// Compares what came with the digest that was asked for.
pub(super) fn check(doing: &str, digest: &Digest, bytes: &[u8]) -> Result<()> {
    agree(doing, digest, &Digest::of(bytes))
}

fn agree(doing: &str, digest: &Digest, got: &Digest) -> Result<()> {
    if got == digest { Ok(()) } else { Err(Error::new(Kind::Integrity, format!("{doing}: what came has the digest {got}"))) }
}

/// What is pushed.
struct Blob<'a> {
    doing: &'a str,
    digest: &'a Digest,
    size: u64,
    count: Count,
}
