//! Holes of Redis and Valkey of the years 2021 to 2026, by class: those of memory cannot be here, and
//! what stays of each (a panic, an allocation, a recursion, a second reply) is tried. Those that are
//! tried where their code is stand in `docs/security.md` too.

use super::{Bench, ask, check, send};
use crate::resp::{Limits, Parsed, Parser};

/// Finalizers and a collector that a script stops or drives, and the end of the interpreter amid
/// them (SCRIPT FLUSH).
#[test]
fn cve_2024_46981_scripts_that_manage_the_collector() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    for script in [
        "collectgarbage('stop') local t = {} for i = 1, 100000 do t[i] = {i} end return #t",
        "collectgarbage('setpause', 1) collectgarbage('setstepmul', 1) local t = {} \
         for i = 1, 100000 do t[i] = tostring(i) end return #t",
        "setmetatable({}, {__gc = function() redis.call('set', 'late', 1) end}) \
         collectgarbage() return 100000",
    ] {
        assert_eq!(ask(&mut bench, client, &["EVAL", script, "0"]), ":100000", "{script}");
        assert_eq!(bench.ask(client, "SCRIPT FLUSH SYNC"), "+OK");
    }
    let answer = ask(&mut bench, client, &["EVAL", "return newproxy(true)", "0"]);
    assert!(answer.starts_with("-ERR") && answer.contains("newproxy"), "{answer}");
    assert_eq!(bench.ask(client, "EXISTS late"), ":0");
}

/// Texts of a script with line breaks in them were second replies, to whoever read on: errors,
/// statuses and numbers are one line; a format tag has the length that is told.
#[test]
fn cve_2025_67733_no_second_reply_in_a_script_s_text() {
    let texts = [
        ("return redis.error_reply('A x\\r\\n+INJECTED')", "-A x  +INJECTED"),
        ("return {err = 'A x\\r\\n:1'}", "-A x  :1"),
        ("return {ok = 'x\\r\\n:1'}", "+x  :1"),
        ("return redis.status_reply('x\\n:1')", "+x :1"),
        ("return {{err = '\\r\\n'}, {ok = '\\r\\n'}}", "*2 -   +"),
        ("return {big_number = '1\\r\\n:1'}", "(1  :1"),
        ("return redis.call('get', 'x', '\\r\\n:1')", "-ERR Wrong number of args"),
        ("error('A\\r\\n:1')", "-ERR user_script:1: A  :1"),
        ("error({err = 'A\\r\\n:1'})", "-A  :1"),
        ("return redis.pcall('nosuch\\r\\n:1')", "-ERR Unknown command called from script"),
    ];
    for (script, expect) in texts {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        bench.ask(client, "HELLO 3");
        send(&mut bench, client, &[b"EVAL", script.as_bytes(), b"0"]);
        let id = bench.id(client);
        let out = &bench.engine.clients.get(id).expect("it is there").out;
        let lines = out.split(|byte| *byte == b'\n').count();
        let parts = if script.contains("{{") { 4 } else { 2 };
        assert_eq!(lines, parts, "{script}: {}", String::from_utf8_lossy(out));
        assert!(bench.out(client).starts_with(expect.trim_end()), "{script}");
        assert_eq!(bench.ask(client, "PING"), "+PONG", "{script}");
    }
    // A connection of RESP2 is sent the same number.
    let (mut bench, script) = (Bench::new(&[]), "return {big_number = '1\\r\\n:1'}");
    let client = bench.client();
    send(&mut bench, client, &[b"EVAL", script.as_bytes(), b"0"]);
    assert_eq!(bench.out(client), "$5 1  :1");
    for format in ["txt", "\\r\\n:", "\\195\\169\\195\\169\\195\\169", "\\255\\254", ""] {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        bench.ask(client, "HELLO 3");
        let script = format!("return {{verbatim_string = {{format = '{format}', string = 'x'}}}}");
        send(&mut bench, client, &[b"EVAL", script.as_bytes(), b"0"]);
        let id = bench.id(client);
        let out = bench.engine.clients.get(id).expect("it is there").out.clone();
        let end = out.iter().position(|byte| *byte == b'\r').expect("a head");
        let length: usize = String::from_utf8_lossy(&out[1..end]).parse().expect("a number");
        assert_eq!(out.len(), end + 2 + length + 2, "{format}");
        assert!(out.starts_with(b"=") && out.ends_with(b"x\r\n"), "{format}");
    }
}

