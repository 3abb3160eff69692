//! LPOS.

use crate::command::Handled;
use crate::command::support::{at_least, db, signed_count};
use crate::engine::Context;
use crate::resp::{Args, CommandError, errors};
use crate::store::List;

/// The options of LPOS.
struct Search {
    rank: i64,
    /// 0 is all; absent is one, and not as an array.
    count: Option<usize>,
    /// 0 is all.
    max_len: usize,
}

fn lpos_options(args: Args<'_>) -> Result<Search, CommandError> {
    let mut search = Search { rank: 1, count: None, max_len: 0 };
    let mut at = 3;
    while at < args.len() {
        let value = args.get(at + 1).ok_or(errors::SYNTAX)?;
        if args.is(at, "rank") {
            search.rank = signed_count(value)?;
            if search.rank == 0 {
                return Err("ERR RANK can't be zero: use 1 to start from the first match, 2 from \
                     the second ... or use negative to start from the end of the list"
                    .into());
            }
        } else if args.is(at, "count") {
            search.count = Some(at_least(value, 0, "ERR COUNT can't be negative")? as usize);
        } else if args.is(at, "maxlen") {
            search.max_len = at_least(value, 0, "ERR MAXLEN can't be negative")? as usize;
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 2;
    }
    Ok(search)
}

pub fn lpos(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let search = lpos_options(args)?;
    let wanted = match search.count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    let mut found = Vec::new();
    if let Some(list) = db(cx).typed::<List>(args.at(1))? {
        let within = if search.max_len == 0 { usize::MAX } else { search.max_len };
        let skip = search.rank.unsigned_abs() as usize - 1;
        let len = list.len();
        let hit = |(index, element): (usize, &[u8])| (element == args.at(2)).then_some(index);
        if search.rank > 0 {
            let all = list.iter().enumerate().take(within).filter_map(hit);
            found.extend(all.skip(skip).take(wanted));
        } else {
            let all = list.iter().rev().enumerate().take(within).filter_map(hit);
            found.extend(all.skip(skip).take(wanted).map(|index| len - 1 - index));
        }
    }
    let mut reply = cx.reply();
    match (search.count, found.first()) {
        (Some(_), _) => {
            reply.array(found.len());
            for index in &found {
                reply.int(*index as i64);
            }
        }
        (None, Some(index)) => reply.int(*index as i64),
        (None, None) => reply.null(),
    }
    Ok(())
}
