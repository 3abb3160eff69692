//! Snapshots by turns.

use super::super::super::testing::Bench;

/// The receivers of a full resync were asked to be written to in every turn, after the turn's
/// writing: the loop never slept while one of them took nothing.
#[test]
fn a_receiver_that_takes_nothing_lets_the_loop_sleep() {
    let mut bench = Bench::new(&[]);
    let (client, replica) = (bench.client(), bench.client());
    let value = "x".repeat(64 * 1024);
    for n in 0..64 {
        bench.ask(client, &format!("SET key:{n} {value}"));
    }
    bench.ask(replica, "REPLCONF capa eof capa psync2");
    assert!(bench.ask(replica, "PSYNC ? -1").starts_with("+FULLRESYNC"));
    // Its socket takes nothing, so the snapshot is made until there is no room for more.
    let mut turns = 0;
    while bench.engine.spare_turn() {
        turns += 1;
        assert!(turns < 1000, "there is always room");
    }
    assert!(turns > 1, "{turns}");
    for id in std::mem::take(&mut bench.engine.clients.flush) {
        bench.engine.clients.get_mut(id).expect("it is there").flush_queued = false;
    }
    assert!(!bench.engine.spare_turn());
    assert!(bench.engine.clients.flush.is_empty());
}
