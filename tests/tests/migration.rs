//! Moving in: a managed primary takes over the data and then the writes of a server outside.
//!
//! `REDISHA_VALKEY` and `REDISHA_REDIS` name the stock servers, as for the tests of interoperation.

#[path = "migration/secured.rs"]
mod secured;
#[path = "migration/unapplied.rs"]
mod unapplied;

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::impostor::Impostor;
use tests::members::{Member, cluster, elect, three};
use tests::resp::{Client, Value};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// A client of the source that counts until an error or its end, and knows what it was told.
struct Counter {
    stop: Arc<AtomicBool>,
    now: Arc<AtomicI64>,
    thread: JoinHandle<Result<(i64, Option<String>)>>,
}

impl Counter {
    fn start(server: &Server) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let now = Arc::new(AtomicI64::new(0));
        let (mut client, told, so_far) = (server.client()?, Arc::clone(&stop), Arc::clone(&now));
        // Not the database that a stream begins in.
        client.say("SELECT 3")?.text()?;
        let thread = thread::spawn(move || {
            let mut acknowledged = 0;
            while !told.load(Ordering::Relaxed) {
                match client.say("INCR count")? {
                    Value::Int(value) => {
                        acknowledged = value;
                        so_far.store(value, Ordering::Relaxed);
                    }
                    Value::Error(why) => return Ok((acknowledged, Some(why))),
                    other => anyhow::bail!("INCR: {other:?}"),
                }
            }
            Ok((acknowledged, None))
        });
        Ok(Self { stop, now, thread })
    }

    /// Waits for more answers.
    fn goes_on(&self) -> Result<()> {
        let before = self.now.load(Ordering::Relaxed);
        wait::until("the source takes writes", PATIENCE, || {
            Ok((self.now.load(Ordering::Relaxed) > before + 50).then_some(()))
        })
    }

    /// Waits until it was told an error: whoever the source held is answered after the cut-over.
    fn sent_away(self) -> Result<(i64, Option<String>)> {
        wait::until("the writer is sent away", PATIENCE, || {
            Ok(self.thread.is_finished().then_some(()))
        })?;
        self.end()
    }

    /// The last acknowledged value, and the error that ended it.
    fn end(self) -> Result<(i64, Option<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the client panicked"))?
    }
}

fn source(variable: Option<&str>, name: &str) -> Result<Option<Server>> {
    source_with(variable, name, &[])
}

fn source_with(variable: Option<&str>, name: &str, more: &[&str]) -> Result<Option<Server>> {
    let Some(variable) = variable else { return Server::start(name, more).map(Some) };
    let Some(program) = env::var_os(variable).map(PathBuf::from) else {
        assert!(env::var_os("CI").is_none(), "{variable} is not set");
        eprintln!("SKIPPED: {variable} is not set");
        return Ok(None);
    };
    // A member that fsyncs each write may lag far behind: that it asks for the rest only is shown
    // by a source that still has it.
    let directives = [&["--repl-backlog-size", "256mb"], more].concat();
    Server::start_program(&program, name, &directives).map(Some)
}

fn fill(server: &Server) -> Result<Client> {
    let mut client = server.client()?;
    for line in [
        "SET text hello",
        "SET passing soon PX 600000",
        "RPUSH list a b c",
        "HSET hash f 1 g 2",
        "SADD set 1 2 x",
        "ZADD zset 1 a 2 b",
    ] {
        client.say(line)?;
    }
    client.say("SELECT 3")?;
    client.say("SET elsewhere 1")?;
    client.say("SELECT 0")?;
    Ok(client)
}

