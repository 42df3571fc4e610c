//! The one error type: a kind that decides the exit code, what was being done to which object, and hints.

use std::error::Error as StdError;
use std::fmt;

use crate::exit::Exit;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of trouble it is; decides the exit code and, in a check, the reason of its `error` verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Flags or input files are invalid.
    Usage,
    /// Authentication or authorisation is missing (401, 403).
    Denied,
    /// A deadline passed.
    Timeout,
    /// A server cannot be reached, refuses, or answers 5xx.
    Unavailable,
    /// The object that was asked for does not exist (404).
    NotFound,
    /// Someone else changed or made the object first (409).
    Conflict,
    /// A signature is required and absent.
    Unsigned,
    /// A policy does not accept it.
    Policy,
    /// Too old.
    Stale,
    /// Declared checks are missing.
    Coverage,
    /// A signature is present and wrong.
    Signature,
    /// Digests, sizes or inventory disagree.
    Integrity,
    /// A document is not what it claims to be.
    Schema,
    /// Could not tell.
    Inconclusive,
    /// SIGINT or SIGTERM.
    Interrupted,
    /// A file could not be read or written.
    Io,
    /// A defect of seatrial itself.
    Internal,
}

impl Kind {
    /// The exit code of a command that got nowhere for this one cause.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Usage | Self::NotFound | Self::Io => Exit::Usage,
            Self::Denied => Exit::Denied,
            Self::Timeout => Exit::Timeout,
            Self::Unavailable => Exit::Unavailable,
            Self::Unsigned => Exit::Unsigned,
            Self::Policy => Exit::Policy,
            Self::Stale => Exit::Stale,
            Self::Coverage => Exit::Coverage,
            Self::Signature => Exit::Signature,
            Self::Integrity => Exit::Integrity,
            Self::Schema => Exit::Schema,
            Self::Interrupted => Exit::Interrupted,
            Self::Conflict | Self::Inconclusive | Self::Internal => Exit::Inconclusive,
        }
    }
}

/// An error: kind, message, cause chain, hints.
///
/// Messages are lower-case fragments without a full stop that say what was being done and to which object;
/// [`Error::context`] adds an outer one. Tests assert on [`Error::kind`], people read the rest.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    hints: Vec<String>,
}

impl Error {
    /// Makes an error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hints: Vec::new() }
    }

    /// Makes a usage error: flags or input files are invalid.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Makes an internal error: a defect of seatrial.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Attaches the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the known name nearest to a misspelt one as a hint, or `otherwise` where none is near.
    #[must_use]
    pub fn did_you_mean<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>, otherwise: impl Into<String>) -> Self {
        match nearest(wrong, known) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self.hint(otherwise),
        }
    }

    /// Wraps the error in what was being done; kind and hints stay.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let hints = std::mem::take(&mut self.hints);
        Self { kind: self.kind, message: message.into(), source: Some(Box::new(self)), hints }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do next, outermost last.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The message and its causes on one line, joined by ": "; a cause that repeats what is already said is left out.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds context to a result, as [`Error::context`] does.
pub trait Context<T> {
    /// Wraps the error in what was being done.
    ///
    /// # Errors
    /// The error that was there, wrapped.
    fn context(self, message: impl Into<String>) -> Result<T>;

    /// Wraps the error in what was being done; the message is only made when it is needed.
    ///
    /// # Errors
    /// The error that was there, wrapped.
    fn with_context<S: Into<String>>(self, message: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, message: impl Into<String>) -> Self {
        self.map_err(|error| error.context(message))
    }

    fn with_context<S: Into<String>>(self, message: impl FnOnce() -> S) -> Self {
        self.map_err(|error| error.context(message()))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| Error::new(Kind::Io, message).because(error))
    }

    fn with_context<S: Into<String>>(self, message: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::new(Kind::Io, message()).because(error))
    }
}

/// The first cause of a type in the chain of an error, the error itself included.
#[must_use]
pub fn cause_in<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error's source is that of the error in it: the error itself has to be asked for.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The known name nearest to a misspelt one, for "did you mean" hints.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    // The same in another case is nearer than anything else.
    let distance = |name: &str| match name.to_lowercase() == lower {
        true => 0,
        false => strsim::damerau_levenshtein(wrong, name),
    };
    known
        .into_iter()
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_keeps_kind_and_hints_and_the_chain_reads_from_outside_in() {
        let error = Error::new(Kind::Denied, "list nodes").hint("ask for the role").context("snapshot");
        assert_eq!(error.kind(), Kind::Denied);
        assert_eq!(error.hints(), ["ask for the role"]);
        assert_eq!(error.chain(), "snapshot: list nodes");
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["snapshot", "inventory", "health"];
        assert_eq!(nearest("snaphsot", known), Some("snapshot"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(nearest("os", ["K8s", "OS"]), Some("OS"));
    }
}
