//! TLS over the binary's sockets: commands, certificates that change while it runs, and peers that do
//! not keep to it. The client's side is the one by which members connect.
#![allow(clippy::unwrap_used)] // what only tests call

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use server::config::Config;
use server::tls::Tls;
use support::Server;

const BOUND: Duration = Duration::from_secs(20);

/// A folder with a CA, and a certificate with its key that can be made anew.
struct Files {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let dir = support::temp_dir();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
        let files = Self { dir, issuer: Issuer::new(params, key) };
        files.renew();
        files
    }

    fn renew(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.dir.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(self.dir.join("cert.pem"), certificate.pem()).unwrap();
    }

    fn directives(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("tls-cert-file", self.dir.join("cert.pem")),
            ("tls-key-file", self.dir.join("key.pem")),
            ("tls-ca-cert-file", self.dir.join("ca.pem")),
        ]
    }

    fn server(&self) -> Server {
        self.server_with(&[])
    }

    fn server_with(&self, more: &[&str]) -> Server {
        let port = support::free_port().to_string();
        let mut args = vec!["--tls-port".to_owned(), port];
        args.extend(more.iter().map(|word| (*word).to_owned()));
        for (name, path) in self.directives() {
            args.extend([format!("--{name}"), path.display().to_string()]);
        }
        Server::start(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn client(&self) -> Arc<ClientConfig> {
        let mut config = Config::default();
        for (name, path) in self.directives() {
            config.set(name, &path.display().to_string()).unwrap();
        }
        Tls::load(&config).unwrap().client
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Secure(StreamOwned<ClientConnection, TcpStream>);

fn plain(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

impl Secure {
    fn connect(server: &Server, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self(StreamOwned::new(session, plain(server)))
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => line.push(byte[0]),
                _ => return "end".into(),
            }
        }
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        let sent = self.0.write_all(format!("{command}\r\n").as_bytes());
        if sent.is_err() { "end".into() } else { self.line() }
    }

    fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// The CA's file is a directive of the process, and so are the names that it takes.
fn set(conn: &mut Secure, name: &str, path: &Path) -> String {
    conn.ask(&format!("CONFIG SET {name} {}", path.display()))
}

#[test]
fn commands_of_any_size() {
    let files = Files::new();
    let (server, client) = (files.server(), files.client());
    let mut conn = Secure::connect(&server, &client);
    assert_eq!(conn.ask("PING"), "+PONG");
    let value = "v".repeat(3_000_000);
    conn.0.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n").unwrap();
    conn.0.write_all(value.as_bytes()).unwrap();
    conn.0.write_all(b"\r\n").unwrap();
    assert_eq!(conn.line(), "+OK");
    assert_eq!(conn.ask("GET k"), "$3000000");
    let mut back = vec![0; value.len() + 2];
    conn.0.read_exact(&mut back).unwrap();
    assert_eq!(&back[..value.len()], value.as_bytes());
}

/// New files serve those who come from then on; who is there keeps what it has, and files that cannot
/// be used change nothing.
#[test]
fn certificates_change_without_a_restart() {
    let files = Files::new();
    let (server, client) = (files.server(), files.client());
    let mut old = Secure::connect(&server, &client);
    assert_eq!(old.ask("PING"), "+PONG");
    let before = old.certificate();
    files.renew();
    assert_eq!(set(&mut old, "tls-cert-file", &files.dir.join("cert.pem")), "+OK");
    let client = files.client();
    let mut new = Secure::connect(&server, &client);
    assert_eq!(new.ask("PING"), "+PONG");
    assert_ne!(new.certificate(), before);
    assert_eq!(old.ask("PING"), "+PONG");
    fs::write(files.dir.join("broken.pem"), "no certificate").unwrap();
    for path in ["broken.pem", "missing.pem"] {
        let answer = set(&mut old, "tls-cert-file", &files.dir.join(path));
        assert!(answer.starts_with("-ERR CONFIG SET failed"), "{path}: {answer}");
    }
    let mut again = Secure::connect(&server, &client);
    assert_eq!(again.ask("PING"), "+PONG");
    assert_eq!(again.certificate(), new.certificate());
}

/// Peers without a certificate, that speak no TLS, or that begin and say nothing more: each is sent
/// away or waits by itself, and nobody else notices.
#[test]
fn peers_that_do_not_keep_to_it() {
    let files = Files::new();
    let (server, client) = (files.server(), files.client());
    let mut conn = Secure::connect(&server, &client);
    let strangers: Vec<TcpStream> = (0..100)
        .map(|n| {
            let mut stream = plain(&server);
            // The beginning of a handshake, half of it, or something else.
            let bytes: &[u8] = [&b"\x16\x03\x01"[..], b"\x16\x03\x01\x02\0\x01\0", b""][n % 3];
            stream.write_all(bytes).unwrap();
            stream
        })
        .collect();
    assert_eq!(conn.ask("PING"), "+PONG");
    for bytes in [&b"PING\r\n*1\r\n$4\r\nPING\r\n"[..], &b"\xff".repeat(20_000)] {
        let mut stream = plain(&server);
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // An alert, or nothing.
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"+PONG"), "no command is answered");
    }
    let mut roots = rustls::RootCertStore::empty();
    let text = fs::read(files.dir.join("ca.pem")).unwrap();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&text).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let nobody = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert_eq!(Secure::connect(&server, &Arc::new(nobody)).ask("PING"), "end");
    assert_eq!(conn.ask("PING"), "+PONG");
    drop(strangers);
    assert_eq!(conn.ask("PING"), "+PONG");
}

