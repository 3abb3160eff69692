//! Connections that this server opens. Names are resolved on a thread of their own, since the
//! resolver may block for seconds.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;
use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::ClientId;
use crate::engine::Engine;
use crate::engine::effects::LinkEvent;

use super::Net;
use super::stream::Stream;
use crate::tls::Outgoing;

type Found = (ClientId, Result<SocketAddr, String>);

pub struct Resolver {
    sender: Sender<Found>,
    receiver: Receiver<Found>,
    waker: Arc<Waker>,
}

impl Resolver {
    pub fn new(waker: Arc<Waker>) -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver, waker }
    }

    fn start(&self, link: ClientId, host: &str, port: u16) {
        let (sender, waker, host) = (self.sender.clone(), Arc::clone(&self.waker), host.to_owned());
        let resolve = move || {
            let found = (host.as_str(), port)
                .to_socket_addrs()
                .map_err(|error| error.to_string())
                .and_then(|mut all| all.next().ok_or_else(|| "the name has no address".into()));
            // The loop has ended if nobody receives: then there is nothing left to connect.
            let _ = sender.send((link, found));
            let _ = waker.wake();
        };
        let named = std::thread::Builder::new().name("resolve".into());
        if named.spawn(resolve).is_err() {
            let _ = self.sender.send((link, Err("no thread to resolve the name".into())));
            let _ = self.waker.wake();
        }
    }
}

/// Begins to connect, from an address of this machine if one is given.
fn connect_from(source: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(to) };
    let domain = Domain::for_address(to);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// The client's side of a link.
fn linked(stream: TcpStream, to: SocketAddr, tls: Option<Outgoing>) -> io::Result<Stream> {
    let Some(Outgoing { config, name }) = tls else { return Ok(stream.into()) };
    let name = name.unwrap_or_else(|| to.ip().into());
    let connection = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
    Ok(Stream::with_tls(super::stream::Socket::Tcp(stream), connection.into()))
}

impl Net {
    pub(super) fn connect(&mut self, engine: &mut Engine, link: ClientId, host: &str, port: u16) {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(ip) => self.connect_to(engine, link, SocketAddr::new(ip, port)),
            Err(_) => self.resolver.start(link, host, port),
        }
    }

    /// Goes on with links whose names were resolved.
    pub(super) fn resolved(&mut self, engine: &mut Engine) {
        while let Ok((link, found)) = self.resolver.receiver.try_recv() {
            match found {
                Ok(address) => self.connect_to(engine, link, address),
                Err(why) => engine.link_event(link, LinkEvent::Failed(why)),
            }
        }
    }

    fn connect_to(&mut self, engine: &mut Engine, link: ClientId, address: SocketAddr) {
        let Some(client) = engine.clients.get_mut(link) else { return };
        client.peer = Some(address);
        let duty = client.duty;
        let keepalive_s = engine.config.tcp_keepalive_s;
        let source = engine.config.bind_source_addr.parse().ok();
        let tls = engine.outgoing_tls(duty);
        let added = connect_from(source, address).and_then(|stream| {
            // Without it small messages wait for each other's acknowledgement; not fatal.
            let _ = stream.set_nodelay(true);
            super::accept::keep_alive(&stream, keepalive_s);
            super::accept::bound_silence(&stream);
            self.add(link, linked(stream, address, tls)?, true)
        });
        if let Err(error) = added {
            engine.link_event(link, LinkEvent::Failed(error.to_string()));
        }
    }
}
