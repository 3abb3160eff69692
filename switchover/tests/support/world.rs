//! A cluster in a few words, and one line per event: what the table and the scenarios share.
//!
//! Lines that describe: `member NAME [silent|fenced|primary T.H|follower ID T.H|limbo T.H to ID]`
//! followed by `key=value` words (`id`, `promised`, `data`, `offset`, `link`, `label`, `eligible`,
//! `empty`, `pause`, `pause-left`, `silence`, `pulse=gone|beats`, `handover=ID:OUTCOME:TO`,
//! `record`, `pause-us`, `draining`, `restarted`, `replicas=id,id`, `lag`, `uid`, `configs`,
//! `level`, `users`, `listens`);
//! `arbiter key=value…`; `request ID REASON [POD]`; `request none`.
//! `replicated` or `disk`, which is the setting. All other lines are events.

use switchover::{
    Arbiter, Config, Durability, Election, Event, Intent, Label, Member, Observation, Publication,
    Pulse, Reason, Refusal, Replica, Reply, Request, Role, Seen, Settings, State, Status, Tag,
};

pub struct World {
    pub arbiter: Arbiter,
    pub members: Vec<Seen>,
    pub request: Option<Request>,
    pub settings: Settings,
}

pub fn member(id: &str) -> Member {
    Member { name: id[..1].to_owned(), member: id.to_owned() }
}

fn reason(text: &str) -> Reason {
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text).expect("a known reason")
}

impl World {
    pub fn new() -> Self {
        Self {
            arbiter: Arbiter::new("u"),
            members: Vec::new(),
            request: None,
            settings: Settings::default(),
        }
    }

    /// Applies a line that describes; returns whether it was one.
    pub fn describe(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "member" => self.set_member(words[1], &words[2..]),
            "arbiter" => self.set_arbiter(&words[1..]),
            "replicated" => self.settings.durability = Durability::Replicated,
            "disk" => self.settings.durability = Durability::Disk,
            "request" if words[1] == "none" => self.request = None,
            "request" => {
                self.request = Some(Request {
                    id: words[1].into(),
                    reason: reason(words[2]),
                    to: words.get(3).map(ToString::to_string),
                });
            }
            _ => return false,
        }
        true
    }

    fn set_member(&mut self, name: &str, words: &[&str]) {
        let mut seen = Seen {
            name: name.into(),
            host: format!("10.0.0.{}", name.as_bytes()[0] - b'a' + 1),
            port: 6379,
            probe_port: 0,
            hostname: format!("{name}.pods"),
            eligible: true,
            label: Label::Replica,
            status: None,
            pulse: Pulse::Unknown,
        };
        let place = self.members.iter().position(|one| one.name == name);
        if let Some(place) = place {
            seen.label = self.members[place].label;
        }
        let mut status = Status {
            uid: "u".into(),
            member: format!("{name}1"),
            role: words[0].parse().unwrap_or_default(),
            offset: 100,
            ..Status::default()
        };
        let mut lag = 0;
        let mut ids = "";
        for (i, word) in words.iter().enumerate() {
            let Some((key, value)) = word.split_once('=') else {
                bare(&mut status, words, i);
                continue;
            };
            match key {
                "id" => status.member = value.into(),
                "promised" => status.promised = value.parse().unwrap(),
                "data" => status.data_epoch = value.parse().unwrap(),
                "offset" => status.offset = value.parse().unwrap(),
                "level" => status.stream_level = value.parse().unwrap(),
                "users" => status.users = value.into(),
                "listens" => status.listens = value.into(),
                "silence" => status.silence_ms = value.parse().unwrap(),
                "pause-left" => status.pause_left_ms = value.parse().unwrap(),
                "pulse" => {
                    seen.pulse = match value {
                        "gone" => Pulse::Gone,
                        "beats" => Pulse::Beats,
                        _ => panic!("unknown pulse {value}"),
                    };
                }
                "link" => status.link = value.parse().unwrap(),
                "empty" => status.empty = true,
                "pause" => status.pause_id = value.into(),
                "record" => status.handover_record = value.into(),
                "pause-us" => status.pause_us = value.parse().unwrap(),
                "draining" => status.draining = true,
                "restarted" => status.restarted = true,
                "configs" => status.configs = value.into(),
                "uid" => status.uid = value.into(),
                "lag" => lag = value.parse().unwrap(),
                "replicas" => ids = value,
                "handover" => {
                    let parts: Vec<&str> = value.split(':').collect();
                    status.handover_id = parts[0].into();
                    status.handover = parts[1].parse().unwrap();
                    status.handover_to = parts[2].into();
                }
                "eligible" => seen.eligible = value == "yes",
                "label" => {
                    seen.label = match value {
                        "primary" => Label::Primary,
                        "replica" => Label::Replica,
                        _ => Label::None,
                    };
                }
                _ => panic!("unknown word {word}"),
            }
        }
        let offset = status.offset - lag;
        let replica = |id: &str| Replica { member: id.into(), offset, online: true };
        status.replicas = ids.split(',').filter(|id| !id.is_empty()).map(replica).collect();
        seen.status = (words[0] != "silent").then_some(status);
        match place {
            Some(place) => self.members[place] = seen,
            None => self.members.push(seen),
        }
    }

    fn set_arbiter(&mut self, words: &[&str]) {
        self.arbiter = Arbiter { uid: "u".into(), version: 1, ..Arbiter::default() };
        for word in words {
            let (key, value) = word.split_once('=').expect("key=value");
            let arbiter = &mut self.arbiter;
            match key {
                "version" => arbiter.version = value.parse().unwrap(),
                "term" => (arbiter.term, arbiter.initialised) = (value.parse().unwrap(), true),
                "primary" => {
                    let (id, epoch) = value.split_once('@').expect("id@epoch");
                    arbiter.primary = Some(member(id));
                    arbiter.epoch = epoch.parse().unwrap();
                }
                "config" => {
                    let members: Vec<Member> = value.split(',').map(member).collect();
                    let w = members.len() / 2 + 1;
                    let term = arbiter.term;
                    let degrade = true;
                    arbiter.config =
                        Config { v: 1, term, members, w, degrade, ..Config::default() };
                }
                "v" => arbiter.config.v = value.parse().unwrap(),
                "durability" => {
                    let (disk, rule) = match value.strip_prefix("disk-") {
                        Some(rule) => (Durability::Disk, rule),
                        None => (Durability::Replicated, value),
                    };
                    arbiter.config.durability = disk;
                    arbiter.config.degrade = rule == "degrade";
                }
                "election" => {
                    let parts: Vec<&str> = value.split(':').collect();
                    arbiter.election = Some(Election {
                        term: parts[0].parse().unwrap(),
                        winner: parts.get(1).map(|id| member(id)),
                        empty: parts.get(2) == Some(&"empty"),
                    });
                }
                "intent" => {
                    let parts: Vec<&str> = value.split(':').collect();
                    let (id, attempt) = parts[0].split_once('/').expect("id/attempt");
                    arbiter.switchover = Some(Intent {
                        id: id.into(),
                        from: member(parts[1]),
                        to: member(parts[2]),
                        reason: Reason::Drain,
                        attempt: attempt.parse().unwrap(),
                        deadline_ms: 2_000,
                    });
                }
                _ => panic!("unknown word {word}"),
            }
        }
    }

    /// The event that this line tells, as an answer to what `state` is doing.
    pub fn event(&mut self, line: &str, state: &State) -> Event {
        let words: Vec<&str> = line.split_whitespace().collect();
        let tag =
            if line.ends_with(" late") { Tag(state.tag.0.wrapping_sub(1)) } else { state.tag };
        match words[0] {
            "nudge" => Event::Nudge,
            "expired" => Event::Expired { tag },
            "observed" => Event::Observed { tag, observation: Box::new(self.observation()) },
            "published" => Event::Published { tag, result: publication(words[1]) },
            "labelled" => Event::Labelled {
                tag,
                name: words[1].into(),
                done: words.get(2) != Some(&"failed"),
            },
            "reply" => Event::Replied { tag, name: words[1].into(), result: reply(&words[1..]) },
            _ => panic!("unknown event: {line}"),
        }
    }

    /// A primary of which the story says nothing else obeys what is published.
    pub fn observation(&self) -> Observation {
        let mut members = self.members.clone();
        for status in members.iter_mut().filter_map(|seen| seen.status.as_mut()) {
            let config = &self.arbiter.config;
            let leads = matches!(status.role, Role::Primary | Role::Limbo);
            if leads && status.configs.is_empty() && !config.members.is_empty() {
                status.configs = config.text();
            }
        }
        Observation {
            arbiter: self.arbiter.clone(),
            settings: self.settings,
            members,
            request: self.request.clone(),
        }
    }
}

