//! Replication's finer promises, with a primary or a replica that the test plays itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::impostor::Impostor;
use tests::resp::{Value, ok};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);
const ID: &str = "0123456789abcdef0123456789abcdef01234567";

fn encode(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        out.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
        }
    }
    out
}

/// A primary as a replica sees it: the test says every byte.
struct Primary {
    listener: TcpListener,
}

/// What a replica sends to it, command by command.
struct Link {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Primary {
    fn new() -> Result<Self> {
        Ok(Self { listener: TcpListener::bind(("127.0.0.1", 0))? })
    }

    fn address(&self) -> Result<String> {
        Ok(format!("127.0.0.1 {}", self.listener.local_addr()?.port()))
    }

    /// Takes the next connection through the handshake; answers the words of its PSYNC.
    fn accept(&self) -> Result<(Link, Vec<String>)> {
        let (stream, _) = self.listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut link = Link { stream, unread: Vec::new() };
        loop {
            let words = link.command()?;
            match words[0].as_str() {
                "PSYNC" => return Ok((link, words)),
                "PING" => link.say(b"+PONG\r\n")?,
                _ => link.say(b"+OK\r\n")?,
            }
        }
    }
}

impl Link {
    fn say(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    fn command(&mut self) -> Result<Vec<String>> {
        loop {
            if let Some((words, used)) = parse(&self.unread) {
                self.unread.drain(..used);
                return Ok(words);
            }
            let mut chunk = [0; 4096];
            let n = self.stream.read(&mut chunk)?;
            ensure!(n > 0, "the replica ended the connection");
            self.unread.extend_from_slice(&chunk[..n]);
        }
    }

    /// Waits for the acknowledgement of exactly this offset.
    fn acknowledged(&mut self, offset: usize) -> Result<()> {
        let mut last = String::new();
        for _ in 0..100 {
            let words = self.command()?;
            if words[..2] == ["REPLCONF", "ACK"] {
                if words[2] == offset.to_string() {
                    return Ok(());
                }
                last.clone_from(&words[2]);
            }
        }
        bail!("{last} was acknowledged, not {offset}")
    }
}

fn parse(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split_inclusive("\r\n");
    let mut used = 0;
    let mut line = || {
        let line = lines.next().filter(|line| line.ends_with("\r\n"))?;
        used += line.len();
        Some(line.trim_end())
    };
    let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        line()?;
        words.push(line()?.to_owned());
    }
    Some((words, used))
}

/// An RDB file that holds nothing; the checksum is left out, as the format allows.
fn empty_rdb() -> Vec<u8> {
    [b"REDIS0011\xff".as_slice(), &[0; 8]].concat()
}

fn snapshot(offset: usize, rdb: &[u8]) -> Vec<u8> {
    let head = format!("+FULLRESYNC {ID} {offset}\r\n${}\r\n", rdb.len());
    [head.as_bytes(), rdb].concat()
}

/// How far a full resync was, and what came from a primary or went to a replica, was told by nothing but
/// zeros.
#[test]
fn info_tells_how_far_a_full_resync_is() -> Result<()> {
    const FIRST: usize = 12;
    let primary = Primary::new()?;
    let replica = Server::start("far", &["--replicaof", &primary.address()?])?;
    let (mut link, _) = primary.accept()?;
    let rdb = b"REDIS0011\xfe\x00\x00\x03new\x012\xff\0\0\0\0\0\0\0\0";
    let whole = snapshot(7, rdb);
    let (first, rest) = whole.split_at(whole.len() - rdb.len() + FIRST);
    link.say(first)?;
    wait::until("the replica has read a part", PATIENCE, || {
        let syncs = replica.info("master_sync_in_progress")? == "1";
        Ok((syncs && replica.info("master_sync_read_bytes")? == FIRST.to_string()).then_some(()))
    })?;
    ensure!(replica.info("master_sync_total_bytes")? == rdb.len().to_string());
    ensure!(replica.info("master_sync_left_bytes")? == (rdb.len() - FIRST).to_string());
    ensure!(replica.info("total_net_repl_output_bytes")? == "0");
    link.say(rest)?;
    link.acknowledged(7)?;
    ensure!(replica.info("rdb_last_load_keys_loaded")? == "1");
    let came: usize = replica.info("total_net_repl_input_bytes")?.parse()?;
    ensure!(came >= whole.len(), "{came} of {}", whole.len());

    let behind = Server::start("behind", &["--replicaof", &format!("127.0.0.1 {}", replica.port)])?;
    wait::until("the replica's replica is in sync", PATIENCE, || {
        Ok((behind.info("master_link_status")? == "up").then_some(()))
    })?;
    let went: usize = replica.info("total_net_repl_output_bytes")?.parse()?;
    ensure!(went > rdb.len(), "{went}");
    Ok(())
}

/// A set that was popped as a whole went as DEL, so that a replica freed it by the command, however
/// lazily its primary had.
#[test]
fn a_set_that_is_popped_as_a_whole_goes_as_lazily_as_its_primary_says() -> Result<()> {
    let primary = Server::start("pops", &[])?;
    let replica =
        Server::start("popped", &["--replicaof", &format!("127.0.0.1 {}", primary.port)])?;
    let mut client = primary.client()?;
    for (lazy, name) in [("no", "del"), ("yes", "unlink")] {
        ok(&mut client, &format!("CONFIG SET lazyfree-lazy-server-del {lazy}"))?;
        ok(&mut client, "SADD s a b c")?;
        wait::until("the set is there", PATIENCE, || {
            Ok((replica.is_level_with(&primary)?).then_some(()))
        })?;
        ok(&mut client, "SPOP s 3")?;
        wait::until("the set is gone", PATIENCE, || {
            Ok((replica.client()?.say("EXISTS s")? == Value::Int(0)).then_some(()))
        })?;
        let stats = replica.info(&format!("cmdstat_{name}"))?;
        ensure!(stats.starts_with("calls=1,"), "{lazy}: {name} {stats}");
    }
    Ok(())
}

/// Half of a transaction has not happened: its bytes are not acknowledged, not asked to be continued
/// from, and its commands have no effect.
#[test]
fn a_cut_transaction_does_not_count() -> Result<()> {
    let primary = Primary::new()?;
    let replica = Server::start("cut", &["--replicaof", &primary.address()?])?;
    let (mut link, asked) = primary.accept()?;
    ensure!(asked == ["PSYNC", "?", "-1"], "{asked:?}");
    let begin = encode(&["SELECT 0", "SET whole 1"]);
    let half = encode(&["MULTI", "SET half 1", "INCR counter"]);
    link.say(&snapshot(1000, &empty_rdb()))?;
    link.acknowledged(1000)?;
    link.say(&[begin.clone(), half.clone(), encode(&["REPLCONF GETACK *"])].concat())?;
    // GETACK inside the transaction waits with it; an acknowledgement comes each second.
    link.acknowledged(1000 + begin.len())?;
    let mut client = replica.client()?;
    ensure!(client.say("GET whole")? == Value::Text("1".into()));
    ensure!(client.say("GET half")? == Value::Nil);
    drop(link);

    let (mut link, asked) = primary.accept()?;
    let next = (1000 + begin.len() + 1).to_string();
    ensure!(asked == ["PSYNC", ID, &next], "{asked:?}");
    let rest = [half, encode(&["EXEC", "REPLCONF GETACK *"])].concat();
    link.say(&[format!("+CONTINUE {ID}\r\n").as_bytes(), &rest].concat())?;
    link.acknowledged(1000 + begin.len() + rest.len())?;
    ensure!(client.say("GET half")? == Value::Text("1".into()));
    ensure!(client.say("GET counter")? == Value::Text("1".into()));
    Ok(())
}

/// Until a full resync is complete the old data stay, are served, and outlive its failure.
#[test]
fn old_data_stay_until_the_new_are_complete() -> Result<()> {
    let replica = Server::start("aside", &[])?;
    let mut client = replica.client()?;
    ok(&mut client, "SET old 1")?;
    let primary = Primary::new()?;
    ok(&mut client, &format!("REPLICAOF {}", primary.address()?))?;
    let mut rdb = b"REDIS0011\xfe\x00\x00\x03new\x012".to_vec();
    rdb.extend([0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    let whole = snapshot(7, &rdb);
    for cut in [whole.len() - 1, whole.len() - 12] {
        let (mut link, _) = primary.accept()?;
        link.say(&whole[..cut])?;
        wait::until("the replica receives", PATIENCE, || {
            Ok((replica.info("master_sync_in_progress")? == "1").then_some(()))
        })?;
        ensure!(client.say("GET old")? == Value::Text("1".into()), "gone while receiving");
        ensure!(client.say("GET new")? == Value::Nil, "there too early");
    }
    // What is no data of ours is refused and harms nothing either.
    let (mut link, _) = primary.accept()?;
    link.say(&snapshot(7, b"REDIS0011\xfe\x00\x07\x01s"))?;
    let (mut link, _) = primary.accept()?;
    ensure!(replica.info("master_link_last_error")?.contains("a module"));
    ensure!(client.say("GET old")? == Value::Text("1".into()), "gone after a failure");
    link.say(&whole)?;
    link.acknowledged(7)?;
    ensure!(
        client.say("GET old")? == Value::Nil && client.say("GET new")? == Value::Text("2".into())
    );
    Ok(())
}

/// Asks a server for its stream as a replica without any ability would: the length comes first, then
/// exactly so many bytes, then the stream.
#[test]
fn an_old_replica_gets_a_length_and_then_the_stream() -> Result<()> {
    let server = Server::start("length", &[])?;
    let mut client = server.client()?;
    for i in 0..3000 {
        ok(&mut client, &format!("SET key:{i} {}", "v".repeat(100)))?;
    }
    let mut link = TcpStream::connect(("127.0.0.1", server.port))?;
    link.set_read_timeout(Some(PATIENCE))?;
    link.write_all(&encode(&["SYNC"]))?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        link.read_exact(&mut byte)?;
        if byte != *b"\n" || !line.is_empty() {
            line.push(byte[0]);
        }
    }
    let line = String::from_utf8(line)?;
    let length = line.trim_end().strip_prefix('$').with_context(|| line.clone())?;
    let mut rdb = vec![0; length.parse()?];
    link.read_exact(&mut rdb)?;
    ensure!(rdb.starts_with(b"REDIS0011") && rdb[rdb.len() - 9] == 0xff);
    ok(&mut client, "SET after 1")?;
    let want = encode(&["SELECT 0", "SET after 1"]);
    let mut got = vec![0; want.len()];
    link.read_exact(&mut got)?;
    ensure!(got == want, "{:?}", String::from_utf8_lossy(&got));
    Ok(())
}

/// WAIT counts those who have applied, and `min-replicas-to-write` refuses without them.
#[test]
fn waiting_for_replicas() -> Result<()> {
    let primary = Server::start("wait", &[])?;
    let mut client = primary.client()?;
    ensure!(client.say("WAIT 0 0")? == Value::Int(0));
    ok(&mut client, "CONFIG SET min-replicas-to-write 1")?;
    let refused = client.say("SET k v")?;
    ensure!(matches!(&refused, Value::Error(why) if why.starts_with("NOREPLICAS")), "{refused:?}");
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("waited-for", &["--replicaof", &source])?;
    wait::until("the replica is online", PATIENCE, || {
        Ok((client.say("SET k v")? == Value::Text("OK".into())).then_some(()))
    })?;
    ensure!(client.say("WAIT 1 20000")? == Value::Int(1));
    ensure!(replica.client()?.say("GET k")? == Value::Text("v".into()), "applied when counted");
    ok(&mut client, "SET k w")?;
    ensure!(client.say("WAIT 1 20000")? == Value::Int(1));
    // The one has told already, so that how soon it does decides nothing.
    ensure!(client.say("WAIT 2 50")? == Value::Int(1), "one of two in time");
    let refused = replica.client()?.say("SET k v")?;
    ensure!(matches!(&refused, Value::Error(why) if why.starts_with("READONLY")), "{refused:?}");
    Ok(())
}

/// While writes are paused nothing whatever enters the stream, not even signs of life or expiries.
#[test]
fn a_pause_closes_the_stream() -> Result<()> {
    let primary = Server::start("closed", &["--repl-ping-replica-period", "1"])?;
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("closed-replica", &["--replicaof", &source])?;
    wait::until("the replica is online", PATIENCE, || {
        Ok(primary.info("slave0")?.contains("state=online").then_some(()))
    })?;
    let offset = || primary.info("master_repl_offset");
    let first = offset()?;
    wait::until("a sign of life", PATIENCE, || Ok((offset()? != first).then_some(())))?;
    let mut client = primary.client()?;
    ok(&mut client, "SET short v PX 300")?;
    ok(&mut client, "CLIENT PAUSE 60000 WRITE")?;
    let paused = offset()?;
    // Longer than the key lives and than the period of signs of life.
    let until = std::time::Instant::now() + Duration::from_millis(2200);
    while std::time::Instant::now() < until {
        ensure!(client.say("GET short").is_ok());
        ensure!(offset()? == paused, "something entered the stream of a paused primary");
        std::thread::sleep(Duration::from_millis(20));
    }
    ok(&mut client, "CLIENT UNPAUSE")?;
    wait::until("the stream goes on", PATIENCE, || Ok((offset()? != paused).then_some(())))?;
    drop(replica);
    Ok(())
}

/// A full resync while writes go on at speed: afterwards both hold the same, and the primary did not
/// keep more than it must.
#[test]
fn a_full_resync_under_load() -> Result<()> {
    let primary = Server::start("loaded", &[])?;
    let mut client = primary.client()?;
    for batch in 0..20 {
        for i in 0..1000 {
            client.send(&["SET", &format!("key:{batch}:{i}"), &"v".repeat(50)])?;
        }
        for _ in 0..1000 {
            client.receive()?;
        }
    }
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("loading", &["--replicaof", &source])?;
    let mut round = 0_u32;
    wait::until("the replica is online", PATIENCE, || {
        for i in 0..500 {
            client.send(&["APPEND", &format!("key:{}:{i}", round % 20), "x"])?;
            client.send(&["INCR", "counter"])?;
        }
        for _ in 0..1000 {
            client.receive()?;
        }
        round += 1;
        Ok(primary.info("slave0")?.contains("state=online").then_some(()))
    })?;
    ensure!(client.say("WAIT 1 20000")? == Value::Int(1));
    let mut copy = replica.client()?;
    ensure!(copy.say("DBSIZE")? == client.say("DBSIZE")?);
    ensure!(copy.say("GET counter")? == client.say("GET counter")?);
    for batch in 0..20 {
        for i in 0..500 {
            let line = format!("GET key:{batch}:{i}");
            ensure!(copy.say(&line)? == client.say(&line)?, "{line}");
        }
    }
    Ok(())
}

/// A primary with a password is followed with `primaryauth`, and not without. A new value was not tried
/// before the next `REPLICAOF`.
#[test]
fn a_password_between_primary_and_replica() -> Result<()> {
    let primary = Server::start("guarded", &["--requirepass", "secret"])?;
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("follower", &["--replicaof", &source])?;
    let mut client = replica.client()?;
    wait::until("the refusal is shown", PATIENCE, || {
        Ok(replica.info("master_link_last_error")?.contains("NOAUTH").then_some(()))
    })?;
    ok(&mut client, "CONFIG SET primaryauth secret")?;
    wait::until("the link is up", PATIENCE, || {
        Ok((replica.info("master_link_status")? == "up").then_some(()))
    })
}

/// A connection that had asked for the stream passed every gate: its writes ran through a pause, and
/// so entered the stream after a primary had been found level.
#[test]
fn who_receives_the_stream_writes_nothing() -> Result<()> {
    let server = Server::start("receiver", &[])?;
    let mut person = server.client()?;
    ok(&mut person, "SET k before")?;
    ok(&mut person, "CLIENT PAUSE 20000 ALL")?;
    let mut receiver = TcpStream::connect(("127.0.0.1", server.port))?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    receiver.write_all(&encode(&["PSYNC ? -1", "SET k after"]))?;
    // The server ends the connection; what it had sent by then is of no interest.
    let mut rest = Vec::new();
    let _ = receiver.read_to_end(&mut rest);
    ok(&mut person, "CLIENT UNPAUSE")?;
    ensure!(person.say("GET k")? == Value::Text("before".into()));
    Ok(())
}

/// `propagation-error-behavior` was taken and had no effect: a replica that differed from its primary
/// went on whatever was asked for.
#[test]
fn a_replica_ends_rather_than_differ_if_asked_to() -> Result<()> {
    for (behavior, read_only, ends) in [
        ("ignore", "yes", false),
        ("panic", "yes", true),
        ("panic-on-replicas", "yes", true),
        ("panic", "no", false),
    ] {
        let primary = Impostor::start()?;
        let source = format!("127.0.0.1 {}", primary.port);
        let directives = [
            "--replicaof",
            &source,
            "--propagation-error-behavior",
            behavior,
            "--replica-read-only",
            read_only,
        ];
        let mut replica = Server::start("replica", &directives)?;
        wait::until("the replica follows", PATIENCE, || {
            Ok((replica.info("master_link_status")? == "up").then_some(()))
        })?;
        primary.stream(&["OFTOMORROW", "key"]);
        primary.stream(&["SET", "last", "1"]);
        if ends {
            ensure!(!replica.ended().success(), "{behavior}");
            ensure!(replica.log().contains("OFTOMORROW of the stream was not applied"));
        } else {
            wait::until("it goes on", PATIENCE, || {
                Ok((replica.info("slave_failed_commands")? == "1"
                    && replica.client()?.say("GET last")?.text()? == "1")
                    .then_some(()))
            })?;
        }
    }
    Ok(())
}
