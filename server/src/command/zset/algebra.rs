//! Union, intersection and difference of sorted sets, of which plain sets may take part.

use super::range::{keep, write};
use crate::command::Handled;
use crate::command::set::limit;
use crate::engine::Context;
use crate::resp::num::{parse_f64, parse_i64};
use crate::resp::{Args, CommandError, errors};
use crate::store::{Db, Limits, Set, ValueRef, ZSet};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Union,
    Inter,
    Diff,
}

/// How the scores of one member in several sets become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities of both signs together count as nothing.
            Self::Sum => number(a + b),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One input. A set's members have score 1.
#[derive(Clone, Copy)]
enum Source<'a> {
    ZSet(&'a ZSet),
    Set(&'a Set),
    Missing,
}

impl Source<'_> {
    fn len(self) -> usize {
        match self {
            Self::ZSet(zset) => zset.len(),
            Self::Set(set) => set.len(),
            Self::Missing => 0,
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::ZSet(zset) => zset.score(member),
            Self::Set(set) => set.contains(member).then_some(1.0),
            Self::Missing => None,
        }
    }

    fn each(self, mut f: impl FnMut(&[u8], f64)) {
        match self {
            Self::ZSet(zset) => zset.iter().for_each(|(member, score)| f(member, score)),
            Self::Set(set) => set.each(|member| f(member, 1.0)),
            Self::Missing => {}
        }
    }
}

/// The inputs of a command with their weights, and what is to be done with their scores.
struct Inputs<'a> {
    sources: Vec<(Source<'a>, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// How many keys follow `args[at]`.
fn number_of_keys(args: Args<'_>, at: usize, name: &str) -> Result<usize, CommandError> {
    let count = parse_i64(args.at(at)).ok_or(errors::NOT_INTEGER)?;
    if count < 1 {
        return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
    }
    if count > (args.len() - at - 1) as i64 {
        return Err(errors::SYNTAX.into());
    }
    Ok(count as usize)
}

/// The collections at the keys `args[from..to]`; expired ones are removed first, so that the stream
/// says so before a command that depends on it.
fn sources<'d>(
    db: &'d mut Db,
    args: Args<'_>,
    from: usize,
    to: usize,
) -> Result<Vec<(Source<'d>, f64)>, CommandError> {
    for at in from..to {
        db.contains(args.at(at));
    }
    let db: &'d Db = db;
    (from..to)
        .map(|at| match db.peek(args.at(at)) {
            None => Ok((Source::Missing, 1.0)),
            Some(ValueRef::ZSet(zset)) => Ok((Source::ZSet(zset), 1.0)),
            Some(ValueRef::Set(set)) => Ok((Source::Set(set), 1.0)),
            Some(_) => Err(errors::WRONG_TYPE.into()),
        })
        .collect()
}

/// Reads `numkeys key… [WEIGHTS …] [AGGREGATE …] [WITHSCORES]` from `args[at]` on.
fn inputs<'d>(
    db: &'d mut Db,
    args: Args<'_>,
    at: usize,
    name: &str,
    operation: Operation,
) -> Result<Inputs<'d>, CommandError> {
    let store = name.ends_with("store");
    let count = number_of_keys(args, at, name)?;
    let mut sources = sources(db, args, at + 1, at + 1 + count)?;
    let (mut aggregate, mut with_scores) = (Aggregate::Sum, false);
    let mut option = at + 1 + count;
    while option < args.len() {
        let behind = args.len() - option - 1;
        if operation != Operation::Diff && behind >= count && args.is(option, "weights") {
            for (index, (_, weight)) in sources.iter_mut().enumerate() {
                *weight = parse_f64(args.at(option + 1 + index))
                    .ok_or("ERR weight value is not a float")?;
            }
            option += count;
        } else if operation != Operation::Diff && behind >= 1 && args.is(option, "aggregate") {
            option += 1;
            aggregate = match args.at(option) {
                word if word.eq_ignore_ascii_case(b"sum") => Aggregate::Sum,
                word if word.eq_ignore_ascii_case(b"min") => Aggregate::Min,
                word if word.eq_ignore_ascii_case(b"max") => Aggregate::Max,
                _ => return Err(errors::SYNTAX.into()),
            };
        } else if !store && args.is(option, "withscores") {
            with_scores = true;
        } else {
            return Err(errors::SYNTAX.into());
        }
        option += 1;
    }
    Ok(Inputs { sources, aggregate, with_scores })
}

fn combine(inputs: &Inputs<'_>, operation: Operation, limits: &Limits) -> ZSet {
    let mut result = ZSet::new();
    match operation {
        Operation::Union => {
            for (source, weight) in &inputs.sources {
                source.each(|member, score| {
                    let mut score = number(score * weight);
                    if let Some(before) = result.score(member) {
                        score = inputs.aggregate.of(before, score);
                    }
                    result.set(member, score, limits);
                });
            }
        }
        Operation::Inter => {
            let mut sources = inputs.sources.clone();
            sources.sort_by_key(|(source, _)| source.len());
            let Some(((smallest, weight), others)) = sources.split_first() else { return result };
            smallest.each(|member, score| {
                let mut all = Some(number(score * weight));
                for (other, weight) in others {
                    all = all.and_then(|before| {
                        // Infinity times nothing counts as nothing only in the sum, as in Valkey.
                        let score = other.score(member)? * weight;
                        Some(inputs.aggregate.of(before, score))
                    });
                }
                if let Some(score) = all {
                    result.set(member, score, limits);
                }
            });
        }
        Operation::Diff => {
            let Some(((first, _), others)) = inputs.sources.split_first() else { return result };
            first.each(|member, score| {
                if others.iter().all(|(other, _)| other.score(member).is_none()) {
                    result.set(member, score, limits);
                }
            });
        }
    }
    result
}

/// ZUNION, ZINTER and ZDIFF.
pub fn reply(cx: &mut Context<'_>, operation: Operation) -> Handled {
    let Context { engine, client, args, row, .. } = cx;
    let db = engine.keyspace.db_mut(client.db);
    let limits = db.limits();
    let inputs = inputs(db, *args, 1, row.name, operation)?;
    let result = combine(&inputs, operation, &limits);
    write(&mut client.reply(), &result, 0..result.len(), false, inputs.with_scores);
    Ok(())
}

/// ZUNIONSTORE, ZINTERSTORE and ZDIFFSTORE.
pub fn store(cx: &mut Context<'_>, operation: Operation) -> Handled {
    let args = cx.args;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let limits = db.limits();
    let inputs = inputs(db, args, 2, cx.row.name, operation)?;
    let result = combine(&inputs, operation, &limits);
    keep(cx, args.at(1), result);
    Ok(())
}

pub fn zintercard(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let end = 2 + number_of_keys(args, 1, cx.row.name)?;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let mut sources = sources(db, args, 2, end)?;
    let limit = limit(args, end)?;
    sources.sort_by_key(|(source, _)| source.len());
    let mut found = 0;
    if let Some(((smallest, _), others)) = sources.split_first() {
        smallest.each(|member, _| {
            if found < limit && others.iter().all(|(other, _)| other.score(member).is_some()) {
                found += 1;
            }
        });
    }
    cx.reply().int(found as i64);
    Ok(())
}
