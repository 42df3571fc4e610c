//! Functions that make lists and maps of others.

use jpx_core::functions::ArgumentType::{Any, Array, Number, Object, String as Text, TypedArray, Union};
use serde_json::{Map, Value, json};

use super::{Entry, string, whole};

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry::new("at", &[Array, Number], |args| {
            let items = args[0].as_array().map(Vec::as_slice).unwrap_or_default();
            let found = usize::try_from(whole(args, 1)?).ok().and_then(|index| items.get(index));
            found.cloned().ok_or_else(|| format!("there is no element {}, the list has {}", args[1], items.len()))
        }),
        Entry::new("items", &[Union(vec![Object, Array]), Text, Text], |args| {
            let pair = |key: Value, value: &Value| json!({string(args, 1): key, string(args, 2): value});
            Ok(match &args[0] {
                Value::Object(fields) => sorted(fields).map(|(key, value)| pair(json!(key), value)).collect(),
                Value::Array(items) => items.iter().enumerate().map(|(index, value)| pair(json!(index), value)).collect(),
                _ => Value::Null,
            })
        }),
        Entry::new("object_from_lists", &[Array, Array], |args| {
            let (keys, values) = (args[0].as_array().map(Vec::as_slice), args[1].as_array().map(Vec::as_slice).unwrap_or_default());
            let mut made = Map::new();
            for (index, key) in keys.unwrap_or_default().iter().enumerate() {
                made.insert(plain(key)?, values.get(index).cloned().unwrap_or_default());
            }
            Ok(Value::Object(made))
        }),
        Entry::new("from_items", &[TypedArray(Box::new(Array))], |args| {
            let mut made = Map::new();
            for pair in args[0].as_array().into_iter().flatten() {
                match pair.as_array().map(Vec::as_slice) {
                    Some([Value::String(key), value]) => made.insert(key.clone(), value.clone()),
                    _ => return Err(format!("{pair} is not a pair of text and value")),
                };
            }
            Ok(Value::Object(made))
        }),
        Entry::new("label_match", &[Object, Object], |args| {
            let wanted = args[0].as_object().into_iter().flatten();
            Ok(json!(wanted.into_iter().all(|(key, value)| args[1].get(key) == Some(value))))
        }),
        Entry::new("zip", &[Array, Array], |args| {
            let (left, right) = (args[0].as_array().into_iter().flatten(), args[1].as_array().into_iter().flatten());
            Ok(left.zip(right).map(|(left, right)| json!([left, right])).collect())
        }),
        Entry::new("to_array", &[Any], |args| Ok(if args[0].is_array() { args[0].clone() } else { json!([args[0]]) })),
    ]
}

fn sorted(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut pairs: Vec<_> = fields.iter().collect();
    pairs.sort_by_key(|(key, _)| *key);
    pairs.into_iter()
}

/// What chainsaw takes for a key.
fn plain(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("{value} cannot be a key")),
    }
}
