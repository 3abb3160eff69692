//! INFO, in the names that libraries and tools read.

mod memory;

use std::fmt::Write as _;

use crate::client::{Client, Duty, Hold};
use crate::command::Handled;
use crate::config::{Config, Percentiles};
use crate::engine::pause::{Reason, Scope};
use crate::engine::{Context, Engine, hooks};
use crate::tls::certificate;

/// The Redis version whose behaviour this server offers; libraries choose features by it.
pub const REDIS_VERSION: &str = "7.2.4";
pub const SERVER_NAME: &str = "redisha";

/// RedisHA's own version.
pub const fn own_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

pub use memory::Overview;

/// Writes a section; the client that asks is not among those of the engine.
type Section = fn(&Engine, &Client, &mut Lines);

/// The sections in their order: name, whether INFO shows it when none is asked for, writer.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("Server", true, |engine, _, lines| server(engine, lines)),
    ("TLS", true, |engine, _, lines| tls(engine, lines)),
    ("Clients", true, clients),
    ("Memory", true, |engine, _, lines| memory::section(engine, lines)),
    ("Persistence", true, |engine, _, lines| persistence(engine, lines)),
    ("Stats", true, |engine, _, lines| stats(engine, lines)),
    ("Replication", true, |engine, _, lines| replication(engine, lines)),
    ("RedisHA", true, |engine, _, lines| member(engine, lines)),
    ("CPU", true, |engine, _, lines| cpu(engine, lines)),
    ("Modules", true, |_, _, _| {}),
    ("Commandstats", false, |engine, _, lines| commandstats(engine, lines)),
    ("Errorstats", true, |engine, _, lines| errorstats(engine, lines)),
    ("Latencystats", false, |engine, _, lines| latencystats(engine, lines)),
    ("Cluster", true, |_, _, lines| lines.add("cluster_enabled", 0)),
    ("Keyspace", true, |engine, _, lines| keyspace(engine, lines)),
];

/// Lines of `field:value`.
#[derive(Default)]
pub struct Lines(pub String);

impl Lines {
    pub fn add(&mut self, field: &str, value: impl std::fmt::Display) {
        write!(self.0, "{field}:{value}\r\n").expect("a string takes everything");
    }
}

