//! A full resync in progress: one snapshot, sent to all who waited for it. Pure.

use super::backlog::Backlog;
use super::replicas::{Replica, Replicas, Stage};
use crate::client::ClientId;

/// Bytes of the snapshot that may wait for the slowest receiver before the walk pauses.
const AHEAD_MAX: u64 = 1024 * 1024;

/// The snapshot as it is being made. Its receivers hold positions in it.
///
/// Receivers that do not understand an end mark must be told the length first, so if there is one
/// among them the whole snapshot is kept until it is complete; else only what is not sent yet. So
/// such a receiver can only be served while the snapshot is within a bound: see [`Self::outgrows`].
#[derive(Debug)]
pub struct Transfer {
    /// Offset of the stream that the data stands at.
    pub offset: u64,
    /// The end mark: 40 letters that do not occur in the data but by a chance of 2^-160.
    mark: [u8; 40],
    bytes: Backlog,
    /// Bytes of the snapshot alone, once it is complete.
    length: Option<u64>,
    keep_all: bool,
}

impl Transfer {
    pub fn new(offset: u64, mark: [u8; 40], keep_all: bool) -> Self {
        Self { offset, mark, bytes: Backlog::new(0), length: None, keep_all }
    }

    /// Takes the next part of the snapshot.
    pub fn push(&mut self, part: &[u8]) {
        self.bytes.append(part);
    }

    /// The snapshot is complete.
    pub fn finish(&mut self) {
        self.length = Some(self.bytes.end());
        self.bytes.append(&self.mark);
    }

    pub fn is_complete(&self) -> bool {
        self.length.is_some()
    }

    /// Whether more of the snapshot may be made now.
    pub fn has_room(&self, replicas: &Replicas) -> bool {
        let slowest = positions(replicas).min().unwrap_or(self.bytes.end());
        self.keep_all || self.bytes.end() - slowest < AHEAD_MAX
    }

    /// Whether more than this is kept for those who must be told the length first.
    pub fn outgrows(&self, limit: u64) -> bool {
        self.keep_all && self.bytes.len() > limit
    }

    /// Serves those who must be told the length first no more, and names them; the others go on.
    pub fn leave_out_the_old(&mut self, replicas: &mut Replicas) -> Vec<ClientId> {
        self.keep_all = false;
        let receiving = |r: &&mut Replica| matches!(r.stage, Stage::Payload { .. });
        let old = replicas.iter_mut().filter(receiving).filter(|r| !r.eof);
        old.map(|r| {
            r.stage = Stage::Done;
            r.client
        })
        .collect()
    }

    /// All who are being sent it.
    pub fn receivers(&self, replicas: &Replicas) -> Vec<ClientId> {
        receiving(replicas).map(|(r, _)| r.client).collect()
    }

    /// Those for whom the walk pauses.
    pub fn held_up_by(&self, replicas: &Replicas) -> Vec<ClientId> {
        let slow = |at| self.bytes.end() - at >= AHEAD_MAX;
        receiving(replicas).filter(|(_, at)| slow(*at)).map(|(r, _)| r.client).collect()
    }

    /// Frees what all receivers have been sent.
    pub fn trim(&mut self, replicas: &Replicas) {
        if !self.keep_all {
            self.bytes.trim(positions(replicas).min().unwrap_or(self.bytes.end()));
        }
    }

    /// Whether nobody is left to be sent anything.
    pub fn is_over(&self, replicas: &Replicas) -> bool {
        positions(replicas).next().is_none()
    }

    /// What precedes the bytes for a receiver with an end mark, right after `+FULLRESYNC`.
    pub fn eof_head(&self) -> Vec<u8> {
        [b"$EOF:", self.mark.as_slice(), b"\r\n"].concat()
    }

    /// Appends up to `room` bytes for one receiver to its output.
    pub fn fill(
        &self,
        replicas: &mut Replicas,
        client: ClientId,
        (room, now_ms): (usize, u64),
        out: &mut Vec<u8>,
    ) {
        let Some(replica) = replicas.get_mut(client) else { return };
        replica.took_at_ms = now_ms;
        let Stage::Payload { at } = replica.stage else { return };
        let (limit, after) = match (replica.eof, self.length) {
            (true, _) => (u64::MAX, Stage::Loading),
            (false, Some(length)) => {
                if at == 0 {
                    out.extend_from_slice(format!("${length}\r\n").as_bytes());
                }
                (length, Stage::Online)
            }
            (false, None) => return,
        };
        let room = room.min(usize::try_from(limit - at).unwrap_or(usize::MAX));
        let at = self.bytes.copy(at, room, out).expect("nothing is freed before it was sent");
        let all = self.length.is_some() && at == limit.min(self.bytes.end());
        replica.stage = match (all, replica.rdb_only) {
            (false, _) => Stage::Payload { at },
            (true, true) => Stage::Done,
            (true, false) => after,
        };
    }
}

/// The receivers and their positions.
fn receiving(replicas: &Replicas) -> impl Iterator<Item = (&Replica, u64)> {
    replicas.iter().filter_map(|r| match r.stage {
        Stage::Payload { at } => Some((r, at)),
        _ => None,
    })
}

fn positions(replicas: &Replicas) -> impl Iterator<Item = u64> {
    receiving(replicas).map(|(_, at)| at)
}
