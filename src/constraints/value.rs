//! The values that constraints compare: versions, numbers with a unit, text.

use std::cmp::Ordering;

/// A version: numeric components, and whether it is a pre-release of them.
///
/// `v1.33.5-eks-3025e55` is 1.33.5 of a provider's build; `1.33.0-rc.1` comes before 1.33.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    components: Vec<u64>,
    pre_release: Option<String>,
    /// What follows the numbers, as it is spelt.
    suffix: String,
}

/// Words that begin a pre-release; any other suffix is a build of the version before it.
const PRE_RELEASE: &[&str] = &["alpha", "beta", "rc", "pre", "dev"];

impl Version {
    /// Reads a version; nothing if the text does not begin with a number.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let components: Vec<u64> =
            numbers.strip_suffix('.').unwrap_or(numbers).split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let words = rest.trim_start_matches(['-', '_', '~', '.']).to_ascii_lowercase();
        let pre_release = (!rest.starts_with('+') && PRE_RELEASE.iter().any(|word| words.starts_with(word))).then_some(words);
        // A letter that belongs to the last number, as in the VBIOS 96.00.74.00.1A, makes it another kind of number.
        if !rest.is_empty() && !rest.starts_with(['-', '+', '_', '~']) && pre_release.is_none() {
            return None;
        }
        Some(Self { components, pre_release, suffix: rest.to_owned() })
    }

    /// Whether it is this version, as far as `wanted` goes: where that names a build, it is that build.
    pub(super) fn is(&self, wanted: &Self) -> bool {
        self.compare(wanted) == Ordering::Equal && (wanted.suffix.is_empty() || self.suffix == wanted.suffix)
    }

    /// Compares as far as `wanted` goes: 1.32.4 is equal to 1.32, and 1.32 is less than 1.32.4.
    pub(super) fn compare(&self, wanted: &Self) -> Ordering {
        let own = |index: usize| self.components.get(index).copied().unwrap_or(0);
        let numbers = wanted.components.iter().enumerate().map(|(index, component)| own(index).cmp(component));
        let numbers = numbers.fold(Ordering::Equal, Ordering::then);
        // A pre-release of a later patch of the same 1.33 is not before 1.33.
        let beyond = self.components.iter().skip(wanted.components.len()).any(|component| *component > 0);
        numbers.then_with(|| match (&self.pre_release, &wanted.pre_release) {
            (Some(_), None) if beyond => Ordering::Equal,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(own), Some(wanted)) => own.cmp(wanted),
            (None, None) => Ordering::Equal,
        })
    }
}

/// Units by what they measure, with their size in the first one of it.
const UNITS: &[&[(&str, f64)]] = &[
    &[
        ("B", 1.0),
        ("kB", 1e3),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
    ],
    &[
        ("B/s", 1.0),
        ("MB/s", 1e6),
        ("GB/s", 1e9),
        ("TB/s", 1e12),
        ("MiB/s", 1_048_576.0),
        ("GiB/s", 1_073_741_824.0),
        ("Mb/s", 1e6 / 8.0),
        ("Gb/s", 1e9 / 8.0),
        ("Mbit/s", 1e6 / 8.0),
        ("Gbit/s", 1e9 / 8.0),
        ("Gbps", 1e9 / 8.0),
    ],
    &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9)],
    &[("W", 1.0), ("mW", 1e-3), ("kW", 1e3)],
    &[("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("min", 60.0), ("h", 3600.0)],
    &[("tok/s", 1.0)],
    &[("%", 1.0)],
];

/// A number with what it measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    /// In the first unit of its kind.
    value: f64,
    /// Index into [`UNITS`]; none for a bare number.
    measures: Option<usize>,
}

