//! What a primary knows of its replicas. Pure.

use crate::client::ClientId;

/// How far a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has introduced itself and not asked for the stream yet.
    Introduced,
    /// It waits for the snapshot that the next full resync sends.
    WaitSnapshot,
    /// It is being sent the snapshot; `at` is its position in the payload.
    Payload { at: u64 },
    /// It has all of the snapshot and loads it: with an end mark it must say so before the stream
    /// begins, since older replicas take whatever follows the mark for part of the snapshot.
    Loading,
    /// It gets the stream.
    Online,
    /// It asked for the snapshot alone and has it.
    Done,
}

/// A member of the same RedisHA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLink {
    pub uid: String,
    pub member: String,
    pub epoch: String,
}

/// One replica's connection.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each with its own word
pub struct Replica {
    pub client: ClientId,
    pub stage: Stage,
    /// It understands the end mark of a diskless transfer.
    pub eof: bool,
    /// It understands a changed id in `+CONTINUE`.
    pub psync2: bool,
    /// It keeps the scripts that EVAL brings.
    pub scripts: bool,
    pub rdb_only: bool,
    /// Which version of Valkey it is, or is like, if it has said so: Redis does not.
    pub version: Option<String>,
    /// It is a server of ours: it opens sessions for clients of another.
    pub relays: bool,
    /// The greatest level of a stream that it takes, if it is one; see `STREAM_LEVEL`.
    pub level: u32,
    /// It said SYNC, which is answered by the snapshot alone.
    pub bare: bool,
    /// Where others reach it: what it announced, or the address of its connection.
    pub host: String,
    pub port: u16,
    pub member: Option<MemberLink>,
    /// Offset in the stream of the next byte to send.
    pub sent: u64,
    /// Offset that it has acknowledged as applied.
    pub acked: u64,
    pub acked_at_ms: u64,
    /// Offset up to which its disk holds the stream, as it said.
    pub durable: u64,
    /// Offset up to which it would find the stream after a restart and be the same member, as it said.
    pub kept: u64,
    /// Since when more than the soft limit has been waiting for it.
    pub behind_since_ms: Option<u64>,
    /// When it last took a part of its snapshot.
    pub took_at_ms: u64,
}

impl Replica {
    fn new(client: ClientId, now_ms: u64) -> Self {
        Self {
            client,
            stage: Stage::Introduced,
            eof: false,
            psync2: false,
            scripts: false,
            rdb_only: false,
            version: None,
            relays: false,
            level: 0,
            bare: false,
            host: String::new(),
            port: 0,
            member: None,
            sent: 0,
            acked: 0,
            acked_at_ms: now_ms,
            durable: 0,
            kept: 0,
            behind_since_ms: None,
            took_at_ms: now_ms,
        }
    }

    /// Whether it reads a snapshot with expiry times of fields, as Valkey from 9.0 on does. A program
    /// that keeps the snapshot need not.
    pub fn takes_field_times(&self) -> bool {
        let major = self.version.as_ref().and_then(|version| version.split('.').next());
        let reads = major.and_then(|major| major.parse::<u32>().ok()).is_some_and(|n| n >= 9);
        reads || self.relays || self.rdb_only
    }

    /// What a log calls it: its name, if it is a member, and where others reach it.
    pub fn name(&self) -> String {
        let Self { host, port, .. } = self;
        let name = match &self.member {
            Some(member) => format!("{} ({host}:{port})", member.member),
            None => format!("{host}:{port}"),
        };
        // A name is what the other side says: it may not make lines of its own.
        name.escape_debug().to_string()
    }

    /// The word that INFO shows.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Introduced | Stage::WaitSnapshot => "wait_bgsave",
            Stage::Payload { .. } | Stage::Loading | Stage::Done => "send_bulk",
            Stage::Online => "online",
        }
    }
}

/// All replicas, few enough for a list.
#[derive(Debug, Default)]
pub struct Replicas {
    list: Vec<Replica>,
}

impl Replicas {
    pub fn get(&self, client: ClientId) -> Option<&Replica> {
        self.list.iter().find(|r| r.client == client)
    }

    pub fn get_mut(&mut self, client: ClientId) -> Option<&mut Replica> {
        self.list.iter_mut().find(|r| r.client == client)
    }

    /// The replica on this connection, begun if it has said nothing yet.
    pub fn entry(&mut self, client: ClientId, now_ms: u64) -> &mut Replica {
        let at = self.list.iter().position(|r| r.client == client).unwrap_or_else(|| {
            self.list.push(Replica::new(client, now_ms));
            self.list.len() - 1
        });
        &mut self.list[at]
    }

    pub fn remove(&mut self, client: ClientId) -> Option<Replica> {
        let at = self.list.iter().position(|r| r.client == client)?;
        Some(self.list.remove(at))
    }

    /// Those that asked for the stream.
    pub fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.list.iter().filter(|r| r.stage != Stage::Introduced)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.list.iter_mut().filter(|r| r.stage != Stage::Introduced)
    }

    pub fn online(&self) -> impl Iterator<Item = &Replica> {
        self.list.iter().filter(|r| r.stage == Stage::Online)
    }

    /// Whether any of them keeps the scripts that EVAL brings.
    pub fn any_keeps_scripts(&self) -> bool {
        self.list.iter().any(|r| r.scripts)
    }

    /// How many have acknowledged `offset`.
    pub fn holding(&self, offset: u64) -> usize {
        self.online().filter(|r| r.acked >= offset).count()
    }

    /// How many keep `offset` on their disks.
    pub fn keeping(&self, offset: u64) -> usize {
        self.online().filter(|r| r.durable >= offset && r.durable > 0).count()
    }

    /// How many acknowledged anything within `max_lag_ms`; for `min-replicas-to-write`.
    pub fn good(&self, now_ms: u64, max_lag_ms: u64) -> usize {
        self.online().filter(|r| now_ms.saturating_sub(r.acked_at_ms) <= max_lag_ms).count()
    }

    /// The oldest offset of the stream that one of them still needs.
    pub fn oldest_needed(&self) -> Option<u64> {
        self.reading().map(|r| r.sent).min()
    }

    /// Those that need more of the stream than what they were sent, from a known offset on.
    pub fn reading(&self) -> impl Iterator<Item = &Replica> {
        let needs = |r: &&Replica| !matches!(r.stage, Stage::Introduced | Stage::Done);
        // Those that wait for a snapshot go on from an offset that is still to come.
        let waits = |r: &&Replica| r.stage != Stage::WaitSnapshot && !r.rdb_only;
        self.list.iter().filter(needs).filter(waits)
    }
}
