//! The event loop: the room that owns the sockets.
//!
//! One thread. Per wake-up: take the time once, do what is due, accept, read every ready
//! connection and execute what it said, then write each client's replies once. Sockets are
//! registered edge-triggered for both directions, so there is one `epoll_ctl` per connection; a
//! short read means that nothing is left.

mod accept;
mod busy;
mod clock;
mod conn;
pub mod health;
mod link;
mod listen;
mod stream;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::client::ClientId;
use crate::config::Config;
use crate::engine::effects::Effect;
use crate::engine::{Engine, hooks};

use clock::Clock;
use conn::Conn;
use link::Resolver;
use listen::{Bound, ListenError};

const WAKE: Token = Token(0);
const SIGNAL: Token = Token(1);
const LISTEN: usize = 2;
/// Tokens of connections follow those of at most this many listeners.
const FIRST_CONN: usize = 64;
const CRON_MS: u64 = 100;
/// What one connection may read in one turn, so that none starves the others, in bytes.
const READ_TURN_BYTES: usize = 1024 * 1024;
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Why the server could not start; one line.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("event loop: {0}")]
    Io(#[from] io::Error),
}

/// The sockets, ready to serve an engine.
pub struct Net {
    poll: Poll,
    listeners: Vec<Bound>,
    /// A listener may have more connections than one turn took.
    accept_again: bool,
    /// Connections whose end was sent and whose peers have not ended theirs.
    draining: Vec<ClientId>,
    conns: Vec<Option<Conn>>,
    /// Connections that may have bytes to read.
    ready: Vec<ClientId>,
    /// Those of them that this turn has still to read.
    turn: VecDeque<ClientId>,
    /// Empty while the bytes in it are being executed.
    buffer: Vec<u8>,
    /// What a turn in the middle of a command left for the loop itself.
    missed: Vec<mio::event::Event>,
    clock: Clock,
    next_cron_ms: u64,
    signals: mio::net::UnixStream,
    /// Which signals came.
    caught: Vec<(i32, Arc<AtomicBool>)>,
    resolver: Resolver,
    waker: Arc<Waker>,
    exit: Option<i32>,
}

