//! MODULE: there are none, and none can be loaded.

use super::server::{help, is_local};
use super::{Command, Flags, Group, Handled};
use crate::engine::Context;

const ADMIN: Flags = Flags(Flags::LOCAL.0 | Flags::ADMIN.0 | Flags::NOSCRIPT.0);

const fn row(name: &'static str, arity: i32, flags: Flags, summary: &'static str) -> Command {
    Command { name, arity, flags, summary, group: Group::Server, since: "4.0.0", ..Command::ROW }
}

pub const COMMANDS: &[Command] = &[Command {
    subcommands: SUBCOMMANDS,
    ..row("module", -2, Flags::LOCAL, "A container for modules, which this server has not.")
}];

const SUBCOMMANDS: &[Command] = &[
    Command { handler: list, ..row("list", 2, ADMIN, "Lists the modules: none.") },
    Command { handler: refused, ..row("load", -3, ADMIN, "Modules cannot be loaded.") },
    Command {
        since: "7.0.0",
        handler: refused,
        ..row("loadex", -3, ADMIN, "Modules cannot be loaded.")
    },
    Command { handler: refused, ..row("unload", 3, ADMIN, "There is no module to unload.") },
    Command {
        since: "5.0.0",
        handler: |cx| help(cx, "MODULE", SUBCOMMANDS),
        ..row("help", 2, HELP, "Lists the subcommands.")
    },
];

const HELP: Flags = Flags(Flags::LOCAL.0 | Flags::LOADING.0 | Flags::STALE.0);

fn list(cx: &mut Context<'_>) -> Handled {
    cx.client.reply().array(0);
    Ok(())
}

fn refused(cx: &mut Context<'_>) -> Handled {
    if !cx.engine.config.enable_module_command.covers(is_local(cx.client)) {
        return Err("ERR MODULE command not allowed. If the enable-module-command option is set \
                    to \"local\", you can run it from a local connection, otherwise you need to \
                    set this option in the configuration file, and then restart the server."
            .into());
    }
    if cx.args.is(1, "unload") {
        return Err("ERR Error unloading module: no such module with that name".into());
    }
    Err("ERR Error loading the extension. Please check the server logs.".into())
}
