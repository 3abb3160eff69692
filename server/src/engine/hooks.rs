//! Where the other rooms are plugged into the engine. Each function is one hook; its room fills
//! the body in and keeps its state in [`Rooms`].

use std::hash::BuildHasher;

use crate::client::{Client, ClientId, Duty};
use crate::command::{Command, Flags};
use crate::config::Config;
use crate::handover::{Epoch, Notice};
use crate::log::{self, Level};
use crate::resp::{CommandError, errors};
use crate::secret::Secret;
use crate::store::{Keyspace, Seed};

use super::Engine;
use super::effects::{LinkEvent, LinkOwner, Timer};
use super::pause::Reason;
use super::propagate::deletion;
use super::replicate::{How, Saving};

/// State of the rooms around the core.
#[derive(Default)]
pub struct Rooms {
    pub relays: super::relay::Relays,
    pub member: super::member::Room,
    pub commit: super::commit::Room,
    pub random: crate::store::Random,
    pub replication: super::replicate::Room,
    /// The server outside that the data are taken over from.
    pub migration: super::migrate::Room,
    /// Keys on their way to other servers.
    pub transfers: super::transfer::Transfers,
    pub aof: super::aof::Room,
    pub scripts: crate::script::Scripts,
}

pub fn new_keyspace(config: &Config) -> Keyspace {
    // The standard library's own source of randomness for hash keys.
    let word = |salt: u8| std::hash::RandomState::new().hash_one(salt);
    let seed = match config.hash_seed.as_str() {
        "" => Seed([word(0), word(1)]),
        given => Seed::of(given.as_bytes()),
    };
    Keyspace::new(config.databases, seed)
}

/// A wake-up's time, for expiry.
pub fn set_clock(engine: &mut Engine) {
    engine.keyspace.set_clock(engine.now.unix_ms());
}

/// Keys that expired go into the stream as DEL, and break every WATCH of them; `running` is the
/// client whose command runs.
#[inline]
pub fn drain_expired(engine: &mut Engine, running: Option<&mut Client>) {
    if engine.keyspace.has_queued() {
        drain_queued(engine, running);
    }
}

#[cold]
fn drain_queued(engine: &mut Engine, mut running: Option<&mut Client>) {
    for garbage in engine.keyspace.take_garbage() {
        engine.lazyfree.give(garbage);
    }
    for (db, key) in engine.keyspace.take_gone_streams() {
        engine.blocking.signal(db, &key);
    }
    for (db, key) in engine.keyspace.take_expired() {
        engine.stats.expired_keys += 1;
        engine.note_expired_key(db, &key);
        engine.touch_by_server(running.as_deref_mut(), db, &key);
        if stream_is_open(engine) {
            engine.outbox.push_apart(db, [deletion(engine.config.lazyfree_lazy_expire), &key]);
        }
    }
    for (db, key, fields) in engine.keyspace.take_expired_fields() {
        engine.stats.expired_fields += fields.len() as u64;
        engine.note_expired_fields(db, &key);
        // Bounded, so that no command in the stream is longer than a client's may be.
        let open = stream_is_open(engine);
        for part in fields.chunks(1024).filter(|_| open) {
            let mut words: Vec<&[u8]> = vec![b"HDEL", &key];
            words.extend(part.iter().map(Vec::as_slice));
            engine.outbox.push_apart(db, words);
        }
    }
}

/// Whether this node follows a primary, or is to be told whom to follow.
pub fn is_replica(engine: &Engine) -> bool {
    engine.rooms.replication.state.is_replica()
}

/// Whether writes of ordinary clients are refused, since the data are another's to change. Where
/// `replica-read-only no` says so, a replica that nobody manages takes them: they are in no stream
/// and in no append-only file, and the next full resync drops them.
#[inline]
pub fn refuses_writes(engine: &Engine) -> bool {
    is_replica(engine) && !takes_own_writes(engine)
}

