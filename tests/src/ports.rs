//! Ports of the loopback for servers that are started by their number.
//!
//! A port that was free a moment ago may be given to somebody else before its server has started: to
//! another test that asks for one, or to a client that connects. So each stays bound, and nobody but
//! who asks for it by its number can have it, as long as the test program runs.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

static KEPT: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// A port that nobody else is given. Whoever sets `SO_REUSEADDR`, as all servers do, can listen there.
pub fn free_port() -> Result<u16> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    // Not before it is bound: the system may give one port to two that would share it.
    socket.set_reuse_address(true)?;
    let port = socket.local_addr()?.as_socket().context("an address with a port")?.port();
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    Ok(port)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Two servers that were started at one time could be given one port.
    #[test]
    fn a_port_is_given_once_and_can_be_listened_at() {
        let ports: Vec<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        for _ in 0..200 {
            let any = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            assert!(!ports.contains(&any), "{any} was given twice");
        }
        let listens = TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
        assert!(TcpStream::connect(("127.0.0.1", ports[0])).is_ok());
        assert!(TcpStream::connect(("127.0.0.1", ports[1])).is_err(), "nobody listens there");
        drop(listens);
    }
}
