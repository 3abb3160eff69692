use crate::engine::testing::Bench;

/// The numbers of the clients that a filter leaves.
fn listed(bench: &mut Bench, client: usize, filter: &str) -> String {
    let out = bench.ask(client, &format!("CLIENT LIST {filter}"));
    let ids = out.split_whitespace().filter_map(|word| word.strip_prefix("id="));
    let ids: Vec<&str> = ids.collect();
    if out.starts_with('-') { out } else { ids.join(" ") }
}

#[test]
fn filters_of_list_and_kill() {
    let mut bench = Bench::new(&[]);
    let clients = [bench.client(), bench.client(), bench.client()];
    bench.ask(clients[0], "CLIENT SETNAME first");
    bench.ask(clients[1], "SELECT 3");
    bench.ask(clients[2], "SUBSCRIBE news");
    bench.ask(clients[0], "ACL SETUSER joe on nopass +@all ~* &*");
    bench.ask(clients[1], "AUTH joe x");
    let mut check = |filter: &str, expected: &str| {
        assert_eq!(listed(&mut bench, clients[0], filter), expected, "{filter}");
    };
    check("SKIPME NO", "1 2 3");
    check("SKIPME YES", "2 3");
    check("ID 1 3", "1 3");
    check("NOT-ID 1 3", "2");
    check("TYPE pubsub", "3");
    check("NOT-TYPE pubsub", "1 2");
    check("USER joe", "2");
    check("NOT-USER joe", "1 3");
    check("USER nobody", "-ERR No such user 'nobody'");
    check("NAME first", "1");
    check("NOT-NAME first", "2 3");
    check("DB 3", "2");
    check("DB 99", "-ERR DB number should be between 0 and 15");
    check("FLAGS P", "3");
    check("FLAGS Z", "-ERR Unknown flags found in the provided filter: Z");
    check("ADDR 127.0.0.1:40001", "2");
    check("IP 127.0.0.1", "1 2 3");
    check("MAXAGE 0", "-ERR maxage should be greater than 0");
    check("MAXAGE 100", "");
    check("ID x", "-ERR syntax error");
    check("DB 3 TYPE pubsub", "");
    assert_eq!(bench.ask(clients[0], "CLIENT KILL TYPE pubsub"), ":1");
    assert_eq!(bench.out(clients[2]), "gone");
    assert_eq!(bench.ask(clients[0], "CLIENT KILL 127.0.0.1:1"), "-ERR No such client");
    assert_eq!(bench.ask(clients[0], "CLIENT KILL ID 1 SKIPME NO"), ":1 gone");
}

#[test]
fn the_largest_clients_go_when_all_are_too_large() {
    let mut bench = Bench::new(&[("maxmemory-clients", "100kb")]);
    let clients = [bench.client(), bench.client(), bench.client()];
    bench.ask(clients[1], "MULTI");
    bench.ask(clients[1], &format!("SET k {}", "v".repeat(200_000)));
    bench.ask(clients[2], "CLIENT NO-EVICT ON");
    bench.ask(clients[2], "MULTI");
    bench.ask(clients[2], &format!("SET k {}", "v".repeat(200_000)));
    bench.pass_ms(100);
    assert_eq!(bench.ask(clients[0], "PING"), "+PONG");
    assert_eq!(bench.out(clients[1]), "gone");
    assert_eq!(bench.ask(clients[2], "DISCARD"), "+OK");
}

/// The bound was looked at ten times a second: a command beyond it that came meanwhile was executed.
#[test]
fn a_command_that_is_too_large_for_all_clients_is_not_executed() {
    let mut bench = Bench::new(&[("maxmemory-clients", "100kb")]);
    let (client, other) = (bench.client(), bench.client());
    let value = b"v".repeat(200_000);
    let said = |bench: &mut Bench, client: usize, key: &str| {
        let head = format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n$200000\r\n");
        for part in [head.as_bytes(), &value, b"\r\n"] {
            bench.engine.receive(bench.id(client), part);
        }
        bench.engine.turn_end();
        bench.out(client)
    };
    bench.ask(other, "CLIENT NO-EVICT ON");
    assert_eq!(said(&mut bench, other, "a"), "+OK", "it is exempt");
    assert_eq!(said(&mut bench, client, "b"), "gone");
    assert_eq!(bench.engine.stats.evicted_clients, 1);
    assert_eq!(bench.ask(other, "EXISTS a b"), ":1");
}