/// Connections that are ended from outside while they shake hands, or have answers that they did not
/// read, were used after that.
#[test]
fn cve_2026_56684_connections_that_are_killed_amid_tls() {
    let files = Files::new();
    let (server, client) = (files.server(), files.client());
    let mut conn = Secure::connect(&server, &client);
    assert_eq!(conn.ask("SETRANGE big 8000000 x"), ":8000001");
    for round in 0..10 {
        let mut victim = Secure::connect(&server, &client);
        let id = victim.ask("CLIENT ID").trim_start_matches(':').to_owned();
        victim.0.write_all(b"GET big\r\nGET big\r\nBLPOP none 0\r\n").unwrap();
        let mut half = plain(&server);
        half.write_all(b"\x16\x03\x01\x02\0").unwrap();
        let address = half.local_addr().unwrap();
        let killed = conn.ask(&format!("CLIENT KILL ID {id}"));
        assert_eq!(killed, ":1", "{round}");
        // It may not have been accepted yet.
        let killed = conn.ask(&format!("CLIENT KILL ADDR {address}"));
        assert!(matches!(killed.as_str(), ":0" | ":1"), "{round}: {killed}");
        let mut rest = Vec::new();
        // A cut answer and the end, or a reset.
        let _ = victim.0.read_to_end(&mut rest);
        assert!(rest.len() < 2 * 8_000_001, "{round}");
        assert_eq!(conn.ask("PING"), "+PONG", "{round}");
    }
}

/// Who begins a handshake and does not end it has a minute, also where no password is asked for.
#[test]
fn a_handshake_has_a_minute() {
    let files = Files::new();
    let (server, client) = (files.server_with(&["--enable-debug-command", "yes"]), files.client());
    let mut conn = Secure::connect(&server, &client);
    assert_eq!(conn.ask("PING"), "+PONG");
    let mut slow = plain(&server);
    slow.write_all(b"\x16\x03\x01\x02\0\x01\0").unwrap();
    let address = slow.local_addr().unwrap();
    let alone = |conn: &mut Secure| {
        conn.0.write_all(b"CLIENT LIST\r\n").unwrap();
        let bytes = conn.line()[1..].parse::<usize>().unwrap() + 2;
        let mut list = vec![0; bytes];
        conn.0.read_exact(&mut list).unwrap();
        !String::from_utf8_lossy(&list).contains(&address.to_string())
    };
    let end = std::time::Instant::now() + BOUND;
    while alone(&mut conn) {
        assert!(std::time::Instant::now() < end, "it is not accepted");
    }
    assert_eq!(conn.ask("DEBUG ADVANCE-CLOCK 40000"), "+OK");
    assert_eq!(conn.ask("PING"), "+PONG");
    assert!(!alone(&mut conn), "it has time left");
    assert_eq!(conn.ask("DEBUG ADVANCE-CLOCK 21000"), "+OK");
    assert_eq!(slow.read(&mut [0]).unwrap_or(0), 0, "it is closed");
    assert!(alone(&mut conn));
    assert_eq!(conn.ask("PING"), "+PONG", "whoever has ended it stays");
}
