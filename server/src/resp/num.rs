//! Numbers as the protocol reads and prints them.

/// A signed integer in its canonical form only: no spaces, no plus sign, no leading zero.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut number: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Nineteen digits always fit into 64 unsigned bits.
        number = number * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// A double as clients write it: decimal or exponent form, `inf` in any case; never NaN, and never a
/// number too large or too small to be one.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let number = text.parse::<f64>().ok()?;
    let word = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    let digits = || text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    if number.is_nan() || number.is_infinite() && !word {
        return None;
    }
    if number == 0.0 && digits().any(|byte| matches!(byte, b'1'..=b'9')) {
        return None;
    }
    Some(number)
}

/// A double in the shortest digits that read back as the same number, as replies print it: whole
/// numbers without an exponent up to half of 64 bits, others without one where that is no longer.
pub fn format_f64(number: f64) -> String {
    const WHOLE: f64 = (i64::MAX / 2) as f64;
    if number.fract() == 0.0 && number.abs() <= WHOLE {
        return (number as i64).to_string();
    }
    shortest_f64(number)
}

/// As [`format_f64`], but whole numbers are as others: with an exponent where that is shorter.
pub fn shortest_f64(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    // Rust's exponent form has the shortest digits; only its layout is another.
    let text = format!("{:e}", number.abs());
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let count = digits.len() as i32;
    let shift = exponent - (count - 1);
    let sign = if number < 0.0 { "-" } else { "" };
    if shift >= 0 && exponent < count + 7 {
        return format!("{sign}{digits}{}", "0".repeat(shift as usize));
    }
    if shift < 0 && (shift > -7 || exponent.abs() < 4) {
        return if exponent < 0 {
            format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize))
        } else {
            let (whole, fraction) = digits.split_at((exponent + 1) as usize);
            format!("{sign}{whole}.{fraction}")
        };
    }
    let plus = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{mantissa}e{plus}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical() {
        let check = |text: &str, expect: Option<i64>| {
            assert_eq!(parse_i64(text.as_bytes()), expect, "{text}");
        };
        check("0", Some(0));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for bad in ["", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "1a"] {
            check(bad, None);
        }
    }

    #[test]
    fn doubles_print_shortest() {
        let check = |number: f64, expect: &str| assert_eq!(format_f64(number), expect);
        check(3.0, "3");
        check(0.1, "0.1");
        check(-1.5, "-1.5");
        check(1e20, "1e+20");
        check(1e17, "100000000000000000");
        check(-0.0, "0");
        check(0.000_001, "0.000001");
        check(1e-7, "1e-7");
        check(1.5e-9, "1.5e-9");
        check(-12345.678, "-12345.678");
        check(1.25e30, "1.25e+30");
        check(f64::INFINITY, "inf");
    }

    #[test]
    fn doubles_that_do_not_fit_are_refused() {
        let check = |text: &str, expect: Option<f64>| {
            assert_eq!(parse_f64(text.as_bytes()), expect, "{text}");
        };
        check("+inf", Some(f64::INFINITY));
        check("-Infinity", Some(f64::NEG_INFINITY));
        check("-0.0e5", Some(0.0));
        for bad in ["1e400", "-1e400", "1e-400", "nan", "", " 1", "1 ", "0x10", "e5", "1e"] {
            check(bad, None);
        }
    }
}
