//! A seeded world around [`Cut`] and [`Moving`]: a source, three members of which two must hold
//! what counts, crashes and planned switches at any moment. And faults planted on purpose, each of
//! which the world must catch.

use std::collections::{BTreeSet, VecDeque};

use super::{Asked, Cut, Do, Facts, Leave, Moving, Phase, Point, Source, Told, Unapplied};
use crate::replication::ReplId;
use crate::tls::Given;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    None,
    /// Nobody waits until members hold what is here.
    HeldIgnored,
    /// The source is not asked again after it was told to take no more.
    AskedOnce,
    /// A successor knows nothing of the takeover.
    RecordForgotten,
    /// Writes are taken as soon as the log says that it is done.
    TakenEarly,
    /// Nobody minds what could not be executed here.
    MissingIgnored,
    /// That is known only where it happened.
    MissingForgotten,
    /// A source that was told to take no more writes is left so.
    NotGivenBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Copied(u64),
    /// It could not be executed here.
    Missing(u64),
    Leaving,
    Done,
}

/// What the source does with writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outside {
    Takes,
    Paused,
    /// It holds or redirects them for good.
    Left,
    /// And has dropped its data.
    Follows,
}

#[allow(clippy::struct_excessive_bools)] // independent facts
struct World {
    seed: u64,
    planted: Planted,
    redirects: bool,
    may_be_strange: bool,
    /// What the source has acknowledged.
    written: u64,
    /// What of it cannot be executed here.
    strange: BTreeSet<u64>,
    source: Outside,
    logs: [Vec<Entry>; 3],
    primary: usize,
    cut: Option<Cut>,
    asked: VecDeque<Do>,
    answers: VecDeque<Told>,
    levelled: u64,
    /// This primary has ended the cut-over itself.
    finished: bool,
    taking: bool,
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            planted,
            redirects: seed.is_multiple_of(2),
            may_be_strange: seed.is_multiple_of(3),
            written: 0,
            strange: BTreeSet::new(),
            source: Outside::Takes,
            logs: [const { Vec::new() }; 3],
            primary: 0,
            cut: None,
            asked: VecDeque::new(),
            answers: VecDeque::new(),
            levelled: 0,
            finished: false,
            taking: false,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    fn log(&self) -> &[Entry] {
        &self.logs[self.primary]
    }

    fn here(&self) -> u64 {
        let copied = self.log().iter().filter_map(|entry| match entry {
            Entry::Copied(offset) | Entry::Missing(offset) => Some(*offset),
            _ => None,
        });
        copied.max().unwrap_or(0)
    }

    fn whole(&self) -> bool {
        let missing = |entry: &Entry| matches!(entry, Entry::Missing(_));
        self.planted == Planted::MissingIgnored || !self.log().iter().any(missing)
    }

    fn held(&self) -> bool {
        let length = self.log().len();
        self.logs.iter().filter(|log| log.len() >= length).count() >= 2
    }

    fn source_takes(&self) -> bool {
        self.source == Outside::Takes
    }

    fn source_follows(&self) -> bool {
        self.source == Outside::Follows
    }

    /// One thing happens; an error is what must never be.
    fn step(&mut self) -> Result<(), String> {
        match self.random(12) {
            0 | 1 if self.source_takes() => {
                self.written += 1;
                // In some worlds only: where it happens there is no cut-over.
                if self.may_be_strange && self.random(30) == 0 {
                    self.strange.insert(self.written);
                }
            }
            2 | 3 if self.here() < self.written && !self.source_follows() => {
                let next = self.here() + 1;
                let missing = self.strange.contains(&next);
                let entry = if missing { Entry::Missing(next) } else { Entry::Copied(next) };
                self.logs[self.primary].push(entry);
            }
            4 | 5 => {
                let other = (self.primary + 1 + self.random(2) as usize) % 3;
                let (length, most) = (self.logs[other].len(), self.log().len());
                let until = (length + 1 + self.random(3) as usize).min(most);
                self.logs[other] = self.log()[..until].to_vec();
            }
            6 => self.source_obeys(),
            7 => self.source_answers(),
            // Its pause runs out.
            8 if self.source == Outside::Paused && self.random(4) == 0 => {
                self.source = Outside::Takes;
            }
            9 if self.cut.is_none() && !self.log().contains(&Entry::Done) => self.attempt(),
            10 if self.random(10) == 0 => self.another_leads()?,
            _ => {}
        }
        self.advance();
        self.check()
    }

    /// The operator asks for the cut-over.
    fn attempt(&mut self) {
        (self.asked, self.answers) = (VecDeque::new(), VecDeque::new());
        if !self.whole() {
            return self.give_back();
        }
        let leave = Leave::Redirecting { host: "here".into(), port: 1, auth: None };
        self.cut = Some(Cut::new(leave));
        if self.source_takes() {
            self.source = Outside::Paused;
        }
        self.answers.push_back(self.role());
    }

