//! Certificates of a test, and clients that use them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::resp::{Client, Wire};

/// An authority, and a folder with its certificate and with one for everybody at 127.0.0.1.
pub struct Authority {
    pub folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("redisha-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate for one that signed itself if its issuer has its own name.
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        let key = KeyPair::generate()?;
        fs::write(folder.join("ca.crt"), params.self_signed(&key)?.pem())?;
        let authority = Self { folder, issuer: Issuer::new(params, key) };
        authority.renew()?;
        Ok(authority)
    }

    /// Puts another certificate, with another key, in the place of the present one.
    pub fn renew(&self) -> Result<()> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.folder.join("tls.key"), key.serialize_pem())?;
        fs::write(self.folder.join("tls.crt"), certificate.pem())?;
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// The text of one of its files: `ca.crt`, `tls.crt` or `tls.key`.
    pub fn pem(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join(name))?)
    }

    /// Directives of a server that takes TLS at that port, from those only who have a certificate.
    pub fn directives(&self, port: u16) -> Vec<String> {
        let mut all = vec!["--tls-port".to_owned(), port.to_string()];
        for (directive, file) in [
            ("--tls-cert-file", "tls.crt"),
            ("--tls-key-file", "tls.key"),
            ("--tls-ca-cert-file", "ca.crt"),
        ] {
            all.extend([directive.to_owned(), self.path(file)]);
        }
        all
    }

    fn config(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.crt"))?)?;
        let own = CertificateDer::from_pem_file(self.path("tls.crt"))?;
        let key = PrivateKeyDer::from_pem_file(self.path("tls.key"))?;
        let config = ClientConfig::builder().with_root_certificates(roots);
        Ok(config.with_client_auth_cert(vec![own], key)?)
    }

    fn open(&self, port: u16) -> Result<Secured> {
        let name = ServerName::try_from("127.0.0.1")?;
        let connection = ClientConnection::new(Arc::new(self.config()?), name)?;
        let mut stream = StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port))?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).context("the handshake")?;
        }
        Ok(Secured(Box::new(stream)))
    }

    pub fn client(&self, port: u16) -> Result<Client> {
        Client::over(Box::new(self.open(port)?))
    }

    /// The certificate that a server shows to a new connection.
    pub fn shown(&self, port: u16) -> Result<Vec<u8>> {
        let stream = self.open(port)?;
        let chain = stream.0.conn.peer_certificates().context("no certificate")?;
        Ok(chain.first().context("an empty chain")?.to_vec())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Secured(Box<StreamOwned<ClientConnection, TcpStream>>);

impl Read for Secured {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Secured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Wire for Secured {
    fn socket(&self) -> &TcpStream {
        &self.0.sock
    }
}
