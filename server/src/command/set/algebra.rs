//! Intersection, union and difference of sets.

use crate::command::Handled;
use crate::command::support::{at_least, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{Args, CommandError, errors};
use crate::store::{Db, Limits, Pack, Set, WrongType};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Inter,
    Union,
    Diff,
}

/// The sets at these keys, all checked for their type; expired ones are removed first, so that the
/// stream says so before a command that depends on it.
fn sets<'d>(db: &'d mut Db, keys: Args<'_>) -> Result<Vec<Option<&'d Set>>, WrongType> {
    for key in keys.iter() {
        db.contains(key);
    }
    let db: &'d Db = db;
    keys.iter().map(|key| db.peek_typed::<Set>(key)).collect()
}

/// Calls `each` with the members of the intersection while it returns true.
fn inter(sets: &[Option<&Set>], mut each: impl FnMut(&[u8]) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    smallest.all(|member| !others.iter().all(|other| other.contains(member)) || each(member));
}

/// The result as a set of its own, or as a flat sequence where its members come only once anyway.
fn combine(
    sets: &[Option<&Set>],
    operation: Operation,
    limits: &Limits,
    mut add: impl FnMut(&[u8]),
) {
    match operation {
        Operation::Inter => inter(sets, |member| {
            add(member);
            true
        }),
        Operation::Union => {
            let mut all = Set::new();
            for set in sets.iter().flatten() {
                set.each(|member| {
                    if all.add(member, limits) {
                        add(member);
                    }
                });
            }
        }
        Operation::Diff => {
            let Some((Some(first), others)) = sets.split_first() else { return };
            first.each(|member| {
                if !others.iter().flatten().any(|other| other.contains(member)) {
                    add(member);
                }
            });
        }
    }
}

/// SINTER, SUNION and SDIFF.
pub fn reply(cx: &mut Context<'_>, operation: Operation) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let db = engine.keyspace.db_mut(client.db);
    let limits = db.limits();
    let sets = sets(db, args.tail(1))?;
    let mut result = Pack::new();
    combine(&sets, operation, &limits, |member| result.push_back(member));
    let mut reply = client.reply();
    reply.set(result.len());
    for member in result.iter() {
        reply.bulk(member);
    }
    Ok(())
}

/// SINTERSTORE, SUNIONSTORE and SDIFFSTORE.
pub fn store(cx: &mut Context<'_>, operation: Operation) -> Handled {
    let args = cx.args;
    let target = args.at(1);
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let limits = db.limits();
    let sources = sets(db, args.tail(2))?;
    let mut result = Set::new();
    combine(&sources, operation, &limits, |member| _ = result.add(member, &limits));
    let len = result.len();
    if len > 0 {
        db.insert(target, result.into());
        wrote(cx, target, 1);
        cx.notify(EventClasses::SET, cx.row.name, target);
    } else if db.remove(target) {
        wrote(cx, target, 1);
        cx.notify(EventClasses::GENERIC, "del", target);
    }
    cx.reply().int(len as i64);
    Ok(())
}

pub fn sintercard(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let count = at_least(args.at(1), 1, "ERR numkeys should be greater than 0")?;
    if count > args.len() as i64 - 2 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let end = 2 + count as usize;
    let limit = limit(args, end)?;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let keys = args.tail(2);
    for key in keys.iter().take(count as usize) {
        db.contains(key);
    }
    let sets: Result<Vec<_>, _> =
        keys.iter().take(count as usize).map(|key| db.peek_typed::<Set>(key)).collect();
    let mut found = 0;
    inter(&sets?, |_| {
        found += 1;
        found < limit
    });
    cx.reply().int(found as i64);
    Ok(())
}

/// LIMIT of SINTERCARD and ZINTERCARD: the largest answer that is of interest.
pub fn limit(args: Args<'_>, from: usize) -> Result<usize, CommandError> {
    let mut limit = 0;
    let mut at = from;
    while at < args.len() {
        let value = args.get(at + 1).filter(|_| args.is(at, "limit")).ok_or(errors::SYNTAX)?;
        limit = at_least(value, 0, "ERR LIMIT can't be negative")? as usize;
        at += 2;
    }
    Ok(if limit == 0 { usize::MAX } else { limit })
}
