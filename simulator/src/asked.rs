//! What operators and givers ask of a member, and what it says of itself.

use server::handover::{Event, Handover, Request, Role, Target, Verb};
use switchover::{Event as Told, Link, Refusal, Replica, Tag};

use crate::convert;
use crate::mutant::Mutant;
use crate::node::{Cause, place_of};
use crate::world::{MS, NAMES, SEC, Thing, UID, World};

/// A follower that has heard nothing for so long says so.
const SILENT: u64 = 500 * MS;

impl World {
    pub fn commanded(
        &mut self,
        brain: u64,
        tag: Tag,
        to: &switchover::Member,
        command: switchover::Command,
    ) {
        let node = place_of(&to.name);
        if self.nodes[node].life.is_none() {
            return self.lost(brain, tag, node);
        }
        let Some((to, command)) = self.miscommanded(node, (brain, tag), to, command) else {
            return;
        };
        let cause = match &command {
            switchover::Command::Unpause { id } => Cause::Unpause(id.clone()),
            switchover::Command::Takeover { .. } => Cause::Takeover,
            _ => Cause::Other,
        };
        let token = self.number();
        self.note(|| {
            format!("{} <- {} {}", NAMES[node], to.member, command.words("", &to).join(" "))
        });
        let request =
            Request { uid: UID.into(), member: to.member.clone(), verb: convert::verb(command) };
        if let Some(life) = &mut self.nodes[node].life {
            life.tokens.insert(token, (brain, tag));
        }
        self.event(node, Event::Request { token, request }, &cause);
    }

    pub fn reply(
        &mut self,
        node: usize,
        brain: u64,
        tag: Tag,
        result: Result<switchover::Reply, Refusal>,
    ) {
        self.note(|| format!("{} -> {result:?}", NAMES[node]));
        match self.way(node, crate::world::BRAIN) {
            Some(delay) => {
                let name = NAMES[node].to_owned();
                let event = Told::Replied { tag, name, result };
                self.after(delay, Thing::Told { brain, event });
            }
            None => self.lost(brain, tag, node),
        }
    }

    /// The operator sees its connection end, sooner or later, or never.
    pub fn lost(&mut self, brain: u64, tag: Tag, node: usize) {
        if self.chaos && self.rng.chance(2_000) {
            return;
        }
        let delay = self.rng.between(MS, SEC);
        let name = NAMES[node].to_owned();
        let result = Err(Refusal::Lost("the connection ended".into()));
        self.after(delay, Thing::Told { brain, event: Told::Replied { tag, name, result } });
    }

    pub fn takeover_came(&mut self, from: usize, boot: u64, to: Target, blob: String) {
        let node = place_of(&to.host);
        let Some(life) = &self.nodes[node].life else { return };
        let right = life.id() == to.member;
        let Ok(record) = Handover::decode(&blob) else { return };
        let epoch = record.epoch;
        let member = to.member.clone();
        let request = Request { uid: UID.into(), member, verb: Verb::Takeover { blob } };
        self.event(node, Event::Request { token: 0, request }, &Cause::Takeover);
        let accepted = match &self.nodes[node].life {
            Some(life) if right && life.id() == to.member => {
                self.checks.decided.get(&epoch).copied()
            }
            Some(_) if !right && self.mutant == Some(Mutant::RestartedTargetDeclines) => {
                Some(false)
            }
            _ => None,
        };
        if let (Some(accepted), Some(delay)) = (accepted, self.way(node, from)) {
            let member = to.member;
            let answer =
                |member| Thing::TakeoverAnswer { node: from, boot, member, epoch, accepted };
            self.theme_at_answer(|| answer(member.clone()));
            self.after(delay, answer(member));
        }
    }

    pub fn status_of(&self, node: usize) -> Option<switchover::Status> {
        let life = self.nodes[node].life.as_ref()?;
        let link = match (&life.follow, life.member.role()) {
            (Some(follow), Role::Follower { .. }) if follow.up => {
                let silent = self.now > follow.heard + SILENT;
                if silent { Link::Down } else { Link::Up }
            }
            (Some(_), Role::Follower { .. }) => Link::Connecting,
            _ => Link::None,
        };
        let silence_ms = life.follow.as_ref().map_or(0, |follow| (self.now - follow.heard) / MS);
        let replicas = life.served.values().map(|served| Replica {
            member: served.member.clone(),
            offset: served.acked,
            online: served.online,
        });
        let status = life.member.status(life.env(self.now));
        let status = convert::status(status, link, replicas.collect());
        let stream_level = u64::from(self.level_told(node));
        Some(switchover::Status { silence_ms, stream_level, ..status })
    }
}
