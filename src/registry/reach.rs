//! Where a registry may lead us: to the public internet, and no nearer to us than it is itself.
//!
//! Blobs often lie in an object store on another host. A registry of a private network may lead to a store of that network, one on
//! this machine to another server on it; one on the internet may lead to neither, and none to a cloud's metadata service.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt};

use super::addresses::{host, is_public, proxies};
use crate::limits;

/// How near an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Zone {
    Public = 0,
    Private = 1,
    Loopback = 2,
    /// Metadata services, link-local, multicast, reserved: no registry is there.
    Special = 3,
}

fn zone(address: IpAddr) -> Zone {
    let address = address.to_canonical();
    let metadata = ["100.100.100.200", "192.0.0.192", "fd00:ec2::254"];
    if is_public(address) {
        return Zone::Public;
    }
    if metadata.iter().any(|known| known.parse() == Ok(address)) {
        return Zone::Special;
    }
    match address {
        address if address.is_loopback() => Zone::Loopback,
        IpAddr::V4(address) if address.is_private() || matches!(address.octets(), [100, 64..128, ..]) => Zone::Private,
        IpAddr::V6(address) if address.is_unique_local() => Zone::Private,
        _ => Zone::Special,
    }
}

/// The zone of a host that is an address, or this machine by its name alone.
fn zone_by_name(host: &str) -> Option<Zone> {
    let host = host.trim_end_matches('.');
    if host == "localhost" || host.ends_with(".localhost") { Some(Zone::Loopback) } else { host.parse().ok().map(zone) }
}

/// What is not followed, and why.
#[derive(Debug)]
pub(super) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Refused {}

/// Keeps a registry from leading us where it must not.
pub(super) struct Guard {
    /// The registry's host.
    named: String,
    /// Hosts of the proxies that the environment names; they resolve the rest.
    proxies: Vec<String>,
    /// The registry's own zone, once it is known.
    own: AtomicU8,
}

impl Guard {
    pub(super) fn new(registry: &Url) -> Self {
        let named = host(registry).to_owned();
        let own = zone_by_name(&named).map_or(Zone::Public as u8, |zone| zone as u8);
        Self { named, proxies: proxies(), own: AtomicU8::new(own) }
    }

    fn allows(&self, zone: Zone) -> bool {
        zone == Zone::Public || (zone < Zone::Special && zone as u8 <= self.own.load(Ordering::Relaxed))
    }

    /// Why an address that the registry names is not gone to; none if it may be. Names are looked up only when they are gone to.
    pub(super) fn refuses(&self, url: &Url) -> Option<String> {
        let to = host(url);
        let near = to != self.named && zone_by_name(to).is_some_and(|zone| !self.allows(zone));
        near.then(|| format!("leads to {to}, which is nearer to us than the registry itself, and is not followed"))
    }

    /// Follows a few redirects, none from TLS to plain HTTP. Credentials are not sent to another host (reqwest drops them).
    pub(super) fn follow(&self, attempt: Attempt<'_>) -> Action {
        let to = host(attempt.url());
        let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
        let refused = if attempt.url().scheme() != "https" && secure {
            format!("leads to {to} over plain HTTP, and is not followed")
        } else if attempt.previous().contains(attempt.url()) {
            "leads in a circle".to_owned()
        } else if attempt.previous().len() > limits::REGISTRY_REDIRECTS {
            format!("leads from one address to the next, more than {} times", limits::REGISTRY_REDIRECTS)
        } else if let Some(refused) = self.refuses(attempt.url()) {
            refused
        } else {
            return attempt.follow();
        };
        attempt.error(Refused(refused))
    }

    /// The addresses of a name that may be gone to.
    fn usable(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        if self.proxies.iter().any(|proxy| proxy == name) {
            return Ok(found);
        }
        if name == self.named {
            // The user named it, wherever it is: the nearest of its addresses says where it may lead.
            let nearest = found.iter().map(|address| zone(address.ip())).filter(|zone| *zone != Zone::Special).max();
            self.own.fetch_max(nearest.map_or(Zone::Public as u8, |zone| zone as u8), Ordering::Relaxed);
            return Ok(found);
        }
        let (usable, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| self.allows(zone(address.ip())));
        match refused.first() {
            Some(address) if usable.is_empty() => Err(Refused(format!(
                "leads to {name} ({}), which is nearer to us than the registry itself, and is not followed",
                address.ip()
            ))),
            _ => Ok(usable),
        }
    }
}

