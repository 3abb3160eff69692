//! What a drill found, for people and for programs; pure.

use serde::Serialize;

/// The longest typical and near-worst pause that a switchover may cause, in milliseconds.
const PAUSE_P50_MS: f64 = 10.0;
const PAUSE_P99_MS: f64 = 50.0;

/// Quantiles of a series of times, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Quantiles {
    /// From times in microseconds; all zero when there are none.
    pub fn of(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        // The smallest time that at least this share of all does not exceed.
        let at = |percent: usize| {
            let rank = (times_us.len() * percent).div_ceil(100).max(1);
            times_us.get(rank - 1).map_or(0.0, |us| *us as f64 / 1_000.0)
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// The result of one drill. The order of fields is that of the printed object.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    pub schema: u32,
    pub command: &'static str,
    pub commit: &'static str,
    pub ok: bool,
    pub switchovers: u32,
    pub replies: u64,
    pub errors: u64,
    pub lost: u64,
    pub duplicated: u64,
    /// On the old primary's own clock, from the gate shut to the first held command answered.
    pub pause_ms: Quantiles,
    /// The longest wait of a client, for each switchover.
    pub gap_ms: Quantiles,
    /// One example of the errors, when there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// Switchovers that were asked for and did not happen, with the reason of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_switched: Option<String>,
}

impl Figures {
    /// The bars that are missed, one clause each.
    pub fn missed(&self, wanted: u32) -> Vec<String> {
        let mut missed = Vec::new();
        let mut bar = |met: bool, clause: String| {
            if !met {
                missed.push(clause);
            }
        };
        bar(self.switchovers == wanted, format!("{} switchovers of {wanted}", self.switchovers));
        bar(self.replies > 0, "no client had a reply".to_owned());
        bar(self.errors == 0, format!("{} errors", self.errors));
        bar(self.lost == 0, format!("{} writes lost", self.lost));
        bar(self.duplicated == 0, format!("{} writes duplicated", self.duplicated));
        let Quantiles { p50, p99, .. } = self.pause_ms;
        bar(p50 <= PAUSE_P50_MS, format!("pause p50 {p50} ms, over {PAUSE_P50_MS}"));
        bar(p99 <= PAUSE_P99_MS, format!("pause p99 {p99} ms, over {PAUSE_P99_MS}"));
        missed
    }

    /// For people.
    pub fn text(&self) -> String {
        let line = |name: &str, q: Quantiles| {
            format!("{name:<12} p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", q.p50, q.p99, q.max)
        };
        format!(
            "{} switchovers, {} replies: {} errors, {} lost, {} duplicated\n{}\n{}",
            self.switchovers,
            self.replies,
            self.errors,
            self.lost,
            self.duplicated,
            line("writes held", self.pause_ms),
            line("longest wait", self.gap_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Figures {
        Figures {
            schema: 1,
            command: "drill",
            commit: "c",
            ok: true,
            switchovers: 2,
            replies: 10,
            errors: 0,
            lost: 0,
            duplicated: 0,
            pause_ms: Quantiles { p50: 2.0, p99: 9.0, max: 9.0 },
            gap_ms: Quantiles::default(),
            first_error: None,
            not_switched: None,
        }
    }

    #[test]
    fn quantiles_are_times_that_were_seen() {
        let hundred = (1..=100).map(|ms| ms * 1_000).collect();
        assert_eq!(Quantiles::of(hundred), Quantiles { p50: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(Quantiles::of(vec![7_500]), Quantiles { p50: 7.5, p99: 7.5, max: 7.5 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }

    #[test]
    fn each_bar_is_held() {
        assert!(good().missed(2).is_empty());
        let worse: [fn(&mut Figures); 7] = [
            |figures| figures.switchovers = 1,
            |figures| figures.replies = 0,
            |figures| figures.errors = 1,
            |figures| figures.lost = 1,
            |figures| figures.duplicated = 1,
            |figures| figures.pause_ms.p50 = 10.1,
            |figures| figures.pause_ms.p99 = 50.1,
        ];
        for spoil in worse {
            let mut figures = good();
            spoil(&mut figures);
            assert_eq!(figures.missed(2).len(), 1, "{figures:?}");
        }
    }
}
