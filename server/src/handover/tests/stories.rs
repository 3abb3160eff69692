use super::world::{
    Node, UID, epoch, follow, handed_over, handover, pair, pause, promote, reply_to, target,
};
use crate::handover::{Effect, Epoch, Event, Gate, Outcome, PauseKind, Peer, Reply, Role, Verb};

fn outcome(outcome: Outcome, at: &str) -> Reply {
    Reply::Outcome { outcome, epoch: epoch(at) }
}

fn answer(at: &str, accepted: bool) -> Event {
    Event::Answer { member: "bb".into(), epoch: epoch(at), accepted }
}

#[test]
fn a_switch_moves_the_epoch_and_both_logs_stay_equal() {
    let (mut a, mut b, token, record) = handed_over();
    assert_eq!(a.member.gate(a.now_us, false, true), Gate::Hold, "limbo holds reads too");
    let taken = b.apply(&record);
    assert_eq!(taken[0], Effect::Answer { epoch: epoch("1.1"), accepted: true });
    assert_eq!(taken[1], Effect::Promote { epoch: epoch("1.1") });
    assert!(b.is_primary());
    let (log_end, _) = b.written[0].clone();
    assert_eq!(log_end, a.offset, "the start record comes right behind the giver's log");

    let effects = a.event(answer("1.1", true));
    assert_eq!(reply_to(&effects, token), Some(outcome(Outcome::Accepted, "1.1")));
    let order: Vec<_> = effects
        .iter()
        .filter(|e| matches!(e, Effect::Follow { .. } | Effect::Redirect(_) | Effect::ResumeHeld))
        .cloned()
        .collect();
    assert_eq!(
        order,
        [
            Effect::Follow { primary: target("bb"), epoch: epoch("1.1") },
            Effect::Redirect(Some(target("bb"))),
            Effect::ResumeHeld,
        ]
    );
    assert_eq!(a.ask(handover("x", "bb")), Some(outcome(Outcome::Accepted, "1.1")));
    assert_eq!(a.member.status(a.env()).handover_outcome, Outcome::Accepted);
}

#[test]
fn only_the_pauses_own_target_that_is_level_may_take_over() {
    let (mut a, _) = pair();
    a.replica_up("ccc", a.offset);
    assert!(matches!(a.ask(handover("x", "bb")), Some(Reply::NotReady(_))), "no pause");
    a.ask(pause("x", "bb"));
    assert!(matches!(a.ask(handover("y", "bb")), Some(Reply::NotReady(_))), "another id");
    assert!(matches!(a.ask(handover("x", "ccc")), Some(Reply::NotReady(_))), "another target");
    assert!(a.is_primary());
    assert_eq!(a.ask(handover("x", "bb")), None);
}

#[test]
fn level_answers_when_the_target_has_applied_everything() {
    let (mut a, _) = pair();
    a.offset += 100;
    a.ask(pause("x", "bb"));
    let token = a.coming_token();
    let level = || Verb::Level { id: "x".into(), to: "bb".into() };
    assert_eq!(a.ask(level()), None);
    assert!(matches!(a.ask(handover("x", "bb")), Some(Reply::NotReady(_))));
    let offset = a.offset;
    let early = a.event(Event::Ack { member: "bb".into(), offset: offset - 1, durable: 0 });
    assert_eq!(reply_to(&early, token), None);
    let done = a.event(Event::Ack { member: "bb".into(), offset, durable: 0 });
    assert_eq!(reply_to(&done, token), Some(Reply::Level));
    a.tick_at(a.now_us + 1_000_000);
    assert_eq!(a.ask(level()), Some(Reply::NotLevel));
}

#[test]
fn the_pause_ends_at_its_timer_and_the_attempt_with_it() {
    let (mut a, _) = pair();
    a.ask(pause("x", "bb"));
    assert_eq!(a.member.gate(a.now_us, true, true), Gate::Hold);
    assert_eq!(a.member.gate(a.now_us, false, true), Gate::Open, "reads go on");
    assert!(!a.member.stream_open(a.now_us));
    let end = a.member.next_deadline_us().expect("the pause has a timer");
    assert_eq!(end, a.now_us + 1_000_000);
    assert!(a.tick_at(end).contains(&Effect::ResumeHeld));
    assert_eq!(a.member.gate(end, true, true), Gate::Open);
    assert!(matches!(a.ask(handover("x", "bb")), Some(Reply::NotReady(_))));
    assert!(matches!(a.ask(pause("x", "bb")), Some(Reply::NotReady(_))), "the id is spent");
    assert!(matches!(a.ask(pause("y", "bb")), Some(Reply::Paused { .. })));
}

