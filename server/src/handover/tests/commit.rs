//! What may be answered: stories of commits, configs and leases.

use super::world::{Node, UID, follow, target};
use crate::handover::{Config, ConfigError, Effect, Event, Handover, Reply, Verb};

const LEASE_US: u64 = 600_000;

fn config(text: &str) -> Config {
    text.parse().expect("a config in a test")
}

/// A primary `a` at 1.0 under this config, whose start record is written.
fn primary(text: &str) -> Node {
    let mut a = Node::boot("a");
    assert_eq!(a.ask(Verb::Bootstrap { term: 1, config: Some(config(text)) }), Some(Reply::Ok));
    a
}

/// Appends `bytes` of data, as a turn of the event loop does.
fn write(node: &mut Node, bytes: u64) -> u64 {
    node.offset += bytes;
    node.now_us += 10_000;
    node.member.note_stream(node.offset, node.now_us);
    node.offset
}

fn ack(node: &mut Node, member: &str, offset: u64) {
    node.event(Event::Ack { member: member.into(), offset, durable: 0 });
}

fn released(node: &Node) -> Option<u64> {
    node.member.released(node.now_us)
}

#[test]
fn a_config_is_read_as_it_is_written_and_an_unsound_one_is_refused() {
    let text = "3/2/2/replicated/degrade/a,b,c;4/2/1/async/block/a";
    let both = Config::parse_all(text).unwrap();
    assert_eq!(Config::print_all(&both), text);
    assert_eq!(Config::parse_all(""), Ok(Vec::new()));
    for unsound in ["", "1/1/0/async/block/a", "1/1/2/async/block/a", "1/1/1/async/block/a,a"] {
        assert_eq!(unsound.parse::<Config>(), Err(ConfigError), "{unsound}");
    }
}

#[test]
fn a_write_is_answered_when_w_members_hold_it() {
    let mut a = primary("1/1/2/replicated/block/a,bb,ccc");
    let first = write(&mut a, 10);
    assert_eq!(released(&a), None, "nobody has given a lease");
    a.replica_up("bb", 0);
    ack(&mut a, "bb", first);
    assert_eq!(released(&a), Some(first));
    let second = write(&mut a, 10);
    assert_eq!(released(&a), Some(first));
    // Who is no member of the config does not count.
    a.replica_up("stranger", second);
    assert_eq!(released(&a), Some(first));
    ack(&mut a, "bb", second);
    assert_eq!(released(&a), Some(second));
}

/// Under `async` nobody else need hold a write, and still no two members answer at one time.
#[test]
fn async_answers_under_leases_of_most_members_and_needs_no_other_copy() {
    let mut a = primary("1/1/2/async/block/a,bb,ccc");
    let first = write(&mut a, 10);
    assert_eq!(released(&a), None, "nobody has given a lease");
    a.replica_up("bb", 0);
    ack(&mut a, "bb", first);
    let second = write(&mut a, 10);
    assert_eq!(released(&a), Some(second), "the own copy is the commit");
    a.now_us += LEASE_US;
    assert_eq!(released(&a), None, "a primary that is cut off answers nothing more");
    let mut b = Node::boot("bb");
    b.ask(Verb::Seal { term: 2 });
    let two = config("2/2/2/async/block/a,bb,ccc");
    b.ask(Verb::Promote { term: 2, config: Some(two), wait_ms: 100 });
    b.replica_up("ccc", 0);
    let start = write(&mut b, 10);
    ack(&mut b, "ccc", start);
    assert_eq!(released(&b), None, "the old primary may still answer");
    b.now_us += 100_000;
    assert_eq!(released(&b), Some(start));
}

/// A loss is bounded: a lease proves that its giver holds all that is older than the lease.
#[test]
fn async_answers_nothing_while_the_others_lag_by_more_than_a_lease() {
    let mut a = primary("1/1/2/async/block/a,bb,ccc");
    let first = write(&mut a, 10);
    a.replica_up("bb", 0);
    ack(&mut a, "bb", first);
    let begun_us = a.now_us;
    for step in 1..=6 {
        a.now_us = begun_us + step * LEASE_US / 6;
        a.offset += 10;
        a.member.note_stream(a.offset, a.now_us);
        // The replica lives, and is stuck at the beginning.
        ack(&mut a, "bb", first);
    }
    assert_eq!(released(&a), None);
}

