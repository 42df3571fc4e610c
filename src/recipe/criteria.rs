//! Criteria: which clusters a recipe or an overlay is for, and what is asked for.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};
use crate::ui::printable;

/// The dimensions in the order of a recipe's name, nodes apart.
pub const DIMENSIONS: [&str; 5] = ["accelerator", "service", "os", "intent", "platform"];

/// Words of each dimension that are known whatever overlays there are: those that ship, and those that other tools know.
const KNOWN: [(&str, &[&str]); 5] = [
    ("accelerator", &["a100", "b200", "gb200", "gb300", "h100", "h200", "l40", "l40s", "mi300x", "rtx-pro-6000", "vr200"]),
    ("service", &["aks", "bcm", "eks", "generic", "gke", "k0s", "kind", "lke", "metal3", "oke", "openshift", "rke2", "sim"]),
    ("os", &["amazonlinux", "cos", "ol", "rhel", "talos", "ubuntu"]),
    ("intent", &["inference", "training"]),
    ("platform", &["dynamo", "kserve", "kubeflow", "nim", "runai", "slurm"]),
];

/// Other words for a value; what stands for `any` is empty.
const ALIASES: [(&str, &str, &str); 6] = [
    ("service", "self-managed", ""),
    ("service", "self", ""),
    ("service", "vanilla", ""),
    ("service", "ocp", "openshift"),
    ("os", "al2", "amazonlinux"),
    ("os", "al2023", "amazonlinux"),
];

/// Which clusters something is for; a dimension that is not stated is any.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Criteria {
    /// Where Kubernetes comes from: `eks`, `gke`, `aks`, `openshift`, `kind`, `sim`.
    #[serde(default, deserialize_with = "service", skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The GPU: `h100`, `gb200`, `mi300x`.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// What the cluster is for: `training` or `inference`.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// The operating system of the GPU nodes: `ubuntu`, `rhel`, `cos`, `amazonlinux`.
    #[serde(default, deserialize_with = "os", skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// What the workloads run on: `kubeflow`, `dynamo`, `kserve`.
    #[serde(default, deserialize_with = "plain", skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// GPU nodes, at least.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
}

fn service<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    word("service", deserializer)
}

fn os<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    word("os", deserializer)
}

fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    word("", deserializer)
}

fn word<'de, D: Deserializer<'de>>(dimension: &str, deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    normal(dimension, &text).map_err(serde::de::Error::custom)
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.filter(|nodes| *nodes > 0))
}

/// The one form of a value: lower case, aliases replaced; `None` for any.
fn normal(dimension: &str, text: &str) -> Result<Option<String>, String> {
    let text = text.trim().to_lowercase();
    let text = ALIASES.iter().find(|(of, alias, _)| *of == dimension && *alias == text).map_or(text.as_str(), |(_, _, word)| word);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    match text {
        "" | "any" => Ok(None),
        text if text.len() <= 40 && text.bytes().all(allowed) => Ok(Some(text.to_owned())),
        text => Err(format!("`{}` is not a word of letters, digits and hyphens", printable(text))),
    }
}

