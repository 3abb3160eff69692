//! Floating point numbers with 64 bits of mantissa and 15 of exponent, as the x87 has them and C
//! calls them `long double`: Redis computes INCRBYFLOAT and HINCRBYFLOAT with them, so that 0.1 and
//! 0.2 are 0.3, whole numbers up to 64 bits are exact, and 1e400 is finite. Equal sums need the
//! same mantissa and the same rounding; no processor but one has them, so they are computed here.

use std::fmt;

use super::wide::Wide;

/// The least weight of a lowest bit: below it numbers lose bits, and become zero.
const MIN_EXPONENT: i32 = -16445;
const MAX_EXPONENT: i32 = 16320;
/// Digits behind the point that are printed.
const PLACES: u32 = 17;
/// The text of a number may not be as long as this.
const MAX_TEXT: usize = 5 * 1024;
/// Every number of this many decimal places and more is too large, or zero.
const MAX_PLACES: i32 = 5000;
/// Bits of a quotient: those of a mantissa, and enough to round them.
const QUOTIENT: u32 = 67;

/// A number, `mantissa` times two to the `exponent`. The highest bit of the mantissa is set unless
/// the exponent is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

impl Extended {
    pub const ZERO: Self = Self::finite(0, MIN_EXPONENT);

    const fn finite(mantissa: u64, exponent: i32) -> Self {
        Self { negative: false, mantissa, exponent, infinite: false }
    }

    /// Reads what `strtold` reads of a whole text: decimal or, after `0x`, hexadecimal digits with
    /// an exponent, or `inf`. `None` for others, for NaN, and for what is too large or too small.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= MAX_TEXT {
            return None;
        }
        let (negative, size) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let infinite = |word: &str| size.eq_ignore_ascii_case(word.as_bytes());
        let number = match size {
            _ if infinite("inf") || infinite("infinity") => {
                Self { infinite: true, ..Self::finite(0, 0) }
            }
            [b'0', b'x' | b'X', digits @ ..] => hexadecimal(digits)?,
            _ => decimal(size)?,
        };
        Some(Self { negative, ..number })
    }

    pub fn is_infinite(self) -> bool {
        self.infinite
    }

    /// The sum, rounded to the nearest number and to an even one in between; `None` where it is no
    /// finite number.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.infinite || other.infinite {
            return None;
        }
        let rank = |number: Self| (number.exponent, number.mantissa);
        let (great, small) = if rank(self) >= rank(other) { (self, other) } else { (other, self) };
        // Room for a carry above, and below for all that decides about rounding.
        let (above, below) = (u128::from(great.mantissa) << 62, u128::from(small.mantissa) << 62);
        let shift = great.exponent.abs_diff(small.exponent).min(127);
        let (part, lost) = (below >> shift, below & ((1 << shift) - 1) != 0);
        let sum = if great.negative == small.negative {
            above + part
        } else {
            above - part - u128::from(lost)
        };
        // A difference that is nothing has no sign.
        let negative = great.negative && sum != 0;
        Some(Self { negative, ..round(sum, great.exponent - 62, lost)? })
    }
}

/// The number nearest to `mantissa` times two to the `exponent`, with a bit more where `lost`;
/// `None` where that is too large. With `lost` the mantissa must have more bits than are kept; one
/// of all 128 bits must not be tiny.
fn round(mantissa: u128, exponent: i32, lost: bool) -> Option<Extended> {
    if mantissa == 0 {
        return Some(Extended::ZERO);
    }
    let spare = 64 - (128 - mantissa.leading_zeros() as i32);
    // Up to so many bits are free, as far as the exponent allows.
    let shift = (-spare).max(MIN_EXPONENT - exponent);
    if shift <= 0 {
        let kept = (mantissa << shift.unsigned_abs()) as u64;
        return within(kept, exponent + shift);
    }
    if shift >= 128 {
        return Some(Extended::ZERO);
    }
    let kept = (mantissa >> shift) as u64;
    let half = 1u128 << (shift - 1);
    let rest = mantissa & ((half << 1) - 1);
    let up = rest > half || (rest == half && (lost || kept & 1 == 1));
    match kept.checked_add(u64::from(up)) {
        Some(kept) => within(kept, exponent + shift),
        None => within(1 << 63, exponent + shift + 1),
    }
}

