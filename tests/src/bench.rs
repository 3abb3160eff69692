//! What the server costs, beside Valkey in the same run.
//!
//! Throughput on a machine of two cores measures the load generator as much as the server, so the
//! measure is the server's own time (utime + stime) per command it served. Servers under measure
//! run on core 0, load on core 1; runs alternate, so that all meet the same weather.

pub mod commands;
pub mod durability;
pub mod process;
pub mod snapshot;

use std::path::PathBuf;

use serde_json::{Map, Value};

/// Connections of the load generator.
pub const CONNECTIONS: u32 = 50;
pub const VALUE_BYTES: u32 = 64;

/// The peer and its load generator.
#[derive(Clone, Debug)]
pub struct Peer {
    pub server: PathBuf,
    pub benchmark: PathBuf,
}

/// What a bench found.
#[derive(Debug, Default)]
pub struct Found {
    /// The bars that were not met, as sentences.
    pub missed: Vec<String>,
    pub fields: Map<String, Value>,
}

impl Found {
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Notes a bar: `value` must not be above it.
    pub fn bar(&mut self, what: &str, value: f64, bar: f64) {
        if value.is_nan() || value > bar {
            self.missed.push(format!("{what} is {value:.3}, over {bar}"));
        }
    }
}

/// Measures of two servers, run by run, and the ratio of the first to the second.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    pub fn push(&mut self, ours: f64, theirs: f64) {
        self.0.push((ours, theirs));
    }

    fn sorted(&self, value: impl Fn(&(f64, f64)) -> f64) -> Vec<f64> {
        let mut values: Vec<_> = self.0.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    pub fn ratio(&self) -> f64 {
        median(&self.sorted(|(ours, theirs)| ours / theirs))
    }

    /// How far apart the runs' ratios are, as a part of their median.
    pub fn spread(&self) -> f64 {
        let ratios = self.sorted(|(ours, theirs)| ours / theirs);
        let ends = ratios.first().zip(ratios.last());
        ends.map_or(0.0, |(least, most)| (most - least) / self.ratio())
    }

    /// The medians of both.
    pub fn medians(&self) -> (f64, f64) {
        (median(&self.sorted(|pair| pair.0)), median(&self.sorted(|pair| pair.1)))
    }
}

/// The middle of sorted values; not a number when there are none.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The value below which that part of sorted values lies.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_runs_own_ratios() {
        // The second run met a slow machine: both took twice as long, which says nothing.
        let pairs = Pairs(vec![(1.0, 2.0), (2.4, 4.0), (1.4, 2.0)]);
        assert!((pairs.ratio() - 0.6).abs() < 1e-9);
        assert!((pairs.spread() - 1.0 / 3.0).abs() < 1e-9, "0.5 to 0.7 around 0.6");
    }

    #[test]
    fn a_median_of_an_even_count_lies_between() {
        assert!((median(&[1.0, 2.0]) - 1.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=1000).map(f64::from).collect();
        assert!((quantile(&values, 0.999) - 999.0).abs() < f64::EPSILON);
        assert!((quantile(&values, 0.5) - 500.0).abs() < f64::EPSILON);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
