//! BITFIELD and `BITFIELD_RO`: integers of any width at any bit.

use super::{bit_offset, bits_mut, string_at};
use crate::command::Handled;
use crate::command::support::{int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::num::parse_i64;
use crate::resp::{CommandError, errors};
use crate::store::IntBuf;

/// The type of a field: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Width {
    signed: bool,
    bits: u32,
}

impl Width {
    fn read(text: &[u8]) -> Result<Self, CommandError> {
        let refusal = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                       supported but i64 is.";
        let (signed, most, number) = match text {
            [b'i', number @ ..] => (true, 64, number),
            [b'u', number @ ..] => (false, 63, number),
            _ => return Err(refusal.into()),
        };
        let bits = parse_i64(number).filter(|bits| (1..=most).contains(bits)).ok_or(refusal)?;
        Ok(Self { signed, bits: bits as u32 })
    }

    fn least(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn most(self) -> i128 {
        (1 << (self.bits - u32::from(self.signed))) - 1
    }

    /// The lowest bits of a number, read as this type reads them.
    fn wrap(self, number: i128) -> i64 {
        let shift = 128 - self.bits;
        let high = number << shift;
        if self.signed { (high >> shift) as i64 } else { ((high as u128) >> shift) as i64 }
    }

    /// The field at a bit; what lies beyond the end is zero.
    fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let first = (offset >> 3) as usize;
        let mut window = [0u8; 16];
        if let Some(rest) = bytes.get(first..) {
            let len = rest.len().min(9);
            window[..len].copy_from_slice(&rest[..len]);
        }
        let window = u128::from_be_bytes(window) << (offset & 7);
        self.wrap((window >> (128 - self.bits)) as i128)
    }

