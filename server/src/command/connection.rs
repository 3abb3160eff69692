//! Connection commands: who a client is and how it wants to be answered. `CLIENT` has its own file.

use super::{Command, Flags, Group, Handled};
use crate::client::{Closing, ReplyMode, Traits, User};
use crate::engine::Context;
use crate::resp::{Args, CommandError, Proto, errors, num};

/// The version whose behaviour clients may expect: libraries choose their commands by it.
pub const COMPATIBLE_VERSION: &str = "7.2.4";
/// What `HELLO` and `INFO` say this server is.
pub const SERVER_NAME: &str = "redisha";

/// Allowed in every state of the node, and never redirected, relayed or paused.
pub(super) const OPEN: Flags =
    Flags(Flags::LOCAL.0 | Flags::LOADING.0 | Flags::STALE.0 | Flags::NOSCRIPT.0);
const BEFORE_AUTH: Flags = Flags(OPEN.0 | Flags::NO_AUTH.0 | Flags::FAST.0 | Flags::ALLOW_BUSY.0);
/// Scripts may use these too.
const PLAIN: Flags = Flags(OPEN.0 & !Flags::NOSCRIPT.0 | Flags::FAST.0);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "ping",
        arity: -1,
        flags: Flags(PLAIN.0 | Flags::IN_SUBSCRIBE.0),
        group: Group::Connection,
        summary: "Answers PONG, or the given message.",
        handler: ping,
        ..Command::ROW
    },
    Command {
        name: "echo",
        arity: 2,
        flags: PLAIN,
        group: Group::Connection,
        summary: "Returns the given string.",
        handler: echo,
        ..Command::ROW
    },
    Command {
        name: "auth",
        arity: -2,
        flags: BEFORE_AUTH,
        group: Group::Connection,
        summary: "Authenticates the connection.",
        handler: auth,
        ..Command::ROW
    },
    Command {
        name: "hello",
        arity: -1,
        flags: BEFORE_AUTH,
        group: Group::Connection,
        since: "6.0.0",
        summary: "Handshakes with the server and chooses the protocol.",
        handler: hello,
        ..Command::ROW
    },
    Command {
        name: "select",
        arity: 2,
        flags: Flags(PLAIN.0 | Flags::ALLOW_BUSY.0),
        group: Group::Connection,
        summary: "Changes the selected database.",
        handler: select,
        ..Command::ROW
    },
    Command {
        name: "quit",
        arity: -1,
        flags: Flags(BEFORE_AUTH.0 | Flags::IN_SUBSCRIBE.0 | Flags::IN_MULTI.0),
        group: Group::Connection,
        summary: "Closes the connection.",
        handler: quit,
        ..Command::ROW
    },
    Command {
        name: "reset",
        arity: 1,
        flags: Flags(BEFORE_AUTH.0 | Flags::IN_SUBSCRIBE.0 | Flags::IN_MULTI.0),
        group: Group::Connection,
        since: "6.2.0",
        summary: "Resets the connection to what it was when it began.",
        handler: reset,
        ..Command::ROW
    },
    Command {
        name: "readonly",
        arity: 1,
        flags: PLAIN,
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Allows reads from a replica on this connection.",
        handler: readonly,
        ..Command::ROW
    },
    Command {
        name: "readwrite",
        arity: 1,
        flags: PLAIN,
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Ends READONLY.",
        handler: readwrite,
        ..Command::ROW
    },
];

fn ping(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() > 2 {
        return Err(errors::wrong_arity("ping"));
    }
    let message = cx.args.get(1);
    if cx.client.proto == Proto::Resp2 && cx.client.subscription_count() > 0 {
        let mut reply = cx.client.reply();
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or_default());
        return Ok(());
    }
    match message {
        None => cx.client.reply().simple("PONG"),
        Some(message) => cx.client.reply().bulk(message),
    }
    Ok(())
}

fn echo(cx: &mut Context<'_>) -> Handled {
    cx.client.reply().bulk(cx.args.at(1));
    Ok(())
}

