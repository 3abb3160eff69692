//! Requests as text in, commands as text out, whole and cut at every byte.

use super::*;

/// Feeds `input` in pieces of `step` bytes; yields the commands, or the error that ended it.
fn run(input: &[u8], step: usize, limits: &Limits) -> String {
    let mut parser = Parser::default();
    let mut out = Vec::new();
    let (mut start, mut seen) = (0, 0);
    loop {
        match parser.parse(&input[start..seen], limits) {
            Ok(Parsed::Command { len }) => {
                let text = parser.inline_args();
                let buf = text.as_deref().unwrap_or(&input[start..seen]);
                out.push(format!("{:?}", Args::new(buf, &parser.spans)));
                start += len;
            }
            Ok(Parsed::Incomplete) if seen == input.len() => break,
            Ok(Parsed::Incomplete) => seen = (seen + step).min(input.len()),
            Err(error) => {
                out.push(error.to_string());
                break;
            }
        }
    }
    out.join(" ")
}

fn check(input: &str, expect: &str) {
    let limits = Limits::authenticated(1024);
    for step in [1, 2, 3, 7, input.len().max(1)] {
        assert_eq!(run(input.as_bytes(), step, &limits), expect, "{input:?} by {step}");
    }
}

#[test]
fn arrays_and_pipelines() {
    check("*1\r\n$4\r\nPING\r\n", r#"["PING"]"#);
    check("*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$1\r\nX\r\n", r#"["GET", ""] ["X"]"#);
    check("*0\r\n*-1\r\n*1\r\n$1\r\nX\r\n", r#"[] [] ["X"]"#);
    check("*1\r\n$12\r\nabcdefghijkl\r\n", r#"["abcdefghijkl"]"#);
    check("*1\r\n$012\r\n", "ERR Protocol error: invalid bulk length");
}

#[test]
fn inline_commands() {
    check("PING\r\n", r#"["PING"]"#);
    check("set  a b\n\r\nget a\r\n", r#"["set", "a", "b"] [] ["get", "a"]"#);
    check("echo \"a b\\n\\x41\" 'c d'\r\n", r#"["echo", "a b\nA", "c d"]"#);
    check("echo \"a\r\n", "ERR Protocol error: unbalanced quotes in request");
    check("echo \"a\"b'c d'\r\n", r#"["echo", "abc d"]"#);
    check("echo 'b'a'r\r\n", "ERR Protocol error: unbalanced quotes in request");
}

#[test]
fn malformed_requests() {
    check("*x\r\n", "ERR Protocol error: invalid multibulk length");
    check("*9999999\r\n", "ERR Protocol error: invalid multibulk length");
    check("*1\r\n+PING\r\n", "ERR Protocol error: expected '$', got '+'");
    check("*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length");
    check("*1\r\n$1025\r\n", "ERR Protocol error: invalid bulk length");
    let line_end = "ERR Protocol error: invalid CRLF in request";
    check("*1\r\n$1\r\nabc", line_end);
    check("*1\rx$1\r\na\r\n", line_end);
    check("*1\r\n$1\rxa\r\n", line_end);
    check("*1x\n$1\r\na\r\n", "ERR Protocol error: invalid multibulk length");
}

proptest::proptest! {
    /// Whatever arrives, and however it is cut, the parser neither panics nor depends on the cuts.
    #[test]
    fn cuts_change_nothing(
        pieces in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::strategy::Just("*1\r\n".to_owned()),
                proptest::strategy::Just("*2\r\n".to_owned()),
                proptest::strategy::Just("$3\r\nabc\r\n".to_owned()),
                proptest::strategy::Just("$0\r\n\r\n".to_owned()),
                proptest::strategy::Just("PING\r\n".to_owned()),
                proptest::strategy::Just("\"a b\" 'c'\n".to_owned()),
                "[*$0-9\r\n\"a-c -]{0,12}",
            ],
            0..12,
        ),
        step in 1usize..9,
    ) {
        let input = pieces.concat();
        let limits = Limits::authenticated(1024);
        let whole = run(input.as_bytes(), input.len().max(1), &limits);
        proptest::prop_assert_eq!(run(input.as_bytes(), step, &limits), whole);
    }
}

#[test]
fn tighter_before_authentication() {
    let limits = Limits::UNAUTHENTICATED;
    assert_eq!(run(b"*11\r\n", 5, &limits), "ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(
        run(b"*1\r\n$16385\r\n", 50, &limits),
        "ERR Protocol error: unauthenticated bulk length"
    );
    let long = vec![b'a'; 70_000];
    assert_eq!(run(&long, 1000, &limits), "ERR Protocol error: too big inline request");
}

/// A command that became longer than spans can count as it was composed ended the process.
#[test]
fn a_composed_command_is_counted_before_it_is_copied() {
    let part = vec![0; 1 << 30];
    let check = |parts: &[&[u8]], expect: bool| {
        let composed = OwnedArgs::composed(parts.iter().copied());
        assert_eq!(composed.is_some(), expect, "{} parts", parts.len());
    };
    check(&[], true);
    check(&[b"GET", b"", b"key"], true);
    check(&[&part, &part, &part, &part], false);
    let owned = OwnedArgs::composed([&b"GET"[..], b"", b"key"]).unwrap();
    assert_eq!(format!("{:?}", owned.args()), r#"["GET", "", "key"]"#);
}
