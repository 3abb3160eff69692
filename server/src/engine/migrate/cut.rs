//! Performs what [`crate::migration::Cut`] says.

use crate::client::{ClientId, Closing};
use crate::handover::{Durability, Role};
use crate::migration::{Cut, Do, Facts, Leave, Phase};
use crate::replication::{Replica, Stage};
use crate::resp::CommandError;

use super::super::{Engine, hooks};
use super::Attempt;

/// The share of the source's pause, in percent, after which an attempt to cut over is given up:
/// what remains is for the answer to the last command.
const PATIENCE_PERCENT: u64 = 60;

impl Engine {
    /// Leads the source's clients here when all that it wrote is here; `waiter` is answered then.
    /// Who asks again while an attempt is under way waits for that one.
    pub fn cut_over(
        &mut self,
        waiter: ClientId,
        timeout_ms: u64,
        leave: Leave,
    ) -> Result<(), CommandError> {
        let now_ms = self.now.mono_ms();
        let leaving = self.is_leaving();
        if let Some(why) = self.unapplied_refusal() {
            self.give_source_back(&leave);
            return Err(format!("NOTREADY {why}").into());
        }
        let Some(links) = &mut self.rooms.migration.links else {
            return Err("NOTREADY nothing is taken over from another server".into());
        };
        if let Some(attempt) = &mut links.cut {
            attempt.waiter = waiter;
            return Ok(());
        }
        let ready = links.link.is_streaming() || leaving;
        let Some(client) = links.control_client.filter(|_| ready) else {
            let why = format!("NOTREADY the source is not followed now: {}", links.last_error);
            return Err(why.into());
        };
        let Some(client) = self.clients.get_mut(client) else {
            return Err("NOTREADY the source is not connected".into());
        };
        links.control.pause(timeout_ms, &mut client.out);
        let deadline_ms = now_ms + timeout_ms * PATIENCE_PERCENT / 100;
        links.cut = Some(Attempt { cut: Cut::new(leave), waiter, deadline_ms });
        let id = client.id;
        self.clients.queue_flush(id);
        Ok(())
    }

    /// It may have been told by this primary's predecessor to take no more writes.
    fn give_source_back(&mut self, leave: &Leave) {
        let Some(links) = self.rooms.migration.links.as_mut() else { return };
        if let Some(id) = links.control_client
            && let Some(client) = self.clients.get_mut(id)
        {
            links.control.give_back(leave.redirects(), &mut client.out);
            self.clients.queue_flush(id);
        }
    }

    /// Why nobody may cut over: what the source wrote is not all here.
    fn unapplied_refusal(&self) -> Option<String> {
        let unapplied = self.unapplied()?;
        Some(format!(
            "{unapplied}. Remove at the source what this server does not take; then end the \
             migration, FLUSHALL here and begin it again, for a new copy. To do without what is \
             missing, end the migration"
        ))
    }

    /// The log says that the source may follow this cluster.
    pub(super) fn is_leaving(&self) -> bool {
        let moving = self.rooms.migration.moving.as_ref();
        moving.is_some_and(|moving| matches!(moving.phase, Phase::Leaving(_)))
    }

    /// The log says that it is done, and members are to hold that.
    pub(super) fn is_closing(&self) -> bool {
        let attempt = self.rooms.migration.links.as_ref().and_then(|links| links.cut.as_ref());
        attempt.is_some_and(|attempt| attempt.cut.is_closing())
    }

    /// Whether as many members as must hold a write hold all that is here. Where no answer waits
    /// for others, everybody who follows must: what the source gives up is nowhere else.
    fn members_hold_all(&self) -> bool {
        let end = self.rooms.commit.data_end;
        let member = self.member();
        if member.configs().iter().any(|config| config.durability != Durability::Async) {
            return member.has_committed(end);
        }
        let holds = |replica: &Replica| replica.stage == Stage::Online && replica.acked >= end;
        self.replication().replicas.iter().filter(|r| r.member.is_some()).all(holds)
    }

