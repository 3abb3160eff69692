//! Moving in: binds [`crate::migration`] and a replication link of its own to this primary's data.
//!
//! What the source wrote is executed here as this primary's own writes, and a record behind every
//! part of them says which point of the source's history that is, so that a successor goes on from
//! there. Until the cut-over clients may read and not write.
//!
//! `source` binds the connections, `cut` performs the cut-over.

mod cut;
mod source;

use crate::client::{ClientId, Closing};
use crate::command::{Command, Flags};
use crate::migration::{Control, Cut, Moving, Phase, Point, RECORD, Source, Unapplied};
use crate::replication::{Link, LinkConfig, Stream};
use crate::resp::CommandError;
use crate::tls::Outgoing;

use super::{Engine, hooks};

/// What this node knows of a takeover, and does for it.
#[derive(Default)]
pub struct Room {
    /// What all members know of it.
    moving: Option<Moving>,
    /// It says of what is missing here what the log does not say yet.
    unrecorded: bool,
    /// The source with what no log tells of it, once the operator has said it.
    said: Option<Said>,
    /// The primary's connections to the source.
    links: Option<Box<Links>>,
}

/// What the operator said, and what TLS makes of it.
#[derive(Clone)]
struct Said {
    source: Source,
    tls: Option<Outgoing>,
}

/// The connections of the primary to the server outside.
struct Links {
    source: Source,
    tls: Option<Outgoing>,
    link: Link,
    link_client: Option<ClientId>,
    stream: Stream,
    control: Control,
    control_client: Option<ClientId>,
    asked_ms: u64,
    /// The source's offset when it was last asked.
    source_offset: u64,
    /// It has said that it is a primary since the link was lost.
    source_leads: bool,
    cut: Option<Attempt>,
    last_error: String,
}

/// An attempt to cut over, and who asked for it.
struct Attempt {
    cut: Cut,
    waiter: ClientId,
    deadline_ms: u64,
}

impl Engine {
    /// Begins to take the data of `source`, or goes on if it is followed already. Data that are
    /// here are never replaced by another's.
    pub fn migrate_from(&mut self, source: Source) -> Result<(), CommandError> {
        let room = &self.rooms.migration;
        let moving = room.moving.clone().filter(|moving| moving.is_from(&source));
        if moving.is_some() && room.said.as_ref().is_some_and(|said| said.source == source) {
            self.migration_cron();
            return Ok(());
        }
        let tls = source.tls.as_ref().map(|given| Outgoing::new(given, &self.config)).transpose();
        let tls = tls.map_err(|error| CommandError::from(format!("BADTLS {error}")))?;
        if let Some(moving) = moving {
            let login = source.wants_login();
            if moving.login != login && moving.phase != Phase::Done {
                // A successor is not to go on without what must be said.
                self.note_moving(Some(Moving { login, ..moving }))?;
            }
            self.take_said(Said { source, tls }, "what was said of the source has changed");
            return Ok(());
        }
        let keys = self.keyspace.len();
        if keys > 0 {
            let why =
                format!("NOTREADY this member has {keys} keys of its own, which would be lost");
            return Err(why.into());
        }
        self.note_moving(Some(Moving::new(&self.config.cluster_uid, &source)))?;
        self.take_said(Said { source, tls }, "another source is followed");
        Ok(())
    }

    /// Connects anew by what was said.
    fn take_said(&mut self, said: Said, why: &str) {
        self.rooms.migration.said = Some(said);
        self.drop_links(why);
        self.migration_cron();
    }

    /// How the source is spoken to by TLS, if it is.
    pub(super) fn migration_tls(&self) -> Option<Outgoing> {
        self.rooms.migration.links.as_ref()?.tls.clone()
    }

    /// Follows the source no longer; what was taken over stays.
    pub fn end_migration(&mut self) -> Result<(), CommandError> {
        if self.rooms.migration.moving.is_some() {
            self.note_moving(None)?;
        }
        self.drop_links("the source is followed no more");
        Ok(())
    }