/// Whether this is a replica that takes writes which are its own alone.
#[inline]
pub fn takes_own_writes(engine: &Engine) -> bool {
    !engine.config.replica_read_only && is_replica(engine) && !engine.is_managed()
}

/// Whether the data may be out of date, and may not be served then.
pub fn is_stale(engine: &Engine) -> bool {
    !engine.config.replica_serve_stale_data && is_replica(engine) && engine.stream_link() != "up"
}

/// A reason to refuse every data command now (`LOADING …`, `MASTERDOWN …`), if there is one.
pub fn unavailable(engine: &Engine, client: &Client, row: &Command) -> Option<CommandError> {
    if client.duty != Duty::Commands {
        return None;
    }
    engine
        .loading_refusal(row)
        .or_else(|| engine.member_refusal(row))
        .or_else(|| engine.migration_refusal(row))
        .or_else(|| engine.write_refusal(row))
        .or_else(|| {
            let served = row.is(Flags::STALE | Flags::INTERNAL) || !is_stale(engine);
            (!served).then(|| errors::MASTER_DOWN.into())
        })
}

/// What may enter the stream has changed: a pause or a role began or ended.
pub fn stream_changed(engine: &mut Engine) {
    let may_expire = engine.stream_may_grow()
        && !is_replica(engine)
        && !engine.is_migrating()
        && !engine.config.import_mode
        && !engine.pause.is_set(Reason::Failover)
        && !engine.pause.is_set(Reason::Shutdown)
        && !engine.pause.is_set(Reason::Transfer);
    engine.keyspace.set_may_expire(may_expire);
    engine.role_oom_score();
}

/// A moment of a switch, for the clients that asked for maintenance notifications.
pub fn notice(engine: &mut Engine, notice: &Notice) {
    engine.notify_clients(notice);
}

/// What the redirect gate decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Redirected {
    /// The command runs here.
    No,
    /// It is answered with this error (`REDIRECT …`, `MOVED …`).
    Refused(CommandError),
    /// The relay consumed it and answers later; `client.hold` says whether the next must wait.
    Relayed,
    /// It cannot be taken now: it stays unread and the client is held.
    Held,
}

/// The user and password with which this node opens connections to others.
pub fn node_credentials(engine: &Engine) -> Option<(Vec<u8>, Secret)> {
    engine.member_credentials()
}

/// The address of the primary that this node replicates from.
pub fn primary_address(engine: &Engine) -> Option<(String, u16)> {
    let link = engine.replication().link.as_ref()?;
    Some((link.config.host.clone(), link.config.port))
}

/// A held command was answered, here or from the node that it was relayed to.
pub fn held_command_answered(engine: &mut Engine) {
    engine.note_answered();
}

/// Whether commands of this node go into a replication stream that somebody reads or may read.
#[inline]
pub fn stream_is_open(engine: &Engine) -> bool {
    engine.rooms.replication.state.records()
}

/// Takes what one command (or one EXEC) adds to the stream: `engine.outbox`, which the engine
/// clears afterwards. Several entries are one transaction.
pub fn feed_stream(engine: &mut Engine) {
    engine.feed_replicas();
}

/// Something happened on a connection that this server opened.
pub fn link_event(
    engine: &mut Engine,
    client: &mut Client,
    owner: LinkOwner,
    event: LinkEvent<'_>,
) {
    match owner {
        LinkOwner::Relay => engine.relay_link_event(client, &event),
        LinkOwner::Handover => engine.route_event(client, &event),
        LinkOwner::Transfer => engine.transfer_event(client, &event),
        LinkOwner::Migration => engine.migration_event(client, event),
        LinkOwner::MigrationControl => engine.migration_control_event(client, &event),
        LinkOwner::Replication => engine.primary_event(client, event),
    }
}