/// Takes over that server, of which this is said, under a writer, and gives what the writer was told
/// and what is here in the end.
fn move_in(source: &Server, said: &[&str]) -> Result<(i64, Option<String>, i64)> {
    let mut outside = fill(source)?;
    let (mut a, others) = cluster(1, &[])?;
    let b = &others[0];
    let counter = Counter::start(source)?;
    begins_by(&mut a, said)?;
    a.until("migration", "following")?;

    let mut here = a.server.client()?;
    match here.say("SET text mine")? {
        Value::Error(why) if why.starts_with("MIGRATING") => {}
        other => anyhow::bail!("a write before the cut-over: {other:?}"),
    }
    outside.say("SET late word")?;
    arrives(&mut here, "late", "word")?;
    let mut replica = b.server.client()?;
    replica.say("READONLY")?;
    arrives(&mut replica, "late", "word")?;

    let to = format!("TIMEOUT 5000 HOST 127.0.0.1 PORT {}", a.server.port);
    a.expect("CUTOVER", &to, "DONE")?;
    a.until("migration", "done")?;
    here.say("SET text mine")?.text()?;
    let (acknowledged, ended) = counter.sent_away()?;
    here.say("SELECT 3")?;
    let count = here.say("GET count")?.text()?.parse()?;
    here.say("SELECT 0")?;
    for (command, value) in [
        ("GET passing", "soon"),
        ("LINDEX list 2", "c"),
        ("HGET hash g", "2"),
        ("SCARD set", "3"),
        ("ZSCORE zset b", "2"),
    ] {
        ensure!(here.say(command)?.text()? == value, "{command}");
    }
    ensure!(here.say("PTTL passing")?.int()? > 0, "the expiry is gone");
    here.say("SELECT 3")?;
    ensure!(here.say("GET elsewhere")?.text()? == "1", "the other database");
    arrives(&mut replica, "text", "mine")?;
    Ok((acknowledged, ended, count))
}

/// Waits until the member says what stands in the way.
fn fails(member: &Member, expect: &str) -> Result<()> {
    wait::until(&format!("it says `{expect}`"), PATIENCE, || {
        Ok(member.status("migration-error")?.contains(expect).then_some(()))
    })
    .with_context(|| member.status("migration-error").unwrap_or_default())
}

/// Waits until append-only files, where there are any, hold what came whole: they are written anew for it, and
/// then a manifest must name them. Who is killed before finds nothing at its start.
fn until_a_start_finds_it(member: &Member) -> Result<()> {
    if member.server.info("aof_enabled")? == "0" {
        return Ok(());
    }
    wait::until("a manifest names the files", PATIENCE, || {
        Ok((member.server.info("aof_pending_rewrite")? == "0").then_some(()))
    })
}

fn arrives(client: &mut Client, key: &str, value: &str) -> Result<()> {
    let what = format!("{key} is {value}");
    wait::until(
        &what,
        PATIENCE,
        || Ok((client.call(&["GET", key])?.text()? == value).then_some(())),
    )
}

/// The source takes no writes any more, and none that it took is missing. Ours redirects; a stock
/// server follows, as a replica.
#[test]
fn nothing_that_the_source_acknowledged_is_lost() -> Result<()> {
    for (variable, name, word) in [
        (None, "ours", "REDIRECT"),
        (Some("REDISHA_VALKEY"), "valkey", "READONLY"),
        (Some("REDISHA_REDIS"), "redis", "READONLY"),
    ] {
        if let Some(source) = source(variable, name)? {
            let port = source.port.to_string();
            let said = ["HOST", "127.0.0.1", "PORT", &port];
            let (acknowledged, ended, count) = move_in(&source, &said)?;
            let why = ended.context("the source goes on taking writes")?;
            ensure!(why.starts_with(word), "{name}: {why}");
            assert_eq!(count, acknowledged, "{name}");
        }
    }
    Ok(())
}

/// Data of its own are never replaced by another server's.
#[test]
fn a_member_with_data_takes_nobody_over() -> Result<()> {
    let source = Server::start("outside", &[])?;
    let (mut a, _others) = cluster(0, &[])?;
    a.server.client()?.say("SET own 1")?;
    let from = format!("HOST 127.0.0.1 PORT {}", source.port);
    a.refused("MIGRATE", &from, "NOTREADY")?;
    a.until("migration", "none")?;
    assert_eq!(a.server.client()?.say("GET own")?, Value::Text("1".into()));
    Ok(())
}

/// A source that answers nobody: the cut-over is refused, and reads go on.
#[test]
fn a_source_that_is_gone_cannot_be_cut_over() -> Result<()> {
    let source = Server::start("outside", &[])?;
    source.client()?.say("SET text hello")?;
    let (mut a, _others) = cluster(0, &[])?;
    let from = format!("HOST 127.0.0.1 PORT {}", source.port);
    begins(&mut a, &from)?;
    a.until("migration", "following")?;
    drop(source);
    wait::until("the end of the source is noticed", PATIENCE, || {
        Ok((!a.status("migration-error")?.is_empty()).then_some(()))
    })?;
    refused(&mut a)?;
    assert_eq!(a.server.client()?.say("GET text")?, Value::Text("hello".into()));
    Ok(())
}

fn begins(member: &mut Member, from: &str) -> Result<()> {
    begins_by(member, &from.split(' ').collect::<Vec<_>>())
}

