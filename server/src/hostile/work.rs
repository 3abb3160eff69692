//! Work and memory that grow with the square of what a client sends, or are nobody's.

use std::fmt::Write as _;

use super::{Bench, ask, send};
use crate::persistence::rdb::{dump, functions};
use crate::store::Limits;

/// So many that their square is out of reach: a test that compares each with each does not end.
const MANY: usize = 300_000;

fn names(count: usize, word: &str) -> Vec<String> {
    (0..count).map(|n| format!("{word}{n:06}")).collect()
}

fn say(bench: &mut Bench, client: usize, head: &[&str], names: &[String], tail: &[&str]) -> String {
    let words = head.iter().copied().chain(names.iter().map(String::as_str));
    let words: Vec<&[u8]> = words.chain(tail.iter().copied()).map(str::as_bytes).collect();
    send(bench, client, &words);
    bench.out(client)
}

/// Each key was looked for among all that were watched before it.
#[test]
fn watching_many_keys() {
    let mut bench = Bench::new(&[]);
    let (client, other) = (bench.client(), bench.client());
    let keys = names(MANY, "k");
    assert_eq!(say(&mut bench, client, &["WATCH"], &keys, &[]), "+OK");
    assert_eq!(say(&mut bench, client, &["WATCH"], &keys, &[]), "+OK");
    bench.ask(other, "SET k000007 v");
    bench.ask(client, "MULTI");
    assert_eq!(bench.ask(client, "EXEC"), "*-1");
    assert!(bench.engine.watched.keys.is_empty());
}

/// Each key that a script filled was looked for among those that were ready to serve.
#[test]
fn serving_many_keys() {
    let mut bench = Bench::new(&[]);
    let (waiter, other) = (bench.client(), bench.client());
    assert_eq!(say(&mut bench, waiter, &["BLPOP"], &names(MANY, "k"), &["0"]), "");
    let script = format!(
        "for n = 0, {MANY} - 1 do redis.call('rpush', string.format('k%06d', n), 'v') end return 1"
    );
    assert_eq!(ask(&mut bench, other, &["EVAL", &script, "0"]), ":1");
    assert_eq!(bench.out(waiter), "*2 $7 k000000 $1 v");
    assert_eq!(bench.ask(other, "DBSIZE"), format!(":{}", MANY - 1));
    assert!(!bench.engine.blocking.has_ready());
}

/// Each prefix was compared with all before it, and each change with every prefix.
#[test]
fn tracking_many_prefixes() {
    let mut bench = Bench::new(&[]);
    let (client, other) = (bench.client(), bench.client());
    bench.ask(client, "HELLO 3");
    let words: Vec<String> =
        names(MANY, "p").into_iter().flat_map(|name| ["PREFIX".to_owned(), name]).collect();
    let answer = say(&mut bench, client, &["CLIENT", "TRACKING", "ON", "BCAST"], &words, &[]);
    assert_eq!(answer, "+OK");
    let script = format!(
        "for n = 0, {MANY} - 1 do redis.call('set', string.format('p%06d', n), 'v') end return 1"
    );
    for _ in 0..2 {
        assert_eq!(ask(&mut bench, other, &["EVAL", &script, "0"]), ":1");
    }
    bench.out(client);
    bench.ask(other, "SET p000123:x v");
    assert_eq!(bench.out(client), ">2 $10 invalidate *1 $9 p000123:x");
}

/// A free number was looked for among all consumers before the new one.
#[test]
fn making_many_consumers() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    bench.ask(client, "XGROUP CREATE s g $ MKSTREAM");
    let script = format!(
        "for n = 1, {MANY} do redis.call('xgroup', 'createconsumer', 's', 'g', n) end return 1"
    );
    assert_eq!(ask(&mut bench, client, &["EVAL", &script, "0"]), ":1");
    let value = bench.engine.keyspace.db_mut(0).lookup(b"s").expect("the stream");
    let payload = dump::dump(value);
    send(&mut bench, client, &[b"RESTORE", b"again", b"0", &payload]);
    assert_eq!(bench.out(client), "+OK");
    let count = bench.ask(client, "XINFO GROUPS again");
    assert!(count.contains(&format!("consumers :{MANY}")), "{count}");
    assert_eq!(bench.ask(client, "XGROUP DELCONSUMER again g 7"), ":0");
    assert_eq!(bench.ask(client, "XGROUP CREATECONSUMER again g new"), ":1");
}

/// The ids of each word were put behind all before them, and looked for one by one.
#[test]
fn filtering_by_many_ids() {
    let mut bench = Bench::new(&[]);
    let (client, other) = (bench.client(), bench.client());
    let serial = bench.id(other).serial;
    let words: Vec<String> = (1000..1000 + MANY)
        .flat_map(|id| ["ID".to_owned(), id.to_string()])
        .chain(["ID".to_owned(), serial.to_string()])
        .collect();
    assert_eq!(say(&mut bench, client, &["CLIENT", "KILL"], &words, &[]), ":1");
    assert_eq!(bench.out(other), "gone");
}

