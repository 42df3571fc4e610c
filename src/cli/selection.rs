//! What `plan`, `run` and `rbac` have in common: the workflow, the recipe, what may be done.

use std::time::Duration;

use clap::Args;

use crate::cli::node_facts::Asked;
use crate::cli::pods::PodArgs;
use crate::cli::{Cx, Global, parse};
use crate::cluster::{Cluster, Target};
use crate::data;
use crate::error::Result;
use crate::recipe::LoadedRecipe;
use crate::snapshot::{self, Snapshot};
use crate::steps::{Inputs, Publishing};
use crate::ui::Ui;
use crate::workflow::Loaded;

/// Which workflow with which recipe, and what it may do.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// The workflow: conformance, training or inference, or the path of a workflow file; without it, that of the recipe's intent,
    /// else conformance.
    #[arg(value_name = "WORKFLOW")]
    pub workflow: Option<String>,
    /// The recipe: the name of a shipped one, a file, `-`, https://… or cm://NAMESPACE/NAME; without it, the shipped one that the cluster fits.
    #[arg(short, long, env = "SEATRIAL_RECIPE", value_name = "NAME|SOURCE")]
    pub recipe: Option<String>,
    /// Create workloads; with `false` only the structural part of each check runs, and the verdict says so.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, env = "SEATRIAL_BEHAVIORAL_TESTS")]
    pub behavioral_tests: bool,
    /// The most GPUs that may be held at once; what wants more is skipped, by request.
    #[arg(long, value_name = "N", env = "SEATRIAL_MAX_GPUS")]
    pub max_gpus: Option<u32>,
    /// Refuse a plan whose worst case is longer than this many minutes.
    #[arg(long, value_name = "MINUTES", env = "SEATRIAL_BUDGET")]
    pub budget: Option<u64>,
    /// A namespace that an administrator made for us; otherwise each run makes and removes one of its own.
    #[arg(long, value_name = "NAME", env = "SEATRIAL_NAMESPACE", value_parser = parse::namespace)]
    pub namespace: Option<String>,
    /// How many seconds set-up waits for the cluster to settle.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, env = "SEATRIAL_SETTLE")]
    pub settle: u64,
    /// Whether GPU nodes are asked for their facts.
    #[command(flatten)]
    pub asked: Asked,
    /// How our pods look on this cluster.
    #[command(flatten)]
    pub pods: PodArgs,
}

impl Selection {
    /// The budget, if one was given.
    #[must_use]
    pub fn budget(&self) -> Option<Duration> {
        self.budget.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)))
    }

    /// Reads the workflow and the named recipe; `None` where the recipe is to be found by a look at the cluster.
    ///
    /// # Errors
    /// A usage error with file, line, column and the nearest known name.
    pub async fn read(&self, cx: &Cx) -> Result<(Loaded, Option<LoadedRecipe>)> {
        let recipe = match &self.recipe {
            Some(recipe) => Some(cx.read_recipe(recipe).await?),
            None => None,
        };
        let intent = recipe.as_ref().and_then(|recipe| recipe.recipe.spec.criteria.get("intent"));
        let intent = intent.filter(|intent| data::workflow_names().contains(intent));
        let workflow = Loaded::read(self.workflow.as_deref().or(intent).unwrap_or("conformance"))?;
        Ok((workflow, recipe))
    }

    /// The inputs of a run.
    ///
    /// # Errors
    /// A usage error that names the flag.
    pub fn inputs(&self, workflow: Loaded, recipe: LoadedRecipe, publishing: Publishing) -> Result<Inputs> {
        Ok(Inputs {
            pods: self.pods.options()?,
            node_facts: self.asked.options(self.pods.options()?)?,
            behavioral: self.behavioral_tests,
            max_gpus: self.max_gpus,
            settle: Duration::from_secs(self.settle),
            publishing,
            ..Inputs::new(workflow, recipe)
        })
    }
}

impl Global {
    /// The cluster that the global flags name.
    #[must_use]
    pub fn target(&self) -> Target {
        Target { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }

    /// Connects and takes a first, read-only look.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub async fn look(&self, ui: &Ui) -> Result<(Cluster, Snapshot)> {
        ui.waiting("the API server to answer");
        let cluster = Cluster::connect(&self.target()).await?;
        let snapshot = snapshot::collect(&cluster).await?;
        ui.clear_live();
        Ok((cluster, snapshot))
    }
}