/// What commands say of a client's arguments is one line, too.
#[test]
fn cve_2025_67733_no_second_reply_in_an_error() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    for words in [
        ["NOSUCH\r\n+OK", "x\r\n+OK"].as_slice(),
        &["GET\r\n"],
        &["CONFIG", "SET", "no\r\nsuch", "x"],
        &["CONFIG", "NO\r\nSUCH"],
        &["CLIENT", "KILL", "TYPE", "x\r\n+OK"],
        &["ACL", "SETUSER", "joe", "+no\r\nsuch"],
        &["ACL", "DRYRUN", "no\r\none", "get"],
        &["SCAN", "0", "TYPE", "a\r\nb"],
        &["GEORADIUSBYMEMBER", "g", "no\r\n+OK", "1", "km"],
        &["FUNCTION", "LOAD", "#!lua name=x\rno=y\n"],
        &["EVAL", "return \r\n]", "0"],
    ] {
        bench.ask(client, "GEOADD g 0 0 m");
        send(&mut bench, client, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        let id = bench.id(client);
        let out = &bench.engine.clients.get(id).expect("it is there").out;
        let text = String::from_utf8_lossy(out).into_owned();
        assert!(text.starts_with('-') && text.matches(['\r', '\n']).count() == 2, "{text:?}");
        bench.out(client);
    }
}

/// Counts whose opposite or double does not fit, which ended the process in an assertion.
#[test]
fn cve_2023_22458_and_2023_25155_extreme_counts_of_random_members() {
    let out_of_range = "-ERR value is out of range…";
    for command in ["SRANDMEMBER s", "HRANDFIELD h", "ZRANDMEMBER z"] {
        for count in ["-9223372036854775808", "-9223372036854775809", "9223372036854775808"] {
            let mut bench = Bench::new(&[]);
            let client = bench.client();
            for set in ["SADD s a", "HSET h a 1", "ZADD z 1 a"] {
                bench.ask(client, set);
            }
            let answer = bench.ask(client, &format!("{command} {count}"));
            assert!(answer.starts_with("-ERR value is"), "{command} {count}: {answer}");
        }
    }
    check(
        &[],
        &format!(
            "a: HSET h f v => :1
             a: ZADD z 1 m => :1
             a: SADD s m => :1
             a: HRANDFIELD h -9223372036854775807 WITHVALUES => {out_of_range}
             a: ZRANDMEMBER z -9223372036854775807 WITHSCORES => {out_of_range}
             a: HRANDFIELD h 9223372036854775807 => *1 $1 f
             a: ZRANDMEMBER z 9223372036854775807 => *1 $1 m
             a: SRANDMEMBER s 9223372036854775807 => *1 $1 m
             a: SPOP s 9223372036854775807 => *1 $1 m
             a: LPUSH l x => :1
             a: LPOP l 9223372036854775807 => *1 $1 x
             a: LPOS l x RANK -9223372036854775808 => -ERR…
             a: ZPOPMIN z 9223372036854775807 => *2 $1 m $1 1
             a: EXISTS none => :0"
        ),
    );
}

/// One key twice in a command that asks before it writes.
#[test]
fn cve_2023_28425_msetnx_with_a_key_twice() {
    check(
        &[],
        "a: MSETNX k 1 k 2 => :1
         a: GET k => $1 2
         a: MSETNX k 1 j 2 j 3 => :0
         a: EXISTS j => :0",
    );
}

/// A refused HINCRBYFLOAT left a field without a number, at which the next access ended the process;
/// times at the end of what can be counted did so here.
#[test]
fn cve_2023_28856_numbers_that_are_refused_leave_nothing() {
    check(
        &[],
        "a: HINCRBYFLOAT h f inf => -ERR…
         a: HINCRBYFLOAT h f nan => -ERR value is not a valid float
         a: EXISTS h => :0
         a: HSET h f 1e308 => :1
         a: HGET h f => $5 1e308
         a: ZADD z inf m => :1
         a: ZINCRBY z -inf m => -ERR resulting score is not a number (NaN)
         a: ZSCORE z m => $3 inf
         a: SET k v PXAT 9223372036854775807 => +OK
         a: PEXPIRETIME k => :9223372036854775807
         a: EXPIRETIME k => :9223372036854775
         a: TTL k => :922…
         a: HPEXPIREAT h 9223372036854775807 FIELDS 1 f => *1 :1
         a: HPEXPIRETIME h FIELDS 1 f => *1 :9223372036854775807
         a: HEXPIRETIME h FIELDS 1 f => *1 :9223372036854775
         a: HTTL h FIELDS 1 f => *1 :922…",
    );
}

