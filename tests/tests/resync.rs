//! What replicas cost their primary in memory, and a full resync both ends: with real processes, by
//! what `INFO` and the kernel count.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::resp::{Client, Value, ok};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);
const MB: u64 = 1 << 20;
/// What a replica may make its primary keep, where a test bounds it.
const LIMIT: u64 = 8 * MB;
const BOUNDED: [&str; 4] =
    ["--client-output-buffer-limit", "replica 8mb 0 0", "--repl-backlog-size", "1mb"];
/// What the sizes of blocks, parts and connections' buffers may add.
const SLACK: u64 = 3 * MB;

/// Memory of a server as it counts it, seen again and again.
struct Used {
    client: Client,
    most: u64,
}

impl Used {
    fn of(server: &Server) -> Result<Self> {
        let mut used = Self { client: server.client()?, most: 0 };
        used.look()?;
        Ok(used)
    }

    fn look(&mut self) -> Result<u64> {
        let text = self.client.say("INFO memory")?.text()?;
        let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
        let now = line.unwrap_or_default().parse()?;
        self.most = self.most.max(now);
        Ok(now)
    }
}

/// A replica that the test plays: it introduces itself and asks for everything.
fn asks_for_all(primary: &Server, port: u16, abilities: &str) -> Result<TcpStream> {
    let mut link = TcpStream::connect(("127.0.0.1", primary.port))?;
    link.set_read_timeout(Some(PATIENCE))?;
    for line in [&format!("REPLCONF listening-port {port}"), abilities, "PSYNC ? -1"] {
        let words: Vec<_> = line.split(' ').collect();
        let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let words: Vec<_> = words.collect();
        link.write_all(format!("*{}\r\n{}", words.len(), words.concat()).as_bytes())?;
        if line.starts_with("REPLCONF") {
            link.read_exact(&mut [0; 5])?;
        }
    }
    Ok(link)
}

const ALL: &str = "REPLCONF capa eof capa psync2";

/// Writes `count` values of `bytes` each.
fn fill(client: &mut Client, count: usize, bytes: usize, letter: &str) -> Result<()> {
    let value = letter.repeat(bytes);
    for from in (0..count).step_by(100) {
        for n in from..count.min(from + 100) {
            client.send(&["SET", &format!("key:{n}"), &value])?;
        }
        for _ in from..count.min(from + 100) {
            client.receive()?;
        }
    }
    Ok(())
}

fn level(replica: &Server, primary: &Server) -> Result<()> {
    wait::until("the replica is level", PATIENCE, || {
        Ok(replica.is_level_with(primary)?.then_some(()))
    })
}

fn states(primary: &Server, state: &str) -> Result<usize> {
    let text = primary.client()?.say("INFO replication")?.text()?;
    Ok(text.lines().filter(|l| l.contains(&format!("state={state},"))).count())
}

fn log_of(server: &Server, name: &str, why: &str) -> bool {
    server.log().lines().any(|line| line.contains(name) && line.contains(why))
}

/// A replica that read nothing more was kept until repl-timeout, and then ended by a line that
/// did not say which one it was; beyond the hard limit it was ended by no line at all.
#[test]
fn a_replica_that_stops_reading_costs_no_more_than_its_limit() -> Result<()> {
    let primary = Server::start("patient", &BOUNDED)?;
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("stopped", &["--replicaof", &source])?;
    let mut client = primary.client()?;
    ok(&mut client, "SET k v")?;
    level(&replica, &primary)?;
    fill(&mut client, 20, 100_000, "a")?;
    level(&replica, &primary)?;
    let mut used = Used::of(&primary)?;
    let before = used.most;
    replica.signal("STOP");
    let name = format!("127.0.0.1:{}", replica.port);
    let is_dropped = || log_of(&primary, &name, "hard limit of client-output-buffer-limit");
    // The sockets take some megabytes themselves.
    let mut written = 0;
    while !is_dropped() {
        ensure!(written < 64 * MB, "it is not dropped after {written} bytes: {}", primary.log());
        fill(&mut client, 10, 100_000, "b")?;
        written += MB;
        used.look()?;
    }
    let cost = used.most - before;
    ensure!(cost > LIMIT / 2 && cost < LIMIT + SLACK, "it cost {cost} bytes");
    ensure!(used.look()? < before + MB + SLACK, "what was kept for it is not freed");
    ensure!(primary.info("connected_slaves")? == "0");
    ensure!(primary.info("client_output_buffer_limit_disconnections")? == "1");
    replica.signal("CONT");
    level(&replica, &primary)?;
    ensure!(primary.info("sync_full")? == "2", "what it lacked was not kept");
    ensure!(replica.client()?.say("GET key:3")? == Value::Text("b".repeat(100_000)));
    Ok(())
}