pub fn info(cx: &mut Context<'_>) -> Handled {
    let asked: Vec<String> = cx
        .args
        .iter()
        .skip(1)
        .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
        .collect();
    let whole = |word: &str| asked.iter().any(|name| name == word);
    let mut lines = Lines::default();
    for (name, default, write) in SECTIONS {
        let by_default = *default && (asked.is_empty() || whole("default"));
        let by_all = whole("all") || whole("everything");
        if by_default || by_all || whole(&name.to_ascii_lowercase()) {
            if !lines.0.is_empty() {
                lines.0.push_str("\r\n");
            }
            write!(lines.0, "# {name}\r\n").expect("a string takes everything");
            write(cx.engine, cx.client, &mut lines);
        }
    }
    let text = lines.0;
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn server(engine: &Engine, lines: &mut Lines) {
    let uptime_s = engine.now.mono_us / 1_000_000;
    lines.add("redis_version", REDIS_VERSION);
    lines.add("server_name", SERVER_NAME);
    lines.add("redisha_version", own_version());
    lines.add("redis_mode", "standalone");
    lines.add("os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    lines.add("redis_git_sha1", "00000000");
    lines.add("redis_git_dirty", 0);
    lines.add("redis_build_id", own_version());
    lines.add("server_mode", "standalone");
    lines.add("monotonic_clock", "POSIX clock_gettime");
    lines.add("process_supervised", "no");
    lines.add("arch_bits", usize::BITS);
    lines.add("multiplexing_api", if cfg!(target_os = "linux") { "epoll" } else { "kqueue" });
    lines.add("process_id", std::process::id());
    lines.add("run_id", &engine.run_id);
    lines.add("tcp_port", engine.config.port);
    lines.add("server_time_usec", engine.now.unix_us);
    lines.add("uptime_in_seconds", uptime_s);
    lines.add("uptime_in_days", uptime_s / 86_400);
    lines.add("hz", engine.config.hz.0);
    lines.add("configured_hz", engine.config.hz.0);
    lines.add("lru_clock", (engine.now.unix_us / 1_000_000) & 0xff_ffff);
    lines.add("io_threads_active", 0);
    lines.add("availability_zone", &engine.config.availability_zone);
    lines.add("executable", executable());
    lines.add("config_file", &engine.config.file);
    listeners(&engine.config, lines);
}

/// Where clients are listened for. A number stands for a kind of connection, as in Valkey, and one more
/// for the port whose connections start as READONLY.
fn listeners(config: &Config, lines: &mut Lines) {
    let (addresses, socket) = (&config.bind.0, [config.unixsocket.clone()]);
    for (number, name, places, port) in [
        (0, "tcp", addresses.as_slice(), config.port),
        (1, "unix", &socket[..], 0),
        (2, "tls", addresses, config.tls_port),
        (3, "tcp", addresses, config.readonly_port),
    ] {
        if port != 0 || name == "unix" && !config.unixsocket.is_empty() {
            let places: String = places.iter().flat_map(|place| [",bind=", place]).collect();
            let port = if port == 0 { String::new() } else { format!(",port={port}") };
            lines.add(&format!("listener{number}"), format_args!("name={name}{places}{port}"));
        }
    }
}

fn executable() -> String {
    std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default()
}

fn clients(engine: &Engine, asking: &Client, lines: &mut Lines) {
    let ordinary = engine.clients.iter().filter(|client| client.duty == Duty::Commands);
    // One more is the connection that asks.
    lines.add("connected_clients", ordinary.count() + 1);
    lines.add("maxclients", engine.config.maxclients);
    let blocked = engine.clients.iter().filter(|client| client.hold == Hold::Blocked).count();
    // Who waits for the end of a pause or for replicas is blocked, too.
    let waiting = engine.held.len() + engine.waiting_for_copies();
    lines.add("blocked_clients", blocked + waiting);
    lines.add("tracking_clients", engine.tracking.counts()[0]);
    let all = || engine.clients.iter().chain([asking]);
    let listens = |client: &&Client| client.subscriptions.as_ref().is_some_and(|s| !s.is_empty());
    lines.add("pubsub_clients", all().filter(listens).count());
    let watches = |client: &&Client| !client.watching.is_empty();
    lines.add("watching_clients", all().filter(watches).count());
    lines.add("paused_clients", engine.held.len());
    lines.add("cluster_connections", 0);
    lines.add("client_recent_max_input_buffer", stats_max(engine, |c| c.input.capacity()));
    lines.add("client_recent_max_output_buffer", stats_max(engine, |c| c.out.capacity()));
    lines.add("clients_in_timeout_table", timed(engine));
    lines.add("total_watched_keys", engine.watched.keys.len());
    lines.add("total_blocking_keys", engine.blocking.keys());
    lines.add("total_blocking_keys_on_nokey", waiting_for_loss(engine));
    let (reason, actions, left_ms) = paused(engine);
    lines.add("paused_reason", reason);
    lines.add("paused_actions", actions);
    lines.add("paused_timeout_milliseconds", left_ms);
}

/// The certificates in use: serial number and seconds to the end of validity.
fn tls(engine: &Engine, lines: &mut Lines) {
    let now_s = engine.now.unix_us / 1_000_000;
    let tls = engine.tls.as_deref();
    for (whose, certificate) in [
        ("server", tls.and_then(|tls| tls.certificate.as_deref())),
        ("client", tls.and_then(|tls| tls.client_certificate.as_deref())),
        ("ca", tls.and_then(|tls| tls.authority.as_deref())),
    ] {
        let facts = certificate.and_then(|der| {
            let (serial, ends_s) = (certificate::serial(der)?, certificate::ends_s(der)?);
            Some((serial, (ends_s - now_s).max(0)))
        });
        let (serial, left_s) = facts.unwrap_or_else(|| ("none".into(), 0));
        lines.add(&format!("tls_{whose}_cert_serial"), serial);
        lines.add(&format!("tls_{whose}_cert_expires_in_seconds"), left_s);
    }
}

fn stats_max(engine: &Engine, size: fn(&crate::client::Client) -> usize) -> usize {
    engine.clients.iter().map(size).max().unwrap_or(0)
}

/// Clients whose blocked command has a deadline.
fn timed(engine: &Engine) -> usize {
    let blocked = engine.clients.iter().filter_map(|client| client.blocked.as_ref());
    blocked.filter(|blocked| blocked.deadline_ms.is_some()).count()
}

/// Keys whose loss somebody who waits for them is told of: those of blocked XREADGROUPs.
fn waiting_for_loss(engine: &Engine) -> usize {
    let blocked = engine.clients.iter().filter_map(|client| client.blocked.as_ref());
    let keys = blocked
        .filter(|blocked| blocked.args.args().is(0, "xreadgroup"))
        .flat_map(|blocked| blocked.keys.iter().map(|key| (blocked.db, key)));
    keys.collect::<std::collections::HashSet<_>>().len()
}

/// Why commands are held, which, and for how many milliseconds still.
fn paused(engine: &Engine) -> (&'static str, &'static str, u64) {
    let Some(scope) = engine.pause.scope() else { return ("none", "none", 0) };
    let user = engine.pause.is_set(Reason::User);
    let until_ms = if user { engine.pause.until_ms(Reason::User) } else { None }.unwrap_or(0);
    let ending = engine.pause.is_set(Reason::Shutdown);
    let other = if ending { "shutdown_in_progress" } else { "failover_in_progress" };
    (
        if user { "client_pause" } else { other },
        if scope == Scope::All { "all" } else { "write" },
        until_ms.saturating_sub(engine.now.mono_ms()),
    )
}

fn commandstats(engine: &Engine, lines: &mut Lines) {
    for row in engine.measures.rows.iter().filter(|row| row.calls + row.rejected > 0) {
        let mean = row.us as f64 / row.calls.max(1) as f64;
        lines.add(
            &format!("cmdstat_{}", row.name),
            format_args!(
                "calls={},usec={},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
                row.calls, row.us, row.rejected, row.failed
            ),
        );
    }
}

fn errorstats(engine: &Engine, lines: &mut Lines) {
    for (code, count) in engine.measures.errors.iter().filter(|(_, count)| **count > 0) {
        lines.add(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latencystats(engine: &Engine, lines: &mut Lines) {
    let percentiles = &engine.config.latency_tracking_info_percentiles.0;
    for row in &engine.measures.rows {
        let Some(histogram) = &row.histogram else { continue };
        let each = percentiles.iter().map(|percent| {
            let name = Percentiles::print_one(*percent);
            format!("p{name}={:.3}", histogram.percentile(*percent) as f64 / 1000.0)
        });
        let text = each.collect::<Vec<_>>().join(",");
        lines.add(&format!("latency_percentiles_usec_{}", row.name), text);
    }
}

/// What a managed member is in its cluster, and how its last switch went.
fn member(engine: &Engine, lines: &mut Lines) {
    let status = engine.member().status(engine.member_env());
    lines.add("redisha_role", status.role);
    lines.add("redisha_member", &status.member);
    lines.add("redisha_epoch", status.epoch);
    lines.add("redisha_promised_epoch", status.promised);
    lines.add("redisha_data_epoch", status.data_epoch);
    lines.add("redisha_pause_id", &status.pause_id);
    lines.add("redisha_pause_left_ms", status.pause_left_ms);
    lines.add("redisha_handover_id", &status.handover_id);
    lines.add("redisha_handover_outcome", status.handover_outcome.name());
    lines.add("redisha_last_pause_usec", status.pause_us);
    lines.add("redisha_relayed_clients", engine.relayed_clients());
    lines.add("redisha_draining", u8::from(status.draining));
    let [word, lag, _, unapplied] = engine.migration_status();
    if word.1 != "none" {
        lines.add("redisha_migration", word.1);
        lines.add("redisha_migration_lag_bytes", lag.1);
        lines.add("redisha_migration_unapplied", unapplied.1);
    }
}

fn persistence(engine: &Engine, lines: &mut Lines) {
    hooks::info_persistence(engine, lines);
}

fn stats(engine: &Engine, lines: &mut Lines) {
    let stats = &engine.stats;
    lines.add("total_connections_received", stats.connections);
    lines.add("total_commands_processed", stats.commands);
    let speeds = &engine.speeds;
    lines.add("instantaneous_ops_per_sec", speeds.commands);
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    lines.add("instantaneous_input_kbps", kilobytes(speeds.bytes_in));
    lines.add("instantaneous_output_kbps", kilobytes(speeds.bytes_out));
    lines.add("instantaneous_input_repl_kbps", kilobytes(speeds.stream_in));
    lines.add("instantaneous_output_repl_kbps", kilobytes(speeds.stream_out));
    lines.add("instantaneous_eventloop_cycles_per_sec", speeds.loops);
    lines.add("instantaneous_eventloop_duration_usec", speeds.loop_us);
    lines.add("total_net_input_bytes", stats.bytes_in);
    lines.add("total_net_output_bytes", stats.bytes_out);
    lines.add("total_net_repl_input_bytes", stats.stream_in);
    lines.add("total_net_repl_output_bytes", stats.stream_out);
    lines.add("rejected_connections", stats.rejected_connections);
    lines.add("expired_keys", stats.expired_keys);
    lines.add("expired_fields", stats.expired_fields);
    lines.add("evicted_keys", stats.evicted_keys);
    lines.add("evicted_clients", stats.evicted_clients);
    lines.add("evicted_scripts", engine.rooms.scripts.cache.evicted);
    lines.add("total_eviction_exceeded_time", engine.memory.over_us / 1000);
    let over_us = engine.memory.over_since_us.map_or(0, |since| engine.now.mono_us - since);
    lines.add("current_eviction_exceeded_time", over_us / 1000);
    let denied = engine.acl.log.counts;
    lines.add("acl_access_denied_auth", denied.auth);
    lines.add("acl_access_denied_cmd", denied.command);
    lines.add("acl_access_denied_key", denied.key);
    lines.add("acl_access_denied_channel", denied.channel);
    lines.add("acl_access_denied_db", denied.database);
    lines.add("acl_access_denied_tls_cert", denied.certificate);
    let [_, keys, items, prefixes] = engine.tracking.counts();
    lines.add("tracking_total_keys", keys);
    lines.add("tracking_total_items", items);
    lines.add("tracking_total_prefixes", prefixes);
    let (hits, misses) = engine.keyspace.hits();
    lines.add("keyspace_hits", hits);
    lines.add("keyspace_misses", misses);
    lines.add("pubsub_channels", engine.pubsub.channels.len());
    lines.add("pubsub_patterns", engine.pubsub.patterns.len());
    lines.add("pubsubshard_channels", engine.pubsub.shard_channels.len());
    engine.info_sync_counts(lines);
    lines.add("unexpected_error_replies", 0);
    lines.add("total_error_replies", stats.errors);
    lines.add("dump_payload_sanitizations", 0);
    lines.add("total_reads_processed", stats.reads);
    lines.add("total_writes_processed", stats.writes);
    lines.add("io_threaded_reads_processed", 0);
    lines.add("io_threaded_writes_processed", 0);
    lines.add("client_query_buffer_limit_disconnections", stats.clients_over_query_limit);
    // Keys whose time is over are found in the order of the table, without samples.
    lines.add("expired_stale_perc", "0.00");
    for field in [
        "expired_time_cap_reached_count",
        "expire_cycle_cpu_milliseconds",
        "latest_fork_usec",
        "total_forks",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
    ] {
        // Known to tools; there is nothing here that they could count.
        lines.add(field, 0);
    }
    lines.add("slave_expires_tracked_keys", engine.own_expiring());
    lines.add("migrate_cached_sockets", engine.rooms.transfers.len());
    lines.add("client_output_buffer_limit_disconnections", stats.clients_over_output_limit);
    lines.add("eventloop_cycles", stats.loops);
    lines.add("eventloop_duration_sum", stats.loop_us);
    lines.add("eventloop_duration_cmd_sum", stats.command_us);
}

fn replication(engine: &Engine, lines: &mut Lines) {
    hooks::info_replication(engine, lines);
}

fn cpu(engine: &Engine, lines: &mut Lines) {
    if let Some((user_s, system_s)) = cpu_seconds("/proc/self/stat") {
        lines.add("used_cpu_sys", format_args!("{system_s:.6}"));
        lines.add("used_cpu_user", format_args!("{user_s:.6}"));
        lines.add("used_cpu_sys_children", "0.000000");
        lines.add("used_cpu_user_children", "0.000000");
    }
    if let Some((user_s, system_s)) = cpu_seconds("/proc/thread-self/stat") {
        lines.add("used_cpu_sys_main_thread", format_args!("{system_s:.6}"));
        lines.add("used_cpu_user_main_thread", format_args!("{user_s:.6}"));
    }
    let active_s = engine.stats.loop_us as f64 / 1e6;
    lines.add("used_active_time_main_thread", format_args!("{active_s:.6}"));
}

/// Processor time (user, system) in seconds, where the system tells it in such a file.
fn cpu_seconds(file: &str) -> Option<(f64, f64)> {
    let text = std::fs::read_to_string(file).ok()?;
    // The second field, in brackets, may hold spaces.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Some((user / ticks, system / ticks))
}

fn keyspace(engine: &Engine, lines: &mut Lines) {
    for index in 0..engine.keyspace.databases() {
        let db = engine.keyspace.db(index);
        if !db.is_empty() {
            let (keys, expires, hashes) = (db.len(), db.volatile(), db.volatile_hashes());
            lines.add(
                &format!("db{index}"),
                format_args!(
                    "keys={keys},expires={expires},avg_ttl=0,keys_with_volatile_items={hashes}"
                ),
            );
        }
    }
}