/// Sizes near the end of what a position can count, in the buffers of requests.
#[test]
fn cve_2023_41056_requests_that_no_position_can_count() {
    let limits = Limits::authenticated(i64::MAX);
    let mut parser = Parser::default();
    for length in ["4294967295", "9223372036854775807"] {
        let request = format!("*1\r\n${length}\r\nx");
        assert!(parser.parse(request.as_bytes(), &limits).is_err(), "{length}");
        parser.reset();
    }
    assert_eq!(parser.parse(b"*1\r\n$4294967000\r\nx", &limits), Ok(Parsed::Incomplete));
}

/// Lengths that a stranger declares, for which room was made before a byte of them had come.
#[test]
fn cve_2021_32675_declared_lengths_take_no_memory() {
    let limits = Limits::authenticated(512 << 20);
    for request in ["*1048576\r\n", "*1048576\r\n$536870912\r\n"] {
        let mut parser = Parser::default();
        assert_eq!(parser.parse(request.as_bytes(), &limits), Ok(Parsed::Incomplete));
        assert_eq!(parser.spans.capacity(), 0, "{request}");
    }
    let mut bench = Bench::new(&[("requirepass", "secret")]);
    for request in ["*1048576\r\n", "*10\r\n$536870912\r\n", "*10\r\n$16384\r\n"] {
        let client = bench.client();
        bench.engine.receive(bench.id(client), request.as_bytes());
        let held = bench.engine.clients.get(bench.id(client)).expect("it is there").memory_bytes();
        assert!(held < 4096, "{request}: {held}");
    }
}

/// Requests of nothing, from a stranger: the server ended in an assertion.
#[test]
fn cve_2026_27623_empty_requests_of_strangers() {
    let mut bench = Bench::new(&[("requirepass", "secret")]);
    for request in ["\r\n", "*0\r\n", "*-1\r\n", "*-9223372036854775808\r\n", "\n\n \n", "''\r\n"] {
        let client = bench.client();
        bench.engine.receive(bench.id(client), request.as_bytes());
        bench.out(client);
        bench.engine.turn_end();
    }
    let client = bench.client();
    bench.engine.receive(bench.id(client), b"*1\r\n$0\r\n\r\n");
    assert_eq!(bench.out(client), "-NOAUTH Authentication required.");
    assert_eq!(bench.ask(client, "AUTH secret"), "+OK");
    bench.engine.receive(bench.id(client), b"*0\r\n\r\n*1\r\n$0\r\n\r\n");
    assert!(bench.out(client).starts_with("-ERR unknown command ''"));
}

/// Bytes that are no request, from strangers in any number, and a packet of the cluster bus, which
/// is not offered: each connection ends with one line, and nobody else notices.
#[test]
fn cve_2025_48367_and_2026_21863_bytes_that_are_no_request() {
    let mut bench = Bench::new(&[("requirepass", "secret")]);
    let known = bench.client();
    assert_eq!(bench.ask(known, "AUTH secret"), "+OK");
    let mut packet = b"RCmb\0\0\x08\xd8\0\x01\x1a\xe9\0\0\0\x01".to_vec();
    packet.extend_from_slice(&[0xff; 4096]);
    let requests: [&[u8]; 6] =
        [b"*1\r\n+x\r\n", b"*99999\r\n", b"\"\r\n", b"*x\r\n", b"$5\r\nhello\r\n", &packet];
    for request in requests.iter().cycle().take(600) {
        let client = bench.client();
        bench.engine.receive(bench.id(client), request);
        if !request.starts_with(b"RCmb") && !request.starts_with(b"$") {
            assert!(bench.out(client).ends_with("gone"), "{}", request.escape_ascii());
        }
        bench.engine.disconnected(bench.id(client));
    }
    assert_eq!(bench.ask(known, "PING"), "+PONG");
    assert_eq!(bench.engine.clients.len(), 1);
}

