//! XADD and XTRIM.

use super::ids::{NewId, new_id, strict};
use crate::command::Handled;
use crate::command::support::{db, int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::{Args, CommandError, errors};
use crate::store::{Id, IdBuf, MAX_ENTRY_BYTES, Stream, Trim};

/// The options of XADD and XTRIM before the id.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    trim: Option<Trim>,
    /// Where the number or id to trim by stands.
    trim_at: usize,
    /// `~`: whole blocks only.
    about: bool,
    /// Entries that may be removed; 0 is without a limit.
    limit: u64,
    no_make: bool,
    /// The first argument that is no option.
    end: usize,
}

impl Options {
    /// XADD's most common form has none.
    #[inline]
    fn parse(cx: &Context<'_>, adds: bool) -> Result<Self, CommandError> {
        if adds && cx.args.at(2) == b"*" {
            return Ok(Self { end: 2, ..Self::default() });
        }
        Self::parse_words(cx, adds)
    }

    fn parse_words(cx: &Context<'_>, adds: bool) -> Result<Self, CommandError> {
        let args = cx.args;
        let mut options = Self::default();
        let mut limit = None;
        let mut at = 2;
        while at < args.len() {
            let more = at + 1 < args.len();
            if adds && args.at(at) == b"*" {
                break;
            } else if more && (args.is(at, "maxlen") || args.is(at, "minid")) {
                at = options.trim_words(args, at)?;
            } else if more && args.is(at, "limit") {
                let most = int(args.at(at + 1))?;
                limit =
                    Some(u64::try_from(most).map_err(|_| "ERR The LIMIT argument must be >= 0.")?);
                at += 2;
            } else if adds && args.is(at, "nomkstream") {
                options.no_make = true;
                at += 1;
            } else if adds {
                break;
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        if adds && at < args.len() {
            // A bad id is told before a bad combination of options.
            new_id(args.at(at))?;
        }
        options.end = at;
        options.check(cx, limit, adds)?;
        Ok(options)
    }

    /// Reads `MAXLEN|MINID [=|~] threshold` at `at`; returns where the next argument is.
    fn trim_words(&mut self, args: Args<'_>, at: usize) -> Result<usize, CommandError> {
        if self.trim.is_some() {
            return Err("ERR syntax error, MAXLEN and MINID options at the same time are not \
                        compatible"
                .into());
        }
        let sign = args.at(at + 1);
        let signed = at + 2 < args.len() && (sign == b"~" || sign == b"=");
        self.about = signed && sign == b"~";
        self.trim_at = at + 1 + usize::from(signed);
        let threshold = args.at(self.trim_at);
        self.trim = Some(if args.is(at, "maxlen") {
            let most = int(threshold)?;
            Trim::Len(u64::try_from(most).map_err(|_| "ERR The MAXLEN argument must be >= 0.")?)
        } else {
            Trim::From(strict(threshold, 0)?)
        });
        Ok(self.trim_at + 1)
    }

    fn check(&mut self, cx: &Context<'_>, limit: Option<u64>, adds: bool) -> Handled {
        if limit.is_some_and(|limit| limit > 0) && self.trim.is_none() {
            return Err("ERR syntax error, LIMIT cannot be used without specifying a trimming \
                        strategy"
                .into());
        }
        if !adds && self.trim.is_none() {
            return Err("ERR syntax error, XTRIM must be called with a trimming strategy".into());
        }
        if cx.obeys() {
            // It has trimmed to what it says.
            return Ok(());
        }
        match limit {
            Some(_) if !self.about => {
                return Err(
                    "ERR syntax error, LIMIT cannot be used without the special ~ option".into()
                );
            }
            Some(limit) => self.limit = limit,
            None if self.about => {
                let blocks = cx.engine.config.stream_node_max_entries.saturating_mul(100) as u64;
                self.limit = if blocks == 0 { 10_000 } else { blocks.min(1_000_000) };
            }
            None => {}
        }
        Ok(())
    }
}

/// The argument by which replicas trim exactly to what is left here.
fn exact_threshold(stream: &Stream, trim: Option<Trim>) -> Vec<u8> {
    match trim {
        Some(Trim::From(_)) => {
            stream.first_id_ever_kept().text(&mut [0; size_of::<IdBuf>()]).into()
        }
        _ => stream.len().to_string().into_bytes(),
    }
}

/// The id of the new entry: the given one, or the next.
#[inline]
fn choose_id(stream: &Stream, wanted: NewId, now_ms: u64) -> Result<Id, CommandError> {
    const SMALL: &str =
        "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    let last = stream.last_id;
    if last == Id::MAX {
        return Err(
            "ERR The stream has exhausted the last possible ID, unable to add more items".into()
        );
    }
    let id = match wanted {
        NewId::Next => stream.next_id(now_ms).ok_or(SMALL)?,
        NewId::NextOf(ms) if ms == last.ms => Id::new(ms, last.seq.checked_add(1).ok_or(SMALL)?),
        NewId::NextOf(ms) => Id::new(ms, 0),
        NewId::Given(id) => id,
    };
    if id > last { Ok(id) } else { Err(SMALL.into()) }
}

pub fn xadd(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let options = Options::parse(cx, true)?;
    let first = options.end + 1;
    if args.len() < first + 2 || (args.len() - first) % 2 == 1 {
        return Err(errors::wrong_arity(cx.row.name));
    }
    let wanted = new_id(args.at(options.end))?;
    if wanted == NewId::Given(Id::MIN) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let pairs = args.tail(first);
    if pairs.iter().map(<[u8]>::len).sum::<usize>() > MAX_ENTRY_BYTES {
        return Err("ERR Elements are too large to be stored".into());
    }
    let now_ms = cx.engine.now.unix_ms().max(0) as u64;
    let limits = db(cx).limits();
    if options.no_make && db(cx).typed::<Stream>(key)?.is_none() {
        cx.reply().null();
        return Ok(());
    }
    let stream: &mut Stream = db(cx).typed_or_new(key)?;
    let id = choose_id(stream, wanted, now_ms)?;
    stream.append(id, pairs.len() / 2, |at| pairs.at(at), &limits);
    let mut trimmed = 0;
    let mut threshold = None;
    if options.trim.is_some() {
        trimmed = trim(stream, &options);
        threshold = options.about.then(|| exact_threshold(stream, options.trim));
    }
    wrote(cx, key, 1);
    cx.notify(EventClasses::STREAM, "xadd", key);
    if trimmed > 0 {
        cx.notify(EventClasses::STREAM, "xtrim", key);
    }
    cx.signal(key);
    let mut buf = [0; size_of::<IdBuf>()];
    let id = id.text(&mut buf);
    if threshold.is_some() || !matches!(wanted, NewId::Given(_)) {
        let threshold = threshold.as_deref();
        cx.propagate_parts((0..args.len()).map(|at| match threshold {
            _ if at == options.end => id,
            Some(_) if at + 1 == options.trim_at => b"=",
            Some(exact) if at == options.trim_at => exact,
            _ => args.at(at),
        }));
    }
    cx.reply().bulk(id);
    Ok(())
}

fn trim(stream: &mut Stream, options: &Options) -> u64 {
    options.trim.map_or(0, |keep| stream.trim(keep, options.about, options.limit))
}

pub fn xtrim(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let options = Options::parse(cx, false)?;
    let Some(stream) = db(cx).typed_mut::<Stream>(key)? else {
        cx.reply().int(0);
        return Ok(());
    };
    let removed = trim(stream, &options);
    let threshold = options.about.then(|| exact_threshold(stream, options.trim));
    if removed > 0 {
        wrote(cx, key, removed as usize);
        cx.notify(EventClasses::STREAM, "xtrim", key);
        if let Some(exact) = &threshold {
            cx.propagate_parts((0..args.len()).map(|at| match at {
                _ if at + 1 == options.trim_at => b"=".as_slice(),
                _ if at == options.trim_at => exact.as_slice(),
                _ => args.at(at),
            }));
        }
    }
    cx.reply().int(removed as i64);
    Ok(())
}
