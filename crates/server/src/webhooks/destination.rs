//! Where a webhook may send to: what its URL says, and which addresses are open to it.
//!
//! Whoever writes a webhook chooses whom this server calls, so it must not become a way into the network that the server is in:
//! only public addresses are called, unless the configuration names others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::Uri;
use ingest::Allowed;

/// What the URL of a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) is_encrypted: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As it stands in the header `Host`.
    pub(crate) authority: String,
    pub(crate) path_and_query: String,
}

/// Why a URL is none that a webhook can have. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("is no URL: {problem}")]
    NoUrl { problem: String },
    #[error("must begin with http:// or https://")]
    Scheme,
    #[error("names no host")]
    NoHost,
    #[error("names no port from 1 to 65535 after the colon")]
    Port,
    #[error("must not name a user: put a credential into the query, or check the signature")]
    User,
    #[error("{address} is not public, and not in `webhook_networks` of the configuration")]
    NotAllowed { address: IpAddr },
    #[error("https needs `webhook_ca` of the configuration: the certificates that sign those of receivers")]
    NoRoots,
}

impl Target {
    pub(crate) fn of(url: &str) -> Result<Self, TargetError> {
        let uri: Uri = url.parse().map_err(|error| TargetError::NoUrl { problem: format!("{error}") })?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(TargetError::Scheme),
        };
        let authority = uri.authority().ok_or(TargetError::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(TargetError::NoHost);
        }
        let names_port = authority.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let port = match authority.port_u16() {
            None if names_port => return Err(TargetError::Port),
            Some(0) => return Err(TargetError::Port),
            None if is_encrypted => 443,
            None => 80,
            Some(port) => port,
        };
        Ok(Self {
            is_encrypted,
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path_and_query: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }

    /// The address, where the URL has one in place of a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// Addresses that webhooks may call besides the public ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Allowed);

impl Networks {
    /// Whether a webhook may call this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        // An empty list of `Allowed` lets everybody pass; here it lets nobody.
        is_public(address) || (self.0.names_networks() && self.0.has_address(address))
    }

    /// The first of these that may not be called. One is enough to call none: the name is not what it says.
    pub(crate) fn refused(&self, addresses: &[SocketAddr]) -> Option<IpAddr> {
        addresses.iter().map(SocketAddr::ip).find(|address| !self.has(*address))
    }
}

/// Whether an address is one of the internet's at large (registries of special-purpose addresses, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This network; private; carrier-grade NAT; loopback.
        (0 | 10 | 127, _, _) | (100, 64..=127, _) => true,
        // Link-local, with what clouds tell their machines; private.
        (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments; documentation; relays of 6to4; benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true,
        // Multicast; reserved; broadcast.
        (224.., _, _) => true,
        _ => false,
    };
    !is_special
}

/// Only 2000::/3 is given to the world; loopback, local, mapped, translated and multicast addresses are all outside.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_special = match (first, second) {
        // Protocol assignments with Teredo; documentation; 6to4, which has an IPv4 address inside; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => true,
        _ => false,
    };
    first & 0xe000 == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks(Allowed::new(&texts.iter().map(ToString::to_string).collect::<Vec<_>>(), &[]).unwrap())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        let refused = [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "169.254.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ];
        for text in refused {
            assert!(!Networks::default().has(address(text)), "{text}");
        }
        let allowed = ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.1.0.1", "223.255.0.1"];
        for text in allowed.into_iter().chain(["2606:4700::1111", "2400:cb00::1", "2001:200::1", "::ffff:1.1.1.1"]) {
            assert!(Networks::default().has(address(text)), "{text}");
        }
    }

    #[test]
    fn a_network_of_the_configuration_opens_itself_and_nothing_else() {
        let own = networks(&["10.1.0.0/16", "fd00::/8"]);
        assert!(own.has(address("10.1.2.3")) && own.has(address("::ffff:10.1.2.3")) && own.has(address("fd12::1")));
        assert!(!own.has(address("10.2.0.1")) && !own.has(address("127.0.0.1")) && !own.has(address("fc00::1")));
        assert!(own.has(address("1.1.1.1")));
    }

    /// A name that has one address outside and one inside is a way in.
    #[test]
    fn one_address_that_is_refused_refuses_the_name() {
        let of = |texts: &[&str]| texts.iter().map(|text| SocketAddr::new(address(text), 80)).collect::<Vec<_>>();
        assert_eq!(Networks::default().refused(&of(&["1.1.1.1", "127.0.0.1"])), Some(address("127.0.0.1")));
        assert_eq!(Networks::default().refused(&of(&["1.1.1.1", "8.8.8.8"])), None);
    }

    #[test]
    fn a_url_is_read_into_its_parts_or_refused_by_what_is_wrong() {
        let target = Target::of("https://cad.example:8443/in?key=1").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.is_encrypted), ("cad.example", 8443, true));
        assert_eq!((target.authority.as_str(), target.path_and_query.as_str()), ("cad.example:8443", "/in?key=1"));
        let target = Target::of("http://[::1]").unwrap();
        assert_eq!((target.address(), target.port, target.path_and_query.as_str()), (Some(address("::1")), 80, "/"));
        assert_eq!(Target::of("ftp://cad.example/"), Err(TargetError::Scheme));
        assert_eq!(Target::of("/events"), Err(TargetError::Scheme));
        assert_eq!(Target::of("http://user:pass@cad.example/"), Err(TargetError::User));
        for port in ["99999", "0", "-1", "http"] {
            assert!(Target::of(&format!("http://cad.example:{port}/")).is_err(), "{port}");
        }
        assert!(matches!(Target::of("http://"), Err(TargetError::NoUrl { .. })));
        assert!(matches!(Target::of("http://a b/"), Err(TargetError::NoUrl { .. })));
    }
}