/// Selectors that are not closed, empty or cut off ended the process.
#[test]
fn cve_2024_31227_malformed_selectors() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    for word in [
        "(",
        ")",
        "()",
        "(()",
        "(~",
        "(~)",
        "(%)",
        "(%R)",
        "(%R~",
        "%",
        "%~",
        "%RW",
        "%R",
        "~",
        "&",
        "+",
        "-",
        "+@",
        "-@",
        "+|",
        "+get|",
        "|",
        "(+@all",
        "(+@all ~*",
        "( )",
        "(db=)",
        "db=",
        "db=,",
        "db=-1",
        "db=99999999999999999999",
        "#",
        "!",
        "<",
        ">",
        "#zz",
        "(reset)",
        "(on)",
        "(%W~*)(",
    ] {
        let words: Vec<&str> =
            ["ACL", "SETUSER", "joe"].into_iter().chain(word.split(' ')).collect();
        let answer = ask(&mut bench, client, &words);
        assert!(answer == "+OK" || answer.starts_with("-ERR"), "{word}: {answer}");
        let text = bench.engine.acl.users.to_text();
        let again = crate::acl::Users::from_text(&text, "text", bench.engine.acl_defaults());
        assert!(again.is_ok(), "{word}: {}", String::from_utf8_lossy(&text));
    }
    assert_eq!(bench.ask(client, "PING"), "+PONG");
}

/// Patterns that recurse once for each of their parts, or try every way to match.
#[test]
fn cve_2024_31228_and_2022_36021_patterns_are_bounded() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let long = "a".repeat(20_000);
    bench.ask(client, &format!("SET {long} v"));
    for pattern in ["*".repeat(1_000_000), "*a".repeat(500) + "b", "[".repeat(100_000)] {
        for command in ["KEYS", "PSUBSCRIBE", "PUBSUB CHANNELS", "FUNCTION LIST LIBRARYNAME"] {
            let other = bench.client();
            bench.ask(other, &format!("{command} {pattern}"));
        }
        assert!(bench.ask(client, &format!("SCAN 0 MATCH {pattern}")).starts_with("*2"));
        bench.ask(client, &format!("ACL SETUSER joe on nopass ~{pattern} +get"));
    }
    assert_eq!(bench.ask(client, "PUBLISH a m"), ":1");
}

/// Connections that are ended in the middle of what they do: by themselves in a transaction, while
/// they wait, are told, watch, monitor, or are served by the very command that follows.
#[test]
fn cve_2026_23479_and_2026_56684_clients_that_are_killed_amid_their_work() {
    for before in [
        "BLPOP l 0",
        "BLMOVE l m LEFT RIGHT 0",
        "XREAD BLOCK 0 STREAMS s $",
        "SUBSCRIBE c",
        "MONITOR",
        "WATCH l",
        "MULTI",
        "CLIENT TRACKING ON BCAST",
        "CLIENT REPLY OFF",
        "CLIENT PAUSE 1000 ALL",
        "CLIENT MAINT_NOTIFICATIONS ON",
    ] {
        let mut bench = Bench::new(&[]);
        let (victim, other) = (bench.client(), bench.client());
        bench.ask(victim, "HELLO 3");
        bench.ask(victim, before);
        let serial = bench.id(victim).serial;
        assert_eq!(bench.ask(other, &format!("CLIENT KILL ID {serial}")), ":1", "{before}");
        bench.ask(other, "CLIENT UNPAUSE");
        for command in ["RPUSH l 1", "XADD s * f v", "PUBLISH c m", "SET l2 v", "CLIENT LIST"] {
            let answer = bench.ask(other, command);
            assert!(!answer.starts_with('-'), "{before}: {answer}");
        }
        bench.engine.disconnected(bench.id(victim));
        bench.engine.disconnected(bench.id(victim));
        assert_eq!(bench.out(victim), "gone");
        assert_eq!(bench.ask(other, "LLEN l"), ":1", "{before}: the element went with nobody");
    }
    let mut bench = Bench::new(&[]);
    let (client, other) = (bench.client(), bench.client());
    let serial = bench.id(client).serial;
    bench.ask(client, "MULTI");
    bench.ask(client, "SET k v");
    bench.ask(client, &format!("CLIENT KILL ID {serial} SKIPME no"));
    bench.ask(client, "RPUSH l 1");
    assert!(bench.ask(client, "EXEC").ends_with("gone"));
    assert_eq!(bench.ask(other, "GET k"), "$1 v");
}
