//! A reading, or the reason why there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A reading, or the reason why it could not be had. Absent and zero are different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reading<T> {
    /// What was read.
    Value(T),
    /// Why it could not be read.
    Unavailable(String),
}

impl<T> Reading<T> {
    /// The value, if it was read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unavailable(_) => None,
        }
    }

    /// Why it could not be read, if so.
    pub fn unavailable(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Unavailable(reason) => Some(reason),
        }
    }

    /// A reading of what was read; a reason stays.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Value(value) => Reading::Value(of(value)),
            Self::Unavailable(reason) => Reading::Unavailable(reason),
        }
    }

    /// A further reading out of what was read; a reason stays.
    pub fn then<U>(&self, of: impl FnOnce(&T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Value(value) => of(value),
            Self::Unavailable(reason) => Reading::Unavailable(reason.clone()),
        }
    }

    /// A reading of an optional value, with the reason why there may be none.
    pub fn of(value: Option<T>, reason: impl FnOnce() -> String) -> Self {
        value.map_or_else(|| Self::Unavailable(reason()), Self::Value)
    }
}

impl<T> From<Result<T, String>> for Reading<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_or_else(Self::Unavailable, Self::Value)
    }
}