/// Who is silent is dropped and named, and goes on from the backlog when it comes back.
#[test]
fn a_silent_replica_goes_on_by_a_partial_resync() -> Result<()> {
    let primary = Server::start("strict", &["--repl-timeout", "2"])?;
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("silent", &["--replicaof", &source])?;
    let mut client = primary.client()?;
    ok(&mut client, "SET k v")?;
    level(&replica, &primary)?;
    replica.signal("STOP");
    fill(&mut client, 20, 100_000, "a")?;
    let name = format!("127.0.0.1:{}", replica.port);
    wait::until("it is dropped", PATIENCE, || {
        Ok(log_of(&primary, &name, "silent for repl-timeout").then_some(()))
    })?;
    fill(&mut client, 20, 100_000, "b")?;
    replica.signal("CONT");
    level(&replica, &primary)?;
    ensure!(primary.info("sync_full")? == "1", "the backlog had what it lacked");
    ensure!(replica.client()?.say("GET key:3")? == Value::Text("b".repeat(100_000)));
    Ok(())
}

/// A receiver that took no more of its snapshot ended the snapshots of all others with it, once old
/// values had piled up for it, and one that had lost its place in the stream was sent the rest.
#[test]
fn a_receiver_that_stops_reading_costs_no_more_than_its_limit() -> Result<()> {
    const KEYS: usize = 3000;
    let primary = Server::start("sender", &BOUNDED)?;
    let mut client = primary.client()?;
    fill(&mut client, KEYS, 16_384, "a")?;
    let mut used = Used::of(&primary)?;
    let before = used.most;
    let _first = asks_for_all(&primary, 7001, ALL)?;
    wait::until("the first is being sent its snapshot", PATIENCE, || {
        Ok((states(&primary, "send_bulk")? == 1).then_some(()))
    })?;
    // These two will be sent one snapshot together.
    let second = asks_for_all(&primary, 7002, ALL)?;
    let source = format!("127.0.0.1 {}", primary.port);
    let healthy = Server::start("receiver", &["--replicaof", &source])?;
    wait::until(
        "two wait",
        PATIENCE,
        || Ok((states(&primary, "wait_bgsave")? == 2).then_some(())),
    )?;
    // The stream grows by more than the limit, and so do the old values; by little at a time, since
    // all that is written once the first is dropped counts for the healthy one, too.
    for round in 0.. {
        fill(&mut client, KEYS / 100, 16_384, "b")?;
        used.look()?;
        if log_of(&primary, "127.0.0.1:7001", "is closed") {
            break;
        }
        ensure!(round < 200, "the first is not dropped: {}", primary.log());
    }
    wait::until("the second is being sent its snapshot", PATIENCE, || {
        used.look()?;
        Ok((states(&primary, "send_bulk")? == 2).then_some(()))
    })?;
    // The stream grows by little, the old values by all that there is. The healthy one gets its snapshot
    // before it goes on: without a processor it would be as slow.
    let is_dropped = || log_of(&primary, "127.0.0.1:7002", "takes its snapshot too slowly");
    let mut rests = true;
    for n in 0..KEYS {
        client.send(&["SETRANGE", &format!("key:{n}"), "0", "c"])?;
        client.receive()?;
        if n % 50 == 0 {
            used.look()?;
        }
        if n % 10 == 0 && rests && is_dropped() {
            level(&healthy, &primary)?;
            rests = false;
        }
    }
    wait::until("the second is dropped", PATIENCE, || Ok(is_dropped().then_some(())))?;
    let cost = used.most - before;
    // The stream and old values, each to the limit, and the part of the snapshot that is ahead.
    ensure!(cost < 2 * LIMIT + MB + SLACK, "they cost {cost} bytes");
    level(&healthy, &primary)?;
    ensure!(primary.info("sync_full")? == "2", "the healthy one had to begin again");
    ensure!(healthy.client()?.say("DBSIZE")? == Value::Int(KEYS as i64));
    let value = format!("c{}", "a".repeat(16_383));
    ensure!(healthy.client()?.say("GET key:2999")? == Value::Text(value));
    ensure!(used.look()? < before + MB + SLACK, "what was kept for them is not freed");
    drop(second);
    Ok(())
}

