//! Between a member and the replication stream: what its effects do to the stream, and what
//! happens on the stream that it must know.

use crate::client::ClientId;
use crate::handover::{Epoch, Event, Peer, Record, Reply, Target};
use crate::replication::{MemberLink, Replica};
use crate::resp::CommandError;

use super::super::{Engine, hooks};

/// How often the primary of a managed cluster lets its replicas hear from it, at least.
pub const SIGN_OF_LIFE_MS: u64 = 1_000;
/// The same where answers wait for replicas: a fraction of a lease.
pub const LEASE_PING_MS: u64 = 150;
/// Beyond the longest usual pause, in which a primary is silent on purpose.
const SILENCE_MAX_MS: u64 = 4_000;

impl Engine {
    pub fn stream_offset(&self) -> u64 {
        self.replication().offset()
    }

    pub fn stream_id(&self) -> String {
        self.replication().history.id.to_string()
    }

    /// The link's word. Of members it says more than that a connection is open: a primary whose
    /// machine was lost leaves it open, and an election waits while any replica says `up`.
    pub fn stream_link(&self) -> &'static str {
        let Some(link) = &self.replication().link else { return "none" };
        let silent = self.stream_silence_ms() > SILENCE_MAX_MS;
        if self.is_managed() && link.is_streaming() && silent { "down" } else { link.word() }
    }

    /// How long the primary has not been heard, in milliseconds. In the middle of a script it is not
    /// listened to, which is no silence of its own.
    pub fn stream_silence_ms(&self) -> u64 {
        let listens = self.rooms.scripts.running.is_none();
        let link = self.replication().link.as_ref().filter(|_| listens);
        link.map_or(0, |link| link.silence_ms(self.now.mono_ms()))
    }

    pub fn relayed_clients(&self) -> usize {
        self.rooms.relays.relayed()
    }

    /// The replicas as REDISHA STATUS shows them.
    pub fn member_replicas(&self) -> Vec<Vec<(&'static str, String)>> {
        let now_ms = self.now.mono_ms();
        let row = |replica: &Replica| {
            let member = replica.member.as_ref().map(|m| m.member.clone());
            vec![
                ("member", member.unwrap_or_default()),
                ("host", replica.host.clone()),
                ("port", replica.port.to_string()),
                ("offset", replica.acked.to_string()),
                ("state", replica.state().to_owned()),
                ("lag-ms", now_ms.saturating_sub(replica.acked_at_ms).to_string()),
            ]
        };
        self.replication().replicas.iter().map(row).collect()
    }

    pub(super) fn keyspace_is_empty(&self) -> bool {
        self.keyspace.is_empty()
    }

    pub(super) fn append_record(&mut self, argument: &str) {
        self.append_to_stream(argument);
        if let Ok(record) = Record::parse(argument.as_bytes()) {
            self.raise_clock(&record);
            // What was held may run in this very turn.
            hooks::set_clock(self);
        }
    }

    pub(super) fn answer_primary(&mut self, epoch: Epoch, accepted: bool) {
        let word: &[u8] = if accepted { b"redisha-accepted" } else { b"redisha-declined" };
        self.tell_primary(&[b"REPLCONF", word, epoch.to_string().as_bytes()]);
    }

    /// Tells the primary that this member will never answer again.
    pub(super) fn resign_to_primary(&mut self) {
        self.tell_primary(&[b"REPLCONF", b"redisha-resigned"]);
    }

    /// A member replica resigns, on the link.
    pub fn replica_resigns(&mut self, client: ClientId) {
        let replica = self.replication().replicas.get(client);
        if let Some(member) = replica.and_then(|r| r.member.as_ref()) {
            let member = member.member.clone();
            self.member_event(Event::Resigned { member });
        }
    }

    pub(super) fn promote_stream(&mut self) {
        self.lead_stream(true);
        self.rooms.commit.data_end = self.stream_offset();
    }

    pub(super) fn follow_stream(&mut self, primary: &Target, epoch: Epoch) {
        let identity = self.member().identity();
        let uid = identity.uid.clone().unwrap_or_default();
        let own = identity.here.member.clone();
        let words = [uid, own, primary.member.clone(), epoch.to_string()];
        self.follow_primary(&primary.host, primary.port, Some(words));
    }

    pub(super) fn detach_stream(&mut self) {
        self.leave_stream();
    }

    /// A replica introduces itself as a member and names the member that it means to follow. What
    /// it is answered, or why it is refused.
    pub fn admit_member(&self, link: &MemberLink, target: &str) -> Result<String, CommandError> {
        let epoch = link.epoch.parse().map_err(|e| format!("ERR {e}"))?;
        match self.member().may_serve(&link.uid, target, epoch) {
            Ok(own) => Ok(format!("OK {own}")),
            Err(Reply::Stale { promised }) => Err(format!("STALE promised {promised}").into()),
            Err(Reply::NotReady(why)) => Err(format!("NOTREADY {why}").into()),
            Err(_) => Err("WRONGMEMBER this is another member".into()),
        }
    }

    /// This member's primary has accepted its introduction with this text, an epoch.
    pub fn greeted_by_primary(&mut self, answer: &str) {
        if let Ok(epoch) = answer.parse() {
            self.member_event(Event::Linked { epoch });
        }
    }

    /// A full resync has replaced the data; `epoch` is the data epoch that came with it.
    pub fn data_replaced(&mut self, epoch: Option<&str>) {
        let data_epoch = epoch.and_then(|text| text.parse().ok()).unwrap_or(Epoch::ZERO);
        self.member_event(Event::Replaced { data_epoch });
    }

    /// A replica gets the stream from now on.
    pub fn replica_is_up(&mut self, client: ClientId) {
        let Some(replica) = self.replication().replicas.get(client) else { return };
        let Some(member) = &replica.member else { return };
        let target = Target {
            member: member.member.clone(),
            host: replica.host.clone(),
            port: replica.port,
            hostname: String::new(),
        };
        let Replica { acked, kept: durable, level, .. } = *replica;
        self.member_event(Event::ReplicaUp { peer: Peer { target, acked, durable, level } });
    }

    /// A replica has acknowledged more of the stream.
    pub fn replica_has_acked(&mut self, client: ClientId) {
        let Some(replica) = self.replication().replicas.get(client) else { return };
        if let Some(member) = &replica.member {
            let (offset, durable) = (replica.acked, replica.kept);
            let event = Event::Ack { member: member.member.clone(), offset, durable };
            self.member_event(event);
        }
    }

    /// A replica's connection has ended. The member may have come back by another one before.
    pub fn replica_has_gone(&mut self, replica: &Replica) {
        let Some(member) = &replica.member else { return };
        let same = |r: &&Replica| r.member.as_ref().is_some_and(|m| m.member == member.member);
        if self.replication().replicas.online().find(same).is_none() {
            self.member_event(Event::ReplicaGone { member: member.member.clone() });
        }
    }

    /// A member replica answers a handing over, on the link.
    pub fn replica_answers(&mut self, client: ClientId, accepted: bool, epoch: &[u8]) {
        let replica = self.replication().replicas.get(client);
        let member = replica.and_then(|r| r.member.as_ref()).map(|m| m.member.clone());
        let epoch = std::str::from_utf8(epoch).ok().and_then(|text| text.parse().ok());
        if let (Some(member), Some(epoch)) = (member, epoch) {
            self.member_event(Event::Answer { member, epoch, accepted });
        }
    }
}