/// A replica's output has room: up to `room` bytes of the backlog may be appended to
/// `client.out`. Called at the end of each turn and whenever its socket took everything.
pub fn fill_replica(engine: &mut Engine, client: &mut Client, room: usize) {
    engine.fill_output(client, room);
}

/// A client's connection is gone; it is no longer in `engine.clients`.
pub fn disconnected(engine: &mut Engine, client: &mut Client) {
    engine.relay_disconnected(client);
    engine.member_disconnected(client.id);
    engine.replica_gone(client.id);
}

/// A timer of another room.
pub fn timer(engine: &mut Engine, timer: Timer) {
    match timer {
        Timer::Relay(serial) => engine.relay_timer(serial),
        Timer::Handover(deadline_ms) => engine.member_timer(deadline_ms),
        Timer::Transfer(link) => engine.transfer_timer(link),
        Timer::Replication(_) => engine.replication_timer(),
        Timer::Ping => engine.ping_replicas(),
        Timer::Blocked(_) | Timer::Pause => {}
    }
}

/// Once per turn of the event loop: acknowledgements and the like. True asks for another turn at
/// once.
pub fn turn(engine: &mut Engine) -> bool {
    if engine.is_loading() {
        return load_on(engine);
    }
    engine.member_turn();
    engine.replication_turn();
    let again = engine.go_on_evicting();
    engine.migration_turn();
    engine.commit_turn();
    again
}

/// Ten times a second.
pub fn cron(engine: &mut Engine) {
    if engine.is_loading() {
        return;
    }
    engine.replication_cron();
    engine.migration_cron();
    engine.transfers_cron();
    engine.relay_cron();
}

/// SIGTERM or SHUTDOWN without arguments.
pub fn terminate(engine: &mut Engine) {
    if engine.is_loading() {
        // Half of the data must not be saved over the whole.
        engine.effects.push(super::effects::Effect::Exit(0));
    } else if engine.is_managed() {
        engine.drain_member();
    } else {
        exit(engine);
    }
}

/// SIGTERM, or SIGINT: what `shutdown-on-sigterm` and `shutdown-on-sigint` say.
pub fn signalled(engine: &mut Engine, interrupt: bool) {
    let config = &engine.config;
    let on = if interrupt { &config.shutdown_on_sigint } else { &config.shutdown_on_sigterm };
    // Who asks again waits for no replica.
    let now = on.has("now") || engine.is_shutting_down();
    let saving = Saving::asked(on.has("save"), on.has("nosave"));
    let force = on.has("force");
    if engine.is_managed() {
        engine.drain_member();
    } else {
        // A person who asks again by the same signal gets the same answer: an error keeps the
        // server running only if nobody said that it is to end by force.
        if let Err(error) = engine.shut_down(How { saving, now, force }) {
            warn(engine, &format!("Error trying to save the DB, can't exit: {}", error.0));
        }
    }
}

/// Ends the process. What is to be saved is saved first: as the directive `save` says, or as the
/// caller does. An error leaves the server running, unless it is to end by force.
pub fn leave(engine: &mut Engine, how: How) -> Result<(), CommandError> {
    // Half of the data must not be saved over the whole.
    let saved = if how.saving == Saving::Never || engine.is_loading() {
        Ok(())
    } else if how.saving == Saving::Always {
        engine.abort_snapshot();
        engine.save_now().map_err(CommandError::from)
    } else {
        engine.save_before_exit().map_err(|error| CommandError::from(error.to_string()))
    };
    let finished = engine.aof_finish().map_err(CommandError::from);
    match saved.and(finished) {
        Err(error) if !how.force => Err(error),
        _ => {
            log(engine, "redisha-server is now ready to exit, bye bye...");
            engine.effects.push(super::effects::Effect::Exit(0));
            Ok(())
        }
    }
}

