//! Other nodes that do not keep to what nodes say: a new primary that answers relayed clients, a
//! primary, a file.

use super::{Bench, ask};
use crate::config::{Config, Value};
use crate::engine::effects::{Effect, LinkEvent};
use crate::persistence::load::{DataLoader, Template};

/// A database that there is none of was believed, and the next command ended the process.
#[test]
fn a_relayed_client_stays_within_the_databases() {
    let args: &[&[u8]] = &[b"user", b"default", b"db", b"99999"];
    let session: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
    let session = crate::relay::session::encode(&session);
    let moved = [format!("={}\r\n", session.len()).into_bytes(), session, b"\r\n".to_vec()];
    for said in [b"+2 99999 0 0\r\n".to_vec(), moved.concat()] {
        let mut bench = Bench::new(&[]);
        let (admin, client) = (bench.client(), bench.client());
        bench.ask(admin, "CLIENT FORCE REDIRECT 127.0.0.1 1");
        bench.engine.effects.clear();
        assert_eq!(bench.ask(client, "GET k"), "");
        let link = bench.engine.effects.iter().find_map(|effect| match effect {
            Effect::Connect { link, .. } => Some(*link),
            _ => None,
        });
        let link = link.expect("a link to the other node");
        bench.engine.link_event(link, LinkEvent::Connected);
        bench.engine.link_event(link, LinkEvent::Data(b"+OK\r\n"));
        bench.engine.link_event(link, LinkEvent::Data(&said));
        bench.engine.turn_end();
        assert_eq!(bench.out(client), "gone");
        assert_eq!(bench.ask(admin, "CLIENT FORCE REDIRECT OFF"), "+OK");
        let other = bench.client();
        assert_eq!(bench.ask(other, "GET k"), "$-1");
    }
}

/// A file that names a database for the stream which is none, or an offset that cannot be counted
/// on from, ended the process at the first command that followed.
#[test]
fn facts_of_a_file_are_believed_within_bounds() {
    let load = |facts: &[(&str, &str)]| {
        let mut bytes = b"REDIS0011".to_vec();
        for (name, value) in facts {
            bytes.push(0xfa);
            for text in [name, value] {
                bytes.push(text.len() as u8);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        bytes.push(0xff);
        bytes.extend_from_slice(&[0; 8]);
        let mut loader = DataLoader::new(Template::default());
        assert!(loader.feed(&bytes).expect("a sound file"));
        let data = loader.finish();
        (data.stream_db, data.repl_offset)
    };
    let check = |db, offset, expect| {
        let facts = [("repl-stream-db", db), ("repl-offset", offset)];
        assert_eq!(load(&facts), expect, "{db} {offset}");
    };
    check("3", "7", (3, Some(7)));
    check("16", "9223372036854775807", (0, Some(i64::MAX as u64)));
    check("99999", "9223372036854775808", (0, None));
    check("-1", "18446744073709551615", (0, None));
}

/// CONFIG SET went to the new folder and then failed with the files of TLS: every file was written
/// elsewhere from then on, though the answer was an error.
#[test]
fn a_refused_change_leaves_the_folder() {
    let mut bench = Bench::new(&[("enable-protected-configs", "yes")]);
    let client = bench.client();
    let before = std::env::current_dir().expect("a folder");
    let answer = bench.ask(client, "CONFIG SET dir / tls-replication yes");
    assert!(answer.contains("Unable to update TLS configuration"), "{answer}");
    assert_eq!(std::env::current_dir().expect("a folder"), before);
    assert_eq!(bench.ask(client, "CONFIG GET tls-replication"), "*2 $15 tls-replication $2 no");
}

/// A count that wrapped would be taken for a number: the process ends instead, in release builds too.
#[test]
fn counts_that_overflow_end_the_process() {
    let most = std::hint::black_box(u32::MAX);
    let sum = std::panic::catch_unwind(|| most + std::hint::black_box(1));
    assert!(sum.is_err(), "it is {sum:?}");
}

/// What is dangerous is off until a directive of the start allows it, and what bounds clients is on.
#[test]
fn defaults_are_on_the_safe_side() {
    let config = Config::default();
    let limits = config.client_output_buffer_limit;
    for limit in [limits.normal, limits.replica, limits.pubsub] {
        assert!(limit.hard_bytes > 0, "every class has a bound");
    }
    let unread = limits.print();
    let expect = "slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    assert!(unread.ends_with(expect), "{unread}");
    assert_eq!(config.get("tls-auth-clients").as_deref(), Some("yes"));
    assert!(config.maxmemory_clients.of(1 << 30) > 0);
    assert!(config.client_query_buffer_limit.0 <= 1 << 30);
    assert!(config.proto_max_bulk_len.0 <= 512 << 20);
    assert!(config.protected_mode && config.lua_memory_limit.0 > 0);
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    for (command, refused) in [
        ("DEBUG SLEEP 0", "-ERR DEBUG command not allowed"),
        ("MODULE LOAD x", "-ERR MODULE command not allowed"),
        ("CONFIG SET dir /", "-ERR CONFIG SET failed (possibly related to argument 'dir')"),
        ("CONFIG SET dbfilename x", "-ERR CONFIG SET failed"),
        ("CONFIG SET enable-debug-command yes", "-ERR CONFIG SET failed"),
        ("CONFIG SET enable-protected-configs yes", "-ERR CONFIG SET failed"),
        ("CONFIG SET unixsocket /x", "-ERR CONFIG SET failed"),
        ("CONFIG SET lua-enable-insecure-api yes", "-ERR CONFIG SET failed"),
    ] {
        let answer = bench.ask(client, command);
        assert!(answer.starts_with(refused), "{command}: {answer}");
    }
    assert!(!ask(&mut bench, client, &["EVAL", "return os.execute and 1", "0"]).contains(":1"));
    bench.ask(client, "ACL SETUSER joe on >password");
    let user = bench.ask(client, "ACL GETUSER joe");
    let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    assert!(user.contains(hash) && !user.contains("password "), "{user}");
}
