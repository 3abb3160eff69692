//! Clients that are led to another server, with real servers and raw connections: the five steps
//! by hand, what the relay carries, what the errors say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tests::resp::{Client, Value};
use tests::server::Server;
use tests::wait;

fn text(words: &str) -> Value {
    Value::Text(words.into())
}

fn ok() -> Value {
    text("OK")
}

/// One line of a conversation: a command and its reply.
#[track_caller]
fn check(client: &mut Client, line: &str, expected: &Value) {
    assert_eq!(client.say(line).unwrap(), *expected, "{line}");
}

fn level(primary: &Server, replica: &Server) {
    wait::until("the replica is level", Duration::from_secs(20), || {
        Ok(replica.is_level_with(primary)?.then_some(()))
    })
    .unwrap();
}

fn lead(from: &Server, to: &Server, mode: &str) {
    let line = format!("CLIENT FORCE REDIRECT 127.0.0.1 {}{mode}", to.port);
    check(&mut from.client().unwrap(), &line, &ok());
}

/// The steps of the project's first idea, as a person types them; no client sees anything.
#[test]
fn five_steps_by_hand() {
    let (old, new) = pair("five");
    let mut writer = old.client().unwrap();
    let mut person = old.client().unwrap();
    let mut other = new.client().unwrap();
    check(&mut other, &format!("REPLICAOF 127.0.0.1 {}", old.port), &ok());
    check(&mut writer, "INCR count", &Value::Int(1));
    level(&old, &new);

    check(&mut person, "CLIENT PAUSE 20000 WRITE", &ok());
    writer.send(&["INCR", "count"]).unwrap();
    level(&old, &new);
    check(&mut other, "REPLICAOF NO ONE", &ok());
    lead(&old, &new, "");
    check(&mut person, "CLIENT UNPAUSE", &ok());

    assert_eq!(writer.receive().unwrap(), Value::Int(2), "the held write ran on the new primary");
    check(&mut writer, "INCR count", &Value::Int(3));
    check(&mut other, "GET count", &text("3"));
    check(&mut old.client().unwrap(), "GET count", &text("3"));
}

fn pair(name: &str) -> (Server, Server) {
    (
        Server::start(&format!("{name}-old"), &[]).unwrap(),
        Server::start(&format!("{name}-new"), &[]).unwrap(),
    )
}

