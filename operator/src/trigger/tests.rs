use switchover::{LastSwitchover, Member};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() - seconds).unwrap()
}

fn calm() -> Facts {
    Facts { now: now(), ..fixture::calm("c") }
}

fn arbiter(primary: &str) -> Arbiter {
    Arbiter {
        primary: Some(Member { name: primary.to_owned(), member: "m".to_owned() }),
        ..Arbiter::new("uid")
    }
}

fn last(id: &str, outcome: Outcome) -> LastSwitchover {
    LastSwitchover {
        id: id.to_owned(),
        from: "c-1".to_owned(),
        to: "c-0".to_owned(),
        reason: Reason::Request,
        outcome,
        pause_ms: None,
        why: None,
    }
}

/// Changes the calm facts, and compares the wish as `reason id [to]`.
fn check(change: impl Fn(&mut Facts, &mut Arbiter), expect: Option<&str>) {
    let (mut facts, mut arbiter) = (calm(), arbiter("c-0"));
    change(&mut facts, &mut arbiter);
    let wish = request(&facts, &arbiter).map(|r| {
        let to = r.to.map(|to| format!(" {to}")).unwrap_or_default();
        format!("{} {}{to}", r.reason, r.id)
    });
    assert_eq!(wish.as_deref(), expect);
}

#[test]
fn nothing_is_wished_when_everything_is_as_asked() {
    check(|_, _| {}, None);
    check(|_, a| a.primary = None, None);
}

#[test]
fn each_fact_about_the_primary_has_its_reason() {
    check(|f, _| f.pods[0].terminating = true, Some("deletion deletion-u0"));
    check(|f, _| f.pods[0].node_leaving = true, Some("drain drain-u0"));
    check(
        |f, _| f.pods[0].eviction = Some(Eviction { since: ago(60), last: ago(2) }),
        Some("eviction eviction-u0-1767268740"),
    );
    check(
        |f, a| {
            f.wanted = 2;
            *a = arbiter("c-2");
        },
        Some("scale-down scale-down-u2"),
    );
    check(|f, _| f.pods[0].asked = "old".into(), Some("rolling-update rolling-update-new"));
    check(|f, _| f.annotation = Some("x-1".into()), Some("request x-1"));
    check(|f, _| f.annotation = Some("x-1/c-2".into()), Some("request x-1 c-2"));
}

#[test]
fn the_same_facts_about_a_replica_move_nobody() {
    check(|f, _| f.pods[1].terminating = true, None);
    check(|f, _| f.pods[1].node_leaving = true, None);
    check(|f, _| f.pods[1].eviction = Some(Eviction { since: ago(60), last: ago(2) }), None);
    check(|f, _| f.pods[1].asked = "old".into(), None);
    check(|f, _| f.wanted = 2, None);
}

/// A drain that was given up left its mark on the pod; as that pod became primary again minutes
/// later, it was moved away from for no reason.
#[test]
fn an_eviction_that_nobody_asks_for_any_more_moves_nobody() {
    check(|f, _| f.pods[0].eviction = Some(Eviction { since: ago(90), last: ago(31) }), None);
}

#[test]
fn what_cannot_wait_comes_before_what_was_asked_for_and_that_before_an_update() {
    check(
        |f, _| {
            f.annotation = Some("x-1".into());
            f.pods[0].node_leaving = true;
        },
        Some("drain drain-u0"),
    );
    check(
        |f, _| {
            f.annotation = Some("x-1".into());
            f.pods[0].asked = "old".into();
        },
        Some("request x-1"),
    );
}

#[test]
fn an_answered_request_is_over_whatever_became_of_it() {
    for outcome in [Outcome::Completed, Outcome::Aborted] {
        check(
            |f, a| {
                f.annotation = Some("x-1".into());
                a.last_switchover = Some(last("x-1", outcome));
            },
            None,
        );
    }
}

/// The annotation of a request stands for ever (`GitOps` keeps it there). Once a rolling update had
/// moved the primary too, the old request looked unanswered and moved it back.
#[test]
fn an_answered_request_stays_answered_after_other_switches() {
    check(
        |f, a| {
            f.annotation = Some("x-1".into());
            a.answered = Some("x-1".into());
            a.last_switchover = Some(last("rolling-update-new", Outcome::Completed));
        },
        None,
    );
}

#[test]
fn a_text_that_is_no_request_is_none() {
    for text in ["", "/c-1", "a b", "x/", "x/c/1", "x\n", &"y".repeat(101)] {
        assert_eq!(Asked::parse(text), None, "{text:?}");
    }
}

/// An abort answers its id. Under the same id a drain would never be tried again; under a new one
/// at once, each try would pause writes in a tight loop.
#[test]
fn a_wish_of_the_operators_own_is_tried_again_later_under_a_new_id() {
    let drained = |id: &'static str, ago_ms| {
        move |f: &mut Facts, a: &mut Arbiter| {
            f.pods[0].node_leaving = true;
            f.aborted = Some((2, Duration::from_millis(ago_ms)));
            a.last_switchover = Some(last(id, Outcome::Aborted));
        }
    };
    check(drained("drain-u0", 3_999), None);
    check(drained("drain-u0", 4_000), Some("drain drain-u0.2"));
    check(drained("drain-u0.2", 4_000), Some("drain drain-u0.3"));
    check(drained("drain-u9", 0), Some("drain drain-u0"));
}

