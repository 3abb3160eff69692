//! Publish and subscribe.
//!
//! PUBLISH goes into the replication stream, so that the subscribers of replicas, and those of a
//! primary that became a replica, are served from there.

use super::{Command, Flags, Group, Handled};
use crate::client::{Client, ReplyMode};
use crate::engine::pubsub::{Index, Names, PubSub, Subscriptions, name_bytes};
use crate::engine::{Context, Engine};
use crate::glob;
use crate::resp::Reply;

const SUBSCRIBE: Flags = Flags(
    Flags::PUBSUB.0 | Flags::NOSCRIPT.0 | Flags::LOADING.0 | Flags::STALE.0 | Flags::IN_SUBSCRIBE.0,
);
const PUBLISH: Flags = Flags(
    Flags::PUBSUB.0 | Flags::LOADING.0 | Flags::STALE.0 | Flags::FAST.0 | Flags::MAY_REPLICATE.0,
);
const HELP: Flags = Flags(Flags::LOADING.0 | Flags::STALE.0);
const ASK: Flags = Flags(Flags::PUBSUB.0 | Flags::LOADING.0 | Flags::STALE.0);

const fn row(name: &'static str, arity: i32, flags: Flags, summary: &'static str) -> Command {
    Command { name, arity, flags, summary, group: Group::PubSub, since: "2.0.0", ..Command::ROW }
}

/// The same row, there since this version.
const fn since(since: &'static str, row: Command) -> Command {
    Command { since, ..row }
}

pub const COMMANDS: &[Command] = &[
    Command { handler: subscribe, ..row("subscribe", -2, SUBSCRIBE, "Listens to channels.") },
    Command { handler: unsubscribe, ..row("unsubscribe", -1, SUBSCRIBE, "Stops listening.") },
    Command { handler: subscribe, ..row("psubscribe", -2, SUBSCRIBE, "Listens to patterns.") },
    Command { handler: unsubscribe, ..row("punsubscribe", -1, SUBSCRIBE, "Stops listening.") },
    Command {
        handler: subscribe,
        ..since("7.0.0", row("ssubscribe", -2, SUBSCRIBE, "Listens to shard channels."))
    },
    Command {
        handler: unsubscribe,
        ..since("7.0.0", row("sunsubscribe", -1, SUBSCRIBE, "Stops listening."))
    },
    Command { handler: publish, ..row("publish", 3, PUBLISH, "Posts a message to a channel.") },
    Command {
        handler: publish,
        ..since("7.0.0", row("spublish", 3, PUBLISH, "Posts to a shard channel."))
    },
    Command {
        subcommands: SUBCOMMANDS,
        ..since(
            "2.8.0",
            row("pubsub", -2, Flags::NONE, "A container for questions about subscriptions."),
        )
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command { handler: channels, ..since("2.8.0", row("channels", -2, ASK, "Active channels.")) },
    Command {
        handler: numsub,
        ..since("2.8.0", row("numsub", -2, ASK, "Subscribers of channels."))
    },
    Command { handler: numpat, ..since("2.8.0", row("numpat", 2, ASK, "Count of patterns.")) },
    Command {
        handler: channels,
        ..since("7.0.0", row("shardchannels", -2, ASK, "Shard channels."))
    },
    Command {
        handler: numsub,
        ..since("7.0.0", row("shardnumsub", -2, ASK, "Subscribers of those."))
    },
    Command { handler: help, ..since("6.2.0", row("help", 2, HELP, "Lists the subcommands.")) },
];

fn help(cx: &mut Context<'_>) -> Handled {
    super::server::help(cx, "PUBSUB", SUBCOMMANDS)
}

/// The three kinds of subscriptions, with the words that their messages begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    fn of(command: &str) -> Self {
        match command.as_bytes()[0] {
            b'p' if command != "publish" => Kind::Pattern,
            b's' if command != "subscribe" => Kind::Shard,
            _ => Kind::Channel,
        }
    }

    fn names(self, subscriptions: &mut Subscriptions) -> &mut Names {
        match self {
            Kind::Channel => &mut subscriptions.channels,
            Kind::Pattern => &mut subscriptions.patterns,
            Kind::Shard => &mut subscriptions.shard_channels,
        }
    }

    fn index(self, pubsub: &mut PubSub) -> &mut Index {
        match self {
            Kind::Channel => &mut pubsub.channels,
            Kind::Pattern => &mut pubsub.patterns,
            Kind::Shard => &mut pubsub.shard_channels,
        }
    }

    fn count(self, subscriptions: &Subscriptions) -> usize {
        match self {
            Kind::Channel | Kind::Pattern => subscriptions.count(),
            Kind::Shard => subscriptions.shard_channels.len(),
        }
    }
}

