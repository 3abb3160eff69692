//! Connection commands.

use super::{Command, Flags, Group, Handled};
use crate::engine::Context;

pub const COMMANDS: &[Command] = &[Command {
    name: "ping",
    arity: -1,
    flags: Flags(
        Flags::FAST.0 | Flags::LOCAL.0 | Flags::IN_SUBSCRIBE.0 | Flags::LOADING.0 | Flags::STALE.0,
    ),
    group: Group::Connection,
    summary: "Answers PONG, or the given message.",
    handler: ping,
    ..Command::ROW
}];

fn ping(cx: &mut Context<'_>) -> Handled {
    match cx.args.get(1) {
        None => cx.client.reply().simple("PONG"),
        Some(message) => cx.client.reply().bulk(message),
    }
    Ok(())
}
