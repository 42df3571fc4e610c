//! Logging in: an identity token for whoever sits at the terminal, by a code that is typed in on any device, or by a browser on this one.
//!
//! Nothing is asked of the issuer before the person has agreed that the name goes into a public log.

mod browser;
mod device;
mod issuer;

use sigstore_oidc::IdentityToken;

use crate::error::{Error, Result};
use crate::sign::{services, token};
use crate::ui::{Ui, printable};

/// The client that Sigstore's issuers know, and the audience that its certificate authority wants.
const CLIENT_ID: &str = "sigstore";
/// What is asked for: a token, and the address that it names.
const SCOPES: [&str; 2] = ["openid", "email"];

/// How a person logs in, where no token is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The issuer; the one of the signing config otherwise.
    pub issuer: Option<String>,
    /// The OAuth client; `sigstore` otherwise.
    pub client_id: Option<String>,
    /// By a code that is typed in on any device, and not by a browser here.
    pub device: bool,
    /// The person has agreed that the name goes into a public log.
    pub agreed: bool,
}

/// Where somebody would log in: in a browser here, or anywhere by a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Browser,
    Device,
}

impl Login {
    /// How somebody could log in here.
    fn way(&self, ui: Option<&Ui>) -> Result<Way> {
        let asks = ui.is_some_and(Ui::can_ask);
        match self.device {
            true if asks || (self.agreed && ui.is_some()) => Ok(Way::Device),
            true => Err(Error::usage("logging in publishes who you are, and there is no terminal on which to ask whether you agree")
                .hint("give --yes if you do; --key signs without a name")),
            false if asks => Ok(Way::Browser),
            false => Err(token::none()),
        }
    }

    /// Says, without asking anybody, whether somebody can log in here.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if nobody can.
    pub(super) fn check(&self, ui: Option<&Ui>) -> Result<()> {
        self.way(ui).map(drop)
    }

    /// Has somebody log in at an issuer. `issuer` is the signing config's.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if nobody can or agrees, [`Kind::Denied`](crate::error::Kind::Denied) if the issuer or the
    /// person refuses, or the answer is not to this login, [`Kind::Timeout`](crate::error::Kind::Timeout) if nobody does it.
    pub(super) async fn token(&self, issuer: &str, ui: Option<&Ui>) -> Result<IdentityToken> {
        let way = self.way(ui)?;
        let ui = ui.ok_or_else(token::none)?;
        let issuer = self.issuer.as_deref().unwrap_or(issuer);
        let client = self.client_id.as_deref().unwrap_or(CLIENT_ID);
        self.agree(issuer, ui).await?;
        let issuer = issuer::discover(issuer, client, services::client()?).await?;
        let token = match way {
            Way::Browser => browser::token(&issuer, ui).await,
            Way::Device => device::token(&issuer, ui).await,
        };
        ui.clear_live();
        let token = token?;
        ui.line(format!("  signing as {}", printable(token.identity())));
        Ok(token)
    }

    /// Asks whether the name may be published, unless that was said beforehand.
    async fn agree(&self, issuer: &str, ui: &Ui) -> Result<()> {
        let what = format!(
            "signing without a key publishes the e-mail address with which you log in at {}: certificate and log are public and keep it for good",
            printable(issuer)
        );
        if self.agreed {
            ui.line(format!("  {what}"));
            return Ok(());
        }
        let (asked, question) = (ui.clone(), format!("{what}; log in?"));
        // On a thread of its own: an interrupt is heard meanwhile.
        let answer = tokio::task::spawn_blocking(move || asked.ask(&question)).await;
        if answer.map_err(|error| Error::internal("ask on the terminal").because(error))?? {
            return Ok(());
        }
        Err(Error::usage("not confirmed, and nothing was asked of the issuer")
            .hint("give --yes to agree beforehand, or --key to sign with a key, which publishes no name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::ui::Mode;

    #[test]
    fn without_a_terminal_nobody_logs_in_by_browser_and_by_code_only_who_has_agreed() {
        // Tests have no terminal that could be asked in this mode.
        let ui = Ui::new(Some(Mode::Json), false);
        let way = |device, agreed, ui| Login { device, agreed, ..Login::default() }.way(ui).map_err(|error| error.kind());
        assert_eq!(way(true, true, Some(&ui)), Ok(Way::Device));
        for (device, agreed, ui) in [(true, false, Some(&ui)), (false, true, Some(&ui)), (false, false, Some(&ui)), (true, true, None)] {
            assert_eq!(way(device, agreed, ui), Err(Kind::Usage), "{device} {agreed}");
        }
    }
}
