//! Ids that outlive a restart, and answers that promise the disk.

use super::world::{Node, UID, follow, handed_over, promote, target};
use crate::handover::{Config, Effect, Epoch, Event, Identity, Kept, Member, Reply, Timing, Verb};

/// The record that the node would find now, if these effects say something of it.
#[allow(clippy::option_option, reason = "no word is another thing than no record")]
fn kept(effects: &[Effect]) -> Option<Option<Kept>> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Keep { kept } => Some(kept.as_deref().cloned()),
        _ => None,
    })
}

fn place(effects: &[Effect], wanted: impl Fn(&Effect) -> bool) -> usize {
    effects.iter().position(wanted).expect("an effect of that kind")
}

fn boot(id: &str, offset: u64, data_epoch: Epoch, kept: Option<Kept>) -> Node {
    let mut node = Node::boot(id);
    let here = target(id);
    let (uid, name) = (Some(UID.into()), format!("pod-{id}"));
    let identity = Identity { uid, name, here, keeps: true, level: 0 };
    (node.offset, node.empty) = (offset, offset == 0);
    node.member = Member::boot(identity, Timing::default(), data_epoch, kept, node.env());
    node
}

fn durable(node: &mut Node, offset: u64) -> Vec<Effect> {
    node.event(Event::Durable { offset })
}

/// A follower `bb` of `a` at 1.0 that holds 100 bytes, 80 of them durably.
fn follower() -> (Node, Kept) {
    let mut b = boot("bb", 0, Epoch::ZERO, None);
    b.ask(follow("1.0", "a"));
    (b.offset, b.empty) = (100, false);
    let record = kept(&durable(&mut b, 80)).flatten().expect("the first durable bytes keep the id");
    assert_eq!((b.member.durable(), record.offset), (80, 80));
    (b, record)
}

/// A primary `a` of three that has written, with its replica `bb`; and the end of its log.
fn primary() -> (Node, u64) {
    let mut a = boot("a", 0, Epoch::ZERO, None);
    let config: Config = "1/1/2/disk/block/a,bb,ccc".parse().unwrap();
    a.ask(Verb::Bootstrap { term: 1, config: Some(config) });
    (a.offset, a.now_us) = (a.offset + 50, a.now_us + 10_000);
    a.member.note_stream(a.offset, a.now_us);
    let end = a.offset;
    a.replica_up("bb", end);
    (a, end)
}

#[test]
fn a_record_is_read_as_it_is_written() {
    let (accepted, at) = (["1.1", "2.3"], |text: &str| text.parse::<Epoch>().unwrap());
    let kept = Kept {
        uid: UID.into(),
        member: "m&=1".into(),
        promised: at("3.1"),
        owned: at("2.3"),
        accepted: accepted.map(at).into(),
        offset: 77,
    };
    assert_eq!(Kept::decode(&kept.encode()), Ok(kept));
    assert!(Kept::decode("v=1&uid=u").is_err());
}

/// Acknowledged is what W members would find again, and the primary's own copy may be one of them.
#[test]
fn a_write_is_answered_when_w_members_hold_it_durably() {
    let (mut a, end) = primary();
    a.event(Event::Ack { member: "bb".into(), offset: end, durable: 0 });
    assert_eq!(a.member.released(a.now_us), Some(0), "memory is not enough");
    a.event(Event::Ack { member: "bb".into(), offset: end, durable: end });
    assert_eq!(a.member.released(a.now_us), Some(0), "one disk is not enough");
    let effects = durable(&mut a, end - 1);
    assert!(kept(&effects).flatten().is_some_and(|one| one.owned == Epoch::of_term(1)));
    assert_eq!(a.member.released(a.now_us), Some(end - 1));
    durable(&mut a, end);
    assert_eq!(a.member.released(a.now_us), Some(end));
}

