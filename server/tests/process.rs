//! The binary over TCP: replies as text, bad input, limits, pauses, probes and the end.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{BINARY, Conn, Server};

/// Sends the commands one by one, given in inline form, and compares the printed replies.
fn check(server: &Server, script: &[(&str, &str)]) {
    let mut conn = server.connect();
    for (command, expect) in script {
        assert_eq!(conn.ask(command), *expect, "{command}");
    }
}

#[test]
fn strings_keys_and_their_errors() {
    let server = Server::start(&[]);
    check(
        &server,
        &[
            ("SET a 1", "OK"),
            ("INCR a", "2"),
            ("GET a", "\"2\""),
            ("GET nope", "nil"),
            ("SET a x NX GET", "\"2\""),
            ("SET a 5 EX 100", "OK"),
            ("TTL a", "100"),
            ("SET a 6 KEEPTTL", "OK"),
            ("TTL a", "100"),
            ("GETEX a PERSIST", "\"6\""),
            ("TTL a", "-1"),
            ("EXPIRE a -1", "1"),
            ("EXISTS a", "0"),
            ("MSETNX b 1 c 2", "1"),
            ("MSETNX c 1 d 2", "0"),
            ("MGET b c d", "[\"1\", \"2\", nil]"),
            ("INCRBYFLOAT b 0.5", "\"1.5\""),
            ("INCR b", "-ERR value is not an integer or out of range"),
            ("RENAME b e", "OK"),
            ("RENAME b e", "-ERR no such key"),
            ("LPUSH l x", "1"),
            ("GET l", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("NOPE a", "-ERR unknown command 'NOPE', with args beginning with: 'a' "),
            ("CONFIG NOPE", "-ERR unknown subcommand 'NOPE'. Try CONFIG HELP."),
            ("SELECT 1", "OK"),
            ("DBSIZE", "0"),
        ],
    );
}

#[test]
fn transactions_and_watch() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut conn = server.connect();
    assert_eq!(conn.ask("WATCH k"), "OK");
    assert_eq!(other.ask("SET k 1"), "OK");
    assert_eq!(conn.ask("MULTI"), "OK");
    assert_eq!(conn.ask("INCR k"), "QUEUED");
    assert_eq!(conn.ask("EXEC"), "nil");
    assert_eq!(conn.ask("MULTI"), "OK");
    assert_eq!(conn.ask("INCR k"), "QUEUED");
    assert_eq!(conn.ask("LPUSH k x"), "QUEUED");
    assert!(conn.ask("EXEC").starts_with("[2, -WRONGTYPE"), "the error is one of the replies");
}

#[test]
fn a_blocked_command_is_served_and_what_follows_it_waits() {
    let server = Server::start(&[]);
    let mut waiter = server.connect();
    waiter.send(b"BLPOP q 0\r\nPING\r\n");
    let mut other = server.connect();
    other.wait_for("CLIENT LIST", |list| list.contains("cmd=blpop"));
    assert_eq!(other.ask("RPUSH q v w"), "2");
    assert_eq!(waiter.read(), "[\"q\", \"v\"]");
    assert_eq!(waiter.read(), "PONG");
    assert_eq!(waiter.ask("BLPOP none 0.01"), "nil");
}

#[test]
fn a_deep_pipeline_in_small_pieces_keeps_its_order() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let mut bytes = Vec::new();
    for number in 0..20_000 {
        let text = number.to_string();
        let header = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", text.len());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let mut writer = conn.writer();
    let sender = std::thread::spawn(move || {
        for piece in bytes.chunks(7_919) {
            writer.write_all(piece).unwrap();
        }
    });
    for number in 0..20_000 {
        assert_eq!(conn.read(), format!("\"{number}\""));
    }
    sender.join().unwrap();
}

/// Values larger than every buffer, both ways, and a reply that is larger than a socket takes.
#[test]
fn large_values() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let value = vec![b'v'; 20_000_000];
    conn.send(format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", value.len()).as_bytes());
    conn.send(&value);
    conn.send(b"\r\n");
    assert_eq!(conn.read(), "OK");
    conn.send(b"STRLEN big\r\nGET big\r\nGET big\r\nPING\r\n");
    assert_eq!(conn.read(), "20000000");
    assert_eq!(conn.read().len(), value.len() + 2);
    assert_eq!(conn.read().len(), value.len() + 2);
    assert_eq!(conn.read(), "PONG");
}

