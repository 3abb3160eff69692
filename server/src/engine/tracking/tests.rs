use crate::engine::testing::Bench;

/// Commands of connections `a`, `b`, `c` in RESP3 (and `d` in RESP2) with what each is answered.
fn check(directives: &[(&str, &str)], script: &str) {
    let mut bench = Bench::new(directives);
    let clients = [bench.client(), bench.client(), bench.client(), bench.client()];
    for client in &clients[..3] {
        bench.ask(*client, "HELLO 3");
    }
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (who, rest) = line.split_once(": ").expect(line);
        let client = clients[usize::from(who.as_bytes()[0] - b'a')];
        let (command, expected) = rest.split_once(" =>").expect(line);
        let answer = match command {
            "(out)" => bench.out(client),
            "(cron)" => {
                bench.pass_ms(100);
                String::new()
            }
            command => bench.ask(client, command),
        };
        assert_eq!(answer, expected.trim_start(), "{line}");
    }
}

#[test]
fn who_read_a_key_hears_once_that_it_changed() {
    check(
        &[],
        "a: CLIENT TRACKING ON => +OK
         a: GET k => _
         a: MGET l m => *2 _ _
         b: SET k v => +OK
         a: (out) => >2 $10 invalidate *1 $1 k
         b: SET k w => +OK
         a: (out) =>
         b: MSET l 1 m 2 => +OK
         a: (out) => >2 $10 invalidate *1 $1 l >2 $10 invalidate *1 $1 m
         a: GET k => $1 w
         a: SET k x => +OK >2 $10 invalidate *1 $1 k
         a: CLIENT TRACKING OFF => +OK
         a: GET k => $1 x
         b: DEL k => :1
         a: (out) =>",
    );
}

#[test]
fn options() {
    check(
        &[],
        "a: CLIENT TRACKING ON OPTIN => +OK
         a: GET k => _
         b: SET k v => +OK
         a: (out) =>
         a: CLIENT CACHING YES => +OK
         a: GET k => $1 v
         a: GET l => _
         b: MSET k 1 l 2 => +OK
         a: (out) => >2 $10 invalidate *1 $1 k
         a: CLIENT TRACKINGINFO => %3 $5 flags ~2 $2 on $5 optin $8 redirect :0 $8 prefixes *0
         b: CLIENT TRACKING ON OPTOUT NOLOOP => +OK
         b: GET k => $1 1
         b: SET k 2 => +OK
         b: GET k => $1 2
         b: CLIENT CACHING NO => +OK
         b: GET l => $1 2
         a: MSET k 3 l 3 => +OK
         b: (out) => >2 $10 invalidate *1 $1 k
         c: CLIENT TRACKING ON BCAST PREFIX u: PREFIX v: NOLOOP => +OK
         a: MSET u:1 x w:1 x => +OK
         c: (out) => >2 $10 invalidate *1 $3 u:1
         c: SET v:1 x => +OK
         c: (out) =>
         c: CLIENT TRACKING ON BCAST PREFIX u:x => -ERR Prefix 'u:x' overlaps with an existing prefix 'u:'. Prefixes for a single client must not overlap.
         c: CLIENT TRACKING ON => -ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.
         a: CLIENT CACHING NO => -ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
    );
}

#[test]
fn another_connection_is_told_instead() {
    check(
        &[],
        "d: CLIENT ID => :4
         d: SUBSCRIBE __redis__:invalidate => *3 $9 subscribe $20 __redis__:invalidate :1
         a: CLIENT TRACKING ON REDIRECT 4 => +OK
         a: CLIENT GETREDIR => :4
         a: GET k => _
         b: SET k v => +OK
         d: (out) => *3 $7 message $20 __redis__:invalidate *1 $1 k
         b: FLUSHALL => +OK
         d: (out) => *3 $7 message $20 __redis__:invalidate $-1
         a: CLIENT TRACKING ON REDIRECT 99 => -ERR The client ID you want redirect to does not exist",
    );
}

#[test]
fn expiry_flushes_and_transactions() {
    check(
        &[("tracking-table-max-keys", "1")],
        "a: CLIENT TRACKING ON => +OK
         b: SET k v PX 50 => +OK
         a: GET k => $1 v
         a: (cron) =>
         a: (out) => >2 $10 invalidate *1 $1 k
         a: MULTI => +OK
         a: GET k => +QUEUED
         a: SET k v => +QUEUED
         a: EXEC => *2 _ +OK >2 $10 invalidate *1 $1 k
         a: GET k => $1 v
         b: FLUSHDB => +OK
         a: (out) => >2 $10 invalidate _
         a: GET k => _
         a: GET k => _
         a: (cron) =>
         a: (out) =>",
    );
    let mut bench = Bench::new(&[("tracking-table-max-keys", "1")]);
    let client = bench.client();
    bench.ask(client, "HELLO 3");
    bench.ask(client, "CLIENT TRACKING ON");
    bench.ask(client, "MGET k l");
    bench.pass_ms(100);
    assert!(bench.out(client).starts_with(">2 $10 invalidate *1 $1 "));
    assert_eq!(bench.engine.tracking.counts(), [1, 1, 1, 0]);
}

/// Answers that were left out took the pushes of the same turn with them.
#[test]
fn a_client_that_wants_no_answers_still_hears() {
    check(
        &[],
        "a: CLIENT TRACKING ON => +OK
         a: GET k => _
         a: CLIENT REPLY OFF =>
         a: SET k v => >2 $10 invalidate *1 $1 k
         a: CLIENT REPLY ON => +OK",
    );
}

#[test]
fn nothing_is_kept_for_nobody() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    bench.ask(client, "HELLO 3");
    bench.ask(client, "CLIENT TRACKING ON");
    bench.ask(client, "GET k");
    assert_eq!(bench.engine.tracking.counts(), [1, 1, 1, 0]);
    bench.ask(client, "RESET");
    assert_eq!(bench.engine.tracking.counts(), [0; 4]);
}

/// What was read in the usual mode was told once more after a change to broadcasting.
#[test]
fn what_was_read_in_another_mode_is_not_told() {
    check(
        &[],
        "a: CLIENT TRACKING ON => +OK
         a: GET k => _
         a: CLIENT TRACKING OFF => +OK
         a: CLIENT TRACKING ON BCAST PREFIX u => +OK
         b: SET k v => +OK
         a: (out) =>
         a: CLIENT TRACKING ON BCAST PREFIX vw PREFIX v => -ERR Prefix 'vw' overlaps with another provided prefix 'v'. Prefixes for a single client must not overlap.",
    );
}

/// While a script ran its client spoke the script's protocol, and what it changed was told in that
/// or not at all.
#[test]
fn what_a_script_changes_is_told_behind_its_answer() {
    check(
        &[],
        "a: CLIENT TRACKING ON => +OK
         a: GET k => _
         a: EVAL redis.call('set','k','v') 1 k => _ >2 $10 invalidate *1 $1 k
         a: EVAL return#redis.call('get','k') 1 k => :1
         b: SET k w => +OK
         a: (out) => >2 $10 invalidate *1 $1 k",
    );
}

/// `EVAL_RO` reads, and its keys were remembered although its script read none of them.
#[test]
fn of_a_script_what_its_commands_read_is_remembered() {
    check(
        &[],
        "a: CLIENT TRACKING ON => +OK
         a: EVAL_RO return(1) 2 k l => :1
         a: EVAL_RO return(redis.call('GET','l')) 2 k l => _
         b: MSET k 1 l 1 => +OK
         a: (out) => >2 $10 invalidate *1 $1 l",
    );
}
