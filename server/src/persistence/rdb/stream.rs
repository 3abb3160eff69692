//! Streams in the RDB format. Pure, and read piece by piece as the other types are: no piece is
//! larger than one block of entries.
//!
//! Nothing that the bytes say is believed before it was compared with the rest: a payload that
//! contradicts itself is refused, so that no command meets a stream that cannot be.

use super::RdbError;
use super::cursor::{Cursor, Stop};
use super::packed::{Elem, Form, Packed};
use super::value::committed;
use super::writer::{length, string};
use crate::store::{Facts, Group, Id, Item, Nack, Stream, Value};

/// The type as which streams are written.
pub const TYPE: u8 = 21;

/// Which of the three types is read; each holds more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Without the count of entries ever added.
    First,
    /// With it, and with how far groups have read.
    Second,
    /// With the last activity of consumers.
    Third,
}

#[derive(Debug)]
enum Phase {
    Start,
    Blocks(u64),
    Facts,
    Groups(u64),
    /// A group's entries that are not acknowledged.
    Pending(u64),
    ConsumerCount,
    Consumers(u64),
    /// A consumer's part of those entries, and its number.
    Owned(u64, u32),
    Done,
}

/// A stream in the course of being read.
#[derive(Debug)]
pub struct Reader {
    version: Version,
    phase: Phase,
    stream: Stream,
    /// The group that is being read, and those and consumers that are to follow.
    group: Option<(Box<[u8]>, Group)>,
    groups_left: u64,
    consumers_left: u64,
    /// Delivered entries of the group, whose consumer is told later.
    nacks: std::collections::BTreeMap<Id, (i64, u64)>,
}

fn corrupt<T>(why: &'static str) -> Result<T, Stop> {
    Err(RdbError::Corrupt(why).into())
}

fn raw_id(cur: &mut Cursor<'_>) -> Result<Id, Stop> {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(cur.take(16)?);
    Ok(Id::from_bytes(bytes))
}

fn id(cur: &mut Cursor<'_>) -> Result<Id, Stop> {
    Ok(Id { ms: cur.length()?, seq: cur.length()? })
}

impl Reader {
    pub fn new(version: Version) -> Self {
        Self {
            version,
            phase: Phase::Start,
            stream: Stream::new(),
            group: None,
            groups_left: 0,
            consumers_left: 0,
            nacks: std::collections::BTreeMap::new(),
        }
    }

    /// Reads on; see [`super::value::ValueReader::advance`].
    pub fn advance(&mut self, cur: &mut Cursor<'_>) -> Result<(), Stop> {
        while !matches!(self.phase, Phase::Done) {
            self.phase = committed(cur, |cur| self.piece(cur))?;
        }
        Ok(())
    }

    pub fn finish(self) -> Value {
        self.stream.into()
    }

    /// Reads one piece; gives the phase after it.
    fn piece(&mut self, cur: &mut Cursor<'_>) -> Result<Phase, Stop> {
        Ok(match self.phase {
            Phase::Start => Phase::Blocks(cur.length()?),
            Phase::Blocks(0) => Phase::Facts,
            Phase::Blocks(left) => {
                let key = cur.string()?;
                let Ok(key) = <[u8; 16]>::try_from(&key[..]) else {
                    return corrupt("a stream's block has no id");
                };
                let blob = cur.string()?;
                block(&mut self.stream, Id::from_bytes(key), &blob)?;
                Phase::Blocks(left - 1)
            }
            Phase::Facts => Phase::Groups(self.facts(cur)?),
            Phase::Groups(0) | Phase::Done => Phase::Done,
            Phase::Groups(left) => {
                let pending = self.begin_group(cur)?;
                self.groups_left = left - 1;
                Phase::Pending(pending)
            }
            Phase::Pending(0) => Phase::ConsumerCount,
            Phase::Pending(left) => {
                let (id, time_ms, count) = (raw_id(cur)?, cur.i64_le()?, cur.length()?);
                if self.nacks.insert(id, (time_ms, count)).is_some() {
                    return corrupt("a group was given an entry twice");
                }
                Phase::Pending(left - 1)
            }
            Phase::ConsumerCount => Phase::Consumers(cur.length()?),
            Phase::Consumers(0) => {
                self.end_group()?;
                Phase::Groups(self.groups_left)
            }
            Phase::Consumers(left) => {
                self.consumers_left = left - 1;
                self.consumer(cur)?
            }
            Phase::Owned(0, _) => Phase::Consumers(self.consumers_left),
            Phase::Owned(left, consumer) => {
                self.own(raw_id(cur)?, consumer)?;
                Phase::Owned(left - 1, consumer)
            }
        })
    }

