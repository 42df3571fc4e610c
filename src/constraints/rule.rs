//! Reads what a constraint says: operator, set or range, how values compare, for how many it must hold.

use std::cmp::Ordering;

use crate::constraints::value::{Number, Version, is_unit};
use crate::constraints::{Constraint, Quantifier, ValueType};
use crate::error::{Error, Result};

/// A constraint that was understood.
#[derive(Clone, Debug)]
pub struct Rule {
    test: Test,
    count: Count,
}

/// What one reading must be.
#[derive(Clone, Debug)]
enum Test {
    Compare(Operator, Operand),
    Within(Operand, Operand),
    OneOf(bool, Vec<Operand>),
}

/// A value to compare with.
#[derive(Clone, Debug)]
enum Operand {
    Text(String),
    Version(Version),
    Number(Number, Option<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    More,
    Less,
    Equal,
    Differs,
}

/// For how many it must hold.
#[derive(Clone, Debug)]
enum Count {
    All,
    Any,
    Compare(Operator, u64),
}

/// The longer ones first, so that `>=` is not taken for `>`.
const OPERATORS: &[(&str, Operator)] = &[
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("==", Operator::Equal),
    ("!=", Operator::Differs),
    (">", Operator::More),
    ("<", Operator::Less),
];

impl Operator {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::AtLeast => ordering != Ordering::Less,
            Self::AtMost => ordering != Ordering::Greater,
            Self::More => ordering == Ordering::Greater,
            Self::Less => ordering == Ordering::Less,
            Self::Equal => ordering == Ordering::Equal,
            Self::Differs => ordering != Ordering::Equal,
        }
    }
}

impl Rule {
    /// Understands a constraint's value, type, unit and quantifier; its address is read by [`crate::snapshot`].
    ///
    /// # Errors
    /// A usage error that names the constraint and says what can be written.
    pub fn parse(constraint: &Constraint) -> Result<Self> {
        let wrong = |what: String| {
            Error::usage(format!("constraint {}: {what}", crate::ui::printable(&constraint.name)))
                .hint("a value is `>= 1.34` (also <=, >, <, ==, !=), a range `570 .. 580`, a set `in [ubuntu, rhel]`, or the text itself")
        };
        if let Some(unit) = constraint.unit.as_deref().filter(|unit| !is_unit(unit)) {
            return Err(wrong(format!("`{}` is not a known unit", crate::ui::printable(unit))));
        }
        let test = test(constraint).map_err(|what| wrong(crate::ui::printable(&what)))?;
        let count = count(&constraint.quantifier).map_err(|what| wrong(crate::ui::printable(&what)))?;
        Ok(Self { test, count })
    }

    /// Whether one reading is what it must be; the error says why that cannot be told.
    ///
    /// # Errors
    /// If the reading is not of the constraint's type.
    pub fn holds(&self, reading: &str) -> std::result::Result<bool, String> {
        match &self.test {
            Test::Compare(Operator::Equal, wanted) => wanted.is(reading),
            Test::Compare(Operator::Differs, wanted) => wanted.is(reading).map(|is| !is),
            Test::Compare(operator, wanted) => wanted.compare(reading).map(|ordering| operator.holds(ordering)),
            Test::Within(low, high) => Ok(low.compare(reading)? != Ordering::Less && high.compare(reading)? != Ordering::Greater),
            Test::OneOf(wanted, members) => {
                let told: Vec<_> = members.iter().map(|member| member.is(reading)).collect();
                if told.contains(&Ok(true)) {
                    return Ok(*wanted);
                }
                told.into_iter().find(Result::is_err).unwrap_or(Ok(false)).map(|_| !wanted)
            }
        }
    }

    /// Whether it is enough that it holds for `held` of `all`, where it could not be told of `unknown`: whatever is the case with those.
    #[must_use]
    pub fn enough(&self, held: usize, unknown: usize, all: usize) -> bool {
        match self.count {
            Count::All => all > 0 && held == all,
            Count::Any => held > 0,
            Count::Compare(operator, wanted) => all > 0 && (held..=held + unknown).all(|held| operator.holds((held as u64).cmp(&wanted))),
        }
    }

    /// True if it must hold for each.
    #[must_use]
    pub fn for_all(&self) -> bool {
        matches!(self.count, Count::All)
    }
}

