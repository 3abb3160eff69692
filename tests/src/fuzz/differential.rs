//! Random sequences of the commands that both servers have, from the peer's own table: equal
//! replies, equal data in the end, and a server that goes on.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::Plan;
use super::chance::Chance;
use crate::conformance::generated::{READS, Subject, has_key, is, subjects, text_of};
use crate::conformance::introspect::{field, text};
use crate::conformance::pair::{Check, Pair, difference};
use crate::wire::Reply;

/// Commands of one sequence.
const LENGTH: usize = 200;
const KEYS: &[&str] = &["k1", "k2", "k3", "k4", "k5"];
const WORDS: &[&str] = &["a", "b", "c", "1", "2", "10", "3.5", "xyzzy", ""];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "1",
    "2",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-2",
    "100",
    "1.5",
    "0x10",
    "1e20",
    "1e400",
    "x",
    "9223372036854775807",
    "-9223372036854775808",
];
/// Far enough away that nothing expires while it runs.
const TIMES: &[&str] = &["100000", "200000", "-1", "0", "x"];
const MOMENTS: &[&str] = &["99999999999", "99999999998", "1", "-1"];

/// What the sequences came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// Commands that were compared.
    pub runs: u64,
    pub differences: Vec<String>,
    /// A text for each time that the server ended: how to run it again, and what it said.
    pub panics: Vec<String>,
}

/// How many findings of one kind are kept.
const FOUND_MAX: usize = 10;

pub fn run(server: &Path, valkey: &Path, plan: &Plan) -> Result<Compared> {
    let mut pair = Pair::start(server, valkey)?;
    pair.reset("3")?;
    let mut subjects: Vec<Subject> = subjects(&mut pair).into_iter().filter(takes_part).collect();
    keep_those_of_both(&mut pair, &mut subjects);
    let mut compared = Compared::default();
    let begun = Instant::now();
    let (mut run, mut made) = (plan.run.unwrap_or(0), 0);
    let few = |found: &Vec<String>| found.len() < FOUND_MAX;
    while plan.each.goes_on(begun, made) && few(&compared.differences) && few(&compared.panics) {
        let mut chance = Chance::of(plan.seed, run);
        let place = format!("--target differential --seed {} --run {run}", plan.seed);
        let dialect = if run.is_multiple_of(2) { "2" } else { "3" };
        let outcome = pair
            .reset(dialect)
            .and_then(|()| sequence(&mut pair, &subjects, &mut chance, &place, &mut compared));
        if let Err(error) = outcome {
            pair = broken_off(pair, error, &place, &mut compared)?;
        }
        run += 1;
        made += 1;
        if plan.run.is_some() {
            break;
        }
    }
    Ok(compared)
}

/// A server did not answer: if it is ours and it has ended, that is a finding, and two fresh ones go
/// on. Whatever else it may be is the error.
pub fn broken_off(
    mut pair: Pair,
    error: anyhow::Error,
    place: &str,
    compared: &mut Compared,
) -> Result<Pair> {
    let Some(said) = pair.sides[0].last_words() else { return Err(error) };
    compared.runs += 1;
    compared.panics.push(format!("{place}: {said}"));
    pair.again()
}

/// A command that one of them lacks is a matter of the conformance.
fn keep_those_of_both(pair: &mut Pair, subjects: &mut Vec<Subject>) {
    let names: Vec<String> = subjects.iter().map(|subject| subject.name.join("|")).collect();
    let mut ask = vec!["COMMAND", "INFO"];
    ask.extend(names.iter().map(String::as_str));
    let [ours, _] = pair.both(&ask);
    let mut known = ours.items.iter().map(|row| !row.items.is_empty());
    subjects.retain(|_| known.next().unwrap_or(false));
}

/// Commands on keys whose effect does not depend on chance or on the moment.
fn takes_part(subject: &Subject) -> bool {
    let name = subject.name[0].as_str();
    let waits = name.starts_with("BL") || name.starts_with("BR") || name.starts_with("BZ");
    let by_chance = subject.writes && subject.check == Check::Kind && name != "XADD";
    !waits && !by_chance && subject.arguments.iter().any(has_key)
}