    /// Reads what follows the blocks; gives the number of groups.
    fn facts(&mut self, cur: &mut Cursor<'_>) -> Result<u64, Stop> {
        let len = cur.length()?;
        let mut facts = Facts { len, last_id: id(cur)?, max_deleted: Id::MIN, added: len };
        if self.version >= Version::Second {
            // The first id is found anew.
            id(cur)?;
            facts.max_deleted = id(cur)?;
            facts.added = cur.length()?;
        }
        let groups = cur.length()?;
        if !self.stream.end_load(&facts) {
            return corrupt("a stream's length or last id contradicts its entries");
        }
        Ok(groups)
    }

    /// Reads a group's head; gives the number of its entries that are not acknowledged.
    fn begin_group(&mut self, cur: &mut Cursor<'_>) -> Result<u64, Stop> {
        let name = cur.string()?.into_owned().into_boxed_slice();
        let last_id = id(cur)?;
        let read = if self.version >= Version::Second {
            cur.length()?.cast_signed()
        } else {
            self.stream.entries_up_to(last_id)
        };
        let pending = cur.length()?;
        self.nacks.clear();
        self.group = Some((name, Group::new(last_id, read)));
        Ok(pending)
    }

    fn consumer(&mut self, cur: &mut Cursor<'_>) -> Result<Phase, Stop> {
        let name = cur.string()?;
        let seen_ms = cur.i64_le()?;
        let active_ms = if self.version >= Version::Third { cur.i64_le()? } else { seen_ms };
        let owned = cur.length()?;
        let group = self.group.as_mut().map(|(_, group)| group);
        let Some(group) = group else { return corrupt("a consumer has no group") };
        let Some(number) = group.create(&name, seen_ms) else {
            return corrupt("a group has a consumer twice");
        };
        group.consumer_mut(number).active_ms = active_ms;
        Ok(Phase::Owned(owned, number))
    }

    /// Gives a consumer an entry that its group was given.
    fn own(&mut self, id: Id, consumer: u32) -> Result<(), Stop> {
        let (Some((_, group)), Some((time_ms, count))) = (&mut self.group, self.nacks.remove(&id))
        else {
            return corrupt("a consumer has an entry that its group was not given");
        };
        group.assign(id, Nack { time_ms, count, consumer });
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), Stop> {
        if !self.nacks.is_empty() {
            return corrupt("a group was given an entry that no consumer has");
        }
        let Some((name, group)) = self.group.take() else { return Ok(()) };
        match self.stream.groups.insert(name, group) {
            Some(_) => corrupt("a stream has a group twice"),
            None => Ok(()),
        }
    }
}

fn item(elem: Elem<'_>) -> Item<'_> {
    match elem {
        Elem::Bytes(bytes) => Item::Bytes(bytes),
        Elem::Int(n) => Item::Int(n),
    }
}

/// The items of one block's listpack.
struct Items<'a>(Packed<'a>);

const CUT: RdbError = RdbError::Corrupt("a stream's block is cut off");

impl<'a> Items<'a> {
    fn next(&mut self) -> Result<Elem<'a>, RdbError> {
        self.0.advance()?.ok_or(CUT)
    }

    fn int(&mut self) -> Result<i64, RdbError> {
        match self.next()? {
            Elem::Int(n) => Ok(n),
            Elem::Bytes(_) => Err(RdbError::Corrupt("a stream's block has text for a number")),
        }
    }

    /// A count of items to come. Nothing is allocated for it: they have to be there.
    fn count(&mut self) -> Result<u64, RdbError> {
        u64::try_from(self.int()?).map_err(|_| RdbError::Corrupt("a stream's count is negative"))
    }

    fn take(&mut self, count: u64, into: &mut Vec<Item<'a>>) -> Result<(), RdbError> {
        for _ in 0..count {
            into.push(item(self.next()?));
        }
        Ok(())
    }
}

