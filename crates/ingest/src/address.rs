use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use wire::{PROTOCOLS, Protocol, Transport};

/// `PROTOCOL=tcp://ADDR`: what a listener listens for, and where.
#[derive(Debug, Clone, Copy)]
pub struct ListenAddress {
    /// The protocol.
    pub protocol: &'static Protocol,
    /// What carries it.
    pub transport: Transport,
    /// Address and port.
    pub address: SocketAddr,
}

/// Why a text is no listen address. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not of the form `PROTOCOL=TRANSPORT://ADDRESS:PORT`.
    #[error("{text:?} is not of the form PROTOCOL=tcp|udp://ADDRESS:PORT, as in jt808=tcp://127.0.0.1:6808")]
    Form {
        /// What was written.
        text: String,
    },
    /// No such protocol.
    #[error("{name:?} is no protocol; known are: {known}")]
    Protocol {
        /// What was written.
        name: String,
        /// All of them.
        known: String,
    },
    /// The protocol does not run over this.
    #[error("{protocol} does not run over {transport:?}; it runs over: {known}")]
    Transport {
        /// The protocol.
        protocol: &'static str,
        /// What was written.
        transport: String,
        /// What would do.
        known: String,
    },
    /// No socket address.
    #[error("{address:?} is no ADDRESS:PORT (write 127.0.0.1, not a name)")]
    Socket {
        /// What was written.
        address: String,
    },
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form { text: text.to_owned() };
        let (name, rest) = text.split_once('=').ok_or_else(form)?;
        let (transport, address) = rest.split_once("://").ok_or_else(form)?;
        let protocol = wire::protocol(name).ok_or_else(|| AddressError::Protocol {
            name: name.to_owned(),
            known: PROTOCOLS.iter().map(|protocol| protocol.name).collect::<Vec<_>>().join(", "),
        })?;
        let mut transports = protocol.transports.iter().copied();
        let transport = transports.find(|one| one.as_str() == transport).ok_or_else(|| AddressError::Transport {
            protocol: protocol.name,
            transport: transport.to_owned(),
            known: protocol.transports.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        let address = address.parse().map_err(|_| AddressError::Socket { address: address.to_owned() })?;
        Ok(Self { protocol, transport, address })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}://{}", self.protocol.name, self.transport.as_str(), self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_they_print_and_errors_say_what_to_write() {
        let address: ListenAddress = "jt808=tcp://127.0.0.1:6808".parse().unwrap();
        assert_eq!(address.to_string(), "jt808=tcp://127.0.0.1:6808");
        let error = |text: &str| text.parse::<ListenAddress>().unwrap_err().to_string();
        assert!(error("jt808").contains("PROTOCOL=tcp|udp://ADDRESS:PORT"));
        assert!(error("jt809=tcp://127.0.0.1:1").contains("known are: muster, jt808"));
        assert!(error("jt808=http://127.0.0.1:1").contains("runs over: tcp, udp"));
        assert!(error("jt808=tcp://localhost:1").contains("write 127.0.0.1"));
    }
}