    /// Tells all members what is so from here on.
    fn note_moving(&mut self, moving: Option<Moving>) -> Result<(), CommandError> {
        if self.stream_is_paused() {
            return Err("NOTREADY nothing may be written in a pause".into());
        }
        let text = moving.as_ref().map(Moving::text).unwrap_or_default();
        self.rooms.migration.moving = moving;
        self.append_bytes_to_stream(&[RECORD, text.as_bytes()].concat());
        // Whoever is told of it is told that members have it.
        self.rooms.commit.data_end = self.stream_offset();
        hooks::stream_changed(self);
        Ok(())
    }

    fn note_phase(&mut self, phase: Phase) -> Result<(), CommandError> {
        let moving = self.rooms.migration.moving.clone();
        self.note_moving(moving.map(|moving| Moving { phase, ..moving }))
    }

    /// A record of the primary's stream or of a file; false when it is not one of a takeover.
    pub(super) fn migration_applied(&mut self, argument: &[u8]) -> bool {
        let Some(text) = argument.strip_prefix(RECORD) else { return false };
        self.migration_loaded(Some(text));
        true
    }

    /// What a snapshot, or a record, says of a takeover; nothing says that there is none.
    pub(super) fn migration_loaded(&mut self, text: Option<&[u8]>) {
        let text = text.filter(|text| !text.is_empty());
        let moving = match text.map(Moving::parse).transpose() {
            Ok(moving) => moving,
            Err(error) => return hooks::warn(self, &format!("the takeover's record: {error}")),
        };
        // By the directive: data are loaded before the member takes its role.
        let own = |moving: &Moving| moving.uid == self.config.cluster_uid;
        self.rooms.migration.moving = moving.filter(own);
        hooks::stream_changed(self);
    }

    /// What a snapshot carries of it.
    pub(super) fn migration_aux(&self) -> Option<String> {
        self.rooms.migration.moving.as_ref().map(Moving::text)
    }

    /// The takeover in which another server is the one that takes writes.
    fn source_writes(&self) -> Option<&Moving> {
        let room = &self.rooms.migration;
        let closing = self.is_closing();
        room.moving.as_ref().filter(|moving| moving.phase != Phase::Done || closing)
    }

    /// Whether another server is followed and writes are its.
    pub(super) fn is_migrating(&self) -> bool {
        self.source_writes().is_some()
    }

    /// Why a client's write is refused while another server is the one that takes writes.
    #[inline]
    pub(super) fn migration_refusal(&self, row: &Command) -> Option<CommandError> {
        if self.rooms.migration.moving.is_none() || !row.is(Flags::WRITE | Flags::MAY_REPLICATE) {
            return None;
        }
        let Moving { host, port, .. } = self.source_writes()?;
        Some(format!("MIGRATING writes are taken by {host}:{port} until the cut-over").into())
    }

    /// What of the source's stream could not be executed here.
    fn unapplied(&self) -> Option<&Unapplied> {
        self.rooms.migration.moving.as_ref()?.unapplied.as_ref()
    }

