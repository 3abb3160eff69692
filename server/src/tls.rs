//! TLS: what the directives say, made into rustls's configurations, and who a certificate names.
//!
//! Reads the files of certificates and keys when it is asked to; knows no socket. A connection
//! keeps the configuration that it began with, so that files may change under it.

pub mod certificate;
mod failure;
mod outside;
mod verify;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use crate::config::{AuthClients, Config};

pub use certificate::{common_name, uri};
pub use failure::sentence;
pub use outside::{Given, Outgoing};

/// Why TLS cannot be used as the directives say; one line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{directive} is not set")]
    Missing { directive: &'static str },
    #[error("cannot use {path}: {why}")]
    File { path: String, why: String },
    #[error("there is no CA to check certificates with: set tls-ca-cert-file or tls-ca-cert-dir")]
    NoAuthorities,
    #[error("tls-protocols: '{0}' is not offered; known are TLSv1.2 and TLSv1.3")]
    Protocol(String),
    #[error("none of the ciphers '{0}' is offered")]
    Ciphers(String),
    #[error("tls: {0}")]
    Rustls(String),
    #[error("{what}: {why}")]
    Given { what: &'static str, why: String },
}

/// Both sides' configurations.
#[derive(Clone, Debug)]
pub struct Tls {
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
    /// What the directives name, for INFO: the server's certificate, the client's, a CA's.
    pub certificate: Option<CertificateDer<'static>>,
    pub client_certificate: Option<CertificateDer<'static>>,
    pub authority: Option<CertificateDer<'static>>,
    /// When the files were last changed, as they were read.
    stamps: Vec<(String, Option<SystemTime>)>,
}

/// Whether the directives ask for TLS at all.
pub fn is_wanted(config: &Config) -> bool {
    config.tls_port != 0 || config.tls_replication
}

fn stamp(path: &str) -> (String, Option<SystemTime>) {
    let changed = std::fs::metadata(path).and_then(|found| found.modified()).ok();
    (path.to_owned(), changed)
}

impl Tls {
    /// Reads the files that the directives name.
    pub fn load(config: &Config) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(config)?);
        let versions = versions(&config.tls_protocols)?;
        let roots = Arc::new(authorities(config)?);
        let stamps = files(config).into_iter().map(stamp).collect();
        Ok(Self {
            server: Arc::new(server(config, &provider, &versions, &roots)?),
            client: Arc::new(client(config, &provider, &versions, &roots)?),
            certificate: first(&config.tls_cert_file)?,
            client_certificate: first(&config.tls_client_cert_file)?,
            authority: first(&config.tls_ca_cert_file)?,
            stamps,
        })
    }

    /// Whether a file was changed since it was read.
    pub fn is_stale(&self) -> bool {
        self.stamps.iter().any(|(path, changed)| stamp(path).1 != *changed)
    }
}

fn files(config: &Config) -> Vec<&str> {
    let all = [
        &config.tls_cert_file,
        &config.tls_key_file,
        &config.tls_client_cert_file,
        &config.tls_client_key_file,
        &config.tls_ca_cert_file,
        &config.tls_ca_cert_dir,
    ];
    all.into_iter().map(String::as_str).filter(|path| !path.is_empty()).collect()
}

fn file_error(path: &str, why: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.to_string() }
}

fn chain(path: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(path, error))?;
    if found.is_empty() {
        return Err(file_error(path, "it holds no certificate"));
    }
    Ok(found)
}

/// The first certificate of a file, if there is one.
fn first(path: &str) -> Result<Option<CertificateDer<'static>>, TlsError> {
    if path.is_empty() { Ok(None) } else { chain(path).map(|mut all| Some(all.swap_remove(0))) }
}

fn key(path: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| file_error(path, error))
}

/// The certificates of `tls-ca-cert-file` and of every file in `tls-ca-cert-dir`.
fn authorities(config: &Config) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut add = |path: &str| -> Result<(), TlsError> {
        for certificate in chain(path)? {
            roots.add(certificate).map_err(|error| file_error(path, error))?;
        }
        Ok(())
    };
    if !config.tls_ca_cert_file.is_empty() {
        add(&config.tls_ca_cert_file)?;
    }
    let dir = &config.tls_ca_cert_dir;
    if !dir.is_empty() {
        let listed = |error: io::Error| file_error(dir, error);
        for entry in std::fs::read_dir(dir).map_err(listed)? {
            let path = entry.map_err(listed)?.path();
            // What is no certificate may lie there too.
            if path.is_file() && chain(&path.display().to_string()).is_ok() {
                add(&path.display().to_string())?;
            }
        }
    }
    Ok(roots)
}

fn versions(words: &str) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let mut found = Vec::new();
    for word in words.split_whitespace() {
        match word.to_ascii_lowercase().as_str() {
            "tlsv1.3" => found.push(&version::TLS13),
            "tlsv1.2" => found.push(&version::TLS12),
            _ => return Err(TlsError::Protocol(word.to_owned())),
        }
    }
    if found.is_empty() {
        found = vec![&version::TLS13, &version::TLS12];
    }
    Ok(found)
}

