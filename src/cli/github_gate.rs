//! How `seatrial gate --github` knows what it judges, who approved, and where its report goes.

use std::path::Path;

use crate::cli::Cx;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::gate::{Approvals, GateReport, markdown};
use crate::github::{Api, Event, publish, reviews};
use crate::limits;

/// The workflow run that a gate is part of.
pub(crate) struct Gated {
    event: Event,
    /// The API, or why it is not asked.
    api: Result<Api, Error>,
}

impl Gated {
    /// The workflow run of this process' environment.
    ///
    /// # Errors
    /// Where this is none, or its event cannot be read.
    pub(crate) fn of_environment() -> Result<Self> {
        Ok(Self { event: Event::of_environment()?, api: publish::api()? })
    }

    /// Base and head, by the event.
    ///
    /// # Errors
    /// A usage error if nothing is to be merged.
    pub(crate) fn change(&self) -> Result<(String, String)> {
        let change = self.event.change().map(|(base, head)| (base.to_owned(), head.to_owned()));
        change.ok_or_else(|| {
            Error::usage("this event merges nothing").hint("run the gate on pull_request_target and merge_group, or name --base and --head")
        })
    }

    /// Who approved, with the teams among the owners that each reviewer is in.
    pub(crate) async fn approvals(&self, owners: &[String]) -> Approvals {
        match &self.api {
            Ok(api) => reviews::approvals(api, &self.event, owners).await,
            Err(error) => Approvals { given: Vec::new(), unknown: Some(error.chain()) },
        }
    }

    /// Tells the pull request, and the step's summary and outputs, what it came to; `file` is where the report was written.
    ///
    /// # Errors
    /// If the summary or the outputs cannot be written; what GitHub does not take is a warning, as the decision stands without it.
    pub(crate) async fn tell(&self, report: &GateReport, file: Option<&Path>, cx: &Cx) -> Result<()> {
        cx.ui.step_summary(&markdown::write(report, limits::GITHUB_SUMMARY_BYTES)?)?;
        outputs(report, file, cx)?;
        let annotations = match &self.api {
            Ok(api) => {
                cx.ui.waiting("GitHub to take the report");
                let told = publish::tell(api, &self.event, report).await?;
                cx.ui.clear_live();
                if told.left_out.is_empty() {
                    cx.ui.line(format!("  {told}"));
                } else {
                    cx.ui.warn(told.to_string());
                }
                told.annotations
            }
            Err(error) => {
                cx.ui.warn(format!("reported as the step summary only: {}", error.chain()));
                publish::annotations(report)
            }
        };
        for note in annotations {
            cx.ui.annotate_line(&note.path, note.start_line, &note.title, &note.message);
        }
        Ok(())
    }
}

/// Sets the outputs of a step of GitHub's.
fn outputs(report: &GateReport, file: Option<&Path>, cx: &Cx) -> Result<()> {
    let exit = Exit::ALL.iter().copied().find(|exit| exit.code() == report.exit).unwrap_or(Exit::Inconclusive);
    let reason = report.reason.map_or(exit.name(), crate::reason::Reason::id);
    cx.ui.outputs(&[("report", &file.map(|file| file.display().to_string()).unwrap_or_default())])?;
    cx.ui.outputs(&[("decision", report.decision.word()), ("verdict", exit.name()), ("reason", reason)])?;
    cx.ui.outputs(&[("accepted", &report.counts.accepted.to_string()), ("refused", &report.counts.refused.to_string())])
}
