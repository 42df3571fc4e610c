//! The incumbent's Snapshot document, all generations: read strictly and kept whole, or written for its tools.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::snapshot::imported::{Imported, Item, Measured};

/// Its `apiVersion`s, oldest first.
pub const API_VERSIONS: &[&str] = &["aicr.nvidia.com/v1alpha1", "aicr.run/v1alpha2", "aicr.run/v1beta1"];

/// Why readings of a cluster are not there in our own form.
const IMPORTED: &str = "read from another tool's snapshot, which does not hold it";

/// The document, with scalars as the format gives them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound(deserialize = "S: Scalar"))]
pub(super) struct Document<S> {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: Option<Map<S>>,
    measurements: Vec<Measurement<S>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "S: Scalar"))]
struct Measurement<S> {
    #[serde(rename = "type")]
    kind: MeasurementKind,
    #[serde(default)]
    subtypes: Option<Vec<Subtype<S>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum MeasurementKind {
    K8s,
    #[serde(rename = "GPU")]
    Gpu,
    #[serde(rename = "OS")]
    Os,
    SystemD,
    NodeTopology,
    NetworkTopology,
}

impl MeasurementKind {
    fn word(self) -> &'static str {
        match self {
            Self::K8s => "K8s",
            Self::Gpu => "GPU",
            Self::Os => "OS",
            Self::SystemD => "SystemD",
            Self::NodeTopology => "NodeTopology",
            Self::NetworkTopology => "NetworkTopology",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "S: Scalar"))]
struct Subtype<S> {
    #[serde(default, rename = "subtype")]
    name: String,
    #[serde(default)]
    data: Option<Map<S>>,
    #[serde(default)]
    context: Option<Map<S>>,
    #[serde(default)]
    items: Option<Vec<Entries<S>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "S: Scalar"))]
struct Entries<S> {
    #[serde(default)]
    context: Option<Map<S>>,
    #[serde(default)]
    data: Option<Map<S>>,
}

/// A scalar as text; none for null.
pub(super) trait Scalar: DeserializeOwned {
    fn text(self) -> Option<String>;
}

/// A scalar of YAML, spelt as in the file: `1.30` stays `1.30`.
#[derive(Debug, Deserialize)]
pub(super) struct Spelt(Option<String>);

impl Scalar for Spelt {
    fn text(self) -> Option<String> {
        self.0
    }
}

/// A scalar of JSON.
#[derive(Debug)]
pub(super) struct Typed(Option<String>);

impl Scalar for Typed {
    fn text(self) -> Option<String> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Typed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Typed, E> {
                Ok(Typed(Some(text.to_owned())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Typed, E> {
                Ok(Typed(Some(text)))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Typed, E> {
                Ok(Typed(Some(value.to_string())))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Typed, E> {
                Ok(Typed(Some(value.to_string())))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Typed, E> {
                Ok(Typed(Some(value.to_string())))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Typed, E> {
                Ok(Typed(Some(value.to_string())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Typed, E> {
                Ok(Typed(None))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

/// A map of scalars in which no key is there twice; null is no reading.
#[derive(Debug)]
struct Map<S>(BTreeMap<String, String>, PhantomData<S>);

impl<'de, S: Scalar> Deserialize<'de> for Map<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<S>(PhantomData<S>);
        impl<'de, S: Scalar> Visitor<'de> for Pairs<S> {
            type Value = Map<S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of readings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Map<S>, A::Error> {
                // A tree that is made at once is a third smaller than one that grew.
                let mut pairs: Vec<(String, String)> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if let Some(text) = map.next_value::<S>()?.text() {
                        pairs.push((key, text));
                    }
                }
                pairs.sort();
                if let Some([(key, _), _]) = pairs.array_windows().find(|[(a, _), (b, _)]| a == b) {
                    return Err(de::Error::custom(format!("the key `{key}` is there twice")));
                }
                Ok(Map(pairs.into_iter().collect(), PhantomData))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

fn pairs<S>(map: Option<Map<S>>) -> BTreeMap<String, String> {
    map.map(|map| map.0).unwrap_or_default()
}

/// Makes a snapshot of a document.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if a subtype is there twice, or if nothing was measured.
pub(super) fn take<S>(document: Document<S>, name: &str) -> Result<Snapshot> {
    if document.kind != "Snapshot" || !API_VERSIONS.contains(&document.api_version.as_str()) {
        return Err(Error::usage(format!("{name} is not what it says at its beginning")));
    }
    let mut measurements: BTreeMap<String, BTreeMap<String, Measured>> = BTreeMap::new();
    for measurement in document.measurements {
        let kind = measurement.kind.word();
        let subtypes = measurements.entry(kind.to_owned()).or_default();
        for subtype in measurement.subtypes.into_iter().flatten() {
            let items = subtype.items.into_iter().flatten();
            let measured = Measured {
                data: pairs(subtype.data),
                context: pairs(subtype.context),
                items: items.map(|item| Item { context: pairs(item.context), data: pairs(item.data) }).collect(),
            };
            if subtypes.insert(subtype.name.clone(), measured).is_some() {
                return Err(Error::usage(format!("{name} has {kind}.{} twice", subtype.name.escape_debug())));
            }
        }
    }
    if measurements.values().all(BTreeMap::is_empty) {
        return Err(Error::usage(format!("{name} has no measurements: there is nothing to go by")));
    }
    let mut snapshot = Snapshot::without_cluster(IMPORTED);
    snapshot.imported = Some(Imported { api_version: document.api_version, metadata: pairs(document.metadata), measurements });
    Ok(snapshot)
}