/// The suites that rustls offers for TLS 1.2, by their names in `tls-ciphers` and in rustls.
const SUITES: [(&str, &str); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Whether a list such as `A:B:!C` takes a suite; a group (`DEFAULT`, `HIGH`, `ALL`) takes every
/// suite that is offered, all of which are strong.
fn takes(list: &str, name: &str) -> bool {
    let words = || list.split([':', ',', ' ']).filter(|word| !word.is_empty());
    let excluded = words().any(|word| word.strip_prefix(['!', '-']) == Some(name));
    let group = |word: &str| matches!(word, "DEFAULT" | "HIGH" | "ALL" | "SECURE128" | "SECURE256");
    words().next().is_none() || !excluded && words().any(|word| word == name || group(word))
}

fn provider(config: &Config) -> Result<CryptoProvider, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        let own = suite.suite().as_str().unwrap_or("");
        match SUITES.iter().find(|(_, name)| *name == own) {
            Some((name, _)) => takes(&config.tls_ciphers, name),
            None => takes(&config.tls_ciphersuites, &own.replacen("TLS13_", "TLS_", 1)),
        }
    });
    if provider.cipher_suites.is_empty() {
        let both = format!("{} {}", config.tls_ciphers, config.tls_ciphersuites);
        return Err(TlsError::Ciphers(both.trim().to_owned()));
    }
    Ok(provider)
}

fn rustls_error(error: impl std::fmt::Display) -> TlsError {
    TlsError::Rustls(error.to_string())
}

type Versions = [&'static SupportedProtocolVersion];

fn server(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    versions: &Versions,
    roots: &Arc<RootCertStore>,
) -> Result<ServerConfig, TlsError> {
    if config.tls_cert_file.is_empty() {
        return Err(TlsError::Missing { directive: "tls-cert-file" });
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(rustls_error)?;
    let builder = if config.tls_auth_clients == AuthClients::No {
        builder.with_no_client_auth()
    } else {
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
        let (roots, provider) = (Arc::clone(roots), Arc::clone(provider));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let verifier = match config.tls_auth_clients {
            AuthClients::Optional => verifier.allow_unauthenticated(),
            _ => verifier,
        };
        builder.with_client_cert_verifier(verifier.build().map_err(rustls_error)?)
    };
    let mut made = builder
        .with_single_cert(chain(&config.tls_cert_file)?, key(&key_path(config))?)
        .map_err(|error| file_error(&config.tls_cert_file, error))?;
    made.ignore_client_order = config.tls_prefer_server_ciphers;
    if config.tls_session_caching {
        let size = config.tls_session_cache_size.0.max(1) as usize;
        made.session_storage = ServerSessionMemoryCache::new(size);
    } else {
        made.session_storage = Arc::new(NoServerSessionStorage {});
        made.send_tls13_tickets = 0;
    }
    Ok(made)
}

/// The key may stand in the certificate's own file.
fn key_path(config: &Config) -> String {
    let own = &config.tls_key_file;
    if own.is_empty() { config.tls_cert_file.clone() } else { own.clone() }
}

fn client(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    versions: &Versions,
    roots: &Arc<RootCertStore>,
) -> Result<ClientConfig, TlsError> {
    if config.tls_replication && roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(rustls_error)?;
    let verifier = verify::AnyName::new(Arc::clone(roots), Arc::clone(provider));
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let (cert, own_key) = if config.tls_client_cert_file.is_empty() {
        (config.tls_cert_file.clone(), key_path(config))
    } else {
        (config.tls_client_cert_file.clone(), config.tls_client_key_file.clone())
    };
    builder.with_client_auth_cert(chain(&cert)?, key(&own_key)?).map_err(rustls_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ciphers_take_and_leave_out() {
        let one = "ECDHE-RSA-AES128-GCM-SHA256";
        assert!(takes("", one) && takes("DEFAULT:!MEDIUM", one) && takes("X:Y:HIGH", one));
        assert!(takes("ECDHE-RSA-AES128-GCM-SHA256", one));
        assert!(!takes("DEFAULT:!ECDHE-RSA-AES128-GCM-SHA256", one));
        assert!(!takes("AES128-SHA", one));
    }

    #[test]
    fn what_is_not_offered_is_named() {
        let check = |directives: &[(&str, &str)], expect: &str| {
            let mut config = Config::default();
            for (name, value) in directives {
                config.set(name, value).expect(name);
            }
            let error = Tls::load(&config).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(&[("tls-protocols", "TLSv1.1")], "'TLSv1.1' is not offered");
        check(&[("tls-ciphers", "RC4"), ("tls-ciphersuites", "X")], "none of the ciphers");
        check(&[], "tls-cert-file is not set");
        check(&[("tls-ca-cert-file", "/nonexistent/ca.pem")], "cannot use /nonexistent/ca.pem");
    }
}
