//! `CLIENT TRACKING`, `CACHING`, `GETREDIR` and `TRACKINGINFO`.

use crate::command::Handled;
use crate::engine::Context;
use crate::engine::tracking::Wishes;
use crate::resp::{Args, CommandError, errors, num};

pub fn tracking(cx: &mut Context<'_>) -> Handled {
    let wishes = options(cx)?;
    if cx.args.is(2, "on") {
        check(cx, &wishes)?;
        let Context { engine, client, .. } = cx;
        engine.track(client, wishes);
    } else if cx.args.is(2, "off") {
        cx.engine.untrack(cx.client);
    } else {
        return Err(errors::SYNTAX.into());
    }
    cx.reply().ok();
    Ok(())
}

fn options(cx: &Context<'_>) -> Result<Wishes, CommandError> {
    let args: Args<'_> = cx.args;
    let mut wishes = Wishes::default();
    let mut at = 3;
    while at < args.len() {
        let value = args.get(at + 1);
        if let (true, Some(value)) = (args.is(at, "redirect"), value) {
            if wishes.redirect != 0 {
                return Err("ERR A client can only redirect to a single other client".into());
            }
            let serial = num::parse_i64(value).ok_or(errors::NOT_INTEGER)?;
            wishes.redirect = serial as u64;
            if serial as u64 != cx.client.id.serial
                && cx.engine.clients.by_serial(serial as u64).is_none()
            {
                return Err("ERR The client ID you want redirect to does not exist".into());
            }
            at += 1;
        } else if args.is(at, "bcast") {
            wishes.broadcast = true;
        } else if args.is(at, "optin") {
            wishes.opt_in = true;
        } else if args.is(at, "optout") {
            wishes.opt_out = true;
        } else if args.is(at, "noloop") {
            wishes.no_loop = true;
        } else if let (true, Some(value)) = (args.is(at, "prefix"), value) {
            if let Some(other) = wishes.prefixes.overlapping(value) {
                return Err(collision(other, value, "another provided prefix"));
            }
            wishes.prefixes.insert(Box::from(value));
            at += 1;
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 1;
    }
    Ok(wishes)
}

/// Whether the options fit each other, and what the connection said before.
fn check(cx: &Context<'_>, wishes: &Wishes) -> Handled {
    let old = cx.client.tracking.as_deref();
    if !wishes.broadcast && !wishes.prefixes.is_empty() {
        return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
    }
    if old.is_some_and(|old| old.broadcast != wishes.broadcast) {
        return Err("ERR You can't switch BCAST mode on/off before disabling tracking for this \
                    client, and then re-enabling it with a different mode."
            .into());
    }
    if wishes.broadcast && (wishes.opt_in || wishes.opt_out) {
        return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
    }
    if wishes.opt_in && wishes.opt_out {
        return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
    }
    let switches = |old: &Wishes| wishes.opt_in && old.opt_out || wishes.opt_out && old.opt_in;
    if old.is_some_and(switches) {
        return Err("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this \
                    client, and then re-enabling it with a different mode."
            .into());
    }
    for prefix in wishes.prefixes.iter() {
        if let Some(other) = old.and_then(|old| old.prefixes.overlapping(prefix)) {
            return Err(collision(prefix, other, "an existing prefix"));
        }
    }
    Ok(())
}

fn collision(prefix: &[u8], other: &[u8], what: &str) -> CommandError {
    let (prefix, other) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(other));
    format!(
        "ERR Prefix '{prefix}' overlaps with {what} '{other}'. Prefixes for a single client must \
         not overlap."
    )
    .into()
}

pub fn caching(cx: &mut Context<'_>) -> Handled {
    let Some(wishes) = &mut cx.client.tracking else {
        return Err("ERR CLIENT CACHING can be called only when the client is in tracking mode \
                    with OPTIN or OPTOUT mode enabled"
            .into());
    };
    if cx.args.is(2, "yes") {
        if !wishes.opt_in {
            return Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN \
                        mode."
                .into());
        }
    } else if cx.args.is(2, "no") {
        if !wishes.opt_out {
            return Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT \
                        mode."
                .into());
        }
    } else {
        return Err(errors::SYNTAX.into());
    }
    wishes.caching = true;
    cx.reply().ok();
    Ok(())
}

pub fn redirection(cx: &mut Context<'_>) -> Handled {
    let redirect = cx.client.tracking.as_ref().map_or(-1, |wishes| wishes.redirect as i64);
    cx.reply().int(redirect);
    Ok(())
}

pub fn info(cx: &mut Context<'_>) -> Handled {
    let wishes = cx.client.tracking.as_deref().cloned();
    let on = wishes.is_some();
    let wishes = wishes.unwrap_or_default();
    let flags = [
        (on, "on"),
        (!on, "off"),
        (wishes.broadcast, "bcast"),
        (wishes.opt_in, "optin"),
        (wishes.opt_in && wishes.caching, "caching-yes"),
        (wishes.opt_out, "optout"),
        (wishes.opt_out && wishes.caching, "caching-no"),
        (wishes.no_loop, "noloop"),
        (wishes.broken_redirect, "broken_redirect"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let prefixes: Vec<&[u8]> = wishes.prefixes.iter().map(|prefix| &**prefix).collect();
    let mut reply = cx.client.reply();
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"redirect");
    reply.int(if on { wishes.redirect as i64 } else { -1 });
    reply.bulk(b"prefixes");
    reply.array(prefixes.len());
    for prefix in prefixes {
        reply.bulk(prefix);
    }
    Ok(())
}
