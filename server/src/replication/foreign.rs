//! Commands of other servers' streams in this server's words. Pure.
//!
//! A newer stock primary writes some effects with commands of its own; a replica that cannot read
//! them would drift apart silently.

use crate::resp::num::parse_i64;
use crate::resp::{Args, OwnedArgs};

/// What to apply instead of `args`, if it has other words here.
pub fn translate(args: Args<'_>) -> Option<OwnedArgs> {
    if args.is(0, "hsetex") { set_fields(args) } else { None }
}

/// Redis 8 writes HINCRBYFLOAT as `HSETEX key KEEPTTL FIELDS n field value …`. One that sets an
/// expiry on fields stays unknown, since this server has none on fields.
fn set_fields(args: Args<'_>) -> Option<OwnedArgs> {
    let fields = (2..args.len()).find(|at| args.is(*at, "fields"))?;
    let count = usize::try_from(parse_i64(args.get(fields + 1)?)?).ok()?;
    let pairs = args.tail(fields + 2);
    let keeps = (2..fields).all(|at| args.is(at, "keepttl"));
    if !keeps || count == 0 || pairs.len() != count.checked_mul(2)? {
        return None;
    }
    Some(OwnedArgs::from_parts([b"HSET".as_slice(), args.at(1)].into_iter().chain(pairs.iter())))
}

#[cfg(test)]
mod tests {
    use super::translate;
    use crate::resp::OwnedArgs;

    fn check(line: &str, expect: Option<&str>) {
        let args = OwnedArgs::from_parts(line.split(' ').map(str::as_bytes));
        let got = translate(args.args());
        let words = got.map(|args| {
            let words: Vec<_> = args.args().iter().map(String::from_utf8_lossy).collect();
            words.join(" ")
        });
        assert_eq!(words.as_deref(), expect, "{line}");
    }

    /// A replica of Redis 8 lost the effect of HINCRBYFLOAT.
    #[test]
    fn setting_fields_keeps_its_meaning() {
        check("HSETEX h KEEPTTL FIELDS 1 sum 4.5", Some("HSET h sum 4.5"));
        check("hsetex h fields 2 a 1 b 2", Some("HSET h a 1 b 2"));
        check("HSETEX h EX 10 FIELDS 1 a 1", None);
        check("HSETEX h FIELDS 2 a 1", None);
        check("HSETEX h FIELDS 9223372036854775807 a 1", None);
        check("HSETEX h", None);
        check("SET a b", None);
    }
}