#[test]
fn a_pod_that_leaves_never_takes_over() {
    let check = |change: &dyn Fn(&mut Facts), expect: &[&str]| {
        let mut facts = calm();
        change(&mut facts);
        assert_eq!(eligible(&facts, &arbiter("c-0")), expect);
    };
    check(&|_| {}, &["c-0", "c-1", "c-2"]);
    check(&|f| f.pods[1].terminating = true, &["c-0", "c-2"]);
    check(&|f| f.pods[1].node_leaving = true, &["c-0", "c-2"]);
    check(&|f| f.wanted = 2, &["c-0", "c-1"]);
    check(&|f| f.pods[1].ip = None, &["c-0", "c-2"]);
    // Up to date is better, as long as one that is in sync exists.
    check(&|f| f.pods[1].asked = "old".into(), &["c-0", "c-2"]);
    let worse = |f: &mut Facts| {
        f.pods[1].asked = "old".into();
        f.pods[2].synced = false;
    };
    check(&worse, &["c-0", "c-1", "c-2"]);
}

/// Drives a rollout to its end as the world would, and writes down its steps.
#[test]
fn a_rollout_replaces_replicas_first_and_switches_exactly_once() {
    let mut facts = calm();
    facts.asked = "newer".to_owned();
    let mut primary = 0;
    let mut steps = Vec::new();
    loop {
        match rollout(&facts, &format!("c-{primary}")) {
            Rollout::Done => break,
            Rollout::Wait(why) => panic!("nothing is unsettled: {why}"),
            Rollout::Replace { name, .. } => {
                let pod = facts.pods.iter_mut().find(|pod| pod.name == name).unwrap();
                // Deleted, gone, back, in sync: nothing else may be touched until then.
                pod.terminating = true;
                let stopping = Rollout::Wait(format!("{name} is stopping"));
                assert_eq!(rollout(&facts, &format!("c-{primary}")), stopping);
                let pod = facts.pods.iter_mut().find(|pod| pod.name == name).unwrap();
                pod.terminating = false;
                pod.asked = "newer".to_owned();
                pod.synced = false;
                if facts.pods.iter().any(|pod| pod.asked == "new") {
                    let waiting = Rollout::Wait(format!("{name} is not in sync yet"));
                    assert_eq!(rollout(&facts, &format!("c-{primary}")), waiting);
                }
                facts.pods.iter_mut().for_each(|pod| pod.synced = true);
                steps.push(format!("replace {name}"));
            }
            Rollout::Switch => {
                steps.push(format!("switch from c-{primary}"));
                primary = 2;
            }
        }
        assert!(steps.len() < 10, "{steps:?}");
    }
    assert_eq!(steps, ["replace c-2", "replace c-1", "switch from c-0", "replace c-0"]);
}

/// spotahome 269 and others: a bad image made a replica crash, and its repair waited for that very
/// replica to be ready.
#[test]
fn a_broken_replica_that_is_out_of_date_is_replaced_first() {
    let mut facts = calm();
    facts.pods[1].asked = "bad".to_owned();
    facts.pods[1].ready = false;
    facts.pods[0].asked = "old".to_owned();
    let replace = Rollout::Replace { name: "c-1".to_owned(), uid: "u1".to_owned() };
    assert_eq!(rollout(&facts, "c-0"), replace);
    // One that is broken and up to date stops the rollout instead of spreading.
    facts.pods[1].asked = "new".to_owned();
    assert_eq!(rollout(&facts, "c-0"), Rollout::Wait("c-1 is not in sync yet".to_owned()));
}

#[test]
fn a_missing_pod_stops_a_rollout() {
    let mut facts = calm();
    facts.asked = "newer".to_owned();
    facts.pods.remove(1);
    assert_eq!(rollout(&facts, "c-0"), Rollout::Wait("1 of 3 pods do not exist yet".to_owned()));
}

#[test]
fn a_single_pod_is_replaced_without_a_switch() {
    let mut facts = calm();
    facts.wanted = 1;
    facts.pods.truncate(1);
    facts.asked = "newer".to_owned();
    assert!(matches!(rollout(&facts, "c-0"), Rollout::Replace { .. }));
}

#[test]
fn scaling_down_keeps_the_primary_until_it_has_moved() {
    for ((wanted, current, primary), expect) in [
        ((3, None, None), 3),
        ((3, Some(3), Some(2)), 3),
        ((2, Some(3), Some(2)), 3),
        ((2, Some(5), Some(2)), 3),
        ((2, Some(3), Some(1)), 2),
        ((2, Some(3), None), 2),
        ((5, Some(3), Some(0)), 5),
    ] {
        assert_eq!(scale(wanted, current, primary), expect, "{wanted} {current:?} {primary:?}");
    }
}

#[test]
fn an_evictions_annotation_reads_as_it_was_written() {
    let eviction = Eviction { since: ago(60), last: ago(2) };
    assert_eq!(Eviction::from_annotation(&eviction.to_annotation()), Some(eviction));
    for text in ["", "x", "2026-01-01T12:00:00Z", "x/y"] {
        assert_eq!(Eviction::from_annotation(text), None, "{text}");
    }
}
