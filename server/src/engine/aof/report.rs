//! What INFO tells about append-only files and loading.

use crate::command::server::Lines;

use super::super::Engine;
use super::super::replicate::Job;
use super::{Fsync, State};

impl Engine {
    /// What the disk's thread took long for, of which LATENCY tells. Commands wait for a sync only
    /// under `appendfsync always`.
    pub(super) fn aof_tell_slowness(&mut self) {
        let Some(disk) = &mut self.rooms.aof.disk else { return };
        let (write_us, sync_us) = disk.take_slowest();
        self.note_slow("aof-write", write_us);
        if self.config.appendfsync == Fsync::Always {
            self.note_slow("aof-fsync-always", sync_us);
        }
    }

    /// The lines of the section `persistence` that belong to append-only files.
    pub(in super::super) fn info_aof(&self, lines: &mut Lines) {
        let aof = &self.rooms.aof;
        let rewrites = &aof.rewrites;
        let rewrite = match &self.rooms.replication.job {
            Some(Job::Save(save)) => save.rewrite(),
            _ => None,
        };
        let running_s = rewrite.map_or(-1, |r| (self.now.unix_us - r.started_us) / 1_000_000);
        let word = |failed: bool| if failed { "err" } else { "ok" };
        lines.add("aof_enabled", u8::from(aof.state != State::Off));
        lines.add("aof_rewrite_in_progress", u8::from(rewrite.is_some()));
        lines.add("aof_rewrite_scheduled", u8::from(rewrites.scheduled));
        lines.add("aof_last_rewrite_time_sec", rewrites.last_s);
        lines.add("aof_current_rewrite_time_sec", running_s);
        lines.add("aof_last_bgrewrite_status", word(rewrites.last_failed));
        lines.add("aof_rewrites", rewrites.count);
        lines.add("aof_rewrites_consecutive_failures", rewrites.failures_in_row);
        lines.add("aof_last_write_status", word(aof.failure.is_some()));
        lines.add("aof_last_cow_size", 0);
        lines.add("module_fork_in_progress", 0);
        lines.add("module_fork_last_cow_size", 0);
        if aof.state != State::Off {
            lines.add("aof_current_size", self.aof_size());
            lines.add("aof_base_size", rewrites.after_bytes);
            lines.add(
                "aof_pending_rewrite",
                u8::from(matches!(aof.state, State::Waiting | State::Naming(_))),
            );
            let queued = aof.disk.as_ref().map_or(0, |disk| disk.queued());
            lines.add("aof_buffer_length", queued);
            let synced = aof.disk.as_ref().map_or(0, |disk| disk.synced());
            lines.add("aof_pending_bio_fsync", u8::from(synced < aof.sent));
            lines.add("aof_delayed_fsync", 0);
            lines.add("redisha_aof_synced_offset", synced);
        }
    }

    /// The lines about loading.
    pub(in super::super) fn info_loading(&self, lines: &mut Lines) {
        let Some(loading) = &self.rooms.aof.loading else { return };
        let (total, loaded) = (loading.total(), loading.loaded());
        let percent = if total == 0 { 100.0 } else { loaded as f64 * 100.0 / total as f64 };
        let passed_s = (self.now.unix_us / 1_000_000 - loading.started_s()).max(0);
        let left_s = match loaded {
            0 => 1,
            loaded => (passed_s as u64).saturating_mul(total.saturating_sub(loaded)) / loaded,
        };
        lines.add("loading_start_time", loading.started_s());
        lines.add("loading_total_bytes", total);
        lines.add("loading_rdb_used_mem", 0);
        lines.add("loading_loaded_bytes", loaded);
        lines.add("loading_loaded_perc", format_args!("{percent:.2}"));
        lines.add("loading_eta_seconds", left_s);
    }

    pub fn is_loading(&self) -> bool {
        self.rooms.aof.loading.is_some()
    }
}
