//! `CLIENT LIST`, `CLIENT INFO` and `CLIENT KILL`.

use std::fmt::Write;
use std::net::SocketAddr;

use super::filter::Filter;
use crate::acl::commands;
use crate::client::{Client, ClientId, Closing, Duty, Hold};
use crate::command::{Command, Handled};
use crate::engine::{Context, Engine};
use crate::resp::{Proto, errors};

/// Output that stays with its connection anyway and is not told as extra.
const SMALL_OUTPUT_BYTES: usize = 16 * 1024;

pub fn info(cx: &mut Context<'_>) -> Handled {
    let mut text = line(cx.engine, cx.client);
    text.push('\n');
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

pub fn list(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() == 3 {
        return Err(errors::SYNTAX.into());
    }
    let filter = Filter::parse(cx, false)?;
    let running = (!filter.spares_me).then_some(&*cx.client);
    let mut clients: Vec<&Client> = cx.engine.clients.iter().chain(running).collect();
    clients.sort_unstable_by_key(|client| client.id.serial);
    let mut text = String::new();
    for client in clients {
        if !matches!(client.duty, Duty::Link(_)) && filter.matches(cx.engine, client) {
            text.push_str(&line(cx.engine, client));
            text.push('\n');
        }
    }
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// An address in the words of `CLIENT LIST`; empty where there is none.
pub fn address(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// A connection in the words of `CLIENT LIST`.
pub fn line(engine: &Engine, client: &Client) -> String {
    let now_ms = engine.now.mono_ms();
    let subscriptions = |count: fn(&crate::engine::pubsub::Subscriptions) -> usize| {
        client.subscriptions.as_ref().map_or(0, |subs| count(subs))
    };
    // As in Valkey, what of a command was taken apart is no longer the query buffer's.
    let argv = client.parser.parsed_bytes().min(client.input.len());
    let unread = client.input.len() - argv;
    let multi_bytes = client.multi.as_ref().map_or(0, |multi| multi.bytes);
    let mut text = format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} capa={} db={}",
        client.id.serial,
        address(client.peer),
        address(client.local),
        client.id.slot,
        String::from_utf8_lossy(&client.name),
        now_ms.saturating_sub(client.created_ms) / 1000,
        now_ms.saturating_sub(client.active_ms) / 1000,
        flags(client),
        if client.traits.capa_redirect { "r" } else { "" },
        client.db,
    );
    let _ = write!(
        text,
        " sub={} psub={} ssub={} multi={} watch={} qbuf={unread} qbuf-free={} argv-mem={argv} multi-mem={}",
        subscriptions(|subs| subs.channels.len()),
        subscriptions(|subs| subs.patterns.len()),
        subscriptions(|subs| subs.shard_channels.len()),
        client.multi.as_ref().map_or(-1, |multi| multi.queue.len() as i64),
        client.watching.len(),
        client.input.capacity() - client.input.len(),
        multi_bytes,
    );
    let _ = write!(
        text,
        " rbs={} rbp={} obl={} oll=0 omem={} tot-mem={} events=r cmd={} user={} redir={} resp={}",
        client.out.capacity(),
        client.out.capacity(),
        client.out.len(),
        if client.out.len() > SMALL_OUTPUT_BYTES { client.out.len() } else { 0 },
        client.memory_bytes(),
        client.last_command.map_or("NULL", full_name),
        String::from_utf8_lossy(engine.acl.name_of(client.user)),
        client.tracking.as_ref().map_or(-1, |wishes| wishes.redirect as i64),
        if client.proto == Proto::Resp3 { 3 } else { 2 },
    );
    let _ = write!(
        text,
        " lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
        String::from_utf8_lossy(&client.lib_name),
        String::from_utf8_lossy(&client.lib_version),
        client.bytes_in,
        client.bytes_out,
        client.commands
    );
    text
}

fn full_name(row: &'static Command) -> &'static str {
    commands::id_of(row).map_or(row.name, |id| commands::entry(id).name.as_str())
}

/// The letters of what a connection is and does; `N` for none.
pub fn flags(client: &Client) -> String {
    let tracking = client.tracking.as_deref();
    let set = [
        ('O', client.traits.monitor),
        ('S', client.duty == Duty::Replica),
        ('M', matches!(client.duty, Duty::Link(_))),
        ('P', client.subscription_count() > 0),
        ('x', client.multi.is_some()),
        ('b', matches!(client.hold, Hold::Blocked | Hold::Paused)),
        ('t', tracking.is_some()),
        ('R', tracking.is_some_and(|wishes| wishes.broken_redirect)),
        ('B', tracking.is_some_and(|wishes| wishes.broadcast)),
        ('d', client.watch_broken),
        ('c', client.closing == Closing::AfterOutput),
        ('A', client.closing == Closing::Now),
        ('U', client.peer.is_none()),
        ('r', client.traits.readonly),
        ('e', client.traits.no_evict),
        ('T', client.traits.no_touch),
        ('I', client.traits.import_source),
    ];
    let text: String = set.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag).collect();
    if text.is_empty() { "N".to_owned() } else { text }
}

pub fn kill(cx: &mut Context<'_>) -> Handled {
    let by_address = cx.args.len() == 3;
    let filter =
        if by_address { Filter::of_address(cx.args.at(2)) } else { Filter::parse(cx, true)? };
    let doomed: Vec<ClientId> = cx
        .engine
        .clients
        .iter()
        .filter(|client| !matches!(client.duty, Duty::Link(_)))
        .filter(|client| filter.matches(cx.engine, client))
        .map(|client| client.id)
        .collect();
    let mut killed = doomed.len() as i64;
    for id in doomed {
        cx.engine.clients.close(id, Closing::Now);
    }
    if !filter.spares_me && filter.matches(cx.engine, cx.client) {
        killed += 1;
        cx.client.closing = Closing::AfterOutput;
    }
    if !by_address {
        cx.client.reply().int(killed);
    } else if killed > 0 {
        cx.client.reply().ok();
    } else {
        return Err("ERR No such client".into());
    }
    Ok(())
}
