//! Reads the kubeconfig: which server, as whom, through which proxy; and says what is wrong with it.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::client::AuthError;
use kube::config::{Config, Context, KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};

use crate::cluster::{Target, trouble};
use crate::error::{Error, Kind, Result};

/// What to do without a kubeconfig.
const HINT: &str = "give --kubeconfig FILE, set KUBECONFIG, or start a simulated cluster with `seatrial sim up`";

/// What to do about files that a kubeconfig names and that are not here.
const ELSEWHERE: &str = "was it made on another machine? `kubectl config view --flatten --raw` there takes the files along";

/// A context, ready to connect.
pub(super) struct Configured {
    /// What to connect with.
    pub(super) config: Config,
    /// The context's name.
    pub(super) context: String,
    /// Host and port of the proxy, if one is used.
    pub(super) proxy: Option<String>,
    /// The program that gives credentials, if one does.
    pub(super) program: Option<String>,
}

/// Reads the context that is meant.
///
/// # Errors
/// [`Kind::Usage`] if there is none, or if it points to nothing.
pub(super) async fn configure(target: &Target) -> Result<Configured> {
    let file = match &target.kubeconfig {
        Some(path) => {
            Kubeconfig::read_from(path).map_err(|error| unreadable(&error).context(format!("read kubeconfig {}", path.display())))?
        }
        None => match from_everywhere() {
            Ok(file) => file,
            Err(error) => {
                // No kubeconfig: inside a pod there is a service account instead.
                let inside = Config::incluster().map_err(|_| unreadable(&error))?;
                return Ok(Configured { config: inside, context: "in-cluster".to_owned(), proxy: None, program: None });
            }
        },
    };
    let name = target.context.clone().or_else(|| file.current_context.clone()).filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(match file.contexts.is_empty() {
            true => Error::usage("the kubeconfig has no contexts").hint(HINT),
            false => Error::usage("the kubeconfig has no current context")
                .hint(format!("give --context NAME: {}", list(file.contexts.iter().map(|known| known.name.as_str())))),
        });
    };
    let Some(context) = file.contexts.iter().find(|known| known.name == name) else {
        let known = list(file.contexts.iter().map(|known| known.name.as_str()));
        return Err(Error::usage(format!("the kubeconfig has no context `{name}`")).hint(format!("it has: {known}")));
    };
    let context = context.context.clone().unwrap_or_default();
    complete(&file, &name, &context)?;
    let own_proxy =
        file.clusters.iter().find(|known| known.name == context.cluster).and_then(|known| known.cluster.as_ref()?.proxy_url.clone());
    let user = file.auth_infos.iter().find(|known| Some(&known.name) == context.user.as_ref()).and_then(|known| known.auth_info.as_ref());
    let program = user.and_then(|user| user.exec.as_ref()?.command.clone());
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(file, &options).await;
    let mut config = config.map_err(|error| wrong_part(&error).context(format!("use kubeconfig context {name}")))?;
    config.proxy_url = match own_proxy.filter(|proxy| !proxy.is_empty()) {
        Some(proxy) => Some(address(&proxy, "proxy-url of the kubeconfig")?),
        None => from_environment(&config.cluster_url)?,
    };
    let proxy = config.proxy_url.as_ref().map(|proxy| {
        let port = proxy.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", proxy.host().unwrap_or_default())
    });
    Ok(Configured { config, context: name, proxy, program })
}

/// What `KUBECONFIG` names, merged; of several files, those that are not there are passed over, as kubectl does.
fn from_everywhere() -> Result<Kubeconfig, KubeconfigError> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let mut there = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty() && path.exists());
    match there.next() {
        None => Kubeconfig::read(),
        Some(first) => there.try_fold(Kubeconfig::read_from(first)?, |all, next| all.merge(Kubeconfig::read_from(next)?)),
    }
}

/// The proxy that the environment wants for a server; none for one on this machine, or one that `NO_PROXY` names.
///
/// kube reads `HTTPS_PROXY` as well, but compares `NO_PROXY` with the proxy instead of with the server.
fn from_environment(server: &Uri) -> Result<Option<Uri>> {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if here || server.scheme_str() != Some("https") || Matcher::from_env().intercept(server).is_none() {
        return Ok(None);
    }
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let named = names.into_iter().find_map(|name| Some((name, std::env::var(name).ok().filter(|value| !value.is_empty())?)));
    named.map(|(name, value)| address(&value, name)).transpose()
}