impl Net {
    /// Binds the ports and takes over SIGTERM and SIGINT.
    pub fn bind(config: &Config) -> Result<Self, NetError> {
        let poll = Poll::new()?;
        let mut listeners = listen::bind_all(config)?;
        for (index, bound) in listeners.iter_mut().enumerate() {
            let token = Token(LISTEN + index);
            poll.registry().register(bound.listener.source(), token, Interest::READABLE)?;
        }
        let (mut signals, sender) = mio::net::UnixStream::pair()?;
        let mut caught = Vec::new();
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            caught.push((signal, flag));
            let sender = std::os::fd::AsFd::as_fd(&sender).try_clone_to_owned()?;
            signal_hook::low_level::pipe::register(signal, sender)?;
        }
        poll.registry().register(&mut signals, SIGNAL, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            listeners,
            accept_again: false,
            draining: Vec::new(),
            conns: Vec::new(),
            ready: Vec::new(),
            turn: VecDeque::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            missed: Vec::new(),
            clock: Clock::start(),
            next_cron_ms: 0,
            signals,
            caught,
            resolver: Resolver::new(Arc::clone(&waker)),
            waker,
            exit: None,
        })
    }

    /// Binds the addresses of `bind` to another port, for the health threads.
    pub fn bind_blocking(
        &self,
        config: &Config,
        port: u16,
    ) -> Result<Vec<std::net::TcpListener>, NetError> {
        Ok(listen::bind_blocking(config, port)?)
    }

    /// Lets the rooms begin (loading, following a primary) before the first turn.
    pub fn start(&mut self, engine: &mut Engine) -> Result<(), crate::engine::hooks::StartError> {
        engine.set_now(self.clock.now());
        let clock = self.clock;
        engine.read_clock = Some(Arc::new(move || clock.mono_us()));
        hooks::start(engine)?;
        self.flush(engine);
        self.perform(engine);
        Ok(())
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The ports that were bound, as (port, starts as READONLY).
    pub fn ports(&self) -> impl Iterator<Item = (u16, bool)> + '_ {
        self.listeners.iter().map(|bound| (bound.port, bound.readonly))
    }

    /// Wakes the event loop from another thread.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let waker = Arc::clone(&self.waker);
        Arc::new(move || {
            // A failure means that the loop has ended: nobody is left to be woken.
            let _ = waker.wake();
        })
    }

    /// Serves until the engine asks to exit; returns the exit code.
    pub fn run(self, engine: &mut Engine) -> Result<i32, NetError> {
        // A long script serves others from within a command: see `busy`.
        let shared = Rc::new(RefCell::new(self));
        busy::offer(&shared, engine);
        let mut events = Events::with_capacity(1024);
        let mut again = false;
        loop {
            {
                let net = &mut *shared.borrow_mut();
                let wait = net.wait(engine, again);
                match net.poll.poll(&mut events, wait) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                }
                engine.set_now(net.clock.now());
            }
            engine.tick();
            shared.borrow_mut().events(engine, &events);
            conn::read_ready(&shared, engine);
            again = engine.turn_end();
            let net = &mut *shared.borrow_mut();
            net.flush(engine);
            net.perform(engine);
            again |= engine.spare_turn();
            engine.note_stream();
            engine.stats.loops += 1;
            let begun_us = engine.now.mono_us;
            engine.stats.loop_us += net.clock.mono_us().saturating_sub(begun_us);
            if let Some(code) = net.exit {
                net.flush(engine);
                return Ok(code);
            }
        }
    }

    /// What is due by time, and what the sockets say.
    fn events(&mut self, engine: &mut Engine, events: &Events) {
        self.cron(engine);
        for event in std::mem::take(&mut self.missed).iter().chain(events) {
            match event.token() {
                WAKE => self.resolved(engine),
                SIGNAL => self.signalled(engine),
                Token(token) if token < FIRST_CONN => self.accept(engine, token - LISTEN),
                Token(token) => self.conn_event(engine, token - FIRST_CONN, event),
            }
        }
        if std::mem::take(&mut self.accept_again) {
            (0..self.listeners.len()).for_each(|listener| self.accept(engine, listener));
        }
    }

    fn wait(&self, engine: &Engine, again: bool) -> Option<Duration> {
        if again || !self.ready.is_empty() || !engine.clients.flush.is_empty() {
            return Some(Duration::ZERO);
        }
        let now_ms = engine.now.mono_ms();
        let due = engine.timers.next().unwrap_or(u64::MAX).min(self.next_cron_ms);
        Some(Duration::from_millis(due.saturating_sub(now_ms)))
    }

    fn cron(&mut self, engine: &mut Engine) {
        let now_ms = engine.now.mono_ms();
        if now_ms < self.next_cron_ms {
            return;
        }
        self.next_cron_ms = now_ms + CRON_MS;
        self.end_drained(engine);
        self.end_handshakes(engine);
        self.end_slow_readers(engine);
        engine.cron();
        hooks::cron(engine);
    }

    fn signalled(&mut self, engine: &mut Engine) {
        let mut bytes = [0; 64];
        while matches!(io::Read::read(&mut self.signals, &mut bytes), Ok(count) if count > 0) {}
        for (signal, flag) in &self.caught {
            if !flag.swap(false, Ordering::Relaxed) {
                continue;
            }
            match *signal {
                SIGHUP => engine.reload_tls(),
                signal => hooks::signalled(engine, signal == SIGINT),
            }
        }
    }

    /// Performs what the engine asked for.
    fn perform(&mut self, engine: &mut Engine) {
        while !engine.effects.is_empty() {
            for effect in std::mem::take(&mut engine.effects) {
                match effect {
                    Effect::Connect { link, host, port } => self.connect(engine, link, &host, port),
                    Effect::ShutdownWrite(id) => {
                        engine.clients.close(id, crate::client::Closing::AfterOutput);
                    }
                    Effect::CloseListeners => self.close_listeners(),
                    Effect::AdvanceClock(ms) => clock::advance(Duration::from_millis(ms)),
                    Effect::SetWallOffset(ms) => clock::set_wall_offset(ms),
                    Effect::Exit(code) => self.exit = Some(code),
                }
            }
            self.flush(engine);
        }
    }

    fn close_listeners(&mut self) {
        for bound in &mut self.listeners {
            // Closing the socket ends its registration too; an error here changes nothing.
            let _ = self.poll.registry().deregister(bound.listener.source());
        }
        self.listeners.clear();
    }
}
