//! What commands cost and how they fail: the counts behind INFO commandstats, latencystats and
//! errorstats, and LATENCY.
//!
//! The clock is read once for each command: where one ends the next of the same input begins.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::client::Hold;
use crate::command::{Command, Flags, all, lookup};

use super::{Context, Engine, Stats};

/// Kinds of errors, beyond which no new ones of scripts' own are told apart.
const ERRORS_MAX: usize = 128;
/// Samples kept of one kind of latency.
const SAMPLES_MAX: usize = 160;

/// Counts of one command.
#[derive(Debug)]
pub struct RowStats {
    /// `config|get` for a subcommand.
    pub name: String,
    pub calls: u64,
    pub us: u64,
    /// Refused before it ran.
    pub rejected: u64,
    /// Ran and answered with an error.
    pub failed: u64,
    pub histogram: Option<Box<Histogram>>,
}

/// What happened in a second, from one look at the counts to the next.
#[derive(Debug, Default)]
pub struct Speeds {
    pub commands: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub stream_in: u64,
    pub stream_out: u64,
    pub loops: u64,
    /// How long a turn of the event loop took, in microseconds.
    pub loop_us: u64,
    from: Stats,
    from_ms: u64,
}

impl Speeds {
    pub fn reckon(&mut self, stats: &Stats, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.from_ms);
        if passed_ms < 1000 {
            return;
        }
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let from = &self.from;
        let loops = since(stats.loops, from.loops);
        self.loop_us = since(stats.loop_us, from.loop_us).checked_div(loops).unwrap_or(0);
        let speed = |now: u64, then: u64| since(now, then) * 1000 / passed_ms;
        self.commands = speed(stats.commands, from.commands);
        self.bytes_in = speed(stats.bytes_in, from.bytes_in);
        self.bytes_out = speed(stats.bytes_out, from.bytes_out);
        self.stream_in = speed(stats.stream_in, from.stream_in);
        self.stream_out = speed(stats.stream_out, from.stream_out);
        self.loops = loops * 1000 / passed_ms;
        (self.from, self.from_ms) = (stats.clone(), now_ms);
    }
}

/// A count for each span of durations: two significant digits, as the usual histograms of high
/// dynamic range have them, up to about 17 minutes.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Up to the longest duration there was.
    counts: Vec<u64>,
    total: u64,
}

/// Up to this many nanoseconds each has a count of its own.
const EXACT: u64 = 256;
const HALF: usize = 128;
const MOST_NS: u64 = 1 << 40;

impl Histogram {
    fn index(ns: u64) -> usize {
        if ns < EXACT {
            return ns as usize;
        }
        let shift = ns.ilog2() as usize - 7;
        EXACT as usize + (shift - 1) * HALF + ((ns >> shift) as usize - HALF)
    }

    /// The greatest duration that counts as the same as this one.
    fn highest(ns: u64) -> u64 {
        if ns < EXACT {
            return ns;
        }
        let shift = ns.ilog2() - 7;
        (((ns >> shift) + 1) << shift) - 1
    }

    /// The greatest duration of a count.
    fn highest_of(index: usize) -> u64 {
        let Some(above) = index.checked_sub(EXACT as usize) else { return index as u64 };
        let shift = above / HALF + 1;
        ((above % HALF + HALF + 1) as u64) << shift
    }

    pub fn note(&mut self, ns: u64) {
        let index = Self::index(ns.min(MOST_NS));
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
    }

    /// The duration, in nanoseconds, that this part of all stays under.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let highest = Self::highest_of(index);
                return if index < EXACT as usize { highest } else { highest - 1 };
            }
        }
        0
    }

    /// Bounds in microseconds, each twice the last, with the count of what is at most that; only
    /// those that add to the count.
    pub fn doubling(&self) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let (mut bound_ns, mut seen, mut index) = (1024, 0, 0);
        while seen < self.total && bound_ns <= MOST_NS {
            let highest = Self::highest(bound_ns);
            let before = seen;
            while index <= Self::index(highest) && index < self.counts.len() {
                seen += self.counts[index];
                index += 1;
            }
            if seen > before {
                found.push((highest / 1000, seen));
            }
            bound_ns *= 2;
        }
        found
    }
}

