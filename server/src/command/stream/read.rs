//! XREAD and XREADGROUP.
//!
//! Both are run again when one of their keys is signalled. XREAD then passes over a key that has
//! become another type or is gone; XREADGROUP answers with the error, since its group went along.

use super::group::{add_consumer, no_group_text};
use super::ids::strict;
use super::write;
use crate::command::Handled;
use crate::command::support::{db, deadline_in_ms, int};
use crate::config::EventClasses;
use crate::engine::blocking::OnTimeout;
use crate::engine::propagate::Outbox;
use crate::engine::{Context, Engine};
use crate::resp::{CommandError, OwnedArgs, Reply, errors};
use crate::store::{Group, Id, IdBuf, Nack, Stream};

/// The options of both commands.
#[derive(Clone, Copy, Debug)]
struct Options<'a> {
    /// Entries of each stream; `None` is all of them.
    count: Option<usize>,
    wait: Wait,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// The first key, and how many there are; as many ids follow.
    first: usize,
    streams: usize,
}

/// What is done when there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    No,
    /// Until this time of the monotonic clock, in milliseconds, or without end.
    Until(Option<u64>),
}

/// From where a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    After(Id),
    /// `>`: what no consumer of the group has been given.
    New,
}

impl<'a> Options<'a> {
    fn parse(cx: &Context<'a>, grouped: bool) -> Result<Self, CommandError> {
        let args = cx.args;
        let mut options =
            Self { count: None, wait: Wait::No, group: None, no_ack: false, first: 0, streams: 0 };
        let only = |option: &str| -> CommandError {
            format!(
                "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
            )
            .into()
        };
        let mut at = 1;
        while at < args.len() {
            let more = args.len() - at - 1;
            if more > 0 && args.is(at, "block") {
                options.wait = Wait::Until(deadline(cx, args.at(at + 1))?);
                at += 2;
            } else if more > 0 && args.is(at, "count") {
                let count = int(args.at(at + 1))?;
                options.count = usize::try_from(count).ok().filter(|count| *count > 0);
                at += 2;
            } else if more > 0 && args.is(at, "streams") {
                options.first = at + 1;
                options.streams = more / 2;
                if !more.is_multiple_of(2) {
                    return Err(unbalanced(cx.row.name, grouped));
                }
                break;
            } else if more > 1 && args.is(at, "group") {
                if !grouped {
                    return Err(only("GROUP"));
                }
                options.group = Some((args.at(at + 1), args.at(at + 2)));
                at += 3;
            } else if args.is(at, "noack") {
                if !grouped {
                    return Err(only("NOACK"));
                }
                options.no_ack = true;
                at += 1;
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        if options.first == 0 {
            return Err(errors::SYNTAX.into());
        }
        if grouped && options.group.is_none() {
            return Err("ERR Missing GROUP option for XREADGROUP".into());
        }
        Ok(options)
    }
}

fn unbalanced(name: &str, grouped: bool) -> CommandError {
    let symbol = if grouped { '>' } else { '$' };
    format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be \
         specified."
    )
    .into()
}

/// A timeout in milliseconds as a deadline on the monotonic clock, `None` for 0.
fn deadline(cx: &Context<'_>, text: &[u8]) -> Result<Option<u64>, CommandError> {
    deadline_in_ms(cx, crate::resp::num::parse_i64(text).ok_or(errors::TIMEOUT)?)
}

/// The start that an id of XREAD means for this stream, if it is there.
fn plain_start(stream: Option<&Stream>, text: &[u8]) -> Result<Id, CommandError> {
    match text {
        b"$" => Ok(stream.map_or(Id::MIN, |stream| stream.last_id)),
        b"+" => Ok(stream
            .filter(|stream| !stream.is_empty())
            .and_then(|stream| stream.last_id.previous())
            .unwrap_or(Id::MIN)),
        b">" => Err("ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                     <group> <consumer> option."
            .into()),
        _ => strict(text, 0),
    }
}

fn group_start(text: &[u8]) -> Result<Start, CommandError> {
    let meaningless = |id: &str| -> CommandError {
        format!(
            "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the \
             history of this consumer by specifying a proper ID, or use the > ID to get new \
             messages. The {id} ID would just return an empty result set."
        )
        .into()
    };
    match text {
        b">" => Ok(Start::New),
        b"$" => Err(meaningless("$")),
        b"+" => Err(meaningless("+")),
        _ => {
            let id = strict(text, 0)?;
            Ok(if id == Id::MAX { Start::New } else { Start::After(id) })
        }
    }
}

pub fn xread(cx: &mut Context<'_>) -> Handled {
    let options = Options::parse(cx, false)?;
    let args = cx.args;
    let waiting = cx.client.blocked.is_some();
    let (first, streams) = (options.first, options.streams);
    let mut wrong = false;
    for at in first..first + streams {
        match db(cx).typed::<Stream>(args.at(at)) {
            Ok(stream) => {
                plain_start(stream, args.at(at + streams))?;
            }
            Err(_) if waiting => wrong = true,
            Err(error) => return Err(error.into()),
        }
    }
    let mut served = 0;
    let array = cx.reply().open_array();
    for at in first..first + streams {
        let Context { engine, client, .. } = cx;
        let Ok(Some(stream)) = engine.keyspace.db_mut(client.db).typed::<Stream>(args.at(at))
        else {
            continue;
        };
        let after = plain_start(Some(stream), args.at(at + streams))?;
        // The last id is cheap to look at; the last entry may be an older one.
        if stream.is_empty() || stream.last_id <= after || stream.last_entry_id() <= after {
            continue;
        }
        if wrong {
            return Err(errors::WRONG_TYPE.into());
        }
        let from = after.next().unwrap_or(Id::MAX);
        let mut reply = client.reply();
        head(&mut reply, args.at(at));
        write::entries(&mut reply, stream.range(from, Id::MAX), options.count);
        served += 1;
    }
    finish(cx, &options, array, served)
}

/// The beginning of a stream's part of the reply.
#[inline]
fn head(reply: &mut Reply<'_>, key: &[u8]) {
    if !reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(key);
}

/// Ends the reply, or waits when nothing was found and the client wants to.
fn finish(cx: &mut Context<'_>, options: &Options<'_>, array: usize, served: usize) -> Handled {
    if served > 0 {
        cx.reply().close_map_or_array(array, served);
        return Ok(());
    }
    cx.reply().truncate(array);
    let Wait::Until(deadline_ms) = options.wait else {
        cx.reply().null_array();
        return Ok(());
    };
    let (args, first, streams) = (cx.args, options.first, options.streams);
    let fixed = with_fixed_ids(cx, options)?;
    let keys = (first..first + streams).map(|at| args.at(at));
    cx.block_as(fixed, keys, deadline_ms, OnTimeout::NullArray);
    Ok(())
}

/// The command with the last ids of now in place of every `$`, if it has one.
fn with_fixed_ids(
    cx: &mut Context<'_>,
    options: &Options<'_>,
) -> Result<Option<OwnedArgs>, CommandError> {
    let args = cx.args;
    let ids = options.first + options.streams;
    if !(ids..args.len()).any(|at| args.at(at) == b"$") {
        return Ok(None);
    }
    let mut parts: Vec<Vec<u8>> = args.iter().map(<[u8]>::to_vec).collect();
    for (at, part) in parts.iter_mut().enumerate().skip(ids) {
        if part == b"$" {
            let stream = db(cx).typed::<Stream>(args.at(at - options.streams)).ok().flatten();
            let id = stream.map_or(Id::MIN, |stream| stream.last_id);
            *part = id.text(&mut [0; size_of::<IdBuf>()]).to_vec();
        }
    }
    let fixed = OwnedArgs::composed(parts.iter().map(Vec::as_slice));
    Ok(Some(fixed.ok_or(errors::TOO_LONG)?))
}

pub fn xreadgroup(cx: &mut Context<'_>) -> Handled {
    let options = Options::parse(cx, true)?;
    let Some((group_name, _)) = options.group else { return Err(errors::SYNTAX.into()) };
    let args = cx.args;
    let (first, streams) = (options.first, options.streams);
    for at in first..first + streams {
        let stream = db(cx).typed::<Stream>(args.at(at))?;
        if !stream.is_some_and(|stream| stream.groups.contains_key(group_name)) {
            let what = no_group_text(args.at(at), group_name);
            return Err(format!("{what} in XREADGROUP with GROUP option").into());
        }
        group_start(args.at(at + streams))?;
    }
    // What reading changes goes to replicas as XCLAIM and XGROUP, not as the command came.
    cx.propagate_nothing();
    let mut served = 0;
    let array = cx.reply().open_array();
    for at in first..first + streams {
        let start = group_start(args.at(at + streams))?;
        served += usize::from(read_group(cx, &options, args.at(at), start)?);
    }
    finish(cx, &options, array, served)
}

/// Where a read's changes go.
struct Tracks<'e> {
    /// None when nobody follows the stream.
    outbox: Option<&'e mut Outbox>,
    db: usize,
    key: &'e [u8],
    group: &'e [u8],
}