/// The words that each dimension may have.
#[derive(Clone, Debug, Default)]
pub struct Words(BTreeMap<&'static str, BTreeSet<String>>);

impl Words {
    /// The words known anyway and those of some criteria.
    pub fn of<'a>(all: impl IntoIterator<Item = &'a Criteria>) -> Self {
        let mut words =
            Self(KNOWN.iter().map(|(dimension, words)| (*dimension, words.iter().map(|word| (*word).to_owned()).collect())).collect());
        for criteria in all {
            for dimension in DIMENSIONS {
                if let (Some(word), Some(known)) = (criteria.get(dimension), words.0.get_mut(dimension)) {
                    known.insert(word.to_owned());
                }
            }
        }
        words
    }

    /// The words of a dimension, sorted.
    pub fn in_dimension(&self, dimension: &str) -> impl Iterator<Item = &str> {
        self.0.get(dimension).into_iter().flatten().map(String::as_str)
    }

    /// Sets a dimension from text that a person wrote.
    ///
    /// # Errors
    /// A usage error with the nearest word and all of them.
    pub fn set(&self, criteria: &mut Criteria, dimension: &str, text: &str) -> Result<()> {
        let known: Vec<&str> = self.in_dimension(dimension).collect();
        let value = normal(dimension, text).map_err(|cause| Error::usage(format!("{dimension} {cause}")))?;
        if let Some(value) = &value
            && !known.contains(&value.as_str())
        {
            let error = Error::usage(format!("there is no {dimension} `{value}`"));
            let error = match crate::error::nearest(value, known.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            };
            return Err(error.hint(format!("known: {}, any", known.join(", "))));
        }
        if let Some(slot) = criteria.slot(dimension) {
            *slot = value;
        }
        Ok(())
    }

    /// Criteria from the name of a recipe, such as `h100-eks-training-kubeflow`; `None` if a part of it is no known word.
    #[must_use]
    pub fn read_name(&self, name: &str) -> Option<Criteria> {
        let mut criteria = Criteria::default();
        // Case does not matter, as everywhere in criteria.
        let name = name.to_ascii_lowercase();
        let mut rest = name.as_str();
        while !rest.is_empty() {
            if let Some(count) = rest.strip_prefix("nodes") {
                criteria.nodes = Some(count.parse().ok().filter(|nodes| *nodes > 0)?);
                break;
            }
            let fits = |word: &&str| rest.strip_prefix(*word).is_some_and(|after| after.is_empty() || after.starts_with('-'));
            let found = DIMENSIONS.iter().filter(|dimension| criteria.get(dimension).is_none());
            let found = found.flat_map(|dimension| self.in_dimension(dimension).filter(fits).map(move |word| (*dimension, word)));
            let (dimension, word) = found.max_by_key(|(_, word)| word.len())?;
            *criteria.slot(dimension)? = Some(word.to_owned());
            rest = &rest[word.len()..];
            if !rest.is_empty() {
                rest = rest.strip_prefix('-').filter(|rest| !rest.is_empty())?;
            }
        }
        (criteria != Criteria::default()).then_some(criteria)
    }
}

impl Criteria {
    /// The value of one of [`DIMENSIONS`].
    #[must_use]
    pub fn get(&self, dimension: &str) -> Option<&str> {
        match dimension {
            "accelerator" => self.accelerator.as_deref(),
            "service" => self.service.as_deref(),
            "os" => self.os.as_deref(),
            "intent" => self.intent.as_deref(),
            "platform" => self.platform.as_deref(),
            _ => None,
        }
    }

    fn slot(&mut self, dimension: &str) -> Option<&mut Option<String>> {
        match dimension {
            "accelerator" => Some(&mut self.accelerator),
            "service" => Some(&mut self.service),
            "os" => Some(&mut self.os),
            "intent" => Some(&mut self.intent),
            "platform" => Some(&mut self.platform),
            _ => None,
        }
    }

    /// What is stated: dimension and value, in the order of a recipe's name.
    #[must_use]
    pub fn stated(&self) -> Vec<(&'static str, String)> {
        let words = DIMENSIONS.iter().filter_map(|dimension| Some((*dimension, self.get(dimension)?.to_owned())));
        words.chain(self.nodes.map(|nodes| ("nodes", nodes.to_string()))).collect()
    }

    /// True if a dimension, or `nodes`, is stated.
    #[must_use]
    pub fn states(&self, dimension: &str) -> bool {
        self.get(dimension).is_some() || (dimension == "nodes" && self.nodes.is_some())
    }

    /// These criteria with one dimension, or `nodes`, left open.
    #[must_use]
    pub fn without(&self, dimension: &str) -> Self {
        let mut open = self.clone();
        match open.slot(dimension) {
            Some(slot) => *slot = None,
            None => open.nodes = None,
        }
        open
    }

    /// These criteria with one dimension set.
    #[must_use]
    pub fn with(&self, dimension: &str, value: Option<&str>) -> Self {
        let mut set = self.clone();
        if let Some(slot) = set.slot(dimension) {
            *slot = value.map(str::to_owned);
        }
        set
    }

    /// How much is stated: the more, the more specific. Empty and any are the same.
    #[must_use]
    pub fn specificity(&self) -> usize {
        self.stated().len()
    }

    /// True if something with these criteria is for what a query asks: what is any here fits all, what is any in the query fits only any.
    #[must_use]
    pub fn fit(&self, query: &Self) -> bool {
        let words = DIMENSIONS.iter().all(|dimension| self.get(dimension).is_none() || self.get(dimension) == query.get(dimension));
        words && self.nodes.is_none_or(|least| query.nodes.is_some_and(|nodes| nodes >= least))
    }

