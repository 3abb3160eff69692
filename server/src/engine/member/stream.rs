//! What a member's effects do to the replication stream.

use crate::handover::{Epoch, Target};

use super::super::Engine;

impl Engine {
    pub fn stream_offset(&self) -> u64 {
        0
    }
    pub fn stream_id(&self) -> String {
        String::new()
    }
    pub fn stream_link(&self) -> &'static str {
        "none"
    }
    pub fn relayed_clients(&self) -> usize {
        self.rooms.relays.relayed()
    }
    pub fn member_replicas(&self) -> Vec<Vec<(&'static str, String)>> {
        Vec::new()
    }
    pub(super) fn keyspace_is_empty(&self) -> bool {
        true
    }
    pub(super) fn append_record(&mut self, _argument: &str) {}
    pub(super) fn answer_primary(&mut self, _epoch: Epoch, _accepted: bool) {}
    pub(super) fn promote_stream(&mut self) {}
    pub(super) fn follow_stream(&mut self, _primary: &Target, _epoch: Epoch) {}
    pub(super) fn detach_stream(&mut self) {}
}
