//! Ranges of sorted sets: reading, counting, storing and removing them.

use super::bounds::{Bounds, By};
use crate::command::Handled;
use crate::command::support::{db, int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{Args, CommandError, Reply, errors};
use crate::store::ZSet;
use std::ops::Range;

/// ZRANGE and its relatives; `by` and `reverse` are given by the older ones' names.
pub fn range(cx: &mut Context<'_>, by: Option<By>, reverse: Option<bool>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let query = Query::parse(*args, 2, by, reverse, false)?;
    let zset: Option<&ZSet> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    let Some(zset) = zset else {
        reply.array(0);
        return Ok(());
    };
    let ranks = query.ranks(zset);
    write(&mut reply, zset, ranks, query.reverse, query.with_scores);
    Ok(())
}

/// Writes the elements of these ranks: flat, but as pairs with scores in RESP3.
pub fn write(
    reply: &mut Reply<'_>,
    zset: &ZSet,
    ranks: Range<usize>,
    reverse: bool,
    with_scores: bool,
) {
    let nested = with_scores && reply.is_resp3();
    let flat = if with_scores && !nested { 2 } else { 1 };
    reply.array(ranks.len() * flat);
    for (member, score) in zset.range(ranks.start, ranks.end, reverse) {
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        if with_scores {
            reply.double(score);
        }
    }
}

/// What a range command asks for.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    with_scores: bool,
    /// Offset and count; a negative count is no bound.
    limit: Option<(i64, i64)>,
}

impl<'a> Query<'a> {
    /// Reads `min max` at `args[at]` and the options behind them.
    fn parse(
        args: Args<'a>,
        at: usize,
        by: Option<By>,
        reverse: Option<bool>,
        store: bool,
    ) -> Result<Self, CommandError> {
        let (mut chosen, mut backwards) = (by, reverse.unwrap_or(false));
        let (mut with_scores, mut limit) = (false, None);
        let mut option = at + 2;
        while option < args.len() {
            if !store && args.is(option, "withscores") {
                with_scores = true;
            } else if args.is(option, "limit") && option + 2 < args.len() {
                limit = Some((int(args.at(option + 1))?, int(args.at(option + 2))?));
                option += 2;
            } else if reverse.is_none() && args.is(option, "rev") {
                backwards = true;
            } else if by.is_none() && chosen.is_none() && args.is(option, "bylex") {
                chosen = Some(By::Lex);
            } else if by.is_none() && chosen.is_none() && args.is(option, "byscore") {
                chosen = Some(By::Score);
            } else {
                return Err(errors::SYNTAX.into());
            }
            option += 1;
        }
        let by = chosen.unwrap_or(By::Rank);
        if limit.is_some_and(|(_, count)| count != -1) && by == By::Rank {
            return Err("ERR syntax error, LIMIT is only supported in combination with either \
                 BYSCORE or BYLEX"
                .into());
        }
        if with_scores && by == By::Lex {
            return Err(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX".into()
            );
        }
        // The one LIMIT that ranks may have leaves nothing out, whatever its offset.
        let limit = limit.filter(|_| by != By::Rank);
        let bounds = Bounds::parse(by, args.at(at), args.at(at + 1), backwards)?;
        Ok(Self { bounds, reverse: backwards, with_scores, limit })
    }

    /// The ranks, ascending, that the query selects.
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let all = self.bounds.ranks(zset, self.reverse);
        let Some((offset, count)) = self.limit else { return all };
        let len = all.len();
        let Ok(skip) = usize::try_from(offset) else { return 0..0 };
        let skip = skip.min(len);
        let take = usize::try_from(count).map_or(len - skip, |count| count.min(len - skip));
        if self.reverse {
            all.end - skip - take..all.end - skip
        } else {
            all.start + skip..all.start + skip + take
        }
    }
}

/// ZCOUNT and ZLEXCOUNT.
pub fn count(cx: &mut Context<'_>, by: By) -> Handled {
    let args = cx.args;
    let bounds = Bounds::parse(by, args.at(2), args.at(3), false)?;
    let count = db(cx).typed::<ZSet>(args.at(1))?.map_or(0, |zset| bounds.ranks(zset, false).len());
    cx.reply().int(count as i64);
    Ok(())
}

/// ZRANGESTORE.
pub fn store(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let target = args.at(1);
    let query = Query::parse(args, 3, None, None, true)?;
    let limits = db(cx).limits();
    let mut result = ZSet::new();
    if let Some(zset) = db(cx).typed::<ZSet>(args.at(2))? {
        let ranks = query.ranks(zset);
        for (member, score) in zset.range(ranks.start, ranks.end, false) {
            result.set(member, score, &limits);
        }
    }
    keep(cx, target, result);
    Ok(())
}

/// Puts a result at a key, or removes the key for an empty one, and replies with its size.
pub fn keep(cx: &mut Context<'_>, target: &[u8], result: ZSet) {
    let len = result.len();
    if len > 0 {
        db(cx).insert(target, result.into());
        wrote(cx, target, 1);
        cx.signal(target);
        cx.notify(EventClasses::ZSET, cx.row.name, target);
    } else if db(cx).remove(target) {
        wrote(cx, target, 1);
        cx.notify(EventClasses::GENERIC, "del", target);
    }
    cx.reply().int(len as i64);
}

/// ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.
pub fn remove(cx: &mut Context<'_>, by: By) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let bounds = Bounds::parse(by, args.at(2), args.at(3), false)?;
    let mut removed = 0;
    let found = db(cx).typed::<ZSet>(key)?.map(|zset| bounds.ranks(zset, false));
    if let Some(ranks) = found.filter(|ranks| !ranks.is_empty())
        && let Some(zset) = db(cx).typed_mut::<ZSet>(key)?
    {
        removed = zset.remove_range(ranks.start, ranks.end);
        if zset.is_empty() {
            db(cx).remove(key);
        }
        wrote(cx, key, removed);
        let event = match by {
            By::Rank => "zremrangebyrank",
            By::Score => "zremrangebyscore",
            By::Lex => "zremrangebylex",
        };
        cx.notify(EventClasses::ZSET, event, key);
        cx.notify_emptied(key);
    }
    cx.reply().int(removed as i64);
    Ok(())
}