#[test]
fn a_relayed_connection_keeps_its_state_and_its_order() {
    let (old, new) = pair("state");
    let mut there = new.client().unwrap();

    let mut plain = old.client().unwrap();
    check(&mut plain, "SELECT 2", &ok());
    let mut transaction = old.client().unwrap();
    check(&mut transaction, "MULTI", &ok());
    check(&mut transaction, "SET queued-before 1", &text("QUEUED"));
    let mut watcher = old.client().unwrap();
    check(&mut watcher, "WATCH k", &ok());
    let mut blocked = old.client().unwrap();
    blocked.send(&["BLPOP", "list", "0"]).unwrap();
    blocked.send(&["GET", "after"]).unwrap();
    wait::until("it is blocked", Duration::from_secs(20), || {
        Ok((old.info("blocked_clients")? == "1").then_some(()))
    })
    .unwrap();

    lead(&old, &new, " RELAY");

    check(&mut plain, "SET in-two 1", &ok());
    check(&mut there, "EXISTS in-two", &Value::Int(0));
    check(&mut there, "SELECT 2", &ok());
    check(&mut there, "GET in-two", &text("1"));
    check(&mut there, "SELECT 0", &ok());

    check(&mut transaction, "SET queued-after 2", &text("QUEUED"));
    check(&mut transaction, "EXEC", &Value::Array(vec![ok(), ok()]));
    check(&mut there, "MGET queued-before queued-after", &Value::Array(vec![text("1"), text("2")]));

    // A watch cannot be carried: nobody knows what happened to the key meanwhile.
    check(&mut watcher, "MULTI", &ok());
    check(&mut watcher, "SET k v", &text("QUEUED"));
    check(&mut watcher, "EXEC", &Value::Nil);

    check(&mut there, "SET after behind-the-pop", &ok());
    check(&mut there, "RPUSH list popped", &Value::Int(1));
    assert_eq!(blocked.receive().unwrap(), Value::Array(vec![text("list"), text("popped")]));
    assert_eq!(blocked.receive().unwrap(), text("behind-the-pop"));

    // Relayed commands, one that stays here and one that nobody knows, in one batch.
    for line in ["INCR n", "INCR n", "PING", "NONSENSE", "INCR n"] {
        plain.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let replies: Vec<Value> = (0..5).map(|_| plain.receive().unwrap()).collect();
    assert_eq!(replies[..3], [Value::Int(1), Value::Int(2), text("PONG")]);
    assert!(matches!(&replies[3], Value::Error(text) if text.contains("unknown command")));
    assert_eq!(replies[4], Value::Int(3));
}

/// What lies between two clients that block, so that their places are told apart: each goes along
/// on a connection of its own, with its age, and one connection may take some milliseconds longer.
const APART: Duration = Duration::from_millis(200);

/// Clients that block on one key are served on the new primary in the order in which they came, if
/// they came further apart than the ways of two connections differ. (They once came within a
/// millisecond of each other here, and now and then the second was served first.)
#[test]
fn blocked_commands_keep_their_order_and_their_time() {
    let (old, new) = pair("order");
    let mut waiting: Vec<Client> = Vec::new();
    for count in 1..=3 {
        let mut client = old.client().unwrap();
        client.send(&["BLPOP", "list", "0"]).unwrap();
        wait::until("it is blocked", Duration::from_secs(20), || {
            Ok((old.info("blocked_clients")? == count.to_string()).then_some(()))
        })
        .unwrap();
        waiting.push(client);
        std::thread::sleep(APART);
    }
    let mut late = old.client().unwrap();
    late.send(&["BLPOP", "never", "0.5"]).unwrap();
    lead(&old, &new, "");
    wait::until("they wait there", Duration::from_secs(20), || {
        // The one whose time runs out may be there, too, or gone again.
        let there = new.info("blocked_clients")?.parse::<u32>()?;
        Ok((there >= 4 || old.info("blocked_clients")? == "0" && there == 3).then_some(()))
    })
    .unwrap();
    check(&mut new.client().unwrap(), "RPUSH list a b c", &Value::Int(3));
    for (client, element) in waiting.iter_mut().zip(["a", "b", "c"]) {
        assert_eq!(client.receive().unwrap(), Value::Array(vec![text("list"), text(element)]));
    }
    assert_eq!(late.receive().unwrap(), Value::Nil, "its time ran out on the way or there");
}

/// A reader that waits for what comes after `$` keeps the id of the time when it came, and one of a
/// group is told when the group goes away, on whichever server they wait.
#[test]
fn readers_of_streams_wait_on_the_new_primary() {
    let (old, new) = pair("streams");
    let mut there = new.client().unwrap();
    check(&mut there, &format!("REPLICAOF 127.0.0.1 {}", old.port), &ok());
    check(&mut old.client().unwrap(), "XADD s 1-1 f v", &text("1-1"));
    check(&mut old.client().unwrap(), "XGROUP CREATE s g $", &ok());
    let waits = |words: &[&str], count: &str| {
        let mut client = old.client().unwrap();
        client.send(words).unwrap();
        wait::until("it is blocked", Duration::from_secs(20), || {
            Ok((old.info("blocked_clients")? == count).then_some(()))
        })
        .unwrap();
        client
    };
    let mut reader = waits(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"], "1");
    let group = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"];
    let mut first = waits(&group, "2");
    let mut second = waits(&group, "3");
    level(&old, &new);
    check(&mut old.client().unwrap(), "CLIENT PAUSE 20000 WRITE", &ok());
    check(&mut there, "REPLICAOF NO ONE", &ok());
    // What arrives before the readers do is not lost for them.
    check(&mut there, "XADD s 1-2 f w", &text("1-2"));
    lead(&old, &new, "");
    check(&mut old.client().unwrap(), "CLIENT UNPAUSE", &ok());
    let entry = Value::Array(vec![text("1-2"), Value::Array(vec![text("f"), text("w")])]);
    let found = Value::Array(vec![Value::Array(vec![text("s"), Value::Array(vec![entry])])]);
    assert_eq!(reader.receive().unwrap(), found);
    assert_eq!(first.receive().unwrap(), found);
    wait::until("the second waits there", Duration::from_secs(20), || {
        Ok((new.info("blocked_clients")? == "1").then_some(()))
    })
    .unwrap();
    check(&mut there, "XGROUP DESTROY s g", &Value::Int(1));
    let Value::Error(error) = second.receive().unwrap() else { panic!("no error") };
    assert!(error.contains("NOGROUP No such key 's' or consumer group 'g'"), "{error}");
}

/// The request to return a session stood behind the blocked command that it was to bring back, so
/// the client waited on the wrong server for ever.
#[test]
fn a_redirect_that_ends_brings_its_clients_back() {
    let (old, new) = pair("back");
    lead(&old, &new, "");
    let mut plain = old.client().unwrap();
    check(&mut plain, "SET there 1", &ok());
    let mut open = old.client().unwrap();
    check(&mut open, "MULTI", &ok());
    check(&mut open, "SET here-again 1", &text("QUEUED"));
    let mut blocked = old.client().unwrap();
    blocked.send(&["BLPOP", "list", "0"]).unwrap();
    wait::until("it waits there", Duration::from_secs(20), || {
        Ok((new.info("blocked_clients")? == "1").then_some(()))
    })
    .unwrap();

    check(&mut old.client().unwrap(), "CLIENT FORCE REDIRECT OFF", &ok());
    wait::until("it waits here", Duration::from_secs(20), || {
        Ok((old.info("blocked_clients")? == "1").then_some(()))
    })
    .unwrap();
    check(&mut old.client().unwrap(), "RPUSH list x", &Value::Int(1));
    assert_eq!(blocked.receive().unwrap(), Value::Array(vec![text("list"), text("x")]));
    check(&mut plain, "EXISTS there", &Value::Int(0));
    check(&mut open, "EXEC", &Value::Array(vec![ok()]));
    check(&mut plain, "GET here-again", &text("1"));
    check(&mut new.client().unwrap(), "EXISTS here-again", &Value::Int(0));
}

#[test]
fn error_mode_tells_the_way_to_everything_but_connection_and_administration() {
    let (old, new) = pair("error");
    lead(&old, &new, " ERROR");
    let way = Value::Error(format!("REDIRECT 127.0.0.1:{}", new.port));
    let mut client = old.client().unwrap();
    for line in ["GET k", "SET k v", "EVALSHA x 0", "PUBLISH c m", "DBSIZE", "MULTI"] {
        let reply = client.say(line).unwrap();
        // Commands that this version does not have are unknown wherever they are sent.
        let unknown = matches!(&reply, Value::Error(text) if text.contains("unknown command"));
        assert!(reply == way || unknown && line.starts_with("EVAL"), "{line}: {reply:?}");
    }
    let mut cluster = old.client().unwrap();
    check(&mut cluster, "CLUSTER KEYSLOT foo", &Value::Int(12182));
    cluster.say("CLUSTER SLOTS").unwrap();
    let moved = Value::Error(format!("MOVED 12182 127.0.0.1:{}", new.port));
    check(&mut cluster, "GET foo", &moved);
    for line in ["PING", "ECHO x", "SELECT 0", "CLIENT ID", "INFO", "ROLE", "CONFIG GET port"] {
        let reply = client.say(line).unwrap();
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
    }
}

#[test]
fn a_replica_may_lead_its_clients_to_the_primary() {
    let (primary, replica) = pair("replica");
    check(&mut replica.client().unwrap(), &format!("REPLICAOF 127.0.0.1 {}", primary.port), &ok());
    check(&mut primary.client().unwrap(), "SET k v", &ok());
    level(&primary, &replica);
    let way = Value::Error(format!("REDIRECT 127.0.0.1:{}", primary.port));
    let refused = "READONLY You can't write against a read only replica.";

    let mut plain = replica.client().unwrap();
    check(&mut plain, "GET k", &text("v"));
    check(&mut plain, "SET k w", &Value::Error(refused.into()));
    let mut capable = replica.client().unwrap();
    check(&mut capable, "CLIENT CAPA redirect", &ok());
    check(&mut capable, "GET k", &way);
    check(&mut capable, "SET k w", &way);
    check(&mut capable, "PING", &text("PONG"));
    check(&mut capable, "READONLY", &ok());
    check(&mut capable, "GET k", &text("v"));
    check(&mut capable, "SET k w", &way);

    let mut person = replica.client().unwrap();
    check(&mut person, "CONFIG SET replica-enable-redirect yes", &ok());
    check(&mut plain, "SET k w", &ok());
    check(&mut plain, "GET k", &text("w"));
    check(&mut primary.client().unwrap(), "GET k", &text("w"));
    check(&mut person, "CONFIG SET redirect-mode error", &ok());
    let mut fresh = replica.client().unwrap();
    check(&mut fresh, "GET k", &way);
    check(&mut fresh, "READONLY", &ok());
    level(&primary, &replica);
    check(&mut fresh, "GET k", &text("w"));
}

#[test]
fn what_cannot_be_done_is_said() {
    let server = Server::start("said", &[]).unwrap();
    let mut client = server.client().unwrap();
    for line in [
        "CLIENT FORCE REDIRECT 127.0.0.1 0",
        "CLIENT FORCE REDIRECT 127.0.0.1 x",
        "CLIENT FORCE REDIRECT 127.0.0.1 1 SOMEHOW",
        "CLIENT FORCE REDIRECT ON",
        "CLIENT MAINT_NOTIFICATIONS ON",
        "REDISHA SESSION user nobody",
        // It was taken, and the next command ended the whole server.
        "REDISHA SESSION user default db 9999",
        "REDISHA SESSION user default multi open queued *0\r\n",
    ] {
        let mut client = server.client().unwrap();
        let reply = client.say(line).unwrap();
        assert!(matches!(reply, Value::Error(_)), "{line}: {reply:?}");
    }
    client.say("HELLO 3").unwrap();
    check(&mut client, "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", &ok());
    let external = client.say("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip");
    assert!(matches!(external.unwrap(), Value::Error(_)));
    check(&mut client, "CLIENT MAINT_NOTIFICATIONS OFF", &ok());
}

/// A node that accepts connections and says nothing kept the clients that were led to it: no bound
/// ended the attempt, and a new way was taken only by commands of other clients.
#[test]
fn a_node_that_says_nothing_keeps_no_client() {
    let (old, new) = pair("mute");
    let mute = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = mute.local_addr().unwrap().port();
    let mut person = old.client().unwrap();
    check(&mut person, &format!("CLIENT FORCE REDIRECT 127.0.0.1 {port}"), &ok());
    let mut client = old.client().unwrap();
    client.send(&["INCR", "n"]).unwrap();
    wait::until("it is relayed", Duration::from_secs(20), || {
        Ok((old.info("connected_clients")?.parse::<u32>()? >= 3).then_some(()))
    })
    .unwrap();
    lead(&old, &new, "");
    assert_eq!(client.receive().unwrap(), Value::Int(1), "nothing was executed before");
    check(&mut client, "INCR n", &Value::Int(2));
    check(&mut new.client().unwrap(), "GET n", &text("2"));
}

/// Clients that were relayed already stayed with the first node when all were led to another one:
/// what a deposed primary went on to acknowledge to them was lost.
#[test]
fn a_relayed_client_goes_along_when_the_way_changes() {
    let (old, first) = pair("along");
    let second = Server::start("along-second", &[]).unwrap();
    lead(&old, &first, "");
    let mut plain = old.client().unwrap();
    check(&mut plain, "SET k first", &ok());
    let mut open = old.client().unwrap();
    check(&mut open, "MULTI", &ok());
    check(&mut open, "INCR n", &text("QUEUED"));
    let mut blocked = old.client().unwrap();
    blocked.send(&["BLPOP", "list", "0"]).unwrap();
    wait::until("it waits at the first", Duration::from_secs(20), || {
        Ok((first.info("blocked_clients")? == "1").then_some(()))
    })
    .unwrap();

    lead(&old, &second, "");
    check(&mut plain, "SET k second", &ok());
    check(&mut open, "EXEC", &Value::Array(vec![Value::Int(1)]));
    wait::until("it waits at the second", Duration::from_secs(20), || {
        Ok((second.info("blocked_clients")? == "1").then_some(()))
    })
    .unwrap();
    let mut there = second.client().unwrap();
    check(&mut there, "RPUSH list x", &Value::Int(1));
    assert_eq!(blocked.receive().unwrap(), Value::Array(vec![text("list"), text("x")]));
    check(&mut there, "MGET k n", &Value::Array(vec![text("second"), text("1")]));
    check(&mut first.client().unwrap(), "MGET k n", &Value::Array(vec![text("first"), Value::Nil]));
}

/// Rights and name that a transaction gives its client hold wherever its next command runs, and after
/// its way has ended, too.
#[test]
fn a_relayed_transaction_may_change_who_its_client_is() {
    let (old, new) = pair("who");
    for server in [&old, &new] {
        let line = "ACL SETUSER joe on >pw +@all -set ~*";
        check(&mut server.client().unwrap(), line, &ok());
    }
    let refused = |reply: &Value| matches!(reply, Value::Error(why) if why.starts_with("NOPERM"));
    let mut before = old.client().unwrap();
    check(&mut before, "MULTI", &ok());
    check(&mut before, "AUTH joe pw", &text("QUEUED"));
    lead(&old, &new, "");
    let mut behind = old.client().unwrap();
    check(&mut behind, "MULTI", &ok());
    check(&mut behind, "INCR n", &text("QUEUED"));
    check(&mut behind, "AUTH joe pw", &text("QUEUED"));
    for client in [&mut before, &mut behind] {
        check(client, "CLIENT SETNAME me", &text("QUEUED"));
        check(client, "SET k v", &text("QUEUED"));
        for line in ["EXEC", "INCR m", "SET k v", "ACL WHOAMI", "CLIENT GETNAME"] {
            client.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        let Value::Array(mut items) = client.receive().unwrap() else { panic!("no array") };
        assert!(items.pop().is_some_and(|last| refused(&last)), "{items:?}");
        assert_eq!(items[items.len() - 2..], [ok(), ok()]);
        assert!(
            matches!(client.receive().unwrap(), Value::Int(1..=2)),
            "it was executed there, once"
        );
        assert!(refused(&client.receive().unwrap()));
        assert_eq!(client.receive().unwrap(), text("joe"));
        assert_eq!(client.receive().unwrap(), text("me"));
    }
    check(&mut new.client().unwrap(), "MGET n m k", &{
        Value::Array(vec![text("1"), text("2"), Value::Nil])
    });
    check(&mut old.client().unwrap(), "CLIENT FORCE REDIRECT OFF", &ok());
    for client in [&mut before, &mut behind] {
        assert!(refused(&client.say("SET k v").unwrap()));
        check(client, "ACL WHOAMI", &text("joe"));
    }
}

/// The answers of relayed commands came although the client had turned them off, and were taken for
/// those of its next commands.
#[test]
fn a_client_that_wants_no_replies_gets_none_by_relay() {
    let (old, new) = pair("silent");
    lead(&old, &new, "");
    let mut client = old.client().unwrap();
    check(&mut client, "INCR n", &Value::Int(1));
    client.send(&["CLIENT", "REPLY", "SKIP"]).unwrap();
    client.send(&["INCR", "n"]).unwrap();
    check(&mut client, "INCR n", &Value::Int(3));
    client.send(&["CLIENT", "REPLY", "OFF"]).unwrap();
    client.send(&["INCR", "n"]).unwrap();
    client.send(&["INCR", "n"]).unwrap();
    check(&mut client, "CLIENT REPLY ON", &ok());
    check(&mut client, "INCR n", &Value::Int(6));
}

/// A `WAIT` that waited on the other node was counted as answered when its session came back, so its
/// client never got a reply.
#[test]
fn a_wait_is_answered_when_its_session_comes_back() {
    let (old, new) = pair("wait");
    let of = format!("127.0.0.1 {}", new.port);
    let replica = Server::start("wait-replica", &["--replicaof", &of]).unwrap();
    check(&mut new.client().unwrap(), "SET k v", &ok());
    level(&new, &replica);
    let mut client = old.client().unwrap();
    let id = client.say("CLIENT ID").unwrap().int().unwrap();
    lead(&old, &new, "");
    check(&mut client, "SET k w", &ok());
    client.send(&["WAIT", "9", "0"]).unwrap();
    client.send(&["ECHO", "behind"]).unwrap();
    let waits_there = || -> anyhow::Result<bool> {
        Ok(new.client()?.say("CLIENT LIST")?.text()?.contains("cmd=wait"))
    };
    let patience = Duration::from_secs(20);
    wait::until("it waits there", patience, || Ok(waits_there()?.then_some(()))).unwrap();
    check(&mut old.client().unwrap(), "CLIENT FORCE REDIRECT OFF", &ok());
    wait::until("it left", patience, || Ok((!waits_there()?).then_some(()))).unwrap();
    wait::until("it waits here", patience, || {
        Ok((old.client()?.say(&format!("CLIENT UNBLOCK {id}"))? == Value::Int(1)).then_some(()))
    })
    .unwrap();
    assert_eq!(client.receive().unwrap(), Value::Int(0), "here are no replicas");
    assert_eq!(client.receive().unwrap(), text("behind"));
}
