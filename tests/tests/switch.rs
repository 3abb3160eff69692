//! The planned switch with real servers, driven by hand as the operator drives it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::members::{UID, Writer, cluster, field, handover};
use tests::resp::Value;
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_switch_under_load_keeps_every_answer_and_resyncs_partially() -> Result<()> {
    let (mut a, mut others) = cluster(2, &[])?;
    let (mut c, mut b) = (others.pop().context("c")?, others.pop().context("b")?);
    let writers = ["w0", "w1", "w2"].map(|key| Writer::start(&a.server, key));
    let mut reader = a.server.client()?;
    wait::until("writes go on", PATIENCE, || {
        let value = reader.call(&["GET", "w0"])?.text()?;
        Ok(value.parse::<i64>().is_ok_and(|value| value > 100).then_some(()))
    })?;

    a.pause("s1", &b)?;
    a.expect("HANDOVER", &handover("s1", &b), "ACCEPTED 1.1")?;
    a.expect("HANDOVER", &handover("s1", &b), "ACCEPTED 1.1")?;
    b.until("role", "primary")?;
    a.until("link", "up")?;
    c.until("primary-member", &b.id)?;
    c.until("link", "up")?;
    a.expect("RELEASE", "ID s1", "OK")?;
    // The writers have noticed nothing: their connections are the old ones.
    let before = b.server.client()?.call(&["GET", "w0"])?.text()?.parse::<i64>()?;
    wait::until("writes go on through the old primary", PATIENCE, || {
        let value = b.server.client()?.call(&["GET", "w0"])?.text()?.parse::<i64>()?;
        Ok((value > before + 100).then_some(()))
    })?;
    for (writer, key) in writers.into_iter().zip(["w0", "w1", "w2"]) {
        let acknowledged = writer?.end()?;
        let kept = b.server.client()?.call(&["GET", key])?.text()?;
        ensure!(kept == acknowledged.to_string(), "{key}: {acknowledged} answers, {kept} kept");
    }
    ensure!(b.server.info("sync_full")? == "0", "the new primary sent a full resync");
    ensure!(b.server.info("sync_partial_ok")? == "2");
    ensure!(a.status("pause-us")?.parse::<u64>()? > 0);

    // And back again, told twice, at the next epoch.
    b.pause("s2", &a)?;
    b.expect("HANDOVER", &handover("s2", &a), "ACCEPTED 1.2")?;
    a.until("role", "primary")?;
    b.until("link", "up")?;
    ensure!(a.server.info("sync_full")? == "2", "only the two full resyncs of the beginning");
    let old = format!("EPOCH 1.1 PRIMARY {} HOST 127.0.0.1 PORT {}", b.id, b.server.port);
    c.until("primary-member", &a.id)?;
    c.refused("FOLLOW", &old, "STALE")
}

#[test]
fn commands_for_another_life_or_an_older_epoch_change_nothing() -> Result<()> {
    let (mut a, mut others) = cluster(1, &[])?;
    let mut b = others.pop().context("b")?;
    let own = std::mem::replace(&mut a.id, "ffff".into());
    a.refused("SEAL", "TERM 9", "WRONGMEMBER")?;
    a.id = own;
    let line = format!("REDISHA SEAL UID other MEMBER {} TERM 9", a.id);
    match a.operator.say(&line)? {
        Value::Error(text) if text.starts_with("WRONGMEMBER") => {}
        other => bail!("{other:?}"),
    }
    a.refused("SEAL", "TERM 0", "STALE")?;
    a.refused("HANDOVER", &handover("never", &b), "NOTREADY")?;
    b.refused("PAUSE", "ID x TIMEOUT 100 TO y", "NOTREADY")?;
    ensure!(a.status("role")? == "primary" && a.status("promised")? == "1.0");

    // An election: the sealed follower becomes primary of the term, the old one follows it.
    let sealed = b.tell("SEAL", "TERM 2")?;
    ensure!(field(&sealed, "data-epoch")? == "1.0" && field(&sealed, "empty")? == "0");
    match b.server.client()?.say("SET k v")? {
        Value::Error(text) if text.starts_with("LOADING") => {}
        other => bail!("a fenced member answered {other:?}"),
    }
    a.tell("SEAL", "TERM 2")?;
    b.refused("PROMOTE", "TERM 1", "STALE")?;
    b.expect("PROMOTE", "TERM 2", "OK")?;
    b.expect("PROMOTE", "TERM 2", "OK")?;
    a.follow("2.0", &b)?;
    a.until("link", "up")?;
    ensure!(b.server.info("sync_full")? == "0");
    a.until("data-epoch", "2.0")
}