/// After a restored status a primary that had answered alone took a member that had been silent into its
/// config at once, and then an election among the two needed the word of that member alone.
#[test]
fn async_counts_a_member_that_has_given_a_lease() {
    let mut a = primary("1/1/1/async/degrade/a");
    write(&mut a, 10);
    let two = || Verb::Prepare { config: config("2/1/2/async/degrade/a,bb") };
    assert!(matches!(a.ask(two()), Some(Reply::NotReady(_))));
    a.replica_up("bb", 0);
    assert!(matches!(a.ask(two()), Some(Reply::NotReady(_))));
    let end = write(&mut a, 10);
    ack(&mut a, "bb", end);
    assert_eq!(a.ask(two()), Some(Reply::Prepared));
    a.now_us += LEASE_US;
    assert!(matches!(a.ask(two()), Some(Reply::NotReady(_))));
}

#[test]
fn without_a_config_nothing_waits() {
    let mut bare = Node::boot("a");
    bare.ask(Verb::Bootstrap { term: 1, config: None });
    assert!(!bare.member.waits_for_commit());
}

/// What had been written before anything waited for members was noted when something did, and a
/// lease given long before counted from there.
#[test]
fn what_is_older_than_the_first_config_gives_no_lease() {
    let mut a = Node::boot("a");
    a.ask(Verb::Bootstrap { term: 1, config: None });
    a.replica_up("bb", a.offset);
    let offset = a.offset;
    a.now_us += 5_000_000;
    a.ask(Verb::Prepare { config: config("1/1/2/replicated/block/a,bb") });
    a.member.note_stream(offset, a.now_us);
    ack(&mut a, "bb", offset);
    assert_eq!(released(&a), None);
    let more = write(&mut a, 10);
    ack(&mut a, "bb", more);
    assert_eq!(released(&a), Some(more));
}

/// A change was counted before it was published, or the old rule forgotten before it was.
#[test]
fn between_prepare_and_commit_both_configs_must_hold_a_write() {
    let mut a = primary("1/1/1/replicated/block/a");
    let both = config("2/1/2/replicated/block/a,bb");
    let first = write(&mut a, 10);
    a.event(Event::Tick);
    assert!(matches!(a.ask(Verb::Prepare { config: both.clone() }), Some(Reply::NotReady(_))));
    let second = write(&mut a, 10);
    assert_ne!(released(&a), Some(second), "the new config counts from PREPARE on");
    a.replica_up("bb", first);
    ack(&mut a, "bb", second);
    assert_eq!(a.ask(Verb::Prepare { config: both.clone() }), Some(Reply::Prepared));
    assert_eq!(released(&a), Some(second));
    let third = config("3/1/1/replicated/block/a");
    assert!(matches!(a.ask(Verb::Prepare { config: third.clone() }), Some(Reply::NotReady(_))));
    assert!(matches!(a.ask(Verb::Commit { config: third }), Some(Reply::NotReady(_))));
    assert_eq!(a.ask(Verb::Commit { config: both.clone() }), Some(Reply::Ok));
    assert_eq!(a.ask(Verb::Commit { config: both }), Some(Reply::Ok));
    assert_eq!(a.member.configs().len(), 1);
}

#[test]
fn a_change_that_was_given_up_is_published_under_a_number_of_its_own() {
    let mut a = primary("1/1/1/replicated/block/a");
    a.ask(Verb::Prepare { config: config("2/1/2/replicated/block/a,bb") });
    let back = config("2/1/1/replicated/block/a");
    assert!(matches!(
        a.ask(Verb::Commit { config: config("1/1/1/replicated/block/a") }),
        Some(Reply::NotReady(_))
    ));
    assert_eq!(a.ask(Verb::Commit { config: back.clone() }), Some(Reply::Ok));
    assert_eq!(a.member.configs(), [back]);
}

#[test]
fn an_elected_primary_opens_when_its_start_record_is_held_and_old_leases_have_ended() {
    let mut b = Node::boot("bb");
    b.ask(Verb::Seal { term: 2 });
    let two = config("2/2/2/replicated/block/a,bb,ccc");
    b.ask(Verb::Promote { term: 2, config: Some(two), wait_ms: 100 });
    let start = write(&mut b, 10);
    b.replica_up("ccc", 0);
    assert_eq!(released(&b), None);
    ack(&mut b, "ccc", start);
    assert_eq!(released(&b), None, "the old primary may still answer reads");
    assert!(b.member.next_deadline_us().is_some());
    b.now_us += 100_000;
    assert_eq!(released(&b), Some(start));
    // A deadline that has passed and stays would be met for ever.
    b.event(Event::Tick);
    assert_eq!(b.member.next_deadline_us(), None);
}

#[test]
fn acknowledgements_of_the_log_before_the_start_record_commit_nothing() {
    let mut b = Node::boot("bb");
    b.offset = 500;
    b.empty = false;
    b.ask(Verb::Seal { term: 2 });
    let two = config("2/2/2/replicated/block/a,bb,ccc");
    b.ask(Verb::Promote { term: 2, config: Some(two), wait_ms: 0 });
    b.replica_up("ccc", 500);
    assert_eq!(b.member.committed(), 0);
}