/// A guard as the resolver of a client.
pub(super) struct Resolver(pub(super) std::sync::Arc<Guard>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, name) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let usable = guard.usable(&name, found)?;
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::cause_in;

    const ADDRESSES: [(&str, Zone); 16] = [
        ("1.1.1.1", Zone::Public),
        ("2606:4700::1111", Zone::Public),
        ("10.1.2.3", Zone::Private),
        ("172.16.0.1", Zone::Private),
        ("192.168.1.1", Zone::Private),
        ("100.64.0.1", Zone::Private),
        ("fd12::1", Zone::Private),
        ("127.0.0.1", Zone::Loopback),
        ("::1", Zone::Loopback),
        ("::ffff:127.0.0.1", Zone::Loopback),
        ("169.254.169.254", Zone::Special),
        ("100.100.100.200", Zone::Special),
        ("192.0.0.192", Zone::Special),
        ("fd00:ec2::254", Zone::Special),
        ("fe80::1", Zone::Special),
        ("0.0.0.0", Zone::Special),
    ];

    #[test]
    fn a_registry_leads_no_nearer_than_it_is_itself_and_never_to_a_metadata_service() {
        for (address, expected) in ADDRESSES {
            assert_eq!(zone(address.parse().expect(address)), expected, "{address}");
        }
        for (registry, own) in
            [("https://1.1.1.1/", Zone::Public), ("https://10.0.0.1/", Zone::Private), ("https://127.0.0.1/", Zone::Loopback)]
        {
            let guard = Guard::new(&Url::parse(registry).expect("an address"));
            for (address, zone) in ADDRESSES {
                let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
                let refused = guard.refuses(&Url::parse(&format!("https://{host}/x?secret")).expect("an address"));
                let allowed = zone == Zone::Public || (zone != Zone::Special && zone <= own);
                assert_eq!(refused.is_none(), allowed || registry.contains(&format!("/{host}/")), "{registry} to {address}");
                assert!(!refused.unwrap_or_default().contains("secret"));
            }
        }
    }

    #[test]
    fn a_name_is_judged_by_its_addresses_and_the_registrys_own_say_how_far_it_may_lead() {
        let at = |address: &str| vec![SocketAddr::new(address.parse().expect(address), 443)];
        let guard = Guard::new(&Url::parse("https://registry.example.com/").expect("an address"));
        for near in ["10.0.0.1", "127.0.0.1", "169.254.169.254"] {
            let refused = guard.usable("store.example.com", at(near)).expect_err(near).to_string();
            assert!(refused.contains(near), "{refused}");
        }
        assert!(guard.usable("store.example.com", at("1.1.1.1")).is_ok());
        guard.usable("registry.example.com", at("10.0.0.7")).expect("the user named it");
        assert!(guard.usable("store.example.com", at("10.0.0.1")).is_ok(), "both are in the private network");
        for near in ["127.0.0.1", "169.254.169.254"] {
            assert!(guard.usable("store.example.com", at(near)).is_err(), "{near}");
        }
        let mixed = [at("1.1.1.1"), at("169.254.169.254")].concat();
        assert_eq!(guard.usable("store.example.com", mixed).expect("one of them"), at("1.1.1.1"));
    }

    #[tokio::test]
    async fn the_resolver_refuses_a_name_of_this_machine() {
        let guard = std::sync::Arc::new(Guard::new(&Url::parse("https://registry.example.com/").expect("an address")));
        let refused = Resolver(guard).resolve("localhost".parse().expect("a name")).await.map(drop).expect_err("is refused");
        assert!(cause_in::<Refused>(refused.as_ref()).is_some(), "{refused}");
    }
}
