use serde_json::json;
use switchover::{Config, Election, Intent, Label, Member, Reason};

use super::*;
use crate::api::MigrationPhase;
use crate::controller::validate::fixture;
use crate::trigger;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn member(name: &str) -> Member {
    Member { name: name.to_owned(), member: format!("m-{name}") }
}

fn observation(arbiter: &Arbiter) -> Observation {
    Observation {
        arbiter: arbiter.clone(),
        settings: switchover::Settings::default(),
        members: Vec::new(),
        request: None,
    }
}

/// Everything about a calm `RedisHA`, to be disturbed by a test.
struct World {
    spec: Value,
    arbiter: Arbiter,
    facts: Facts,
    rollout: Rollout,
    held: Option<Held>,
    migration: Option<Migration>,
    problem: Option<Problem>,
    observed: bool,
    now: Timestamp,
}

fn calm() -> World {
    World {
        spec: json!({}),
        arbiter: Arbiter { primary: Some(member("cache-0")), ..Arbiter::new("uid-1") },
        facts: trigger::fixture::calm("cache"),
        rollout: Rollout::Done,
        held: None,
        migration: None,
        problem: None,
        observed: true,
        now: at(100),
    }
}

fn following() -> Migration {
    Migration {
        source: "old:6379".into(),
        phase: MigrationPhase::Following,
        lag_bytes: 0,
        unapplied: 0,
        message: None,
    }
}

fn status_after(world: &World, before: &RedisHAStatus) -> (Option<Value>, RedisHAStatus) {
    let mut redisha = fixture::redisha(&world.spec);
    let mut status = before.clone();
    status.arbiter = Some(world.arbiter.clone());
    redisha.status = Some(status);
    let observation = observation(&world.arbiter);
    let made = patch(&Inputs {
        redisha: &redisha,
        selector: "a=b".to_owned(),
        facts: Some(&world.facts),
        rollout: &world.rollout,
        observation: world.observed.then_some(&observation),
        held: world.held.as_ref(),
        migration: world.migration.clone(),
        problem: world.problem.clone(),
        now: world.now,
    });
    let mut value = serde_json::to_value(redisha.status.unwrap()).unwrap();
    if let Some(made) = &made {
        json_patch::merge(&mut value, &made["status"]);
    }
    (made, serde_json::from_value(value).unwrap())
}

/// Disturbs the calm and compares `Phase: Condition=status Reason: message` of one condition.
fn check(disturb: impl Fn(&mut World), kind: &str, expect: &str) {
    let mut world = calm();
    disturb(&mut world);
    let (_, status) = status_after(&world, &RedisHAStatus::default());
    let condition = status.conditions.iter().find(|c| c.type_ == kind).unwrap();
    let told = format!(
        "{:?}: {}={} {}: {}",
        status.phase.unwrap(),
        kind,
        condition.status,
        condition.reason,
        condition.message
    );
    assert_eq!(told, expect);
}

#[test]
fn a_calm_object_says_so() {
    check(|_| {}, "Ready", "Running: Ready=True PrimaryServes: cache-0 takes writes");
    check(|_| {}, "Synced", "Running: Synced=True AllInSync: all 3 pods are in sync");
    let expect = "Running: Progressing=False UpToDate: every pod is as it was asked for";
    check(|_| {}, "Progressing", expect);
    check(|_| {}, "Degraded", "Running: Degraded=False AsWanted: nothing is missing");
}

