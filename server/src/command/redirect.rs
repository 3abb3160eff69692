//! Leading clients elsewhere: `CLIENT FORCE REDIRECT`, maintenance notifications, and the sessions
//! that another node opens here for its clients.

use super::{Command, Flags, Group, Handled};
use crate::client::Closing;
use crate::engine::Context;
use crate::engine::relay::Mode;
use crate::maintenance::EndpointType;
use crate::relay::Target;
use crate::relay::session::Session;
use crate::resp::{Proto, errors, num};

const CONNECTION: Flags =
    Flags(Flags::LOCAL.0 | Flags::LOADING.0 | Flags::STALE.0 | Flags::NOSCRIPT.0);

/// `CLIENT FORCE REDIRECT host port [RELAY|ERROR]` and `CLIENT FORCE REDIRECT OFF`.
pub const FORCE: Command = Command {
    name: "force",
    arity: -4,
    flags: Flags(CONNECTION.0 | Flags::ADMIN.0),
    group: Group::Connection,
    summary: "Leads all clients of this server to another one.",
    handler: force,
    ..Command::ROW
};

/// `CLIENT MAINT_NOTIFICATIONS ON [moving-endpoint-type TYPE] | OFF`.
pub const MAINT_NOTIFICATIONS: Command = Command {
    name: "maint_notifications",
    arity: -3,
    flags: CONNECTION,
    group: Group::Connection,
    summary: "Asks to be told in advance when the primary moves.",
    handler: maint_notifications,
    ..Command::ROW
};

/// `REDISHA SESSION field value …`: this connection carries a client of another node.
pub const SESSION: Command = Command {
    name: "session",
    arity: -2,
    flags: Flags(CONNECTION.0 | Flags::ADMIN.0 | Flags::NO_MULTI.0),
    group: Group::Server,
    summary: "Opens a session for a client of another node.",
    handler: session,
    ..Command::ROW
};

/// `REDISHA RETURN`: gives the session back to the node of its client.
pub const RETURN: Command = Command {
    name: "return",
    arity: 2,
    flags: Flags(CONNECTION.0 | Flags::ADMIN.0 | Flags::IN_MULTI.0),
    group: Group::Server,
    summary: "Gives a session back to the node of its client.",
    handler: give_back,
    ..Command::ROW
};

fn force(cx: &mut Context<'_>) -> Handled {
    if !cx.args.is(2, "redirect") {
        return Err(errors::SYNTAX.into());
    }
    if cx.args.len() == 4 && cx.args.is(3, "off") {
        cx.engine.force_redirect(None);
        cx.client.reply().ok();
        return Ok(());
    }
    let mode = match cx.args.get(5) {
        None if cx.args.len() == 5 => None,
        Some(_) if cx.args.len() == 6 && cx.args.is(5, "relay") => Some(Mode::Relay),
        Some(_) if cx.args.len() == 6 && cx.args.is(5, "error") => Some(Mode::Error),
        _ => return Err(errors::SYNTAX.into()),
    };
    let port = num::parse_i64(cx.args.at(4))
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
        .ok_or("ERR Invalid master port")?;
    let host = String::from_utf8_lossy(cx.args.at(3)).into_owned();
    let target = Target { host, port, hostname: None, member: None };
    cx.engine.force_redirect(Some((target, mode)));
    cx.client.reply().ok();
    Ok(())
}

fn maint_notifications(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() == 3 && cx.args.is(2, "off") {
        cx.client.maintenance = None;
        cx.client.reply().ok();
        return Ok(());
    }
    if !cx.args.is(2, "on") || !matches!(cx.args.len(), 3 | 5) {
        return Err(errors::SYNTAX.into());
    }
    if cx.client.proto != Proto::Resp3 {
        return Err("ERR maintenance notifications are RESP3 pushes; say HELLO 3 first".into());
    }
    let wanted = if cx.args.len() == 5 {
        if !cx.args.is(3, "moving-endpoint-type") {
            return Err(errors::SYNTAX.into());
        }
        EndpointType::parse(cx.args.at(4)).ok_or(
            "ERR this endpoint type is not known to the server; \
             use none, internal-ip or internal-fqdn",
        )?
    } else {
        EndpointType::None
    };
    cx.client.maintenance = Some(wanted);
    cx.client.reply().ok();
    Ok(())
}

fn session(cx: &mut Context<'_>) -> Handled {
    let refused = open_session(cx);
    if refused.is_err() {
        // Whatever follows was meant for a session; none of it may run outside of one.
        cx.client.closing = Closing::AfterOutput;
    }
    refused
}

fn open_session(cx: &mut Context<'_>) -> Handled {
    if !cx.engine.may_open_sessions(cx.client) {
        return Err("NOPERM only members may open sessions".into());
    }
    if !cx.engine.serves_clients() {
        return Err("NOTREADY this node is not the primary".into());
    }
    let fields: Vec<&[u8]> = cx.args.iter().skip(2).collect();
    let session = Session::from_args(&fields).map_err(|error| format!("ERR {error}"))?;
    if session.db >= cx.engine.config.databases {
        return Err(errors::DB_INDEX.into());
    }
    let user = cx
        .engine
        .acl_session_user(&session.user)
        .ok_or("WRONGPASS the session's user is not known")?;
    cx.client.user = user;
    cx.client.authenticated = true;
    cx.engine.open_session(cx.client, &session);
    Ok(())
}

fn give_back(cx: &mut Context<'_>) -> Handled {
    if cx.client.session.is_none() {
        return Err("ERR this connection carries no session".into());
    }
    cx.engine.move_session_on(cx.client, None);
    Ok(())
}
