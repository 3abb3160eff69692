//! DEBUG: what tests ask of a server and nobody else should. Only where `enable-debug-command` says
//! so; subcommands that tune another implementation's insides answer OK and change nothing.

mod digest;
mod protocol;

use std::time::Duration;

use super::server::is_local;
use super::support::{db, float, int};
use super::{Command, Flags, Group, Handled};
use crate::engine::Context;
use crate::engine::effects::Effect;
use crate::persistence::rdb;
use crate::resp::{CommandError, errors};

/// Bytes of a DUMP behind the value: version and checksum, and its type before it.
const DUMP_FRAME_BYTES: usize = 11;
/// The last use of a key is told in so many bits of a second.
const LRU_MASK: i64 = (1 << 24) - 1;
/// Keys that one POPULATE may make.
const POPULATE_MAX: i64 = 100_000_000;

pub const COMMANDS: &[Command] = &[Command {
    name: "debug",
    arity: -2,
    flags: Flags(
        Flags::LOADING.0 | Flags::STALE.0 | Flags::LOCAL.0 | Flags::ADMIN.0 | Flags::NOSCRIPT.0,
    ),
    group: Group::Server,
    summary: "Helps to test; only with enable-debug-command.",
    handler: debug,
    ..Command::ROW
}];

/// What tests have set.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Debug {
    /// Keys whose time has come stay until somebody asks for them (SET-ACTIVE-EXPIRE 0).
    pub keeps_expired: bool,
    /// RESTORE looks at no checksum (SET-SKIP-CHECKSUM-VALIDATION 1).
    pub trusts_checksums: bool,
    /// What is done ten times a second is not done (PAUSE-CRON 1).
    pub pauses_cron: bool,
    /// Scripts may run what they else may not (SET-DISABLE-DENY-SCRIPTS 1).
    pub scripts_run_all: bool,
}

