//! SORT and its reading form, over lists, sets and sorted sets.

use std::cmp::Ordering;

use super::support::{int, wrote};
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::num::parse_f64;
use crate::resp::{Args, CommandError, errors};
use crate::store::{Db, IntBuf, List, ValueRef};

const ROW: Command = Command { group: Group::Generic, keys: Keys::ONE, arity: -2, ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::MOVABLE_KEYS),
        summary: "Sorts the elements of a list, a set or a sorted set, and may store the result.",
        handler: |cx| sort(cx, true),
        ..ROW
    },
    Command {
        name: "sort_ro",
        flags: Flags::READONLY.with(Flags::MOVABLE_KEYS),
        since: "7.0.0",
        summary: "Returns the sorted elements of a list, a set or a sorted set.",
        handler: |cx| sort(cx, false),
        ..ROW
    },
];

/// What an element takes beside its bytes, roughly.
const ELEMENT_BYTES: usize = 8;

#[derive(Default)]
struct Query<'a> {
    descending: bool,
    alphabetical: bool,
    /// Elements that are passed over, and how many are wanted; negative is no bound.
    limit: Option<(i64, i64)>,
    by: Option<Pattern<'a>>,
    /// BY was given a name without an asterisk: the elements stay in their own order.
    unsorted: bool,
    gets: Vec<Get<'a>>,
    store: Option<&'a [u8]>,
}

/// What stands for an element in the result.
enum Get<'a> {
    Element,
    At(Pattern<'a>),
    /// A name without an asterisk finds nothing.
    Nothing,
}

/// The name of a key with an asterisk for the element, and perhaps of a field behind `->`.
#[derive(Clone, Copy)]
struct Pattern<'a> {
    before: &'a [u8],
    after: &'a [u8],
    field: Option<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    /// `None` without an asterisk.
    fn read(text: &'a [u8]) -> Option<Self> {
        let star = text.iter().position(|byte| *byte == b'*')?;
        let (before, after) = (&text[..star], &text[star + 1..]);
        let arrow = after.windows(2).position(|pair| pair == b"->");
        Some(match arrow.filter(|at| at + 2 < after.len()) {
            Some(at) => Self { before, after: &after[..at], field: Some(&after[at + 2..]) },
            None => Self { before, after, field: None },
        })
    }

    /// The value that the pattern leads to for an element; `name` is room for the key's name.
    fn find(&self, db: &mut Db, element: &[u8], name: &mut Vec<u8>) -> Option<Vec<u8>> {
        name.clear();
        for part in [self.before, element, self.after] {
            name.extend_from_slice(part);
        }
        match (db.lookup(name)?, self.field) {
            (ValueRef::Hash(hash), Some(field)) => hash.get(field).map(<[u8]>::to_vec),
            (ValueRef::Str(text), None) => Some(text.bytes(&mut IntBuf::default()).to_vec()),
            _ => None,
        }
    }
}

impl<'a> Query<'a> {
    fn read(args: Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut query = Self::default();
        let mut at = 2;
        while at < args.len() {
            let value = args.get(at + 1);
            if args.is(at, "asc") || args.is(at, "desc") {
                query.descending = args.is(at, "desc");
            } else if args.is(at, "alpha") {
                query.alphabetical = true;
            } else if args.is(at, "limit") && at + 2 < args.len() {
                query.limit = Some((int(args.at(at + 1))?, int(args.at(at + 2))?));
                at += 2;
            } else if let (true, Some(key)) = (may_store && args.is(at, "store"), value) {
                query.store = Some(key);
                at += 1;
            } else if let (true, Some(text)) = (args.is(at, "by"), value) {
                query.by = Pattern::read(text);
                // Once asked for, the elements' own order stays.
                query.unsorted |= query.by.is_none();
                at += 1;
            } else if let (true, Some(text)) = (args.is(at, "get"), value) {
                query.gets.push(match Pattern::read(text) {
                    _ if text == b"#" => Get::Element,
                    Some(pattern) => Get::At(pattern),
                    None => Get::Nothing,
                });
                at += 1;
            } else {
                return Err(errors::SYNTAX.into());
            }
            at += 1;
        }
        Ok(query)
    }