fn sequence(
    pair: &mut Pair,
    subjects: &[Subject],
    chance: &mut Chance,
    place: &str,
    compared: &mut Compared,
) -> Result<()> {
    let mut batch = Vec::new();
    let mut checks = Vec::new();
    for _ in 0..LENGTH {
        let subject = &subjects[chance.below(subjects.len())];
        let mut line = words(subject, chance);
        spare_the_peer(&mut line);
        checks.push(check(subject, &line));
        batch.push(line);
    }
    for key in KEYS {
        for read in READS {
            let line = match read.split_once('*') {
                Some((command, rest)) => format!("{command}{key}{rest}"),
                None => format!("{read} {key}"),
            };
            batch.push(line.split(' ').map(str::to_owned).collect());
            checks.push(Check::AnyOrder);
        }
    }
    let replies = pair.batch(&batch)?;
    for ((line, check), replies) in batch.iter().zip(checks).zip(&replies) {
        compared.runs += 1;
        if !check.holds(replies) {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            compared.differences.push(difference(place, &line, replies));
            // What follows in this sequence follows from it.
            break;
        }
    }
    Ok(())
}

/// A moment that was given as a time from now differs by the time between the two servers, and so does the one
/// at which a consumer was seen.
fn check(subject: &Subject, line: &[String]) -> Check {
    let name = subject.name[0].as_str();
    let tells_times = name == "XINFO" && line.iter().any(|word| word == "FULL");
    if name.ends_with("EXPIRETIME") || name == "XADD" || tells_times {
        Check::Kind
    } else {
        subject.check
    }
}

/// Where the peer is at fault, and ours is not. Valkey cuts an LSET's index to 32 bits, and so
/// writes the first or the last element for an index of 64 bits that no list has. A sorted set's
/// range with a negative offset is empty, but Valkey counts from the other end where the set has
/// its large form: one and the same set has two answers.
///
/// SORT ALPHA leaves elements of equal weight as they come, and those of a set come by chance, so
/// what STORE keeps of them cannot be compared; by number they are in the order of their texts.
fn spare_the_peer(line: &mut Vec<String>) {
    let beyond = |index: &str| index.parse::<i64>().is_ok_and(|at| i32::try_from(at).is_err());
    if line[0] == "LSET" && line.len() == 4 && beyond(&line[2]) {
        "-1".clone_into(&mut line[2]);
    }
    if line[0] == "SORT" && ["BY", "STORE"].iter().all(|word| line.iter().any(|at| at == word)) {
        line.retain(|word| word != "ALPHA");
    }
    if line[0].starts_with("ZR")
        && let Some(limit) = line.iter().position(|word| word == "LIMIT")
        && let Some(offset) = line.get_mut(limit + 1)
        && offset.parse::<i64>().is_ok_and(|offset| offset < 0)
    {
        "0".clone_into(offset);
    }
}

fn words(subject: &Subject, chance: &mut Chance) -> Vec<String> {
    let mut words = subject.name.clone();
    // `GT` and `LT` compare moments that lie on both sides of a millisecond.
    let plain = subject.name[0].contains("EXPIRE");
    for argument in &subject.arguments {
        if text_of(argument, "token") == "BLOCK" {
            continue;
        }
        let optional = is(argument, "optional");
        if !optional || (!plain && chance.one_in(4)) {
            let repeats = if is(argument, "multiple") { 1 + chance.below(3) } else { 1 };
            for repeat in 0..repeats {
                fill(argument, repeat == 0, chance, &mut words);
            }
        }
    }
    if chance.one_in(50) {
        words.pop();
    }
    words
}

fn fill(argument: &Reply, first: bool, chance: &mut Chance, words: &mut Vec<String>) {
    let kind = text_of(argument, "type");
    let name = text_of(argument, "name");
    if let Some(token) = field(argument, "token")
        && (first || is(argument, "multiple_token"))
    {
        // An id that the server makes is made of the time.
        let made = text(token) == "*";
        words.push(if made {
            format!("{}-{}", chance.below(9), chance.below(9))
        } else {
            text(token)
        });
    }
    let inner = field(argument, "arguments").map(|list| list.items.as_slice()).unwrap_or_default();
    match kind.as_str() {
        "pure-token" => {}
        "oneof" if inner.is_empty() => {}
        "oneof" => fill(&inner[chance.below(inner.len())], true, chance, words),
        "block" => {
            for part in inner {
                if !is(part, "optional") || chance.one_in(4) {
                    fill(part, true, chance, words);
                }
            }
        }
        "key" => words.push(chance.pick(KEYS).to_owned()),
        "unix-time" => words.push(chance.pick(MOMENTS).to_owned()),
        "integer" if name.contains("seconds") || name == "ttl" => {
            words.push(chance.pick(TIMES).to_owned());
        }
        "integer" | "double" => words.push(chance.pick(NUMBERS).to_owned()),
        "pattern" => words.push("*".to_owned()),
        _ => {
            let ids = ["id", "start", "end", "lastid", "last-id"].contains(&name.as_str());
            let word = chance.pick(WORDS).to_owned();
            words.push(if ids { format!("{}-{}", chance.below(9), chance.below(9)) } else { word });
        }
    }
}
