//! What clients rely on beside keys is the same on the new primary, after a planned switch and
//! after a crash: scripts, functions, users, what they cache, where their scans are.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, cluster, elect, three};
use tests::resp::{Client, Value};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

fn text(word: &str) -> Value {
    Value::Text(word.to_owned())
}

fn check(client: &mut Client, words: &[&str], expect: &Value) -> Result<()> {
    let got = client.call(words)?;
    ensure!(&got == expect, "{words:?}: {got:?}, expected {expect:?}");
    Ok(())
}

/// A client connected before the switch and one that comes to the new primary find every script,
/// however it came, and every function.
#[test]
fn scripts_and_functions_are_found_after_a_switch_and_a_crash() -> Result<()> {
    let [mut a, b, mut c] = three("replicated")?;
    let mut client = a.server.client()?;
    let loaded = client.call(&["SCRIPT", "LOAD", "return 'loaded'"])?.text()?;
    check(&mut client, &["EVAL", "return KEYS[1]", "1", "k"], &text("k"))?;
    let library = "#!lua name=lib\nredis.register_function('answer', function() return 42 end)";
    check(&mut client, &["FUNCTION", "LOAD", library], &text("lib"))?;
    // The digest of what EVAL brought, as any client computes it.
    let evaluated = "4a2267357833227dd98abdedb8cf24b15a986445";
    let all = |client: &mut Client| -> Result<()> {
        check(client, &["EVALSHA", &loaded, "0"], &text("loaded"))?;
        check(client, &["EVALSHA", evaluated, "1", "k"], &text("k"))?;
        check(client, &["FCALL", "answer", "0"], &Value::Int(42))
    };
    all(&mut client)?;
    a.moves_to("s1", &b)?;
    all(&mut client).context("by relay")?;
    all(&mut b.server.client()?).context("at the new primary")?;

    c.until("link", "up")?;
    b.until_serves(&c)?;
    b.until_serves(&a)?;
    // A write that is answered is held by two, and so is all before it.
    check(&mut b.server.client()?, &["SET", "k", "v"], &text("OK"))?;
    drop(client);
    crash(b, &mut a, &mut c)?;
    all(&mut a.server.client()?).context("after the crash")
}

/// Kills the primary; the first of the others is the primary then.
fn crash(primary: Member, others: &mut Member, third: &mut Member) -> Result<()> {
    drop(primary);
    elect(others, third)
}

/// Users that were made, changed and removed on the primary are so on its successors.
#[test]
fn users_are_the_same_after_a_switch_and_a_crash() -> Result<()> {
    let [mut a, b, mut c] = three("replicated")?;
    let mut admin = a.server.client()?;
    let user = ["ACL", "SETUSER", "app", "on", ">word", "~app:*", "+@all", "-@dangerous"];
    check(&mut admin, &user, &text("OK"))?;
    check(&mut admin, &["ACL", "SETUSER", "gone", "on", ">word", "~*", "+@all"], &text("OK"))?;
    check(&mut admin, &["ACL", "DELUSER", "gone"], &Value::Int(1))?;
    let mut app = a.server.client()?;
    check(&mut app, &["AUTH", "app", "word"], &text("OK"))?;
    let may = |client: &mut Client| -> Result<()> {
        check(client, &["SET", "app:k", "1"], &text("OK"))?;
        let refused = client.call(&["SET", "other", "1"])?;
        ensure!(matches!(&refused, Value::Error(why) if why.starts_with("NOPERM")), "{refused:?}");
        Ok(())
    };
    let logs_in = |member: &Member, password: &str| -> Result<Client> {
        let mut client = member.server.client()?;
        let gone = client.call(&["AUTH", "gone", "word"])?;
        ensure!(matches!(&gone, Value::Error(why) if why.starts_with("WRONGPASS")), "{gone:?}");
        check(&mut client, &["AUTH", "app", password], &text("OK"))?;
        Ok(client)
    };
    may(&mut app)?;
    a.moves_to("s1", &b)?;
    may(&mut app).context("by relay")?;
    may(&mut logs_in(&b, "word")?).context("at the new primary")?;

    // And one that is changed by relay is changed everywhere.
    let change = ["ACL", "SETUSER", "app", "resetpass", ">other"];
    check(&mut admin, &change, &text("OK"))?;
    c.until("link", "up")?;
    b.until_serves(&c)?;
    b.until_serves(&a)?;
    check(&mut b.server.client()?, &["SET", "k", "v"], &text("OK"))?;
    drop((app, admin));
    crash(b, &mut a, &mut c)?;
    may(&mut logs_in(&a, "other")?).context("after the crash")?;
    let old = a.server.client()?.call(&["AUTH", "app", "word"])?;
    ensure!(matches!(&old, Value::Error(why) if why.starts_with("WRONGPASS")), "{old:?}");
    Ok(())
}

