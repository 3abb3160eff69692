//! Binding the ports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, Type};

use crate::config::Config;
use crate::log::{self, Level};

use super::stream::Socket;

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {why}")]
    Bind { address: String, why: String },
    #[error("cannot resolve '{0}' of directive bind")]
    Name(String),
    #[error("no address to listen on")]
    None,
}

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The next connection, with its peer's address where it has one.
    pub fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (Socket::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => {
                listener.accept().map(|(stream, _)| (Socket::Unix(stream), None))
            }
        }
    }

    pub fn source(&mut self) -> &mut dyn mio::event::Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener) => listener,
        }
    }
}

/// A listening socket.
pub struct Bound {
    pub listener: Listener,
    /// 0 for a unix socket.
    pub port: u16,
    /// Connections start as READONLY.
    pub readonly: bool,
    /// Connections are by TLS.
    pub tls: bool,
}

/// Binds every address of `bind` to `port`, `tls-port` and `readonly-port`, and the unix socket. An
/// address that is written with a leading `-` may be missing on this machine. Port 0 is none, but
/// where nothing else is set the system picks one.
pub fn bind_all(config: &Config) -> Result<Vec<Bound>, ListenError> {
    let mut bound = Vec::new();
    if !config.unixsocket.is_empty() {
        bound.push(bind_unix(config)?);
    }
    let elsewhere = config.tls_port != 0 || !config.unixsocket.is_empty();
    let ports = [
        (config.port, false, false, !elsewhere),
        (config.tls_port, false, true, false),
        (config.readonly_port, true, false, false),
    ];
    for (port, readonly, tls, any) in ports {
        if port == 0 && !any {
            continue;
        }
        for (address, may_be_missing) in wanted(config, port)? {
            let listener = bind(address, config.tcp_backlog).and_then(|socket| {
                mark(&socket, config.socket_mark_id);
                socket.set_nonblocking(true)?;
                Ok(TcpListener::from_std(socket.into()))
            });
            match listener {
                Ok(listener) => {
                    let port = listener.local_addr().map_or(port, |address| address.port());
                    let listener = Listener::Tcp(listener);
                    bound.push(Bound { listener, port, readonly, tls });
                }
                Err(error) if may_be_missing && is_missing(&error) => {}
                Err(error) => return Err(refused(address, &error)),
            }
        }
    }
    if bound.is_empty() { Err(ListenError::None) } else { Ok(bound) }
}

/// A socket that is left over from a server that is gone makes place.
fn bind_unix(config: &Config) -> Result<Bound, ListenError> {
    let path = &config.unixsocket;
    let refused =
        |error: io::Error| ListenError::Bind { address: path.clone(), why: describe(&error) };
    // As every Redis does; what is not there need not be removed.
    let _ = std::fs::remove_file(path);
    let listen = || {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if !config.unixsocketgroup.is_empty() {
            let id = group_id(&config.unixsocketgroup)
                .ok_or_else(|| io::Error::other("unixsocketgroup names no group"))?;
            std::os::unix::fs::chown(path, None, Some(id))?;
        }
        if config.unixsocketperm.0 != 0 {
            // Nobody can connect before the socket listens, so nobody comes in before it has its
            // rights.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(config.unixsocketperm.0);
            std::fs::set_permissions(path, mode)?;
        }
        socket.listen(config.tcp_backlog as i32)?;
        socket.set_nonblocking(true)?;
        Ok(UnixListener::from_std(socket.into()))
    };
    let listener = listen().map_err(refused)?;
    Ok(Bound { listener: Listener::Unix(listener), port: 0, readonly: false, tls: false })
}

/// The number of a group, which may be given itself.
fn group_id(group: &str) -> Option<u32> {
    let named = |line: &str| {
        let mut fields = line.split(':');
        let id = (fields.next()? == group).then(|| fields.nth(1))?;
        id?.parse().ok()
    };
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    groups.lines().find_map(named).or_else(|| group.parse().ok())
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is already in use".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Every address of `bind` once, and whether it may be missing: `* -::*`, the default of stock files,
/// names that of IPv6 twice.
fn wanted(config: &Config, port: u16) -> Result<Vec<(SocketAddr, bool)>, ListenError> {
    let mut found: Vec<(SocketAddr, bool)> = Vec::new();
    for word in &config.bind.0 {
        let name = word.strip_prefix('-');
        for (address, missing_is_fine) in addresses(name.unwrap_or(word), port)? {
            if found.iter().all(|(other, _)| *other != address) {
                found.push((address, name.is_some() || missing_is_fine));
            }
        }
    }
    Ok(found)
}

/// Addresses of one word of `bind`, and whether each may be missing.
fn addresses(name: &str, port: u16) -> Result<Vec<(SocketAddr, bool)>, ListenError> {
    match name {
        "*" => Ok(vec![
            (SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), false),
            (SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), true),
        ]),
        "::*" => Ok(vec![(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), true)]),
        _ => {
            if let Ok(ip) = name.parse::<IpAddr>() {
                return Ok(vec![(SocketAddr::new(ip, port), false)]);
            }
            let found = (name, port)
                .to_socket_addrs()
                .map_err(|_| ListenError::Name(name.to_owned()))?
                .map(|address| (address, false));
            Ok(found.collect())
        }
    }
}

/// Binds every address of `bind` to a port whose connections a thread takes by blocking calls.
pub fn bind_blocking(
    config: &Config,
    port: u16,
) -> Result<Vec<std::net::TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for (address, may_be_missing) in wanted(config, port)? {
        match bind(address, 64) {
            Ok(socket) => listeners.push(socket.into()),
            Err(error) if may_be_missing && is_missing(&error) => {}
            Err(error) => return Err(refused(address, &error)),
        }
    }
    Ok(listeners)
}

fn refused(address: SocketAddr, error: &io::Error) -> ListenError {
    ListenError::Bind { address: address.to_string(), why: describe(error) }
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<socket2::Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog as i32)?;
    Ok(socket)
}

/// Marks what is accepted here. Without the right to, as in Valkey, the server goes on.
fn mark(socket: &socket2::Socket, id: u32) {
    if id != 0
        && let Err(error) = socket.set_mark(id)
    {
        log::write(Level::Warning, &format!("socket-mark-id: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `bind * -::*`, which every stock valkey.conf says, bound the address of IPv6 twice, and the
    /// server did not start.
    #[test]
    fn an_address_is_bound_once_however_often_it_is_named() {
        let check = |bind: &str, expect: &[(&str, bool)]| {
            let mut config = Config::default();
            config.set("bind", bind).unwrap();
            let found = wanted(&config, 7).unwrap();
            let found: Vec<_> = found.iter().map(|(a, fine)| (a.to_string(), *fine)).collect();
            let expect: Vec<_> = expect.iter().map(|(a, fine)| ((*a).to_owned(), *fine)).collect();
            assert_eq!(found, expect, "{bind}");
        };
        check("* -::*", &[("0.0.0.0:7", false), ("[::]:7", true)]);
        check("127.0.0.1 -::1", &[("127.0.0.1:7", false), ("[::1]:7", true)]);
        check("127.0.0.1 127.0.0.1", &[("127.0.0.1:7", false)]);
        let mut config = Config::default();
        config.set("bind", "* -::*").unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        config.set("port", &free.to_string()).unwrap();
        assert!(!bind_all(&config).unwrap().is_empty());
    }
}