/// Every pattern added every directive to what was to be answered.
#[test]
fn asking_for_directives_many_times() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let once = bench.ask(client, "CONFIG GET *");
    let stars = vec!["*".to_owned(); 100_000];
    assert_eq!(say(&mut bench, client, &["CONFIG", "GET"], &stars, &[]), once);
}

/// Each function's name was compared with those before it.
#[test]
fn loading_many_functions_and_for_long() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let mut code = String::from("#!lua name=many\nlocal f = function() return 1 end\n");
    code.push_str("for n = 1, 3000 do redis.register_function('f' .. n, f) end");
    assert_eq!(ask(&mut bench, client, &["FUNCTION", "LOAD", &code]), "$4 many");
    // FUNCTION RESTORE had no bound on time, so that one payload stopped the server for good.
    let endless: &[u8] = b"#!lua name=a\nwhile true do end";
    let payload = functions::dump([endless].into_iter());
    send(&mut bench, client, &[b"FUNCTION", b"RESTORE", &payload]);
    let answer = bench.out(client);
    assert!(answer.contains("timeout"), "{answer}");
    // Nor do many libraries take the time of one each.
    let long: Vec<String> = (0..1000)
        .map(|n| {
            format!(
                "#!lua name=l{n}\nfor i = 1, 3000000 do end \
                 redis.register_function('g{n}', function() return 1 end)"
            )
        })
        .collect();
    let payload = functions::dump(long.iter().map(String::as_bytes));
    send(&mut bench, client, &[b"FUNCTION", b"RESTORE", &payload]);
    let answer = bench.out(client);
    assert!(answer.contains("timeout"), "{answer}");
    assert_eq!(bench.ask(client, "FCALL f3000 0"), ":1");
}

/// Eight thousand scripts, or functions, took all places that Lua has for them: from then on no script
/// ran for anybody, until all were flushed.
#[test]
fn loading_scripts_without_number() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let mut refused = 0;
    for n in 0..20_000 {
        let answer = ask(&mut bench, client, &["SCRIPT", "LOAD", &format!("return {n}")]);
        assert!(answer.starts_with("$40 ") || answer.starts_with("-ERR"), "{n}: {answer}");
        refused += usize::from(answer.starts_with('-'));
        let answer = ask(&mut bench, client, &["EVAL", &format!("return {n}"), "0"]);
        assert!(answer == format!(":{n}") || answer.starts_with("-ERR"), "{n}: {answer}");
    }
    assert_eq!(refused, 0);
    assert_eq!(ask(&mut bench, client, &["EVAL", "return 7", "0"]), ":7");
    for n in [0, 1, 19_999] {
        let sha = crate::script::sha1::hex(&crate::script::sha1::digest(
            format!("return {n}").as_bytes(),
        ));
        assert_eq!(bench.ask(client, &format!("EVALSHA {sha} 0")), format!(":{n}"));
    }
    for n in 0..100 {
        let code = format!(
            "#!lua name=l{n}\nfor i = 1, 100 do redis.register_function('f{n}_' .. i, \
             function() return {n} end) end"
        );
        let answer = ask(&mut bench, client, &["FUNCTION", "LOAD", &code]);
        assert_eq!(answer, format!("${} l{n}", format!("l{n}").len()));
    }
    assert_eq!(bench.ask(client, "FCALL f99_100 0"), ":99");
    assert_eq!(bench.ask(client, "SCRIPT FLUSH"), "+OK");
    assert_eq!(ask(&mut bench, client, &["EVAL", "return 'new'", "0"]), "$3 new");
}