#[test]
fn a_late_handover_meets_the_end_of_the_pause_even_before_the_tick() {
    let (mut a, _) = pair();
    a.ask(pause("x", "bb"));
    a.now_us += 1_000_000;
    assert!(matches!(a.ask(handover("x", "bb")), Some(Reply::NotReady(_))));
    assert!(a.is_primary());
}

#[test]
fn no_user_lifts_the_operators_pause_nor_limbo() {
    let (mut a, _) = pair();
    a.ask(pause("x", "bb"));
    a.member.user_pause(PauseKind::Write, a.now_us, a.now_us + 5);
    assert_eq!(a.member.user_unpause(), []);
    assert_eq!(a.member.gate(a.now_us, true, true), Gate::Hold);
    a.ask(handover("x", "bb"));
    assert_eq!(a.member.user_unpause(), []);
    assert_eq!(a.member.gate(a.now_us, false, true), Gate::Hold);
    let unpause = Verb::Unpause { id: "x".into() };
    assert!(matches!(a.ask(unpause), Some(Reply::NotReady(_))));
}

#[test]
fn a_declined_epoch_leaves_the_giver_primary_one_hop_further() {
    let (mut a, mut b, token, record) = handed_over();
    b.event(Event::Drain { alone_at_us: 0 });
    let told = b.apply(&record);
    assert_eq!(told, [Effect::Answer { epoch: epoch("1.1"), accepted: false }]);
    let effects = a.event(answer("1.1", false));
    assert_eq!(a.member.epoch(), Some(epoch("1.2")));
    assert!(a.is_primary());
    assert_eq!(reply_to(&effects, token), Some(outcome(Outcome::Declined, "1.2")));
    assert!(effects.contains(&Effect::ResumeHeld));
    assert_eq!(a.written.last().expect("a record").1, "redisha:start:1.2:a");
    // The refusal is for ever: the same record by another route changes nothing.
    let blob = record.strip_prefix("redisha:handover:").expect("a blob").to_owned();
    assert_eq!(b.ask(Verb::Takeover { blob }), Some(outcome(Outcome::Declined, "1.1")));
}

#[test]
fn without_an_answer_the_giver_resends_and_then_abdicates() {
    let (mut a, mut b, token, record) = handed_over();
    let begun = a.now_us;
    let resent = a.tick_at(begun + 200_000);
    let Some(Effect::Takeover { to, blob }) = resent.first() else { panic!("{resent:?}") };
    assert_eq!(to.member, "bb");
    let blob = blob.clone();
    assert_eq!(record, format!("redisha:handover:{blob}"));
    let effects = a.tick_at(begun + 10_000_000);
    assert_eq!(a.member.role(), &Role::Fenced);
    assert_eq!(reply_to(&effects, token), Some(outcome(Outcome::Abdicated, "1.1")));
    assert!(effects.contains(&Effect::RefuseHeld));
    assert_eq!(a.member.gate(a.now_us, true, true), Gate::Refuse);
    // A refusal after the bound resumes nothing; an acceptance says whom to follow.
    a.event(answer("1.1", false));
    assert_eq!(a.member.role(), &Role::Fenced);
    assert_eq!(b.ask(Verb::Takeover { blob }), Some(outcome(Outcome::Accepted, "1.1")));
    a.event(answer("1.1", true));
    assert_eq!(a.member.role(), &Role::Follower { epoch: epoch("1.1"), primary: target("bb") });
}

/// A target that was told by TAKEOVER had not counted the record, so its start record overlapped the
/// giver's log and the giver needed a full resynchronisation.
#[test]
fn by_another_route_the_target_appends_the_very_same_record() {
    let (a, mut b, _, record) = handed_over();
    let blob = record.strip_prefix("redisha:handover:").expect("a blob").to_owned();
    let reply = b.ask(Verb::Takeover { blob: blob.clone() });
    assert_eq!(reply, Some(outcome(Outcome::Accepted, "1.1")));
    assert_eq!(b.written[0].1, record);
    assert_eq!(b.written[1], (a.offset, "redisha:start:1.1:bb".into()));
    let written = b.written.len();
    assert_eq!(b.ask(Verb::Takeover { blob }), reply, "told again it answers the same");
    assert_eq!(b.written.len(), written);
}

#[test]
fn what_was_accepted_is_never_declined_even_after_a_later_switch() {
    let (_, mut b, _, record) = handed_over();
    b.apply(&record);
    let blob = record.strip_prefix("redisha:handover:").expect("a blob").to_owned();
    b.ask(Verb::Seal { term: 7 });
    assert_eq!(b.member.role(), &Role::Fenced);
    assert_eq!(b.ask(Verb::Takeover { blob }), Some(outcome(Outcome::Accepted, "1.1")));
    assert_eq!(b.member.role(), &Role::Fenced, "and it opens nothing a second time");
}

