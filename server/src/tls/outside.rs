//! TLS to one server outside: its authorities, a name and perhaps a certificate are said by the
//! operator, in PEM, and stand in no file here. Unlike between members, the name counts.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};

use super::{TlsError, provider, rustls_error, verify, versions};
use crate::config::Config;

/// What is said of TLS to a server outside.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// Certificates of those who may have signed the server's, in PEM.
    pub authorities: Vec<u8>,
    /// The name or address that the server's certificate must be for.
    pub name: String,
    /// Whatever name its certificate is for is right.
    pub any_name: bool,
    /// The certificate (with what leads to its authority) and the key to show, in PEM.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

/// Keys are never shown.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The client's side of connections by TLS.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub config: Arc<ClientConfig>,
    /// Whom the server is to be; the address that is connected to, where there is none.
    pub name: Option<ServerName<'static>>,
}

impl Outgoing {
    /// By what was said; versions and ciphers are those of the directives.
    pub fn new(given: &Given, config: &Config) -> Result<Self, TlsError> {
        let Given { authorities, name, any_name, own } = given;
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let server = ServerName::try_from(bare.to_owned())
            .map_err(|_| error("server name", format!("'{name}' is no DNS name and no address")))?;
        let mut roots = RootCertStore::empty();
        // Bundles hold authorities of every kind; one that cannot be used signs nothing here.
        let (usable, _) = roots.add_parsable_certificates(chain("CA bundle", authorities)?);
        if usable == 0 {
            return Err(error("CA bundle", "none of its certificates can be used".into()));
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(provider(config)?));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(&config.tls_protocols)?)
            .map_err(rustls_error)?;
        let builder = if *any_name {
            let verifier = verify::AnyName::new(roots, provider);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.with_root_certificates(roots)
        };
        let made = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = chain("client certificate", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|why| error("client key", why.to_string()))?;
                builder.with_client_auth_cert(chain, key).map_err(|why| match why {
                    rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                        error("client key", "it is another certificate's".into())
                    }
                    other => error("client certificate", other.to_string()),
                })?
            }
        };
        Ok(Self { config: Arc::new(made), name: Some(server) })
    }
}

fn error(what: &'static str, why: String) -> TlsError {
    TlsError::Given { what, why }
}

fn chain(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| error(what, why.to_string()))?;
    if found.is_empty() {
        return Err(error(what, "it holds no certificate in PEM".into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["here.example".to_owned()]).expect("a name");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        (pem.into_bytes(), key.serialize_pem().into_bytes())
    }

    fn given(authorities: &[u8], name: &str, own: Option<(&[u8], &[u8])>) -> Given {
        Given {
            authorities: authorities.to_vec(),
            name: name.to_owned(),
            any_name: false,
            own: own.map(|(certificate, key)| (certificate.to_vec(), key.to_vec())),
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let (certificate, key) = pair();
        let (_, other) = pair();
        let check = |given: &Given, expect: &str| {
            let found = Outgoing::new(given, &Config::default()).map(drop);
            let found = found.map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(found, expect);
        };
        let whole = |text: &str| [text.as_bytes(), &certificate].concat();
        check(&given(&certificate, "here.example", None), "");
        check(&given(&whole("# Subject: a comment\n"), "[::1]", None), "");
        check(&given(&certificate, "10.0.0.7", Some((&certificate, &key))), "");
        check(&given(b"", "a", None), "CA bundle: it holds no certificate in PEM");
        check(&given(&key, "a", None), "CA bundle: it holds no certificate in PEM");
        check(
            &given(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a", None),
            "CA bundle: none of its certificates can be used",
        );
        check(
            &given(&certificate, "a b", None),
            "server name: 'a b' is no DNS name and no address",
        );
        check(
            &given(&certificate, "a", Some((&key, &key))),
            "client certificate: it holds no certificate in PEM",
        );
        check(
            &given(&certificate, "a", Some((&certificate, &other))),
            "client key: it is another certificate's",
        );
        check(
            &given(&certificate, "a", Some((&certificate, &certificate))),
            "client key: no items found",
        );
    }

    #[test]
    fn a_key_is_never_shown() {
        let (certificate, key) = pair();
        let shown = format!("{:?}", given(&certificate, "a", Some((&certificate, &key))));
        assert_eq!(shown, "Given { name: \"a\", .. }");
    }
}