/// A compressed string was as long as it said: of half a gigabyte that a client sends, 45.
#[test]
fn payloads_do_not_swell_beyond_what_a_client_may_send() {
    // One byte, and 4000 times the 264 before.
    let packed = [[0, b'x'].as_slice(), &[0xe0, 255, 0].repeat(4000)].concat();
    let length = 1 + 264 * 4000;
    let mut payload = vec![0, 0xc3];
    for length in [packed.len(), length] {
        payload.push(0x80);
        payload.extend_from_slice(&(length as u32).to_be_bytes());
    }
    payload.extend_from_slice(&packed);
    payload.extend_from_slice(&11_u16.to_le_bytes());
    let sum = crate::persistence::rdb::crc64::update(0, &payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    assert!(payload.len() < 20_000 && dump::verify(&payload, dump::Leniency::default()));
    let restore = |max: usize| dump::restore(&payload, Limits::default(), max);
    assert!(restore(length - 1).is_err());
    assert!(restore(length).expect("it is whole").is_some());
}

/// What a connection keeps for itself counts, wherever it is kept; the largest goes.
#[test]
fn clients_that_keep_much_are_ended_first() {
    let big = "k".repeat(4_000_000);
    let mut prefixes = String::new();
    for name in names(40_000, "p") {
        write!(prefixes, " PREFIX {name}").expect("a string takes everything");
    }
    let channels = names(40_000, "c").join(" ");
    let keys = names(40_000, "k").join(" ");
    for commands in [
        vec!["MULTI".to_owned(), format!("SET k {big}")],
        vec![format!("WATCH {big}")],
        vec![format!("WATCH {keys}")],
        vec![format!("SUBSCRIBE {big}")],
        vec![format!("SSUBSCRIBE {channels}")],
        vec![format!("BLPOP {keys} 0")],
        vec![format!("BLPOP {big} 0")],
        vec![format!("CLIENT TRACKING ON BCAST{prefixes}")],
        vec![format!("CLIENT SETNAME {big}")],
        vec![format!("ECHO {big}")],
    ] {
        let mut bench = Bench::new(&[("maxmemory-clients", "3mb")]);
        let (client, other) = (bench.client(), bench.client());
        let what = &commands[0][..commands[0].len().min(30)];
        for command in &commands {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            send(&mut bench, client, &words);
        }
        assert_eq!(bench.ask(other, "PING"), "+PONG", "{what}");
        bench.engine.cron();
        assert_eq!(bench.engine.stats.evicted_clients, 1, "{what}");
        assert!(bench.out(client).ends_with("gone"), "{what}");
        assert_eq!(bench.ask(other, "PING"), "+PONG", "{what}");
    }
}

/// What a client gives up is not counted any more.
#[test]
fn clients_that_give_it_back_stay() {
    let mut bench = Bench::new(&[("maxmemory-clients", "3mb")]);
    let client = bench.client();
    let many = names(40_000, "n").join(" ");
    for (take, give) in [
        (format!("WATCH {many}"), "UNWATCH".to_owned()),
        (format!("SUBSCRIBE {many}"), format!("UNSUBSCRIBE {many}")),
    ] {
        bench.ask(client, &take);
        bench.ask(client, &give);
        bench.engine.cron();
        assert_eq!(bench.engine.stats.evicted_clients, 0, "{give}");
    }
}

/// A script in a loop made the list of changes that are to be told as long as it ran.
#[test]
fn a_script_that_changes_without_end_is_told_as_one_change() {
    let mut bench = Bench::new(&[]);
    let (client, other) = (bench.client(), bench.client());
    bench.ask(client, "HELLO 3");
    bench.ask(client, "CLIENT TRACKING ON");
    bench.ask(client, "GET k");
    let same = "for n = 1, 300000 do redis.call('set', 'k', n) end return 1";
    ask(&mut bench, other, &["EVAL", same, "0"]);
    assert_eq!(bench.out(client), ">2 $10 invalidate *1 $1 k");
    bench.ask(client, "GET k");
    let many = "for n = 1, 300000 do redis.call('set', 'k' .. n, n) end return 1";
    ask(&mut bench, other, &["EVAL", many, "0"]);
    assert_eq!(bench.out(client), ">2 $10 invalidate _");
}

/// Before authentication, and after it where a command waits, a connection may send so much and no
/// more; and it has a minute to say who it is.
#[test]
fn strangers_may_say_and_wait_so_much() {
    let mut bench = Bench::new(&[("requirepass", "secret")]);
    let client = bench.client();
    bench.engine.clients.get_mut(bench.id(client)).expect("it is there").hold =
        crate::client::Hold::Deferred;
    for part in 0..=16 {
        assert_eq!(bench.out(client), "", "{part}");
        bench.engine.receive(bench.id(client), &b"x".repeat(65_536));
    }
    assert_eq!(bench.out(client), "gone");
    let (stranger, known) = (bench.client(), bench.client());
    assert_eq!(bench.ask(known, "AUTH secret"), "+OK");
    bench.pass_ms(59_000);
    assert_eq!(bench.ask(stranger, "PING"), "-NOAUTH Authentication required.");
    bench.pass_ms(2_000);
    assert_eq!(bench.out(stranger), "gone");
    assert_eq!(bench.ask(known, "PING"), "+PONG");
}

/// A stranger's pipeline waits after a few answers until those were read.
#[test]
fn strangers_are_not_answered_without_reading() {
    let mut bench = Bench::new(&[("requirepass", "secret")]);
    let client = bench.client();
    let pipeline = b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n".repeat(100_000);
    bench.engine.receive(bench.id(client), &pipeline);
    let out = bench.engine.clients.get(bench.id(client)).map(|client| client.out.len());
    assert!(out.is_some_and(|bytes| bytes < 20_000), "{out:?}");
}
