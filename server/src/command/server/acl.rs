//! ACL: the default user, the internal one, and the categories of commands.

use super::{HELP, HERE, introspect};
use crate::client::User;
use crate::command::{Command, Flags, Group, Handled, all};
use crate::engine::Context;

const ROW: Command = Command { group: Group::Server, flags: HERE, since: "6.0.0", ..Command::ROW };

pub const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "whoami",
        arity: 2,
        summary: "Returns the name of the connection's user.",
        handler: whoami,
        ..ROW
    },
    Command {
        name: "cat",
        arity: -2,
        summary: "Lists the categories, or the commands of one.",
        handler: cat,
        ..ROW
    },
    Command {
        name: "users",
        arity: 2,
        flags: HERE.with(Flags::ADMIN),
        summary: "Lists the names of the users.",
        handler: users,
        ..ROW
    },
    Command { handler: |cx| super::help(cx, "ACL", SUBCOMMANDS), ..HELP },
];

fn whoami(cx: &mut Context<'_>) -> Handled {
    let name: &[u8] = match cx.client.user {
        User::Default => b"default",
        User::Internal => crate::engine::member::INTERNAL_USER.as_bytes(),
    };
    cx.client.reply().bulk(name);
    Ok(())
}

fn users(cx: &mut Context<'_>) -> Handled {
    let mut reply = cx.client.reply();
    reply.array(1);
    reply.bulk(b"default");
    Ok(())
}

fn cat(cx: &mut Context<'_>) -> Handled {
    let Some(wanted) = cx.args.get(2) else {
        let mut reply = cx.client.reply();
        reply.array(introspect::CATEGORIES.len());
        for name in introspect::CATEGORIES {
            reply.bulk(name.as_bytes());
        }
        return Ok(());
    };
    let wanted = String::from_utf8_lossy(wanted).to_ascii_lowercase();
    if !introspect::CATEGORIES.contains(&wanted.as_str()) {
        return Err(format!("ERR Unknown category '{wanted}'").into());
    }
    let mut names = Vec::new();
    for row in all() {
        if row.subcommands.is_empty() {
            if introspect::categories(row, row.name).contains(&wanted.as_str()) {
                names.push(row.name.to_owned());
            }
            continue;
        }
        for sub in row.subcommands {
            if introspect::categories(sub, row.name).contains(&wanted.as_str()) {
                names.push(format!("{}|{}", row.name, sub.name));
            }
        }
    }
    let mut reply = cx.client.reply();
    reply.array(names.len());
    for name in &names {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}
