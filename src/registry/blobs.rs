//! Blobs: pushed in pieces, fetched with digest and size checked, and the question whether we may push at all.

use std::fs::File;
use std::os::unix::fs::FileExt;

use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION};
use reqwest::{Method, StatusCode, Url};
use tokio_util::bytes::Bytes;

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
        self.push(digest, &Source::Bytes(bytes)).await
    }

    /// Pushes the first `size` bytes of a file as a blob, piece by piece, unless the registry has it.
    ///
    /// # Errors
    /// [`Kind::Io`] if the file cannot be read or has become shorter; otherwise what the registry or the way to it is wrong with.
    pub async fn push_file(&self, digest: &Digest, file: &File, size: u64) -> Result<()> {
        self.push(digest, &Source::File(file, size)).await
    }

    async fn push(&self, digest: &Digest, source: &Source<'_>) -> Result<()> {
        let doing = format!("push blob {digest} to {}", self.repository);
        // An upload whose connection was cut cannot be taken up again everywhere: the next try starts a new one.
        retry(|| self.push_once(&doing, digest, source)).await
    }

    async fn push_once(&self, doing: &str, digest: &Digest, source: &Source<'_>) -> Result<(), Failure> {
        let look = Call::new(doing, Method::HEAD, self.url("blobs", digest.as_str())?, Access::Push);
        let look = Call { answers: &[StatusCode::NOT_FOUND], ..look };
        if self.call(&look).await?.status != StatusCode::NOT_FOUND {
            return Ok(());
        }
        let begun = self.begin_upload(doing).await?;
        let least = begun.header(HeaderName::from_static("oci-chunk-min-length")).and_then(|text| text.parse().ok());
        let mut to = self.upload_address(doing, &begun)?;
        let piece = (limits::REGISTRY_CHUNK as u64).max(least.unwrap_or(0)).min(limits::BUNDLE_FILE_BYTES);
        let size = source.size();
        let mut start = 0;
        while size - start > piece {
            let body = source.piece(doing, start, piece)?;
            let patch = Call { body, ..Call::new(doing, Method::PATCH, to.clone(), Access::Push) };
            let patch = patch.header(CONTENT_RANGE, format!("{start}-{}", start + piece - 1)).header(CONTENT_TYPE, BYTES);
            to = self.upload_address(doing, &self.call_once(&patch).await?)?;
            start += piece;
        }
        to.query_pairs_mut().append_pair("digest", digest.as_str());
        let body = source.piece(doing, start, size - start)?;
        let mut put = Call { body, ..Call::new(doing, Method::PUT, to, Access::Push) }.header(CONTENT_TYPE, BYTES);
        if start > 0 {
            put = put.header(CONTENT_RANGE, format!("{start}-{}", size - 1));
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
        let reply = self.fetch(digest, size, None).await?;
        Ok(reply.body)
    }

    /// Fetches a blob of a known digest and size (bytes) into an empty file, piece by piece.
    ///
    /// # Errors
    /// As [`Registry::get_blob`]; [`Kind::Io`] if it cannot be written. What the file holds then is of no use.
    pub async fn get_blob_into(&self, digest: &Digest, size: u64, file: &File) -> Result<()> {
        self.fetch(digest, size, Some(file)).await.map(drop)
    }

    async fn fetch(&self, digest: &Digest, size: u64, into: Option<&File>) -> Result<Reply> {
        let doing = format!("fetch blob {digest} from {}", self.repository);
        if size > limits::BUNDLE_FILE_BYTES {
            let message = format!("{doing}: it has {size} bytes, more than the {} allowed", limits::BUNDLE_FILE_BYTES);
            return Err(Error::new(Kind::Integrity, message));
        }
        let call = Call::new(&doing, Method::GET, self.url("blobs", digest.as_str())?, Access::Pull).header(ACCEPT, "*/*");
        let reply = self.call(&Call { limit: size, into, ..call }).await?;
        let (came, seen) = reply.filed.clone().unwrap_or_else(|| (reply.body.len() as u64, Digest::of(&reply.body)));
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
enum Source<'a> {
    Bytes(&'a [u8]),
    /// The beginning of a file, so many bytes.
    File(&'a File, u64),
}

impl Source<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// A piece of it, which must be there.
    fn piece(&self, doing: &str, start: u64, size: u64) -> Result<Bytes> {
        let outside = |_| Error::internal(format!("{doing}: a piece does not fit into memory"));
        let (from, size) = (usize::try_from(start).map_err(outside)?, usize::try_from(size).map_err(outside)?);
        match self {
            Self::Bytes(bytes) => Ok(Bytes::copy_from_slice(bytes.get(from..from + size).unwrap_or_default())),
            Self::File(file, _) => {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, start).map_err(|error| {
                    Error::new(Kind::Io, format!("{doing}: read the file")).because(error).hint("leave the bundle alone while it is pushed")
                })?;
                Ok(piece.into())
            }
        }
    }
}
