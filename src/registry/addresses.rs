//! Which addresses are on the public internet, by number and by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// True for addresses of the public internet: not this machine, not a private network, not a cloud's metadata service.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special =
        address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast() || address.is_documentation();
    // 0/8 this network, 100.64/10 carriers and Alibaba's metadata, 192.0.0/24 protocols, 198.18/15 benchmarks, 240/4 reserved.
    let reserved = a == 0 || (a == 100 && (64..128).contains(&b)) || (a, b, c) == (192, 0, 0) || (a == 198 && b & 0xfe == 18) || a >= 240;
    !special && !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let documentation = address.segments()[..2] == [0x2001, 0xdb8];
    // Only 2000::/3 is given out on the public internet.
    first & 0xe000 == 0x2000 && !documentation
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64, 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// The host of an address, without the brackets of IPv6.
pub(crate) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// True if a host, by its name alone, is not on the public internet; names that only a resolver knows are not looked up.
pub(crate) fn is_private_by_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(|address| !is_public(address))
}

/// Hosts of the proxies that the environment names.
pub(crate) fn proxies() -> Vec<String> {
    let named = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().filter_map(|name| std::env::var(name).ok());
    let url = |text: String| if text.contains("://") { Url::parse(&text) } else { Url::parse(&format!("http://{text}")) };
    named.filter_map(|text| url(text).ok()).map(|url| host(&url).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_loopback_link_local_and_metadata_addresses_are_not_public_in_any_spelling() {
        for private in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fe80::1",
            "fd00:ec2::254",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(private.parse().expect(private)), "{private}");
            assert!(is_private_by_name(private), "{private}");
        }
        for public in ["1.1.1.1", "140.82.121.4", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        assert!(is_private_by_name("localhost.") && is_private_by_name("a.localhost") && !is_private_by_name("localhost.example.com"));
    }

    #[test]
    fn an_address_in_disguise_is_seen_as_what_it_is() {
        for disguised in ["https://2130706433/", "https://0x7f.1/", "https://017700000001/", "https://127.1/", "https://[::ffff:7f00:1]/"] {
            assert!(is_private_by_name(host(&Url::parse(disguised).expect(disguised))), "{disguised}");
        }
    }
}
