//! What a hostile client, user, script or node may cost: each test tries one thing that was possible
//! here or in servers of this kind. `docs/security.md` lists them by limit and by CVE.

mod cves;
mod nodes;
mod outputs;
mod rights;
mod work;

use crate::engine::testing::Bench;
use crate::resp::encode_command;

/// Sends a command of any bytes; what the client was written is taken by [`Bench::out`].
fn send(bench: &mut Bench, client: usize, words: &[&[u8]]) {
    let mut bytes = Vec::new();
    encode_command(&mut bytes, words.iter().copied());
    bench.engine.receive(bench.id(client), &bytes);
    bench.engine.turn_end();
}

/// The same, and the answer.
fn ask(bench: &mut Bench, client: usize, words: &[&str]) -> String {
    send(bench, client, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    bench.out(client)
}

/// Lines of `client: command => answer`, by connections named `a` to `c`; `…` ends a prefix.
fn check(directives: &[(&str, &str)], script: &str) {
    let mut bench = Bench::new(directives);
    let clients = [bench.client(), bench.client(), bench.client()];
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (who, rest) = line.split_once(": ").expect(line);
        let (command, expected) = rest.split_once(" => ").expect(line);
        let answer = bench.ask(clients[usize::from(who.as_bytes()[0] - b'a')], command);
        match expected.strip_suffix('…') {
            Some(prefix) => assert!(answer.starts_with(prefix), "{line}: {answer}"),
            None => assert_eq!(answer, expected, "{line}"),
        }
    }
}
