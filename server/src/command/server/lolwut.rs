//! LOLWUT: a little drawing, and the version.

use crate::command::Handled;
use crate::command::support::int;
use crate::engine::Context;

use super::own_version;

/// Two nodes, and a client that goes from one to the other.
const DRAWING: &str = "
   .---.             .---.
   | 1 |  =========> | 2 |
   '---'             '---'
      \\      o       /
       \\    /|\\     /
        '--- / \\ ---'
";

pub fn lolwut(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() > 2 && cx.args.is(1, "version") {
        int(cx.args.at(2))?;
    }
    let text = format!("{DRAWING}\nNothing was dropped. RedisHA ver. {}\n", own_version());
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}
