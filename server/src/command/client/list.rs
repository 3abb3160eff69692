//! `CLIENT LIST`, `CLIENT INFO` and `CLIENT KILL`.

use std::fmt::Write;

use crate::client::{Client, ClientId, Closing, Duty, Hold};
use crate::command::Handled;
use crate::engine::{Context, Engine};
use crate::resp::{CommandError, Proto, errors, num};

pub fn info(cx: &mut Context<'_>) -> Handled {
    let mut text = line(cx.engine, cx.client);
    text.push('\n');
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

pub fn list(cx: &mut Context<'_>) -> Handled {
    let mut kind = None;
    let mut ids = None;
    if cx.args.len() >= 4 && cx.args.is(2, "type") && cx.args.len() == 4 {
        kind = Some(Kind::parse(cx.args.at(3))?);
    } else if cx.args.len() >= 4 && cx.args.is(2, "id") {
        let parsed: Option<Vec<u64>> = cx.args.iter().skip(3).map(num::parse_u64).collect();
        ids = Some(parsed.ok_or("ERR Invalid client ID")?);
    } else if cx.args.len() > 2 {
        return Err(errors::SYNTAX.into());
    }
    let running = std::iter::once(&*cx.client);
    let mut clients: Vec<&Client> = cx.engine.clients.iter().chain(running).collect();
    clients.sort_unstable_by_key(|client| client.id.serial);
    let mut text = String::new();
    for client in clients {
        let wanted = kind.is_none_or(|kind| kind == Kind::of(client))
            && ids.as_ref().is_none_or(|ids| ids.contains(&client.id.serial));
        if wanted && !matches!(client.duty, Duty::Link(_)) {
            text.push_str(&line(cx.engine, client));
            text.push('\n');
        }
    }
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// A connection in the words of `CLIENT LIST`.
pub fn line(engine: &Engine, client: &Client) -> String {
    let now_ms = engine.now.mono_ms();
    let address = |address: Option<std::net::SocketAddr>| {
        address.map(|address| address.to_string()).unwrap_or_default()
    };
    let subscriptions = |count: fn(&crate::engine::pubsub::Subscriptions) -> usize| {
        client.subscriptions.as_ref().map_or(0, |subs| count(subs))
    };
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
        " sub={} psub={} ssub={} multi={} watch={} qbuf={} qbuf-free={} obl={} oll=0 omem={}",
        subscriptions(|subs| subs.channels.len()),
        subscriptions(|subs| subs.patterns.len()),
        subscriptions(|subs| subs.shard_channels.len()),
        client.multi.as_ref().map_or(-1, |multi| multi.queue.len() as i64),
        client.watching.len(),
        client.input.len(),
        client.input.capacity() - client.input.len(),
        client.out.len(),
        client.out.capacity(),
    );
    let _ = write!(
        text,
        " tot-mem={} events=r cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        client.input.capacity() + client.out.capacity() + size_of::<Client>(),
        client.last_command,
        String::from_utf8_lossy(engine.acl.name_of(client.user)),
        if client.proto == Proto::Resp3 { 3 } else { 2 },
        String::from_utf8_lossy(&client.lib_name),
        String::from_utf8_lossy(&client.lib_version),
    );
    let _ = write!(
        text,
        " tot-net-in={} tot-net-out={} tot-cmds={}",
        client.bytes_in, client.bytes_out, client.commands
    );
    text
}

fn flags(client: &Client) -> String {
    let set = [
        ('S', client.duty == Duty::Replica),
        ('P', client.subscription_count() > 0),
        ('x', client.multi.is_some()),
        ('b', client.hold == Hold::Blocked),
        ('d', client.watch_broken),
        ('r', client.traits.readonly),
        ('e', client.traits.no_evict),
        ('T', client.traits.no_touch),
        ('c', client.closing != Closing::No),
    ];
    let text: String = set.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag).collect();
    if text.is_empty() { "N".to_owned() } else { text }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    PubSub,
    Replica,
    Primary,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"pubsub" => Ok(Kind::PubSub),
            b"replica" | b"slave" => Ok(Kind::Replica),
            b"primary" | b"master" => Ok(Kind::Primary),
            other => {
                let word = String::from_utf8_lossy(other);
                Err(format!("ERR Unknown client type '{word}'").into())
            }
        }
    }

    fn of(client: &Client) -> Self {
        match client.duty {
            Duty::Replica => Kind::Replica,
            Duty::Link(_) => Kind::Primary,
            Duty::Commands if client.subscription_count() > 0 => Kind::PubSub,
            Duty::Commands => Kind::Normal,
        }
    }
}

