//! A way to a server on which a replication stream can be held back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::place::Place;

/// Between two looks at whether the valve is open again.
const LOOK: Duration = Duration::from_millis(10);

/// Passes connections on to a server. While it is shut, what the server sends to one that has asked
/// for its stream waits; all others go on.
pub struct Valve {
    shut: Arc<AtomicBool>,
    server: Arc<Mutex<SocketAddr>>,
}

impl Valve {
    /// Listens there, and reaches the server from the same place. It goes on until the program ends.
    pub fn start(place: &Place, at: SocketAddr, server: SocketAddr) -> Result<Self> {
        let shut = Arc::new(AtomicBool::new(false));
        let listener = place.run(|| TcpListener::bind(at).context("listen for the valve"))?;
        let (place, told) = (place.clone(), Arc::clone(&shut));
        let server = Arc::new(Mutex::new(server));
        let leads_to = Arc::clone(&server);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = *leads_to.lock().unwrap_or_else(PoisonError::into_inner);
                let connected = place.run(|| Ok(TcpStream::connect(server)?));
                // A server that is not there is what the client then finds.
                let Ok(server) = connected else { continue };
                // A connection that breaks in between is one that has ended.
                let _ = pass(client, server, &told);
            }
        });
        Ok(Self { shut, server })
    }

    /// Leads those who connect from now on to that address.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    pub fn set_shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
    }
}

fn pass(client: TcpStream, server: TcpStream, shut: &Arc<AtomicBool>) -> std::io::Result<()> {
    let is_stream = Arc::new(AtomicBool::new(false));
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    let asks = Arc::clone(&is_stream);
    thread::spawn(move || {
        copy(from_client, to_server, |sent| {
            // A follower sends it in one piece, after its other questions were answered.
            if sent.windows(5).any(|word| word == b"PSYNC") {
                asks.store(true, Ordering::Relaxed);
            }
        });
    });
    let shut = Arc::clone(shut);
    thread::spawn(move || {
        copy(server, client, |_| {
            while is_stream.load(Ordering::Relaxed) && shut.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
            }
        });
    });
    Ok(())
}

/// Until one side ends; `before` sees each piece before it is passed on.
fn copy(mut from: TcpStream, mut to: TcpStream, mut before: impl FnMut(&[u8])) {
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        before(&piece[..length]);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // The other direction shall end, too; it may have.
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
