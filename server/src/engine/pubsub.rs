//! Who is subscribed to what.

use std::collections::{HashMap, HashSet};

use crate::client::ClientId;

pub type Names = HashSet<Box<[u8]>>;
pub type Index = HashMap<Box<[u8]>, Vec<ClientId>>;

/// What a name that a client listens to, watches or waits for takes, by it and in an index, roughly.
pub fn name_bytes(name: &[u8]) -> usize {
    2 * name.len() + 160
}

/// What one client is subscribed to.
#[derive(Debug, Default)]
pub struct Subscriptions {
    pub channels: Names,
    pub patterns: Names,
    pub shard_channels: Names,
    /// Bytes of the names, here and in the index, roughly.
    pub bytes: usize,
}

impl Subscriptions {
    pub fn is_empty(&self) -> bool {
        self.count() == 0 && self.shard_channels.is_empty()
    }

    /// Channels and patterns, as the replies of SUBSCRIBE count them.
    pub fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}

/// The subscribers of every channel and pattern, in order of subscription.
#[derive(Default)]
pub struct PubSub {
    pub channels: Index,
    pub patterns: Index,
    pub shard_channels: Index,
}
