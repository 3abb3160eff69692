//! `simulate [--seeds N] [--seed S] [--mutant NAME | --mutants] [--trace] [--json]`: runs worlds and
//! says what the checkers found; `--mutants` also plants each bug until a seed catches it.
//! Exit 0 clean, 1 a promise was broken or a bug was not caught, 64 usage.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use simulator::{Mutant, Report, Run, SECONDS, run};

/// How many worlds a planted bug has to be caught in.
const MUTANT_SEEDS: u64 = 2_000;

struct Options {
    seeds: u64,
    seed: u64,
    mutant: Option<Mutant>,
    mutants: bool,
    trace: bool,
    json: bool,
}

fn options() -> Option<Options> {
    let mut found =
        Options { seeds: 200, seed: 1, mutant: None, mutants: false, trace: false, json: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => found.seeds = arguments.next()?.parse().ok()?,
            "--seed" => found.seed = arguments.next()?.parse().ok()?,
            "--trace" => found.trace = true,
            "--json" => found.json = true,
            "--mutants" => found.mutants = true,
            "--mutant" => {
                let name = arguments.next()?;
                let named = Mutant::ALL.into_iter().find(|one| one.to_string() == name);
                found.mutant = Some(named?);
            }
            _ => return None,
        }
    }
    Some(found)
}

/// Sums over worlds.
#[derive(Default)]
struct Sums {
    seeds: u64,
    operations: u64,
    faults: u64,
    switchovers: u64,
    elections: u64,
    acknowledged: u64,
    broken: Vec<u64>,
}

impl Sums {
    fn add(&mut self, report: &Report) {
        for line in &report.trace {
            println!("{line}");
        }
        for violation in &report.violations {
            eprintln!("seed {}: {violation}", report.seed);
        }
        if !report.violations.is_empty() {
            self.broken.push(report.seed);
        }
        self.seeds += 1;
        self.operations += report.acknowledged + report.reads + report.switchovers;
        self.faults += report.faults + report.crashes;
        self.switchovers += report.switchovers;
        self.elections += report.elections;
        self.acknowledged += report.acknowledged;
    }

    fn join(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.operations += other.operations;
        self.faults += other.faults;
        self.switchovers += other.switchovers;
        self.elections += other.elections;
        self.acknowledged += other.acknowledged;
        self.broken.extend(other.broken);
        self
    }
}

/// Every seed once, on as many threads as there are processors.
fn worlds(options: &Options) -> Sums {
    let next = AtomicU64::new(options.seed);
    let end = options.seed + options.seeds;
    let work = || {
        let mut sums = Sums::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return sums;
            }
            sums.add(&run(&Run { seed, mutant: options.mutant, trace: options.trace }));
        }
    };
    let threads = if options.trace { 1 } else { processors() };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let sums = all.into_iter().map(|one| one.join().expect("a world panicked"));
        sums.fold(Sums::default(), Sums::join)
    })
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The first seed that catches each planted bug.
fn planted() -> Vec<(Mutant, Option<u64>)> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(mutant) = Mutant::ALL.get(at).copied() else { return found };
            let caught = (1..=MUTANT_SEEDS).find(|seed| {
                let world = Run { seed: *seed, mutant: Some(mutant), trace: false };
                !run(&world).violations.is_empty()
            });
            eprintln!("{mutant}: {}", caught.map_or("not caught".into(), |s| format!("seed {s}")));
            found.push((mutant, caught));
        }
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..processors()).map(|_| scope.spawn(work)).collect();
        let found = all.into_iter().map(|one| one.join().expect("a world panicked"));
        found.flatten().collect()
    })
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!(
            "usage: simulate [--seeds N] [--seed S] [--mutant NAME | --mutants] [--trace] [--json]"
        );
        return ExitCode::from(64);
    };
    let begun = Instant::now();
    let mut sums = worlds(&options);
    sums.broken.sort_unstable();
    let mutants = if options.mutants { planted() } else { Vec::new() };
    let seconds = begun.elapsed().as_secs_f64();
    let ok = sums.broken.is_empty() && mutants.iter().all(|(_, caught)| caught.is_some());
    eprintln!(
        "{} seeds in {seconds:.1} s: {} switchovers, {} elections, {} writes acknowledged, {} \
         seeds broken",
        sums.seeds,
        sums.switchovers,
        sums.elections,
        sums.acknowledged,
        sums.broken.len()
    );
    if options.json {
        let hours = sums.seeds as f64 * SECONDS / 3600.0;
        let first = sums.broken.first().map_or("null".into(), u64::to_string);
        let each = |(mutant, caught): &(Mutant, Option<u64>)| {
            format!("{{\"name\":\"{mutant}\",\"caught\":{}}}", caught.is_some())
        };
        let mutants: Vec<String> = mutants.iter().map(each).collect();
        println!(
            "{{\"schema\":1,\"command\":\"simulate\",\"seeds\":{},\"operations\":{},\
             \"faults\":{},\"simulated_hours\":{hours:.1},\"violations\":{},\
             \"firstBroken\":{first},\"switchovers\":{},\"elections\":{},\"acknowledged\":{},\
             \"mutants\":[{}],\"seconds\":{seconds:.1},\"ok\":{ok}}}",
            sums.seeds,
            sums.operations,
            sums.faults,
            sums.broken.len(),
            sums.switchovers,
            sums.elections,
            sums.acknowledged,
            mutants.join(",")
        );
    }
    ExitCode::from(u8::from(!ok))
}
