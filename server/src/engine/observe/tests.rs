use crate::engine::testing::Bench;

#[test]
fn monitors_see_commands_but_no_secrets() {
    let mut bench = Bench::new(&[]);
    let (watcher, client) = (bench.client(), bench.client());
    assert_eq!(bench.ask(watcher, "MONITOR"), "+OK");
    bench.ask(client, "SELECT 3");
    bench.ask(client, "SET k \u{1}\"");
    bench.ask(client, "AUTH joe secret");
    bench.ask(client, "HELLO 3 AUTH joe secret SETNAME n");
    bench.ask(client, "CONFIG GET maxmemory");
    bench.ask(client, "MULTI");
    bench.ask(client, "GET k");
    bench.ask(client, "EXEC");
    let seen = bench.out(watcher);
    let seen: Vec<&str> = seen.split(" +").map(|line| line.split_once('[').unwrap().1).collect();
    assert_eq!(
        seen,
        [
            "3 127.0.0.1:40001] \"SELECT\" \"3\"",
            "3 127.0.0.1:40001] \"SET\" \"k\" \"\\x01\\\"\"",
            "3 127.0.0.1:40001] \"AUTH\" \"(redacted)\" \"(redacted)\"",
            "3 127.0.0.1:40001] \"HELLO\" \"3\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"",
            "3 127.0.0.1:40001] \"MULTI\"",
            "3 127.0.0.1:40001] \"GET\" \"k\"",
            "3 127.0.0.1:40001] \"EXEC\"",
        ]
    );
    assert!(
        bench.ask(watcher, "GET k").starts_with("-ERR Replica can't interact with the keyspace")
    );
    assert_eq!(bench.ask(watcher, "RESET"), "+RESET");
    bench.ask(client, "GET k");
    assert_eq!(bench.out(watcher), "");
}

/// A script stood behind the commands that it called, and a command that had waited stood twice.
#[test]
fn scripts_stand_first_and_waiting_commands_once() {
    let mut bench = Bench::new(&[]);
    let (watcher, client, other) = (bench.client(), bench.client(), bench.client());
    bench.ask(watcher, "MONITOR");
    bench.ask(client, "EVAL redis.call('set','k','v') 0");
    bench.ask(client, "BLPOP l 0");
    bench.ask(other, "RPUSH l 1");
    let seen = bench.out(watcher);
    let seen: Vec<&str> = seen.split(" +").map(|line| line.split_once('[').unwrap().1).collect();
    assert_eq!(
        seen,
        [
            "0 127.0.0.1:40001] \"EVAL\" \"redis.call('set','k','v')\" \"0\"",
            "0 lua] \"set\" \"k\" \"v\"",
            "0 127.0.0.1:40001] \"BLPOP\" \"l\" \"0\"",
            "0 127.0.0.1:40002] \"RPUSH\" \"l\" \"1\"",
        ]
    );
}

#[test]
fn logs_keep_what_is_over_their_bounds() {
    let mut bench = Bench::new(&[
        ("commandlog-execution-slower-than", "0"),
        ("commandlog-slow-execution-max-len", "2"),
        ("commandlog-request-larger-than", "200"),
        ("commandlog-reply-larger-than", "150"),
    ]);
    let client = bench.client();
    bench.ask(client, "CLIENT SETNAME n");
    bench.ask(client, "PING");
    let large = "v".repeat(200);
    bench.ask(client, &format!("SET k {large}"));
    bench.ask(client, "GET k");
    assert_eq!(bench.ask(client, "SLOWLOG LEN"), ":2");
    assert_eq!(bench.ask(client, "COMMANDLOG LEN large-request"), ":1");
    assert_eq!(bench.ask(client, "COMMANDLOG LEN large-reply"), ":1");
    let shown = bench.ask(client, "COMMANDLOG GET -1 large-request");
    let start = "*1 *6 :0 :1700000000 :228 *3 $3 SET $1 k $147 vvv";
    assert!(shown.starts_with(start), "{shown}");
    assert!(shown.ends_with("... (72 more bytes) $15 127.0.0.1:40000 $1 n"), "{shown}");
    bench.ask(client, "ACL SETUSER joe >secret");
    let shown = bench.ask(client, "SLOWLOG GET 1");
    assert!(shown.contains("*4 $3 ACL $7 SETUSER $10 (redacted) $10 (redacted)"), "{shown}");
    assert_eq!(bench.ask(client, "COMMANDLOG RESET slow"), "+OK");
    assert!(bench.ask(client, "COMMANDLOG LEN x").starts_with("-ERR type should be one of"));
    bench.ask(client, "CONFIG SET commandlog-execution-slower-than -1");
    bench.ask(client, "SLOWLOG RESET");
    assert_eq!(bench.ask(client, "SLOWLOG LEN"), ":0");
}

/// The password of a client's key, and the name that a replica authenticates by, stood in the log.
#[test]
fn secret_directives_are_not_logged() {
    let secrets = [
        "requirepass",
        "primaryuser",
        "primaryauth",
        "masteruser",
        "masterauth",
        "tls-key-file-pass",
        "tls-client-key-file-pass",
    ];
    let mut bench = Bench::new(&[("commandlog-execution-slower-than", "0")]);
    let client = bench.client();
    for name in secrets {
        bench.ask(client, &format!("CONFIG SET {name} secret maxclients 100"));
        let log = bench.ask(client, "COMMANDLOG GET 1 slow");
        assert!(log.contains(&format!("{name} $10 (redacted) $10 maxclients $3 100")), "{log}");
    }
}
