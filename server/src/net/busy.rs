//! A bounded turn of the event loop in the middle of a command: see [`crate::engine::busy`].
//!
//! Only connections of ordinary clients are read. The stream of a primary, replicas, members and the
//! operator wait for the command's end, since what they say may change what it is in the middle of;
//! so do signals and the outcomes of connects, which are kept for the loop itself.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mio::{Events, Token};

use crate::client::{ClientId, Duty};
use crate::engine::Engine;

use super::{FIRST_CONN, LISTEN, Net, READ_TURN_BYTES};

/// Lets the engine ask for such a turn.
pub(super) fn offer(shared: &Rc<RefCell<Net>>, engine: &mut Engine) {
    let shared = Rc::downgrade(shared);
    engine.busy_turn = Some(Rc::new(move |engine: &mut Engine, running| {
        // While the loop itself is at work on the sockets, others wait for the command's end.
        if let Some(shared) = shared.upgrade()
            && let Ok(mut net) = shared.try_borrow_mut()
        {
            net.turn_between(engine, running);
        }
    }));
}

impl Net {
    fn turn_between(&mut self, engine: &mut Engine, running: ClientId) {
        let mut events = Events::with_capacity(256);
        if self.poll.poll(&mut events, Some(Duration::ZERO)).is_err() {
            return;
        }
        // The data's clock stands still for the running command.
        engine.now = self.clock.now();
        for event in &events {
            match event.token() {
                Token(token) if (LISTEN..FIRST_CONN).contains(&token) => {
                    self.accept(engine, token - LISTEN);
                }
                Token(token) if token >= FIRST_CONN && self.is_settled(token - FIRST_CONN) => {
                    self.conn_event(engine, token - FIRST_CONN, event);
                }
                _ => self.missed.push(event.clone()),
            }
        }
        // Who was ready together with the running client gets no event again.
        let mut waiting = std::mem::take(&mut self.turn);
        waiting.extend(self.ready.drain(..));
        let mut kept = Vec::new();
        for id in waiting {
            let client = engine.clients.get(id);
            let waits = client.is_none_or(|c| c.duty != Duty::Commands || c.is_internal());
            if id == running || waits {
                kept.push(id);
            } else {
                self.serve_between(engine, id);
            }
        }
        self.ready.extend(kept);
        // The running client is not there to be written to; its place in the list is kept.
        let listed = engine.clients.flush.contains(&running);
        self.flush(engine);
        if listed {
            engine.clients.flush.push(running);
        }
        let exits = |effect: &crate::engine::effects::Effect| {
            matches!(effect, crate::engine::effects::Effect::Exit(_))
        };
        if engine.effects.iter().any(exits) {
            engine.end_running_script();
        }
    }

    fn serve_between(&mut self, engine: &mut Engine, id: ClientId) {
        let mut left = READ_TURN_BYTES;
        while let Some(count) = self.read_some(engine, id, &mut left) {
            let buffer = std::mem::take(&mut self.buffer);
            engine.receive(id, &buffer[..count]);
            self.buffer = buffer;
        }
    }
}
