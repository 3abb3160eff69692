//! Taking new connections.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Token};

use crate::engine::Engine;

use super::conn::Conn;
use super::stream::{Socket, Stream};
use super::{FIRST_CONN, Net};

/// Connections accepted from one listener in one turn; the rest waits for the next.
const ACCEPTS_PER_TURN: usize = 256;

/// Connections that have not authenticated may be this part of `maxclients`, so that strangers
/// cannot keep those away who know the password.
const UNKNOWN_SHARE: usize = 2;

/// What was sent to another node and is not acknowledged for so long ends the connection: a machine
/// that vanished would else hold it, and its waiting clients, for many minutes.
const UNACKNOWLEDGED: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) fn bound_silence(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    {
        // The protocol's own timeouts hold without it.
        let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, UNACKNOWLEDGED);
}

/// Has the kernel find out when the peer's machine is gone.
pub(super) fn keep_alive(stream: &TcpStream, idle_s: u64) {
    if idle_s > 0 {
        let idle = Duration::from_secs(idle_s);
        let keepalive = socket2::TcpKeepalive::new().with_time(idle).with_interval(idle / 3);
        let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}

/// The server's side of a connection; `None` when it should be by TLS and cannot.
fn served(engine: &Engine, socket: Socket, tls: bool) -> Option<Stream> {
    if !tls {
        return Some(Stream::new(socket));
    }
    let config = Arc::clone(&engine.tls.as_ref()?.server);
    let connection = rustls::ServerConnection::new(config).ok()?;
    Some(Stream::with_tls(socket, connection.into()))
}

impl Net {
    pub(super) fn accept(&mut self, engine: &mut Engine, listener: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(bound) = self.listeners.get(listener) else { return };
            let (readonly, tls) = (bound.readonly, bound.tls);
            match bound.listener.accept() {
                Ok((socket, peer)) => self.accepted(engine, socket, peer, (readonly, tls)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The connection ended before it was taken.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Files ran out, perhaps: those who are connected go on, and the next turn, in
                // at most a tenth of a second, tries again.
                Err(_) => {
                    self.accept_again = true;
                    return;
                }
            }
        }
        // The edge was consumed without emptying the queue: look again at once.
        self.accept_again = true;
        // It fails only when a wake-up is already due.
        let _ = self.waker.wake();
    }

    fn accepted(
        &mut self,
        engine: &mut Engine,
        mut socket: Socket,
        peer: Option<SocketAddr>,
        (readonly, tls): (bool, bool),
    ) {
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let peer = peer.map(canonical);
        // A relayed client's link to the new primary is no client.
        let clients = engine.clients.len() + engine.clients.retired();
        let clients = clients.saturating_sub(engine.relayed_clients());
        let full = clients >= engine.config.maxclients
            || engine.unknown_clients >= engine.config.maxclients.div_ceil(UNKNOWN_SHARE);
        let refusal = if full {
            Some("-ERR max number of clients reached\r\n")
        } else if engine.is_protected() && peer.is_some_and(|peer| !peer.ip().is_loopback()) {
            Some(
                "-DENIED RedisHA is running in protected mode because no password is set. Set \
                 one with requirepass, or set protected-mode no.\r\n",
            )
        } else {
            None
        };
        if let Some(text) = refusal {
            engine.stats.rejected_connections += 1;
            if !tls {
                // The peer is sent away anyway, whether or not it could be told.
                let _ = socket.write(text.as_bytes());
            }
            return;
        }
        if let Socket::Tcp(stream) = &socket {
            // Without these options a connection still works; it is only slower to notice things.
            let _ = stream.set_nodelay(true);
            keep_alive(stream, engine.config.tcp_keepalive_s);
        }
        let Some(stream) = served(engine, socket, tls) else { return };
        let id = engine.accepted(peer);
        let local = stream.local_addr();
        if let Some(client) = engine.clients.get_mut(id) {
            client.local = local.map(canonical);
            client.traits.readonly = readonly;
            client.traits.readonly_port = readonly;
        }
        if self.add(id, stream, false).is_err() {
            engine.disconnected(id);
        }
    }

    /// Registers the socket of a client.
    pub(super) fn add(
        &mut self,
        id: crate::client::ClientId,
        mut stream: Stream,
        connecting: bool,
    ) -> io::Result<()> {
        let slot = id.slot as usize;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(FIRST_CONN + slot), interest)?;
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        self.conns[slot] = Some(Conn::new(id, stream, connecting));
        Ok(())
    }
}
