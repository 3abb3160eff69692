//! What clients see of streams where the comparison with another server cannot go: times, relayed
//! and repeated commands, and the classes of weaknesses that others had.

use crate::engine::testing::Bench;

fn bench() -> (Bench, usize) {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    (bench, client)
}

/// Runs a list of commands, each with its reply.
fn check(steps: &[(&str, &str)]) {
    let (mut bench, client) = bench();
    for (command, reply) in steps {
        assert_eq!(bench.ask(client, command), *reply, "{command}");
    }
}

#[test]
fn ids_follow_the_clock_and_never_go_back() {
    let (mut bench, client) = bench();
    let add = "XADD s * f v";
    assert_eq!(bench.ask(client, add), "$15 1700000000000-0");
    assert_eq!(bench.ask(client, add), "$15 1700000000000-1");
    bench.pass_ms(1);
    assert_eq!(bench.ask(client, add), "$15 1700000000001-0");
    bench.ask(client, "XADD s 1800000000000-5 f v");
    bench.pass_ms(1);
    assert_eq!(bench.ask(client, add), "$15 1800000000000-6");
}

#[test]
fn idle_times_of_deliveries_and_consumers() {
    let (mut bench, client) = bench();
    bench.ask(client, "XADD s 1-1 f v");
    bench.ask(client, "XADD s 1-2 f v");
    bench.ask(client, "XGROUP CREATE s g 0");
    bench.ask(client, "XREADGROUP GROUP g a COUNT 1 STREAMS s >");
    bench.pass_ms(500);
    bench.ask(client, "XREADGROUP GROUP g b COUNT 1 STREAMS s >");
    bench.pass_ms(700);
    let all = "*2 *4 $3 1-1 $1 a :1200 :1 *4 $3 1-2 $1 b :700 :1";
    assert_eq!(bench.ask(client, "XPENDING s g - + 10"), all);
    assert_eq!(bench.ask(client, "XPENDING s g IDLE 1000 - + 10"), "*1 *4 $3 1-1 $1 a :1200 :1");
    // Only the older one is taken.
    assert_eq!(bench.ask(client, "XAUTOCLAIM s g b 1000 0 JUSTID"), "*3 $3 0-0 *1 $3 1-1 *0");
    bench.ask(client, "XREADGROUP GROUP g c STREAMS s >");
    bench.pass_ms(40);
    assert_eq!(
        bench.ask(client, "XINFO CONSUMERS s g"),
        "*3 *8 $4 name $1 a $7 pending :0 $4 idle :1240 $8 inactive :1240 \
         *8 $4 name $1 b $7 pending :2 $4 idle :40 $8 inactive :40 \
         *8 $4 name $1 c $7 pending :0 $4 idle :40 $8 inactive :-1"
    );
}

#[test]
fn a_waiting_reader_keeps_the_last_id_of_the_time_when_it_came() {
    let (mut bench, client) = bench();
    let reader = bench.client();
    bench.ask(client, "XADD s 1-1 f v");
    assert_eq!(bench.ask(reader, "XREAD BLOCK 0 STREAMS s none $ $"), "");
    // What another node would run, were the reader carried there.
    let id = bench.id(reader);
    let carried = bench.engine.clients.get(id).and_then(|client| client.blocked.as_ref());
    let text: Vec<String> = carried
        .expect("it waits")
        .args
        .args()
        .iter()
        .map(|arg| String::from_utf8_lossy(arg).into_owned())
        .collect();
    assert_eq!(text.join(" "), "XREAD BLOCK 0 STREAMS s none 1-1 0-0");
    bench.ask(client, "XADD s 1-2 f v");
    assert_eq!(bench.out(reader), "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 v");
}

