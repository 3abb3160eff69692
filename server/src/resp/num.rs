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

/// A double as clients write it: decimal or exponent form, `inf` in any case; never NaN.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() || text.starts_with(char::is_whitespace) {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| !number.is_nan())
}

/// A double in the shortest text that reads back as the same number, as replies print it.
pub fn format_f64(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let magnitude = number.abs();
    if (1e-4..1e17).contains(&magnitude) {
        return format!("{number}");
    }
    // `1e+20` and `1e-7` are C's way to print an exponent; Rust prints `1e20` and `1e-7`.
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if exponent.starts_with('-') => {
            format!("{digits}e-{:0>2}", &exponent[1..])
        }
        Some((digits, exponent)) => format!("{digits}e+{exponent:0>2}"),
        None => text,
    }
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
        check(1e-7, "1e-07");
        check(f64::INFINITY, "inf");
    }
}
