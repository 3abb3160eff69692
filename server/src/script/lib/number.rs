//! Numbers as C prints and reads them.

/// `%.<precision>g`.
pub fn format_g(number: f64, precision: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan".into() } else { "nan".into() };
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let precision = precision.max(1);
    let scientific = format!("{number:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("this form has an exponent");
    let exponent: i32 = exponent.parse().expect("digits");
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{number:.decimals$}")).to_owned()
}

/// Without the zeros that `%g` leaves out.
fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// What `strtod` reads at the start of `text`: the number and how many bytes it took; none took
/// part when it begins with no number.
pub fn strtod(text: &[u8]) -> (f64, usize) {
    let sign_len = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let negative = text.first() == Some(&b'-');
    let body = &text[sign_len..];
    let word = |word: &str| {
        body.len() >= word.len() && body[..word.len()].eq_ignore_ascii_case(word.as_bytes())
    };
    let signed = |number: f64| if negative { -number } else { number };
    for (name, value) in [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)] {
        if word(name) {
            return (signed(value), sign_len + name.len());
        }
    }
    if word("0x") && body.get(2).is_some_and(u8::is_ascii_hexdigit) {
        let digits = body[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let value = body[2..2 + digits].iter().fold(0.0, |value, digit| {
            value * 16.0 + f64::from((*digit as char).to_digit(16).expect("a hex digit"))
        });
        return (signed(value), sign_len + 2 + digits);
    }
    let len = decimal_len(body);
    let parsed = std::str::from_utf8(&body[..len]).ok().and_then(|text| text.parse().ok());
    parsed.map_or((0.0, 0), |value: f64| (signed(value), sign_len + len))
}

/// How many bytes of `body` are a decimal number.
fn decimal_len(body: &[u8]) -> usize {
    let digits = |from: usize| body[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    if body.get(len) == Some(&b'.') {
        let fraction = digits(len + 1);
        if whole + fraction == 0 {
            return 0;
        }
        len += 1 + fraction;
    }
    if len > 0 && matches!(body.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(body.get(len + 1), Some(b'+' | b'-')));
        let exponent = if len + 1 + sign <= body.len() { digits(len + 1 + sign) } else { 0 };
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_as_c_does() {
        let check = |number: f64, precision, expect: &str| {
            assert_eq!(format_g(number, precision), expect);
        };
        check(1.0, 14, "1");
        check(0.1, 14, "0.1");
        check(10.0 / 3.0, 14, "3.3333333333333");
        check(1e15, 14, "1e+15");
        check(1e13, 14, "10000000000000");
        check(123_456.0, 3, "1.23e+05");
        check(0.0001, 14, "0.0001");
        check(0.000_01, 14, "1e-05");
        check(-2.5, 14, "-2.5");
        check(0.0, 14, "0");
        check(1e-300, 14, "1e-300");
        check(f64::INFINITY, 14, "inf");
    }

    #[test]
    fn read_as_c_does() {
        let check = |text: &str, value: f64, len: usize| {
            assert_eq!(strtod(text.as_bytes()), (value, len), "{text}");
        };
        check("12,", 12.0, 2);
        check("-1.5e3]", -1500.0, 6);
        check("1e", 1.0, 1);
        check("1e+", 1.0, 1);
        check(".5", 0.5, 2);
        check("5.", 5.0, 2);
        check(".", 0.0, 0);
        check("0x1F ", 31.0, 4);
        check("inf", f64::INFINITY, 3);
        check("-Infinity", f64::NEG_INFINITY, 9);
        check("x", 0.0, 0);
        check("-", 0.0, 0);
    }
}