impl Operand {
    /// Whether the reading is this, as far as this goes.
    fn is(&self, reading: &str) -> std::result::Result<bool, String> {
        match self {
            Self::Version(wanted) => {
                Version::parse(reading).map(|own| own.is(wanted)).ok_or_else(|| format!("`{reading}` is not a version"))
            }
            _ => self.compare(reading).map(|ordering| ordering == Ordering::Equal),
        }
    }

    fn compare(&self, reading: &str) -> std::result::Result<Ordering, String> {
        match self {
            Self::Text(wanted) => Ok(reading.cmp(wanted.as_str())),
            Self::Version(wanted) => {
                Version::parse(reading).map(|own| own.compare(wanted)).ok_or_else(|| format!("`{reading}` is not a version"))
            }
            Self::Number(wanted, unit) => {
                let own = Number::parse(reading, unit.as_deref())?;
                own.compare(wanted).ok_or_else(|| format!("`{reading}` does not measure the same thing"))
            }
        }
    }
}

fn test(constraint: &Constraint) -> std::result::Result<Test, String> {
    let text = constraint.value.trim();
    if text.is_empty() {
        return Err("its value is empty".to_owned());
    }
    let wanted_type = constraint.value_type;
    if wanted_type == Some(ValueType::String) && !OPERATORS.iter().any(|(word, _)| text.starts_with(word)) {
        return Ok(Test::Compare(Operator::Equal, Operand::Text(text.to_owned())));
    }
    for (word, wanted) in [("not in", false), ("in", true)] {
        if let Some(rest) = text.strip_prefix(word).filter(|rest| rest.starts_with([' ', '['])) {
            return expect_type(wanted_type, ValueType::Set).and_then(|()| Ok(Test::OneOf(wanted, members(constraint, rest)?)));
        }
    }
    if let Some((low, high)) = text.split_once("..") {
        expect_type(wanted_type, ValueType::Range)?;
        let (low, high) = (operand(constraint, low.trim())?, operand(constraint, high.trim())?);
        return range(low, high);
    }
    if matches!(wanted_type, Some(ValueType::Set)) {
        return Ok(Test::OneOf(true, members(constraint, text)?));
    }
    if matches!(wanted_type, Some(ValueType::Range)) {
        return Err(format!("`{text}` is not a range"));
    }
    match OPERATORS.iter().find_map(|(word, operator)| Some((*operator, text.strip_prefix(word)?.trim()))) {
        Some((_, "")) => Err(format!("nothing follows the operator in `{text}`")),
        Some((_, rest)) if begins_with_operator(rest) => Err(format!("`{text}` has no operator that is known")),
        Some((operator, rest)) => Ok(Test::Compare(operator, compared(constraint, operator, rest)?)),
        None if begins_with_operator(text) => Err(format!("`{text}` has no operator that is known")),
        None => match wanted_type {
            Some(ValueType::Number | ValueType::Version) => Ok(Test::Compare(Operator::Equal, operand(constraint, text)?)),
            _ if constraint.unit.is_some() => Ok(Test::Compare(Operator::Equal, operand(constraint, text)?)),
            _ => Ok(Test::Compare(Operator::Equal, Operand::Text(text.to_owned()))),
        },
    }
}

/// The operand of an operator. `==` and `!=` also take text, which has no order.
fn compared(constraint: &Constraint, operator: Operator, text: &str) -> std::result::Result<Operand, String> {
    let ordered = !matches!(operator, Operator::Equal | Operator::Differs);
    match constraint.value_type {
        Some(ValueType::String) if ordered => Err(format!("`{text}` is text, which has no order")),
        Some(ValueType::String) => Ok(Operand::Text(text.to_owned())),
        _ => match operand(constraint, text) {
            Err(_) if !ordered && constraint.value_type.is_none() && constraint.unit.is_none() => Ok(Operand::Text(text.to_owned())),
            other => other,
        },
    }
}

/// A version or a number: as the type says, else a number where there is a unit, else a version.
fn operand(constraint: &Constraint, text: &str) -> std::result::Result<Operand, String> {
    let number = || Number::parse(text, constraint.unit.as_deref()).map(|number| Operand::Number(number, constraint.unit.clone()));
    match constraint.value_type {
        Some(ValueType::Number) => number(),
        _ if constraint.unit.is_some() => number(),
        // `700 W` is nothing but a number; `24.04` may be either, and a version says more.
        _ if text.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '%')) => number(),
        _ => match (Version::parse(text), number()) {
            (Some(version), _) => Ok(Operand::Version(version)),
            (None, Ok(number)) => Ok(number),
            (None, Err(_)) => Err(format!("`{text}` is neither a version nor a number")),
        },
    }
}

