//! The front door: one address that always leads new connections to the primary.
//!
//! Does I/O. It moves bytes and knows nothing of the protocol; connections that are already made
//! stay where they are, and the servers see to it that their commands reach the primary.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::directory::Labels;
use super::layout::Layout;

/// How long a new connection waits for a primary before it is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, layout: Layout) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let layout = layout.clone();
                tokio::spawn(async move {
                    if let Err(error) = lead(client, &layout).await {
                        tracing::debug!(%error, "a connection through the front door ended");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: others must end before another can begin.
                tracing::warn!(%error, "the front door cannot accept");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn lead(mut client: TcpStream, layout: &Layout) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = reach_primary(layout).await?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// A connection to the primary, as the labels name it at the time of each attempt.
async fn reach_primary(layout: &Layout) -> io::Result<TcpStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        let port = Labels::read(layout).address.and_then(|name| layout.port(&name));
        if let Some(port) = port
            && let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await
        {
            return Ok(server);
        }
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no primary"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
