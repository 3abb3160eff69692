//! What the operator counts, in the text format of Prometheus.
//!
//! Takes notices and results, returns text; no I/O. A counter exists for every reason from the
//! start, so that a rate is defined before the first event.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;

use switchover::{Notice, Reason};

/// Upper bounds of the pause histogram, in milliseconds.
const PAUSE_BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 500, 1_000, 2_000];

/// Everything that is counted. Shared by every task of the process.
#[derive(Debug)]
pub struct Metrics {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    completed: BTreeMap<Reason, u64>,
    aborted: BTreeMap<Reason, u64>,
    pauses: Vec<u64>,
    pause_sum_ms: u64,
    pause_count: u64,
    evictions: BTreeMap<&'static str, u64>,
    reconciles: BTreeMap<&'static str, u64>,
    managed: u64,
    leader: bool,
    /// Ids of switches that this process has begun and not ended.
    open: BTreeSet<String>,
}

/// How the webhook answered an eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionAnswer {
    /// The pod was not a primary, or nothing could be gained by waiting.
    Allowed,
    /// The primary moved first.
    Switched,
    /// Told to come back.
    Held,
    /// The bound of the hold was over.
    LetGo,
}

impl EvictionAnswer {
    const ALL: [Self; 4] = [Self::Allowed, Self::Switched, Self::Held, Self::LetGo];

    /// The value of the metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Switched => "switched",
            Self::Held => "held",
            Self::LetGo => "let-go",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let zero = || Reason::ALL.map(|reason| (reason, 0)).into();
        Self {
            inner: Mutex::new(Inner {
                completed: zero(),
                aborted: zero(),
                pauses: vec![0; PAUSE_BOUNDS_MS.len()],
                evictions: EvictionAnswer::ALL.map(|answer| (answer.as_str(), 0)).into(),
                reconciles: [("ok", 0), ("error", 0)].into(),
                ..Inner::default()
            }),
        }
    }
}

