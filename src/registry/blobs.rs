//! Blobs: pushed in pieces, fetched with digest and size checked, and the question whether we may push at all.

use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::Registry;
use super::auth::Access;
use super::http::{Call, Failure, Reply, retry};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::limits;

const BYTES: &str = "application/octet-stream";

impl Registry {
    /// Pushes a blob, unless the registry has it.
    ///
    /// # Errors
    /// What the registry or the way to it is wrong with.
    pub async fn push_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let doing = format!("push blob {digest} to {}", self.repository);
        // An upload whose connection was cut cannot be taken up again everywhere: the next try starts a new one.
        retry(|| self.push_blob_once(&doing, digest, bytes)).await
    }

    async fn push_blob_once(&self, doing: &str, digest: &Digest, bytes: &[u8]) -> Result<(), Failure> {
        let look = Call::new(doing, Method::HEAD, self.url("blobs", digest.as_str())?, Access::Push);
        let look = Call { answers: &[StatusCode::NOT_FOUND], ..look };
        if self.call(&look).await?.status != StatusCode::NOT_FOUND {
            return Ok(());
        }
        let begun = self.begin_upload(doing).await?;
        let least = begun.header(HeaderName::from_static("oci-chunk-min-length")).and_then(|text| text.parse().ok());
        let mut to = self.upload_address(doing, &begun)?;
        let size = limits::REGISTRY_CHUNK.max(least.unwrap_or(0));
        let mut rest = bytes;
        let mut start = 0;
        while rest.len() > size {
            let (piece, later) = rest.split_at(size);
            let patch = Call { body: piece, ..Call::new(doing, Method::PATCH, to.clone(), Access::Push) };
            let patch = patch.header(CONTENT_RANGE, format!("{start}-{}", start + size - 1)).header(CONTENT_TYPE, BYTES);
            to = self.upload_address(doing, &self.call_once(&patch).await?)?;
            (rest, start) = (later, start + size);
        }
        to.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut put = Call { body: rest, ..Call::new(doing, Method::PUT, to, Access::Push) }.header(CONTENT_TYPE, BYTES);
        if start > 0 {
            put = put.header(CONTENT_RANGE, format!("{start}-{}", bytes.len() - 1));
        }
        self.call_once(&put).await?;
        Ok(())
    }

    /// Fetches a blob of a known digest and size (bytes).
    ///
    /// # Errors
    /// [`Kind::Integrity`] if what comes is something else, [`Kind::NotFound`] if there is none; otherwise what the registry or the way
    /// to it is wrong with.
    pub async fn get_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let doing = format!("fetch blob {digest} from {}", self.repository);
        if size > limits::BUNDLE_FILE_BYTES {
            let message = format!("{doing}: it has {size} bytes, more than the {} allowed", limits::BUNDLE_FILE_BYTES);
            return Err(Error::new(Kind::Integrity, message));
        }
        let call = Call::new(&doing, Method::GET, self.url("blobs", digest.as_str())?, Access::Pull).header(ACCEPT, "*/*");
        let reply = self.call(&Call { limit: size, ..call }).await?;
        if reply.body.len() as u64 != size {
            return Err(Error::new(Kind::Integrity, format!("{doing}: {} bytes came and there should be {size}", reply.body.len())));
        }
        check(&doing, digest, &reply.body)?;
        Ok(reply.body)
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
        Ok(url)
    }
}

/// Compares what came with the digest that was asked for.
pub(super) fn check(doing: &str, digest: &Digest, bytes: &[u8]) -> Result<()> {
    let got = Digest::of(bytes);
    if got == *digest { Ok(()) } else { Err(Error::new(Kind::Integrity, format!("{doing}: what came has the digest {got}"))) }
}
