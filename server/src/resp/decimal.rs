//! Sums of decimal texts, exact where they have few enough digits, as INCRBYFLOAT and HINCRBYFLOAT
//! give them: 0.1 and 0.2 are 0.3.

use super::num::parse_f64;

/// Digits behind the point that a sum keeps.
const PLACES: u32 = 17;

/// The sum of two numbers as clients write them, never in exponent form; `None` when it is no
/// finite number. Both texts must be ones that [`parse_f64`] reads.
pub fn add(a: &[u8], b: &[u8]) -> Option<String> {
    if let (Some(a), Some(b)) = (fixed(a), fixed(b))
        && let Some(sum) = a.checked_add(b)
    {
        return Some(print(sum));
    }
    let sum = parse_f64(a)? + parse_f64(b)?;
    // Adding zero makes a negative zero an ordinary one.
    sum.is_finite().then(|| format!("{}", sum + 0.0))
}

/// The number times ten to the [`PLACES`], where that is a whole number of at most 38 digits.
fn fixed(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    let shift =
        exponent.checked_add(PLACES as i32)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scale = 10i128.checked_pow(shift.unsigned_abs())?;
    let number = if shift >= 0 {
        number.checked_mul(scale)?
    } else if number % scale == 0 {
        number / scale
    } else {
        return None;
    };
    Some(if negative { -number } else { number })
}

fn print(number: i128) -> String {
    let scale = 10u128.pow(PLACES);
    let size = number.unsigned_abs();
    let sign = if number < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:017}", size / scale, size % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::add;

    #[test]
    fn sums() {
        let check = |a: &str, b: &str, expect: Option<&str>| {
            assert_eq!(add(a.as_bytes(), b.as_bytes()).as_deref(), expect, "{a} + {b}");
        };
        check("0.1", "0.2", Some("0.3"));
        check("10.5", "0.1", Some("10.6"));
        check("-1", "1", Some("0"));
        check("5.0e3", "200", Some("5200"));
        check("1e-8", "0", Some("0.00000001"));
        check("1e17", "0", Some("100000000000000000"));
        check("-0.5", "0.25", Some("-0.25"));
        check("1e30", "1", Some("1000000000000000000000000000000"));
        check("1e-30", "0", Some("0.000000000000000000000000000001"));
        check("1e308", "1e308", None);
        check("-inf", "1", None);
    }
}