#[test]
fn a_pause_ends_at_its_timer_and_the_held_write_runs() -> Result<()> {
    // Long enough for what follows on a machine that has much else to do.
    let (mut a, others) = cluster(1, &[])?;
    let b = &others[0];
    let paused = a.tell("PAUSE", &format!("ID p TIMEOUT 3000 TO {}", b.id))?;
    let offset = field(&paused, "offset")?;
    let mut client = a.server.client()?;
    client.send(&["SET", "k", "v"])?;
    let mut user = a.server.client()?;
    ensure!(user.say("CLIENT UNPAUSE")?.text()? == "OK");
    ensure!(user.say("GET k")? == Value::Nil, "reads go on, and the write is held");
    ensure!(a.status("offset")? == offset, "nothing enters the stream");
    ensure!(client.receive()?.text()? == "OK");
    a.refused("HANDOVER", &handover("p", b), "NOTREADY")?;
    a.refused("PAUSE", &format!("ID p TIMEOUT 3000 TO {}", b.id), "NOTREADY")?;
    ensure!(a.status("role")? == "primary");
    ensure!(a.status("pause-us")?.parse::<u64>()? >= 2_500_000);
    Ok(())
}

#[test]
fn a_target_that_declined_leaves_the_old_primary_in_office() -> Result<()> {
    let (mut a, mut others) = cluster(1, &[])?;
    let mut b = others.pop().context("b")?;
    // A record for a log that the target does not have: it promises never to take 1.1.
    let record = format!(
        "v=1&uid={UID}&id=z&epoch=1.1&from={}&from-host=127.0.0.1&from-port=1&to={}&\
         to-host=127.0.0.1&to-port=1&data-epoch=1.0&offset=1",
        a.id, b.id
    );
    b.expect("TAKEOVER", &format!("RECORD {record}"), "DECLINED 1.1")?;
    b.expect("TAKEOVER", &format!("RECORD {record}"), "DECLINED 1.1")?;
    a.pause("d", &b)?;
    let mut client = a.server.client()?;
    client.send(&["SET", "k", "v"])?;
    a.expect("HANDOVER", &handover("d", &b), "DECLINED 1.2")?;
    ensure!(client.receive()?.text()? == "OK", "the held write runs");
    ensure!(a.status("epoch")? == "1.2" && a.status("handover-outcome")? == "declined");
    b.until("data-epoch", "1.2")?;
    a.pause("e", &b)?;
    a.expect("HANDOVER", &handover("e", &b), "ACCEPTED 1.3")?;
    b.until("role", "primary")?;
    ensure!(b.server.client()?.say("GET k")?.text()? == "v");
    Ok(())
}