impl Number {
    /// Reads `80 GiB`, `80`, `1.5e3 W`; a bare number takes `unit`, where there is one. The error says what is wrong.
    pub(super) fn parse(text: &str, unit: Option<&str>) -> Result<Self, String> {
        let text = text.trim();
        let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
        // The exponent's `e` is followed by a digit or sign; a unit is not.
        let mut end = text.find(|c: char| !digits(c)).unwrap_or(text.len());
        if text[end..].starts_with(['e', 'E']) && text[end + 1..].starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) {
            end = end + 1 + text[end + 1..].find(|c: char| !digits(c)).unwrap_or(text.len() - end - 1);
        }
        let (number, own_unit) = text.split_at(end);
        let value: Option<f64> = number.parse().ok().filter(|value: &f64| value.is_finite());
        let value = value.ok_or_else(|| format!("`{text}` is not a number"))?;
        let unit = match (own_unit.trim(), unit) {
            ("", None) => return Ok(Self { value, measures: None }),
            ("", Some(unit)) => unit,
            (own, _) => own,
        };
        let known = UNITS.iter().enumerate().find_map(|(index, units)| {
            let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
            Some((index, *size))
        });
        let (measures, size) = known.ok_or_else(|| format!("`{unit}` is not a known unit"))?;
        Ok(Self { value: value * size, measures: Some(measures) })
    }

    /// Compares; nothing if they measure different things. A bare number takes the other's unit only where that is the first of its kind.
    pub(super) fn compare(&self, wanted: &Self) -> Option<Ordering> {
        (self.measures == wanted.measures).then(|| self.value.partial_cmp(&wanted.value)).flatten()
    }
}

/// True for the name of a unit.
pub(super) fn is_unit(name: &str) -> bool {
    UNITS.iter().flat_map(|units| units.iter()).any(|(unit, _)| *unit == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(own: &str, wanted: &str) -> Ordering {
        Version::parse(own).expect(own).compare(&Version::parse(wanted).expect(wanted))
    }

    #[test]
    fn versions_compare_as_far_as_the_constraint_goes_and_pre_releases_come_before() {
        use Ordering::{Equal, Greater, Less};
        for (own, wanted, how) in [
            ("v1.32.4", "1.32", Equal),
            ("1.32", "1.32.4", Less),
            ("v1.33.5-eks-3025e55", "1.33.5", Equal),
            ("v1.34.1-gke.1829001", "1.34", Equal),
            ("v1.33.0-rc.1", "1.33.0", Less),
            ("v1.33.0-rc.1", "1.32", Greater),
            ("v1.33.1-alpha.2", "1.33", Equal),
            ("1.33.0-rc.2", "1.33.0-rc.1", Greater),
            ("6.8.0-1024-aws", "6.8", Equal),
            ("5.15.0-91-generic", "6.8", Less),
            ("24.04", "24.04", Equal),
            ("570.86.15", "570.86.16", Less),
            ("550.54.15.1", "550.54.15.2", Less),
            ("1.10", "1.9", Greater),
        ] {
            assert_eq!(compare(own, wanted), how, "{own} against {wanted}");
        }
        for text in ["", "banana", "[1,2]", "-1", "1..2", "1 2", "18446744073709551616", "96.00.74.00.1A", "80GB"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        let is = |own: &str, wanted: &str| Version::parse(own).expect(own).is(&Version::parse(wanted).expect(wanted));
        assert!(is("v1.33.5-eks-1", "1.33") && is("v1.33.5-eks-1", "v1.33.5-eks-1") && !is("v1.33.5-eks-2", "v1.33.5-eks-1"));
        assert!(is("1.34rc1", "1.34rc1") && !is("1.34rc1", "1.34"));
    }

    #[test]
    fn numbers_are_converted_and_different_measures_do_not_compare() {
        let number = |text: &str| Number::parse(text, None).expect(text);
        assert_eq!(number("80 GiB").compare(&number("81920MiB")), Some(Ordering::Equal));
        assert_eq!(number("400 Gbit/s").compare(&number("50 GB/s")), Some(Ordering::Equal));
        assert_eq!(number("1.5e3 W").compare(&number("1.5kW")), Some(Ordering::Equal));
        assert_eq!(number("80 GB").compare(&number("80 W")), None);
        assert_eq!(number("80").compare(&number("80 GB")), None);
        assert_eq!(Number::parse("80", Some("GB")).expect("unit given"), number("80 GB"));
        for text in ["", "GB", "1.2.3", "ten", "5 parsecs", "1e", "NaN", "1e999"] {
            assert!(Number::parse(text, None).is_err(), "{text}");
        }
    }
}
