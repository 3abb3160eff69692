//! Answers without end: a small request must not make the server hold more than the bound of its
//! client's output.

use super::{Bench, ask};

const MEGABYTE: usize = 1 << 20;

/// A server whose clients may leave a megabyte unread, with some data.
fn bench() -> (Bench, usize) {
    let limits = "normal 1mb 0 0 pubsub 1mb 0 0";
    let mut bench = Bench::new(&[("client-output-buffer-limit", limits)]);
    let client = bench.client();
    for command in [
        "SETRANGE big 300000 x",
        "SADD s a",
        "HSET h f v",
        "ZADD z 1 a",
        "RPUSH l 1 2 3 4 5 6 7 8 9",
    ] {
        let answer = bench.ask(client, command);
        assert!(answer.starts_with(':'), "{command}: {answer}");
    }
    (bench, client)
}

fn held(bench: &Bench, client: usize) -> usize {
    bench.engine.clients.get(bench.id(client)).map_or(0, |client| client.out.len())
}

/// A command's answer was only looked at when it was complete: repetitions that a number asks for,
/// names that are said a hundred thousand times, or values that are.
#[test]
fn no_command_answers_without_bound() {
    for (command, repeated, times) in [
        ("MGET", " big", 30),
        ("COMMAND DOCS", " get", 20_000),
        ("COMMAND INFO", " get", 100_000),
        ("SORT l", " GET #", 400_000),
        ("SORT_RO l BY nosort", " GET #", 400_000),
        ("SRANDMEMBER s -9223372036854775807", "", 0),
        ("HRANDFIELD h -9223372036854775807", "", 0),
        ("HRANDFIELD h -4611686018427387903 WITHVALUES", "", 0),
        ("ZRANDMEMBER z -9223372036854775807", "", 0),
        ("ZRANDMEMBER z -4611686018427387903 WITHSCORES", "", 0),
    ] {
        let (mut bench, client) = bench();
        let words = format!("{command}{}", repeated.repeat(times));
        let words: Vec<&str> = words.split(' ').collect();
        super::send(
            &mut bench,
            client,
            &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>(),
        );
        let bytes = held(&bench, client);
        assert!(bytes < 3 * MEGABYTE, "{command}: {bytes}");
        assert!(bench.out(client).ends_with(" gone"), "{command}");
        assert_eq!(bench.engine.stats.clients_over_output_limit, 1, "{command}");
        let other = bench.client();
        assert_eq!(bench.ask(other, "PING"), "+PONG", "{command}");
    }
}

/// The same within a transaction, whose answers are one.
#[test]
fn no_transaction_answers_without_bound() {
    let (mut bench, client) = bench();
    bench.ask(client, "MULTI");
    for _ in 0..100 {
        bench.ask(client, "GET big");
    }
    bench.ask(client, "SET after 1");
    let answer = bench.ask(client, "EXEC");
    assert!(answer.len() < 3 * MEGABYTE && answer.ends_with(" gone"), "{}", answer.len());
    let other = bench.client();
    assert_eq!(bench.ask(other, "GET after"), "$1 1", "it ran whole all the same");
}

/// A bound that is not reached changes nothing, however much a pipeline asks for.
#[test]
fn answers_within_the_bound_are_whole() {
    let (mut bench, client) = bench();
    for count in [1, 3] {
        let answer = bench.ask(client, &format!("MGET{}", " big".repeat(count)));
        assert!(!answer.ends_with("gone") && answer.len() > count * 300_000, "{count}");
    }
    assert_eq!(bench.ask(client, "SRANDMEMBER s -3"), "*3 $1 a $1 a $1 a");
    assert_eq!(bench.ask(client, "HRANDFIELD h -2 WITHVALUES"), "*4 $1 f $1 v $1 f $1 v");
    assert_eq!(bench.ask(client, "ZRANDMEMBER z -2 WITHSCORES"), "*4 $1 a $1 1 $1 a $1 1");
    assert_eq!(bench.ask(client, "HELLO 3").split(' ').next(), Some("%7"));
    assert_eq!(bench.ask(client, "ZRANDMEMBER z -1 WITHSCORES"), "*1 *2 $1 a ,1");
}

