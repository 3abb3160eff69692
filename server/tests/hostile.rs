//! Hostile clients of the binary, over its sockets: what only the event loop sees.
#![allow(clippy::unwrap_used)] // what only tests call

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use support::{BINARY, Conn, Server};

fn stranger(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Writes until the peer has ended the connection, or so many bytes were taken.
fn flood(stream: &mut TcpStream, request: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let batch = request.repeat(64 * 1024 / request.len() + 1);
    let mut taken = 0;
    while taken < most {
        match stream.write(&batch) {
            Ok(count) => taken += count,
            Err(_) => break,
        }
    }
    taken
}

fn used_memory(conn: &mut Conn) -> u64 {
    let info = conn.ask("INFO memory");
    let at = info.find("used_memory:").unwrap() + "used_memory:".len();
    info[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Strangers that never read made the server keep what it answered them, without a bound.
#[test]
fn cve_2025_21605_strangers_that_do_not_read_are_ended() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut known = server.connect();
    assert_eq!(known.ask("AUTH secret"), "OK");
    let before = used_memory(&mut known);
    let mut strangers: Vec<TcpStream> = (0..8).map(|_| stranger(&server)).collect();
    for stream in &mut strangers {
        flood(stream, b"*1\r\n$4\r\nPING\r\n", 64 << 20);
    }
    known.wait_for("INFO stats", |info| {
        info.contains("client_output_buffer_limit_disconnections:8")
    });
    let after = used_memory(&mut known);
    assert!(after < before + (8 << 20), "{before} {after}");
}

/// A connection that is not sent away at once.
fn taken_in(server: &Server) -> Option<TcpStream> {
    let mut stream = stranger(server);
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = String::new();
    // Who is taken in hears nothing until then.
    let _ = stream.read_to_string(&mut answer);
    let refused = answer.starts_with("-ERR max number of clients reached");
    assert!(refused || answer.is_empty(), "{answer}");
    (!refused).then_some(stream)
}

/// Connections that do not say who they are take at most half of the places.
#[test]
fn strangers_leave_half_of_the_places_to_others() {
    let server = Server::start(&["--requirepass", "secret", "--maxclients", "20"]);
    let mut known = server.connect();
    assert_eq!(known.ask("AUTH secret"), "OK");
    let mut strangers: Vec<Conn> = (0..9).map(|_| server.connect()).collect();
    for conn in &mut strangers {
        assert_eq!(conn.ask("GET a"), "-NOAUTH Authentication required.");
    }
    // The one that is known now may still be counted among them.
    let more: Vec<Option<TcpStream>> = (0..3).map(|_| taken_in(&server)).collect();
    assert!(more[2].is_none(), "half of 20 places were taken by strangers");
    drop(more);
    drop(strangers);
    // They are counted ten times a second.
    let end = Instant::now() + Duration::from_secs(20);
    while taken_in(&server).is_none() {
        assert!(Instant::now() < end, "the places of strangers that left are not given again");
    }
}

/// When the process has no more files the connections that are there go on, and new ones are taken
/// again as soon as there are.
#[test]
fn the_accept_loop_goes_on_when_files_ran_out() {
    let server = Server::start_through(&["sh", "-c", "ulimit -n 40; exec \"$0\" \"$@\"", BINARY]);
    let mut known = server.connect();
    assert_eq!(known.ask("PING"), "PONG");
    let many: Vec<TcpStream> = (0..100).map(|_| stranger(&server)).collect();
    for _ in 0..50 {
        assert_eq!(known.ask("PING"), "PONG");
    }
    drop(many);
    assert_eq!(server.connect().ask("PING"), "PONG");
    assert_eq!(known.ask("PING"), "PONG");
}

/// Bytes that are no request, from many at once: others are served between them.
#[test]
fn cve_2025_48367_connections_that_only_err_starve_nobody() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut known = server.connect();
    assert_eq!(known.ask("AUTH secret"), "OK");
    for round in 0..300 {
        let mut stream = stranger(&server);
        stream.write_all(b"*1\r\n+\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("-ERR Protocol error"), "{round}: {answer}");
        if round % 10 == 0 {
            assert_eq!(known.ask("PING"), "PONG");
        }
    }
}

/// The socket was there with everybody's rights until these were changed; it cannot be connected to
/// before it has its own.
#[test]
fn cve_2023_45145_a_unix_socket_has_its_rights_before_it_listens() {
    let dir = support::temp_dir();
    let path = dir.join("socket");
    let socket = path.to_str().unwrap().to_owned();
    let server = Server::start(&["--unixsocket", &socket, "--unixsocketperm", "600"]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    drop(server);
    std::fs::remove_dir_all(dir).unwrap();
}

/// The limit of what may wait to be read was looked at after the socket had taken what it could: an
/// answer beyond it was delivered, and with no further traffic a slow reader stayed for ever.
#[test]
fn limits_of_unread_output_hold_within_an_answer_and_without_traffic() {
    let limits = "normal 1mb 0 0 pubsub 0 100kb 1";
    let server = Server::start(&["--client-output-buffer-limit", limits]);
    let mut known = server.connect();
    known.ask(&format!("SETRANGE big {} x", 1 << 20));
    let mut greedy = stranger(&server);
    greedy.write_all(b"GET big\r\n").unwrap();
    let mut answer = Vec::new();
    // Its end may come as a reset.
    let _ = greedy.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{} bytes", answer.len());
    let mut slow = stranger(&server);
    slow.write_all(b"SUBSCRIBE c\r\n").unwrap();
    known.wait_for("PUBSUB NUMSUB c", |told| told.ends_with("1]"));
    // More than sockets hold.
    let script = "local s = string.rep('x', 1048576) \
                  for i = 1, 32 do redis.call('publish', 'c', s) end";
    known.ask(&format!("EVAL \"{script}\" 0"));
    known.wait_for("INFO stats", |info| {
        info.contains("client_output_buffer_limit_disconnections:2")
    });
}