fn range(low: Operand, high: Operand) -> std::result::Result<Test, String> {
    let ordered = match (&low, &high) {
        (Operand::Version(low), Operand::Version(high)) => low.compare(high) != Ordering::Greater,
        (Operand::Number(low, _), Operand::Number(high, _)) => low.compare(high).is_some_and(|ordering| ordering != Ordering::Greater),
        _ => false,
    };
    if ordered { Ok(Test::Within(low, high)) } else { Err("its range ends before it begins, or mixes units".to_owned()) }
}

/// The members of a set, each of which says what `==` would say.
fn members(constraint: &Constraint, text: &str) -> std::result::Result<Vec<Operand>, String> {
    let text = text.trim();
    let inner = match (text.strip_prefix('['), text.strip_suffix(']')) {
        (Some(_), Some(_)) => &text[1..text.len() - 1],
        (None, None) => text,
        _ => return Err(format!("`{text}` has a bracket without its other half")),
    };
    let members: Vec<&str> = inner.split(',').map(str::trim).collect();
    if members.iter().any(|member| member.is_empty()) {
        return Err(format!("`{text}` is an empty set or has an empty member"));
    }
    members.into_iter().map(|member| compared(constraint, Operator::Equal, member)).collect()
}

fn begins_with_operator(text: &str) -> bool {
    text.starts_with(['<', '>', '=', '!', '~', '^'])
}

fn expect_type(given: Option<ValueType>, is: ValueType) -> std::result::Result<(), String> {
    match given {
        Some(given) if given != is && matches!(given, ValueType::Set | ValueType::Range) => {
            Err("its type and its value do not belong together".to_owned())
        }
        _ => Ok(()),
    }
}