/// A reader of a group whose stream expired waited for ever: nothing but the expiry itself touched
/// the key, and it happened between two commands.
#[test]
fn a_reader_of_a_group_is_told_when_its_stream_expires() {
    let (mut bench, client) = bench();
    let reader = bench.client();
    bench.ask(client, "XGROUP CREATE s g $ MKSTREAM");
    bench.ask(client, "PEXPIRE s 50");
    assert_eq!(bench.ask(reader, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"), "");
    bench.pass_ms(60);
    assert_eq!(
        bench.out(reader),
        "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
    );
}

#[test]
fn events_of_streams() {
    let mut bench = Bench::new(&[("notify-keyspace-events", "Et")]);
    let (client, listener) = (bench.client(), bench.client());
    bench.ask(listener, "PSUBSCRIBE *");
    let mut check = |command: &str, events: &[&str]| {
        let reply = bench.ask(client, command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        let told: Vec<String> = bench
            .out(listener)
            .split(' ')
            .filter_map(|word| word.strip_prefix("__keyevent@0__:").map(str::to_owned))
            .collect();
        assert_eq!(told, events, "{command}");
    };
    check("XADD s 1-1 f v", &["xadd"]);
    check("XADD s MAXLEN 1 1-2 f v", &["xadd", "xtrim"]);
    check("XADD s MAXLEN 5 1-3 f v", &["xadd"]);
    check("XTRIM s MAXLEN 5", &[]);
    check("XTRIM s MAXLEN 1", &["xtrim"]);
    check("XGROUP CREATE s g 0", &["xgroup-create"]);
    check("XREADGROUP GROUP g a STREAMS s >", &["xgroup-createconsumer"]);
    check("XREADGROUP GROUP g a STREAMS s >", &[]);
    check("XGROUP CREATECONSUMER s g b", &["xgroup-createconsumer"]);
    check("XGROUP CREATECONSUMER s g b", &[]);
    check("XCLAIM s g c 0 1-3", &["xgroup-createconsumer"]);
    check("XAUTOCLAIM s g d 0 0", &["xgroup-createconsumer"]);
    check("XGROUP SETID s g 0", &["xgroup-setid"]);
    check("XGROUP DELCONSUMER s g d", &["xgroup-delconsumer"]);
    check("XGROUP DELCONSUMER s g d", &[]);
    check("XDEL s 1-3 9-9", &["xdel"]);
    check("XDEL s 9-9", &[]);
    check("XSETID s 7-7", &["xsetid"]);
    check("XGROUP DESTROY s g", &["xgroup-destroy"]);
}

/// CVE-2022-31144: claiming what others left, over entries that were deleted meanwhile, wrote
/// beyond the list of deleted ids.
#[test]
fn cve_2022_31144_claiming_over_deleted_entries() {
    let (mut bench, client) = bench();
    bench.ask(client, "XGROUP CREATE s g 0 MKSTREAM");
    for i in 1..=100 {
        bench.ask(client, &format!("XADD s {i}-1 f v"));
    }
    bench.ask(client, "XREADGROUP GROUP g a STREAMS s >");
    for i in 1..=98 {
        bench.ask(client, &format!("XDEL s {i}-1"));
    }
    let reply = bench.ask(client, "XAUTOCLAIM s g b 0 0 COUNT 40");
    assert!(reply.starts_with("*3 $4 41-1 *0 *40 $3 1-1 $3 2-1"), "{reply}");
    let reply = bench.ask(client, "XAUTOCLAIM s g b 0 41 COUNT 59 JUSTID");
    assert!(reply.starts_with("*3 $5 100-1 *1 $4 99-1 *58 $4 41-1"), "{reply}");
    assert_eq!(
        bench.ask(client, "XPENDING s g"),
        "*4 :2 $4 99-1 $5 100-1 *2 *2 $1 a $1 1 *2 $1 b $1 1"
    );
}

/// CVE-2022-35951: a COUNT that overflowed when it was multiplied gave a buffer too small. A large
/// one costs nothing here, since nothing is allocated for it.
#[test]
fn cve_2022_35951_large_counts() {
    check(&[
        ("XADD s 1-1 f v", "$3 1-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        (
            "XREADGROUP GROUP g a COUNT 9223372036854775807 STREAMS s >",
            "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v",
        ),
        ("XAUTOCLAIM s g b 0 0 COUNT 576460752303423487 JUSTID", "*3 $3 0-0 *1 $3 1-1 *0"),
        ("XAUTOCLAIM s g b 0 0 COUNT 576460752303423488", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s g b 0 0 COUNT 9223372036854775807", "-ERR COUNT must be > 0"),
        ("XRANGE s - + COUNT 9223372036854775807", "*1 *2 $3 1-1 *2 $1 f $1 v"),
        ("XPENDING s g - + 9223372036854775807 nobody", "*0"),
        ("XREAD COUNT 9223372036854775807 STREAMS s 0", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"),
        ("XTRIM s MAXLEN ~ 0 LIMIT 9223372036854775807", ":1"),
        ("XTRIM s MAXLEN 9223372036854775807", ":0"),
    ]);
}

/// CVE-2025-62507: more ids than a buffer on the stack had room for.
#[test]
fn cve_2025_62507_many_ids() {
    let (mut bench, client) = bench();
    bench.ask(client, "XADD s 1-1 f v");
    bench.ask(client, "XGROUP CREATE s g 0");
    bench.ask(client, "XREADGROUP GROUP g a STREAMS s >");
    let ids = (1..=5000).fold(String::new(), |ids, i| format!("{ids} {i}-1"));
    assert_eq!(bench.ask(client, &format!("XCLAIM s g b 0{ids}")), "*1 *2 $3 1-1 *2 $1 f $1 v");
    assert_eq!(bench.ask(client, &format!("XACK s g{ids}")), ":1");
    assert_eq!(bench.ask(client, &format!("XDEL s{ids}")), ":1");
}

/// Numbers at their ends: a server that checks its arithmetic must not stop at them.
#[test]
fn counters_at_their_ends() {
    let most = "9223372036854775807";
    let (mut bench, client) = bench();
    bench.ask(client, "XADD s 1-1 f v");
    bench.ask(client, "XADD s 1-2 f v");
    for command in [
        format!("XGROUP CREATE s g 0 ENTRIESREAD {most}"),
        format!("XSETID s 1-2 ENTRIESADDED {most}"),
        "XREADGROUP GROUP g a COUNT 1 STREAMS s >".into(),
        format!("XCLAIM s g b 0 1-1 RETRYCOUNT {most}"),
        "XCLAIM s g b 0 1-1".into(),
        "XAUTOCLAIM s g a 0 0".into(),
        "XCLAIM s g b 0 1-1 IDLE -9223372036854775808".into(),
        format!("XCLAIM s g b {most} 1-1 TIME 0"),
        "XADD s 1-3 f v".into(),
        "XADD s 1-4 f v".into(),
        "XREADGROUP GROUP g a STREAMS s >".into(),
        "XINFO STREAM s FULL".into(),
        "XINFO GROUPS s".into(),
        format!("XPENDING s g IDLE {most} - + 10"),
        "XPENDING s g IDLE -9223372036854775808 - + 10".into(),
        "XADD t 18446744073709551615-18446744073709551615 f v".into(),
        "XGROUP CREATE t g 0".into(),
        "XREADGROUP GROUP g a STREAMS t >".into(),
        "XREADGROUP GROUP g a STREAMS t 0".into(),
        "XAUTOCLAIM t g b 0 18446744073709551615-18446744073709551615".into(),
    ] {
        let reply = bench.ask(client, &command);
        assert!(!reply.starts_with('-') && !reply.is_empty(), "{command}: {reply}");
    }
    assert!(bench.ask(client, "XADD t * f v").starts_with("-ERR The stream has exhausted"));
}
