//! Publish and subscribe.

use crate::client::Client;
use crate::engine::Engine;

/// Forgets every subscription of a client that is gone.
pub fn forget(engine: &mut Engine, client: &mut Client) {
    let _ = (engine, client);
}
