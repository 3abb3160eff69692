//! Whom a certificate names: just enough of DER to find it. rustls has checked the certificate
//! before it is asked for here; a malformed one names nobody.

use std::fmt::Write as _;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const OCTETS: u8 = 0x04;
/// A URI among the names of the extension.
const URI: u8 = 0x86;
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

/// One element: its tag and content; `rest` goes on behind it.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, after) = rest.split_first()?;
    let (first, mut after) = after.split_first()?;
    let mut len = usize::from(*first);
    if len & 0x80 != 0 {
        let bytes = len & 0x7f;
        if bytes > 4 {
            return None;
        }
        let (digits, behind) = after.split_at_checked(bytes)?;
        len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
        after = behind;
    }
    let (content, behind) = after.split_at_checked(len)?;
    *rest = behind;
    Some((*tag, content))
}

fn expect<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    next(rest).filter(|(own, _)| *own == tag).map(|(_, content)| content)
}

/// The certificate from its serial number on, behind which come algorithm, issuer, validity and
/// subject.
fn from_serial(mut certificate: &[u8]) -> Option<&[u8]> {
    let mut whole = expect(&mut certificate, SEQUENCE)?;
    let mut rest = expect(&mut whole, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        next(&mut rest)?;
    }
    Some(rest)
}

/// What follows the certificate's issuer and validity: the subject and all behind it.
fn from_subject(certificate: &[u8]) -> Option<&[u8]> {
    let mut rest = from_serial(certificate)?;
    for _ in 0..4 {
        next(&mut rest)?;
    }
    Some(rest)
}

/// The serial number in hex.
pub fn serial(certificate: &[u8]) -> Option<String> {
    let number = expect(&mut from_serial(certificate)?, INTEGER)?;
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    let mut text = String::new();
    for byte in &number[leading..] {
        write!(text, "{byte:02X}").expect("a string takes everything");
    }
    Some(text)
}

/// The end of validity, in seconds since 1970.
pub fn ends_s(certificate: &[u8]) -> Option<i64> {
    let mut rest = from_serial(certificate)?;
    for _ in 0..3 {
        next(&mut rest)?;
    }
    let mut validity = expect(&mut rest, SEQUENCE)?;
    next(&mut validity)?;
    let (tag, text) = next(&mut validity)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, text) = text.split_at_checked(if tag == UTC_TIME { 2 } else { 4 })?;
    let year: i64 = year.parse().ok()?;
    let century = if tag != UTC_TIME {
        0
    } else if year < 50 {
        2000
    } else {
        1900
    };
    let two = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let days = days_since_1970(century + year, two(0)?, two(2)?);
    Some(((days * 24 + two(4)?) * 60 + two(6)?) * 60 + two(8)?)
}

/// Of a date of the Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// The common name of the subject.
pub fn common_name(certificate: &[u8]) -> Option<&[u8]> {
    let mut rest = from_subject(certificate)?;
    let mut subject = expect(&mut rest, SEQUENCE)?;
    while let Some(mut set) = expect(&mut subject, SET) {
        let mut pair = expect(&mut set, SEQUENCE)?;
        if expect(&mut pair, OID)? == COMMON_NAME {
            return next(&mut pair).map(|(_, value)| value);
        }
    }
    None
}

/// The first URI among the subject's alternative names.
pub fn uri(certificate: &[u8]) -> Option<&[u8]> {
    let mut rest = from_subject(certificate)?;
    let mut extensions = std::iter::from_fn(|| next(&mut rest))
        .find(|(tag, _)| *tag == EXTENSIONS)
        .and_then(|(_, mut content)| expect(&mut content, SEQUENCE))?;
    while let Some(mut extension) = expect(&mut extensions, SEQUENCE) {
        if expect(&mut extension, OID)? != ALTERNATIVE_NAMES {
            continue;
        }
        // "Critical" may stand between.
        let mut octets = std::iter::from_fn(|| next(&mut extension))
            .find(|(tag, _)| *tag == OCTETS)
            .map(|(_, content)| content)?;
        let mut names = expect(&mut octets, SEQUENCE)?;
        return std::iter::from_fn(|| next(&mut names))
            .find(|(tag, _)| *tag == URI)
            .map(|(_, name)| name);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_certificate() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "an organisation");
        params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
        let name = "spiffe://example/alice".try_into().expect("it is ASCII");
        params.subject_alt_names.push(rcgen::SanType::URI(name));
        params.serial_number = Some(123_456_u64.into());
        // One second before 2027 in a zone that has no other name.
        params.not_after = rcgen::date_time_ymd(2027, 1, 1) - std::time::Duration::from_secs(1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        assert_eq!(common_name(made.der()), Some(&b"alice"[..]));
        assert_eq!(uri(made.der()), Some(&b"spiffe://example/alice"[..]));
        assert_eq!(ends_s(made.der()), Some(1_798_761_599));
        assert_eq!(serial(made.der()).as_deref(), Some("01E240"));
        for cut in 0..made.der().len() {
            // Whatever is missing, nothing panics.
            let _ = (common_name(&made.der()[..cut]), uri(&made.der()[..cut]));
            let _ = (serial(&made.der()[..cut]), ends_s(&made.der()[..cut]));
        }
    }
}