/// Latencies of one kind over the threshold.
#[derive(Debug, Default)]
pub struct Event {
    /// Unix seconds and the longest milliseconds within each.
    pub samples: VecDeque<(i64, u64)>,
    pub max_ms: u64,
    pub sum_ms: u64,
    pub count: u64,
}

pub struct Measures {
    pub rows: Vec<RowStats>,
    /// Rows by address: there is one of each for as long as the process lives.
    index: HashMap<usize, usize, Spread>,
    pub errors: BTreeMap<String, u64>,
    pub events: BTreeMap<&'static str, Event>,
    /// When the last command ended, while the next one may begin there; else 0.
    lap_us: u64,
}

/// Addresses are spread by a multiplication.
#[derive(Clone, Copy, Default)]
pub struct Spread(u64);

impl std::hash::BuildHasher for Spread {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

impl std::hash::Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize((*byte).into());
        }
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        let mixed = (self.0 ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

fn address(row: &Command) -> usize {
    std::ptr::from_ref(row).addr()
}

impl Default for Measures {
    fn default() -> Self {
        let mut found = Self {
            rows: Vec::new(),
            index: HashMap::default(),
            errors: BTreeMap::new(),
            events: BTreeMap::new(),
            lap_us: 0,
        };
        for name in all().map(|row| row.name) {
            let row = lookup(name.as_bytes()).expect("every row is in the table");
            found.add(row, row.name.to_owned());
            for sub in row.subcommands {
                found.add(sub, format!("{}|{}", row.name, sub.name));
            }
        }
        found
    }
}

impl Measures {
    fn add(&mut self, row: &Command, name: String) {
        self.index.insert(address(row), self.rows.len());
        let (calls, us, rejected, failed, histogram) = (0, 0, 0, 0, None);
        self.rows.push(RowStats { name, calls, us, rejected, failed, histogram });
    }

    #[inline]
    fn of(&mut self, row: &Command) -> Option<&mut RowStats> {
        self.index.get(&address(row)).map(|at| &mut self.rows[*at])
    }

    /// Forgets every count of commands and errors, as CONFIG RESETSTAT does.
    pub fn reset(&mut self) {
        for row in &mut self.rows {
            (row.calls, row.us, row.rejected, row.failed) = (0, 0, 0, 0);
            row.histogram = None;
        }
        self.errors.clear();
    }

    pub fn note_latency(&mut self, event: &'static str, at_s: i64, ms: u64) {
        let event = self.events.entry(event).or_default();
        event.max_ms = event.max_ms.max(ms);
        event.sum_ms += ms;
        event.count += 1;
        match event.samples.back_mut() {
            Some((last_s, last_ms)) if *last_s == at_s => *last_ms = (*last_ms).max(ms),
            _ => {
                event.samples.push_back((at_s, ms));
                if event.samples.len() > SAMPLES_MAX {
                    event.samples.pop_front();
                }
            }
        }
    }
}

impl Engine {
    /// The next command does not begin where the last one ended.
    #[inline]
    pub(super) fn forget_lap(&mut self) {
        self.measures.lap_us = 0;
    }

    /// When the command that is about to run begins.
    #[inline]
    pub(super) fn lap(&mut self) -> u64 {
        if self.measures.lap_us == 0 {
            self.measures.lap_us = self.read_clock_us();
        }
        self.measures.lap_us
    }

    /// Does what is no command, which LATENCY tells of under this name when it was slow.
    pub(super) fn timed<R>(&mut self, event: &'static str, work: impl FnOnce(&mut Self) -> R) -> R {
        if self.config.latency_monitor_threshold_ms == 0 {
            return work(self);
        }
        let begun_us = self.read_clock_us();
        let result = work(self);
        let us = self.read_clock_us().saturating_sub(begun_us);
        self.note_slow(event, us);
        result
    }

    /// A command that waited was answered without running again.
    pub(super) fn note_unblocked(&mut self, row: &Command) {
        if let Some(stats) = self.measures.of(row) {
            stats.calls += 1;
        }
    }

    /// Something took so long.
    pub(super) fn note_slow(&mut self, event: &'static str, us: u64) {
        let threshold_ms = self.config.latency_monitor_threshold_ms;
        if threshold_ms > 0 && us >= threshold_ms.saturating_mul(1000) {
            self.measures.note_latency(event, self.now.unix_us / 1_000_000, us / 1000);
        }
    }

    /// An error that a script made up: beyond a number of kinds they are counted together, so that
    /// scripts cannot make more and more of them.
    pub fn note_script_error(&mut self, text: &str) {
        let full = self.measures.errors.len() >= ERRORS_MAX;
        let known = self.measures.errors.contains_key(code_of(text));
        self.note_error(if full && !known { "ERRORSTATS_OVERFLOW" } else { text }, None);
    }

    /// An error was counted that is going to be counted again: as a command's, and as its script's.
    pub fn forget_error(&mut self, text: &str) {
        self.stats.errors = self.stats.errors.saturating_sub(1);
        if let Some(count) = self.measures.errors.get_mut(code_of(text)) {
            *count = count.saturating_sub(1);
        }
    }

    /// An error reply; `refused` names the row that did not come to run.
    #[cold]
    pub fn note_error(&mut self, text: &str, refused: Option<&Command>) {
        self.stats.errors += 1;
        let code = code_of(text);
        if let Some(count) = self.measures.errors.get_mut(code) {
            *count += 1;
        } else {
            self.measures.errors.insert(code.to_owned(), 1);
        }
        if let Some(stats) = refused.and_then(|row| self.measures.of(row)) {
            stats.rejected += 1;
        }
    }
}

/// The first word of an error.
fn code_of(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or("ERR")
}

/// Counts the command that has just run, and returns how long it took in microseconds.
#[inline]
pub(super) fn note_command(cx: &mut Context<'_>, begun_us: u64, failed: bool) -> u64 {
    let engine = &mut *cx.engine;
    let end_us = engine.read_clock_us();
    let us = end_us.saturating_sub(begun_us);
    engine.measures.lap_us = end_us;
    engine.stats.command_us += us;
    if cx.client.hold == Hold::Blocked {
        // It counts when it is answered.
        return us;
    }
    let tracking = engine.config.latency_tracking;
    if let Some(stats) = engine.measures.of(cx.row) {
        stats.calls += 1;
        stats.us += us;
        stats.failed += u64::from(failed);
        if tracking {
            stats.histogram.get_or_insert_default().note(us * 1000);
        }
    }
    if engine.config.latency_monitor_threshold_ms > 0 {
        engine.note_slow(if cx.row.is(Flags::FAST) { "fast-command" } else { "command" }, us);
    }
    us
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Bench;

    #[test]
    fn durations_are_told_with_two_digits() {
        let mut histogram = Histogram::default();
        for us in [4, 15, 23, 30, 68, 679, 1_000_000] {
            histogram.note(us * 1000);
        }
        let tenth = |percent| histogram.percentile(percent);
        assert_eq!(tenth(1.0), 4_015);
        assert_eq!(tenth(50.0), 30_079);
        assert_eq!(tenth(80.0), 679_935);
        assert_eq!(histogram.doubling()[..3], [(4, 1), (16, 2), (33, 4)]);
        histogram.note(u64::MAX);
    }

    /// LATENCY knew of commands alone, and so could not tell why clients waited for none of theirs.
    #[test]
    fn what_the_server_does_by_itself_is_told_when_it_was_slow() {
        let mut bench = Bench::new(&[("latency-monitor-threshold", "10")]);
        let client = bench.client();
        bench.engine.read_clock = Some(std::sync::Arc::new({
            let us = std::sync::atomic::AtomicU64::new(0);
            move || us.fetch_add(20_000, std::sync::atomic::Ordering::Relaxed)
        }));
        bench.engine.timed("expire-cycle", |_| ());
        bench.engine.note_slow("aof-write", 9_999);
        let told = bench.ask(client, "LATENCY LATEST");
        assert!(told.contains("expire-cycle") && !told.contains("aof-write"), "{told}");
        assert!(bench.ask(client, "LATENCY HISTORY expire-cycle").ends_with(":20"));
        assert!(bench.ask(client, "LATENCY DOCTOR").contains("expire-cycle: 1 spikes"));
        assert!(bench.ask(client, "LATENCY GRAPH expire-cycle").contains("high 20 ms"));
    }

    #[test]
    fn calls_failures_and_refusals_are_counted_apart() {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        bench.ask(client, "SET k v");
        bench.ask(client, "INCR k");
        bench.ask(client, "GET");
        bench.ask(client, "MULTI");
        bench.ask(client, "GET k");
        bench.ask(client, "EXEC");
        let text = bench.ask(client, "INFO commandstats errorstats");
        for part in ["cmdstat_set:calls=1,", "cmdstat_get:calls=1,", "cmdstat_exec:calls=1,"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let failed = "rejected_calls=0,failed_calls=1";
        assert!(text.contains(failed), "{failed} in {text}");
        let refused = "rejected_calls=1,failed_calls=0";
        assert!(text.contains(refused), "{refused} in {text}");
        assert!(text.contains("errorstat_ERR:count=2"), "{text}");
        bench.ask(client, "CONFIG RESETSTAT");
        assert!(!bench.ask(client, "INFO errorstats").contains("errorstat_ERR"));
    }

    /// The error by which CLIENT UNBLOCK ends a wait was in no statistics, and CONFIG RESETSTAT left the
    /// count of evicted scripts.
    #[test]
    fn waits_that_end_with_an_error_count_as_refused() {
        let mut bench = Bench::new(&[]);
        let (client, other) = (bench.client(), bench.client());
        for n in 0..=500 {
            bench.ask(other, &format!("EVAL return\t{n} 0"));
        }
        assert!(bench.ask(other, "INFO stats").contains("evicted_scripts:1 "));
        bench.ask(other, "CONFIG RESETSTAT");
        assert!(bench.ask(other, "INFO stats").contains("evicted_scripts:0 "));
        let id = bench.ask(client, "CLIENT ID").replace(':', "");
        assert_eq!(bench.ask(client, "BLPOP l 0"), "");
        assert_eq!(bench.ask(other, &format!("CLIENT UNBLOCK {id} ERROR")), ":1");
        assert!(bench.out(client).starts_with("-UNBLOCKED"));
        let told = bench.ask(other, "INFO commandstats errorstats");
        let row = told.split("cmdstat_blpop:").nth(1).expect("a row");
        assert!(row.starts_with("calls=1,"), "{row}");
        let row = row.split(' ').next().expect("a line");
        assert!(row.ends_with("rejected_calls=1,failed_calls=0"), "{row}");
        assert!(told.contains("errorstat_UNBLOCKED:count=1"), "{told}");
    }

    /// An error that a script caught and then returned was counted once more.
    #[test]
    fn an_error_that_a_script_hands_on_is_one() {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        bench.ask(client, "SET k v");
        for (script, count) in [
            ("return redis.pcall('incr','k')", 1),
            ("return redis.call('incr','k')", 1),
            ("local e=redis.pcall('incr','k')return{err='ERR x'}", 2),
            ("redis.pcall('incr','k')return 1", 1),
        ] {
            bench.ask(client, "CONFIG RESETSTAT");
            bench.ask(client, &format!("EVAL {} 0", script.replace(' ', "\t")));
            let told = bench.ask(client, "INFO stats errorstats");
            assert!(told.contains(&format!("errorstat_ERR:count={count}")), "{script}: {told}");
            assert!(told.contains(&format!("total_error_replies:{count} ")), "{script}: {told}");
        }
    }
}
