//! The loop: observe, decide, act, and feed back what became of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchover::{
    Arbiter, Command, Effect, Event, Member, Observation, Publication, Refusal, Seen, Settings,
    State, Tag, step,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::client::{Client, Lane};
use super::crash::{self, Moment};
use super::worker::Lines;
use super::{ArbiterStore, Directory, View, WorldError, observe, wire};

/// How long the first attempt to read the arbiter may take. Who keeps it answers in milliseconds; a
/// connection whose other end is gone says nothing for a quarter of an hour, and the next attempt makes
/// another.
const READ_FIRST: Duration = Duration::from_secs(1);
/// Between two attempts to read the arbiter and the list of members.
const READ_AGAIN: Duration = Duration::from_millis(250);

/// The executor of one `RedisHA`.
pub struct Executor<S, D> {
    world: Arc<World<S, D>>,
    events: UnboundedReceiver<Event>,
    lines: Lines<Line>,
}

/// Wakes an executor from outside.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: UnboundedSender<Event>,
}

impl Handle {
    /// Something outside changed: look again as soon as nothing is under way.
    pub fn nudge(&self) {
        // An executor that has ended has nobody to wake.
        let _ = self.sender.send(Event::Nudge);
    }
}

/// What must stay in order among itself.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Line {
    Publications,
    Labels,
    Notices,
    Member(String, bool),
}

/// Everything that effects need, shared by their tasks.
struct World<S, D> {
    store: S,
    directory: D,
    secret: String,
    known: Mutex<Known>,
    sender: UnboundedSender<Event>,
}

/// What the last observation said that later effects need.
#[derive(Default)]
struct Known {
    uid: String,
    settings: Settings,
    clients: HashMap<String, Client>,
}

impl<S: ArbiterStore, D: Directory> Executor<S, D> {
    /// An executor that speaks to members with this secret. Does nothing until [`Self::run`].
    pub fn new(store: S, directory: D, secret: &str) -> Self {
        let (sender, events) = unbounded_channel();
        let known = Mutex::new(Known::default());
        let world = World { store, directory, secret: secret.to_owned(), known, sender };
        Self { world: Arc::new(world), events, lines: Lines::new() }
    }

    /// To wake it from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle { sender: self.world.sender.clone() }
    }

    /// Runs until the future is dropped. Dropping it between any two effects is safe, as a crash is.
    pub async fn run(mut self) {
        self.handle().nudge();
        let mut state = State::new();
        while let Some(event) = self.events.recv().await {
            tracing::trace!(?event, "event");
            let (next, effects) = step(&state, event);
            state = next;
            for effect in effects {
                tracing::trace!(?effect, "effect");
                self.perform(effect);
            }
        }
    }

    /// Starts one effect; whatever it answers comes back as an event.
    fn perform(&mut self, effect: Effect) {
        let world = Arc::clone(&self.world);
        let name = crash::step_of(&effect);
        match effect {
            Effect::Observe { tag } => {
                tokio::spawn(async move { at(&name, world.observe(tag)).await });
            }
            Effect::Publish { tag, arbiter } => {
                self.lines.add(Line::Publications, async move {
                    let publish = timeout(world.patience(), world.store.publish(&arbiter));
                    let result = at(&name, publish).await.unwrap_or(Publication::Unknown);
                    world.tell(Event::Published { tag, result });
                });
            }
            Effect::Command { tag, to, command } => {
                let lane = lane(&command);
                let line = Line::Member(to.name.clone(), lane == Lane::Wait);
                self.lines.add(line, async move {
                    let result = at(&name, world.command(&to, &command, lane)).await;
                    world.tell(Event::Replied { tag, name: to.name, result });
                });
            }
            Effect::Label { tag, name: member, label } => {
                self.lines.add(Line::Labels, async move {
                    let label = world.directory.label(&member, label);
                    let label = timeout(world.patience(), label);
                    let done = at(&name, label).await.unwrap_or(false);
                    world.tell(Event::Labelled { tag, name: member, done });
                });
            }
            Effect::SetTimer { tag, after_ms } => {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(after_ms)).await;
                    world.tell(Event::Expired { tag });
                });
            }
            Effect::Notify(notice) => {
                self.lines.add(Line::Notices, async move {
                    let notify = world.directory.notify(notice);
                    if timeout(world.patience(), notify).await.is_err() {
                        tracing::warn!("people could not be told in time");
                    }
                });
            }
        }
    }
}

/// Runs one effect between the two places where a test may end the process.
async fn at<T>(step: &str, effect: impl Future<Output = T>) -> T {
    crash::point(step, Moment::Before);
    let result = effect.await;
    crash::point(step, Moment::After);
    result
}

fn lane(command: &Command) -> Lane {
    match command {
        Command::Level { .. } | Command::Handover { .. } | Command::Takeover { .. } => Lane::Wait,
        _ => Lane::Act,
    }
}

impl<S: ArbiterStore, D: Directory> World<S, D> {
    /// For how long the decision waits for an answer: what takes longer is asked for anew, and must not
    /// hold up what stands in line behind it.
    fn patience(&self) -> Duration {
        let known = self.known.lock().expect("no holder of this lock panics");
        Duration::from_millis(known.settings.answer_timeout_ms)
    }

    fn tell(&self, event: Event) {
        // Fails only when the executor has ended, and then nobody waits for the answer.
        let _ = self.sender.send(event);
    }