/// A key that was read before the switch is written after it: whoever caches it is told, in both
/// modes, though another node executed the write.
#[test]
fn a_cached_key_is_invalidated_across_a_switch() -> Result<()> {
    for mode in [&["CLIENT", "TRACKING", "ON"][..], &["CLIENT", "TRACKING", "ON", "BCAST"]] {
        let (mut a, others) = cluster(1, &[])?;
        let b = &others[0];
        let mut cache = a.server.client()?;
        cache.call(&["HELLO", "3"])?;
        check(&mut cache, mode, &text("OK"))?;
        check(&mut cache, &["GET", "k"], &Value::Nil)?;
        a.moves_to("s1", b)?;
        check(&mut b.server.client()?, &["SET", "k", "new"], &text("OK"))?;
        let of_key = Value::Push(vec![text("invalidate"), Value::Array(vec![text("k")])]);
        let of_all = Value::Push(vec![text("invalidate"), Value::Nil]);
        // A node that leaves its office also has everything forgotten that was read there.
        let told = cache.receive().with_context(|| format!("{mode:?}"))?;
        ensure!(told == of_key || told == of_all, "{told:?}");
        cache.send(&["GET", "k"])?;
        let mut answer = cache.receive()?;
        while answer == of_key || answer == of_all {
            answer = cache.receive()?;
        }
        ensure!(answer == text("new"), "{answer:?}");
        // And again, for what was read on the new primary.
        check(&mut b.server.client()?, &["SET", "k", "newer"], &text("OK"))?;
        let mut told = cache.receive().with_context(|| format!("{mode:?}, again"))?;
        while told == of_all {
            told = cache.receive().with_context(|| format!("{mode:?}, again"))?;
        }
        ensure!(told == of_key, "{told:?}");
    }
    Ok(())
}

/// A scan that begins on one primary and goes on over another gives every key that was there all
/// the time, while others come and go and the table grows.
#[test]
fn a_scan_goes_on_across_a_switch() -> Result<()> {
    const KEYS: usize = 50_000;
    let (mut a, others) = cluster(1, &[])?;
    let b = &others[0];
    let fill = "for i=1,tonumber(ARGV[2]) do redis.call('SET', ARGV[1]..i, i) end";
    let mut client = a.server.client()?;
    check(&mut client, &["EVAL", fill, "0", "kept:", &KEYS.to_string()], &Value::Nil)?;
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    let mut page = |client: &mut Client, cursor: &mut String| -> Result<bool> {
        let answer = client.call(&["SCAN", cursor, "COUNT", "500"])?;
        let Value::Array(parts) = answer else { anyhow::bail!("SCAN: {answer:?}") };
        let [Value::Text(next), Value::Array(keys)] = parts.as_slice() else {
            anyhow::bail!("SCAN: {parts:?}")
        };
        cursor.clone_from(next);
        seen.extend(keys.iter().filter_map(|key| match key {
            Value::Text(key) if key.starts_with("kept:") => Some(key.clone()),
            _ => None,
        }));
        Ok(next != "0")
    };
    for _ in 0..20 {
        ensure!(page(&mut client, &mut cursor)?, "the scan is over too early");
    }
    check(&mut client, &["EVAL", fill, "0", "more:", &(2 * KEYS).to_string()], &Value::Nil)?;
    a.moves_to("s1", b)?;
    for _ in 0..20 {
        ensure!(page(&mut client, &mut cursor)?, "the scan is over too early, by relay");
    }
    let mut there = b.server.client()?;
    let drop_some = "for i=1,tonumber(ARGV[1]) do redis.call('DEL', 'more:'..i) end";
    check(&mut there, &["EVAL", drop_some, "0", &KEYS.to_string()], &Value::Nil)?;
    // Another connection, at the new primary itself, goes on with the same cursor.
    while page(&mut there, &mut cursor)? {}
    ensure!(seen.len() == KEYS, "{} of {KEYS} keys were given", seen.len());
    wait::until("all is replicated", PATIENCE, || {
        Ok((a.status("offset")? == b.status("offset")?).then_some(()))
    })
}