/// A table that stands in a table twice, and that one in another, and so on, takes a kilobyte and
/// was written as two to the sixtieth elements; the results of a script's own commands, and its
/// arguments, repeat a string likewise.
#[test]
fn no_script_answers_or_asks_without_bound() {
    let nested = "local t = {'x'} for i = 1, 60 do t = {t, t} end return t";
    let map = "local t = {map={a='x'}} for i = 1, 60 do t = {map={a=t, b=t}} end return t";
    let call =
        "local k = {} for i = 1, 30 do k[i] = 'big' end return #redis.call('mget', unpack(k))";
    let random = "return #redis.call('srandmember', 's', '-9223372036854775807')";
    let long = "local s = string.rep('x', 1048576) local t = {} for i = 1, 1100 do t[i] = s end \
         return redis.call('echo', unpack(t))";
    let asked = long.replace("redis.call(", "redis.acl_check_cmd(");
    for (script, why) in [
        (nested, "-ERR not enough memory to read the script's result"),
        (map, "-ERR not enough memory to read the script's result"),
        (call, "-ERR The command's reply is too large"),
        (random, "-ERR The command's reply is too large"),
        (long, "-ERR Command arguments are too long"),
        (&asked, "-ERR Command arguments are too long"),
    ] {
        let (mut bench, client) = bench();
        let answer = ask(&mut bench, client, &["EVAL", script, "0"]);
        assert!(answer.starts_with(why), "{script}: {answer:.200}");
        assert_eq!(ask(&mut bench, client, &["EVAL", "return 7", "0"]), ":7", "{script}");
    }
}

/// What cjson and cmsgpack write grew outside of Lua's memory, and so without its bound.
#[test]
fn no_encoder_writes_without_bound() {
    for script in [
        "local t = {string.rep('x', 1000)} for i = 1, 60 do t = {t, t} end return #cjson.encode(t)",
        "local t = {} for i = 1, 60 do t = {t, t} end return #cjson.encode(t)",
        "return #cjson.encode(string.rep('\\0', 4000000))",
        "return #cjson.new().encode(string.rep('\\0', 4000000))",
        "local t = {string.rep('x', 1000)} for i = 1, 14 do t = {t, t, t, t, t, t, t, t} end \
         return #cmsgpack.pack(t)",
        "local t = {} for i = 1, 7000 do t[i] = string.rep('x', 10000) end \
         return #struct.pack(string.rep('s', 7000), unpack(t))",
    ] {
        let mut bench = Bench::new(&[("lua-memory-limit", "8mb")]);
        let client = bench.client();
        let answer = ask(&mut bench, client, &["EVAL", script, "0"]);
        assert!(answer.contains("not enough memory"), "{script}: {answer:.200}");
        assert_eq!(ask(&mut bench, client, &["EVAL", "return 7", "0"]), ":7", "{script}");
    }
}

/// What others are told by a script in a loop counts towards their own bounds, not only when it is
/// written; also what the script's own client is told.
#[test]
fn nobody_is_told_without_bound() {
    let (mut bench, speaker) = bench();
    let listener = bench.client();
    bench.ask(listener, "SUBSCRIBE c");
    let script = "local s = string.rep('x', 100000) \
         for i = 1, 1000 do redis.call('publish', 'c', s) end return 1";
    assert_eq!(ask(&mut bench, speaker, &["EVAL", script, "0"]), ":1");
    let bytes = held(&bench, listener);
    assert!(bytes > MEGABYTE && bytes < 3 * MEGABYTE, "{bytes}");
    let listener = bench.engine.clients.get(bench.id(listener)).expect("it is not closed yet");
    assert!(listener.overflows(), "so it is closed before anything is written");
    bench.ask(speaker, "HELLO 3");
    bench.ask(speaker, "SUBSCRIBE c");
    let answer = ask(&mut bench, speaker, &["EVAL", script, "0"]);
    assert!(answer.len() < 3 * MEGABYTE && answer.ends_with("gone"), "{}", answer.len());
}

/// Who watches all commands is shown those of a script in a loop: up to the bound of its output.
#[test]
fn nobody_is_shown_without_bound() {
    let (mut bench, speaker) = bench();
    let watcher = bench.client();
    assert_eq!(bench.ask(watcher, "MONITOR"), "+OK");
    let script = "local s = string.rep('x', 1000) \
         for i = 1, 10000 do redis.call('get', s) end return 1";
    assert_eq!(ask(&mut bench, speaker, &["EVAL", script, "0"]), ":1");
    let bytes = held(&bench, watcher);
    assert!(bytes > MEGABYTE && bytes < 3 * MEGABYTE, "{bytes}");
    assert!(bench.engine.clients.get(bench.id(watcher)).expect("not yet").overflows());
}

/// SORT … STORE made a list of as many elements as there are patterns times elements.
#[test]
fn sort_stores_no_more_than_could_be_answered() {
    let (mut bench, client) = bench();
    let command = format!("SORT l{} STORE target", " GET #".repeat(100_000));
    assert_eq!(bench.ask(client, &command), "-ERR The result of SORT is too large");
    assert_eq!(bench.ask(client, "EXISTS target"), ":0");
    assert_eq!(bench.ask(client, "SORT l GET # GET # STORE target"), ":18");
}
