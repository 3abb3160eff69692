//! Scores, ranks, random members and ZSCAN.

use crate::command::Handled;
use crate::command::support::{ScanOf, ScanOptions, choose, db, draw, signed_count};
use crate::engine::Context;
use crate::resp::num::format_f64;
use crate::resp::{Reply, errors};
use crate::store::ZSet;

pub fn zcard(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let len = db(cx).typed::<ZSet>(key)?.map_or(0, ZSet::len);
    cx.reply().int(len as i64);
    Ok(())
}

pub fn zscore(cx: &mut Context<'_>) -> Handled {
    let (key, member) = (cx.args.at(1), cx.args.at(2));
    match db(cx).typed::<ZSet>(key)?.and_then(|zset| zset.score(member)) {
        Some(score) => cx.reply().double(score),
        None => cx.reply().null(),
    }
    Ok(())
}

pub fn zmscore(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let zset: Option<&ZSet> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    reply.array(args.len() - 2);
    for member in args.tail(2).iter() {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
    }
    Ok(())
}

/// ZRANK and ZREVRANK.
pub fn zrank(cx: &mut Context<'_>, reverse: bool) -> Handled {
    let args = cx.args;
    let (key, member) = (args.at(1), args.at(2));
    let with_score = match args.len() {
        3 => false,
        4 if args.is(3, "withscore") => true,
        4 => return Err(errors::SYNTAX.into()),
        _ => return Err(errors::wrong_arity(cx.row.name)),
    };
    let zset = db(cx).typed::<ZSet>(key)?;
    let found = zset.and_then(|zset| {
        let rank = zset.rank(member)?;
        let score = if with_score { zset.score(member)? } else { 0.0 };
        Some((if reverse { zset.len() - 1 - rank } else { rank }, score))
    });
    let mut reply = cx.reply();
    match found {
        Some((rank, score)) if with_score => {
            reply.array(2);
            reply.int(rank as i64);
            reply.double(score);
        }
        Some((rank, _)) => reply.int(rank as i64),
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}

pub fn zrandmember(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let random = &mut engine.rooms.random;
    let count = args.get(2).map(signed_count).transpose()?;
    let with_scores = match args.len() {
        2 | 3 => false,
        4 if args.is(3, "withscores") => true,
        _ => return Err(errors::SYNTAX.into()),
    };
    if with_scores && count.is_some_and(|count| count.unsigned_abs() > i64::MAX as u64 / 2) {
        return Err(errors::OUT_OF_RANGE.into());
    }
    let zset: Option<&ZSet> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    let (Some(zset), Some(count)) = (zset, count) else {
        match zset.and_then(|zset| zset.at(random.below(zset.len()))) {
            Some((member, _)) => reply.bulk(member),
            None if count.is_some() => reply.array(0),
            None => reply.null(),
        }
        return Ok(());
    };
    let len = zset.len();
    let nested = with_scores && reply.is_resp3();
    let write = |reply: &mut Reply<'_>, rank: usize| {
        let Some((member, score)) = zset.at(rank) else { return };
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        if with_scores {
            reply.double(score);
        }
    };
    let items = |members: usize| if with_scores && !nested { members * 2 } else { members };
    if count < 0 {
        let wanted = count.unsigned_abs() as usize;
        reply.array(items(wanted));
        for _ in 0..wanted {
            if reply.is_full() {
                break;
            }
            write(&mut reply, random.below(len));
        }
        return Ok(());
    }
    let ranks: Vec<usize> = if (count as usize).saturating_mul(3) < len {
        let chosen = draw(count as usize, || Some((random.below(len), ())));
        chosen.into_iter().map(|(rank, ())| rank).collect()
    } else {
        choose(0..len, len, (count as usize).min(len), random)
    };
    reply.array(items(ranks.len()));
    for rank in ranks {
        write(&mut reply, rank);
    }
    Ok(())
}

pub fn zscan(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let cursor = ScanOptions::cursor(args.at(2))?;
    let zset: Option<&ZSet> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut found: Vec<(Vec<u8>, f64)> = Vec::new();
    let (mut next, mut members_only) = (0, false);
    if let Some(zset) = zset {
        let options = ScanOptions::parse(*args, cursor, 3, ScanOf::Scored)?;
        members_only = options.keys_only;
        next = zset.scan(cursor, options.count, |member, score| {
            if options.wants(member) {
                found.push((member.to_vec(), score));
            }
        });
    }
    let mut reply = client.reply();
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(if members_only { found.len() } else { found.len() * 2 });
    for (member, score) in &found {
        reply.bulk(member);
        if !members_only {
            reply.bulk(format_f64(*score).as_bytes());
        }
    }
    Ok(())
}
