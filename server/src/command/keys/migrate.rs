//! MIGRATE: moves keys to another server; how is told in `engine::transfer`.

use std::ops::Range;

use crate::command::Handled;
use crate::command::support::int;
use crate::engine::Context;
use crate::resp::{Args, CommandError, errors};
use crate::secret::Secret;
use crate::transfer::{Login, Request};

/// Where the key stands, and the first of the options.
const KEY: usize = 3;
const OPTIONS: usize = 6;
/// The timeout of who gives none, in milliseconds.
const DEFAULT_TIMEOUT_MS: u64 = 1000;

/// What stands among the options.
#[derive(Default)]
struct Options {
    copy: bool,
    replace: bool,
    login: Option<Login>,
    /// The keys after the word KEYS.
    listed: Option<Range<usize>>,
}

impl Options {
    fn read(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = OPTIONS;
        while at < args.len() {
            let word = |offset: usize| args.get(at + offset);
            let password = |offset: usize| word(offset).map(Secret::from).ok_or(errors::SYNTAX);
            if args.is(at, "copy") {
                options.copy = true;
            } else if args.is(at, "replace") {
                options.replace = true;
            } else if args.is(at, "auth") {
                options.login = Some((None, password(1)?));
                at += 1;
            } else if args.is(at, "auth2") {
                let password = password(2)?;
                options.login = Some((word(1).map(<[u8]>::to_vec), password));
                at += 2;
            } else if args.is(at, "keys") {
                if !args.at(KEY).is_empty() {
                    return Err(
                        "ERR When using MIGRATE KEYS option, the key argument must be set \
                                to the empty string"
                            .into(),
                    );
                }
                options.listed = Some(at + 1..args.len());
                break;
            } else {
                return Err(errors::SYNTAX.into());
            }
            at += 1;
        }
        Ok(options)
    }
}

/// The indices of its keys, as rights and clients need them; of one that is written wrongly, too.
pub fn key_range(args: Args<'_>) -> Range<usize> {
    let one = KEY..KEY + 1;
    let mut at = OPTIONS;
    while at < args.len() {
        if args.is(at, "keys") {
            return if args.at(KEY).is_empty() { at + 1..args.len() } else { one };
        }
        at += match () {
            () if args.is(at, "auth2") => 3,
            () if args.is(at, "auth") => 2,
            () => 1,
        };
    }
    if args.len() > KEY { one } else { 0..0 }
}

pub fn migrate(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let Options { copy, replace, login, listed } = Options::read(args)?;
    let timeout_ms = int(args.at(5))?;
    let to_db = int(args.at(4))?;
    let timeout_ms = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0);
    let from_db = cx.client.db;
    let db = cx.engine.keyspace.db_mut(from_db);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for at in listed.unwrap_or(KEY..KEY + 1) {
        let key = args.at(at);
        if db.lookup(key).is_some() {
            keys.push(key.to_vec());
        }
    }
    // A key that is named twice is sent once.
    let mut seen = std::collections::HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    if keys.is_empty() {
        cx.reply().simple("NOKEY");
        return Ok(());
    }
    if cx.in_exec || cx.engine.in_script {
        return Err(
            "ERR MIGRATE waits for another server, which a transaction or a script cannot".into()
        );
    }
    let port = std::str::from_utf8(args.at(2)).ok().and_then(|port| port.parse().ok());
    let request = Request {
        host: String::from_utf8_lossy(args.at(1)).into_owned(),
        port: port.ok_or("IOERR error or timeout connecting to the client")?,
        login,
        from_db,
        to_db,
        timeout_ms: timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS),
        copy,
        replace,
        keys,
    };
    cx.propagate_nothing();
    let waiter = cx.defer();
    cx.engine.begin_transfer(waiter, request);
    Ok(())
}

#[cfg(test)]
mod tests;
