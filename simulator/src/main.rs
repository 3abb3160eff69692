//! `simulate [--seeds N] [--seed S] [--mutant NAME | --mutants] [--model] [--trace] [--json]`: runs
//! worlds and says what the checkers found; `--mutants` also plants each bug until a seed catches
//! it; `--model` goes through every course of the larger small clusters.
//! Exit 0 clean, 1 a promise was broken or a bug was not caught, 64 usage.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use simulator::model::{Bounds, Found, LARGE, SMALL, explore};
use simulator::{Mark, Mutant, Report, Run, SECONDS, Theme, run};

/// How many worlds a planted bug has to be caught in.
const MUTANT_SEEDS: u64 = 2_000;
/// In how many worlds it is counted how often it is caught.
const RATED: u64 = 20;
/// How many worlds are run once more, to see that a seed is a course.
const REPLAYED: u64 = 20;
/// How many states of one small cluster are gone through, at some ten thousand in a second.
const MODEL_STATES: usize = 2_000_000;

#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
struct Options {
    seeds: u64,
    seed: u64,
    mutant: Option<Mutant>,
    mutants: bool,
    model: bool,
    trace: bool,
    json: bool,
}

fn options() -> Option<Options> {
    let mut found = Options {
        seeds: 200,
        seed: 1,
        mutant: None,
        mutants: false,
        model: false,
        trace: false,
        json: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => found.seeds = arguments.next()?.parse().ok()?,
            "--seed" => found.seed = arguments.next()?.parse().ok()?,
            "--trace" => found.trace = true,
            "--json" => found.json = true,
            "--mutants" => found.mutants = true,
            "--model" => found.model = true,
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
    /// In how many worlds each narrow place was come through, and the first of them.
    marks: BTreeMap<Mark, (u64, u64)>,
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
        for mark in &report.marks {
            let met = self.marks.entry(*mark).or_insert((0, report.seed));
            *met = (met.0 + 1, met.1.min(report.seed));
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
        for (mark, (count, first)) in other.marks {
            let met = self.marks.entry(mark).or_insert((0, first));
            *met = (met.0 + count, met.1.min(first));
        }
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
            let theme = options.mutant.map_or(Theme::of(seed), Mutant::theme);
            let world = Run { seed, mutant: options.mutant, theme, trace: options.trace };
            sums.add(&run(&world));
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

/// What catches a planted bug: the first seed, and how many of the first worlds.
struct Planted {
    mutant: Mutant,
    first: Option<u64>,
    rate: u64,
}

fn planted() -> Vec<Planted> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(mutant) = Mutant::ALL.get(at).copied() else { return found };
            let caught = |seed: &u64| {
                let theme = mutant.theme();
                let world = Run { seed: *seed, mutant: Some(mutant), theme, trace: false };
                !run(&world).violations.is_empty()
            };
            let among: Vec<u64> = (1..=RATED).filter(caught).collect();
            let rest = || (RATED + 1..=MUTANT_SEEDS).find(caught);
            let first = among.first().copied().or_else(rest);
            let seed = first.map_or("not caught".into(), |seed| format!("seed {seed}"));
            eprintln!("{mutant}: {seed}, {} of {RATED} worlds", among.len());
            found.push(Planted { mutant, first, rate: among.len() as u64 });
        }
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..processors()).map(|_| scope.spawn(work)).collect();
        let found = all.into_iter().map(|one| one.join().expect("a world panicked"));
        found.flatten().collect()
    })
}

/// Whether the first worlds take the same course once more.
fn repeats(options: &Options) -> bool {
    let course = |seed: u64, trace: bool| {
        run(&Run { seed, mutant: options.mutant, theme: Theme::of(seed), trace })
    };
    (options.seed..options.seed + options.seeds.min(REPLAYED)).all(|seed| {
        let (first, second) = (course(seed, true), course(seed, true));
        let same = first == second && first.hash == course(seed, false).hash;
        if !same {
            eprintln!("seed {seed} takes another course when it is run again");
        }
        same
    })
}

/// A search through the courses of one small cluster.
struct Searched {
    name: &'static str,
    found: Found,
    seconds: f64,
}