#[test]
fn without_an_answer_the_old_primary_abdicates_and_refuses_what_it_held() -> Result<()> {
    let (mut a, mut others) = cluster(1, &["--takeover-timeout", "700"])?;
    let mut b = others.pop().context("b")?;
    a.pause("f", &b)?;
    let mut client = a.server.client()?;
    client.send(&["SET", "k", "v"])?;
    b.server.signal("STOP");
    let answer = a.tell("HANDOVER", &handover("f", &b));
    let refused = client.receive();
    let fenced = a.status("role");
    b.server.signal("CONT");
    ensure!(answer?.text()? == "ABDICATED");
    match refused? {
        Value::Error(text) if text.starts_with("LOADING") => {}
        other => bail!("the held write was answered {other:?}"),
    }
    ensure!(fenced? == "fenced");
    // The record reaches the target late; it still may take over, and the operator finds it so.
    b.until("role", "primary")?;
    ensure!(b.status("epoch")? == "1.1");
    a.follow("1.1", &b)?;
    a.until("link", "up")?;
    ensure!(b.server.info("sync_full")? == "0");
    ensure!(a.server.client()?.say("SET k w")?.text()? == "OK", "by relay");
    ensure!(b.server.client()?.say("GET k")?.text()? == "w");
    b.refused("PROMOTE", "TERM 1", "STALE")
}

/// Of an answer larger than a socket takes at once, what was written but not yet forgotten was put
/// into an envelope a second time, and the client got the envelope's own bytes.
#[test]
fn large_answers_come_through_the_relay_whole() -> Result<()> {
    let (mut a, others) = cluster(1, &[])?;
    let b = &others[0];
    let mut client = a.server.client()?;
    let large = "x".repeat(8 << 20);
    ensure!(client.call(&["SET", "large", &large])?.text()? == "OK");
    wait::until("the follower has it", PATIENCE, || {
        Ok((b.status("offset")? == a.status("offset")?).then_some(()))
    })?;
    a.pause("s", b)?;
    a.expect("HANDOVER", &handover("s", b), "ACCEPTED 1.1")?;
    for round in 1..=3 {
        for _ in 0..3 {
            client.send(&["GET", "large"])?;
            client.send(&["INCR", "n"])?;
        }
        for turn in 1..=3 {
            ensure!(client.receive()?.text()? == large, "round {round}, turn {turn}");
            ensure!(client.receive()?.int()? == (round - 1) * 3 + turn);
        }
    }
    Ok(())
}

/// The steps that the idea names, with a plain client's eyes on them.
#[test]
fn the_five_steps_by_hand_on_two_unmanaged_servers() -> Result<()> {
    let a = Server::start("a", &[])?;
    let b = Server::start("b", &["--replicaof", &format!("127.0.0.1 {}", a.port)])?;
    wait::until("the replica is in sync", PATIENCE, || {
        Ok((b.info("master_link_status")? == "up").then_some(()))
    })?;
    let writer = Writer::start(&a, "n")?;
    let mut by_hand = a.client()?;
    ensure!(by_hand.say("CLIENT PAUSE 10000 WRITE")?.text()? == "OK");
    let offset = a.info("master_repl_offset")?;
    wait::until("the replica is level", PATIENCE, || {
        Ok((b.info("slave_repl_offset")? == offset).then_some(()))
    })?;
    ensure!(b.client()?.say("REPLICAOF NO ONE")?.text()? == "OK");
    let redirect = format!("CLIENT FORCE REDIRECT 127.0.0.1 {}", b.port);
    ensure!(by_hand.say(&redirect)?.text()? == "OK");
    ensure!(by_hand.say("CLIENT UNPAUSE")?.text()? == "OK");
    wait::until("writes go on at the new primary", PATIENCE, || {
        let value = b.client()?.call(&["GET", "n"])?.text()?.parse::<i64>()?;
        Ok((value > 100).then_some(()))
    })?;
    let acknowledged = writer.end()?;
    ensure!(b.client()?.say("GET n")?.text()? == acknowledged.to_string());
    Ok(())
}