/// A process was stopped for a minute, went on, and answered a read by the clock that it had read
/// before it was stopped.
#[test]
fn a_lease_of_the_holder_ends_before_that_of_the_giver() {
    let mut a = primary("1/1/2/replicated/block/a,bb");
    let mut b = Node::boot("bb");
    b.ask(follow("1.0", "a"));
    let offset = write(&mut a, 10);
    a.replica_up("bb", 0);
    // The giver's clock runs a tenth faster, and it acknowledges at the same moment.
    let given_us = b.now_us;
    b.member.granted(given_us);
    ack(&mut a, "bb", offset);
    let begun_us = a.now_us;
    assert_eq!(a.member.released(begun_us + LEASE_US - 1), Some(offset));
    assert_eq!(a.member.released(begun_us + LEASE_US), None);
    let fast_us = given_us + (LEASE_US * 11).div_ceil(10) - 1;
    b.now_us = fast_us;
    let Some(Reply::Sealed(status)) = b.ask(Verb::Seal { term: 2 }) else {
        panic!("sealed");
    };
    assert_eq!(status.lease_left_ms, 1, "rounded up: never shorter than it is");
}

/// A turn that came soon after another one was not remembered, the next one was, with the same length
/// of the stream and its own, later clock: the lease lasted longer than its giver had granted.
#[test]
fn a_length_that_was_passed_over_is_not_noted_with_a_later_clock() {
    let mut a = primary("1/1/2/replicated/block/a,bb");
    write(&mut a, 10);
    let begun_us = a.now_us;
    a.replica_up("bb", 0);
    a.offset += 10;
    a.now_us += 1_000;
    a.member.note_stream(a.offset, a.now_us);
    a.now_us += 400_000;
    a.member.note_stream(a.offset, a.now_us);
    let offset = a.offset;
    ack(&mut a, "bb", offset);
    assert_eq!(a.member.released(begun_us + LEASE_US - 1), Some(offset));
    assert_eq!(a.member.released(begun_us + LEASE_US), None);
}

/// A member that came back counted with what it had asked for, not with a word of its own.
#[test]
fn to_ask_for_the_stream_is_no_lease() {
    let mut a = primary("1/1/2/replicated/block/a,bb");
    let offset = write(&mut a, 10);
    a.replica_up("bb", offset);
    assert_eq!(a.member.committed(), offset);
    assert_eq!(released(&a), None);
}

#[test]
fn a_handover_carries_both_configs_and_waits_for_commit() {
    let mut a = primary("1/1/2/replicated/block/a,bb");
    a.ask(Verb::Prepare { config: config("2/1/2/replicated/block/a,bb,ccc") });
    let offset = write(&mut a, 10);
    a.replica_up("bb", offset - 1);
    a.ask(super::world::pause("x", "bb"));
    assert!(matches!(a.ask(super::world::handover("x", "bb")), Some(Reply::NotReady(_))));
    ack(&mut a, "bb", offset);
    assert_eq!(a.ask(super::world::handover("x", "bb")), None);
    let (_, argument) = a.written.last().expect("the record").clone();
    let blob = argument.strip_prefix("redisha:handover:").expect("a handover");
    let record = Handover::decode(blob).unwrap();
    assert_eq!(Config::parse_all(&record.configs).unwrap().len(), 2);
    assert_eq!(released(&a), None, "a giver answers nothing");
    let mut b = Node::boot("bb");
    b.ask(follow("1.0", "a"));
    b.offset = record.offset;
    b.event(Event::Replaced { data_epoch: record.data_epoch });
    assert!(matches!(b.ask(Verb::Takeover { blob: blob.into() }), Some(Reply::Outcome { .. })));
    assert!(b.is_primary() && b.member.configs().len() == 2);
}

/// A handover was tried when its target held everything, and with the giver made two of the three
/// that a write needs.
#[test]
fn a_level_target_alone_is_no_commit() {
    let mut a = primary("1/1/3/replicated/block/a,bb,ccc,dddd,eeeee");
    let offset = write(&mut a, 10);
    a.replica_up("bb", offset);
    a.replica_up("ccc", 0);
    ack(&mut a, "bb", offset);
    a.ask(super::world::pause("x", "bb"));
    assert!(matches!(a.ask(super::world::handover("x", "bb")), Some(Reply::NotReady(_))));
    ack(&mut a, "ccc", offset);
    assert_eq!(a.ask(super::world::handover("x", "bb")), None);
}