impl Metrics {
    /// Counts what a notice is about; others change nothing.
    pub fn notice(&self, notice: &Notice) {
        let mut inner = self.lock();
        match notice {
            Notice::SwitchoverStarted { intent } => {
                inner.open.insert(intent.id.clone());
            }
            Notice::SwitchoverCompleted { id, reason, pause_ms, .. } => {
                inner.open.remove(id);
                *inner.completed.entry(*reason).or_default() += 1;
                if let Some(pause_ms) = pause_ms {
                    inner.pause(*pause_ms);
                }
            }
            Notice::SwitchoverAborted { id, reason, .. } => {
                inner.open.remove(id);
                *inner.aborted.entry(*reason).or_default() += 1;
            }
            Notice::FailoverCompleted { .. } => {
                *inner.completed.entry(Reason::PrimaryLost).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Whether a switch is under way.
    pub fn is_switching(&self) -> bool {
        !self.lock().open.is_empty()
    }

    /// Counts one answered eviction.
    pub fn eviction(&self, answer: EvictionAnswer) {
        *self.lock().evictions.entry(answer.as_str()).or_default() += 1;
    }

    /// Counts one pass over a `RedisHA`.
    pub fn reconcile(&self, ok: bool) {
        *self.lock().reconciles.entry(if ok { "ok" } else { "error" }).or_default() += 1;
    }

    /// How many objects are looked after.
    pub fn managed(&self, count: usize) {
        self.lock().managed = count as u64;
    }

    /// Whether this process acts. Who does no more looks after nothing, and ends no switch that it
    /// has begun.
    pub fn leader(&self, leads: bool) {
        let mut inner = self.lock();
        inner.leader = leads;
        if !leads {
            inner.managed = 0;
            inner.open.clear();
        }
    }

    /// Everything, as `/metrics` prints it.
    pub fn render(&self) -> String {
        let inner = self.lock();
        let mut text = Text::default();
        text.family("redisha_switchovers_total", "counter", "Completed moves of a primary.");
        text.by_reason("redisha_switchovers_total", &inner.completed);
        text.family("redisha_switchover_aborts_total", "counter", "Attempts that were given up.");
        text.by_reason("redisha_switchover_aborts_total", &inner.aborted);
        inner.render_pauses(&mut text);
        text.family("redisha_evictions_total", "counter", "Evictions answered by the webhook.");
        for (answer, count) in &inner.evictions {
            text.line(&format!("redisha_evictions_total{{answer=\"{answer}\"}}"), count);
        }
        text.family("redisha_reconciles_total", "counter", "Passes over a RedisHA.");
        for (result, count) in &inner.reconciles {
            text.line(&format!("redisha_reconciles_total{{result=\"{result}\"}}"), count);
        }
        text.family("redisha_managed", "gauge", "RedisHA objects that this process looks after.");
        text.line("redisha_managed", &inner.managed);
        text.family("redisha_leader", "gauge", "1 in the process that acts.");
        text.line("redisha_leader", &u64::from(inner.leader));
        text.0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

impl Inner {
    fn pause(&mut self, ms: u64) {
        self.pause_sum_ms += ms;
        self.pause_count += 1;
        for (bucket, bound) in self.pauses.iter_mut().zip(PAUSE_BOUNDS_MS) {
            *bucket += u64::from(ms <= bound);
        }
    }

    fn render_pauses(&self, text: &mut Text) {
        let name = "redisha_switchover_pause_seconds";
        text.family(name, "histogram", "How long writes were held by completed switches.");
        for (count, bound) in self.pauses.iter().zip(PAUSE_BOUNDS_MS) {
            text.line(&format!("{name}_bucket{{le=\"{}\"}}", seconds(bound)), count);
        }
        text.line(&format!("{name}_bucket{{le=\"+Inf\"}}"), &self.pause_count);
        text.line(&format!("{name}_sum"), &seconds(self.pause_sum_ms));
        text.line(&format!("{name}_count"), &self.pause_count);
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: &impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn by_reason(&mut self, name: &str, counts: &BTreeMap<Reason, u64>) {
        for (reason, count) in counts {
            self.line(&format!("{name}{{reason=\"{reason}\"}}"), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use switchover::Epoch;

    use super::*;

    fn completed(reason: Reason, pause_ms: Option<u64>) -> Notice {
        Notice::SwitchoverCompleted {
            id: "1".into(),
            from: "a".into(),
            to: "b".into(),
            reason,
            epoch: Epoch::new(1, 1),
            pause_ms,
        }
    }

    /// A process whose lease was lost in the middle of a switch would wait for its end as it is told to
    /// stop, which another process brings about.
    #[test]
    fn who_acts_no_more_has_no_switch_open() {
        let metrics = Metrics::default();
        metrics.leader(true);
        metrics.managed(3);
        let member = switchover::Member::default();
        metrics.notice(&Notice::SwitchoverStarted {
            intent: switchover::Intent {
                id: "1".into(),
                from: member.clone(),
                to: member,
                reason: Reason::Drain,
                attempt: 1,
                deadline_ms: 2_000,
            },
        });
        assert!(metrics.is_switching());
        metrics.leader(false);
        assert!(!metrics.is_switching());
        assert!(metrics.render().lines().any(|line| line == "redisha_managed 0"));
    }

    #[test]
    fn every_reason_is_there_from_the_start_and_counts_its_own() {
        let metrics = Metrics::default();
        let text = metrics.render();
        for reason in Reason::ALL {
            let line = format!("redisha_switchovers_total{{reason=\"{reason}\"}} 0");
            assert!(text.lines().any(|l| l == line), "{line}");
        }
        metrics.notice(&completed(Reason::Drain, Some(7)));
        metrics.notice(&completed(Reason::Drain, None));
        metrics.notice(&Notice::FailoverCompleted {
            from: "a".into(),
            to: "b".into(),
            epoch: Epoch::new(2, 0),
        });
        let text = metrics.render();
        for line in [
            "redisha_switchovers_total{reason=\"drain\"} 2",
            "redisha_switchovers_total{reason=\"primary-lost\"} 1",
            "redisha_switchover_pause_seconds_bucket{le=\"0.005\"} 0",
            "redisha_switchover_pause_seconds_bucket{le=\"0.01\"} 1",
            "redisha_switchover_pause_seconds_bucket{le=\"+Inf\"} 1",
            "redisha_switchover_pause_seconds_sum 0.007",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in:\n{text}");
        }
    }
}