/// Reads one block and adds its entries; those that are marked as deleted are left out.
fn block(stream: &mut Stream, id: Id, blob: &[u8]) -> Result<(), RdbError> {
    const DISORDER: RdbError = RdbError::Corrupt("a stream's ids do not grow");
    let mut items = Items(Packed::new(Form::Listpack, blob)?);
    let (live, dead, count) = (items.count()?, items.count()?, items.count()?);
    let mut fields = Vec::new();
    items.take(count, &mut fields)?;
    if items.int()? != 0 {
        return Err(RdbError::Corrupt("a stream's block has no end to its fields"));
    }
    if !stream.load_block(id, fields.len(), |at| fields[at / 2]) {
        return Err(DISORDER);
    }
    let (mut seen_live, mut seen_dead) = (0, 0);
    let mut values = Vec::new();
    while let Some(flags) = items.0.advance()? {
        let Elem::Int(flags @ 0..=3) = flags else {
            return Err(RdbError::Corrupt("a stream's entry has unknown flags"));
        };
        let (ms, seq) = (items.int()?, items.int()?);
        let entry = Id {
            ms: id.ms.wrapping_add(ms.cast_unsigned()),
            seq: id.seq.wrapping_add(seq.cast_unsigned()),
        };
        values.clear();
        let same = flags & 2 != 0;
        let pairs = if same { fields.len() as u64 } else { items.count()? };
        let taken = if same { Some(pairs) } else { pairs.checked_mul(2) }.ok_or(CUT)?;
        items.take(taken, &mut values)?;
        if items.count()? != taken + if same { 3 } else { 4 } {
            return Err(RdbError::Corrupt("a stream's entry has another number of items"));
        }
        if flags & 1 != 0 {
            seen_dead += 1;
            continue;
        }
        seen_live += 1;
        let at = |at: usize| match (same, at % 2) {
            (false, _) => values[at],
            (true, 0) => fields[at / 2],
            (true, _) => values[at / 2],
        };
        if !stream.load_entry(entry, pairs as usize, at) {
            return Err(DISORDER);
        }
    }
    if (live, dead) != (seen_live, seen_dead) {
        return Err(RdbError::Corrupt("a stream's block has another number of entries"));
    }
    Ok(())
}

/// Writes a stream as [`TYPE`].
pub fn write(out: &mut Vec<u8>, stream: &Stream) {
    length(out, stream.blocks().len() as u64);
    for block in stream.blocks() {
        string(out, &block.id.to_bytes());
        length(out, block.listpack_bytes() as u64);
        block.write_listpack(out);
    }
    let id = |out: &mut Vec<u8>, id: Id| {
        length(out, id.ms);
        length(out, id.seq);
    };
    length(out, stream.len());
    id(out, stream.last_id);
    id(out, stream.first_id());
    id(out, stream.max_deleted);
    length(out, stream.added);
    length(out, stream.groups.len() as u64);
    for (name, group) in &stream.groups {
        string(out, name);
        id(out, group.last_id);
        length(out, group.read.cast_unsigned());
        length(out, group.pending().len() as u64);
        for (id, nack) in group.pending() {
            out.extend_from_slice(&id.to_bytes());
            out.extend_from_slice(&nack.time_ms.to_le_bytes());
            length(out, nack.count);
        }
        length(out, group.consumer_count() as u64);
        for consumer in group.consumers() {
            string(out, &consumer.name);
            out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
            out.extend_from_slice(&consumer.active_ms.to_le_bytes());
            length(out, consumer.pending.len() as u64);
            for id in &consumer.pending {
                out.extend_from_slice(&id.to_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests;