/// What `CLIENT KILL` looks for; all that is given must hold.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<Kind>,
    user: Option<Vec<u8>>,
    address: Option<String>,
    local: Option<String>,
    max_age_s: Option<u64>,
    spares_me: bool,
}

impl Filter {
    fn parse(cx: &Context<'_>) -> Result<Self, CommandError> {
        let mut filter = Filter { spares_me: true, ..Filter::default() };
        if !cx.args.len().is_multiple_of(2) {
            return Err(errors::SYNTAX.into());
        }
        for at in (2..cx.args.len()).step_by(2) {
            let value = cx.args.at(at + 1);
            let text = || String::from_utf8_lossy(value).into_owned();
            let word = cx.args.at(at).to_ascii_lowercase();
            match word.as_slice() {
                b"id" => {
                    let id = num::parse_u64(value).filter(|id| *id > 0);
                    filter.id = Some(id.ok_or("ERR client-id should be greater than 0")?);
                }
                b"type" => filter.kind = Some(Kind::parse(value)?),
                b"user" => filter.user = Some(value.to_vec()),
                b"addr" => filter.address = Some(text()),
                b"laddr" => filter.local = Some(text()),
                b"maxage" => {
                    let age = num::parse_u64(value);
                    filter.max_age_s =
                        Some(age.ok_or("ERR maxage is not an integer or out of range")?);
                }
                b"skipme" => {
                    filter.spares_me = match value.to_ascii_lowercase().as_slice() {
                        b"yes" => true,
                        b"no" => false,
                        _ => return Err(errors::SYNTAX.into()),
                    }
                }
                _ => return Err(errors::SYNTAX.into()),
            }
        }
        Ok(filter)
    }

    fn matches(&self, client: &Client, user: &[u8], now_ms: u64) -> bool {
        let is = |address: Option<std::net::SocketAddr>, wanted: &Option<String>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| address.is_some_and(|address| address.to_string() == *wanted))
        };
        let age_s = now_ms.saturating_sub(client.created_ms) / 1000;
        self.id.is_none_or(|id| id == client.id.serial)
            && self.kind.is_none_or(|kind| kind == Kind::of(client))
            && self.user.as_ref().is_none_or(|wanted| wanted == user)
            && is(client.peer, &self.address)
            && is(client.local, &self.local)
            && self.max_age_s.is_none_or(|oldest| age_s >= oldest)
    }
}

pub fn kill(cx: &mut Context<'_>) -> Handled {
    let by_address = cx.args.len() == 3;
    let filter = if by_address {
        let address = Some(String::from_utf8_lossy(cx.args.at(2)).into_owned());
        Filter { address, ..Filter::default() }
    } else {
        Filter::parse(cx)?
    };
    let now_ms = cx.engine.now.mono_ms();
    let doomed: Vec<ClientId> = cx
        .engine
        .clients
        .iter()
        .filter(|client| {
            !matches!(client.duty, Duty::Link(_))
                && filter.matches(client, cx.engine.acl.name_of(client.user), now_ms)
        })
        .map(|client| client.id)
        .collect();
    let mut killed = doomed.len() as i64;
    for id in doomed {
        cx.engine.clients.close(id, Closing::Now);
    }
    if !filter.spares_me && filter.matches(cx.client, cx.engine.acl.name_of(cx.client.user), now_ms)
    {
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