fn count(quantifier: &Quantifier) -> std::result::Result<Count, String> {
    let text = match quantifier {
        Quantifier::All => return Ok(Count::All),
        Quantifier::Any => return Ok(Count::Any),
        Quantifier::Count(text) => text.trim(),
    };
    let found = OPERATORS.iter().find_map(|(word, operator)| Some((*operator, text.strip_prefix(word)?)));
    let (operator, number) = found.unwrap_or((Operator::Equal, text));
    let number = number.trim().parse().map_err(|_| format!("`{text}` is not a count such as `>= 4`"))?;
    match (operator, number) {
        (Operator::AtLeast, 0) => Err(format!("the count `{text}` holds whatever is read")),
        (Operator::Less, 0) => Err(format!("the count `{text}` never holds")),
        _ => Ok(Count::Compare(operator, number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constraints::Severity;

    fn constraint(value: &str) -> Constraint {
        Constraint {
            name: "OS.release.ID".to_owned(),
            value: value.to_owned(),
            value_type: None,
            unit: None,
            over: None,
            quantifier: Quantifier::All,
            severity: Severity::Required,
            remediation: None,
            source: None,
        }
    }

    fn holds(value: &str, reading: &str) -> std::result::Result<bool, String> {
        Rule::parse(&constraint(value)).expect(value).holds(reading)
    }

    #[test]
    fn operators_sets_ranges_and_plain_text() {
        for (value, reading, wanted) in [
            (">= 1.34", "v1.34.1", true),
            (">= 1.34", "v1.33.9", false),
            (">=1.32.4", "v1.32.4-eks-1", true),
            ("> 1.32", "1.32.4", false),
            ("< 580", "570.86.15", true),
            ("<= 24.04", "24.04", true),
            ("== ubuntu", "ubuntu", true),
            ("!= ubuntu", "rhel", true),
            ("!= 535.1", "535.1.4", false),
            ("ubuntu", "ubuntu", true),
            ("ubuntu", "Ubuntu", false),
            ("24.04", "24.04.1", false),
            ("in [ubuntu, rhel]", "rhel", true),
            ("in ubuntu, rhel", "cos", false),
            ("not in [535.1, 535.2]", "570.1", true),
            // A set is what `==` is, for each member.
            ("not in [1.35.4]", "v1.35.4", false),
            ("not in [535.1, banana]", "banana", false),
            ("in [22.04, rolling]", "rolling", true),
            ("in [8, 9]", "9.4", true),
            ("== v1.33.5-eks-1", "v1.33.5-eks-2", false),
            ("!= v1.33.5-eks-1", "v1.33.5-eks-2", true),
            ("== 96.00.74.00.1A", "96.00.74.00.1B", false),
            ("== 96.00.74.00.1A", "96.00.74.00.1A", true),
            (">= 80GB", "81559 MiB", true),
            ("570 .. 580", "580.65.06", true),
            ("570 .. 580", "590.1", false),
            ("1.33..1.35", "v1.36.0", false),
            (">= 79 GiB", "81559 MiB", true),
            ("inference", "inference", true),
        ] {
            assert_eq!(holds(value, reading), Ok(wanted), "{reading} against `{value}`");
        }
        assert_eq!(holds(">= 1.34", "banana"), Err("`banana` is not a version".to_owned()));
        assert_eq!(holds("not in [1.34]", "banana"), Err("`banana` is not a version".to_owned()));
        assert!(holds(">= 79 GiB", "700 W").is_err_and(|why| why.contains("does not measure the same thing")));
        let with_unit = Constraint { unit: Some("MiB".to_owned()), ..constraint(">= 81000") };
        let rule = Rule::parse(&with_unit).expect("a rule");
        assert_eq!((rule.holds("81559"), rule.holds("80 GiB"), rule.holds("70 GiB")), (Ok(true), Ok(true), Ok(false)));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_and_not_taken_for_text() {
        for (value, says) in [
            ("", "its value is empty"),
            ("~> 1.32", "no operator that is known"),
            (">>= 1.32.4", "no operator that is known"),
            ("=> 1.32", "no operator that is known"),
            ("= 1.32", "no operator that is known"),
            ("^1.2", "no operator that is known"),
            (">=", "nothing follows the operator"),
            (">= banana", "neither a version nor a number"),
            (">= 96.00.74.00.1A", "neither a version nor a number"),
            ("580 .. 570", "ends before it begins"),
            ("570 .. 80 GB", "mixes units"),
            ("in []", "empty set"),
            ("in [a", "bracket without its other half"),
            (">= 5 parsecs", "not a known unit"),
        ] {
            let error = Rule::parse(&constraint(value)).expect_err(value);
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(error.chain().contains(says) && error.chain().contains("OS.release.ID"), "{value}: {}", error.chain());
        }
        let text = Constraint { value_type: Some(ValueType::String), ..constraint(">= b") };
        assert!(Rule::parse(&text).is_err(), "text has no order");
        let unit = Constraint { unit: Some("stones".to_owned()), ..constraint(">= 1") };
        assert!(Rule::parse(&unit).is_err());
        let mixed = Constraint { value_type: Some(ValueType::Range), ..constraint("in [1, 2]") };
        assert!(Rule::parse(&mixed).is_err());
    }

    #[test]
    fn for_how_many_it_must_hold() {
        let rule = |quantifier| Rule::parse(&Constraint { quantifier, ..constraint("x") });
        let enough = |quantifier, held, all| rule(quantifier).expect("a rule").enough(held, 0, all);
        assert!(enough(Quantifier::All, 3, 3) && !enough(Quantifier::All, 2, 3) && !enough(Quantifier::All, 0, 0));
        assert!(enough(Quantifier::Any, 1, 3) && !enough(Quantifier::Any, 0, 3));
        let count = |text: &str| Quantifier::Count(text.to_owned());
        assert!(enough(count(">= 4"), 4, 8) && !enough(count(">= 4"), 3, 8) && !enough(count("== 0"), 0, 0));
        assert!(enough(count("2"), 2, 8) && !enough(count("2"), 3, 8) && enough(count("== 0"), 0, 8));
        for bad in ["some", ">= 0", "< 0"] {
            assert!(rule(count(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_could_not_be_told_may_be_the_case_or_not() {
        let count =
            |text: &str| Rule::parse(&Constraint { quantifier: Quantifier::Count(text.to_owned()), ..constraint("x") }).expect("a rule");
        for (text, held, unknown, wanted) in [
            ("== 0", 0, 1, false),
            ("== 0", 0, 0, true),
            ("<= 1", 1, 1, false),
            ("<= 2", 1, 1, true),
            ("< 2", 0, 1, true),
            ("!= 3", 2, 1, false),
            (">= 2", 1, 5, false),
            (">= 2", 2, 5, true),
        ] {
            assert_eq!(count(text).enough(held, unknown, 8), wanted, "{text}: {held} and {unknown} unknown");
        }
    }
}