/// Serves one stream of XREADGROUP; `false` when there is nothing to serve.
fn read_group(
    cx: &mut Context<'_>,
    options: &Options<'_>,
    key: &[u8],
    start: Start,
) -> Result<bool, CommandError> {
    let Some((group_name, consumer_name)) = options.group else { return Ok(false) };
    let now_ms = cx.engine.now.unix_ms();
    let propagates = cx.propagates();
    if propagates {
        cx.engine.note_expired();
    }
    let Engine { keyspace, outbox, .. } = &mut *cx.engine;
    let Some(stream) = keyspace.db_mut(cx.client.db).typed_mut::<Stream>(key)? else {
        return Ok(false);
    };
    // The group is taken out while entries of its stream are read.
    let Some(slot) = stream.groups.get_mut(group_name) else { return Ok(false) };
    let mut group = std::mem::take(slot);
    let (consumer, created) = add_consumer(&mut group, consumer_name, now_ms);
    group.consumer_mut(consumer).seen_ms = now_ms;
    let outbox = propagates.then_some(outbox);
    let mut tracks = Tracks { outbox, db: cx.client.db, key, group: group_name };
    if created && options.no_ack {
        tracks.created(consumer_name);
    }
    let mut reply = cx.client.reply();
    let serves = match start {
        Start::After(after) => {
            head(&mut reply, key);
            let count = options.count.unwrap_or(usize::MAX);
            history(&mut reply, stream, &mut group, consumer, after, count, now_ms);
            true
        }
        Start::New if stream.is_empty() || stream.last_entry_id() <= group.last_id => false,
        Start::New => {
            head(&mut reply, key);
            deliver(&mut reply, stream, &mut group, consumer, options, now_ms, &mut tracks);
            true
        }
    };
    if let Some(slot) = stream.groups.get_mut(group_name) {
        *slot = group;
    }
    cx.dirty(usize::from(serves) + usize::from(created));
    if created {
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
    Ok(serves)
}

/// What a consumer was given and has not acknowledged, after an id.
fn history(
    reply: &mut Reply<'_>,
    stream: &Stream,
    group: &mut Group,
    consumer: u32,
    after: Id,
    count: usize,
    now_ms: i64,
) {
    let from = after.next().unwrap_or(Id::MIN);
    let ids: Vec<Id> =
        group.consumer(consumer).pending.range(from..).take(count).copied().collect();
    reply.array(ids.len());
    for id in ids {
        if let Some(entry) = stream.range(id, id).next() {
            write::entry(reply, &entry);
            if let Some(nack) = group.nack_mut(id) {
                nack.time_ms = now_ms;
                nack.count = nack.count.wrapping_add(1);
            }
        } else {
            // The entry is gone, though nobody has acknowledged it.
            reply.array(2);
            write::id(reply, id);
            reply.null_array();
        }
    }
}

/// Entries that the group has not been given yet.
fn deliver(
    reply: &mut Reply<'_>,
    stream: &Stream,
    group: &mut Group,
    consumer: u32,
    options: &Options<'_>,
    now_ms: i64,
    tracks: &mut Tracks<'_>,
) {
    let from = group.last_id.next().unwrap_or(Id::MAX);
    let array = reply.open_array();
    let mut written = 0;
    for entry in stream.range(from, Id::MAX).take(options.count.unwrap_or(usize::MAX)) {
        let id = entry.id();
        group.read = stream.read_after(group.read, group.last_id, id);
        group.last_id = id;
        write::entry(reply, &entry);
        written += 1;
        if !options.no_ack {
            let nack = group.deliver(id, consumer, now_ms);
            tracks.claimed(group, id, nack);
        }
    }
    if written > 0 {
        tracks.read_on(group);
        if !options.no_ack {
            group.consumer_mut(consumer).active_ms = now_ms;
        }
    }
    reply.close_array(array, written);
}

impl Tracks<'_> {
    fn claimed(&mut self, group: &Group, id: Id, nack: Nack) {
        if let Some(outbox) = &mut self.outbox {
            super::group::push_claim(outbox, self.db, self.key, self.group, group, id, nack);
        }
    }

    fn read_on(&mut self, group: &Group) {
        if let Some(outbox) = &mut self.outbox {
            super::group::push_set_id(outbox, self.db, self.key, self.group, group);
        }
    }

    fn created(&mut self, consumer: &[u8]) {
        if let Some(outbox) = &mut self.outbox {
            let parts: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", self.key, self.group, consumer];
            outbox.push(self.db, parts);
        }
    }
}
