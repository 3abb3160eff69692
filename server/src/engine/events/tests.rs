use crate::engine::testing::Bench;

/// What a subscriber of every keyspace channel hears of each command: `event key`, in order.
fn heard(bench: &mut Bench, subscriber: usize) -> Vec<String> {
    let out = bench.out(subscriber);
    let mut heard = Vec::new();
    // *4 $8 pmessage $n pattern $n __keyevent@0__:set $1 k
    for message in out.split("*4 $8 pmessage ").filter(|message| !message.is_empty()) {
        let words: Vec<_> = message.split_whitespace().collect();
        let event = words[3].trim_start_matches("__keyevent@");
        heard.push(format!("{} {}", event.replace("__:", " "), words[5]));
    }
    heard
}

fn check(commands: &[(&str, &str)]) {
    let mut bench = Bench::new(&[("notify-keyspace-events", "EAnm")]);
    let (subscriber, client) = (bench.client(), bench.client());
    bench.ask(subscriber, "PSUBSCRIBE __keyevent@*");
    for (command, expected) in commands {
        let reply = bench.ask(client, command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        assert_eq!(heard(&mut bench, subscriber).join(", "), *expected, "{command}");
    }
}

#[test]
fn each_family_tells_what_it_did() {
    check(&[
        ("SET k v", "0 new k, 0 set k"),
        ("SET k v EX 10", "0 set k, 0 expire k"),
        ("PERSIST k", "0 persist k"),
        ("GETEX k PX 1000", "0 expire k"),
        ("GETSET k 1", "0 set k"),
        ("INCR k", "0 incrby k"),
        ("DECRBY k 3", "0 incrby k"),
        ("INCRBYFLOAT k 1", "0 incrbyfloat k"),
        ("APPEND k 1", "0 append k"),
        ("SETRANGE k 0 x", "0 setrange k"),
        ("MSET a 1 b 2", "0 new a, 0 set a, 0 new b, 0 set b"),
        ("GETDEL a", "0 del a"),
        ("GET a", "0 keymiss a"),
        ("EXISTS a b", "0 keymiss a"),
        ("RENAME b a", "0 new a, 0 rename_from b, 0 rename_to a"),
        ("COPY a c DB 1", "1 new c, 1 copy_to c"),
        ("MOVE a 1", "1 new a, 0 move_from a, 1 move_to a"),
        ("DEL k nothing", "0 del k"),
        ("RPUSH l 1 2 3", "0 new l, 0 rpush l"),
        ("LMOVE l m RIGHT LEFT", "0 new m, 0 lpush m, 0 rpop l"),
        ("LPOP l", "0 lpop l"),
        ("LSET l 0 x", "0 lset l"),
        ("LINSERT l BEFORE x y", "0 linsert l"),
        ("LREM l 0 x", "0 lrem l"),
        ("LTRIM l 5 6", "0 ltrim l, 0 del l"),
        ("BRPOP m 0", "0 rpop m, 0 del m"),
        ("HSET h f 1", "0 new h, 0 hset h"),
        ("HINCRBY h f 1", "0 hincrby h"),
        ("HINCRBYFLOAT h f 1", "0 hincrbyfloat h"),
        ("HDEL h f", "0 hdel h, 0 del h"),
        ("SADD s 1 2", "0 new s, 0 sadd s"),
        ("SMOVE s t 1", "0 new t, 0 srem s, 0 sadd t"),
        ("SUNIONSTORE u s t", "0 new u, 0 sunionstore u"),
        ("SINTERSTORE u s t", "0 del u"),
        ("SREM s 2", "0 srem s, 0 del s"),
        ("SPOP t", "0 spop t, 0 del t"),
        ("ZADD z 1 a 2 b 3 c", "0 new z, 0 zadd z"),
        ("ZINCRBY z 1 a", "0 zincr z"),
        ("ZPOPMIN z", "0 zpopmin z"),
        ("ZRANGESTORE y z 0 -1", "0 new y, 0 zrangestore y"),
        ("ZREMRANGEBYRANK z 0 -1", "0 zremrangebyrank z, 0 del z"),
        ("ZREM y c", "0 zrem y"),
        ("EXPIRE y -1", "0 expired y"),
    ]);
}

#[test]
fn a_key_whose_time_comes_is_told_before_what_follows() {
    let mut bench = Bench::new(&[("notify-keyspace-events", "KEx$n")]);
    let (subscriber, client) = (bench.client(), bench.client());
    bench.ask(subscriber, "PSUBSCRIBE __keyevent@*");
    bench.ask(client, "SET k v PX 10");
    bench.ask(client, "SET j v PX 10");
    assert_eq!(heard(&mut bench, subscriber), ["0 new k", "0 set k", "0 new j", "0 set j"]);
    let mut now = bench.engine.now;
    now.unix_us += 20_000;
    bench.engine.set_now(now);
    bench.ask(client, "SET k w");
    assert_eq!(heard(&mut bench, subscriber), ["0 expired k", "0 new k", "0 set k"]);
    bench.pass_ms(100);
    assert_eq!(heard(&mut bench, subscriber), ["0 expired j"]);
}

/// A push of the command's own effects stood in front of its reply, where clients do not expect it.
#[test]
fn the_running_client_hears_of_it_behind_its_reply() {
    let mut bench = Bench::new(&[("notify-keyspace-events", "K$")]);
    let client = bench.client();
    bench.ask(client, "HELLO 3");
    bench.ask(client, "SUBSCRIBE __keyspace@0__:k c");
    let message = ">3 $7 message $16 __keyspace@0__:k $3 set";
    assert_eq!(bench.ask(client, "SET k v"), format!("+OK {message}"));
    assert_eq!(bench.ask(client, "PUBLISH c m"), ":1 >3 $7 message $1 c $1 m");
}

#[test]
fn nothing_is_said_without_a_kind_of_channel() {
    let mut bench = Bench::new(&[("notify-keyspace-events", "A")]);
    let (subscriber, client) = (bench.client(), bench.client());
    bench.ask(subscriber, "PSUBSCRIBE *");
    bench.ask(client, "SET k v");
    assert_eq!(bench.out(subscriber), "");
}