/// The primary's disk stalled, two others held everything, and nobody was answered.
#[test]
fn a_write_is_answered_when_w_others_hold_it_durably() {
    let (mut a, end) = primary();
    a.replica_up("ccc", end);
    for member in ["bb", "ccc"] {
        a.event(Event::Ack { member: member.into(), offset: end, durable: end });
    }
    assert_eq!((a.member.durable(), a.member.released(a.now_us)), (0, Some(end)));
    // Alone it may go on only with what its own disk has.
    let alone: Config = "2/1/1/disk/degrade/a".parse().unwrap();
    let prepare = || Verb::Prepare { config: alone.clone() };
    assert!(matches!(a.ask(prepare()), Some(Reply::NotReady(_))));
    durable(&mut a, end);
    assert_eq!(a.ask(prepare()), Some(Reply::Prepared));
}

/// The promise, and the log that the answer tells of, are durable before the answer leaves.
#[test]
fn a_seal_is_durable_before_its_answer() {
    let (mut b, _) = follower();
    b.ask(Verb::Seal { term: 3 });
    let effects = std::mem::take(&mut b.effects);
    let sync = place(&effects, |one| *one == Effect::Sync);
    let record = place(
        &effects,
        |one| matches!(one, Effect::Keep { kept: Some(kept) } if kept.promised == Epoch::of_term(3)),
    );
    let answer =
        place(&effects, |one| matches!(one, Effect::Reply { reply: Reply::Sealed(_), .. }));
    assert!(sync < record && record < answer);
    // Killed and started again it is bound as before, under the same id.
    let record = kept(&effects).flatten();
    let mut b = boot("new", 100, Epoch::of_term(1), record);
    assert_eq!(b.member.identity().here.member, "bb");
    assert_eq!(b.ask(follow("1.0", "a")), Some(Reply::Stale { promised: Epoch::of_term(3) }));
    let Some(Reply::Sealed(status)) = b.ask(Verb::Seal { term: 3 }) else { panic!("not sealed") };
    assert!(status.restarted);
    assert_eq!(status.lease_left_ms, 660, "nobody remembers the leases that it gave");
    assert_eq!(b.ask(promote(3)), Some(Reply::Ok));
}

/// What others took from its log in an epoch may be missing there after a restart: the epoch would
/// have two histories.
#[test]
fn a_restarted_owner_never_owns_that_epoch_again() {
    let (mut b, _) = follower();
    b.ask(Verb::Seal { term: 3 });
    b.effects.clear();
    assert_eq!(b.ask(promote(3)), Some(Reply::Ok));
    let record = kept(&b.effects).flatten();
    let start = place(&b.effects, |one| matches!(one, Effect::Append { .. }));
    assert!(place(&b.effects, |one| matches!(one, Effect::Keep { .. })) < start);
    let mut b = boot("new", 100, Epoch::of_term(1), record);
    assert!(matches!(b.ask(promote(3)), Some(Reply::NotReady(_))));
    assert!(matches!(b.ask(Verb::Seal { term: 3 }), Some(Reply::Sealed(_))));
    assert!(matches!(b.ask(promote(3)), Some(Reply::NotReady(_))));
    assert!(matches!(b.ask(Verb::Seal { term: 4 }), Some(Reply::Sealed(_))));
    assert_eq!(b.ask(promote(4)), Some(Reply::Ok));
}

#[test]
fn a_restarted_target_still_says_that_it_accepted() {
    let (_, b, _, record) = handed_over();
    let end = b.offset;
    let mut b = {
        let mut node = boot("bb", 0, Epoch::ZERO, None);
        node.ask(follow("1.0", "a"));
        (node.offset, node.empty, node.now_us) = (0, true, b.now_us);
        let start = crate::handover::Record::Start { epoch: Epoch::of_term(1), member: "a".into() };
        node.apply(&start.argument());
        assert_eq!(node.offset, end);
        durable(&mut node, end);
        node
    };
    b.effects.clear();
    let effects = b.apply(&record);
    let keep = place(&effects, |one| matches!(one, Effect::Keep { .. }));
    assert!(keep < place(&effects, |one| matches!(one, Effect::Answer { accepted: true, .. })));
    let mut b = boot("new", end, Epoch::of_term(1), kept(&effects).flatten());
    let blob = record.trim_start_matches("redisha:handover:").to_owned();
    let epoch = "1.1".parse().unwrap();
    let accepted = Reply::Outcome { outcome: crate::handover::Outcome::Accepted, epoch };
    assert_eq!(b.ask(Verb::Takeover { blob }), Some(accepted));
    assert_eq!(b.member.role().name(), "fenced", "its office ended with the process");
}

