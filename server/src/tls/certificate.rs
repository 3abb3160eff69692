//! Whom a certificate names: just enough of DER to find it. rustls has checked the certificate
//! before it is asked for here; a malformed one names nobody.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
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

/// What follows the certificate's issuer and validity: the subject and all behind it.
fn from_subject(mut certificate: &[u8]) -> Option<&[u8]> {
    let mut whole = expect(&mut certificate, SEQUENCE)?;
    let mut rest = expect(&mut whole, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        next(&mut rest)?;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        next(&mut rest)?;
    }
    Some(rest)
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
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        assert_eq!(common_name(made.der()), Some(&b"alice"[..]));
        assert_eq!(uri(made.der()), Some(&b"spiffe://example/alice"[..]));
        for cut in 0..made.der().len() {
            // Whatever is missing, nothing panics.
            let _ = (common_name(&made.der()[..cut]), uri(&made.der()[..cut]));
        }
    }
}
