//! Who is subscribed to what.

use std::collections::{HashMap, HashSet};

use crate::client::ClientId;

pub type Names = HashSet<Box<[u8]>>;
pub type Index = HashMap<Box<[u8]>, Vec<ClientId>>;

/// What one client is subscribed to.
#[derive(Debug, Default)]
pub struct Subscriptions {
    pub channels: Names,
    pub patterns: Names,
    pub shard_channels: Names,
}

impl Subscriptions {
    /// Bytes of the names, roughly.
    pub fn size_bytes(&self) -> usize {
        let names = self.channels.iter().chain(&self.patterns).chain(&self.shard_channels);
        names.map(|name| name.len() + 64).sum()
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