fn begins_by(member: &mut Member, said: &[&str]) -> Result<()> {
    match member.tell_words("MIGRATE", said)? {
        Value::Array(_) => Ok(()),
        other => anyhow::bail!("MIGRATE: {other:?}"),
    }
}

fn refused(member: &mut Member) -> Result<()> {
    member.refused("CUTOVER", "TIMEOUT 1000", "NOTREADY")
}

/// Clients that try to write at these members all the time, until one of them is let.
struct Intruder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<u16>>,
}

impl Intruder {
    fn start(ports: &[u16]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, ports) = (Arc::clone(&stop), ports.to_vec());
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                for port in &ports {
                    let client = Client::connect(("127.0.0.1", *port));
                    // A member that is down, or waits for others, lets nobody write either.
                    let answer = client.and_then(|mut client| {
                        client.patience(Duration::from_secs(1))?;
                        client.say("SET intruder 1")
                    });
                    if matches!(answer, Ok(Value::Text(_))) {
                        return Some(*port);
                    }
                }
                thread::sleep(Duration::from_millis(1));
            }
            None
        });
        Self { stop, thread }
    }

    /// Nobody was let until now.
    fn was_refused(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let let_in = self.thread.join().map_err(|_| anyhow::anyhow!("the intruder panicked"))?;
        ensure!(
            let_in.is_none(),
            "a write was taken at port {let_in:?} while the source takes them"
        );
        Ok(())
    }
}

/// A migration in the middle: the first of three members follows a stock source under a writer.
struct Scene {
    source: Server,
    members: [Member; 3],
    counter: Counter,
    intruder: Intruder,
}

fn scene() -> Result<Option<Scene>> {
    let Some(source) = source(Some("REDISHA_VALKEY"), "valkey")? else { return Ok(None) };
    fill(&source)?;
    let [mut a, b, c] = three("replicated")?;
    let counter = Counter::start(&source)?;
    begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
    let intruder = Intruder::start(&[&a, &b, &c].map(|member| member.server.port));
    a.until("migration", "following")?;
    a.until_serves(&b)?;
    a.until_serves(&c)?;
    counter.goes_on()?;
    Ok(Some(Scene { source, members: [a, b, c], counter, intruder }))
}

/// Takes the cut-over at `member` and compares with what the source has acknowledged.
fn cuts_over(member: &mut Member, counter: Counter, intruder: Intruder) -> Result<()> {
    counter.goes_on()?;
    intruder.was_refused()?;
    let to = format!("TIMEOUT 5000 HOST 127.0.0.1 PORT {}", member.server.port);
    wait::until("the cut-over", PATIENCE, || match member.tell("CUTOVER", &to)? {
        Value::Text(text) if text == "DONE" => Ok(Some(())),
        other => anyhow::bail!("CUTOVER: {other:?}; {}", member.server.log()),
    })?;
    let (acknowledged, ended) = counter.sent_away()?;
    ensure!(ended.is_some(), "the source goes on taking writes");
    let mut here = member.server.client()?;
    here.say("SELECT 3")?.text()?;
    let count: i64 = here.say("GET count")?.text()?.parse()?;
    ensure!(count == acknowledged, "{acknowledged} answers of the source, {count} here");
    ensure!(here.say("SET count mine")?.text()? == "OK");
    member.until("migration", "done")
}

/// How often the source has sent all its data.
fn full_resyncs(source: &Server) -> Result<i64> {
    Ok(source.info("sync_full")?.parse()?)
}

/// Whoever became the primary in the middle of a migration knew nothing of it: it took writes while
/// the source did, too. Now it refuses them, and goes on from the very point that its data are.
#[test]
fn a_planned_switch_in_the_middle_goes_on() -> Result<()> {
    let Some(Scene { source, members: [mut a, mut b, _c], counter, intruder }) = scene()? else {
        return Ok(());
    };
    a.moves_to("s1", &b)?;
    cuts_over(&mut b, counter, intruder)?;
    ensure!(full_resyncs(&source)? == 1, "the successor was sent all data again");
    // And what is done stays so at the next one.
    b.until_serves(&a)?;
    b.moves_to("s2", &a)?;
    a.until("migration", "done")?;
    begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
    ensure!(a.server.client()?.say("SET late 1")?.text()? == "OK");
    Ok(())
}