/// A `WAIT` for more replicas than there are was forgotten when its server became one: without a
/// timeout of its own its client waited for ever.
#[test]
fn a_wait_ends_with_the_office_of_its_primary() -> Result<()> {
    let (mut a, others) = cluster(1, &[])?;
    let b = &others[0];
    let mut client = a.server.client()?;
    ensure!(client.say("SET k v")?.text()? == "OK");
    client.send(&["WAIT", "5", "0"])?;
    wait::until("it waits", Duration::from_secs(20), || {
        let list = a.server.client()?.say("CLIENT LIST")?.text()?;
        Ok(list.contains("cmd=wait").then_some(()))
    })?;
    a.pause("s", b)?;
    a.expect("HANDOVER", &handover("s", b), "ACCEPTED 1.1")?;
    ensure!(client.receive()?.int()? <= 1);
    ensure!(client.say("GET k")?.text()? == "v", "by relay");
    Ok(())
}

/// The name that a client asked for by `internal-fqdn` was never followed by any test.
#[test]
fn clients_are_led_to_the_kind_of_address_that_they_asked_for() -> Result<()> {
    let (mut a, mut others) = cluster(1, &[])?;
    let b = others.pop().context("b")?;
    let port = b.server.port;
    let kinds = [
        ("internal-fqdn", Value::Text(format!("b.pods.example:{port}"))),
        ("internal-ip", Value::Text(format!("127.0.0.1:{port}"))),
        ("none", Value::Nil),
    ];
    let mut clients = Vec::new();
    for (kind, endpoint) in kinds {
        let mut client = a.server.client()?;
        client.say("HELLO 3")?;
        client.say(&format!("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type {kind}"))?;
        clients.push((client, kind, endpoint));
    }
    a.pause("s1", &b)?;
    let named = format!("{} HOSTNAME b.pods.example", handover("s1", &b));
    a.expect("HANDOVER", &named, "ACCEPTED 1.1")?;
    a.expect("RELEASE", "ID s1", "OK")?;
    for (client, kind, endpoint) in &mut clients {
        let moving = loop {
            match client.receive()? {
                Value::Push(push) if push.first() == Some(&Value::Text("MOVING".into())) => {
                    break push;
                }
                Value::Push(_) => {}
                other => bail!("{kind}: {other:?}"),
            }
        };
        ensure!(moving.last() == Some(endpoint), "{kind}: {moving:?}");
    }
    Ok(())
}

/// A switch led clients to a member with other users, where they were refused.
#[test]
fn members_tell_whether_their_users_are_alike() -> Result<()> {
    let (a, mut others) = cluster(1, &[])?;
    let b = others.pop().context("b")?;
    let before = a.status("users")?;
    ensure!(!before.is_empty() && b.status("users")? == before);
    a.server.client()?.say("ACL SETUSER ann on >word +get ~*")?;
    let after = a.status("users")?;
    ensure!(after != before, "a new user changes nothing of what is told");
    b.until("users", &after)?;
    ensure!((a.status("listens")?, b.status("listens")?) == ("tcp".into(), "tcp".into()));
    Ok(())
}