    fn give_back(&mut self) {
        if self.planted != Planted::NotGivenBack {
            self.asked.push_back(Do::GiveBack);
        }
    }

    /// In the end the operator asks once more, and the source hears all that it is told: where nobody
    /// may cut over it takes writes.
    fn ends(mut self) -> Result<bool, String> {
        if !self.taking && !self.whole() {
            self.attempt();
            while !self.asked.is_empty() {
                self.source_obeys();
            }
            if matches!(self.source, Outside::Paused | Outside::Left) {
                return Err("nobody takes writes".into());
            }
        }
        Ok(self.taking)
    }

    fn role(&self) -> Told {
        if self.source_follows() { Told::Replica } else { Told::Primary(self.written) }
    }

    fn source_obeys(&mut self) {
        let Some(asked) = self.asked.pop_front() else { return };
        self.answers.push_back(match asked {
            Do::Redirect if !self.redirects => Told::Refused(Asked::Redirect, "ERR".into()),
            Do::Redirect | Do::Hold => {
                if !self.source_follows() {
                    self.source = Outside::Left;
                }
                Told::Done(if asked == Do::Hold { Asked::Hold } else { Asked::Redirect })
            }
            Do::GiveBack => {
                if !self.source_follows() {
                    self.source = Outside::Takes;
                }
                Told::Done(Asked::Unpause)
            }
            Do::Follow => {
                self.source = Outside::Follows;
                Told::Done(Asked::Follow)
            }
            _ => self.role(),
        });
    }

    fn source_answers(&mut self) {
        let Some(told) = self.answers.pop_front() else { return };
        if let (Told::Primary(offset), 0) = (&told, self.levelled) {
            self.levelled = *offset;
        }
        let leaving = self.log().contains(&Entry::Leaving);
        if self.cut.as_mut().is_some_and(|cut| cut.told(&told, leaving).is_err()) {
            self.cut = None;
        }
    }

    fn advance(&mut self) {
        while let Some(mut cut) = self.cut.take() {
            let facts = Facts {
                here: self.here(),
                whole: self.whole(),
                held: self.held() || self.planted == Planted::HeldIgnored,
                open: true,
            };
            let act = cut.next(facts);
            self.cut = Some(cut);
            match act {
                None => return,
                Some(Do::NoteLeaving) => self.logs[self.primary].push(Entry::Leaving),
                Some(Do::NoteDone) => self.logs[self.primary].push(Entry::Done),
                Some(Do::Finish) => (self.cut, self.finished) = (None, true),
                Some(Do::GiveBack) => {
                    self.cut = None;
                    self.give_back();
                }
                Some(Do::AskRole) if self.planted == Planted::AskedOnce => {
                    self.answers.push_back(Told::Primary(self.levelled));
                }
                Some(act) => self.asked.push_back(act),
            }
        }
    }

