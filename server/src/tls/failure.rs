//! Why a connection by TLS to another server failed, in a sentence for whoever set it up.

use rustls::{AlertDescription, CertificateError, Error};

/// What ended the connection, and what to do where that is known.
pub fn sentence(error: &Error) -> String {
    use AlertDescription as Alert;
    match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::InvalidMessage(_) => "TLS: what answers at this port speaks no TLS".to_owned(),
        Error::AlertReceived(Alert::CertificateRequired | Alert::NoCertificate) => {
            "TLS: it asks for a client certificate".to_owned()
        }
        Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied),
        ) => format!("TLS: it does not take the client certificate: {alert:?}"),
        Error::AlertReceived(Alert::HandshakeFailure) => {
            "TLS: it refuses the handshake; it may ask for a client certificate, or for another \
             version or cipher"
                .to_owned()
        }
        other => format!("TLS: {other}"),
    }
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "TLS: its certificate is signed by none of the CA's that are trusted".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() {
                "no name (subjectAltName)".to_owned()
            } else {
                presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
            };
            format!("TLS: its certificate is for {names}, and not for '{}'", expected.to_str())
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "TLS: its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "TLS: its certificate is not valid yet".to_owned()
        }
        // A certificate as `openssl req -x509` makes it, which is its own authority.
        CertificateError::Other(why) if why.to_string().contains("CaUsedAsEndEntity") => {
            "TLS: its certificate is a CA's own; it must show one that a CA signed for a server"
                .to_owned()
        }
        other => format!("TLS: its certificate cannot be used: {other}"),
    }
}

/// `DnsName("a.example")` and `IpAddress(10.0.0.1)` without their kinds.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_is_wrong() {
        let name = |presented: &[&str]| {
            Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected: "old.example".try_into().expect("a name"),
                presented: presented.iter().map(|name| (*name).to_owned()).collect(),
            })
        };
        let check = |error: &Error, expect: &str| assert_eq!(sentence(error), expect);
        check(
            &name(&["DnsName(\"a.example\")", "IpAddress(10.0.0.1)"]),
            "TLS: its certificate is for a.example, 10.0.0.1, and not for 'old.example'",
        );
        check(
            &name(&[]),
            "TLS: its certificate is for no name (subjectAltName), and not for 'old.example'",
        );
        check(
            &Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
            "TLS: what answers at this port speaks no TLS",
        );
        for (why, expect) in [
            (
                CertificateError::UnknownIssuer,
                "TLS: its certificate is signed by none of the CA's that are trusted",
            ),
            (CertificateError::Expired, "TLS: its certificate has expired"),
            (CertificateError::NotValidYet, "TLS: its certificate is not valid yet"),
        ] {
            check(&Error::InvalidCertificate(why), expect);
        }
        check(
            &Error::AlertReceived(AlertDescription::CertificateRequired),
            "TLS: it asks for a client certificate",
        );
        check(
            &Error::AlertReceived(AlertDescription::UnknownCA),
            "TLS: it does not take the client certificate: UnknownCA",
        );
    }
}