    /// An arbiter or a directory that cannot be read is read again, for as long as the decision waits for
    /// the answer; then it asks anew.
    async fn observe(&self, tag: Tag) {
        let Ok((arbiter, mut view)) = timeout(self.patience(), self.read()).await else { return };
        let clients = {
            let mut known = self.known.lock().expect("no holder of this lock panics");
            known.uid.clone_from(&arbiter.uid);
            known.settings = view.settings;
            known.clients.retain(|name, _| view.members.iter().any(|seen| seen.name == *name));
            view.members.iter().map(|seen| known.client(seen, &self.secret, &self.sender)).collect()
        };
        observe::fill(&mut view, clients, arbiter.primary.as_ref()).await;
        let View { settings, members, request } = view;
        let observation = Box::new(Observation { arbiter, settings, members, request });
        self.directory.observed(&observation);
        self.tell(Event::Observed { tag, observation });
    }

    /// Reads the arbiter and lists the members, until both have answered.
    async fn read(&self) -> (Arbiter, View) {
        let mut patience = READ_FIRST;
        loop {
            match timeout(patience, self.read_once()).await {
                Ok(Ok(found)) => return found,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the arbiter or its members cannot be read");
                }
                Err(_) => tracing::warn!("the arbiter cannot be read: no answer"),
            }
            patience = self.patience();
            sleep(READ_AGAIN).await;
        }
    }

    async fn read_once(&self) -> Result<(Arbiter, View), WorldError> {
        let arbiter = self.store.read().await?;
        let view = self.directory.view(&arbiter).await?;
        Ok((arbiter, view))
    }

    async fn command(
        &self,
        to: &Member,
        command: &Command,
        lane: Lane,
    ) -> Result<switchover::Reply, Refusal> {
        let (client, uid, deadline) = {
            let known = self.known.lock().expect("no holder of this lock panics");
            let Some(client) = known.clients.get(&to.name) else {
                return Err(Refusal::Lost("it is not listed any more".to_owned()));
            };
            (client.clone(), known.uid.clone(), known.deadline(command))
        };
        let words = command.words(&uid, to);
        let started = std::time::Instant::now();
        let result = wire::reply(client.call(lane, &words, deadline).await);
        let took_us = started.elapsed().as_micros() as u64;
        tracing::debug!(to = to.name, command = command.name(), ?result, took_us, "command");
        result
    }
}

impl Known {
    /// The client of a member, made anew when its address has changed. When its connection ends, the
    /// executor looks at once.
    fn client(&mut self, seen: &Seen, secret: &str, sender: &UnboundedSender<Event>) -> Client {
        let Seen { name, host, port, .. } = seen;
        if let Some(known) = self.clients.get(name).filter(|known| known.is_at(host, *port)) {
            return known.clone();
        }
        let sender = sender.clone();
        let client = Client::watched(host, *port, secret, move || {
            // An executor that has ended has nobody to wake.
            let _ = sender.send(Event::Nudge);
        });
        self.clients.insert(name.clone(), client.clone());
        client
    }

    fn deadline(&self, command: &Command) -> Duration {
        let settings = &self.settings;
        Duration::from_millis(match command {
            Command::Handover { .. } | Command::Takeover { .. } => settings.handover_timeout_ms,
            Command::Level { .. } => settings.pause_timeout_ms + settings.answer_timeout_ms,
            _ => settings.answer_timeout_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use switchover::{Label, Notice};

    use super::*;

    /// A world whose first answer to anything never comes, as by a connection whose other end is gone.
    #[derive(Default)]
    struct Deaf {
        reads: AtomicUsize,
        writes: AtomicUsize,
    }

    async fn after_the_first(count: &AtomicUsize) {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            pending::<()>().await;
        }
    }

    impl ArbiterStore for Deaf {
        async fn read(&self) -> Result<Arbiter, WorldError> {
            after_the_first(&self.reads).await;
            Ok(Arbiter::new("u"))
        }

        async fn publish(&self, _: &Arbiter) -> Publication {
            after_the_first(&self.writes).await;
            Publication::Done
        }
    }

    impl Directory for Deaf {
        async fn view(&self, _: &Arbiter) -> Result<View, WorldError> {
            Ok(View::default())
        }

        async fn label(&self, _: &str, _: Label) -> bool {
            after_the_first(&self.writes).await;
            true
        }

        async fn notify(&self, _: Notice) {}
    }

    fn executor() -> Executor<Deaf, Deaf> {
        Executor::new(Deaf::default(), Deaf::default(), "secret")
    }

    /// A look at the members waited for the arbiter for as long as the connection lasted.
    #[tokio::test]
    async fn an_arbiter_that_does_not_answer_is_read_again() {
        let mut executor = executor();
        executor.perform(Effect::Observe { tag: Tag(1) });
        let event = executor.events.recv().await;
        assert!(matches!(event, Some(Event::Observed { tag: Tag(1), .. })), "{event:?}");
    }

    /// A write or a label without an answer held up all that stood in line behind it.
    #[tokio::test]
    async fn what_has_no_answer_holds_up_nothing_behind_it() {
        let mut executor = executor();
        executor.world.known.lock().unwrap().settings.answer_timeout_ms = 50;
        let mut published = Vec::new();
        for tag in [Tag(1), Tag(2)] {
            executor.perform(Effect::Publish { tag, arbiter: Box::default() });
        }
        for _ in 0..2 {
            let Some(Event::Published { result, .. }) = executor.events.recv().await else {
                panic!()
            };
            published.push(result);
        }
        assert_eq!(published, [Publication::Unknown, Publication::Done]);
        let mut labelled = Vec::new();
        for tag in [Tag(3), Tag(4)] {
            let (name, label) = ("cache-0".to_owned(), Label::Primary);
            executor.perform(Effect::Label { tag, name, label });
        }
        for _ in 0..2 {
            let Some(Event::Labelled { done, .. }) = executor.events.recv().await else { panic!() };
            labelled.push(done);
        }
        assert_eq!(labelled, [false, true]);
    }
}