#[test]
fn the_record_is_erased_before_the_data_go_and_at_the_end() {
    let (mut b, _) = follower();
    assert_eq!(kept(&b.event(Event::Replacing)), Some(None));
    assert_eq!(b.member.durable(), 0);
    b.event(Event::Replaced { data_epoch: Epoch::of_term(1) });
    // The new files are there.
    assert!(kept(&durable(&mut b, 90)).flatten().is_some());
    let effects = b.event(Event::Resign);
    let erased = place(&effects, |one| *one == Effect::Keep { kept: None });
    assert!(erased < place(&effects, |one| *one == Effect::Resign));
    assert_eq!(kept(&durable(&mut b, 100)), None, "who has resigned keeps nothing");
}

/// A log that lacks what was durable is none that the id may speak for.
#[test]
fn a_shorter_log_than_was_durable_ends_the_id() {
    let (_, record) = follower();
    let cut = boot("b3", record.offset - 1, Epoch::ZERO, Some(record));
    assert_eq!(cut.member.identity().here.member, "b3");
}

/// The disk is full or slow: what it was to take it has not.
fn not_kept(node: &mut Node) -> Vec<Effect> {
    node.effects.clear();
    node.event(Event::NotKept { renewed: "renewed".into() })
}

fn id(node: &Node) -> &str {
    &node.member.identity().here.member
}

/// A vote was gone for good when a disk was full for a moment, and all that it spoke for intact.
#[test]
fn a_seal_that_the_disk_does_not_take_is_asked_for_again() {
    let (mut b, record) = follower();
    b.ask(Verb::Seal { term: 3 });
    let effects = not_kept(&mut b);
    assert_eq!(kept(&effects), None, "the record stays as it is");
    assert_eq!((id(&b), b.member.is_kept(), b.member.durable()), ("bb", true, 80));
    assert_eq!(b.member.role().name(), "fenced");
    assert_eq!(b.member.promised(), Epoch::of_term(3));
    assert_eq!(b.ask(Verb::Seal { term: 2 }), Some(Reply::Stale { promised: Epoch::of_term(3) }));
    assert_eq!(b.ask(follow("1.0", "a")), Some(Reply::Stale { promised: Epoch::of_term(3) }));
    // A start finds the old record, and nobody was told more.
    let mut again = boot("new", 100, Epoch::of_term(1), Some(record));
    assert_eq!(id(&again), "bb");
    assert!(matches!(again.ask(Verb::Seal { term: 3 }), Some(Reply::Sealed(_))));
    // There is space again.
    b.effects.clear();
    assert!(matches!(b.ask(Verb::Seal { term: 3 }), Some(Reply::Sealed(_))));
    let effects = std::mem::take(&mut b.effects);
    assert!(place(&effects, |one| *one == Effect::Sync) < effects.len() - 1);
    assert!(kept(&effects).flatten().is_some_and(|one| one.promised == Epoch::of_term(3)));
    assert_eq!(b.ask(promote(3)), Some(Reply::Ok));
}

