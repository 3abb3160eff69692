//! A bounded turn of the event loop in the middle of a command: see [`crate::engine::busy`].
//!
//! Who is read is the engine's to say. Signals and the outcomes of connects are kept for the loop
//! itself.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mio::{Events, Token};

use crate::client::ClientId;
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
        engine.between_begins(self.clock.now());
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
            let reads = engine.clients.get(id).is_some_and(|client| engine.reads_between(client));
            if id == running || !reads {
                kept.push(id);
            } else {
                self.serve_between(engine, id);
            }
        }
        self.ready.extend(kept);
        engine.commit_turn();
        // The running client is not there to be written to, and what others are to be told by the
        // script waits for its end; their places in the list are kept.
        let listed = std::mem::take(&mut engine.clients.flush);
        let (now, later) = listed.into_iter().partition(|id| engine.writes_between(*id));
        engine.clients.flush = now;
        self.flush(engine);
        engine.clients.flush.extend::<Vec<_>>(later);
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
