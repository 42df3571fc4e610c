//! Reads what an exporter says: the text formats of Prometheus and OpenMetrics, series by series.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prometheus_scraper::borrowed::{MetricFamily, MetricValue};
use prometheus_scraper::{Format, TextFormat, parse_payload};

use crate::cluster::Answer;
use crate::limits;

/// One series of one scrape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// The metric.
    pub(super) name: String,
    /// Labels.
    pub(super) labels: BTreeMap<String, String>,
    /// The value.
    pub(super) value: f64,
    /// When it was measured, where the exporter says so.
    pub(super) at: Option<Timestamp>,
}

/// One scrape.
#[derive(Clone, Debug, Default)]
pub(super) struct Exposition {
    /// Every counter, gauge and untyped series.
    pub(super) series: Vec<Series>,
    /// Metrics that are described and have no series.
    pub(super) empty: Vec<String>,
    /// What could not be read, if anything.
    pub(super) broken: Option<String>,
}

impl Exposition {
    /// Reads an answer in the format that it says it has.
    pub(super) fn of(answer: &Answer) -> Self {
        let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let format = if kind.starts_with("application/openmetrics-text") { TextFormat::OpenMetrics } else { TextFormat::Prometheus };
        Self::read(&answer.body, format)
    }

    /// Reads a text.
    pub(super) fn read(text: &[u8], format: TextFormat) -> Self {
        let mut read = Self::default();
        for family in parse_payload(text, Format::Text(format)) {
            match family {
                Ok(family) => read.add(&family),
                Err(error) if read.broken.is_none() => {
                    read.broken = Some(error.to_string().chars().take(limits::QUOTED_CHARS).collect());
                }
                Err(_) => {}
            }
        }
        read
    }

    fn add(&mut self, family: &MetricFamily<'_>) {
        let before = self.series.len();
        for metric in &family.metric {
            let value = match &metric.value {
                MetricValue::Counter(counter) => counter.value.as_f64(),
                MetricValue::Gauge(number) | MetricValue::Untyped(number) => number.as_f64(),
                // Distributions say nothing of a single GPU.
                _ => continue,
            };
            let at = metric.timestamp.as_ref().and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
            let labels = metric.label.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect();
            self.series.push(Series { name: family.name.to_string(), labels, value, at });
        }
        if self.series.len() == before && family.metric.is_empty() {
            self.empty.push(family.name.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Exposition {
        Exposition::read(text.as_bytes(), TextFormat::Prometheus)
    }

    #[test]
    fn series_are_read_with_labels_that_hold_commas_quotes_and_equals_signs() {
        let scraped = read(
            "# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).\n# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n\
             DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-1\",modelName=\"a, \\\"b\\\"=c\"} 91\n\
             DCGM_FI_DEV_GPU_UTIL{gpu=\"1\",UUID=\"GPU-2\",modelName=\"\"} 0.5 1763800000500\n\
             # TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter\n\
             DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"0\",UUID=\"GPU-1\"} 15152422938\n",
        );
        assert_eq!((scraped.series.len(), &scraped.broken), (3, &None), "{scraped:?}");
        assert_eq!(scraped.series[0].labels["modelName"], "a, \"b\"=c");
        assert_eq!((scraped.series[1].value, scraped.series[1].at.map(|at| at.as_millisecond())), (0.5, Some(1_763_800_000_500)));
        assert_eq!((scraped.series[2].name.as_str(), scraped.series[2].value), ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 15_152_422_938.0));
        // Some exporters describe nothing.
        assert_eq!(read("DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 1\nDCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 2\n").series.len(), 2);
    }

    #[test]
    fn descriptions_without_series_are_told_and_what_is_no_exposition_is_broken() {
        let described = read("# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).\n# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n");
        assert_eq!((described.series.len(), described.empty), (0, vec!["DCGM_FI_DEV_GPU_UTIL".to_owned()]));
        assert!(read("<html>\n<body>Not Found</body>\n</html>\n").broken.is_some());
        assert!(read("DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} many\n").broken.is_some());
        assert!(read("DCGM_FI_DEV_GPU_UTIL{gpu=\"0\" 1\n").broken.is_some());
    }

    #[test]
    fn openmetrics_says_seconds() {
        let scraped = Exposition::read(b"# TYPE a gauge\na{b=\"c\"} 1 1763800000.5\n# EOF\n", TextFormat::OpenMetrics);
        assert_eq!(scraped.series[0].at.map(|at| at.as_millisecond()), Some(1_763_800_000_500), "{scraped:?}");
    }
}