fn bare(status: &mut Status, words: &[&str], i: usize) {
    match (words[0], i) {
        ("primary" | "limbo", 1) => {
            status.epoch = words[1].parse().unwrap();
            status.promised = status.epoch;
            status.data_epoch = status.epoch;
        }
        ("follower", 1) => status.primary_member = words[1].into(),
        ("follower", 2) => {
            status.epoch = words[2].parse().unwrap();
            status.promised = status.epoch;
            status.data_epoch = status.epoch;
            status.link = switchover::Link::Up;
        }
        ("limbo", 3) => {
            status.handover_to = words[3].into();
            status.handover = switchover::Handover::Pending;
        }
        (_, 0) | ("limbo", 2) => {}
        _ => panic!("unknown word {}", words[i]),
    }
}

fn publication(word: &str) -> Publication {
    match word {
        "done" => Publication::Done,
        "conflict" => Publication::Conflict,
        "unknown" => Publication::Unknown,
        _ => panic!("unknown publication {word}"),
    }
}

/// `NAME ok | paused | level | accepted T.H | declined T.H | abdicated | lost`,
/// `NAME sealed ID T.H N [empty|restarted]`,
/// or `NAME CODE text…` for an error reply.
fn reply(words: &[&str]) -> Result<Reply, Refusal> {
    let text = words[1..].join(" ");
    match words[1] {
        "ok" | "level" => Ok(Reply::Ok),
        "paused" => Ok(Reply::Paused { offset: 100, epoch: "1.0".parse().unwrap() }),
        "accepted" | "declined" | "abdicated" | "prepared" => {
            Ok(Reply::from_text(&text.to_uppercase()))
        }
        "sealed" => Ok(Reply::Sealed {
            member: words[2].into(),
            data_epoch: words[3].parse().unwrap(),
            offset: words[4].parse().unwrap(),
            empty: words.get(5) == Some(&"empty"),
            lease_left_ms: 0,
            restarted: words.get(5) == Some(&"restarted"),
        }),
        "lost" => Err(Refusal::Lost("the connection ended".into())),
        _ => Err(Refusal::from_error(&text)),
    }
}