#[test]
fn a_target_that_lacks_a_byte_or_comes_from_another_epoch_declines() {
    for (missing, data_epoch) in [(1, "1.0"), (0, "0.9")] {
        let (_, mut b, _, record) = handed_over();
        b.offset -= missing;
        b.event(Event::Replaced { data_epoch: epoch(data_epoch) });
        let blob = record.strip_prefix("redisha:handover:").expect("a blob").to_owned();
        assert_eq!(b.ask(Verb::Takeover { blob }), Some(outcome(Outcome::Declined, "1.1")));
        assert_eq!(b.member.promised(), epoch("1.1"));
        assert!(!b.is_primary());
    }
}

#[test]
fn a_restarted_target_does_not_answer_for_the_former() {
    let (_, _, _, record) = handed_over();
    let mut again = Node::boot("bb-again");
    let blob = record.strip_prefix("redisha:handover:").expect("a blob").to_owned();
    assert_eq!(again.ask(Verb::Takeover { blob: blob.clone() }), Some(Reply::WrongMember));
    assert_eq!(again.ask_as(UID, "bb", Verb::Takeover { blob }), Some(Reply::WrongMember));
    assert_eq!(again.member.promised(), Epoch::ZERO);
}

#[test]
fn answers_for_another_epoch_or_from_another_member_are_not_heard() {
    let (mut a, _, _, _) = handed_over();
    for (member, at, accepted) in
        [("bb", "1.2", false), ("bb", "1.0", true), ("ccc", "1.1", false), ("a", "1.1", true)]
    {
        a.event(Event::Answer { member: member.into(), epoch: epoch(at), accepted });
        assert!(matches!(a.member.role(), Role::Limbo(_)), "{member} {at} {accepted}");
    }
}

#[test]
fn another_follower_sees_the_record_and_follows_the_target() {
    let (_, _, _, record) = handed_over();
    let mut c = Node::boot("ccc");
    c.ask(follow("1.0", "a"));
    let effects = c.apply(&record);
    assert!(effects.contains(&Effect::Follow { primary: target("bb"), epoch: epoch("1.1") }));
    assert_eq!(c.member.promised(), epoch("1.1"));
    assert_eq!(c.ask(follow("1.0", "a")), Some(Reply::Stale { promised: epoch("1.1") }));
}

/// A follower that fell behind reads old handovers in its primary's history; it must not run after
/// a member that was primary once.
#[test]
fn handovers_of_the_past_mislead_nobody() {
    let (_, _, _, record) = handed_over();
    let mut c = Node::boot("ccc");
    c.ask(follow("1.0", "bb"));
    c.event(Event::Linked { epoch: epoch("1.3") });
    assert_eq!(c.apply(&record), []);
    assert_eq!(c.member.role(), &Role::Follower { epoch: epoch("1.3"), primary: target("bb") });
}

#[test]
fn the_operators_word_ends_limbo_too() {
    let (mut a, _, token, _) = handed_over();
    assert!(matches!(a.ask(follow("1.1", "ccc")), Some(Reply::NotReady(_))), "given to bb");
    assert_eq!(a.ask(follow("1.1", "bb")), Some(Reply::Ok));
    assert_eq!(reply_to(&a.effects, token), Some(outcome(Outcome::Accepted, "1.1")));

    let (mut a, _, token, _) = handed_over();
    assert!(matches!(a.ask(Verb::Seal { term: 2 }), Some(Reply::Sealed(_))));
    assert_eq!(reply_to(&a.effects, token), Some(outcome(Outcome::Abdicated, "1.1")));
    assert_eq!(a.ask(promote(2)), Some(Reply::Ok));
    assert_eq!(a.member.epoch(), Some(epoch("2.0")));
}

#[test]
fn a_late_copy_of_a_seal_does_not_fence_the_primary_of_its_term() {
    let (_, mut b) = pair();
    b.ask(Verb::Seal { term: 2 });
    b.ask(promote(2));
    assert!(matches!(b.ask(Verb::Seal { term: 2 }), Some(Reply::NotReady(_))));
    assert_eq!(b.ask(promote(2)), Some(Reply::Ok));
    assert!(b.is_primary());
    assert_eq!(b.written.len(), 1, "one start record, however often it is told");
}