/// As above, when the primary is killed.
#[test]
fn a_crash_in_the_middle_goes_on() -> Result<()> {
    let Some(Scene { source, members: [a, mut b, mut c], counter, intruder }) = scene()? else {
        return Ok(());
    };
    drop(a);
    elect(&mut b, &mut c)?;
    cuts_over(&mut b, counter, intruder)?;
    ensure!(full_resyncs(&source)? == 1, "the successor was sent all data again");
    Ok(())
}

/// A restart finds what is known of the migration beside the data, in files of either kind. While the
/// files are being written anew for data that came whole they hold none of them: a busy machine was
/// not that far when the member was killed.
#[test]
fn a_restart_in_the_middle_goes_on() -> Result<()> {
    for files in [&["--save", "3600 1"][..], &["--appendonly", "yes", "--appendfsync", "always"]] {
        let Some(source) = source(Some("REDISHA_VALKEY"), "valkey")? else { return Ok(()) };
        fill(&source)?;
        let (mut a, _) = cluster(0, files)?;
        let counter = Counter::start(&source)?;
        begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
        a.until("migration", "following")?;
        counter.goes_on()?;
        a.server.client()?.say("BGREWRITEAOF")?;
        wait::until("the files are written anew", PATIENCE, || {
            let now = [
                a.server.info("aof_rewrite_in_progress")?,
                a.server.info("aof_rewrite_scheduled")?,
            ];
            Ok((now == ["0", "0"]).then_some(()))
        })?;
        until_a_start_finds_it(&a)?;
        counter.goes_on()?;
        if files[0] == "--save" {
            ensure!(a.server.client()?.say("SAVE")?.text()? == "OK");
        }
        let mut a = a.again("a", files)?;
        a.tell("SEAL", "TERM 2")?;
        a.expect("PROMOTE", "TERM 2", "OK")?;
        let intruder = Intruder::start(&[a.server.port]);
        a.until("migration", "following")?;
        cuts_over(&mut a, counter, intruder)
            .with_context(|| format!("{files:?}: {}\n{}", a.server.log(), source.log()))?;
        let why = || format!("{files:?}: {}\n{}", a.server.log(), source.log());
        ensure!(full_resyncs(&source)? == 1, "all data were sent again: {}", why());
    }
    Ok(())
}

/// The cut-over was done when the primary alone had the source's last writes: its crash lost them.
#[test]
fn a_cut_over_waits_for_members() -> Result<()> {
    let Some(Scene { source: _source, members: [mut a, b, c], counter, intruder }) = scene()?
    else {
        return Ok(());
    };
    for stopped in [&b, &c] {
        stopped.server.signal("STOP");
    }
    counter.goes_on()?;
    // Nothing else is missing: it is given up within its time, and the source goes on.
    a.refused("CUTOVER", "TIMEOUT 1500", "NOTREADY the source was not level")?;
    counter.goes_on()?;
    for stopped in [&b, &c] {
        stopped.server.signal("CONT");
    }
    cuts_over(&mut a, counter, intruder)
}

/// A stock source drops its data to follow: it was told so when the primary alone had the last of
/// them. And a primary that crashed between that and its own record left a cluster that took its
/// source for a replica of somebody else, for ever.
#[test]
fn a_source_leaves_only_what_members_hold() -> Result<()> {
    let source = Impostor::start()?;
    let [mut a, mut b, mut c] = three("replicated")?;
    begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
    a.until("migration", "following")?;
    a.until_serves(&b)?;
    a.until_serves(&c)?;
    source.stream(&["SET", "first", "1"]);
    source.mute("CLIENT FORCE");
    source.mute("REPLICAOF");
    let to = format!("TIMEOUT 20000 HOST 127.0.0.1 PORT {}", a.server.port);
    let line = format!("REDISHA CUTOVER UID {} MEMBER {} {to}", tests::members::UID, a.id);
    let mut asked = a.server.internal()?;
    let words: Vec<&str> = line.split(' ').collect();
    asked.send(&words)?;
    source.until_heard("CLIENT FORCE")?;
    // What it wrote when its pause had run out.
    for stopped in [&b, &c] {
        stopped.server.signal("STOP");
    }
    source.stream(&["SET", "last", "1"]);
    source.say("-ERR unknown subcommand\r\n");
    let mut here = a.server.internal()?;
    wait::until("the last write is here", PATIENCE, || {
        let found = here.say("DBSIZE")?;
        Ok((found == Value::Int(2)).then_some(()))
    })?;
    source.until_heard("CLIENT PAUSE 9")?;
    thread::sleep(Duration::from_millis(500));
    let told = |line: &str| source.heard().iter().any(|heard| heard.starts_with(line));
    ensure!(!told("REPLICAOF"), "it was told to follow: {:?}", source.heard());
    for stopped in [&b, &c] {
        stopped.server.signal("CONT");
    }
    source.until_heard("REPLICAOF")?;
    // Its answer is never heard.
    drop(a);
    elect(&mut b, &mut c)?;
    let to = format!("TIMEOUT 5000 HOST 127.0.0.1 PORT {}", b.server.port);
    wait::until("the cut-over", PATIENCE, || {
        Ok((b.tell("CUTOVER", &to)? == Value::Text("DONE".into())).then_some(()))
    })
    .with_context(|| b.server.log())?;
    let mut here = b.server.client()?;
    ensure!(here.say("GET last")?.text()? == "1");
    ensure!(here.say("SET mine 1")?.text()? == "OK");
    Ok(())
}