/// The room for a command in parts doubled beyond its end: half of the bound was too much already.
#[test]
fn a_command_in_parts_takes_as_much_as_it_is_long() {
    let mut bench = Bench::new(&[("maxmemory-clients", "100kb")]);
    let client = bench.client();
    let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$70000\r\n{}\r\n", "v".repeat(70_000));
    for part in request.as_bytes().chunks(16 * 1024) {
        bench.engine.receive(bench.id(client), part);
    }
    bench.engine.turn_end();
    assert_eq!(bench.out(client), "+OK");
}

/// A smaller bound was obeyed only some time later.
#[test]
fn a_smaller_bound_of_all_clients_is_obeyed_at_once() {
    let mut bench = Bench::new(&[("maxmemory-clients", "0")]);
    let (large, small) = (bench.client(), bench.client());
    bench.ask(large, "MULTI");
    bench.ask(large, &format!("SET k {}", "v".repeat(200_000)));
    assert_eq!(bench.ask(small, "CONFIG SET maxmemory-clients 100kb"), "+OK");
    assert_eq!(bench.out(large), "gone");
}

/// Tools that copy a live server say themselves when a key ends: without `import-mode` what they had
/// just written was gone before they said so.
#[test]
fn under_import_mode_keys_end_when_their_source_says_so() {
    let mut bench = Bench::new(&[]);
    let (source, other) = (bench.client(), bench.client());
    let refused = "-ERR Server is not in import mode";
    assert_eq!(bench.ask(source, "CLIENT IMPORT-SOURCE ON"), refused);
    assert_eq!(bench.ask(source, "CLIENT IMPORT-SOURCE OFF"), "+OK");
    bench.ask(other, "CONFIG SET import-mode yes");
    assert_eq!(bench.ask(source, "CLIENT IMPORT-SOURCE ON"), "+OK");
    assert!(bench.ask(source, "CLIENT INFO").contains(" flags=I "));
    for line in ["SET k 1 PX 10", "SET old v PXAT 1000", "SET now v", "EXPIREAT now 5"] {
        assert!(!bench.ask(source, line).starts_with('-'), "{line}");
    }
    bench.ask(source, "HSET h f v");
    bench.ask(source, "HPEXPIRE h 10 FIELDS 1 f");
    bench.pass_ms(500);
    let mut check = |client: usize, line: &str, expected: &str| {
        assert_eq!(bench.ask(client, line), expected, "{line}");
    };
    check(other, "DBSIZE", ":4");
    check(other, "GET k", "$-1");
    check(other, "TTL k", ":-2");
    check(other, "HGET h f", "$-1");
    check(source, "TTL k", ":0");
    check(source, "INCR k", ":2");
    check(source, "HGET h f", "$1 v");
    check(source, "MGET old now", "*2 $1 v $1 v");
    check(source, "DEL old", ":1");
    check(source, "CLIENT IMPORT-SOURCE OFF", "+OK");
    check(source, "GET k", "$-1");
    check(source, "CLIENT IMPORT-SOURCE ON", "+OK");
    check(source, "GET k", "$1 2");
    check(other, "CONFIG SET import-mode no", "+OK");
    bench.pass_ms(500);
    assert_eq!(bench.ask(other, "DBSIZE"), ":0");
    assert_eq!(bench.ask(source, "GET k"), "$-1", "the word counts under import-mode alone");
}

/// Whoever took NO-TOUCH back left it in force for all connections.
#[test]
fn no_touch_ends_with_the_command_that_takes_it_back() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    bench.ask(client, "SET k v");
    bench.ask(client, "CLIENT NO-TOUCH ON");
    bench.pass_ms(5000);
    bench.ask(client, "GET k");
    assert_eq!(bench.ask(client, "OBJECT IDLETIME k"), ":5");
    bench.ask(client, "CLIENT NO-TOUCH OFF");
    bench.ask(client, "GET k");
    assert_eq!(bench.ask(client, "OBJECT IDLETIME k"), ":0");
}

/// The confirmation of a subscription is a message, and was left out with the replies.
#[test]
fn subscriptions_are_confirmed_though_replies_are_off() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    bench.ask(client, "HELLO 3");
    assert_eq!(bench.ask(client, "CLIENT REPLY OFF"), "");
    assert_eq!(bench.ask(client, "SUBSCRIBE c"), ">3 $9 subscribe $1 c :1");
    assert_eq!(bench.ask(client, "PING"), "");
    assert_eq!(bench.ask(client, "UNSUBSCRIBE c"), ">3 $11 unsubscribe $1 c :0");
}