/// A receiver that must be told the length first had the whole snapshot wait in memory, however
/// large it was.
#[test]
fn an_old_replica_is_refused_what_is_too_large() -> Result<()> {
    let primary = Server::start("bounded", &BOUNDED)?;
    fill(&mut primary.client()?, 3000, 16_384, "a")?;
    let before = primary.memory("VmRSS")?;
    primary.forget_peak()?;
    let mut link = asks_for_all(&primary, 7003, "REPLCONF capa psync2")?;
    let mut said = String::new();
    link.read_to_string(&mut said)?;
    let mut lines = said.lines().filter(|line| !line.is_empty());
    ensure!(lines.next().is_some_and(|line| line.starts_with("+FULLRESYNC")), "{said}");
    let refusal = lines.next().unwrap_or_default();
    ensure!(refusal.starts_with("-ERR the snapshot is larger than client-output"), "{said}");
    let cost = primary.memory("VmHWM")?.saturating_sub(before);
    ensure!(cost < LIMIT + 2 * SLACK, "it cost {cost} bytes");
    ensure!(log_of(&primary, "127.0.0.1:7003", "capa eof"), "{}", primary.log());
    // Who understands an end mark is served what is as large.
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("modern", &["--replicaof", &source])?;
    level(&replica, &primary)?;
    ensure!(replica.client()?.say("DBSIZE")? == Value::Int(3000));
    Ok(())
}

/// A full resync streams: neither end holds more than its data, a little ahead, and the stream of
/// the writes meanwhile.
#[test]
fn a_full_resync_takes_no_memory_but_for_the_writes_meanwhile() -> Result<()> {
    const KEYS: usize = 250_000;
    let primary = Server::start("large", &["--enable-debug-command", "yes"])?;
    let mut client = primary.client()?;
    ok(&mut client, &format!("DEBUG POPULATE {KEYS} key 1000"))?;
    let data = primary.memory("VmRSS")?;
    ensure!(data > 250 * MB, "{data} bytes are no large data");
    primary.forget_peak()?;
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("empty", &["--replicaof", &source])?;
    let value = "w".repeat(1000);
    let mut overwritten = 0;
    wait::until("the replica is online", PATIENCE, || {
        for _ in 0..500 {
            overwritten += 1;
            let key = format!("key:{}", overwritten * 7919 % KEYS);
            client.call(&["SET", &key, &value])?;
        }
        Ok((states(&primary, "online")? == 1).then_some(()))
    })?;
    level(&replica, &primary)?;
    let stream: u64 = primary.info("master_repl_offset")?.parse()?;
    for (who, server) in [("sender", &primary), ("receiver", &replica)] {
        let peak = server.memory("VmHWM")?;
        eprintln!("{who}: {peak} of {data}, {stream} bytes of stream");
        ensure!(
            peak < data * 115 / 100 + stream,
            "the {who}'s memory was {peak} bytes for {data} bytes of data and {stream} of writes"
        );
    }
    ensure!(primary.info("sync_full")? == "1");
    ensure!(replica.client()?.say("DBSIZE")? == client.say("DBSIZE")?);
    Ok(())
}