/// The address of a proxy. What it was given as may hold a password, and is not shown.
fn address(given: &str, from: &str) -> Result<Uri> {
    let full = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let uri: Option<Uri> = full.parse().ok();
    uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        .ok_or_else(|| Error::usage(format!("{from} is no address of an HTTP proxy")).hint("write it as http://HOST:PORT"))
}

/// Refuses a context whose parts are not there; without its user, everything would be asked by nobody and denied.
fn complete(file: &Kubeconfig, name: &str, context: &Context) -> Result<()> {
    if !file.clusters.iter().any(|known| known.name == context.cluster) {
        let known = list(file.clusters.iter().map(|known| known.name.as_str()));
        let message = format!("kubeconfig context {name} is for cluster `{}`, which the kubeconfig does not have", context.cluster);
        return Err(Error::usage(message).hint(format!("clusters there: {known}")));
    }
    match context.user.as_ref().filter(|user| !user.is_empty()) {
        Some(user) if !file.auth_infos.iter().any(|known| known.name == *user) => {
            let known = list(file.auth_infos.iter().map(|known| known.name.as_str()));
            let message = format!("kubeconfig context {name} is for user `{user}`, which the kubeconfig does not have");
            Err(Error::usage(message).hint(format!("users there: {known}")))
        }
        _ => Ok(()),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A kubeconfig that cannot be read.
fn unreadable(error: &KubeconfigError) -> Error {
    match error {
        KubeconfigError::ReadConfig(cause, path) if cause.kind() == std::io::ErrorKind::NotFound => {
            Error::usage(format!("there is no kubeconfig {}", path.display())).hint(HINT)
        }
        KubeconfigError::ReadConfig(cause, path) => {
            Error::usage(format!("kubeconfig {} cannot be read: {cause}", path.display())).hint(HINT)
        }
        KubeconfigError::FindPath => Error::usage("there is no kubeconfig: KUBECONFIG and HOME are not set").hint(HINT),
        other => Error::usage(format!("it is no kubeconfig: {}", trouble::root_cause(other))).hint("is it the file that you meant?"),
    }
}

/// A part of a kubeconfig that cannot be used.
fn wrong_part(error: &KubeconfigError) -> Error {
    let wrong = Error::usage(error.to_string());
    match error {
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
            wrong.hint(ELSEWHERE)
        }
        _ => wrong.hint(HINT),
    }
}

/// Why no client can be made of a configuration: mostly a program that should give credentials and does not.
pub(super) fn unusable(error: kube::Error, doing: &str, program: Option<&str>) -> Error {
    let program = program.unwrap_or("a program");
    match error {
        kube::Error::Auth(AuthError::AuthExecStart(cause)) => Error::new(
            Kind::Denied,
            format!("{doing}: the kubeconfig takes credentials from `{program}`, which cannot be started: {cause}"),
        )
        .hint(format!("install {program}, or put it on PATH")),
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            let said = String::from_utf8_lossy(&out.stderr).trim().lines().last().unwrap_or("it says nothing").to_owned();
            Error::new(Kind::Denied, format!("{doing}: `{program}`, which should give credentials, ended with {}: {said}", out.status))
                .hint(format!("log in again: {program} says how"))
        }
        kube::Error::Auth(_) => trouble::explain(error, doing),
        other => match missing_file(&other) {
            Some(file) => Error::usage(format!("{doing}: the kubeconfig names the file {file}, which cannot be read")).hint(ELSEWHERE),
            None => Error::usage(format!("{doing}: {}", trouble::root_cause(&other)))
                .hint("look at the certificates and keys in the kubeconfig"),
        },
    }
}

/// The file that a kubeconfig names and that cannot be read, if that is the trouble.
fn missing_file(error: &kube::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(LoadDataError::ReadFile(_, path)) = error.downcast_ref() {
            return Some(path.display().to_string());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_proxy_is_read_and_never_shown_where_it_is_wrong() {
        assert_eq!(address("proxy.example.com:3128", "HTTPS_PROXY").expect("an address").to_string(), "http://proxy.example.com:3128/");
        assert_eq!(address("http://u:p@proxy:1", "HTTPS_PROXY").expect("an address").host(), Some("proxy"));
        for wrong in ["socks5://u:hidden@proxy:1", "http://u:hidden@", "http://u:hidden@bad host"] {
            let error = address(wrong, "HTTPS_PROXY").expect_err(wrong);
            assert!(error.chain().contains("HTTPS_PROXY") && !error.chain().contains("hidden"), "{}", error.chain());
        }
    }
}
