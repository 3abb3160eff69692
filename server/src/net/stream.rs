//! A connection's bytes: over TCP or a unix socket, in the clear or by TLS.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token, event};

pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! each {
    ($value:expr, $socket:ident => $do:expr) => {
        match $value {
            Socket::Tcp($socket) => $do,
            Socket::Unix($socket) => $do,
        }
    };
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, socket => socket.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, socket => socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads and writes plain bytes; what TLS needs beside them goes along.
pub struct Stream {
    socket: Socket,
    tls: Option<Box<rustls::Connection>>,
    /// Whom the peer's certificate names was asked.
    identified: bool,
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::new(Socket::Tcp(stream))
    }
}

impl Stream {
    pub fn new(socket: Socket) -> Self {
        Self { socket, tls: None, identified: true }
    }

    pub fn with_tls(socket: Socket, tls: rustls::Connection) -> Self {
        Self { socket, tls: Some(Box::new(tls)), identified: false }
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Why TLS ended this connection, if it did; `error` is what reading ended with, if it was not
    /// the peer's end.
    pub fn tls_failure(&self, error: Option<&io::Error>) -> Option<String> {
        let cause = error.and_then(io::Error::get_ref).and_then(|cause| cause.downcast_ref());
        if let Some(cause) = cause {
            return Some(crate::tls::sentence(cause));
        }
        let text = "TLS: it ended the connection in the handshake; does it speak TLS at this port?";
        self.is_handshaking().then(|| text.to_owned())
    }

    /// Whether something waits for the socket that no caller of `write` knows of.
    pub fn owes(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// The peer's certificate, once, when the handshake is complete.
    pub fn new_certificate(&mut self) -> Option<Vec<u8>> {
        let tls = self.tls.as_ref().filter(|tls| !self.identified && !tls.is_handshaking())?;
        let found = tls.peer_certificates().and_then(|chain| chain.first());
        self.identified = true;
        found.map(|certificate| certificate.as_ref().to_vec())
    }

    /// The outcome of a connect.
    pub fn connect_error(&self) -> Option<io::Error> {
        let taken = each!(&self.socket, socket => socket.take_error());
        match taken {
            Ok(None) => match &self.socket {
                Socket::Tcp(socket) => socket.peer_addr().err(),
                Socket::Unix(_) => None,
            },
            Ok(Some(error)) | Err(error) => Some(error),
        }
    }

    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Says that nothing more will be written: by TLS first, then by the transport. `WouldBlock`
    /// asks to be called again when the socket is writable.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush()?;
        each!(&self.socket, socket => socket.shutdown(Shutdown::Write))
    }

    /// Takes what the socket has until there are plain bytes, or no more.
    fn read_tls(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = self.tls.as_mut().expect("the caller saw it");
        loop {
            match tls.reader().read(buffer) {
                Ok(count) => return Ok(count),
                // The peer broke off without saying so: its end all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            let processed = tls.process_new_packets();
            // An answer of the handshake, or the alert that says why it failed; what the socket
            // does not take now follows when it is writable.
            while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
            if let Err(error) = processed {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tls.is_some() { self.read_tls(buffer) } else { self.socket.read(buffer) }
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        match tls.writer().write(bytes)? {
            // Its buffer is full before the handshake is complete.
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Writes what TLS has made of the bytes; there is nothing else that waits.
    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl event::Source for Stream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.register(registry, token, interests))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.deregister(registry))
    }
}
