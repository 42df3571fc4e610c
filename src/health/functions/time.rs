//! Functions over points in time and durations, written as Go writes them.

use jiff::{SignedDuration, Timestamp, Zoned};
use jpx_core::functions::ArgumentType::String as Text;
use serde_json::{Value, json};

use super::{Entry, string};

/// The one layout that is read: RFC 3339 in Go's notation.
const RFC_3339: &str = "2006-01-02T15:04:05Z07:00";

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry::new("time_now", &[], |_| Ok(json!(seconds(Timestamp::now())))),
        Entry::new("time_now_utc", &[], |_| Ok(json!(seconds(Timestamp::now())))),
        Entry::new("time_since", &[Text, Text, Text], |args| {
            layout(string(args, 0))?;
            let end = if string(args, 2).is_empty() { Timestamp::now() } else { point(args, 2)? };
            Ok(json!(go_duration(end.duration_since(point(args, 1)?))))
        }),
        Entry::new("time_diff", &[Text, Text], |args| Ok(json!(go_duration(point(args, 1)?.duration_since(point(args, 0)?))))),
        Entry::new("time_before", &[Text, Text], |args| Ok(json!(point(args, 0)? < point(args, 1)?))),
        Entry::new("time_after", &[Text, Text], |args| Ok(json!(point(args, 0)? > point(args, 1)?))),
        Entry::new("time_between", &[Text, Text, Text], |args| {
            let at = point(args, 0)?;
            Ok(json!(at > point(args, 1)? && at < point(args, 2)?))
        }),
        Entry::new("time_utc", &[Text], |args| Ok(json!(seconds(point(args, 0)?)))),
        Entry::new("time_parse", &[Text, Text], |args| {
            layout(string(args, 0))?;
            utc_only(args, 1)?;
            Ok(json!(seconds(point(args, 1)?)))
        }),
        Entry::new("time_add", &[Text, Text], |args| {
            utc_only(args, 0)?;
            let sum = point(args, 0)?.checked_add(duration(string(args, 1))?).map_err(|error| error.to_string())?;
            Ok(json!(seconds(sum)))
        }),
        Entry::new("time_truncate", &[Text, Text], |args| {
            utc_only(args, 0)?;
            truncated(point(args, 0)?, duration(string(args, 1))?).map(|at| json!(seconds(at)))
        }),
        Entry::new("time_to_cron", &[Text], |args| {
            utc_only(args, 0)?;
            let at: Zoned = point(args, 0)?.to_zoned(jiff::tz::TimeZone::UTC);
            let weekday = at.weekday().to_sunday_zero_offset();
            Ok(json!(format!("{} {} {} {} {weekday}", at.minute(), at.hour(), at.day(), at.month())))
        }),
    ]
}

fn layout(layout: &str) -> Result<(), String> {
    if layout.is_empty() || layout == RFC_3339 {
        return Ok(());
    }
    Err(format!("the layout `{layout}` is not read; seatrial reads RFC 3339 only"))
}

fn point(args: &[Value], index: usize) -> Result<Timestamp, String> {
    let text = string(args, index);
    text.parse().map_err(|_| format!("`{text}` is not a time such as 2026-01-02T15:04:05Z"))
}

/// Go answers in the zone of the argument; here the answer is in UTC, so any other zone is refused rather than answered differently.
fn utc_only(args: &[Value], index: usize) -> Result<(), String> {
    let text = string(args, index);
    if text.ends_with('Z') { Ok(()) } else { Err(format!("`{text}` is not in UTC; use time_utc() first")) }
}

/// To the second, as RFC 3339 is written by Go.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second() - i64::from(at.subsec_nanosecond() < 0)).unwrap_or(at).to_string()
}

/// Go counts multiples from the year 1.
fn truncated(at: Timestamp, step: SignedDuration) -> Result<Timestamp, String> {
    if step <= SignedDuration::ZERO {
        return Ok(at);
    }
    let from_year_one = i128::from(62_135_596_800_i64) * 1_000_000_000 + at.as_nanosecond();
    Timestamp::from_nanosecond(at.as_nanosecond() - from_year_one % step.as_nanos()).map_err(|error| error.to_string())
}

/// Reads a duration as Go does: `1h30m`, `-2s`, `1.5h`, `0`.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("`{text}` is not a duration such as 1h30m");
    if text == "0" {
        return Ok(SignedDuration::ZERO);
    }
    // The library reads ISO 8601, words and days too; Go does not.
    let digits = text.trim_start_matches(['-', '+']);
    if text.len() - digits.len() > 1 || !digits.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.') {
        return Err(wrong());
    }
    if !digits.chars().all(|letter| letter.is_ascii_digit() || "hmsuµn.".contains(letter)) {
        return Err(wrong());
    }
    digits.parse::<SignedDuration>().map(|span| if text.starts_with('-') { -span } else { span }).map_err(|_| wrong())
}

/// Writes a duration as Go does: `1h30m0s`, `1.5s`, `20ms`, `0s`.
pub(super) fn go_duration(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos().unsigned_abs();
    let sign = if duration.is_negative() { "-" } else { "" };
    let fraction = |unit: u128| {
        let digits = format!("{:0width$}", nanos % unit, width = unit.to_string().len() - 1);
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() { String::new() } else { format!(".{digits}") }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}{}µs", nanos / 1_000, fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}{}ms", nanos / 1_000_000, fraction(1_000_000)),
        _ => {
            let whole = nanos / 1_000_000_000;
            let seconds = format!("{}{}s", whole % 60, fraction(1_000_000_000));
            match (whole / 3600, whole / 60 % 60) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
            }
        }
    }
}