struct Sub {
    name: &'static str,
    /// Words after the name: at least, and at most.
    words: (usize, usize),
    arguments: &'static str,
    summary: &'static str,
    handler: fn(&mut Context<'_>) -> Handled,
}

const MANY: usize = usize::MAX;

const SUBCOMMANDS: &[Sub] = &[
    sub("advance-clock", (1, 1), "<milliseconds>", "The monotonic clock jumps.", advance_clock),
    sub("change-repl-id", (0, 0), "", "Gives the replication history a new id.", change_id),
    sub("client-enforce-reply-list", (1, 1), "<0|1>", "Changes nothing.", ok),
    sub("config-rewrite-force-all", (0, 0), "", "CONFIG REWRITE of all directives.", rewrite_all),
    sub("dict-resizing", (1, 1), "<0|1>", "Changes nothing.", ok),
    sub("digest", (0, 0), "", "A hash of all data.", whole_digest),
    sub("digest-value", (1, MANY), "<key> [<key> ...]", "A hash of each value.", value_digests),
    sub("error", (1, 1), "<text>", "Answers with this error.", error),
    sub("help", (0, 0), "", "Lists the subcommands.", help),
    sub("loadaof", (0, MANY), "", "Loads the append-only files.", reload),
    sub("log", (1, 1), "<text>", "Writes a line into the server's log.", log),
    sub("object", (1, 2), "<key>", "How a value is held.", object),
    sub("panic", (0, 0), "", "Ends the process as a fault of its own would.", panic),
    sub("pause-cron", (1, 1), "<0|1>", "Stops what the server does by time.", pause_cron),
    sub("populate", (1, 3), "<count> [<prefix>] [<size>]", "Makes keys.", populate),
    sub("protocol", (1, 1), "<type>", "Answers with a value of that type.", protocol::protocol),
    sub("quicklist-packed-threshold", (1, 1), "<size>", "Changes nothing.", ok),
    sub("reload", (0, MANY), "[NOSAVE]", "Saves the data and loads them.", reload),
    sub("replybuffer", (2, 2), "<option> <value>", "Changes nothing.", ok),
    sub("segfault", (0, 0), "", "As PANIC.", panic),
    sub("set-active-expire", (1, 1), "<0|1>", "Whether keys expire unasked.", set_active_expire),
    sub("set-disable-deny-scripts", (1, 1), "<0|1>", "Scripts may run all.", set_scripts),
    sub("set-skip-checksum-validation", (1, 1), "<0|1>", "RESTORE checks none.", set_checksums),
    sub(
        "set-wall-clock-offset",
        (1, 1),
        "<ms>",
        "The wall clock's, from the machine's.",
        move_wall,
    ),
    sub("sleep", (1, 1), "<seconds>", "Stops the server for a time.", sleep),
    sub("stringmatch-len", (2, 2), "<length> <pattern>", "Matches so many letters.", match_letters),
];

const fn sub(
    name: &'static str,
    words: (usize, usize),
    arguments: &'static str,
    summary: &'static str,
    handler: fn(&mut Context<'_>) -> Handled,
) -> Sub {
    Sub { name, words, arguments, summary, handler }
}

fn debug(cx: &mut Context<'_>) -> Handled {
    if !cx.engine.config.enable_debug_command.covers(is_local(cx.client)) {
        return Err("ERR DEBUG command not allowed. If the enable-debug-command option is set to \
                    \"local\", you can run it from a local connection, otherwise you need to set \
                    this option in the configuration file, and then restart the server."
            .into());
    }
    let words = cx.args.len() - 2;
    let found = SUBCOMMANDS.iter().find(|sub| cx.args.is(1, sub.name));
    match found.filter(|sub| (sub.words.0..=sub.words.1).contains(&words)) {
        Some(sub) => (sub.handler)(cx),
        None => Err(format!(
            "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try DEBUG HELP.",
            String::from_utf8_lossy(cx.args.at(1))
        )
        .into()),
    }
}

fn ok(cx: &mut Context<'_>) -> Handled {
    cx.reply().ok();
    Ok(())
}

fn help(cx: &mut Context<'_>) -> Handled {
    let mut reply = cx.reply();
    reply.array(SUBCOMMANDS.len() * 2 + 1);
    reply.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for sub in SUBCOMMANDS {
        let name = sub.name.to_ascii_uppercase();
        reply.simple(format!("{name} {}", sub.arguments).trim_end());
        reply.simple(&format!("    {}", sub.summary));
    }
    Ok(())
}

fn sleep(cx: &mut Context<'_>) -> Handled {
    let seconds = float(cx.args.at(2))?;
    if !(0.0..=3600.0).contains(&seconds) {
        return Err(errors::OUT_OF_RANGE.into());
    }
    std::thread::sleep(Duration::from_secs_f64(seconds));
    if !cx.engine.in_script {
        // Keys grow old meanwhile; for a script all happens at one time.
        cx.engine.pass_time();
    }
    ok(cx)
}

fn reload(cx: &mut Context<'_>) -> Handled {
    let save = !cx.args.iter().skip(2).any(|word| word.eq_ignore_ascii_case(b"nosave"));
    let aof = cx.args.is(1, "loadaof");
    let engine = &mut *cx.engine;
    let result = if aof { engine.debug_load_aof() } else { engine.debug_reload(save) };
    // What was executed while it loaded is none of this command's doing.
    engine.outbox.nested_done();
    result.map_err(|why| format!("ERR Error trying to load the data: {why}"))?;
    ok(cx)
}

fn panic(_: &mut Context<'_>) -> Handled {
    panic!("asked for by DEBUG");
}

fn error(cx: &mut Context<'_>) -> Handled {
    let text = String::from_utf8_lossy(cx.args.at(2)).replace(['\r', '\n'], " ");
    Err(text.into())
}

fn log(cx: &mut Context<'_>) -> Handled {
    let text = format!("DEBUG LOG: {}", cx.args.at(2).escape_ascii());
    crate::engine::hooks::warn(cx.engine, &text);
    ok(cx)
}

fn flag(cx: &Context<'_>) -> Result<bool, CommandError> {
    Ok(int(cx.args.at(2))? != 0)
}

fn set_active_expire(cx: &mut Context<'_>) -> Handled {
    cx.engine.debug.keeps_expired = !flag(cx)?;
    ok(cx)
}

fn set_scripts(cx: &mut Context<'_>) -> Handled {
    cx.engine.debug.scripts_run_all = flag(cx)?;
    ok(cx)
}

/// What tests find then is done by commands alone. Members are told of by the same clock.
fn pause_cron(cx: &mut Context<'_>) -> Handled {
    if cx.engine.is_managed() {
        return Err("ERR the clock of a managed server is its members' too".into());
    }
    cx.engine.debug.pauses_cron = flag(cx)?;
    ok(cx)
}

fn rewrite_all(cx: &mut Context<'_>) -> Handled {
    super::server::rewrite_config(cx, true)
}

fn set_checksums(cx: &mut Context<'_>) -> Handled {
    cx.engine.debug.trusts_checksums = flag(cx)?;
    ok(cx)
}

fn change_id(cx: &mut Context<'_>) -> Handled {
    if cx.engine.is_managed() || cx.engine.replication().is_replica() {
        return Err("ERR only a primary that nobody manages may begin a history".into());
    }
    cx.engine.lead_stream(false);
    ok(cx)
}

/// Deadlines come without waiting for them. The leases of members are none of a test's.
fn advance_clock(cx: &mut Context<'_>) -> Handled {
    if cx.engine.is_managed() {
        return Err("ERR the clock of a managed server is its members' too".into());
    }
    let ms = u32::try_from(int(cx.args.at(2))?).map_err(|_| errors::OUT_OF_RANGE)?;
    cx.engine.effects.push(Effect::AdvanceClock(ms.into()));
    ok(cx)
}

/// No lease and no deadline goes by the wall clock, so that a managed server's may be moved, too.
fn move_wall(cx: &mut Context<'_>) -> Handled {
    let ms = int(cx.args.at(2))?;
    cx.engine.effects.push(Effect::SetWallOffset(ms));
    ok(cx)
}

fn match_letters(cx: &mut Context<'_>) -> Handled {
    let count = usize::try_from(int(cx.args.at(2))?).map_err(|_| errors::OUT_OF_RANGE)?;
    if count > cx.engine.config.proto_max_bulk_len.0 as usize {
        return Err(errors::OUT_OF_RANGE.into());
    }
    let matched = crate::glob::matches(cx.args.at(3), &vec![b'a'; count]);
    cx.reply().int(i64::from(matched));
    Ok(())
}

/// Tells of a key as it lies there, also of one whose time is over.
fn object(cx: &mut Context<'_>) -> Handled {
    cx.engine.keyspace.ignore_expiry(true);
    let told = tell_object(cx);
    cx.engine.keyspace.ignore_expiry(false);
    told
}

fn tell_object(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(2);
    let db = db(cx);
    let idle_s = db.idle_s(key).unwrap_or(0);
    let encoding = db.encoding(key).ok_or("ERR no such key")?;
    let value = db.peek(key).ok_or("ERR no such key")?;
    let bytes = rdb::dump::dump(value).len().saturating_sub(DUMP_FRAME_BYTES);
    let used_s = db.now_ms() / 1000 - i64::from(idle_s);
    let text = format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} \
         lru:{} lru_seconds_idle:{idle_s}",
        used_s & LRU_MASK
    );
    cx.reply().simple(&text);
    Ok(())
}

