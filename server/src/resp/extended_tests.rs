use super::Extended;

/// A text is no number.
const REFUSED: &str = "refused";
/// The sum is no finite number.
const NONE: &str = "none";

/// A sum with a number of 19 digits had a fraction that no peer's has, and 1e400 was refused. The
/// answers are those of C's `long double` on a processor that has it.
#[test]
fn sums() {
    let table = [
        ("0.1", "0.2", "0.3"),
        ("10.5", "0.1", "10.6"),
        ("-1", "1", "0"),
        ("5.0e3", "200", "5200"),
        ("1e-8", "0", "0.00000001"),
        ("-0.5", "0.25", "-0.25"),
        ("1e30", "1", "1000000000000000000024696061952"),
        ("2.5", "9223372036854775807", "9223372036854775810"),
        ("1.5", "9223372036854775807", "9223372036854775808"),
        ("0.5", "-9223372036854775808", "-9223372036854775807.5"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551615", "0.5", "18446744073709551616"),
        ("18446744073709551614", "0.5", "18446744073709551614"),
        ("9007199254740993", "0", "9007199254740993"),
        ("3.14159265358979", "0", "3.14159265358979"),
        ("-0.000000000000000004", "0", "0"),
        ("0.000000000000000005", "0", "0"),
        ("0.000000000000000015", "0", "0.00000000000000002"),
        ("1e-30", "0", "0"),
        ("-1e-4950", "0", "0"),
        (
            "100000000000000000000000000000000000000000",
            "1e-40",
            "99999999999999999996656269301985151287296",
        ),
        ("1e4932", "-1e4932", "0"),
        ("1e4932", "1e4932", NONE),
        ("1e4933", "0", REFUSED),
        ("1e-4952", "0", REFUSED),
        ("0x10", "0X.8p1", "17"),
        ("0x1p-16445", "0", "0"),
        ("0x1p-16446", "0", REFUSED),
        ("0x", "0", REFUSED),
        ("0x1p", "0", REFUSED),
        ("5.", ".5", "5.5"),
        (".", "0", REFUSED),
        ("e5", "0", REFUSED),
        ("1e", "0", REFUSED),
        ("0e99999999999999999999", "0", "0"),
        ("1e99999999999999999999", "0", REFUSED),
        ("inf", "1", NONE),
        ("-Infinity", "+iNF", NONE),
        ("nan", "0", REFUSED),
        ("+-1", "0", REFUSED),
        ("1_0", "0", REFUSED),
        ("1,5", "0", REFUSED),
        ("", "0", REFUSED),
        (" 1", "0", REFUSED),
        ("1 ", "0", REFUSED),
    ];
    for (a, b, expect) in table {
        assert_eq!(sum(a, b), expect, "{a} + {b}");
        assert_eq!(sum(b, a), expect, "{b} + {a}");
    }
}

fn sum(a: &str, b: &str) -> String {
    let [a, b] = [a, b].map(|text| Extended::parse(text.as_bytes()));
    match (a, b) {
        (Some(a), Some(b)) => a.plus(b).map_or(NONE.into(), |sum| sum.to_string()),
        _ => REFUSED.into(),
    }
}

/// More digits than a mantissa has decide where they lie between two numbers.
#[test]
fn long_texts_are_rounded_once() {
    let half = "9223372036854775808.5";
    for (digits, expect) in [
        (String::new(), "9223372036854775808"),
        ("0".repeat(4000), "9223372036854775808"),
        ("0".repeat(4000) + "1", "9223372036854775809"),
    ] {
        assert_eq!(sum(&(half.to_owned() + &digits), "0"), expect);
    }
    assert_eq!(sum(&"0".repeat(5119), "1"), "1");
    assert_eq!(sum(&"0".repeat(5120), "1"), REFUSED);
    assert_eq!(sum(&"9".repeat(4950), "1"), REFUSED);
    assert_eq!(sum(&("0.".to_owned() + &"0".repeat(4900) + "7"), "1"), "1");
}