    /// The primary crashes, or gives its office away to a member that is level.
    fn another_leads(&mut self) -> Result<(), String> {
        let other = (self.primary + 1 + self.random(2) as usize) % 3;
        let third = 3 - self.primary - other;
        if self.random(2) == 0 {
            self.logs[other] = self.log().to_vec();
        } else if self.logs[third].len() > self.logs[other].len() {
            return Ok(());
        }
        self.primary = other;
        // The others' logs are cut to what they share with it.
        for at in 0..3 {
            let shared = self.logs[at].iter().zip(self.log()).take_while(|(a, b)| a == b).count();
            self.logs[at].truncate(shared);
        }
        self.cut = None;
        self.finished = false;
        if self.planted == Planted::MissingForgotten {
            for entry in &mut self.logs[other] {
                if let Entry::Missing(offset) = *entry {
                    *entry = Entry::Copied(offset);
                }
            }
        }
        self.taking = self.planted == Planted::RecordForgotten;
        if self.source_follows() && self.here() < self.written {
            return Err(format!("{} of {} are nowhere", self.written - self.here(), self.written));
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        let closing = self.cut.as_ref().is_some_and(Cut::is_closing);
        let first = self.finished || closing && self.planted == Planted::TakenEarly;
        // A successor opens when its start record, and so all before it, is held.
        let later = self.log().contains(&Entry::Done) && !closing && self.held();
        if !self.taking && !first && !later {
            return Ok(());
        }
        if !self.taking && !self.held() {
            return Err("writes are taken by one whose successor would not take them".into());
        }
        self.taking = true;
        if self.source_takes() {
            return Err("both take writes".into());
        }
        if self.here() < self.written {
            return Err(format!("{} of {} are not here", self.written - self.here(), self.written));
        }
        if !self.strange.is_empty() {
            return Err(format!("{:?} could not be executed here", self.strange));
        }
        Ok(())
    }
}

/// The first thing that must never be, and how many worlds came to their end.
fn run(planted: Planted) -> (Option<String>, usize) {
    let mut over = 0;
    for seed in 1..3000 {
        let mut world = World::new(seed, planted);
        for step in 0..400 {
            if let Err(why) = world.step() {
                return (Some(format!("seed {seed}, step {step}: {why}")), over);
            }
        }
        match world.ends() {
            Ok(taking) => over += usize::from(taking),
            Err(why) => return (Some(format!("seed {seed}, at the end: {why}")), over),
        }
    }
    (None, over)
}

#[test]
fn one_of_two_takes_writes_whatever_happens() {
    let (violation, over) = run(Planted::None);
    assert_eq!(violation, None);
    assert!(over > 1000, "only {over} worlds came to their end");
}

#[test]
fn planted_faults_are_caught() {
    for planted in [
        Planted::HeldIgnored,
        Planted::AskedOnce,
        Planted::RecordForgotten,
        Planted::TakenEarly,
        Planted::MissingIgnored,
        Planted::MissingForgotten,
        Planted::NotGivenBack,
    ] {
        let (violation, _) = run(planted);
        assert!(violation.is_some(), "{planted:?}");
    }
}

#[test]
fn what_members_know_is_written_and_read() {
    let auth = Some((Some("mover".into()), b"secret".as_slice().into()));
    let given = Given {
        authorities: b"secret authorities".to_vec(),
        name: "secret".into(),
        any_name: false,
        own: Some((b"secret certificate".to_vec(), b"secret key".to_vec())),
    };
    let source = Source { host: "old&new=%.example".into(), port: 7000, auth, tls: None };
    let by_tls = Source { auth: None, tls: Some(given), ..source.clone() };
    let point = Point { id: ReplId::from_random([7; 20]), offset: 123, db: 3 };
    for phase in [Phase::Copying, Phase::Following(point), Phase::Leaving(point), Phase::Done] {
        for source in [&source, &by_tls] {
            let moving = Moving { phase, ..Moving::new("uid", source) };
            let text = moving.text();
            assert!(!text.contains("secret"), "what nobody may know in {text}");
            assert!(text.contains("login=1"), "a successor would go on in the clear: {text}");
            assert_eq!(Moving::parse(text.as_bytes()), Ok(moving));
        }
        let moving = Moving { phase, ..Moving::new("uid", &source) };
        let mut unapplied = Unapplied::default();
        unapplied.add("SETRANGE", "ERR too long");
        unapplied.add("LPUSH", &"ERR & = % \u{e9}".repeat(100));
        let moving = Moving { unapplied: Some(unapplied), ..moving };
        let text = moving.text();
        assert!(text.len() < 1500, "{text}");
        assert_eq!(Moving::parse(text.as_bytes()), Ok(moving));
    }
    for text in [
        "",
        "v=2&uid=u&host=h&port=1&phase=done",
        "v=1&host=h&port=1&phase=done",
        "v=1&uid=u&host=h&port=1&phase=following",
        "v=1&uid=u&host=h&port=1&phase=other",
        "v=1&uid=u&host=h&port=66000&phase=done",
    ] {
        assert!(Moving::parse(text.as_bytes()).is_err(), "{text}");
    }
}

/// A primary of a version that does not count what it leaves out dropped the count of the one before,
/// and its successor cut over without those data.
#[test]
fn what_a_primary_that_counts_nothing_wrote_may_lack_data() {
    let source = Source { host: "old".into(), port: 7000, ..Source::default() };
    let point = Point { id: ReplId::from_random([7; 20]), offset: 123, db: 3 };
    let check = |phase: Phase, expect: &str| {
        let moving = Moving { phase, ..Moving::new("uid", &source) };
        let text = moving.text().replace("&counts=1", "");
        let found = Moving::parse(text.as_bytes()).expect("a record of an older version");
        let told = found.unapplied.as_ref().map_or_else(String::new, Unapplied::to_string);
        assert!(told.contains(expect) && told.is_empty() == expect.is_empty(), "{phase:?}: {told}");
        // Its successor writes it down.
        assert_eq!(Moving::parse(found.text().as_bytes()), Ok(found));
    };
    check(Phase::Copying, "");
    check(Phase::Following(point), "data may be missing");
    check(Phase::Leaving(point), "data may be missing");
    check(Phase::Done, "");
    let mut unapplied = Unapplied { count: 1, ..Unapplied::default() };
    unapplied.add("SETPART", "ERR unknown command");
    assert!(unapplied.to_string().starts_with("2 commands"), "{unapplied}");
}
