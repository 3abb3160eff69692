//! XCLAIM and XAUTOCLAIM: entries that one consumer was given go to another.

use super::group::{add_consumer, of_args, push_claim, push_set_id};
use super::ids::{Bound, interval, parse, strict};
use super::write;
use crate::command::Handled;
use crate::command::support::at_least;
use crate::config::EventClasses;
use crate::engine::propagate::Outbox;
use crate::engine::{Context, Engine};
use crate::resp::num::parse_i64;
use crate::resp::{CommandError, Reply, errors};
use crate::store::{Group, Id, Nack, Stream};

/// The options of XCLAIM.
#[derive(Clone, Copy, Debug)]
struct Options {
    min_idle_ms: i64,
    /// Where the ids end, which begin at the sixth argument.
    ids_end: usize,
    /// The time of delivery to be noted, Unix time in milliseconds.
    time_ms: i64,
    retries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: Id,
}

fn number(text: &[u8], refusal: &'static str) -> Result<i64, CommandError> {
    parse_i64(text).ok_or_else(|| refusal.into())
}

fn options(cx: &Context<'_>) -> Result<Options, CommandError> {
    let args = cx.args;
    let now_ms = cx.engine.now.unix_ms();
    let min_idle = number(args.at(4), "ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids = args.tail(5).iter().take_while(|text| parse(text, 0).is_some()).count();
    let mut options = Options {
        min_idle_ms: min_idle.max(0),
        ids_end: 5 + ids,
        time_ms: now_ms,
        retries: None,
        force: false,
        just_id: false,
        last_id: Id::MIN,
    };
    let mut at = options.ids_end;
    while at < args.len() {
        let value = args.get(at + 1);
        match value {
            _ if args.is(at, "force") => options.force = true,
            _ if args.is(at, "justid") => options.just_id = true,
            Some(value) if args.is(at, "idle") => {
                let idle = number(value, "ERR Invalid IDLE option argument for XCLAIM")?;
                options.time_ms = now_ms.wrapping_sub(idle);
                at += 1;
            }
            Some(value) if args.is(at, "time") => {
                options.time_ms = number(value, "ERR Invalid TIME option argument for XCLAIM")?;
                at += 1;
            }
            Some(value) if args.is(at, "retrycount") => {
                let refusal = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
                options.retries = u64::try_from(number(value, refusal)?).ok();
                at += 1;
            }
            Some(value) if args.is(at, "lastid") => {
                options.last_id = strict(value, 0)?;
                at += 1;
            }
            _ => {
                let option = String::from_utf8_lossy(args.at(at));
                return Err(format!("ERR Unrecognized XCLAIM option '{option}'").into());
            }
        }
        at += 1;
    }
    // A time that makes no sense is taken as now: clients reckon with their own clocks.
    if options.time_ms < 0 || options.time_ms > now_ms {
        options.time_ms = now_ms;
    }
    Ok(options)
}

/// A claim in progress: the group is taken out of its stream, whose entries are read meanwhile.
struct Claim<'e> {
    stream: &'e mut Stream,
    group: Group,
    name: &'e [u8],
    key: &'e [u8],
    consumer: u32,
    created: bool,
    now_ms: i64,
    /// None when nobody follows the stream of changes.
    outbox: Option<&'e mut Outbox>,
    db: usize,
    changes: usize,
}

impl<'e> Claim<'e> {
    /// Begins for the key, group and consumer of the arguments, which are there.
    fn begin(
        engine: &'e mut Engine,
        args: crate::resp::Args<'e>,
        db: usize,
        propagates: bool,
    ) -> Result<Self, CommandError> {
        if propagates {
            engine.note_expired();
        }
        let now_ms = engine.now.unix_ms();
        let (key, name) = (args.at(1), args.at(2));
        let Engine { keyspace, outbox, .. } = engine;
        let missing = || super::group::no_group_text(key, name);
        let stream = keyspace.db_mut(db).typed_mut::<Stream>(key)?.ok_or_else(missing)?;
        let mut group = std::mem::take(stream.groups.get_mut(name).ok_or_else(missing)?);
        let (consumer, created) = add_consumer(&mut group, args.at(3), now_ms);
        group.consumer_mut(consumer).seen_ms = now_ms;
        let outbox = propagates.then_some(outbox);
        let changes = usize::from(created);
        Ok(Self { stream, group, name, key, consumer, created, now_ms, outbox, db, changes })
    }

    fn push(&mut self, id: Id, nack: Nack) {
        self.changes += 1;
        if let Some(outbox) = &mut self.outbox {
            push_claim(outbox, self.db, self.key, self.name, &self.group, id, nack);
        }
    }

    /// Forgets that an entry was delivered which is no longer there.
    fn drop_deleted(&mut self, id: Id) {
        if let Some(nack) = self.group.pending().get(&id).copied() {
            self.push(id, nack);
            self.group.acknowledge(id);
        }
    }

    fn give(&mut self, reply: &mut Reply<'_>, id: Id, nack: Nack, just_id: bool) {
        self.group.assign(id, nack);
        match self.stream.range(id, id).next() {
            Some(entry) if !just_id => write::entry(reply, &entry),
            _ => write::id(reply, id),
        }
        self.group.consumer_mut(self.consumer).active_ms = self.now_ms;
        self.push(id, nack);
    }