/// The steps by hand in one command: clients notice nothing, also those that wait for a list.
#[test]
fn failover_hands_over_to_a_replica_and_relays_the_clients() -> Result<()> {
    let a = Server::start("a", &[])?;
    let follows = format!("127.0.0.1 {}", a.port);
    let b = Server::start("b", &["--replicaof", &follows])?;
    let c = Server::start("c", &["--replicaof", &follows])?;
    for replica in [&b, &c] {
        wait::until("the replica is in sync", PATIENCE, || {
            Ok((replica.info("master_link_status")? == "up").then_some(()))
        })?;
    }
    let writers = ["w0", "w1", "w2"].map(|key| Writer::start(&a, key));
    let mut waiting = a.client()?;
    waiting.send(&["BLPOP", "list", "0"])?;
    wait::until("it waits", PATIENCE, || Ok((a.info("blocked_clients")? == "1").then_some(())))?;
    let failover = format!("FAILOVER TO 127.0.0.1 {}", b.port);
    ensure!(a.client()?.say(&failover)?.text()? == "OK");
    wait::until("the old primary follows", PATIENCE, || {
        let done = a.info("master_failover_state")? == "no-failover";
        Ok((done && a.info("master_link_status").is_ok_and(|word| word == "up")).then_some(()))
    })?;
    ensure!(b.info("role")? == "master" && a.info("role")? == "slave");
    let before = b.client()?.call(&["GET", "w0"])?.text()?.parse::<i64>()?;
    wait::until("writes go on through the old primary", PATIENCE, || {
        let value = b.client()?.call(&["GET", "w0"])?.text()?.parse::<i64>()?;
        Ok((value > before + 100).then_some(()))
    })?;
    for (writer, key) in writers.into_iter().zip(["w0", "w1", "w2"]) {
        let acknowledged = writer?.end()?;
        let kept = b.client()?.call(&["GET", key])?.text()?;
        ensure!(kept == acknowledged.to_string(), "{key}: {acknowledged} answers, {kept} kept");
    }
    b.client()?.say("RPUSH list x")?;
    let popped = Value::Array(["list", "x"].map(|word| Value::Text(word.into())).to_vec());
    ensure!(waiting.receive()? == popped);
    ensure!(b.info("sync_full")? == "0", "the new primary sent a full resync");
    wait::until("the third follows the chain", PATIENCE, || {
        let offset = b.info("master_repl_offset")?;
        Ok((c.info("slave_repl_offset")? == offset).then_some(()))
    })?;

    // It ends with the following: whoever is made a primary by hand serves its clients itself.
    ensure!(a.client()?.say("REPLICAOF NO ONE")?.text()? == "OK");
    ensure!(a.client()?.say("SET here 1")?.text()? == "OK");
    ensure!(b.client()?.say("GET here")? == Value::Nil);
    Ok(())
}

/// A replica that stands still holds writes until the time is up or a person says so, and then they
/// go on where they were.
#[test]
fn a_failover_that_comes_to_nothing_lets_writes_go_on() -> Result<()> {
    let a = Server::start("a", &[])?;
    let b = Server::start("b", &["--replicaof", &format!("127.0.0.1 {}", a.port)])?;
    wait::until("the replica is in sync", PATIENCE, || {
        Ok((b.info("master_link_status")? == "up").then_some(()))
    })?;
    b.signal("STOP");
    let mut person = a.client()?;
    for wish in ["FAILOVER", "FAILOVER TIMEOUT 500"] {
        let mut writer = a.client()?;
        // So that it is not level.
        ensure!(person.say("INCR n").is_ok());
        ensure!(person.say(wish)?.text()? == "OK");
        writer.send(&["SET", "k", wish])?;
        // Where the time is up by itself, nobody knows whether it is not when somebody looks.
        if wish == "FAILOVER" {
            wait::until("it is held", PATIENCE, || {
                Ok((a.info("paused_clients")? == "1").then_some(()))
            })?;
            ensure!(a.info("master_failover_state")? == "waiting-for-sync");
            let again = person.say("FAILOVER")?;
            ensure!(matches!(&again, Value::Error(why) if why.contains("already in progress")));
            let follow = person.say("REPLICAOF 127.0.0.1 1")?;
            ensure!(matches!(&follow, Value::Error(why) if why.contains("while failing over")));
            ensure!(person.say("FAILOVER ABORT")?.text()? == "OK");
        }
        ensure!(writer.receive()?.text()? == "OK", "{wish}");
        ensure!(a.info("master_failover_state")? == "no-failover");
        ensure!(person.say("GET k")?.text()? == wish);
    }
    b.signal("CONT");
    ensure!(a.info("role")? == "master");
    Ok(())
}

/// A managed member's office is its operator's to move.
#[test]
fn a_managed_member_names_the_command_that_moves_it() -> Result<()> {
    let (a, _others) = cluster(1, &[])?;
    for line in ["FAILOVER", "FAILOVER ABORT"] {
        let refused = a.server.internal()?.say(line)?;
        ensure!(matches!(&refused, Value::Error(why) if why.contains("redisha switchover")));
    }
    Ok(())
}