#[test]
fn the_users_pause_only_lengthens_and_only_tightens() {
    let mut a = Node::boot("a");
    a.ask(Verb::Bootstrap { term: 1, config: None });
    a.member.user_pause(PauseKind::All, 0, 100);
    a.member.user_pause(PauseKind::Write, 10, 50);
    assert_eq!(a.member.gate(99, false, false), Gate::Hold);
    assert_eq!(a.member.gate(100, true, true), Gate::Open);
    a.member.user_pause(PauseKind::Write, 200, 300);
    assert_eq!(a.member.gate(200, true, true), Gate::Hold);
    assert_eq!(a.member.gate(200, false, true), Gate::Open);
    assert!(!a.member.stream_open(200));
    assert_eq!(a.member.user_unpause(), [Effect::ResumeHeld]);
    assert!(a.member.stream_open(200));
}

#[test]
fn the_pause_is_measured_to_the_first_held_answer() {
    let (mut a, _, _, _) = handed_over();
    let shut = a.now_us;
    a.member.note_held();
    a.now_us = shut + 700;
    a.event(answer("1.1", true));
    assert_eq!(a.member.status(a.env()).pause_us, 0, "the held command still waits");
    a.member.note_answered(shut + 900);
    a.member.note_answered(shut + 5_000);
    assert_eq!(a.member.status(a.env()).pause_us, 900);
}

#[test]
fn a_draining_primary_hands_over_by_itself_and_closes_after_release() {
    let (mut a, mut b) = pair();
    a.replica_up("ccc", a.offset - 1);
    let begun = a.now_us;
    a.event(Event::Drain { alone_at_us: begun + 5_000_000 });
    assert!(a.is_primary(), "the operator has its time");
    assert_eq!(a.member.next_deadline_us(), Some(begun + 5_000_000));
    a.tick_at(begun + 5_000_000);
    let Role::Limbo(limbo) = a.member.role() else { panic!("{:?}", a.member.role()) };
    assert_eq!(limbo.record.to.member, "bb", "the most advanced");
    let (_, record) = a.written.last().cloned().expect("the record");
    b.apply(&record);
    a.event(answer("1.1", true));
    assert!(!a.effects.contains(&Effect::CloseClients));
    let id = a.member.status(a.env()).handover_id;
    assert_eq!(a.ask(Verb::Release { id: id.clone() }), Some(Reply::Ok));
    assert_eq!(a.ask(Verb::Release { id }), Some(Reply::Ok));
    assert_eq!(a.effects.iter().filter(|e| **e == Effect::CloseClients).count(), 1);
}

#[test]
fn a_draining_primary_closes_even_without_release() {
    let (mut a, _, _, _) = handed_over();
    a.event(Event::Drain { alone_at_us: u64::MAX });
    a.event(answer("1.1", true));
    let close = a.member.next_deadline_us().expect("a bound");
    assert_eq!(close, a.now_us + 2_000_000);
    assert!(a.tick_at(close).contains(&Effect::CloseClients));
    assert_eq!(a.member.next_deadline_us(), None);
}

#[test]
fn a_primary_serves_members_of_its_own_epoch_or_lower_only() {
    let (a, b) = pair();
    assert_eq!(a.member.may_serve(UID, "a", epoch("0.0")), Ok(epoch("1.0")));
    assert_eq!(a.member.may_serve(UID, "a", epoch("1.0")), Ok(epoch("1.0")));
    assert!(matches!(a.member.may_serve(UID, "a", epoch("1.1")), Err(Reply::Stale { .. })));
    assert_eq!(a.member.may_serve(UID, "old-a", epoch("1.0")), Err(Reply::WrongMember));
    assert_eq!(a.member.may_serve("uid-2", "a", epoch("1.0")), Err(Reply::WrongMember));
    assert!(matches!(b.member.may_serve(UID, "bb", epoch("1.0")), Err(Reply::NotReady(_))));
}

/// A primary that was asked to end gave its epoch to the replica that held most, even to one of an
/// older version that could not take the stream; only the operator compared levels.
#[test]
fn nobody_takes_over_who_cannot_take_the_stream() {
    let drains = |own: u32, theirs: u32| {
        let (mut a, b) = pair();
        a.member.identity.level = own;
        let peer = Peer { target: target("bb"), acked: b.offset, durable: 0, level: theirs };
        a.event(Event::ReplicaUp { peer });
        let asked = a.ask(pause("x", "bb"));
        let refused = matches!(&asked, Some(Reply::NotReady(why)) if why.contains("level"));
        a.ask(Verb::Unpause { id: "x".into() });
        a.event(Event::Drain { alone_at_us: 0 });
        (refused, a.member.role().name())
    };
    assert_eq!(drains(2, 1), (true, "primary"));
    assert_eq!(drains(2, 2), (false, "limbo"));
    assert_eq!(drains(1, 2), (false, "limbo"), "who takes more takes this, too");
}