#[test]
fn each_trouble_has_a_sentence_that_a_person_understands() {
    check(
        |w| w.problem = Some(Problem::Invalid("spec.image: is empty".into())),
        "Ready",
        "Invalid: Ready=False Invalid: spec.image: is empty",
    );
    check(
        |w| w.arbiter.primary = None,
        "Ready",
        "Creating: Ready=False NoPrimaryYet: the first primary is being made",
    );
    check(
        |w| w.facts.pods[0].synced = false,
        "Ready",
        "Degraded: Ready=False PrimaryDoesNotAnswer: cache-0, the primary, does not answer",
    );
    check(
        |w| w.facts.pods[0].label = Label::None,
        "Ready",
        "Running: Ready=False AddressNotReady: cache-0 is the primary and its address does not \
         lead there yet",
    );
    check(
        |w| {
            w.facts.pods[2].synced = false;
            w.facts.pods.remove(1);
        },
        "Synced",
        "Degraded: Synced=False NotAllInSync: pod 1 (does not exist), cache-2 (not in sync)",
    );
    check(
        |w| {
            w.facts.pods[1].synced = false;
            w.facts.pods[2].synced = false;
            let members = vec![member("cache-0")];
            w.arbiter.config = Config { members, w: 1, degrade: true, ..Config::default() };
        },
        "Degraded",
        "Degraded: Degraded=True LoneCopyVolatile: cache-0 answers writes that it alone holds, in \
         memory: cache-1 (not in sync), cache-2 (not in sync)",
    );
    check(
        |w| w.rollout = Rollout::Replace { name: "cache-2".into(), uid: "u".into() },
        "Progressing",
        "Updating: Progressing=True RollingUpdate: replacing cache-2",
    );
    check(
        |w| w.rollout = Rollout::Wait("cache-1 is not in sync yet".into()),
        "Progressing",
        "Updating: Progressing=True RollingUpdate: waiting: cache-1 is not in sync yet",
    );
    check(
        |w| w.arbiter.election = Some(Election { term: 4, winner: None, empty: false }),
        "Progressing",
        "FailingOver: Progressing=True ChoosingPrimary: choosing a primary for term 4",
    );
    check(
        |w| {
            w.held = Some(Held { reason: Reason::Eviction, why: "no replica is in sync".into() });
        },
        "Degraded",
        "Running: Degraded=True MoveHeld: the primary cannot move (eviction): no replica is in sync",
    );
    check(
        |w| w.problem = Some(Problem::Failed("cannot apply Service cache: forbidden".into())),
        "Degraded",
        "Running: Degraded=True OperatorFails: cannot apply Service cache: forbidden",
    );
    check(
        |w| w.observed = false,
        "Ready",
        "Running: Ready=False NotObserved: the pods have not been asked yet",
    );
    check(
        |w| {
            w.arbiter.switchover = Some(Intent {
                id: "x".into(),
                from: member("cache-0"),
                to: member("cache-1"),
                reason: Reason::Request,
                attempt: 1,
                deadline_ms: 2_000,
            });
        },
        "Progressing",
        "Switching: Progressing=True Switchover: moving the primary from cache-0 to cache-1",
    );
}

#[test]
fn what_the_disk_has_to_do_with_it_is_told() {
    check(
        |w| {
            w.facts.pods[1].synced = false;
            w.facts.pods[2].synced = false;
            let (members, durability) = (vec![member("cache-0")], Promise::Disk);
            w.arbiter.config =
                Config { members, w: 1, durability, degrade: true, ..Config::default() };
        },
        "Degraded",
        "Degraded: Degraded=True LoneCopy: cache-0 answers writes that it alone holds, on its \
         disk: cache-1 (not in sync), cache-2 (not in sync)",
    );
    check(
        |w| w.spec = json!({"durability": "disk", "storage": {"size": "1Gi"}}),
        "Progressing",
        "Running: Progressing=True WritingFiles: until every pod has its data in append-only \
         files, writes are answered as `replicated` says",
    );
}

/// Writing an unchanged status would wake every watcher of it, the operator included, for ever.
#[test]
fn an_unchanged_status_is_not_written_and_its_times_stay() {
    let mut world = calm();
    let (made, first) = status_after(&world, &RedisHAStatus::default());
    assert!(made.is_some());
    world.now = at(200);
    assert_eq!(status_after(&world, &first).0, None);
    world.facts.pods[2].synced = false;
    let (_, second) = status_after(&world, &first);
    let time = |status: &RedisHAStatus, kind: &str| {
        let condition = status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        condition.last_transition_time.0
    };
    assert_eq!(time(&second, "Ready"), at(100));
    assert_eq!(time(&second, "Synced"), at(200));
}

/// What a migration left out was told in `status.migration.message` alone.
#[test]
fn what_a_migration_left_out_is_told() {
    check(
        |w| w.migration = Some(Migration { unapplied: 2, ..following() }),
        "Degraded",
        "Running: Degraded=True MigrationIncomplete: data of old:6379 are missing, since commands \
         of it could not be executed here (2 so far); nobody cuts over before all is copied anew: \
         see status.migration.message",
    );
    check(
        |w| w.migration = Some(following()),
        "Degraded",
        "Running: Degraded=False AsWanted: nothing is missing",
    );
}

/// A merge leaves what it does not name: the last sentence about a migration stood there for ever, and
/// the status was written anew in every pass.
#[test]
fn what_no_longer_stands_in_the_way_is_told_no_more() {
    let mut world = calm();
    world.migration = Some(Migration { message: Some("refused".into()), ..following() });
    let (_, first) = status_after(&world, &RedisHAStatus::default());
    assert_eq!(first.migration, world.migration);
    world.migration = Some(following());
    let (_, second) = status_after(&world, &first);
    assert_eq!(second.migration, world.migration);
    assert_eq!(status_after(&world, &second).0, None);
}

/// The arbiter is changed by compare-and-swap only: a merge that carried it would undo a decision
/// that was published in between.
#[test]
fn the_merged_fields_never_hold_what_the_arbiters_store_writes() {
    let (made, _) = status_after(&calm(), &RedisHAStatus::default());
    let made = made.unwrap();
    let fields = made["status"].as_object().unwrap();
    for field in ["arbiter", "primary", "epoch", "switchovers", "lastSwitchover"] {
        assert!(!fields.contains_key(field), "{field}");
    }
}