/// What it makes is a primary's write like any other.
fn populate(cx: &mut Context<'_>) -> Handled {
    let count = int(cx.args.at(2))?;
    if !(0..=POPULATE_MAX).contains(&count) {
        return Err(errors::OUT_OF_RANGE.into());
    }
    let prefix = cx.args.get(3).unwrap_or(b"key");
    let size = cx.args.get(4).map(int).transpose()?;
    let size = size.map(usize::try_from).transpose().map_err(|_| errors::OUT_OF_RANGE)?;
    let engine = &cx.engine;
    if engine.replication().is_replica() {
        return Err(errors::READ_ONLY.into());
    }
    if engine.pause.scope().is_some() || !crate::engine::hooks::stream_may_grow(engine) {
        return Err("ERR writes are paused".into());
    }
    cx.propagate_nothing();
    for at in 0..count {
        let key = [prefix, format!(":{at}").as_bytes()].concat();
        if db(cx).contains(&key) {
            continue;
        }
        let mut value = format!("value:{at}").into_bytes();
        if let Some(size) = size.filter(|size| *size > 0) {
            value.resize(size, 0);
        }
        db(cx).set_str(&key, &value, false);
        cx.touch(&key);
        cx.propagate(&[b"SET", &key, &value]);
    }
    ok(cx)
}

