//! What a disk that is full means to who is asked, and the end of a process to its clients.

use std::fs;
use std::time::{Duration, Instant};

use super::super::testing::Bench;
use super::{Effect, Epoch, Found, Reply, Request, Role};
use crate::disk::identity;
use crate::disk::testing::Folder;
use crate::handover::{Kept, Verb};

const UID: &str = "uid-1";

/// A member that keeps its id in a folder of the test's own.
struct Place {
    folder: Folder,
    bench: Bench,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = Folder::new(&format!("member-{name}"));
        let mut bench = Bench::new(&[("cluster-uid", UID), ("keep-member-id", "yes")]);
        let engine = &mut bench.engine;
        engine.config.appendonly = true;
        engine.config.appenddirname = folder.path().into();
        engine.rooms.aof.open = Some(crate::disk::aof::open);
        engine.rooms.aof.find = Some(crate::disk::find_manifest);
        engine.rooms.replication.saves.open = Some(crate::disk::open);
        engine.keeper_attached(identity::keep, Found::Nothing);
        engine.boot_member(Epoch::ZERO);
        engine.aof_start().unwrap();
        Self { folder, bench }
    }

    /// Whether a record can be written: its temporary name is taken, or not.
    fn set_full(&self, full: bool) {
        let taken = self.folder.0.join(format!("temp-redisha-{}-member", std::process::id()));
        if full { fs::create_dir(&taken).unwrap() } else { fs::remove_dir(&taken).unwrap() }
    }

    fn kept(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.bench.engine.member().is_kept() {
            assert!(Instant::now() < deadline, "the id is kept");
            self.bench.pass_ms(1);
            std::thread::yield_now();
        }
    }

    fn found(&self) -> Option<Kept> {
        match identity::read(self.folder.path()) {
            Found::Kept(kept) => Some(*kept),
            _ => None,
        }
    }

    fn id(&self) -> String {
        self.bench.engine.member().identity().here.member.clone()
    }

    fn ask(&mut self, verb: Verb) -> Option<Reply> {
        let client = self.bench.client();
        let client = self.bench.id(client);
        let request = Request { uid: UID.into(), member: self.id(), verb };
        self.bench.engine.member_request(client, request)
    }

    fn promote(&mut self) -> Option<Reply> {
        self.ask(Verb::Promote { term: 3, config: None, wait_ms: 0 })
    }
}

#[test]
fn a_seal_on_a_full_disk_is_refused_and_taken_when_there_is_space() {
    let mut place = Place::new("seal");
    place.kept();
    let (id, record) = (place.id(), place.found());
    place.set_full(true);
    for _ in 0..2 {
        assert!(matches!(place.ask(Verb::Seal { term: 3 }), Some(Reply::NotReady(_))));
        assert_eq!((place.id(), place.found()), (id.clone(), record.clone()));
    }
    assert_eq!(place.bench.engine.member().promised(), Epoch::of_term(3));
    place.set_full(false);
    assert!(matches!(place.ask(Verb::Seal { term: 3 }), Some(Reply::Sealed(_))));
    assert!(place.found().is_some_and(|one| one.member == id && one.promised == Epoch::of_term(3)));
    // Nor does it take an office that it cannot record.
    place.set_full(true);
    let end = place.bench.engine.stream_offset();
    assert!(matches!(place.promote(), Some(Reply::NotReady(_))));
    assert_eq!(*place.bench.engine.member().role(), Role::Fenced);
    assert_eq!(place.bench.engine.stream_offset(), end);
    place.set_full(false);
    assert_eq!(place.promote(), Some(Reply::Ok));
    assert!(place.found().is_some_and(|one| one.member == id && one.owned == Epoch::of_term(3)));
}

#[test]
fn an_id_that_a_full_disk_does_not_take_is_kept_later() {
    let mut place = Place::new("first");
    place.set_full(true);
    let id = place.id();
    for _ in 0..50 {
        place.bench.pass_ms(1);
    }
    assert!(place.bench.engine.keeper_rests(), "not every turn");
    assert_eq!((place.id(), place.found()), (id.clone(), None));
    assert_eq!(place.bench.engine.member().durable(), 0);
    place.set_full(false);
    for _ in 0..50 {
        place.bench.pass_ms(1);
    }
    assert!(!place.bench.engine.member().is_kept(), "it rests");
    place.bench.pass_ms(1_000);
    place.kept();
    assert_eq!(place.found().map(|one| one.member), Some(id));
}

/// They waited for ever.
#[test]
fn others_who_wait_are_answered_though_the_disk_refuses() {
    let mut place = Place::new("others");
    place.kept();
    place.set_full(true);
    let waiting = place.bench.client();
    let client = place.bench.id(waiting);
    let engine = &mut place.bench.engine;
    engine.rooms.member.waiting.insert(99, client);
    engine.clients.get_mut(client).unwrap().hold = crate::client::Hold::Deferred;
    let effects = vec![
        Effect::Keep { kept: Some(Box::default()) },
        Effect::Reply { token: 99, reply: Reply::Level },
        Effect::Reply { token: 100, reply: Reply::Ok },
    ];
    let reply = engine.perform_all(effects, Some(100));
    assert!(matches!(reply, Some(Reply::NotReady(_))));
    place.bench.engine.turn_end();
    let answer = place.bench.out(waiting);
    assert!(answer.starts_with("-NOTREADY the disk did not take it: "), "{answer}");
    assert!(place.bench.engine.rooms.member.waiting.is_empty());
}

/// A busy client of a primary that ended found its connection closed in the middle of a command, which
/// the new primary had executed: whenever its old one looked, an answer was still to be written or the
/// next command was under way, and then its time was over.
#[test]
fn a_client_that_is_never_idle_is_closed_behind_an_answer() {
    let mut bench = Bench::new(&[("cluster-uid", UID), ("shutdown-timeout", "10")]);
    bench.engine.boot_member(Epoch::ZERO);
    let client = bench.client();
    bench.engine.drain_member();
    assert_eq!(bench.ask(client, "PING"), "+PONG", "the address may lead here for a moment longer");
    let mut now = bench.engine.now;
    now.mono_us += 2_000_000;
    bench.engine.set_now(now);
    assert_eq!(bench.ask(client, "PING"), "+PONG gone");
    assert_eq!(bench.ask(client, "PING"), "gone", "nothing is executed behind the last answer");
}
