//! How registries are reached, as flags of every command that reaches one.

use std::path::PathBuf;

use crate::progress::transfer::Transfer;
use crate::registry::{Meter, Options};
use crate::ui::Ui;

/// How registries are reached. Credentials are those of docker and podman.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RegistryArgs {
    /// Talk plain HTTP to a registry on this machine.
    #[arg(long, env = "SEATRIAL_PLAIN_HTTP")]
    plain_http: bool,
    /// Talk plain HTTP to any registry: evidence and credentials go over the network in the clear.
    #[arg(long, env = "SEATRIAL_INSECURE_PLAIN_HTTP")]
    insecure_plain_http: bool,
    /// Trust the certificate authorities in this file (PEM) for the registry, besides the usual ones.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_REGISTRY_CA")]
    registry_ca: Option<PathBuf>,
}

impl RegistryArgs {
    /// The same as options of a registry, whose transfers are shown; `what` is waited for.
    #[must_use]
    pub fn options_shown(&self, ui: &Ui, what: &str) -> Options {
        let transfer = Transfer::new(ui, what);
        Options { meter: Meter::new(move |moved| transfer.moved(moved.done, moved.total)), ..self.options() }
    }

    /// The same as options of a registry.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            plain_http: self.plain_http,
            insecure_plain_http: self.insecure_plain_http,
            authority: self.registry_ca.clone(),
            ..Options::default()
        }
    }
}
