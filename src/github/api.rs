//! Requests to GitHub's API: retries, rate limits, pages, and which kind of error an answer is.

use std::time::Duration;

use jiff::Timestamp;
use octocrab::{Octocrab, Page};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::retry::{Failure, retry};

/// GitHub's API, with the token of the environment.
#[derive(Clone, Debug)]
pub struct Api(Octocrab);

impl Api {
    /// The API that `GITHUB_API_URL` names, or GitHub.com's, with `GITHUB_TOKEN`.
    ///
    /// # Errors
    /// [`Kind::Denied`] if there is no token; a usage error if the address is none.
    pub fn of_environment() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let token = variable("GITHUB_TOKEN").ok_or_else(|| {
            Error::new(Kind::Denied, "there is no GITHUB_TOKEN")
                .hint("pass it in the step's environment: GITHUB_TOKEN: ${{ github.token }}")
        })?;
        Self::new(&variable("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned()), token)
    }

    /// The API at an address.
    ///
    /// # Errors
    /// A usage error if the address is none, an internal one if there can be no client.
    pub fn new(address: &str, token: String) -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits::CONNECT)
            .timeout(limits::GITHUB_ANSWER)
            // A token goes where it was made for and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::internal("prepare to ask GitHub").because(error))?;
        let builder = Octocrab::builder().personal_token(token).base_uri(address.to_owned());
        let wrong = |error: octocrab::Error| Error::usage(format!("GITHUB_API_URL is {address}, which is no address")).because(error);
        Ok(Self(builder.map_err(wrong)?.build_with_reqwest(client).map_err(wrong)?))
    }

    /// Reads one thing.
    ///
    /// # Errors
    /// As the answer has it, after retries.
    pub async fn get<T: DeserializeOwned + 'static>(&self, doing: &str, path: &str) -> Result<T> {
        retry(limits::GITHUB_TRIES, || async { self.0.get(path, None::<&()>).await.map_err(|error| failure(doing, error)) }).await
    }

    /// Reads a list to its end.
    ///
    /// # Errors
    /// As the answers have it; [`Kind::Inconclusive`] if the list is longer than [`limits::GITHUB_PAGES`] pages.
    pub async fn list<T: DeserializeOwned + 'static>(&self, doing: &str, path: &str) -> Result<Vec<T>> {
        let path = format!("{path}{}per_page=100", if path.contains('?') { '&' } else { '?' });
        let first = retry(limits::GITHUB_TRIES, || async { self.0.get(&path, None::<&()>).await.map_err(|error| failure(doing, error)) });
        let mut page: Page<T> = first.await?;
        let mut all = Vec::new();
        for _ in 0..limits::GITHUB_PAGES {
            all.append(&mut page.items);
            let Some(next) = page.next.take() else { return Ok(all) };
            let next = Some(next);
            let turned: Option<Page<T>> =
                retry(limits::GITHUB_TRIES, || async { self.0.get_page(&next).await.map_err(|error| failure(doing, error)) }).await?;
            page = turned.ok_or_else(|| Error::internal(format!("{doing}: a page without an address")))?;
        }
        Err(Error::new(Kind::Inconclusive, format!("{doing}: there are more than {} pages", limits::GITHUB_PAGES)))
    }

    /// Changes something, where doing it twice is the same as doing it once.
    ///
    /// # Errors
    /// As the answer has it, after retries.
    pub async fn patch<T: DeserializeOwned + 'static>(&self, doing: &str, path: &str, body: &impl Serialize) -> Result<T> {
        retry(limits::GITHUB_TRIES, || async { self.0.patch(path, Some(body)).await.map_err(|error| failure(doing, error)) }).await
    }

    /// Makes something that is named by its content, so that it can be made again.
    ///
    /// # Errors
    /// As the answer has it, after retries.
    pub async fn make<T: DeserializeOwned + 'static>(&self, doing: &str, path: &str, body: &impl Serialize) -> Result<T> {
        retry(limits::GITHUB_TRIES, || async { self.0.post(path, Some(body)).await.map_err(|error| failure(doing, error)) }).await
    }

    /// Makes something new, once: an answer that was lost may have been a yes.
    ///
    /// # Errors
    /// As the answer has it.
    pub async fn create<T: DeserializeOwned + 'static>(&self, doing: &str, path: &str, body: &impl Serialize) -> Result<T> {
        self.0.post(path, Some(body)).await.map_err(|error| failure(doing, error).error)
    }

    /// Removes something; what is gone already is gone.
    ///
    /// # Errors
    /// As the answer has it, after retries.
    pub async fn delete(&self, doing: &str, path: &str) -> Result<()> {
        let gone = retry(limits::GITHUB_TRIES, || async {
            let answer = self.0._delete(path, None::<&()>).await.map_err(|error| failure(doing, error))?;
            octocrab::map_github_error(answer).await.map(drop).map_err(|error| failure(doing, error))
        });
        match gone.await {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// What an error of the library is to us.
fn failure(doing: &str, error: octocrab::Error) -> Failure {
    match error {
        octocrab::Error::GitHub { source, .. } => {
            let status = source.status_code.as_u16();
            // Something on the way may answer with a whole page.
            let said = format!("{doing}: GitHub answered {status}, {}", crate::gate::shown(&source.message));
            let limited = rate_limit(&source);
            match status {
                403 | 429 if limited.is_some() || status == 429 => {
                    let wait = limited.unwrap_or(limits::BACKOFF_MAX);
                    let error = Error::new(Kind::Unavailable, format!("{said}; more requests are allowed in {} s", wait.as_secs()));
                    let hint = "run the job again then; a token of a GitHub App has a limit of its own";
                    match wait <= limits::GITHUB_WAIT {
                        true => Failure::transient(error.hint(hint)).after(Some(wait)),
                        false => error.hint(hint).into(),
                    }
                }
                401 | 403 => Failure::from(Error::new(Kind::Denied, said).hint("the job's `permissions` decide what its token may do")),
                404 | 410 => Failure::from(Error::new(Kind::NotFound, said)),
                409 => Failure::from(Error::new(Kind::Conflict, said)),
                500.. => Failure::transient(Error::new(Kind::Unavailable, said)),
                _ => Failure::from(Error::usage(said)),
            }
        }
        octocrab::Error::Serde { .. } | octocrab::Error::Json { .. } => {
            Failure::from(Error::new(Kind::Schema, format!("{doing}: GitHub's answer is not what it should be")).because(error))
        }
        octocrab::Error::Service { .. } | octocrab::Error::Hyper { .. } | octocrab::Error::Reqwest { .. } => {
            Failure::transient(Error::new(Kind::Unavailable, format!("{doing}: GitHub's API does not answer")).because(error))
        }
        other => Failure::from(Error::internal(doing.to_owned()).because(other)),
    }
}

/// How long to wait, if the answer is about a rate limit.
fn rate_limit(error: &octocrab::GitHubError) -> Option<Duration> {
    let header = |name: &str| error.headers.as_ref()?.get(name)?.to_str().ok()?.parse::<u64>().ok();
    if let Some(seconds) = header("retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    (header("x-ratelimit-remaining") == Some(0)).then(|| {
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        Duration::from_secs(header("x-ratelimit-reset").unwrap_or(now).saturating_sub(now).max(1))
    })
}