    /// Writes a field that lies within the bytes.
    fn set(self, bytes: &mut [u8], offset: u64, number: i64) {
        let first = (offset >> 3) as usize;
        let len = (bytes.len() - first).min(9);
        let mut window = [0u8; 16];
        window[..len].copy_from_slice(&bytes[first..first + len]);
        let shift = 128 - self.bits - (offset & 7) as u32;
        let mask = ((1u128 << self.bits) - 1) << shift;
        let field = (i128::from(number) as u128) << shift & mask;
        let window = u128::from_be_bytes(window) & !mask | field;
        bytes[first..first + len].copy_from_slice(&window.to_be_bytes()[..len]);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    /// What is written for this number; `None` where nothing may be.
    fn fit(self, number: i128, width: Width) -> Option<i64> {
        if (width.least()..=width.most()).contains(&number) {
            return Some(number as i64);
        }
        match self {
            Self::Wrap => Some(width.wrap(number)),
            Self::Saturate => Some(number.clamp(width.least(), width.most()) as i64),
            Self::Fail => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    width: Width,
    offset: u64,
    overflow: Overflow,
}

impl Step {
    /// Changes the field; the reply, and whether it has another value now.
    fn change(self, bytes: &mut [u8]) -> (Option<i64>, bool) {
        let old = self.width.get(bytes, self.offset);
        let wanted = match self.action {
            Action::Get => return (Some(old), false),
            // A negative number is larger than every unsigned one.
            // Further below the greatest than 64 bits can tell is above it for Valkey, and whoever
            // replicates from it must agree.
            Action::Set(number) if self.width.signed => {
                let far = self.width.bits < 64
                    && self.width.most() > i128::from(i64::MAX) + i128::from(number);
                let saturates = self.overflow == Overflow::Saturate;
                if far && saturates { i128::MAX } else { number.into() }
            }
            Action::Set(number) => i128::from(number as u64),
            Action::Add(number) => i128::from(old) + i128::from(number),
        };
        let Some(new) = self.overflow.fit(wanted, self.width) else { return (None, false) };
        self.width.set(bytes, self.offset, new);
        let reply = if matches!(self.action, Action::Set(_)) { old } else { new };
        (Some(reply), new != old)
    }
}

fn steps(cx: &Context<'_>) -> Result<Vec<Step>, CommandError> {
    let args = cx.args;
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        if args.is(at, "overflow") && left >= 1 {
            overflow = match args.at(at + 1) {
                word if word.eq_ignore_ascii_case(b"wrap") => Overflow::Wrap,
                word if word.eq_ignore_ascii_case(b"sat") => Overflow::Saturate,
                word if word.eq_ignore_ascii_case(b"fail") => Overflow::Fail,
                _ => return Err("ERR Invalid OVERFLOW type specified".into()),
            };
            at += 2;
            continue;
        }
        let reads = args.is(at, "get") && left >= 2;
        let sets = args.is(at, "set") && left >= 3;
        let adds = args.is(at, "incrby") && left >= 3;
        if !(reads || sets || adds) {
            return Err(errors::SYNTAX.into());
        }
        let width = Width::read(args.at(at + 1))?;
        let offset = bit_offset(cx, args.at(at + 2), Some(width.bits))?;
        let action = if reads {
            Action::Get
        } else if sets {
            Action::Set(int(args.at(at + 3))?)
        } else {
            Action::Add(int(args.at(at + 3))?)
        };
        steps.push(Step { action, width, offset, overflow });
        at += if reads { 3 } else { 4 };
    }
    Ok(steps)
}

pub fn bitfield(cx: &mut Context<'_>, only_reads: bool) -> Handled {
    let steps = steps(cx)?;
    let key = cx.args.at(1);
    let last = steps.iter().filter(|step| !matches!(step.action, Action::Get));
    let last_bit = last.map(|step| step.offset + u64::from(step.width.bits) - 1).max();
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let Some(last_bit) = last_bit else {
        let found = string_at(db, key)?;
        let mut digits = IntBuf::default();
        let bytes = found.map_or(&[][..], |text| text.bytes(&mut digits));
        let mut reply = cx.client.reply();
        reply.array(steps.len());
        for step in &steps {
            reply.int(step.width.get(bytes, step.offset));
        }
        return Ok(());
    };
    if only_reads {
        return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
    }
    let (bytes, grew) = bits_mut(db, key, last_bit)?;
    let mut changes = 0;
    let mut reply = cx.client.reply();
    reply.array(steps.len());
    for step in &steps {
        let (number, changed) = step.change(bytes);
        // A step that added counts even if it came out where it began.
        let counts = grew || changed || matches!(step.action, Action::Add(_));
        changes += usize::from(counts && !matches!(step.action, Action::Get));
        match number {
            Some(number) => reply.int(number),
            None => reply.null(),
        }
    }
    if changes > 0 {
        wrote(cx, key, changes);
        cx.notify(EventClasses::STRING, "setbit", key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(text: &str) -> Width {
        Width::read(text.as_bytes()).expect(text)
    }

    #[test]
    fn every_width_reads_back_what_it_wrote_and_touches_nothing_else() {
        for bits in 1..=64u32 {
            for offset in 0..17u64 {
                for fill in [0x00, 0xff] {
                    let signed = Width { signed: true, bits };
                    for number in [signed.least() as i64, -1, 0, signed.most() as i64] {
                        let mut bytes = [fill; 12];
                        signed.set(&mut bytes, offset, number);
                        assert_eq!(signed.get(&bytes, offset), number, "i{bits} at {offset}");
                        let outside: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
                        let inside = (signed.wrap(number.into()) as u64) << (64 - bits);
                        let rest = if fill == 0 { 0 } else { 96 - bits };
                        assert_eq!(outside - inside.count_ones(), rest, "i{bits} at {offset}");
                    }
                }
            }
        }
    }

    #[test]
    fn overflow() {
        let check = |kind: &str, number: i128, expect: [Option<i64>; 3]| {
            let all = [Overflow::Wrap, Overflow::Saturate, Overflow::Fail];
            assert_eq!(all.map(|how| how.fit(number, width(kind))), expect, "{kind} {number}");
        };
        check("u8", 255, [Some(255); 3]);
        check("u8", 256, [Some(0), Some(255), None]);
        check("u8", -1, [Some(255), Some(0), None]);
        check("i8", 128, [Some(-128), Some(127), None]);
        check("i8", -129, [Some(127), Some(-128), None]);
        check("i64", 1 << 63, [Some(i64::MIN), Some(i64::MAX), None]);
        check("u63", 1 << 63, [Some(0), Some(i64::MAX), None]);
    }

    #[test]
    fn types() {
        assert_eq!(width("i64"), Width { signed: true, bits: 64 });
        assert_eq!(width("u1"), Width { signed: false, bits: 1 });
        for bad in ["u64", "i65", "i0", "u", "x8", "", "I8", "u8 ", "u-1"] {
            assert!(Width::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
