//! `ACL`: users and their rules. What they mean stands in [`crate::acl`], what they do to
//! connections in [`crate::engine::access`].

use super::{HELP, HERE, introspect};
use crate::acl::{self, Selector, User, commands};
use crate::command::{Command, Flags, Group, Handled, lookup, subcommand};
use crate::engine::Context;
use crate::engine::access::Change;
use crate::engine::gates::full_name;
use crate::engine::hooks;
use crate::resp::{Reply, errors};

const OPEN: Flags = HERE.with(Flags::NOSCRIPT);
const ADMIN: Flags = OPEN.with(Flags::ADMIN);
/// What changes users: the members of a managed cluster share them.
const CHANGES: Flags = Flags(ADMIN.0 & !Flags::LOCAL.0 | Flags::SHARED.0);
const GENPASS_MAX_BITS: i64 = 4096;

const fn row(name: &'static str, arity: i32, flags: Flags, summary: &'static str) -> Command {
    Command { name, arity, flags, summary, group: Group::Server, since: "6.0.0", ..Command::ROW }
}

pub const SUBCOMMANDS: &[Command] = &[
    Command { handler: cat, ..row("cat", -2, OPEN, "Categories, or the commands of one.") },
    Command { handler: deluser, ..row("deluser", -3, CHANGES, "Removes users.") },
    Command {
        handler: dryrun,
        since: "7.0.0",
        ..row("dryrun", -4, ADMIN, "Tells whether a user may run a command.")
    },
    Command { handler: genpass, ..row("genpass", -2, OPEN, "A random password.") },
    Command { handler: getuser, ..row("getuser", 3, ADMIN, "The rules of a user.") },
    Command { handler: list, ..row("list", 2, ADMIN, "All users with their rules.") },
    Command { handler: load, ..row("load", 2, CHANGES, "Reads the ACL file anew.") },
    Command { handler: log, ..row("log", -2, ADMIN, "What was refused lately.") },
    Command { handler: save, ..row("save", 2, ADMIN, "Writes the ACL file.") },
    Command { handler: setuser, ..row("setuser", -3, CHANGES, "Makes or changes a user.") },
    Command { handler: users, ..row("users", 2, ADMIN, "The names of all users.") },
    Command { handler: whoami, ..row("whoami", 2, OPEN, "The connection's user.") },
    Command { handler: |cx| super::help(cx, "ACL", SUBCOMMANDS), since: "6.0.0", ..HELP },
];

fn whoami(cx: &mut Context<'_>) -> Handled {
    let name = cx.engine.acl.name_of(cx.client.user).to_vec();
    cx.reply().bulk(&name);
    Ok(())
}

fn users(cx: &mut Context<'_>) -> Handled {
    let users = &cx.engine.acl.users;
    let mut reply = cx.client.reply();
    reply.array(users.iter().len());
    users.iter().for_each(|(name, _)| reply.bulk(name));
    Ok(())
}

fn list(cx: &mut Context<'_>) -> Handled {
    let users = &cx.engine.acl.users;
    let mut reply = cx.client.reply();
    reply.array(users.iter().len());
    users.iter().for_each(|(name, user)| reply.bulk(&acl::line(name, user)));
    Ok(())
}

/// The internal user is not one of those that rules speak of.
fn is_reserved(cx: &Context<'_>, name: &[u8]) -> bool {
    cx.engine.is_managed() && name == crate::engine::member::INTERNAL_USER.as_bytes()
}

fn setuser(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let name = args.at(2);
    if !acl::is_valid_name(name) {
        return Err("ERR Usernames can't contain spaces or null characters".into());
    }
    if is_reserved(cx, name) {
        return Err("ERR The name of the internal user cannot be given to another".into());
    }
    let defaults = cx.engine.acl_defaults();
    let known = cx.engine.acl.users.by_name(name).cloned();
    let mut user = known.unwrap_or_else(|| User::new(defaults));
    let words: Vec<&[u8]> = args.iter().skip(3).collect();
    user.apply_words(&words, defaults).map_err(|why| format!("ERR {why}"))?;
    cx.engine.acl_put(name, user, Some(cx.client));
    cx.engine.acl_changed(&Change::Set(name));
    cx.reply().ok();
    Ok(())
}

fn deluser(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    if args.iter().skip(2).any(|name| name == b"default") {
        return Err("ERR The 'default' user cannot be removed".into());
    }
    let mut removed = 0;
    for name in args.iter().skip(2) {
        if cx.engine.acl_remove(name, Some(cx.client)) {
            cx.engine.acl_changed(&Change::Removed(name));
            removed += 1;
        }
    }
    cx.reply().int(removed);
    Ok(())
}

fn getuser(cx: &mut Context<'_>) -> Handled {
    let Some(user) = cx.engine.acl.users.by_name(cx.args.at(2)) else {
        cx.client.reply().null();
        return Ok(());
    };
    let mut reply = cx.client.reply();
    reply.map(7);
    let flags = user.flags();
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().for_each(|hash| reply.bulk(hash));
    describe(&mut reply, user.root());
    reply.bulk(b"selectors");
    reply.array(user.selectors().len());
    for selector in user.selectors() {
        reply.map(4);
        describe(&mut reply, selector);
    }
    Ok(())
}