    /// The part of so many elements that is wanted.
    fn part(&self, len: usize) -> std::ops::Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start).unwrap_or(0).min(len);
        let count = usize::try_from(count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

/// What an element is compared by.
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
    Itself,
}

struct Item {
    element: Vec<u8>,
    weight: Weight,
}

fn compare(a: &Item, b: &Item) -> Ordering {
    match (&a.weight, &b.weight) {
        (Weight::Number(x), Weight::Number(y)) => {
            x.partial_cmp(y).unwrap_or(Ordering::Equal).then_with(|| a.element.cmp(&b.element))
        }
        (Weight::Text(x), Weight::Text(y)) => x.cmp(y),
        _ => a.element.cmp(&b.element),
    }
}

/// The elements in their own order, and whether they are a set's, which has none.
fn elements(db: &mut Db, key: &[u8]) -> Result<(Vec<Vec<u8>>, bool), CommandError> {
    Ok(match db.lookup(key) {
        None => (Vec::new(), false),
        Some(ValueRef::List(list)) => (list.iter().map(<[u8]>::to_vec).collect(), false),
        Some(ValueRef::ZSet(zset)) => {
            (zset.iter().map(|(member, _)| member.to_vec()).collect(), false)
        }
        Some(ValueRef::Set(set)) => {
            let mut all = Vec::with_capacity(set.len());
            set.each(|member| all.push(member.to_vec()));
            (all, true)
        }
        Some(_) => return Err(errors::WRONG_TYPE.into()),
    })
}

/// The elements in the order asked for, without the limit.
fn sorted(
    db: &mut Db,
    query: &mut Query<'_>,
    (mut all, is_set): (Vec<Vec<u8>>, bool),
    in_script: bool,
) -> Result<Vec<Vec<u8>>, CommandError> {
    if query.unsorted && is_set && (query.store.is_some() || in_script) {
        // A set's own order is another on each node; what is stored must not depend on it, and
        // scripts have been promised an order.
        (query.unsorted, query.alphabetical, query.by) = (false, true, None);
    }
    if query.unsorted {
        if query.descending && !is_set {
            all.reverse();
        }
        return Ok(all);
    }
    if is_set && query.store.is_some() {
        all.sort_unstable();
    }
    let mut name = Vec::new();
    let mut refused = false;
    let mut items: Vec<Item> = Vec::with_capacity(all.len());
    for element in all {
        let found = query.by.map(|by| by.find(db, &element, &mut name));
        let weight = match (query.alphabetical, found) {
            (true, Some(text)) => Weight::Text(text),
            (true, None) => Weight::Itself,
            (false, Some(None)) => Weight::Number(0.0),
            (false, found) => {
                let number = parse_f64(found.flatten().as_deref().unwrap_or(&element));
                refused |= number.is_none();
                Weight::Number(number.unwrap_or(0.0))
            }
        };
        items.push(Item { element, weight });
    }
    if refused {
        return Err("ERR One or more scores can't be converted into double".into());
    }
    items.sort_by(|a, b| if query.descending { compare(b, a) } else { compare(a, b) });
    Ok(items.into_iter().map(|item| item.element).collect())
}

/// Patterns lead to keys that are not among the arguments: only who may read all may ask so.
fn check_rights(cx: &Context<'_>, query: &Query<'_>) -> Handled {
    let asks = query.by.is_some() || !query.gets.is_empty();
    if !asks || cx.from_primary || !cx.engine.acl.users.is_restrictive() {
        return Ok(());
    }
    if cx.engine.acl_reads_all(cx.client, cx.row, cx.args) {
        return Ok(());
    }
    let option = if query.by.is_some() { "BY" } else { "GET" };
    Err(format!("ERR {option} option of SORT denied due to insufficient ACL permissions.").into())
}

