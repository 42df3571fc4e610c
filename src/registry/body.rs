//! What a request carries: bytes in memory or in a file, all of them or a part, sent piece by piece.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use futures::stream;
use tokio_util::bytes::{Bytes, BytesMut};

use super::meter::Count;
use crate::limits;

/// Where bytes are.
#[derive(Clone)]
pub(super) enum Source {
    /// In memory.
    Bytes(Bytes),
    /// In a file, wherever others are in it.
    File(Arc<File>),
}

/// A body; a copy of it is sent when a request is tried again.
#[derive(Clone)]
pub(super) struct Body {
    source: Source,
    start: u64,
    size: u64,
    count: Option<Count>,
}

impl Body {
    /// Bytes of which nobody counts how many have gone; empty for none.
    pub(super) fn of(bytes: Bytes) -> Self {
        Self { start: 0, size: bytes.len() as u64, source: Source::Bytes(bytes), count: None }
    }

    /// A part of a blob.
    pub(super) fn part(source: &Source, start: u64, size: u64, count: &Count) -> Self {
        Self { source: source.clone(), start, size, count: Some(count.clone()) }
    }

    /// How many bytes it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The form in which it is sent.
    pub(super) fn sent(&self) -> reqwest::Body {
        match &self.source {
            // A handle, not a copy: trying again costs nothing.
            Source::Bytes(bytes) if self.count.is_none() => bytes.clone().into(),
            _ => reqwest::Body::wrap_stream(self.clone().pieces()),
        }
    }

    fn pieces(self) -> impl stream::TryStream<Ok = Bytes, Error = Unreadable> + Send + 'static {
        stream::try_unfold((0, Lent::default()), move |(gone, mut lent): (u64, Lent)| {
            let next = (gone < self.size).then(|| self.piece(gone, &mut lent)).transpose();
            std::future::ready(next.map(|piece| {
                let piece = piece?;
                let gone = gone + piece.len() as u64;
                Some((piece, (gone, lent)))
            }))
        })
    }

    fn piece(&self, gone: u64, lent: &mut Lent) -> Result<Bytes, Unreadable> {
        let most = usize::try_from(self.size - gone).unwrap_or(usize::MAX).min(limits::REGISTRY_PIECE);
        let at = self.start + gone;
        let piece = match &self.source {
            Source::File(file) => {
                let mut piece = lent.take();
                piece.resize(most, 0);
                file.read_exact_at(&mut piece, at).map_err(Unreadable)?;
                lent.give(piece)
            }
            Source::Bytes(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let end = at.checked_add(most).filter(|end| *end <= bytes.len());
                bytes.slice(at..end.ok_or_else(|| Unreadable(io::ErrorKind::UnexpectedEof.into()))?)
            }
        };
        self.count.iter().for_each(|count| count.add(most as u64));
        Ok(piece)
    }
}

/// Buffers that were handed on to be sent. One that has gone is filled again: memory that is new each time costs more than to fill it.
#[derive(Default)]
struct Lent(VecDeque<Bytes>);

impl Lent {
    /// The oldest buffer if it is back, else a new one.
    fn take(&mut self) -> BytesMut {
        match self.0.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(back)) => back,
            Some(Err(out)) => {
                self.0.push_front(out);
                BytesMut::new()
            }
            None => BytesMut::new(),
        }
    }

    fn give(&mut self, buffer: BytesMut) -> Bytes {
        let piece = buffer.freeze();
        self.0.push_back(piece.clone());
        piece
    }
}

/// A file that cannot be read to the end that it had.
#[derive(Debug)]
pub(super) struct Unreadable(io::Error);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the file: {}", self.0)
    }
}

impl StdError for Unreadable {}
