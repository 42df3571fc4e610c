//! The form of a bundle, exactly: the library ignores unknown fields and keeps the last of two of the same name, so that a reader of the
//! text could be shown something else than what is verified.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What may stand at a place of a document.
enum Shape {
    /// Anything that is neither a list nor an object.
    Plain,
    /// These fields.
    Fields(&'static [(&'static str, &'static Self)]),
    /// A list of such things.
    List(&'static Self),
}
use Shape::{Fields, List, Plain};

static LOG_ENTRY: Shape = Fields(&[
    ("logIndex", &Plain),
    ("logId", &Fields(&[("keyId", &Plain)])),
    ("kindVersion", &Fields(&[("kind", &Plain), ("version", &Plain)])),
    ("integratedTime", &Plain),
    ("inclusionPromise", &Fields(&[("signedEntryTimestamp", &Plain)])),
    (
        "inclusionProof",
        &Fields(&[
            ("logIndex", &Plain),
            ("rootHash", &Plain),
            ("treeSize", &Plain),
            ("hashes", &List(&Plain)),
            ("checkpoint", &Fields(&[("envelope", &Plain)])),
        ]),
    ),
    ("canonicalizedBody", &Plain),
]);

static BUNDLE: Shape = Fields(&[
    ("mediaType", &Plain),
    (
        "verificationMaterial",
        &Fields(&[
            ("publicKey", &Fields(&[("hint", &Plain)])),
            ("certificate", &Fields(&[("rawBytes", &Plain)])),
            ("tlogEntries", &List(&LOG_ENTRY)),
            ("timestampVerificationData", &Fields(&[("rfc3161Timestamps", &List(&Fields(&[("signedTimestamp", &Plain)])))])),
        ]),
    ),
    (
        "dsseEnvelope",
        &Fields(&[("payload", &Plain), ("payloadType", &Plain), ("signatures", &List(&Fields(&[("sig", &Plain), ("keyid", &Plain)])))]),
    ),
]);

/// Reads JSON that has the form of a bundle, and nothing else in it. The error is a sentence.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let Unique(value) = serde_json::from_str(text).map_err(|error| format!("it cannot be read: {error}"))?;
    check(&value, &BUNDLE, "it")?;
    Ok(value)
}

fn check(value: &Value, shape: &Shape, place: &str) -> Result<(), String> {
    match (shape, value) {
        // A field without a value counts as absent.
        (_, Value::Null) => Ok(()),
        (Plain, Value::Array(_) | Value::Object(_)) => Err(format!("{place} is not a plain value")),
        (Plain, _) => Ok(()),
        (List(of), Value::Array(items)) => items.iter().try_for_each(|item| check(item, of, place)),
        (Fields(fields), Value::Object(object)) => object.iter().try_for_each(|(name, value)| {
            let known = fields.iter().find(|(field, _)| field == name);
            let (field, shape) = known.ok_or_else(|| format!("{place} has a field that such a bundle does not have"))?;
            check(value, shape, &format!("its {field}"))
        }),
        _ => Err(format!("{place} has another form")),
    }
}

/// A JSON value none of whose objects has a name twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::String(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(Unique(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::Array(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut object = Map::new();
                while let Some((name, Unique(value))) = entries.next_entry::<String, Unique>()? {
                    if object.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a field is there twice"));
                    }
                }
                Ok(Value::Object(object))
            }
        }
        deserializer.deserialize_any(Reader).map(Unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_such_a_bundle_does_not_have_is_refused_at_any_depth() {
        read(r#"{"mediaType":"x","verificationMaterial":{"tlogEntries":[{"logIndex":"1","logId":{"keyId":""}}]}}"#).expect("reads");
        for (text, why) in [
            (r#"{"surprise":1}"#, "does not have"),
            (r#"{"verificationMaterial":{"tlogEntries":[{"logId":{"keyID":""}}]}}"#, "its logId has a field"),
            (r#"{"verificationMaterial":{"tlogEntries":{}}}"#, "another form"),
            (r#"{"dsseEnvelope":{"payload":["a"]}}"#, "not a plain value"),
            (r#"{"dsseEnvelope":{"payload":"a","payload":"b"}}"#, "twice"),
            ("", "cannot be read"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
