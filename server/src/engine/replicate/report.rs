//! What INFO and ROLE tell about replication and persistence.

use crate::command::server::Lines;
use crate::replication::{LinkState, Replica, Stage};
use crate::resp::Reply;

use super::super::Engine;
use super::Job;

impl Engine {
    /// Bytes that the backlog takes.
    pub fn backlog_memory(&self) -> u64 {
        let state = self.replication();
        state.backlog().memory().min(state.backlog_size)
    }

    /// Bytes that the stream takes beyond the backlog's size: for replicas that are slow, or since it
    /// lies in blocks.
    pub fn beyond_backlog(&self) -> u64 {
        let state = self.replication();
        state.backlog().memory().saturating_sub(state.backlog_size)
    }

    /// The part of the stream's memory that replicas are the reason for.
    pub fn backlog_for_replicas(&self) -> u64 {
        let read = self.replication().replicas.iter().next().is_some();
        if read { self.beyond_backlog() } else { 0 }
    }

    /// The section `replication` of INFO.
    pub fn info_replication(&self, lines: &mut Lines) {
        let room = &self.rooms.replication;
        let state = &room.state;
        let now_ms = self.now.mono_ms();
        let mut line = |name: &str, value: &dyn std::fmt::Display| lines.add(name, value);
        line("role", &if state.is_replica() { "slave" } else { "master" });
        if let Some(link) = &state.link {
            line("master_host", &link.config.host);
            line("master_port", &link.config.port);
            line("master_link_status", &if link.is_streaming() { "up" } else { "down" });
            let silence_s = (link.silence_ms(now_ms) / 1000) as i64;
            line("master_last_io_seconds_ago", &if link.is_streaming() { silence_s } else { -1 });
            line("master_sync_in_progress", &u8::from(link.word() == "syncing"));
            line("slave_read_repl_offset", &state.offset());
            line("slave_repl_offset", &state.offset());
            if let LinkState::Loading(loader) = &link.state {
                let (total, read) = (loader.announced().unwrap_or(0), loader.received());
                let percent = if total == 0 { 0.0 } else { read as f64 * 100.0 / total as f64 };
                line("master_sync_total_bytes", &total);
                line("master_sync_read_bytes", &read);
                line("master_sync_left_bytes", &(total as i64 - read as i64));
                line("master_sync_perc", &format_args!("{percent:.2}"));
                line("master_sync_last_io_seconds_ago", &silence_s);
            }
            if !link.is_streaming() {
                let since_s = |since_ms| (now_ms.saturating_sub(since_ms) / 1000) as i64;
                line("master_link_down_since_seconds", &link.down_since_ms.map_or(-1, since_s));
                line("master_link_last_error", &link.last_error.replace(['\r', '\n'], " "));
            }
            line("slave_priority", &self.config.replica_priority);
            line("slave_read_only", &u8::from(self.config.replica_read_only));
            line("replica_announced", &1);
            line("slave_failed_commands", &room.failed_commands);
        }
        line("connected_slaves", &state.replicas.iter().count());
        let min = self.config.min_replicas_to_write;
        if min > 0 && !state.is_replica() {
            let max_lag_ms = self.config.min_replicas_max_lag_s * 1000;
            line("min_slaves_good_slaves", &state.replicas.good(now_ms, max_lag_ms));
        }
        for (index, replica) in state.replicas.iter().enumerate() {
            let Replica { host, port, acked, .. } = replica;
            let lag_s = now_ms.saturating_sub(replica.acked_at_ms) / 1000;
            let word = replica.state();
            line(
                &format!("slave{index}"),
                &format_args!(
                    "ip={host},port={port},state={word},offset={acked},lag={lag_s},type=replica"
                ),
            );
        }
        // One connection carries the snapshot and what comes after it.
        line("replicas_waiting_psync", &0);
        line("master_failover_state", &self.failover_word());
        line("master_replid", &state.history.id);
        let (former, former_end) = match state.history.formers().first() {
            Some((id, end)) => (id.to_string(), (end + 1) as i64),
            None => ("0".repeat(40), -1),
        };
        line("master_replid2", &former);
        line("master_repl_offset", &state.offset());
        line("second_repl_offset", &former_end);
        let backlog = state.backlog();
        line("repl_backlog_active", &u8::from(state.is_active()));
        line("repl_backlog_size", &state.backlog_size);
        line("repl_backlog_first_byte_offset", &(backlog.start() + 1));
        line("repl_backlog_histlen", &backlog.len());
    }