/// Nobody is served any more: saves what is to be saved and ends the process.
pub fn exit(engine: &mut Engine) {
    let mut code = 0;
    if let Err(error) = engine.save_before_exit() {
        warn(engine, &format!("the data were not saved before the end: {error}"));
        code = 1;
    }
    if let Err(error) = engine.aof_finish() {
        warn(engine, &format!("the AOF was not written to its end: {error}"));
        code = 1;
    }
    engine.effects.push(super::effects::Effect::Exit(code));
}

/// A pause ended (by its timer, UNPAUSE or the switch) and the held commands have been run.
pub fn resumed(engine: &mut Engine) {
    engine.transfers_cron();
}

/// The client that the relay or the handover asked about; here so that they share one lookup.
pub fn client_exists(engine: &Engine, id: ClientId) -> bool {
    engine.clients.get(id).is_some()
}

/// Why the server may not start; one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// Before the first turn: load the data, follow a primary, take the role that the directives say.
/// Large data are loaded in the turns that follow.
pub fn start(engine: &mut Engine) -> Result<(), StartError> {
    engine.load_users().map_err(StartError)?;
    if engine.start_from_disk().map_err(|error| StartError(error.to_string()))? {
        begin(engine)?;
    }
    Ok(())
}

/// The data are there: takes the role.
fn begin(engine: &mut Engine) -> Result<(), StartError> {
    let epoch = engine.rooms.replication.loaded_epoch.as_deref().and_then(|e| e.parse().ok());
    engine.boot_member(epoch.unwrap_or(Epoch::ZERO));
    engine.start_following();
    engine.events_begin();
    engine.aof_start().map_err(StartError)
}

/// Loads on; true as long as there is more.
fn load_on(engine: &mut Engine) -> bool {
    let loaded = engine.load_step().map_err(|error| StartError(error.to_string()));
    match loaded.and_then(|all| if all { begin(engine).map(|()| true) } else { Ok(false) }) {
        Ok(all) => !all,
        Err(error) => {
            warn(engine, &error.to_string());
            engine.effects.push(super::effects::Effect::Exit(1));
            false
        }
    }
}

/// A line for whoever reads the server's log: something that is worth knowing.
pub fn log(engine: &Engine, text: &str) {
    log::set_role(is_replica(engine));
    log::write(Level::Notice, text);
}

/// As [`log`], of something that failed or may do harm.
pub fn warn(engine: &Engine, text: &str) {
    log::set_role(is_replica(engine));
    log::write(Level::Warning, text);
}

/// Whether clients should be led to this node, or why not (a follower without its primary, a
/// fenced node).
pub fn readiness(engine: &Engine) -> Result<(), String> {
    if engine.is_loading() {
        return Err("the data are being loaded".into());
    }
    engine.member_readiness()
}

/// Whether this node may add to the replication stream now by itself (expiry): not while a switch
/// has closed it.
pub fn stream_may_grow(engine: &Engine) -> bool {
    !engine.is_loading() && engine.stream_may_grow()
}

/// Random bytes in hex, of the system's generator.
pub fn random_hex(bytes: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes * 2);
    for byte in random_bytes(bytes) {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// Random bytes of the system's generator.
pub fn random_bytes(count: usize) -> Vec<u8> {
    use std::io::Read as _;
    let mut bytes = vec![0; count];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .expect("every supported system has /dev/urandom");
    bytes
}

/// Directives have changed by CONFIG SET; also called once at the start.
pub fn config_changed(engine: &mut Engine) {
    log::configure(&engine.config);
    engine.replication_configured();
    engine.member_configured();
    engine.aof_configured();
    engine.redirect_changed();
    stream_changed(engine);
}

/// The lines of INFO's section Replication.
pub fn info_replication(engine: &Engine, lines: &mut crate::command::server::Lines) {
    engine.info_replication(lines);
}

/// The lines of INFO's section Persistence.
pub fn info_persistence(engine: &Engine, lines: &mut crate::command::server::Lines) {
    engine.info_persistence(lines);
}