    /// What STATUS tells: state, lag in bytes, what stands in the way, and how many commands of the
    /// source were not executed here.
    pub fn migration_status(&self) -> [(&'static str, String); 4] {
        let room = &self.rooms.migration;
        let links = room.links.as_ref();
        let cutting = links.is_some_and(|links| links.cut.is_some());
        let word = match room.moving.as_ref().map(|moving| moving.phase) {
            None => "none",
            Some(Phase::Copying) => "copying",
            Some(_) if cutting => "cutting-over",
            Some(Phase::Following(_) | Phase::Leaving(_)) => "following",
            Some(Phase::Done) => "done",
        };
        let offset = self.migration_point().map_or(0, |point| point.offset);
        let lag = links.map_or(0, |links| links.source_offset.saturating_sub(offset));
        let mut errors = Vec::new();
        match links.filter(|links| !links.link.is_streaming()) {
            Some(links) if links.last_error.is_empty() => {}
            Some(links) => errors.push(links.last_error.clone()),
            None if self.is_migrating() && room.wants_login() => {
                errors.push("the source's password or certificates are to be said again".into());
            }
            None => {}
        }
        errors.extend(self.unapplied().map(Unapplied::to_string));
        let count = self.unapplied().map_or(0, |unapplied| unapplied.count);
        [
            ("migration", word.into()),
            ("migration-lag", lag.to_string()),
            ("migration-error", errors.join("; ")),
            ("migration-unapplied", count.to_string()),
        ]
    }

    /// The point of the source's history that the data are.
    fn migration_point(&self) -> Option<Point> {
        self.rooms.migration.moving.as_ref().and_then(Moving::point)
    }

    /// Ten times a second, and when the operator has said something.
    pub(super) fn migration_cron(&mut self) {
        if self.rooms.migration.moving.is_none() {
            return;
        }
        if !self.is_managed() || hooks::is_replica(self) || self.replication().detached {
            return self.drop_links("this member is not the primary any more");
        }
        if self.is_migrating() {
            self.open_links();
        }
        self.migration_control_tick();
        self.migration_link_tick();
        self.give_up_cut_over();
        // What a pause of this member held may be written now.
        if let Some(link) = self.rooms.migration.links.as_ref().and_then(|links| links.link_client)
            && let Some(mut client) = self.clients.take(link)
        {
            self.write_migrated(&mut client);
            self.clients.put_back(client);
        }
    }

    /// Once per turn: members may hold more than before.
    pub(super) fn migration_turn(&mut self) {
        let links = self.rooms.migration.links.as_ref();
        if links.is_some_and(|links| links.cut.is_some()) {
            self.go_on_cutting_over();
        }
    }

    /// The primary goes on with what it has just begun, or with what its predecessor began.
    fn open_links(&mut self) {
        let room = &self.rooms.migration;
        let Some(moving) = room.moving.as_ref().filter(|_| room.links.is_none()) else { return };
        if room.wants_login() {
            return;
        }
        let Said { source, tls } = room.said(moving).cloned().unwrap_or_else(|| {
            let (host, port) = (moving.host.clone(), moving.port);
            Said { source: Source { host, port, ..Source::default() }, tls: None }
        });
        let config = LinkConfig {
            host: source.host.clone(),
            port: source.port,
            listening_port: self.config.announced_port(),
            announce_ip: self.config.replica_announce_ip.clone(),
            auth: source.auth.clone(),
            member: None,
            failover: false,
            timeout_ms: self.config.repl_timeout_s.max(1) * 1000,
        };
        self.rooms.migration.links = Some(Box::new(Links {
            link: Link::new(config, self.template(), self.now.mono_ms()),
            source,
            tls,
            link_client: None,
            stream: Stream::default(),
            control: Control::default(),
            control_client: None,
            asked_ms: 0,
            source_offset: 0,
            source_leads: false,
            cut: None,
            last_error: String::new(),
        }));
    }

    fn drop_links(&mut self, why: &str) {
        let Some(links) = self.rooms.migration.links.take() else { return };
        for client in [links.link_client, links.control_client].into_iter().flatten() {
            self.clients.close(client, Closing::Now);
        }
        if let Some(attempt) = links.cut {
            self.answer(attempt.waiter, |client| {
                client.reply().error(&format!("NOTREADY {why}").into());
            });
        }
        hooks::stream_changed(self);
    }
}

impl Room {
    /// What was said of the source of this takeover.
    fn said(&self, moving: &Moving) -> Option<&Said> {
        self.said.as_ref().filter(|said| moving.is_from(&said.source))
    }

    /// The source asks for what this primary has not been told.
    fn wants_login(&self) -> bool {
        let moving = self.moving.as_ref();
        moving.is_some_and(|moving| moving.login && self.said(moving).is_none())
    }
}
