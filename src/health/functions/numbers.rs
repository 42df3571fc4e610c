//! Arithmetic over numbers and durations.
//!
//! Chainsaw computes with quantities such as `64Gi` as well; those are refused here, as there is no way to write a sum of them that
//! would not differ in some case.

use jiff::SignedDuration;
use jpx_core::functions::ArgumentType::{Any, Array, Number, TypedArray};
use serde_json::Value;

use super::time::{duration, go_duration};
use super::{Entry, number, whole};

/// What is computed with.
enum Operand {
    Number(f64),
    Duration(SignedDuration),
}

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry::new("add", &[Any, Any], |args| add(&args[0], &args[1])),
        Entry::new("sum", &[Array], |args| {
            let mut items = args[0].as_array().into_iter().flatten();
            let first = items.next().ok_or_else(|| "the list is empty".to_owned())?;
            items.try_fold(first.clone(), |sum, item| add(&sum, item))
        }),
        Entry::new("subtract", &[Any, Any], |args| match (operand(&args[0])?, operand(&args[1])?) {
            (Operand::Number(a), Operand::Number(b)) => number(a - b),
            (Operand::Duration(a), Operand::Duration(b)) => text(a.checked_sub(b)),
            _ => mixed(),
        }),
        Entry::new("multiply", &[Any, Any], |args| match (operand(&args[0])?, operand(&args[1])?) {
            (Operand::Number(a), Operand::Number(b)) => number(a * b),
            (Operand::Duration(a), Operand::Number(b)) | (Operand::Number(b), Operand::Duration(a)) => {
                text(SignedDuration::try_from_secs_f64(a.as_secs_f64() * b).ok())
            }
            (Operand::Duration(_), Operand::Duration(_)) => mixed(),
        }),
        Entry::new("divide", &[Any, Any], |args| match (operand(&args[0])?, operand(&args[1])?) {
            (_, Operand::Number(0.0)) => by_zero(),
            (_, Operand::Duration(b)) if b.is_zero() => by_zero(),
            (Operand::Number(a), Operand::Number(b)) => number(a / b),
            (Operand::Duration(a), Operand::Duration(b)) => number(a.as_secs_f64() / b.as_secs_f64()),
            (Operand::Duration(a), Operand::Number(b)) => text(SignedDuration::try_from_secs_f64(a.as_secs_f64() / b).ok()),
            (Operand::Number(_), Operand::Duration(_)) => mixed(),
        }),
        Entry::new("modulo", &[Any, Any], |args| match (operand(&args[0])?, operand(&args[1])?) {
            (_, Operand::Number(0.0)) => by_zero(),
            (_, Operand::Duration(b)) if b.is_zero() => by_zero(),
            (Operand::Number(_), Operand::Number(_)) => Ok(Value::from(whole(args, 0)? % whole(args, 1)?)),
            (Operand::Duration(a), Operand::Duration(b)) => {
                let rest = i64::try_from(a.as_nanos() % b.as_nanos()).ok();
                text(rest.map(SignedDuration::from_nanos))
            }
            _ => mixed(),
        }),
        // As the specification has them, with whole numbers as such.
        Entry::new("abs", &[Number], |args| number(args[0].as_f64().unwrap_or_default().abs())),
        Entry::new("ceil", &[Number], |args| number(args[0].as_f64().unwrap_or_default().ceil())),
        Entry::new("floor", &[Number], |args| number(args[0].as_f64().unwrap_or_default().floor())),
        Entry::new("avg", &[TypedArray(Box::new(Number))], |args| {
            let numbers: Vec<f64> = args[0].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            #[expect(clippy::cast_precision_loss, reason = "no list has 2^53 elements")]
            let count = numbers.len() as f64;
            if numbers.is_empty() { Ok(Value::Null) } else { number(numbers.iter().sum::<f64>() / count) }
        }),
        Entry::new("round", &[Number, Number], |args| {
            let places = u32::try_from(whole(args, 1)?).map_err(|_| "argument 2 must not be negative".to_owned())?;
            let shift = 10_f64.powi(i32::try_from(places).unwrap_or(i32::MAX));
            number((args[0].as_f64().unwrap_or_default() * shift).round() / shift)
        }),
    ]
}

fn add(a: &Value, b: &Value) -> Result<Value, String> {
    match (operand(a)?, operand(b)?) {
        (Operand::Number(a), Operand::Number(b)) => number(a + b),
        (Operand::Duration(a), Operand::Duration(b)) => text(a.checked_add(b)),
        _ => mixed(),
    }
}

fn operand(value: &Value) -> Result<Operand, String> {
    match value {
        Value::Number(_) => Ok(Operand::Number(value.as_f64().unwrap_or_default())),
        // What is a number with one letter is a quantity to chainsaw, so `5m` are five thousandths.
        Value::String(text) => {
            duration(text).ok().filter(|_| !is_quantity(text)).map(Operand::Duration).ok_or_else(|| {
                format!("`{text}` is neither a number nor a duration such as 1h30m; seatrial does not compute with quantities")
            })
        }
        other => Err(format!("{other} is neither a number nor a duration")),
    }
}

fn is_quantity(text: &str) -> bool {
    text.trim_end_matches('m').chars().all(|letter| letter.is_ascii_digit() || ".+-".contains(letter))
}

fn text(duration: Option<SignedDuration>) -> Result<Value, String> {
    duration.map(|duration| Value::String(go_duration(duration))).ok_or_else(|| "the duration is too long".to_owned())
}

fn mixed() -> Result<Value, String> {
    Err("a number and a duration do not go together here".to_owned())
}

fn by_zero() -> Result<Value, String> {
    Err("division by zero".to_owned())
}
