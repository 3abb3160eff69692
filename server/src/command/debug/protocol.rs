//! DEBUG PROTOCOL: a value of each kind that RESP knows, for tests of clients and scripts.

use crate::command::Handled;
use crate::engine::Context;

pub fn protocol(cx: &mut Context<'_>) -> Handled {
    let kind = String::from_utf8_lossy(cx.args.at(2)).to_ascii_lowercase();
    let mut reply = cx.reply();
    match kind.as_str() {
        "string" => reply.bulk(b"Hello World"),
        "integer" => reply.int(12345),
        "double" => reply.double(f64::from(3141) / 1000.0),
        "null" => reply.null(),
        "array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.int(number));
        }
        "set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.int(number));
        }
        "map" => {
            reply.map(3);
            for number in 0..3 {
                reply.int(number);
                reply.bool(number == 1);
            }
        }
        "attrib" => {
            if reply.is_resp3() {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        "push" => {
            if !reply.is_resp3() {
                return Err("ERR RESP2 is not supported by this command".into());
            }
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
        }
        "verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        "true" => reply.bool(true),
        "false" => reply.bool(false),
        "bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        _ => {
            return Err("ERR Wrong protocol type name. Please use one of the following: \
                        string|integer|double|null|array|set|map|attrib|push|verbatim|true|false"
                .into());
        }
    }
    Ok(())
}