/// What had expired on the old primary was there again on a new one whose clock is behind: in the
/// pause nothing that tells of it enters the stream, and each went by its own machine's clock.
#[test]
fn what_had_expired_stays_absent_on_a_primary_whose_clock_is_behind() -> Result<()> {
    let (mut a, mut others) = cluster(2, &["--enable-debug-command", "yes"])?;
    let (mut c, mut b) = (others.pop().context("c")?, others.pop().context("b")?);
    let mut client = a.server.client()?;
    for line in ["SET read v EX 1800", "SET unread v EX 1800", "SET later v EX 7200"] {
        ensure!(client.say(line)?.text()? == "OK", "{line}");
    }
    for member in [&a, &b, &c] {
        member.server.client()?.say("DEBUG SET-ACTIVE-EXPIRE 0")?.text()?;
    }
    a.pause("s1", &b)?;
    let offset = a.status("offset")?;
    client.say("DEBUG SET-WALL-CLOCK-OFFSET 3600000")?.text()?;
    ensure!(client.say("GET read")? == Value::Nil && client.say("EXISTS unread")?.int()? == 0);
    let left = client.say("TTL later")?.int()?;
    ensure!((1..=3_600).contains(&left), "{left}");
    ensure!(a.status("offset")? == offset, "nothing of it enters the stream");

    a.expect("HANDOVER", &handover("s1", &b), "ACCEPTED 1.1")?;
    b.until("role", "primary")?;
    c.until("primary-member", &b.id)?;
    c.until("link", "up")?;
    let mut there = b.server.client()?;
    ensure!(there.say("GET read")? == Value::Nil, "it had expired, and is there again");
    ensure!(there.say("TTL later")?.int()? <= left, "time to live has grown");
    ensure!(there.say("SET brief v PX 20")?.text()? == "OK");
    wait::until("time goes on", PATIENCE, || {
        Ok((there.say("EXISTS brief")?.int()? == 0).then_some(()))
    })?;

    // Nobody has removed the other key. Whoever is elected has seen the record, too.
    b.tell("SEAL", "TERM 2")?;
    c.tell("SEAL", "TERM 2")?;
    c.expect("PROMOTE", "TERM 2", "OK")?;
    let mut elected = c.server.client()?;
    ensure!(elected.say("GET unread")? == Value::Nil, "it had expired, and is there again");
    ensure!(elected.say("TTL later")?.int()? <= left, "time to live has grown");
    Ok(())
}

/// As above, where the record comes by another route than the stream.
#[test]
fn a_record_that_is_carried_brings_its_clock_too() -> Result<()> {
    let (mut a, mut others) = cluster(1, &["--enable-debug-command", "yes"])?;
    let mut b = others.pop().context("b")?;
    a.server.client()?.say("SET k v EX 1800")?.text()?;
    // Level, so that nothing but the record is missing.
    a.pause("s1", &b)?;
    let ahead_ms = 1_000 * (2_000 + server_time(&a.server)?);
    let record = format!(
        "v=1&uid={UID}&id=s1&epoch=1.1&from={}&from-host=127.0.0.1&from-port={}&to={}&\
         to-host=127.0.0.1&to-port={}&data-epoch=1.0&offset={}&clock={ahead_ms}",
        a.id,
        a.server.port,
        b.id,
        b.server.port,
        b.status("offset")?,
    );
    b.expect("TAKEOVER", &format!("RECORD {record}"), "ACCEPTED 1.1")?;
    ensure!(b.server.client()?.say("GET k")? == Value::Nil, "it had expired, and is there again");
    Ok(())
}

/// Seconds since 1970 by that server's clock.
fn server_time(server: &Server) -> Result<i64> {
    let time = server.client()?.say("TIME")?;
    let Value::Array(words) = time else { bail!("{time:?}") };
    Ok(words.into_iter().next().context("seconds")?.text()?.parse()?)
}