fn whole_digest(cx: &mut Context<'_>) -> Handled {
    let text = digest::of_keyspace(&cx.engine.keyspace).to_string();
    cx.reply().simple(&text);
    Ok(())
}

fn value_digests(cx: &mut Context<'_>) -> Handled {
    let keys = cx.args.tail(2);
    let mut texts = Vec::with_capacity(keys.len());
    for key in keys.iter() {
        let db = db(cx);
        let expiry_ms = db.expiry(key);
        let value = db.peek(key);
        texts.push(value.map(|value| digest::of_value(value, expiry_ms)).unwrap_or_default());
    }
    let mut reply = cx.reply();
    reply.array(texts.len());
    for text in texts {
        reply.simple(&text.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Bench;

    fn bench() -> (Bench, usize) {
        let mut bench = Bench::new(&[("enable-debug-command", "yes")]);
        let client = bench.client();
        (bench, client)
    }

    #[test]
    fn it_is_answered_only_where_it_is_enabled() {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        assert!(bench.ask(client, "DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed"));
        let (mut bench, client) = self::bench();
        assert_eq!(bench.ask(client, "DEBUG SLEEP 0"), "+OK");
        assert!(bench.ask(client, "DEBUG NOTHING").starts_with("-ERR unknown subcommand"));
        assert!(bench.ask(client, "DEBUG SLEEP").starts_with("-ERR unknown subcommand"));
        assert_eq!(bench.ask(client, "DEBUG OBJECT none"), "-ERR no such key");
        assert_eq!(bench.ask(client, "DEBUG ERROR WORD"), "-WORD");
    }

    #[test]
    fn keys_whose_time_has_come_stay_while_a_test_wants_it() {
        let (mut bench, client) = bench();
        bench.ask(client, "DEBUG SET-ACTIVE-EXPIRE 0");
        bench.ask(client, "SET k v PX 10");
        bench.pass_ms(50);
        assert_eq!(bench.ask(client, "DBSIZE"), ":1");
        assert!(bench.ask(client, "DEBUG OBJECT k").starts_with("+Value at"));
        assert_eq!(bench.ask(client, "GET k"), "$-1");
        assert_eq!(bench.ask(client, "DBSIZE"), ":0");
        bench.ask(client, "SET k v PX 10");
        bench.ask(client, "DEBUG SET-ACTIVE-EXPIRE 1");
        bench.pass_ms(50);
        assert_eq!(bench.ask(client, "DBSIZE"), ":0");
    }

    /// What was to be over behind the sleep of a transaction was served to who waited for it.
    #[test]
    fn keys_grow_old_while_the_server_sleeps() {
        let (mut bench, client) = bench();
        let waiting = bench.client();
        let awake_us = bench.engine.now.mono_us + 200_000;
        bench.engine.read_clock = Some(std::sync::Arc::new(move || awake_us));
        assert_eq!(bench.ask(waiting, "BLPOP l 0"), "");
        for command in ["MULTI", "RPUSH l a", "PEXPIRE l 100", "DEBUG SLEEP 0", "EXEC"] {
            bench.ask(client, command);
        }
        assert_eq!(bench.out(waiting), "", "it waits for the next one");
        bench.ask(client, "RPUSH l b");
        assert_eq!(bench.out(waiting), "*2 $1 l $1 b");
    }

    #[test]
    fn keys_are_made_as_writes_are() {
        let (mut bench, client) = bench();
        assert_eq!(bench.ask(client, "DEBUG POPULATE 3 p 10"), "+OK");
        assert_eq!(bench.ask(client, "STRLEN p:2"), ":10");
        assert_eq!(bench.ask(client, "DBSIZE"), ":3");
        bench.ask(client, "CLIENT PAUSE 1000 WRITE");
        assert_eq!(bench.ask(client, "DEBUG POPULATE 9"), "-ERR writes are paused");
    }
}