fn within(mantissa: u64, exponent: i32) -> Option<Extended> {
    (exponent <= MAX_EXPONENT).then(|| Extended::finite(mantissa, exponent))
}

/// The exponent behind an `e` or a `p`, as far as exponents matter.
fn exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits
        .iter()
        .fold(0, |size: i32, digit| (size * 10 + i32::from(digit - b'0')).min(1_000_000));
    Some(if negative { -size } else { size })
}

/// The digits without the point and without zeros in front, how many of them are behind the point,
/// and the exponent; `None` if there is no digit.
fn parts(text: &[u8], mark: u8) -> Option<(Vec<u8>, i32, i32)> {
    let (size, exponent) = match text.iter().position(|byte| byte.to_ascii_lowercase() == mark) {
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = size.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&size[..at], &size[at + 1..]),
        None => (size, &b""[..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = whole.iter().chain(fraction).copied().skip_while(|digit| *digit == b'0');
    Some((digits.collect(), fraction.len() as i32, exponent))
}

fn decimal(text: &[u8]) -> Option<Extended> {
    let (mut digits, mut behind, exponent) = parts(text, b'e')?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
        behind -= 1;
    }
    let places = exponent - behind;
    if digits.is_empty() {
        return Some(Extended::ZERO);
    }
    if (places + digits.len() as i32).abs() > MAX_PLACES {
        return None;
    }
    let power = places.unsigned_abs();
    let number = if digits.len() <= 19 && power <= 18 {
        let number = digits.iter().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        let power = 10u128.pow(power);
        if places >= 0 {
            round(number * power, 0, false)
        } else {
            // The number above has its highest bit at the top, so the quotient has 68 at least.
            let shift = number.leading_zeros();
            let number = number << shift;
            round(number / power, -(shift as i32), number % power != 0)
        }
    } else {
        let mut number = Wide::of_digits(&digits);
        if places >= 0 {
            number.times_ten_to(power);
            let (top, below, lost) = number.top();
            round(top, below as i32, lost)
        } else {
            let (quotient, first, lost) = number.divide(Wide::power_of_ten(power), QUOTIENT);
            round(quotient, first - (QUOTIENT as i32 - 1), lost)
        }
    };
    number.filter(|number| number.mantissa != 0)
}

fn hexadecimal(text: &[u8]) -> Option<Extended> {
    let (digits, behind, exponent) = parts(text, b'p')?;
    let (mut number, mut below, mut lost) = (0u128, 0, false);
    for digit in &digits {
        let digit = char::from(*digit).to_digit(16)?;
        if number >> 120 == 0 {
            number = number << 4 | u128::from(digit);
        } else {
            below += 4;
            lost |= digit != 0;
        }
    }
    let number = round(number, exponent + below - 4 * behind, lost)?;
    (number.mantissa != 0 || digits.is_empty()).then_some(number)
}

/// With up to [`PLACES`] digits behind the point and never in exponent form, so that the next
/// INCRBYFLOAT, or INCR, reads it again.
impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        if self.infinite {
            return write!(f, "{sign}inf");
        }
        if self.exponent >= 0 {
            let mut whole = Wide::from(self.mantissa);
            whole.shift_left(self.exponent.unsigned_abs());
            return write!(f, "{sign}{}", whole.into_decimal());
        }
        let scale = 10u128.pow(PLACES);
        let (number, shift) = (u128::from(self.mantissa) * scale, self.exponent.unsigned_abs());
        // All of the number lies below a half from there on.
        let scaled = if shift >= 127 { 0 } else { halves_to_even(number, shift) };
        if scaled == 0 {
            return write!(f, "0");
        }
        let (whole, fraction) = (scaled / scale, scaled % scale);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{fraction:017}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

/// The number divided by two to the `shift`, which is at least one.
fn halves_to_even(number: u128, shift: u32) -> u128 {
    let (kept, half) = (number >> shift, 1u128 << (shift - 1));
    let rest = number & ((half << 1) - 1);
    kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
}

#[cfg(test)]
#[path = "extended_tests.rs"]
mod tests;
