//! `simulate [--seeds N] [--seed S] [--mutant NAME] [--trace] [--json]`: runs worlds and says what
//! the checkers found. Exit 0 clean, 1 a promise was broken, 64 usage.

use std::process::ExitCode;
use std::time::Instant;

use simulator::{Mutant, Run, run};

struct Options {
    seeds: u64,
    seed: u64,
    mutant: Option<Mutant>,
    trace: bool,
    json: bool,
}

fn options() -> Option<Options> {
    let mut found = Options { seeds: 200, seed: 1, mutant: None, trace: false, json: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => found.seeds = arguments.next()?.parse().ok()?,
            "--seed" => found.seed = arguments.next()?.parse().ok()?,
            "--trace" => found.trace = true,
            "--json" => found.json = true,
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

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: simulate [--seeds N] [--seed S] [--mutant NAME] [--trace] [--json]");
        return ExitCode::from(64);
    };
    let begun = Instant::now();
    let (mut broken, mut switchovers, mut elections, mut acknowledged) = (0, 0, 0, 0);
    let mut first = None;
    for seed in options.seed..options.seed + options.seeds {
        let report = run(&Run { seed, mutant: options.mutant, trace: options.trace });
        for line in &report.trace {
            println!("{line}");
        }
        for violation in &report.violations {
            eprintln!("seed {seed}: {violation}");
        }
        broken += u64::from(!report.violations.is_empty());
        if first.is_none() && !report.violations.is_empty() {
            first = Some(seed);
        }
        switchovers += report.switchovers;
        elections += report.elections;
        acknowledged += report.acknowledged;
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!(
        "{} seeds in {seconds:.1} s: {switchovers} switchovers, {elections} elections, \
         {acknowledged} writes acknowledged, {broken} seeds broken",
        options.seeds
    );
    if options.json {
        let first = first.map_or("null".into(), |seed: u64| seed.to_string());
        println!(
            "{{\"schema\":1,\"command\":\"simulate\",\"seeds\":{},\"broken\":{broken},\
             \"firstBroken\":{first},\"switchovers\":{switchovers},\"elections\":{elections},\
             \"acknowledged\":{acknowledged},\"seconds\":{seconds:.1},\"ok\":{}}}",
            options.seeds,
            broken == 0
        );
    }
    ExitCode::from(u8::from(broken > 0))
}