/// Every course of the small clusters, or as many as there is time for, on as many threads as there
/// are processors.
fn searched() -> Vec<Searched> {
    let all: Vec<(&str, Bounds)> = SMALL.into_iter().chain(LARGE).collect();
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some((name, bounds)) = all.get(at).copied() else { return done };
            let begun = Instant::now();
            let found = explore(bounds, None, MODEL_STATES);
            let seconds = begun.elapsed().as_secs_f64();
            let Found { states, complete, broken } = &found;
            eprintln!("{name}: {states} states in {seconds:.0} s, complete: {complete}");
            if let Some((line, course)) = broken {
                eprintln!("{line}, after {course:?}");
            }
            done.push((at, Searched { name, found, seconds }));
        }
    };
    let mut done: Vec<(usize, Searched)> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..processors()).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().expect("a search panicked")).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, one)| one).collect()
}

/// Everything that was done.
struct Outcome {
    sums: Sums,
    repeats: bool,
    planted: Vec<Planted>,
    searched: Vec<Searched>,
    seconds: f64,
}

impl Outcome {
    fn is_clean(&self) -> bool {
        self.sums.broken.is_empty()
            && self.repeats
            && self.planted.iter().all(|one| one.first.is_some())
            && self.searched.iter().all(|one| one.found.broken.is_none())
    }

    fn json(&self) -> String {
        let Self { sums, seconds, .. } = self;
        let hours = sums.seeds as f64 * SECONDS / 3600.0;
        let first = sums.broken.first().map_or("null".into(), u64::to_string);
        let planted = |one: &Planted| {
            let Planted { mutant, first, rate } = one;
            let (caught, seed) =
                (first.is_some(), first.map_or("null".into(), |seed| seed.to_string()));
            format!(
                "{{\"name\":\"{mutant}\",\"caught\":{caught},\"seed\":{seed},\
                 \"of{RATED}\":{rate}}}"
            )
        };
        let marks = sums.marks.iter().map(|(mark, (worlds, seed))| {
            format!("{{\"name\":\"{mark}\",\"worlds\":{worlds},\"seed\":{seed}}}")
        });
        let marks: Vec<String> = marks.collect();
        let planted: Vec<String> = self.planted.iter().map(planted).collect();
        let searched = |one: &Searched| {
            let Searched { name, found, seconds, .. } = one;
            let (states, complete, clean) = (found.states, found.complete, found.broken.is_none());
            format!(
                "{{\"name\":\"{name}\",\"states\":{states},\"complete\":{complete},\
                 \"clean\":{clean},\"seconds\":{seconds:.0}}}"
            )
        };
        let searched: Vec<String> = self.searched.iter().map(searched).collect();
        format!(
            "{{\"schema\":1,\"command\":\"simulate\",\"seeds\":{},\"operations\":{},\
             \"faults\":{},\"simulated_hours\":{hours:.1},\"violations\":{},\
             \"firstBroken\":{first},\"repeats\":{},\"switchovers\":{},\"elections\":{},\
             \"acknowledged\":{},\"marks\":[{}],\"mutants\":[{}],\"model\":[{}],\"seconds\":{seconds:.1},\
             \"ok\":{}}}",
            sums.seeds,
            sums.operations,
            sums.faults,
            sums.broken.len(),
            self.repeats,
            sums.switchovers,
            sums.elections,
            sums.acknowledged,
            marks.join(","),
            planted.join(","),
            searched.join(","),
            self.is_clean(),
        )
    }
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!(
            "usage: simulate [--seeds N] [--seed S] [--mutant NAME | --mutants] [--model] \
             [--trace] [--json]"
        );
        return ExitCode::from(64);
    };
    let begun = Instant::now();
    let mut sums = worlds(&options);
    sums.broken.sort_unstable();
    let result = Outcome {
        repeats: options.trace || repeats(&options),
        planted: if options.mutants { planted() } else { Vec::new() },
        searched: if options.model { searched() } else { Vec::new() },
        seconds: begun.elapsed().as_secs_f64(),
        sums,
    };
    let Outcome { sums, seconds, .. } = &result;
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
        println!("{}", result.json());
    }
    ExitCode::from(u8::from(!result.is_clean()))
}
