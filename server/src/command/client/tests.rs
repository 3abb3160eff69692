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
