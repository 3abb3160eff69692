//! Which commands stay, which are relayed, which are answered with the way to go. Pure.

use crate::client::Client;
use crate::command::{Command, Flags};
use crate::engine::blocking::Blocked;
use crate::relay::Target;
use crate::resp::{Args, CommandError};

/// What a client that is led elsewhere gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its answers, from the other node.
    #[default]
    Relay,
    /// `-REDIRECT host:port`, or `-MOVED` when it speaks cluster.
    Error,
}

/// Where clients are led, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub target: Target,
    pub mode: Mode,
    /// This node replicates from the target: a connection that said READONLY may read here.
    pub serves_reads: bool,
    /// Only connections that declared `CLIENT CAPA redirect` are told; the others are served as by
    /// any replica.
    pub only_capable: bool,
    /// The target took over from this node while clients were connected: a connection may be in the
    /// middle of a batch, and some libraries repeat a whole batch when a part of it is redirected.
    pub moved: bool,
}

/// How long nothing must have come from a client before its batch is surely over, in milliseconds.
const QUIET_MS: u64 = 10;

impl Redirect {
    /// The error that answers this command, or `None` when it is to be relayed.
    pub(super) fn refusal(
        &self,
        client: &Client,
        row: &Command,
        args: Args<'_>,
    ) -> Option<CommandError> {
        let quiet = !self.moved || client.quiet_ms >= QUIET_MS;
        if self.mode == Mode::Error || client.traits.capa_redirect && quiet {
            let slot = if client.traits.speaks_cluster { Some(slot_of(row, args)) } else { None };
            return Some(self.error(slot));
        }
        None
    }

    /// The error that answers a blocked command, or `None` when it is to be relayed.
    pub(super) fn refusal_of_blocked(
        &self,
        client: &Client,
        blocked: &Blocked,
    ) -> Option<CommandError> {
        if self.mode == Mode::Error || client.traits.capa_redirect {
            let slot = blocked.keys.first().filter(|_| client.traits.speaks_cluster);
            return Some(self.error(slot.map(|key| key_slot(key))));
        }
        None
    }

    fn error(&self, slot: Option<u16>) -> CommandError {
        let Target { host, port, .. } = &self.target;
        match slot {
            Some(slot) => format!("MOVED {slot} {host}:{port}").into(),
            None => format!("REDIRECT {host}:{port}").into(),
        }
    }
}

/// What a command, or a transaction, does to data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    pub reads: bool,
    pub writes: bool,
}

/// Whether this node answers the command itself: connection and administration commands,
/// subscriptions (they are fed by the replication stream), reads that READONLY allows, and the end of
/// a transaction of which nothing will be executed, here or there.
pub(super) fn stays_here(
    redirect: Option<&Redirect>,
    client: &Client,
    row: &Command,
    uses: impl Fn() -> Uses,
) -> bool {
    if row.is(Flags::LOCAL) || row.is(Flags::IN_SUBSCRIBE) {
        return true;
    }
    if row.name == "exec" && client.multi.as_ref().is_some_and(|multi| multi.broken) {
        return true;
    }
    let Some(redirect) = redirect else { return false };
    if redirect.only_capable {
        let Uses { reads, writes } = uses();
        return !client.traits.capa_redirect || !writes && (!reads || client.traits.readonly);
    }
    let reads = !row.is(Flags::WRITE | Flags::MAY_REPLICATE | Flags::SHARED);
    redirect.serves_reads && client.traits.readonly && reads && client.multi.is_none()
}

/// The cluster slot of the command's first key; a command without one is as good in any slot.
fn slot_of(row: &Command, args: Args<'_>) -> u16 {
    let mut slot = None;
    row.keys.visit(args, |at| {
        slot.get_or_insert_with(|| key_slot(args.at(at)));
    });
    slot.unwrap_or(0)
}

/// Slot of a key as the cluster specification defines it: CRC16 (XMODEM) of the key, or of what
/// stands in its first braces, modulo 16384.
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % 16384
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(key_slot(b"123456789"), 0x31C3);
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"user1000"));
        assert_eq!(key_slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16384);
        assert_eq!(key_slot(b"foo{{bar}}zap"), crc16(b"{bar") % 16384);
    }
}
