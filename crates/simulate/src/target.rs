use std::fmt;
use std::str::FromStr;

use crate::Protocol;

/// Where the reports of one protocol go: read from `jt808=tcp://127.0.0.1:6808`.
///
/// ```
/// use simulate::{Protocol, Target, Transport};
///
/// let target: Target = "jt808=tcp://127.0.0.1:6808".parse()?;
/// assert_eq!((target.protocol, target.transport), (Protocol::Jt808, Transport::Tcp));
/// assert_eq!(target.address, "127.0.0.1:6808");
/// # Ok::<(), simulate::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What is spoken.
    pub protocol: Protocol,
    /// What carries it.
    pub transport: Transport,
    /// Host and port, as `host:port` or `[v6]:port`; looked up when the run starts.
    pub address: String,
}

/// What carries the bytes to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A stream; answers come back on it.
    Tcp,
    /// Datagrams.
    Udp,
    /// Requests. No device of the city speaks it yet.
    Http,
}

/// Why a text is no target. The caller's fault; the message says which part is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The `=` is missing.
    #[error("target {text:?} has no `=`; write PROTOCOL=tcp://HOST:PORT")]
    Equals {
        /// The whole text.
        text: String,
    },
    /// Nobody in the city speaks it.
    #[error(transparent)]
    Protocol(#[from] crate::UnknownProtocol),
    /// The `://` is missing or the word before it is none.
    #[error("target {text:?} has no transport; write tcp:// or udp:// before the address")]
    Transport {
        /// What stands behind the `=`.
        text: String,
    },
    /// The protocol does not run over it.
    #[error("the simulator does not speak {protocol} over {transport}; it does over tcp and udp")]
    Unspoken {
        /// The protocol.
        protocol: Protocol,
        /// The transport.
        transport: Transport,
    },
    /// The address is no host and port.
    #[error("address {address:?} has no host or no port from 1 to 65535; write HOST:PORT")]
    Address {
        /// The address.
        address: String,
    },
}

impl Transport {
    /// The word for it on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let shown = |text: &str| text.chars().take(128).collect::<String>();
        let (protocol, rest) = text.split_once('=').ok_or_else(|| TargetError::Equals { text: shown(text) })?;
        let protocol: Protocol = protocol.parse()?;
        let transport = || TargetError::Transport { text: shown(rest) };
        let (scheme, address) = rest.split_once("://").ok_or_else(transport)?;
        let known = [Transport::Tcp, Transport::Udp, Transport::Http];
        let transport = known.into_iter().find(|known| known.as_str() == scheme).ok_or_else(transport)?;
        if transport == Transport::Http {
            return Err(TargetError::Unspoken { protocol, transport });
        }
        let address = address.strip_suffix('/').unwrap_or(address);
        let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !has_port {
            return Err(TargetError::Address { address: shown(address) });
        }
        Ok(Self { protocol, transport, address: address.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}://{}", self.protocol, self.transport, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_print_as_they_are_read() {
        for text in ["jt808=tcp://127.0.0.1:6808", "nmea=udp://[::1]:10110", "muster=tcp://localhost:7300"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_target_is_told_what_is_wrong() {
        let error = |text: &str| text.parse::<Target>().unwrap_err().to_string();
        assert!(error("tcp://1.2.3.4:5").contains("has no `=`"), "{}", error("tcp://1.2.3.4:5"));
        assert!(error("gt06=tcp://1.2.3.4:5").contains("\"gt06\"; known are: muster, jt808, nmea, taip"));
        assert!(error("nmea=1.2.3.4:5").contains("has no transport"));
        assert!(error("nmea=mqtt://1.2.3.4:5").contains("has no transport"));
        assert!(error("muster=http://1.2.3.4:5").contains("does not speak muster over http"));
        for address in ["1.2.3.4", "1.2.3.4:0", ":5", "host:port", "host/x:5", "1.2.3.4:70000"] {
            assert!(error(&format!("taip=tcp://{address}")).contains("HOST:PORT"), "{address}");
        }
    }
}