    /// These criteria, with what they leave open taken from others; `Err` names a dimension in which they differ.
    ///
    /// # Errors
    /// The dimension and both values.
    pub fn within(&self, outer: &Self) -> Result<Self, (&'static str, String, String)> {
        let mut both = self.clone();
        for dimension in DIMENSIONS {
            match (self.get(dimension), outer.get(dimension)) {
                (Some(own), Some(other)) if own != other => return Err((dimension, own.to_owned(), other.to_owned())),
                (None, Some(other)) => {
                    if let Some(slot) = both.slot(dimension) {
                        *slot = Some(other.to_owned());
                    }
                }
                _ => {}
            }
        }
        both.nodes = self.nodes.max(outer.nodes);
        Ok(both)
    }

    /// The name of the recipe that is resolved for these criteria.
    #[must_use]
    pub fn name(&self) -> String {
        let words = DIMENSIONS.iter().filter_map(|dimension| self.get(dimension).map(str::to_owned));
        let parts: Vec<String> = words.chain(self.nodes.map(|nodes| format!("nodes{nodes}"))).collect();
        if parts.is_empty() { "base".to_owned() } else { parts.join("-").replace('.', "-") }
    }

    /// In words, for messages.
    #[must_use]
    pub fn in_words(&self) -> String {
        let stated: Vec<String> = self.stated().into_iter().map(|(dimension, value)| format!("{dimension} {value}")).collect();
        if stated.is_empty() { "any cluster".to_owned() } else { stated.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml;

    fn read(text: &str) -> Criteria {
        yaml::from_str(text, "c.yaml").expect(text)
    }

    #[test]
    fn aliases_case_any_and_empty_have_one_form() {
        assert_eq!(read("{service: EKS, os: al2023, platform: any, nodes: 0}"), read("{service: eks, os: amazonlinux, intent: ''}"));
        assert_eq!(read("{service: self-managed}"), Criteria::default());
        assert_eq!(read("{service: ocp}").service.as_deref(), Some("openshift"));
        assert_eq!(read("{}").specificity(), read("{service: any, os: '', nodes: 0}").specificity());
    }

    #[test]
    fn an_unknown_word_is_named_with_the_nearest_and_all_of_them() {
        let words = Words::of([]);
        let mut criteria = Criteria::default();
        let error = words.set(&mut criteria, "service", "ekss").expect_err("is refused");
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert_eq!(error.hints()[0], "did you mean `eks`?");
        assert!(error.hints()[1].contains("openshift"), "{:?}", error.hints());
        words.set(&mut criteria, "service", "Vanilla").expect("is any");
        assert_eq!(criteria, Criteria::default());
    }

    #[test]
    fn a_name_is_read_back_whatever_the_order_and_the_hyphens() {
        let words = Words::of([]);
        let criteria = read("{accelerator: rtx-pro-6000, service: eks, intent: training, platform: kubeflow, nodes: 4}");
        assert_eq!(criteria.name(), "rtx-pro-6000-eks-training-kubeflow-nodes4");
        assert_eq!(words.read_name(&criteria.name()), Some(criteria));
        assert_eq!(words.read_name("eks-h100"), Some(read("{accelerator: h100, service: eks}")));
        assert_eq!(words.read_name("eks-gke"), None);
        assert_eq!(words.read_name("h100-nonsense"), None);
    }

    fn any_criteria() -> impl Strategy<Value = Criteria> {
        let word = || proptest::option::of(prop_oneof![Just("a".to_owned()), Just("b".to_owned())]);
        (word(), word(), word(), word(), word(), proptest::option::of(1_u32..4))
            .prop_map(|(service, accelerator, intent, os, platform, nodes)| Criteria { service, accelerator, intent, os, platform, nodes })
    }

    proptest! {
        #[test]
        fn what_fits_is_never_more_specific_than_what_is_asked(overlay in any_criteria(), query in any_criteria()) {
            if overlay.fit(&query) {
                prop_assert!(overlay.specificity() <= query.specificity());
            }
            prop_assert!(Criteria::default().fit(&query) && query.fit(&query));
            prop_assert!(query == Criteria::default() || !query.fit(&Criteria::default()));
        }

        #[test]
        fn what_is_within_others_is_at_least_as_specific(a in any_criteria(), b in any_criteria()) {
            if let Ok(both) = a.within(&b) {
                prop_assert!(both.specificity() >= a.specificity().max(b.specificity()));
                prop_assert!(b.fit(&both) && a.fit(&both));
            }
        }
    }
}