#[test]
fn malformed_requests_are_answered_and_end_the_connection() {
    let server = Server::start(&[]);
    let check = |bytes: &[u8], expect: &str| {
        let mut conn = server.connect();
        conn.send(bytes);
        assert_eq!(conn.read(), expect);
        assert_eq!(conn.read(), "end");
    };
    check(b"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length");
    check(b"*x\r\n", "-ERR Protocol error: invalid multibulk length");
    check(b"*1\r\n+PING\r\n", "-ERR Protocol error: expected '$', got '+'");
    check(b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request");
    // What came before is answered first, and an empty request is no command at all.
    let mut conn = server.connect();
    conn.send(b"\r\n*0\r\nPING\r\n*1\r\n$x\r\n");
    assert_eq!(conn.read(), "PONG");
    assert_eq!(conn.read(), "-ERR Protocol error: invalid bulk length");
    assert_eq!(conn.read(), "end");
    assert_eq!(server.connect().ask("PING"), "PONG");
}

#[test]
fn passwords_and_the_limits_before_them() {
    let server = Server::start(&["--requirepass", "secret"]);
    check(
        &server,
        &[
            ("GET a", "-NOAUTH Authentication required."),
            ("NOPE", "-NOAUTH Authentication required."),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH default secret", "OK"),
            ("GET a", "nil"),
        ],
    );
    let mut conn = server.connect();
    conn.send(b"*11\r\n");
    assert_eq!(conn.read(), "-ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(conn.read(), "end");
    let mut conn = server.connect();
    conn.send(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n");
    assert_eq!(conn.read(), "-ERR Protocol error: unauthenticated bulk length");
    assert_eq!(conn.read(), "end");
}

/// A reader that never reads must not make the server hold its replies without bound.
#[test]
fn a_client_that_does_not_read_is_ended_at_the_bound() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut conn = server.connect();
    conn.send(format!("SETRANGE big {} x\r\n", 8_000_000).as_bytes());
    assert_eq!(conn.read(), "8000001");
    let mut deaf = server.connect();
    deaf.send(b"GET big\r\nGET big\r\n");
    conn.wait_for("INFO stats", |info| {
        info.contains("client_output_buffer_limit_disconnections:1")
    });
    assert_eq!(conn.ask("PING"), "PONG");
}

#[test]
fn held_writes_run_in_order_of_arrival_when_the_pause_ends() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    assert_eq!(admin.ask("CLIENT PAUSE 60000 WRITE"), "OK");
    let mut writers: Vec<Conn> = (0..8).map(|_| server.connect()).collect();
    for (index, writer) in writers.iter_mut().enumerate() {
        writer.send(format!("RPUSH order {index}\r\nPING\r\n").as_bytes());
        admin.wait_for("INFO clients", |info| {
            info.contains(&format!("paused_clients:{}\r\n", index + 1))
        });
    }
    assert_eq!(admin.ask("GET reads-go-on"), "nil");
    assert_eq!(admin.ask("CLIENT UNPAUSE"), "OK");
    for (index, writer) in writers.iter_mut().enumerate() {
        assert_eq!(writer.read(), (index + 1).to_string());
        assert_eq!(writer.read(), "PONG");
    }
    assert_eq!(
        admin.ask("LRANGE order 0 -1"),
        "[\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\"]"
    );
}

#[test]
fn expired_keys_vanish_without_being_read() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    for number in 0..500 {
        assert_eq!(conn.ask(&format!("SET key:{number} v PX 20")), "OK");
    }
    conn.wait_for("DBSIZE", |size| size == "0");
}

#[test]
fn directives_are_read_changed_and_written_back() {
    let dir = support::temp_dir();
    let file = dir.join("redis.conf");
    std::fs::write(&file, "# kept\ntimeout 0\nhash-max-listpack-entries 10\n").unwrap();
    let server = Server::start_with_file(&file, &[]);
    check(
        &server,
        &[
            ("CONFIG GET hash-max-listpack-entries", "[\"hash-max-listpack-entries\", \"10\"]"),
            ("CONFIG SET hash-max-listpack-entries 11 timeout 5", "OK"),
            (
                "CONFIG SET timeout x",
                "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument \
                 couldn't be parsed into an integer",
            ),
            ("CONFIG REWRITE", "OK"),
        ],
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("# kept\ntimeout 5\nhash-max-listpack-entries 11\n"),
        "rewritten: {text}"
    );
    drop(server);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_start_that_cannot_succeed_says_why_in_one_line() {
    let server = Server::start(&[]);
    let port = server.port.to_string();
    let check = |args: &[&str], expect: &str| {
        let output = Command::new(BINARY).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        assert!(text.contains(expect), "{args:?}: {text}");
    };
    check(&["--bind", "127.0.0.1", "--port", &port], "the address is already in use");
    check(&["--no-such-directive", "1"], "unknown directive 'no-such-directive'");
    check(&["--port", "abc"], "bad value for 'port'");
    check(&["/no/such/file.conf"], "cannot read /no/such/file.conf");
    check(&["--port", "0", "--dir", "/no/such/dir"], "/no/such/dir");
    check(&["--port", "0", "--dir", "/proc"], "/proc");
}

#[test]
fn probes_answer() {
    let port = support::free_port().to_string();
    let server = Server::start(&["--health-port", &port]);
    let fetch = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(fetch("/livez").starts_with("HTTP/1.1 200"));
    let end = Instant::now() + Duration::from_secs(10);
    while !fetch("/readyz").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < end, "never ready: {}", fetch("/readyz"));
    }
    assert!(fetch("/metrics").contains("redisha_connected_clients "));
    drop(server);
}

#[test]
fn a_signal_ends_the_server_cleanly() {
    let mut server = Server::start(&[]);
    let mut conn = server.connect();
    assert_eq!(conn.ask("PING"), "PONG");
    assert_eq!(server.terminate(), Some(0));
}
