//! The form of `seatrial.yaml`: names with values and sections, each with its place.

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::yaml::Spanned;

/// A whole file.
#[derive(Debug)]
pub(super) struct Document(pub(super) Vec<Entry>);

/// One name with what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub key: String,
    /// Its line.
    pub line: u64,
    /// Its column.
    pub column: u64,
    /// What it is given.
    pub given: Given,
}

/// What a name is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Nothing.
    Nothing,
    /// One value, as it would be written on the command line.
    One(String),
    /// Several values.
    Several(Vec<String>),
    /// A section.
    Section(Vec<Entry>),
}

impl Entry {
    /// The entries of a section.
    #[must_use]
    pub fn section(&self) -> Option<&[Self]> {
        match &self.given {
            Given::Section(entries) => Some(entries),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Given::deserialize(deserializer)? {
            Given::Section(entries) => Ok(Self(entries)),
            Given::Nothing => Ok(Self(Vec::new())),
            _ => Err(de::Error::custom("a file of settings is a mapping of names")),
        }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

struct Form;

impl<'de> Visitor<'de> for Form {
    type Value = Given;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text, a whole number, true, false, a list of these, or a section")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_none<E: de::Error>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Given, E> {
        Ok(Given::One(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Given, E> {
        Ok(Given::One(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Given, E> {
        Ok(Given::One(value.to_string()))
    }

    // A number with a fraction is not what was written any more: 1.10 would be 1.1.
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Given, E> {
        Err(E::custom("a number with a fraction must be written in quotes"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Given, E> {
        Ok(Given::One(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Given, A::Error> {
        let mut several = Vec::new();
        while let Some(item) = items.next_element()? {
            match item {
                Given::One(value) => several.push(value),
                _ => return Err(de::Error::custom("a list here holds texts, whole numbers, true or false")),
            }
        }
        Ok(Given::Several(several))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = key.referenced;
            entries.push(Entry { key: key.value, line: place.line(), column: place.column(), given: map.next_value()? });
        }
        Ok(Given::Section(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn names_have_their_place_and_values_are_what_was_written() {
        let document: Document =
            yaml::from_str("recipe: r.yaml\nrun:\n  max-gpus: 8\n  report: [a=b, \"1\"]\n  yes: true\n", "x").expect("is read");
        let [recipe, run] = document.0.as_slice() else { panic!("{document:?}") };
        assert_eq!((recipe.line, recipe.column, &recipe.given), (1, 1, &Given::One("r.yaml".to_owned())));
        let [gpus, report, yes] = run.section().expect("a section") else { panic!("{run:?}") };
        assert_eq!((gpus.line, gpus.column, &gpus.given), (3, 3, &Given::One("8".to_owned())));
        assert_eq!(report.given, Given::Several(vec!["a=b".to_owned(), "1".to_owned()]));
        assert_eq!(yes.given, Given::One("true".to_owned()));
    }

    #[test]
    fn what_has_no_such_form_is_refused_with_its_place() {
        for (text, place) in [("run:\n  settle: 1.5\n", "x:2:"), ("- a\n", "x"), ("a: [[1]]\n", "x:1:"), ("a: 1\na: 2\n", "x:2:1")] {
            let error = yaml::from_str::<Document>(text, "x").expect_err(text);
            assert!(error.chain().starts_with(place), "{text}: {}", error.chain());
        }
    }
}