#[test]
fn an_office_that_the_disk_does_not_take_was_never_taken() {
    let (mut b, _) = follower();
    b.ask(Verb::Seal { term: 3 });
    let config: Config = "3/1/2/disk/block/a,bb,ccc".parse().unwrap();
    let promote = || Verb::Promote { term: 3, config: Some(config.clone()), wait_ms: 0 };
    b.ask(promote());
    assert_eq!(kept(&not_kept(&mut b)), None);
    assert_eq!((id(&b), b.member.role().name()), ("bb", "fenced"));
    assert_eq!(b.member.data_epoch(), Epoch::ZERO, "its start record is in no log");
    assert!(b.member.configs().is_empty());
    assert_eq!((b.member.promised(), b.member.durable()), (Epoch::of_term(3), 80));
    let Some(Reply::Sealed(status)) = b.ask(Verb::Seal { term: 3 }) else { panic!("not sealed") };
    assert_eq!(status.data_epoch, Epoch::ZERO);
    b.effects.clear();
    assert_eq!(b.ask(promote()), Some(Reply::Ok));
    assert!(kept(&b.effects).flatten().is_some_and(|one| one.owned == Epoch::of_term(3)));
    assert_eq!(b.member.configs(), [config]);
}

#[test]
fn a_bootstrap_that_the_disk_does_not_take_is_asked_for_again() {
    let record = Kept { uid: UID.into(), member: "a".into(), ..Kept::default() };
    let mut a = boot("new", 0, Epoch::ZERO, Some(record));
    let bootstrap = || Verb::Bootstrap { term: 1, config: None };
    a.ask(bootstrap());
    // Nothing was performed behind the record.
    (a.offset, a.empty) = (0, true);
    assert_eq!(kept(&not_kept(&mut a)), None);
    assert_eq!((id(&a), a.member.role().name()), ("a", "fenced"));
    assert_eq!(a.ask(bootstrap()), Some(Reply::Ok));
    assert!(a.is_primary());
}

/// A primary or a joining member had a new id, and was fenced, every turn.
#[test]
fn an_id_that_the_disk_does_not_take_is_not_kept_yet() {
    let (mut a, end) = primary();
    a.event(Event::Ack { member: "bb".into(), offset: end, durable: end });
    durable(&mut a, end);
    assert_eq!(kept(&not_kept(&mut a)), Some(None), "nothing of it may be found");
    assert_eq!((id(&a), a.member.is_kept(), a.member.durable()), ("a", false, 0));
    assert!(a.is_primary());
    assert_eq!(a.member.released(a.now_us), Some(0), "the own copy does not count");
    assert!(kept(&durable(&mut a, end)).flatten().is_some());
    assert_eq!(a.member.released(a.now_us), Some(end));
}

/// It is primary by the record in its log, or answers nothing under this id. It told of the epoch that it had
/// not written a word in, so that a cold start preferred it to one that held more.
#[test]
fn what_was_taken_over_and_is_not_kept_ends_the_id() {
    let (_, _, _, record) = handed_over();
    let target = || {
        let mut b = boot("bb", 0, Epoch::ZERO, None);
        b.ask(follow("1.0", "a"));
        let start = crate::handover::Record::Start { epoch: Epoch::of_term(1), member: "a".into() };
        b.apply(&start.argument());
        let end = b.offset;
        durable(&mut b, end);
        b
    };
    let mut b = target();
    b.apply(&record);
    assert_eq!(kept(&not_kept(&mut b)), Some(None));
    assert_eq!((id(&b), b.member.role().name()), ("renewed", "fenced"));
    assert_eq!(b.member.data_epoch(), Epoch::of_term(1), "its start record is in no log");
    // Declined, since it holds more than the giver: it answers that later.
    let mut b = target();
    b.offset += 1;
    let blob = record.trim_start_matches("redisha:handover:").to_owned();
    let declined = Reply::Outcome {
        outcome: crate::handover::Outcome::Declined,
        epoch: "1.1".parse().unwrap(),
    };
    assert_eq!(b.ask(Verb::Takeover { blob: blob.clone() }), Some(declined.clone()));
    assert_eq!(kept(&not_kept(&mut b)), None);
    assert_eq!((id(&b), b.member.role().name()), ("bb", "follower"));
    b.offset -= 1;
    assert_eq!(b.ask(Verb::Takeover { blob }), Some(declined), "what it may have said it says");
    assert!(kept(&b.effects).flatten().is_some());
}