/// A stream's commands have every right: whoever stood in a primary's place could configure a node,
/// or end it. Nothing but data goes by a stream.
#[test]
fn a_hostile_stream_commands_nothing() -> Result<()> {
    let source = Impostor::start()?;
    let port = source.port.to_string();
    let replica = Server::start("replica", &["--replicaof", &format!("127.0.0.1 {port}")])?;
    let (mut a, _) = cluster(0, &[])?;
    begins(&mut a, &format!("HOST 127.0.0.1 PORT {port}"))?;
    a.until("migration", "following")?;
    wait::until("the replica follows", PATIENCE, || {
        Ok((replica.info("master_link_status")? == "up").then_some(()))
    })?;
    let member = format!("REDISHA SEAL UID {} MEMBER {} TERM 9", tests::members::UID, a.id);
    for line in [
        "SHUTDOWN NOSAVE",
        "CONFIG SET requirepass taken",
        "CONFIG SET dir /tmp",
        "ACL SETUSER intruder on nopass ~* &* +@all",
        "PING redisha:acl:user\tintruder\ton",
        "PING redisha:migration:",
        "REPLICAOF NO ONE",
        "CLIENT KILL TYPE normal",
        "DEBUG SLEEP 100",
        "SUBSCRIBE channel",
        "MONITOR",
        "BLPOP nowhere 0",
        "SAVE",
        &member,
        "AUTH default wrong",
        "SET after 1",
    ] {
        source.stream(&line.split(' ').collect::<Vec<_>>());
    }
    source.stream(&["PING", "redisha:acl:user intruder on nopass sanitize-payload ~* &* +@all"]);
    source.stream(&["SET", "last", "1"]);
    for server in [&replica, &a.server] {
        let mut client = server.client()?;
        client.say("READONLY")?;
        arrives(&mut client, "last", "1")?;
        arrives(&mut client, "after", "1")?;
        let users = client.say("ACL LIST")?;
        ensure!(!format!("{users:?}").contains("intruder"), "{users:?}");
        ensure!(format!("{:?}", client.say("CONFIG GET requirepass")?).contains("\"\""));
    }
    ensure!(replica.info("role")? == "slave", "{}", replica.log());
    ensure!(a.status("role")? == "primary" && a.status("migration")? == "following");
    Ok(())
}

/// The source's password is in no record and in no file: a successor waits until it is told again.
#[test]
fn a_successor_is_told_the_password_again() -> Result<()> {
    let source = Server::start("outside", &["--requirepass", "between-us"])?;
    let mut outside = source.client()?;
    outside.say("AUTH between-us")?.text()?;
    let (mut a, mut others) = cluster(1, &[])?;
    let mut b = others.pop().context("b")?;
    let from = format!("HOST 127.0.0.1 PORT {} PASSWORD between-us", source.port);
    begins(&mut a, &from)?;
    a.until("migration", "following")?;
    a.until_serves(&b)?;
    a.moves_to("s1", &b)?;
    b.until("migration-error", "the source's password or certificates are to be said again")?;
    let mut here = b.server.client()?;
    match here.say("SET mine 1")? {
        Value::Error(why) if why.starts_with("MIGRATING") => {}
        other => anyhow::bail!("a write at the successor: {other:?}"),
    }
    ensure!(here.say("SAVE")?.text()? == "OK");
    let saved = std::fs::read(b.server.directory.join("dump.rdb"))?;
    let holds = |word: &str| saved.windows(word.len()).any(|part| part == word.as_bytes());
    ensure!(holds("redisha-migration") && !holds("between-us"), "what the file holds");
    begins(&mut b, &from)?;
    outside.say("SET late word")?;
    arrives(&mut here, "late", "word")
}