    /// A source that does not come level in time goes on taking writes.
    pub(super) fn give_up_cut_over(&mut self) {
        let now_ms = self.now.mono_ms();
        let Some(links) = self.rooms.migration.links.as_mut() else { return };
        // Once it is told to take no more writes, only its answers or the end of its connection end
        // the attempt: it may have done so.
        let late = |a: &Attempt| a.deadline_ms <= now_ms && a.cut.can_be_given_up();
        if links.cut.as_ref().is_some_and(late) {
            if let Some(id) = links.control_client
                && let Some(client) = self.clients.get_mut(id)
            {
                links.control.unpause(&mut client.out);
                self.clients.queue_flush(id);
            }
            self.end_cut_over(Err("the source was not level within its pause".into()));
        }
    }

    pub(super) fn end_cut_over(&mut self, result: Result<(), String>) {
        let Some(links) = self.rooms.migration.links.as_mut() else { return };
        let Some(attempt) = links.cut.take() else { return };
        hooks::stream_changed(self);
        self.answer(attempt.waiter, |client| match result {
            Ok(()) => client.reply().simple("DONE"),
            Err(why) => client.reply().error(&format!("NOTREADY {why}").into()),
        });
    }

    /// The next step may be possible now.
    pub(super) fn go_on_cutting_over(&mut self) {
        let links = self.rooms.migration.links.as_ref();
        let control = links.and_then(|links| links.control_client);
        if let Some(mut client) = control.and_then(|id| self.clients.take(id)) {
            self.cut_over_steps(&mut client.out);
            let (id, told) = (client.id, !client.out.is_empty());
            self.clients.put_back(client);
            if told {
                self.clients.queue_flush(id);
            }
        } else if self.is_closing() {
            // All is here and the source takes no writes: it needs not be reached any more.
            self.cut_over_steps(&mut Vec::new());
        }
    }

    /// As far as it goes now; `out` leads to the source.
    pub(super) fn cut_over_steps(&mut self, out: &mut Vec<u8>) {
        // One that was sealed has no followers left to ask, and its word counts no more.
        while matches!(self.member().role(), Role::Primary { .. }) {
            let facts = Facts {
                here: self.migration_point().map_or(0, |point| point.offset),
                whole: self.unapplied().is_none(),
                held: self.members_hold_all(),
                open: !self.stream_is_paused(),
            };
            let links = self.rooms.migration.links.as_mut();
            let Some(attempt) = links.and_then(|links| links.cut.as_mut()) else { return };
            let Some(act) = attempt.cut.next(facts) else { return };
            let leave = attempt.cut.leave.clone();
            if let Err(error) = self.cut_over_act(out, act, &leave) {
                return self.end_cut_over(Err(error.0.into_owned()));
            }
        }
    }

    fn cut_over_act(
        &mut self,
        out: &mut Vec<u8>,
        act: Do,
        leave: &Leave,
    ) -> Result<(), CommandError> {
        let point = self.migration_point();
        let Some(links) = self.rooms.migration.links.as_mut() else { return Ok(()) };
        let control = &mut links.control;
        match (act, leave) {
            (Do::Hold, _) => control.hold(out),
            (Do::AskRole, _) => control.role(out),
            (Do::Redirect, Leave::Redirecting { host, port, .. }) => {
                control.redirect(host, *port, out);
            }
            (Do::Follow, Leave::Redirecting { host, port, auth }) => {
                control.follow(host, *port, auth.as_ref(), out);
            }
            (Do::Redirect | Do::Follow, Leave::Paused) => {}
            (Do::NoteLeaving, _) => {
                self.note_phase(point.map_or(Phase::Copying, Phase::Leaving))?;
            }
            (Do::NoteDone, _) => self.note_phase(Phase::Done)?,
            (Do::GiveBack, leave) => {
                control.give_back(leave.redirects(), out);
                let why = self.unapplied_refusal().unwrap_or_default();
                self.end_cut_over(Err(why));
            }
            (Do::Finish, leave) => {
                if let Leave::Redirecting { .. } = leave {
                    // Whoever waited there is led here now.
                    control.unpause(out);
                }
                self.end_cut_over(Ok(()));
                self.leave_source();
                hooks::log(self, "cut over: writes are taken here");
            }
        }
        Ok(())
    }

    /// Nothing more is wanted from the source; what it is still to hear goes out first.
    fn leave_source(&mut self) {
        let Some(links) = self.rooms.migration.links.take() else { return };
        if let Some(link) = links.link_client {
            self.clients.close(link, Closing::Now);
        }
        if let Some(control) = links.control_client {
            self.clients.close(control, Closing::AfterOutput);
        }
    }
}