/// A primary gave its epoch to a replica that no config counted: its acceptance proved nothing about
/// an election among the others, and what had been read here was released as fresh.
#[test]
fn only_a_member_of_every_active_config_may_take_over() {
    let mut a = primary("1/1/2/async/degrade/a,bb");
    a.replica_up("ccc", a.offset);
    let refused = |a: &mut Node, id: &str| {
        matches!(a.ask(super::world::pause(id, "ccc")), Some(Reply::NotReady(_)))
    };
    assert!(refused(&mut a, "x"));
    a.ask(Verb::Prepare { config: config("2/1/2/async/degrade/a,bb,ccc") });
    assert!(refused(&mut a, "y"), "the first config is still obeyed");
    a.ask(Verb::Commit { config: config("2/1/2/async/degrade/a,bb,ccc") });
    assert!(!refused(&mut a, "z"));
    // By itself it chooses nobody else either.
    let mut b = primary("1/1/2/async/degrade/a,bb");
    b.replica_up("ccc", b.offset);
    b.event(Event::Drain { alone_at_us: 0 });
    assert!(!b.member.is_paused());
}

/// A primary that was elected gave its epoch away at once, and its target opened while the old
/// primary's leases still lasted.
#[test]
fn an_elected_primary_gives_nothing_away_before_old_leases_have_ended() {
    let mut b = Node::boot("bb");
    b.ask(Verb::Seal { term: 2 });
    let two = config("2/2/2/async/block/a,bb,ccc");
    b.ask(Verb::Promote { term: 2, config: Some(two), wait_ms: 100 });
    b.replica_up("ccc", 0);
    let start = write(&mut b, 10);
    ack(&mut b, "ccc", start);
    b.ask(super::world::pause("x", "ccc"));
    let early = b.ask(super::world::handover("x", "ccc"));
    assert!(matches!(early, Some(Reply::NotReady(_))), "{early:?}");
    b.now_us += 100_000;
    assert_eq!(b.ask(super::world::handover("x", "ccc")), None, "its answer comes later");
}

/// With two members the one that is left goes on alone, and only if the other resigned.
#[test]
fn a_resigned_member_is_never_sealed_and_need_not_hold_a_write() {
    for (rule, goes_on) in [("degrade", true), ("block", false)] {
        let mut a = primary(&format!("1/1/2/replicated/{rule}/a,bb"));
        a.replica_up("bb", a.offset);
        let offset = write(&mut a, 10);
        a.event(Event::ReplicaGone { member: "bb".into() });
        assert_eq!(released(&a), None, "a crash is no resignation");
        a.event(Event::Resigned { member: "bb".into() });
        assert_eq!(released(&a), goes_on.then_some(offset), "{rule}");
    }
    let mut b = Node::boot("bb");
    b.ask(follow("1.0", "a"));
    assert!(b.event(Event::Resign).contains(&Effect::Resign));
    assert!(matches!(
        b.ask_as(UID, &target("bb").member, Verb::Seal { term: 2 }),
        Some(Reply::NotReady(_))
    ));
}

/// One of three resigned, then another crashed: the first never comes back and the second cannot be
/// sealed with enough others, and yet the one that was left waited for the lease of the crashed.
#[test]
fn a_crash_after_a_resignation_leaves_one_that_goes_on() {
    for (rule, goes_on) in [("degrade", true), ("block", false)] {
        let mut a = primary(&format!("1/1/2/replicated/{rule}/a,bb,ccc"));
        a.replica_up("bb", 0);
        a.replica_up("ccc", 0);
        let offset = write(&mut a, 10);
        ack(&mut a, "bb", offset);
        ack(&mut a, "ccc", offset);
        a.event(Event::Resigned { member: "ccc".into() });
        let more = write(&mut a, 10);
        assert_eq!(released(&a), Some(offset), "one that is there is waited for");
        a.event(Event::ReplicaGone { member: "bb".into() });
        assert_eq!(released(&a), Some(if goes_on { more } else { offset }), "{rule}");
        a.now_us += LEASE_US;
        assert_eq!(released(&a), goes_on.then_some(more), "{rule}");
    }
}

/// Whoever had followed another primary since forgot the lease that it had given before.
#[test]
fn a_lease_given_to_another_primary_does_not_shorten_the_first() {
    let mut b = Node::boot("bb");
    b.ask(follow("1.0", "a"));
    b.member.granted(b.now_us);
    b.ask(follow("2.0", "ccc"));
    let Some(Reply::Sealed(status)) = b.ask(Verb::Seal { term: 3 }) else {
        panic!("sealed");
    };
    assert_eq!(status.lease_left_ms, 660);
}