fn sort(cx: &mut Context<'_>, may_store: bool) -> Handled {
    let args = cx.args;
    let mut query = Query::read(args, may_store)?;
    check_rights(cx, &query)?;
    let in_script = cx.engine.in_script;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let all = elements(db, args.at(1))?;
    let mut elements = sorted(db, &mut query, all, in_script)?;
    let part = query.part(elements.len());
    let elements: Vec<Vec<u8>> = elements.drain(part).collect();
    if query.gets.is_empty() {
        query.gets.push(Get::Element);
    }
    if let Some(target) = query.store {
        return store(cx, target, &query, &elements);
    }
    let mut reply = cx.client.reply();
    reply.array(elements.len().saturating_mul(query.gets.len()));
    results(db, &query, &elements, |result| {
        match result {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        !reply.is_full()
    });
    Ok(())
}

/// Hands on what the patterns of GET lead to for each element, as long as `each` returns true: as
/// many times as there are patterns, which are the client's to choose.
fn results(
    db: &mut Db,
    query: &Query<'_>,
    elements: &[Vec<u8>],
    mut each: impl FnMut(Option<&[u8]>) -> bool,
) {
    let mut name = Vec::new();
    for element in elements {
        for get in &query.gets {
            let goes_on = match get {
                Get::Element => each(Some(element)),
                Get::At(pattern) => each(pattern.find(db, element, &mut name).as_deref()),
                Get::Nothing => each(None),
            };
            if !goes_on {
                return;
            }
        }
    }
}

/// Stores the result as a list, where what was not found is empty. What is too large for an answer
/// is too large for a key.
fn store(cx: &mut Context<'_>, target: &[u8], query: &Query<'_>, elements: &[Vec<u8>]) -> Handled {
    let bound = cx.client.output_bound();
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let limits = db.limits();
    let (mut list, mut bytes) = (List::new(), 0_usize);
    results(db, query, elements, |result| {
        let text = result.unwrap_or_default();
        bytes += text.len() + ELEMENT_BYTES;
        list.push_back(text, &limits);
        bytes <= bound
    });
    if bytes > bound {
        return Err("ERR The result of SORT is too large".into());
    }
    let count = list.len();
    if count == 0 {
        if db.remove(target) {
            wrote(cx, target, 1);
            cx.signal(target);
            cx.notify(EventClasses::GENERIC, "del", target);
        }
    } else {
        db.insert(target, list.into());
        wrote(cx, target, count);
        cx.signal(target);
        cx.notify(EventClasses::LIST, "sortstore", target);
    }
    cx.client.reply().int(count as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2022-35977: offsets and counts near the end of 64 bits overflowed and ended the process.
    #[test]
    fn cve_2022_35977_extreme_limits_stay_within_the_elements() {
        let check = |start, count, expect| {
            let query = Query { limit: Some((start, count)), ..Query::default() };
            assert_eq!(query.part(5), expect, "{start} {count}");
        };
        check(0, -1, 0..5);
        check(1, 2, 1..3);
        check(-7, 2, 0..2);
        check(5, 1, 5..5);
        check(2, 0, 2..2);
        check(i64::MAX, i64::MAX, 5..5);
        check(1, i64::MAX, 1..5);
        check(i64::MIN, i64::MIN, 0..5);
        assert_eq!(Query { limit: Some((i64::MAX, 1)), ..Query::default() }.part(0), 0..0);
    }

    #[test]
    fn patterns() {
        let check = |text: &'static str, expect: Option<(&str, &str, Option<&str>)>| {
            let got = Pattern::read(text.as_bytes());
            let got = got.map(|found| (found.before, found.after, found.field));
            let expect = expect.map(|(before, after, field)| {
                (before.as_bytes(), after.as_bytes(), field.map(str::as_bytes))
            });
            assert_eq!(got, expect, "{text}");
        };
        check("weight_*", Some(("weight_", "", None)));
        check("a*b*c", Some(("a", "b*c", None)));
        check("h_*->field", Some(("h_", "", Some("field"))));
        check("h_*->", Some(("h_", "->", None)));
        check("h->x_*", Some(("h->x_", "", None)));
        check("*->a->b", Some(("", "", Some("a->b"))));
        check("nosort", None);
        check("#", None);
    }
}