    /// The counters of the section `stats` that belong to replication.
    pub fn info_sync_counts(&self, lines: &mut Lines) {
        let state = &self.rooms.replication.state;
        for (name, value) in [
            ("sync_full", state.full),
            ("sync_partial_ok", state.partial_ok),
            ("sync_partial_err", state.partial_err),
        ] {
            lines.add(name, value);
        }
    }

    /// The section `persistence` of INFO.
    pub fn info_persistence(&self, lines: &mut Lines) {
        let room = &self.rooms.replication;
        let saves = &room.saves;
        let saving = matches!(room.job, Some(Job::Save(_)));
        let mut line = |name: &str, value: &dyn std::fmt::Display| lines.add(name, value);
        let loading = room.state.link.as_ref().is_some_and(|link| link.word() == "syncing");
        line("loading", &u8::from(self.is_loading()));
        line("async_loading", &u8::from(loading));
        let (total, done) = room.job.as_ref().map_or((0, 0), Job::keys);
        let percent = if total == 0 { 0.0 } else { done as f64 * 100.0 / total as f64 };
        for name in ["current_cow_peak", "current_cow_size", "current_cow_size_age"] {
            // Known to tools; no page is copied for a save.
            line(name, &0);
        }
        line("current_fork_perc", &format_args!("{percent:.2}"));
        line("current_save_keys_processed", &done);
        line("current_save_keys_total", &total);
        line("rdb_changes_since_last_save", &self.outbox.changes);
        line("rdb_bgsave_in_progress", &u8::from(saving));
        line("rdb_last_save_time", &saves.last_unix_s);
        line("rdb_last_bgsave_status", &if saves.last_error.is_none() { "ok" } else { "err" });
        line("rdb_last_bgsave_time_sec", &saves.last_duration_s);
        let file = matches!(&room.job, Some(Job::Save(save)) if save.rewrite().is_none());
        let running_s = self.now.unix_us / 1_000_000 - saves.last_try_unix_s;
        line("rdb_current_bgsave_time_sec", &if file { running_s } else { -1 });
        line("rdb_saves", &saves.count);
        line("rdb_last_cow_size", &0);
        // Those whose time is over are loaded, too: they go when the primary says so.
        line("rdb_last_load_keys_expired", &0);
        line("rdb_last_load_keys_loaded", &saves.loaded_keys);
        if let Some(error) = &saves.last_error {
            line("rdb_last_error", &error.replace(['\r', '\n'], " "));
        }
        self.info_aof(lines);
        self.info_loading(lines);
    }

    /// ROLE.
    pub fn write_role(&self, mut reply: Reply<'_>) {
        let state = &self.rooms.replication.state;
        if let Some(link) = &state.link {
            reply.array(5);
            reply.bulk(b"slave");
            reply.bulk(link.config.host.as_bytes());
            reply.int(i64::from(link.config.port));
            reply.bulk(link.role_word().as_bytes());
            reply.int(state.offset() as i64);
            return;
        }
        let online: Vec<_> = state.replicas.iter().filter(|r| r.stage == Stage::Online).collect();
        reply.array(3);
        reply.bulk(b"master");
        reply.int(state.offset() as i64);
        reply.array(online.len());
        for replica in online {
            reply.array(3);
            reply.bulk(replica.host.as_bytes());
            reply.bulk(replica.port.to_string().as_bytes());
            reply.bulk(replica.acked.to_string().as_bytes());
        }
    }
}
