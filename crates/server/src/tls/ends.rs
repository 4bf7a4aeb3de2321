use model::Timestamp;

use super::clients::element;

/// When a certificate ends, RFC 5280 section 4.1: `notAfter` of its validity. `None`: it is no certificate, or not dated.
///
/// ```text
/// SEQUENCE { SEQUENCE { [0] version?, serial, algorithm, issuer, SEQUENCE { notBefore, notAfter }, .. }, .. }
/// ```
pub(super) fn ends_at(certificate: &[u8]) -> Option<Timestamp> {
    const VERSION: u8 = 0xa0;
    let (_, signed, _) = element(certificate)?;
    let (_, body, _) = element(signed)?;
    let (first, _, after_first) = element(body)?;
    // A certificate of the first version does not say so.
    let mut rest = if first == VERSION { element(after_first)?.2 } else { after_first };
    for _ in ["algorithm", "issuer"] {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    time_of(tag, std::str::from_utf8(text).ok()?)
}

/// `YYMMDDHHMMSSZ` of the years 1950 to 2049, or `YYYYMMDDHHMMSSZ`, as section 4.1.2.5 has them.
fn time_of(tag: u8, text: &str) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let digits = match (tag, digits.len()) {
        (UTC_TIME, 12) => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| digits.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Timestamp::from_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_says_when_it_ends_in_both_kinds_of_dates() {
        for (year, expected) in [(2031, "2031-03-04T00:00:00Z"), (2077, "2077-03-04T00:00:00Z")] {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 3, 4));
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let der: &[u8] = certificate.der();
            assert_eq!(ends_at(der), Timestamp::from_rfc3339(expected));
            assert!((0..der.len()).all(|cut| ends_at(&der[..cut]).is_none()), "it is cut");
        }
        assert_eq!(ends_at(b"no certificate"), None);
        assert_eq!(time_of(0x17, "500101000000Z"), Timestamp::from_rfc3339("1950-01-01T00:00:00Z"));
        assert_eq!((time_of(0x17, "5001010000Z"), time_of(0x18, "20310304000000+0000")), (None, None));
    }
}
