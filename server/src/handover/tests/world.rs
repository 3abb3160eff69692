//! Members wired by hand: a stream that counts every appended record, and links that deliver or not.

use crate::handover::{
    Effect, Env, Epoch, Event, Identity, Member, Peer, Record, Reply, Request, Role, Target,
    Timing, Verb,
};

pub const UID: &str = "uid-1";

pub fn target(member: &str) -> Target {
    Target {
        member: member.to_owned(),
        host: format!("10.0.0.{}", member.len()),
        port: 6379,
        hostname: format!("{member}.pods"),
    }
}

pub fn epoch(text: &str) -> Epoch {
    text.parse().expect("an epoch in a test")
}

/// One member with its log's length and its clock.
pub struct Node {
    pub member: Member,
    pub offset: u64,
    pub empty: bool,
    pub now_us: u64,
    /// Records appended here, with the offset before each, not yet delivered to anyone.
    pub written: Vec<(u64, String)>,
    pub effects: Vec<Effect>,
    next_token: u64,
}

impl Node {
    pub fn boot(id: &str) -> Self {
        let identity = Identity {
            uid: Some(UID.into()),
            name: format!("pod-{id}"),
            here: target(id),
            ..Identity::default()
        };
        Self {
            member: Member::new(identity, Timing::default(), Epoch::ZERO),
            offset: 0,
            empty: true,
            now_us: 1_000,
            written: Vec::new(),
            effects: Vec::new(),
            next_token: 0,
        }
    }

    pub fn env(&self) -> Env {
        Env { now_us: self.now_us, offset: self.offset, empty: self.empty }
    }

    /// Lets an event happen; returns its effects and performs what concerns the log.
    pub fn event(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.member.handle(self.env(), event);
        for effect in &effects {
            if let Effect::Append { argument } = effect {
                self.written.push((self.offset, argument.clone()));
                self.offset += argument.len() as u64 + 20;
                self.empty = false;
            }
        }
        self.effects.extend(effects.iter().cloned());
        effects
    }

    /// Sends a request to this member's own id; the reply if it came at once.
    pub fn ask(&mut self, verb: Verb) -> Option<Reply> {
        let member = self.member.identity().here.member.clone();
        self.ask_as(UID, &member, verb)
    }

    pub fn ask_as(&mut self, uid: &str, member: &str, verb: Verb) -> Option<Reply> {
        self.next_token += 1;
        let token = self.next_token;
        let request = Request { uid: uid.into(), member: member.into(), verb };
        reply_to(&self.event(Event::Request { token, request }), token)
    }

    /// The token that the next `ask` will use.
    pub fn coming_token(&self) -> u64 {
        self.next_token + 1
    }

    /// A record of the primary's stream is applied here.
    pub fn apply(&mut self, argument: &str) -> Vec<Effect> {
        let start = self.offset;
        self.offset += argument.len() as u64 + 20;
        self.empty = false;
        let record = Record::parse(argument.as_bytes()).expect("a record in a test");
        self.event(Event::Applied { record, start })
    }

    pub fn tick_at(&mut self, now_us: u64) -> Vec<Effect> {
        self.now_us = now_us;
        self.event(Event::Tick)
    }

    pub fn replica_up(&mut self, id: &str, acked: u64) {
        self.event(Event::ReplicaUp {
            peer: Peer { target: target(id), acked, durable: 0, level: 0 },
        });
    }

    pub fn is_primary(&self) -> bool {
        matches!(self.member.role(), Role::Primary { .. })
    }
}

pub fn reply_to(effects: &[Effect], wanted: u64) -> Option<Reply> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply { token, reply } if *token == wanted => Some(reply.clone()),
        _ => None,
    })
}

pub fn promote(term: u64) -> Verb {
    Verb::Promote { term, config: None, wait_ms: 0 }
}

pub fn pause(id: &str, to: &str) -> Verb {
    Verb::Pause { id: id.into(), timeout_ms: 1_000, to: to.into() }
}

pub fn handover(id: &str, to: &str) -> Verb {
    Verb::Handover { id: id.into(), to: target(to) }
}

pub fn follow(at: &str, primary: &str) -> Verb {
    Verb::Follow { epoch: epoch(at), primary: target(primary) }
}

/// A bootstrapped primary `a` and a follower `b` that has applied its whole log.
pub fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::boot("a"), Node::boot("bb"));
    assert_eq!(a.ask(Verb::Bootstrap { term: 1, config: None }), Some(Reply::Ok));
    assert_eq!(b.ask(follow("1.0", "a")), Some(Reply::Ok));
    let (_, start) = a.written[0].clone();
    b.apply(&start);
    assert_eq!(a.offset, b.offset);
    a.replica_up("bb", b.offset);
    (a, b)
}

/// The pair with the record of attempt `x` written by `a` and not yet delivered; the token of the
/// operator's HANDOVER, and the record's argument.
pub fn handed_over() -> (Node, Node, u64, String) {
    let (mut a, b) = pair();
    let epoch = Epoch::of_term(1);
    assert_eq!(a.ask(pause("x", "bb")), Some(Reply::Paused { offset: a.offset, epoch }));
    let token = a.coming_token();
    assert_eq!(a.ask(handover("x", "bb")), None);
    let (_, record) = a.written.last().cloned().expect("the record");
    (a, b, token, record)
}
