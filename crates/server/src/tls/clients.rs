use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ingest::Allowed;
use model::{Principal, PrincipalName, Role};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use webpki::EndEntityCert;

use super::Tls;
use super::files::Presence;

/// Names that gateways may have.
#[derive(Debug, Clone)]
pub(super) struct Names {
    listed: Arc<[String]>,
    /// By name in small letters.
    devices: Arc<BTreeMap<String, Arc<Allowed>>>,
}

impl Names {
    /// These, or any, if there are none; and the devices that some of them may report for.
    pub(super) fn of(names: &[String], devices: &BTreeMap<String, Arc<Allowed>>) -> Self {
        let small = devices.iter().map(|(name, devices)| (name.to_ascii_lowercase(), Arc::clone(devices)));
        Self { listed: names.into(), devices: Arc::new(small.collect()) }
    }

    fn allow(&self, name: &PrincipalName) -> bool {
        self.listed.is_empty() || self.listed.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()))
    }

    fn devices(&self, name: &PrincipalName) -> Arc<Allowed> {
        self.devices.get(&name.as_str().to_ascii_lowercase()).map_or_else(Arc::default, Arc::clone)
    }
}

/// Why a certificate that is signed well does not let its gateway in. The gateway's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum NoName {
    #[error("the certificate has neither a DNS name nor a common name that names a principal")]
    Missing,
    #[error("the name in the certificate is kept for the server's own use")]
    Reserved,
    #[error("the name in the certificate is not in `tls_client_names`")]
    NotListed,
}

/// Whose certificates count.
#[derive(Debug)]
pub(super) struct Clients {
    /// For those who come.
    pub(super) door: Arc<dyn ClientCertVerifier>,
    /// For those who are in.
    pub(super) inside: Arc<dyn ClientCertVerifier>,
    pub(super) names: Names,
}

impl Clients {
    pub(super) fn at_the_door(&self, presence: Presence) -> Door {
        Door { signed: Arc::clone(&self.door), names: self.names.clone(), presence }
    }
}

/// Checks who signed a certificate, and then whom it names.
#[derive(Debug)]
pub(super) struct Door {
    signed: Arc<dyn ClientCertVerifier>,
    names: Names,
    presence: Presence,
}

impl ClientCertVerifier for Door {
    fn client_auth_mandatory(&self) -> bool {
        self.presence == Presence::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signed.verify_client_cert(end_entity, intermediates, now)?;
        let named = name_of(end_entity, &self.names);
        named.map_err(|error| CertificateError::Other(OtherError(Arc::new(error))))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// A gateway that logged on by certificate, as long as its connection lasts.
pub(crate) struct Client {
    tls: Arc<Tls>,
    chain: Vec<CertificateDer<'static>>,
    principal: Arc<Principal>,
    devices: Arc<Allowed>,
    /// The epoch in which it was checked last.
    checked: AtomicU64,
    is_lost: AtomicBool,
}

/// Without the certificates.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Client {
    /// Whoever presented `chain` in a handshake that was verified in `epoch`.
    pub(super) fn of(tls: &Arc<Tls>, epoch: u64, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let clients = tls.material().clients.clone()?;
        let name = name_of(chain.first()?, &clients.names).ok()?;
        let devices = clients.names.devices(&name);
        let principal = Arc::new(Principal { name, role: Role::Gateway, organisation: None });
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        let (checked, is_lost) = (AtomicU64::new(epoch), AtomicBool::new(false));
        Some(Self { tls: Arc::clone(tls), chain, principal, devices, checked, is_lost })
    }

    pub(crate) const fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The devices that it may report for.
    pub(crate) const fn devices(&self) -> &Arc<Allowed> {
        &self.devices
    }

    /// Whether its certificate still holds. One look at a number, and a check of signatures once an epoch.
    pub(crate) fn holds(&self) -> bool {
        if self.is_lost.load(Ordering::Acquire) {
            return false;
        }
        let epoch = self.tls.epoch();
        if self.checked.load(Ordering::Acquire) == epoch {
            return true;
        }
        let holds = self.check();
        if holds {
            self.checked.store(epoch, Ordering::Release);
        } else {
            self.is_lost.store(true, Ordering::Release);
        }
        holds
    }

    fn check(&self) -> bool {
        let (Some(clients), Some((own, above))) = (self.tls.material().clients.clone(), self.chain.split_first())
        else {
            return false;
        };
        clients.inside.verify_client_cert(own, above, UnixTime::now()).is_ok()
    }
}

/// Whom a certificate names: its first DNS name, or else its common name.
fn name_of(certificate: &CertificateDer<'_>, allowed: &Names) -> Result<PrincipalName, NoName> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| NoName::Missing)?;
    let dns = certificate.valid_dns_names().next();
    let name = dns.or_else(|| common_name(certificate.subject())).ok_or(NoName::Missing)?;
    let name = PrincipalName::new(name).map_err(|_| NoName::Missing)?;
    if store::RESERVED.contains(&name.as_str()) {
        return Err(NoName::Reserved);
    }
    if allowed.allow(&name) { Ok(name) } else { Err(NoName::NotListed) }
}

/// The first common name of a subject, RFC 5280 section 4.1.2.4: `SET OF SEQUENCE { type, value }`, one after the other.
fn common_name(mut subject: &[u8]) -> Option<&str> {
    /// 2.5.4.3.
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    const UTF8_STRING: u8 = 0x0c;
    const PRINTABLE_STRING: u8 = 0x13;
    while let Some((_, mut set, rest)) = element(subject) {
        subject = rest;
        while let Some((_, pair, more)) = element(set) {
            set = more;
            let (_, kind, value) = element(pair)?;
            let (tag, text, _) = element(value)?;
            if kind == COMMON_NAME && matches!(tag, UTF8_STRING | PRINTABLE_STRING) {
                return std::str::from_utf8(text).ok();
            }
        }
    }
    None
}

/// Tag, content and what follows of the DER at the front of `bytes`. Lengths of up to two bytes: no name is longer.
pub(super) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match (first, rest) {
        (0..=0x7f, rest) => (usize::from(first), rest),
        (0x81, [length, rest @ ..]) => (usize::from(*length), rest),
        (0x82, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