fn auth(cx: &mut Context<'_>) -> Handled {
    let (user, password) = match cx.args.len() {
        2 => {
            if cx.engine.acl.users.default_user().needs_no_password() {
                return Err("ERR AUTH <password> called without any password configured for the \
                            default user. Are you sure your configuration is correct?"
                    .into());
            }
            (b"default".as_slice(), cx.args.at(1))
        }
        3 => (cx.args.at(1), cx.args.at(2)),
        _ => return Err(errors::SYNTAX.into()),
    };
    cx.engine.authenticate(cx.client, user, password, cx.args.at(0))?;
    cx.client.reply().ok();
    Ok(())
}

fn hello(cx: &mut Context<'_>) -> Handled {
    let mut proto = cx.client.proto;
    let mut at = 1;
    if let Some(version) = cx.args.get(1) {
        proto = match num::parse_i64(version) {
            None => return Err("ERR Protocol version is not an integer or out of range".into()),
            Some(2) => Proto::Resp2,
            Some(3) => Proto::Resp3,
            Some(_) => return Err(errors::NO_PROTO.into()),
        };
        at = 2;
    }
    let options = hello_options(cx.args, at)?;
    if let Some((user, password)) = options.auth {
        cx.engine.authenticate(cx.client, user, password, cx.args.at(0))?;
    }
    if !cx.client.authenticated {
        return Err(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise \
                    the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the \
                    client and select the RESP protocol version at the same time"
                .into(),
        );
    }
    if let Some(name) = options.name {
        super::client::set_name(cx.client, name)?;
    }
    cx.client.proto = proto;
    let role = if crate::engine::hooks::is_replica(cx.engine) { "replica" } else { "master" };
    let serial = cx.client.id.serial as i64;
    let zone = cx.engine.config.availability_zone.as_bytes();
    let mut reply = cx.client.reply();
    reply.map(7 + usize::from(!zone.is_empty()));
    for (field, value) in [("server", SERVER_NAME), ("version", COMPATIBLE_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.int(if proto == Proto::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.int(serial);
    for (field, value) in [("mode", "standalone"), ("role", role)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(zone);
    }
    Ok(())
}

#[derive(Default)]
struct HelloOptions<'a> {
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn hello_options(args: Args<'_>, mut at: usize) -> Result<HelloOptions<'_>, CommandError> {
    let mut options = HelloOptions::default();
    while at < args.len() {
        if args.is(at, "auth") && at + 2 < args.len() {
            options.auth = Some((args.at(at + 1), args.at(at + 2)));
            at += 3;
        } else if args.is(at, "setname") && at + 1 < args.len() {
            options.name = Some(args.at(at + 1));
            at += 2;
        } else {
            let word = String::from_utf8_lossy(args.at(at));
            return Err(format!("ERR Syntax error in HELLO option '{word}'").into());
        }
    }
    Ok(options)
}

fn select(cx: &mut Context<'_>) -> Handled {
    let index = num::parse_i64(cx.args.at(1)).ok_or(errors::NOT_INTEGER)?;
    let index = usize::try_from(index).map_err(|_| errors::DB_INDEX)?;
    if index >= cx.engine.config.databases {
        return Err(errors::DB_INDEX.into());
    }
    cx.client.db = index;
    cx.client.reply().ok();
    Ok(())
}

fn quit(cx: &mut Context<'_>) -> Handled {
    cx.client.reply().ok();
    cx.client.closing = Closing::AfterOutput;
    Ok(())
}

fn reset(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, .. } = cx;
    client.multi = None;
    engine.unwatch(client);
    super::pubsub::forget(engine, client);
    engine.untrack(client);
    engine.unmonitor(client);
    client.db = 0;
    client.proto = Proto::Resp2;
    client.reply_mode = ReplyMode::On;
    client.maintenance = None;
    client.name.clear();
    let readonly_port = client.traits.readonly_port;
    client.traits = Traits { readonly: readonly_port, readonly_port, ..Traits::default() };
    client.user = User::DEFAULT;
    client.authenticated = engine.acl.is_open();
    client.reply().simple("RESET");
    Ok(())
}

fn readonly(cx: &mut Context<'_>) -> Handled {
    cx.client.traits.readonly = true;
    cx.client.reply().ok();
    Ok(())
}

fn readwrite(cx: &mut Context<'_>) -> Handled {
    cx.client.traits.readonly = false;
    cx.client.reply().ok();
    Ok(())
}