fn describe(reply: &mut Reply<'_>, selector: &Selector) {
    for (name, text) in [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
        ("databases", selector.describe_databases()),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(&text);
    }
}

fn wrong_form(word: &str) -> crate::resp::CommandError {
    format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try ACL HELP.")
        .into()
}

fn cat(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() > 3 {
        return Err(wrong_form("CAT"));
    }
    let Some(wanted) = cx.args.get(2) else {
        let mut reply = cx.client.reply();
        reply.array(introspect::CATEGORIES.len());
        for name in introspect::CATEGORIES {
            reply.bulk(name.as_bytes());
        }
        return Ok(());
    };
    let lower = wanted.to_ascii_lowercase();
    let Some(category) = introspect::CATEGORIES.iter().find(|name| name.as_bytes() == lower) else {
        let wanted = String::from_utf8_lossy(wanted);
        return Err(format!("ERR Unknown category '{wanted:.128}'").into());
    };
    let names: Vec<&str> = commands::entries()
        .filter(|(_, entry)| entry.categories.contains(category))
        .map(|(_, entry)| entry.name.as_str())
        .collect();
    let mut reply = cx.client.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}

fn genpass(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() > 3 {
        return Err(wrong_form("GENPASS"));
    }
    let bits = cx.args.get(2).map_or(Ok(256), crate::command::support::int)?;
    if !(1..=GENPASS_MAX_BITS).contains(&bits) {
        return Err(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to {GENPASS_MAX_BITS}"
        )
        .into());
    }
    let digits = (bits as usize).div_ceil(4);
    let text = hooks::random_hex(digits.div_ceil(2));
    cx.reply().bulk(&text.as_bytes()[..digits]);
    Ok(())
}

fn log(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() > 3 {
        return Err(wrong_form("LOG"));
    }
    if cx.args.len() == 3 && cx.args.is(2, "reset") {
        cx.engine.acl.log.clear();
        cx.reply().ok();
        return Ok(());
    }
    let count = cx.args.get(2).map_or(Ok(10), crate::command::support::int)?;
    let now_ms = cx.engine.now.unix_ms();
    let entries = cx.engine.acl.log.iter();
    let count = (count.max(0) as usize).min(entries.len());
    let mut reply = cx.client.reply();
    reply.array(count);
    for entry in entries.take(count) {
        reply.map(10);
        reply.bulk(b"count");
        reply.int(entry.count as i64);
        for (name, text) in [
            ("reason", entry.last.reason.name().as_bytes()),
            ("context", entry.last.place.name().as_bytes()),
            ("object", &entry.last.object),
            ("username", &entry.last.user),
        ] {
            reply.bulk(name.as_bytes());
            reply.bulk(text);
        }
        reply.bulk(b"age-seconds");
        reply.double((now_ms - entry.updated_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(entry.last.info.as_bytes());
        for (name, number) in [
            ("entry-id", entry.id as i64),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ] {
            reply.bulk(name.as_bytes());
            reply.int(number);
        }
    }
    Ok(())
}

fn dryrun(cx: &mut Context<'_>) -> Handled {
    let name = cx.args.at(2);
    let Some(user) = cx.engine.acl.users.id(name) else {
        return Err(format!("ERR User '{}' not found", String::from_utf8_lossy(name)).into());
    };
    let inner = cx.args.tail(3);
    let Some(row) = lookup(inner.at(0)).and_then(|row| subcommand(row, inner)) else {
        let command = String::from_utf8_lossy(inner.at(0));
        return Err(format!("ERR Command '{command}' not found").into());
    };
    if !row.arity_fits(inner.len()) {
        return Err(errors::wrong_arity(&full_name(inner, row)));
    }
    match cx.engine.acl_dry_run(user, cx.client.db, row, inner) {
        Ok(()) => cx.reply().ok(),
        Err(why) => cx.reply().bulk(why.as_bytes()),
    }
    Ok(())
}

fn check_file(cx: &Context<'_>) -> Handled {
    if cx.engine.config.aclfile.is_empty() {
        return Err("ERR This instance is not configured to use an ACL file. You may want to \
                    specify users via the ACL SETUSER command and then issue a CONFIG REWRITE \
                    (assuming you have a configuration file set) in order to store users in the \
                    configuration."
            .into());
    }
    Ok(())
}

fn load(cx: &mut Context<'_>) -> Handled {
    check_file(cx)?;
    cx.engine.load_acl_file(Some(cx.client)).map_err(|why| format!("ERR {why}"))?;
    cx.engine.acl_changed(&Change::All);
    cx.reply().ok();
    Ok(())
}

fn save(cx: &mut Context<'_>) -> Handled {
    check_file(cx)?;
    let text = cx.engine.acl.users.to_text();
    if let Err(error) = crate::disk::replace(&cx.engine.config.aclfile, "acl", &text) {
        hooks::warn(cx.engine, &format!("the ACL file was not written: {error}"));
        return Err(
            "ERR There was an error trying to save the ACLs. Please check the server logs \
                    for more information"
                .into(),
        );
    }
    cx.reply().ok();
    Ok(())
}