    fn is_idle(&self, nack: &Nack, min_idle_ms: i64) -> bool {
        min_idle_ms == 0 || self.now_ms.saturating_sub(nack.time_ms) >= min_idle_ms
    }

    /// Puts the group back; returns the number of changes and whether the consumer is new.
    fn end(self) -> (usize, bool) {
        if let Some(slot) = self.stream.groups.get_mut(self.name) {
            *slot = self.group;
        }
        (self.changes, self.created)
    }
}

fn finish(cx: &mut Context<'_>, changes: usize, created: bool) {
    cx.dirty(changes);
    if created {
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", cx.args.at(1));
    }
}

pub fn xclaim(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    of_args(cx)?;
    let options = options(cx)?;
    cx.propagate_nothing();
    let (propagates, db) = (cx.propagates(), cx.client.db);
    let mut claim = Claim::begin(cx.engine, args, db, propagates)?;
    let mut reply = cx.client.reply();
    let moved = options.last_id > claim.group.last_id;
    if moved {
        claim.group.last_id = options.last_id;
    }
    let array = reply.open_array();
    let mut written = 0;
    for at in 5..options.ids_end {
        let id = strict(args.at(at), 0)?;
        written += usize::from(claim_one(&mut claim, &mut reply, id, &options));
    }
    reply.close_array(array, written);
    // Every XCLAIM that goes to replicas says the last id, too.
    if moved && claim.changes == usize::from(claim.created) {
        claim.changes += 1;
        if let Some(outbox) = &mut claim.outbox {
            push_set_id(outbox, db, claim.key, claim.name, &claim.group);
        }
    }
    let (changes, created) = claim.end();
    finish(cx, changes, created);
    Ok(())
}

/// Claims one entry; `true` when it was written.
fn claim_one(claim: &mut Claim<'_>, reply: &mut Reply<'_>, id: Id, options: &Options) -> bool {
    if !claim.stream.contains(id) {
        claim.drop_deleted(id);
        return false;
    }
    let known = claim.group.pending().get(&id).copied();
    let count = match known {
        Some(nack) if !claim.is_idle(&nack, options.min_idle_ms) => return false,
        Some(nack) => nack.count,
        None if options.force => 1,
        None => return false,
    };
    let count = options.retries.unwrap_or(count.wrapping_add(u64::from(!options.just_id)));
    let nack = Nack { time_ms: options.time_ms, count, consumer: claim.consumer };
    claim.give(reply, id, nack, options.just_id);
    true
}

/// The options of XAUTOCLAIM: COUNT and JUSTID.
fn auto_options(cx: &Context<'_>) -> Result<(i64, bool), CommandError> {
    /// As many as the size of an answer and the number of attempts allow elsewhere.
    const MOST: i64 = i64::MAX / 16;
    const REFUSAL: &str = "ERR COUNT must be > 0";
    let args = cx.args;
    let (mut count, mut just_id) = (100, false);
    let mut at = 6;
    while at < args.len() {
        match args.get(at + 1) {
            Some(value) if args.is(at, "count") => {
                count = at_least(value, 1, REFUSAL)?;
                if count > MOST {
                    return Err(REFUSAL.into());
                }
                at += 1;
            }
            _ if args.is(at, "justid") => just_id = true,
            _ => return Err(errors::SYNTAX.into()),
        }
        at += 1;
    }
    Ok((count, just_id))
}

pub fn xautoclaim(cx: &mut Context<'_>) -> Handled {
    /// Entries that are looked at for each one that may be claimed.
    const ATTEMPTS: i64 = 10;
    let args = cx.args;
    let min_idle = number(args.at(4), "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let min_idle_ms = min_idle.max(0);
    let start = interval(args.at(5), Bound::From)?;
    let (mut count, just_id) = auto_options(cx)?;
    of_args(cx)?;
    cx.propagate_nothing();
    let (propagates, db) = (cx.propagates(), cx.client.db);
    let mut claim = Claim::begin(cx.engine, args, db, propagates)?;
    let mut attempts = count * ATTEMPTS;
    let mut claimed = Vec::new();
    let bound = cx.client.output_bound();
    let mut list = Reply::bounded(&mut claimed, cx.client.proto, bound);
    let mut written = 0;
    let mut deleted = Vec::new();
    // The next entry to look at, as long as there may be one.
    let mut next = Some(start);
    let mut cursor = None;
    while let Some(from) = next {
        let Some((id, nack)) = claim.group.pending().range(from..).next() else { break };
        let (id, nack) = (*id, *nack);
        if attempts == 0 || count == 0 {
            cursor = Some(id);
            break;
        }
        attempts -= 1;
        next = id.next();
        if !claim.stream.contains(id) {
            claim.drop_deleted(id);
            deleted.push(id);
            count -= 1;
        } else if claim.is_idle(&nack, min_idle_ms) {
            let times = nack.count.wrapping_add(u64::from(!just_id));
            let nack = Nack { time_ms: claim.now_ms, count: times, consumer: claim.consumer };
            claim.give(&mut list, id, nack, just_id);
            written += 1;
            count -= 1;
        }
    }
    let (changes, created) = claim.end();
    let mut reply = cx.client.reply();
    reply.array(3);
    write::id(&mut reply, cursor.unwrap_or(Id::MIN));
    reply.array(written);
    reply.raw(&claimed);
    reply.array(deleted.len());
    for id in deleted {
        write::id(&mut reply, id);
    }
    finish(cx, changes, created);
    Ok(())
}
