//! Expiry times of fields. What goes to replicas names absolute times and only the fields that
//! really changed; a time that has passed goes as HDEL. What comes from the primary is always done
//! as it says, since it alone decides when a time has come.

use super::{db, decimal};
use crate::command::Handled;
use crate::command::support::{int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{Args, CommandError, errors};
use crate::store::Hash;

const COUNT_REFUSAL: &str =
    "ERR numfields should be greater than 0 and match the provided number of fields";

/// Where the word FIELDS stands, at `from` or behind it.
fn fields_word(args: Args<'_>, from: usize) -> Option<usize> {
    (from..args.len() - 1).find(|at| args.is(*at, "fields"))
}

/// Reads the number of fields at `args[at]`; `each` words belong to a field.
fn check_count(args: Args<'_>, at: usize, each: i64, refusal: &'static str) -> Handled {
    let count = int(args.at(at))?;
    let fits = count > 0 && count.checked_mul(each) == Some((args.len() - at - 1) as i64);
    if fits { Ok(()) } else { Err(refusal.into()) }
}

/// The form without options: `FIELDS n field…` from the third word on.
fn check_plain(args: Args<'_>, refusal: &'static str) -> Handled {
    if !args.is(2, "fields") {
        return Err(errors::SYNTAX.into());
    }
    check_count(args, 3, 1, refusal)
}

/// An expiry time in milliseconds from a number of units on top of `base_ms`.
fn time(cx: &Context<'_>, text: &[u8], unit_ms: i64, base_ms: i64) -> Result<i64, CommandError> {
    Some(int(text)?)
        .filter(|number| *number >= 0)
        .and_then(|number| number.checked_mul(unit_ms))
        .and_then(|ms| ms.checked_add(base_ms))
        .ok_or_else(|| errors::invalid_expire(cx.row.name))
}

/// Propagates `head… FIELDS n field…`, or HDEL without the count.
fn propagate(cx: &mut Context<'_>, head: &[&[u8]], counted: bool, fields: &[&[u8]]) {
    let count = fields.len().to_string();
    let mut words = head.to_vec();
    if counted {
        words.extend_from_slice(&[b"FIELDS", count.as_bytes()]);
    }
    words.extend_from_slice(fields);
    cx.propagate(&words);
}

/// After fields were removed because their time has passed.
fn expired(cx: &mut Context<'_>, key: &[u8], fields: &[&[u8]]) {
    cx.engine.stats.expired_fields += fields.len() as u64;
    wrote(cx, key, fields.len());
    propagate(cx, &[b"HDEL", key], false, fields);
}

fn remove_if_empty(cx: &mut Context<'_>, key: &[u8]) {
    if db(cx).typed::<Hash>(key).is_ok_and(|hash| hash.is_some_and(Hash::is_empty)) {
        db(cx).remove(key);
    }
    cx.notify_emptied(key);
}

/// When an expiry time is only set: NX, XX, GT, LT.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Default)]
struct Condition {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Condition {
    fn read(args: Args<'_>, from: usize, to: usize) -> Result<Self, CommandError> {
        let mut condition = Self::default();
        for at in from..to {
            let flag = match args.at(at) {
                word if word.eq_ignore_ascii_case(b"nx") => &mut condition.absent,
                word if word.eq_ignore_ascii_case(b"xx") => &mut condition.present,
                word if word.eq_ignore_ascii_case(b"gt") => &mut condition.greater,
                word if word.eq_ignore_ascii_case(b"lt") => &mut condition.less,
                word => {
                    let word = String::from_utf8_lossy(word);
                    return Err(format!("ERR Unsupported option {word}").into());
                }
            };
            *flag = true;
        }
        let Self { absent, present, greater, less } = condition;
        if absent && (present || greater || less) {
            return Err(
                "ERR NX and XX, GT or LT options at the same time are not compatible".into()
            );
        }
        if greater && less {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(condition)
    }

    /// A field without a time lives for ever.
    fn allows(self, old_ms: Option<i64>, new_ms: i64) -> bool {
        !(self.absent && old_ms.is_some()
            || self.present && old_ms.is_none()
            || self.greater && old_ms.is_none_or(|old_ms| new_ms <= old_ms)
            || self.less && old_ms.is_some_and(|old_ms| new_ms >= old_ms))
    }
}

/// HEXPIRE and its relatives. Each field is answered -2 (absent), 0 (refused by the condition), 1
/// (set) or 2 (removed, since the time has passed).
pub fn hexpire(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let word = fields_word(args, 3).ok_or(COUNT_REFUSAL)?;
    let condition = Condition::read(args, 3, word)?;
    check_count(args, word + 1, 1, COUNT_REFUSAL)?;
    let now_ms = cx.engine.now.unix_ms();
    let (unit_ms, base_ms) = match cx.row.name {
        "hexpire" => (1000, now_ms),
        "hpexpire" => (1, now_ms),
        "hexpireat" => (1000, 0),
        _ => (1, 0),
    };
    let at_ms = time(cx, args.at(2), unit_ms, base_ms)?;
    let past = cx.ends_at(at_ms);
    let names = args.tail(word + 2);
    let limits = db(cx).limits();
    let mut hash = db(cx).typed_mut::<Hash>(key)?;
    let (mut set, mut removed) = (Vec::new(), Vec::new());
    let mut answers = Vec::with_capacity(names.len());
    for field in names.iter() {
        let known = hash.as_ref().and_then(|hash| hash.expiry(field));
        answers.push(match (&mut hash, known) {
            (Some(_), Some(old_ms)) if !condition.allows(old_ms, at_ms) => 0,
            (Some(hash), Some(_)) if past => {
                hash.remove(field);
                removed.push(field);
                2
            }
            (Some(hash), Some(_)) => {
                hash.set_expiry(field, Some(at_ms), &limits);
                set.push(field);
                1
            }
            _ => -2,
        });
    }
    let mut reply = cx.client.reply();
    reply.array(answers.len());
    for answer in answers {
        reply.int(answer);
    }
    if !removed.is_empty() {
        expired(cx, key, &removed);
        cx.notify(EventClasses::HASH, "hexpired", key);
        remove_if_empty(cx, key);
    } else if !set.is_empty() {
        timed(cx, key, at_ms, &set);
    }
    Ok(())
}

/// After fields were given an expiry time.
fn timed(cx: &mut Context<'_>, key: &[u8], at_ms: i64, fields: &[&[u8]]) {
    db(cx).note_field_expiry(key);
    wrote(cx, key, fields.len());
    propagate(cx, &[b"HPEXPIREAT", key, &decimal(at_ms)], true, fields);
    cx.notify(EventClasses::HASH, "hexpire", key);
}

/// HTTL and its relatives. Each field is answered -2 (absent), -1 (no time), or its time.
pub fn httl(cx: &mut Context<'_>) -> Handled {
    let now_ms = cx.engine.now.unix_ms();
    let Context { engine, client, args, row, .. } = cx;
    check_plain(*args, errors::SYNTAX)?;
    let (unit_ms, base_ms) = match row.name {
        "httl" => (1000, now_ms),
        "hpttl" => (1, now_ms),
        "hexpiretime" => (1000, 0),
        _ => (1, 0),
    };
    let hash: Option<&Hash> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    reply.array(args.len() - 4);
    for field in args.tail(4).iter() {
        reply.int(match hash.and_then(|hash| hash.expiry(field)) {
            None => -2,
            Some(None) => -1,
            Some(Some(at_ms)) if unit_ms == 1 => at_ms.saturating_sub(base_ms).max(0),
            Some(Some(at_ms)) => at_ms.saturating_sub(base_ms).max(0).saturating_add(500) / unit_ms,
        });
    }
    Ok(())
}

/// HPERSIST. Each field is answered -2 (absent), -1 (no time) or 1.
pub fn hpersist(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    check_plain(args, COUNT_REFUSAL)?;
    let limits = db(cx).limits();
    let mut hash = db(cx).typed_mut::<Hash>(key)?;
    let mut calmed = Vec::new();
    let mut answers = Vec::with_capacity(args.len() - 4);
    for field in args.tail(4).iter() {
        let known = hash.as_ref().and_then(|hash| hash.expiry(field));
        answers.push(match (&mut hash, known) {
            (Some(hash), Some(Some(_))) => {
                hash.set_expiry(field, None, &limits);
                calmed.push(field);
                1
            }
            (_, Some(None)) => -1,
            _ => -2,
        });
    }
    let mut reply = cx.client.reply();
    reply.array(answers.len());
    for answer in answers {
        reply.int(answer);
    }
    persisted(cx, key, &calmed);
    Ok(())
}

/// After the times of fields were taken away.
fn persisted(cx: &mut Context<'_>, key: &[u8], fields: &[&[u8]]) {
    if !fields.is_empty() {
        wrote(cx, key, fields.len());
        propagate(cx, &[b"HPERSIST", key], true, fields);
        cx.notify(EventClasses::HASH, "hpersist", key);
    }
}

/// What HSETEX and HGETEX do with the times of their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// No option: HSETEX takes them away, HGETEX leaves them.
    None,
    Keep,
    Persist,
    /// The number is at this index; its unit, and whether it counts from now.
    Given {
        at: usize,
        unit_ms: i64,
        relative: bool,
    },
}

#[derive(Clone, Copy)]
struct Options {
    times: Times,
    /// HSETEX's NX, XX for the key and FNX, FXX for the fields: `Some(true)` must be there.
    key: Option<bool>,
    fields: Option<bool>,
}

impl Options {
    /// Reads the words from the third on to `end`.
    fn read(args: Args<'_>, end: usize, sets: bool) -> Result<Self, CommandError> {
        let mut options = Self { times: Times::None, key: None, fields: None };
        let mut at = 2;
        while at < end {
            let kind = |word: &str| args.is(at, word);
            let free = options.times == Times::None;
            let number = |unit_ms, relative| Times::Given { at: at + 1, unit_ms, relative };
            let timed = if kind("ex") {
                Some((number(1000, true), "ex"))
            } else if kind("px") {
                Some((number(1, true), "px"))
            } else if kind("exat") {
                Some((number(1000, false), "exat"))
            } else if kind("pxat") {
                Some((number(1, false), "pxat"))
            } else {
                None
            };
            if let (Some((times, word)), true) = (timed, at + 1 < end) {
                // The same word may come again, and the last one counts.
                let again =
                    matches!(options.times, Times::Given { at, .. } if args.is(at - 1, word));
                if !free && !again {
                    return Err(errors::SYNTAX.into());
                }
                options.times = times;
                at += 1;
            } else if sets && kind("keepttl") && matches!(options.times, Times::None | Times::Keep)
            {
                options.times = Times::Keep;
            } else if !sets
                && kind("persist")
                && matches!(options.times, Times::None | Times::Persist)
            {
                options.times = Times::Persist;
            } else if sets && (kind("nx") || kind("xx")) && options.key != Some(kind("nx")) {
                options.key = Some(kind("xx"));
            } else if sets && (kind("fnx") || kind("fxx")) && options.fields != Some(kind("fnx")) {
                options.fields = Some(kind("fxx"));
            } else {
                return Err(errors::SYNTAX.into());
            }
            at += 1;
        }
        Ok(options)
    }

    /// The time that is asked for, in milliseconds.
    fn time(self, cx: &Context<'_>) -> Result<Option<i64>, CommandError> {
        let Times::Given { at, unit_ms, relative } = self.times else { return Ok(None) };
        let base_ms = if relative { cx.engine.now.unix_ms() } else { 0 };
        time(cx, cx.args.at(at), unit_ms, base_ms).map(Some)
    }
}

/// HSETEX: answers 1 when it set all its fields, 0 when a condition did not hold.
pub fn hsetex(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let word = fields_word(args, 2).ok_or(COUNT_REFUSAL)?;
    let options = Options::read(args, word, true)?;
    check_count(args, word + 1, 2, COUNT_REFUSAL)?;
    let pairs = args.tail(word + 2);
    let hash: Option<&Hash> = db(cx).typed(key)?;
    let key_fits = options.key.is_none_or(|wanted| wanted == hash.is_some());
    if !key_fits {
        cx.reply().int(0);
        return Ok(());
    }
    let at_ms = options.time(cx)?;
    let hash: Option<&Hash> = db(cx).typed(key)?;
    let fields_fit = options.fields.is_none_or(|wanted| {
        let known = |field: &[u8]| hash.is_some_and(|hash| hash.contains(field));
        pairs.iter().step_by(2).all(|field| known(field) == wanted)
    });
    if !fields_fit {
        cx.reply().int(0);
        return Ok(());
    }
    if at_ms.is_some_and(|at_ms| cx.ends_at(at_ms)) {
        set_expired(cx, key, pairs);
    } else {
        set_fields(cx, key, pairs, options, at_ms)?;
    }
    cx.reply().int(1);
    Ok(())
}

/// HSETEX with a time that has passed: the fields are gone.
fn set_expired(cx: &mut Context<'_>, key: &[u8], pairs: Args<'_>) {
    let mut removed = Vec::new();
    if let Ok(Some(hash)) = db(cx).typed_mut::<Hash>(key) {
        removed.extend(pairs.iter().step_by(2).filter(|field| hash.remove(field)));
    }
    // Those that were not there before have come and gone.
    cx.engine.stats.expired_fields += (pairs.len() / 2 - removed.len()) as u64;
    if !removed.is_empty() {
        expired(cx, key, &removed);
    }
    for event in ["hset", "hexpire", "hexpired"] {
        cx.notify(EventClasses::HASH, event, key);
    }
    remove_if_empty(cx, key);
}

fn set_fields(
    cx: &mut Context<'_>,
    key: &[u8],
    pairs: Args<'_>,
    options: Options,
    at_ms: Option<i64>,
) -> Handled {
    let limits = db(cx).limits();
    let hash: &mut Hash = db(cx).typed_or_new(key)?;
    for at in (0..pairs.len()).step_by(2) {
        let (field, value) = (pairs.at(at), pairs.at(at + 1));
        if options.times == Times::Keep {
            hash.set_keeping(field, value, &limits);
        } else {
            hash.set(field, value, &limits);
        }
        if at_ms.is_some() {
            hash.set_expiry(field, at_ms, &limits);
        }
    }
    if at_ms.is_some() {
        db(cx).note_field_expiry(key);
    }
    wrote(cx, key, pairs.len() / 2);
    let time = at_ms.map(decimal);
    let count = (pairs.len() / 2).to_string();
    let mut words: Vec<&[u8]> = vec![b"HSETEX", key];
    match (&time, options.times) {
        (Some(time), _) => words.extend_from_slice(&[b"PXAT", time]),
        (None, Times::Keep) => words.push(b"KEEPTTL"),
        _ => {}
    }
    words.extend_from_slice(&[b"FIELDS", count.as_bytes()]);
    words.extend(pairs.iter());
    cx.propagate(&words);
    cx.notify(EventClasses::HASH, "hset", key);
    if at_ms.is_some() {
        cx.notify(EventClasses::HASH, "hexpire", key);
    }
    Ok(())
}

/// Writes the values of fields, null for those that are not there.
fn reply_values(cx: &mut Context<'_>, key: &[u8], fields: Args<'_>) -> Handled {
    let Context { engine, client, .. } = cx;
    let hash: Option<&Hash> = engine.keyspace.db_mut(client.db).typed(key)?;
    let mut reply = client.reply();
    reply.array(fields.len());
    for field in fields.iter() {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
    }
    Ok(())
}

/// HGETEX: the values, and then what becomes of their fields' times.
pub fn hgetex(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let word = fields_word(args, 2).ok_or(COUNT_REFUSAL)?;
    let options = Options::read(args, word, false)?;
    check_count(args, word + 1, 1, COUNT_REFUSAL)?;
    db(cx).typed::<Hash>(key)?;
    let at_ms = options.time(cx)?;
    let fields = args.tail(word + 2);
    reply_values(cx, key, fields)?;
    let past = at_ms.is_some_and(|at_ms| cx.ends_at(at_ms));
    let limits = db(cx).limits();
    if options.times == Times::None {
        return Ok(());
    }
    let mut changed = Vec::new();
    if let Some(hash) = db(cx).typed_mut::<Hash>(key)? {
        for field in fields.iter() {
            match hash.expiry(field) {
                None => continue,
                Some(_) if past => _ = hash.remove(field),
                Some(None) if at_ms.is_none() => continue,
                Some(_) => hash.set_expiry(field, at_ms, &limits),
            }
            changed.push(field);
        }
    }
    match at_ms {
        _ if changed.is_empty() => {}
        Some(_) if past => {
            expired(cx, key, &changed);
            cx.notify(EventClasses::HASH, "hexpired", key);
            remove_if_empty(cx, key);
        }
        Some(at_ms) => timed(cx, key, at_ms, &changed),
        None => persisted(cx, key, &changed),
    }
    Ok(())
}

/// HGETDEL: the values, whose fields are removed.
pub fn hgetdel(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    check_plain(args, COUNT_REFUSAL)?;
    let fields = args.tail(4);
    let Context { engine, client, .. } = cx;
    let mut hash = engine.keyspace.db_mut(client.db).typed_mut::<Hash>(key)?;
    let mut reply = client.reply();
    reply.array(fields.len());
    let mut removed = Vec::new();
    for field in fields.iter() {
        match hash.as_ref().and_then(|hash| hash.get(field)) {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
        if hash.as_mut().is_some_and(|hash| hash.remove(field)) {
            removed.push(field);
        }
    }
    if !removed.is_empty() {
        wrote(cx, key, removed.len());
        propagate(cx, &[b"HDEL", key], false, &removed);
        cx.notify(EventClasses::HASH, "hdel", key);
        remove_if_empty(cx, key);
    }
    Ok(())
}

/// After HINCRBY and HINCRBYFLOAT: replicas get the value with the time that it has, because
/// whether the old one was there still is the primary's decision.
pub fn propagate_value(cx: &mut Context<'_>, key: &[u8], field: &[u8], value: &[u8]) {
    let at_ms = match db(cx).typed::<Hash>(key) {
        Ok(Some(hash)) => hash.expiry(field).flatten(),
        _ => None,
    };
    match at_ms {
        None => cx.propagate(&[b"HSET", key, field, value]),
        Some(at_ms) => {
            let time = decimal(at_ms);
            cx.propagate(&[b"HSETEX", key, b"PXAT", &time, b"FIELDS", b"1", field, value]);
        }
    }
}