fn subscribe(cx: &mut Context<'_>) -> Handled {
    let kind = Kind::of(cx.row.name);
    let Context { engine, client, args, row, .. } = cx;
    for name in args.iter().skip(1) {
        let subscriptions = client.subscriptions.get_or_insert_default();
        if kind.names(subscriptions).insert(name.into()) {
            subscriptions.bytes += name_bytes(name);
            kind.index(&mut engine.pubsub).entry(name.into()).or_default().push(client.id);
        }
        let count = kind.count(subscriptions);
        confirm(engine, client, row.name, Some(name), count);
    }
    Ok(())
}

fn unsubscribe(cx: &mut Context<'_>) -> Handled {
    let word = cx.row.name;
    let kind = match word {
        "punsubscribe" => Kind::Pattern,
        "sunsubscribe" => Kind::Shard,
        _ => Kind::Channel,
    };
    let Context { engine, client, args, .. } = cx;
    let mut names: Vec<Box<[u8]>> = args.iter().skip(1).map(Box::from).collect();
    if names.is_empty()
        && let Some(subscriptions) = &mut client.subscriptions
    {
        names = kind.names(subscriptions).iter().cloned().collect();
    }
    if names.is_empty() {
        let count = client.subscriptions.as_ref().map_or(0, |subs| kind.count(subs));
        confirm(engine, client, word, None, count);
        return Ok(());
    }
    for name in names {
        drop_one(&mut engine.pubsub, client, kind, &name);
        let count = client.subscriptions.as_ref().map_or(0, |subs| kind.count(subs));
        confirm(engine, client, word, Some(&name), count);
    }
    Ok(())
}

/// Confirmations are messages, which CLIENT REPLY does not silence.
fn confirm(
    engine: &mut Engine,
    client: &mut Client,
    word: &str,
    name: Option<&[u8]>,
    count: usize,
) {
    let mut reply = match client.reply_mode {
        ReplyMode::On => client.reply(),
        _ => Reply::new(&mut engine.events.own, client.proto),
    };
    reply.push(3);
    reply.bulk(word.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(count as i64);
}

fn drop_one(pubsub: &mut PubSub, client: &mut Client, kind: Kind, name: &[u8]) {
    let Some(subscriptions) = &mut client.subscriptions else { return };
    if !kind.names(subscriptions).remove(name) {
        return;
    }
    subscriptions.bytes -= name_bytes(name);
    let index = kind.index(pubsub);
    if let Some(subscribers) = index.get_mut(name) {
        subscribers.retain(|id| *id != client.id);
        if subscribers.is_empty() {
            index.remove(name);
        }
    }
}

/// Forgets every subscription of a client.
pub fn forget(engine: &mut Engine, client: &mut Client) {
    for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
        let Some(subscriptions) = &mut client.subscriptions else { return };
        for name in kind.names(subscriptions).clone() {
            drop_one(&mut engine.pubsub, client, kind, &name);
        }
    }
    client.subscriptions = None;
}

fn publish(cx: &mut Context<'_>) -> Handled {
    let (channel, message) = (cx.args.at(1), cx.args.at(2));
    let shard = cx.row.name == "spublish";
    let receivers = cx.engine.deliver(Some(cx.client), shard, channel, message);
    cx.propagate_always();
    cx.client.reply().int(receivers as i64);
    Ok(())
}

fn channels(cx: &mut Context<'_>) -> Handled {
    let pubsub = &cx.engine.pubsub;
    let index =
        if cx.row.name == "shardchannels" { &pubsub.shard_channels } else { &pubsub.channels };
    let pattern = cx.args.get(2);
    let names: Vec<&[u8]> = index
        .keys()
        .map(|name| &**name)
        .filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)))
        .collect();
    let mut reply = cx.client.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name);
    }
    Ok(())
}

fn numsub(cx: &mut Context<'_>) -> Handled {
    let pubsub = &cx.engine.pubsub;
    let index =
        if cx.row.name == "shardnumsub" { &pubsub.shard_channels } else { &pubsub.channels };
    let mut reply = cx.client.reply();
    reply.array((cx.args.len() - 2) * 2);
    for name in cx.args.iter().skip(2) {
        reply.bulk(name);
        reply.int(index.get(name).map_or(0, Vec::len) as i64);
    }
    Ok(())
}

fn numpat(cx: &mut Context<'_>) -> Handled {
    let count = cx.engine.pubsub.patterns.len();
    cx.client.reply().int(count as i64);
    Ok(())
}
