//! Scripts on a whole engine, without sockets.

use crate::engine::testing::Bench;
use crate::resp::OwnedArgs;

fn ask(bench: &mut Bench, client: usize, words: &[&str]) -> String {
    let args = OwnedArgs::from_parts(words.iter().map(|word| word.as_bytes()));
    let mut bytes = Vec::new();
    crate::resp::encode_command(&mut bytes, args.args().iter());
    bench.engine.receive(bench.id(client), &bytes);
    bench.out(client)
}

fn eval(script: &str) -> String {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    ask(&mut bench, client, &["EVAL", script, "0"])
}

/// Each class of holes that Lua or its libraries had in servers of this kind.
mod holes {
    use super::*;

    fn refused(script: &str, why: &str) {
        let reply = eval(script);
        assert!(reply.starts_with('-') && reply.contains(why), "{script}: {reply}");
    }

    /// A width of the smallest 32-bit number has no opposite, and overran a buffer of eight digits.
    #[test]
    fn cve_2024_31449_bit_tohex() {
        assert_eq!(eval("return bit.tohex(65535, -2147483648)"), "$8 0000FFFF");
    }

    /// Lengths computed in 32 bits while a large string was escaped.
    #[test]
    fn cve_2022_24834_cjson_and_cmsgpack_lengths() {
        let script = "local s = string.rep('\\0', 1000000) return #cjson.encode({s, s})";
        assert_eq!(eval(script), format!(":{}", 2 * (6 * 1_000_000 + 2) + 3));
        let script = "local s = string.rep('x', 70000) return #cmsgpack.pack({s, s})";
        assert_eq!(eval(script), format!(":{}", 1 + 2 * 70_005));
    }

    /// Sizes of a format that wrapped around, so that reading went beyond the data.
    #[test]
    fn cve_2018_11219_struct_sizes() {
        refused("return struct.unpack('c2147483647', 'abc')", "data string too short");
        refused("return struct.unpack('I99999999999', 'abc')", "integral size overflow");
        refused("return struct.unpack('c0c0', 'abc', -1)", "offset must be 1 or greater");
        refused("return struct.pack('>I2147483648', 10)", "integral size overflow");
        refused("return struct.unpack('I4', 'abcd', 2^62)", "data string too short");
    }

    /// More results than Lua's stack has room for.
    #[test]
    fn cve_2018_11218_cmsgpack_results() {
        refused("return #{cmsgpack.unpack(string.rep('\\1', 100000))}", "too many return values");
        refused("return cmsgpack.unpack(string.rep('\\145', 100000) .. '\\1')", "stack overflow");
        refused("return cmsgpack.unpack('\\221\\255\\255\\255\\255')", "Missing bytes");
    }

    /// The parser held its chunk's name by nothing, and the collector took it away meanwhile.
    #[test]
    fn cve_2025_49844_name_of_a_chunk() {
        let script = "for i = 1, 2000 do local name = 'n' .. i .. '\\0tail' \
             local f = loadstring('return \"' .. string.rep('x', i % 300) .. '\" ..', name) \
             collectgarbage() local g, e = load(function() collectgarbage() return nil end, name) \
             end return 'whole'";
        assert_eq!(eval(script), "$5 whole");
    }

    /// A count of results that wrapped around.
    #[test]
    fn cve_2025_46817_unpack() {
        for range in ["0, 2147483647", "-1, 2147483647", "-2147483648, 2147483647", "1, 100000"] {
            refused(&format!("return {{unpack({{}}, {range})}}"), "too many results to unpack");
        }
    }

    /// Metatables of basic types, through which one script changed what another calls.
    #[test]
    fn cve_2025_46818_metatables_of_basic_types() {
        refused("getmetatable('').__index = function() return 1 end", "readonly table");
        refused("getmetatable('').__index.upper = nil", "readonly table");
        refused("string.upper = nil", "readonly table");
        refused("rawset(getmetatable(''), '__index', nil)", "readonly table");
        assert_eq!(eval("return ('a'):upper()"), "$1 A");
    }

    /// A long bracket whose level overflowed an `int` in the lexer.
    #[test]
    fn cve_2025_46819_long_brackets() {
        refused("return loadstring('return [' .. string.rep('=', 70000))()", "");
        refused("return [==x", "invalid long string delimiter");
    }

    /// Compiled code is not checked by Lua, and whoever may load it may do anything.
    #[test]
    fn compiled_code_is_not_loaded() {
        let script = "local f, e = loadstring(string.dump(function() return 1 end)) \
             return {type(f), e}";
        assert!(eval(script).contains("unexpected symbol"), "{}", eval(script));
    }

    /// Matching recurses in C for each repetition of a pattern.
    #[test]
    fn patterns_are_bounded() {
        refused("return string.find(string.rep('a', 300000), string.rep('a?', 300000))", "complex");
        let script = "return string.find(string.rep('a', 900), string.rep('a?', 900))";
        assert_eq!(eval(script), ":1");
    }
}

/// Scripts look through the libraries, though what they see are proxies of them.
#[test]
fn shared_tables_can_be_listed() {
    assert_eq!(
        eval(
            "local names = {} for name in pairs(os) do names[#names + 1] = name end \
         return table.concat(names)"
        ),
        "$5 clock"
    );
    assert_eq!(eval("return next(os)"), "$5 clock");
    assert_eq!(
        eval(
            "for name, value in pairs(_G) do \
             if name ~= 'KEYS' and name ~= 'ARGV' and type(value) == 'table' then \
         assert(not pcall(rawset, value, 'x', 1)) end end return 1"
        ),
        ":1"
    );
}

/// A finalizer may run a command at any time, also while the reply of another is being read.
#[test]
fn finalizers_that_run_commands_disturb_no_reply() {
    let mut bench = Bench::new(&[("lua-enable-insecure-api", "yes")]);
    let client = bench.client();
    let script = "collectgarbage('setpause', 0) collectgarbage('setstepmul', 1000) \
         for i = 1, 300 do redis.call('rpush', 'l', ('x'):rep(50) .. i) end \
         for round = 1, 50 do \
           for i = 1, 20 do local p = newproxy(true) getmetatable(p).__gc = function() \
             redis.call('incr', 'finalized') redis.pcall('lrange', 'l', 0, 9) end end \
           for i, v in ipairs(redis.call('lrange', 'l', 0, -1)) do \
             if v ~= ('x'):rep(50) .. i then return 'torn' end end \
         end \
         local all = redis.call('lrange', 'l', 0, 2) \
         all[4] = tonumber(redis.call('get', 'finalized')) > 100 return all";
    let reply = ask(&mut bench, client, &["EVAL", script, "0"]);
    let x = "x".repeat(50);
    assert_eq!(reply, format!("*4 $51 {x}1 $51 {x}2 $51 {x}3 :1"));
    assert_eq!(ask(&mut bench, client, &["EVAL", "return 1", "0"]), ":1");
}

/// A compiled function takes the place of one that is gone.
#[test]
fn more_scripts_than_are_kept() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    for round in 0..2 {
        for number in 0..1200 {
            let script = format!("return {number}");
            let reply = ask(&mut bench, client, &["EVAL", &script, "0"]);
            assert_eq!(reply, format!(":{number}"), "round {round}");
        }
    }
}

/// What `redis.call` raises is a table with the text of the error reply, also for arguments that
/// are none, in a coroutine and from a finalizer that nobody catches.
#[test]
fn what_commands_raise() {
    for (script, reply) in [
        ("return redis.call()", "-ERR Please specify at least one argument for this call"),
        ("return redis.call({})", "-ERR Command arguments must be strings or integers"),
        ("return redis.pcall('nonsense')", "-ERR Unknown command called from script"),
        ("return redis.pcall('nonsense').err", "$38 ERR Unknown command called from script"),
        ("return {pcall(redis.call, 'get')}", "*2 $-1 $52 ERR Wrong number of args"),
        ("return select(2, pcall(redis.call, 'get'))", "$52 ERR Wrong number of args"),
        ("return redis.call('set', 'k', 1.5) and redis.call('get', 'k')", "$3 1.5"),
        ("return redis.call('set', 'k', 1e15) and redis.call('get', 'k')", "$16 1000000000000000"),
        ("local c = coroutine.wrap(function() return redis.call('ping') end) return c()", "+PONG"),
        (
            "local ok, e = coroutine.resume(coroutine.create(function() redis.call('get') end)) \
             return e.err",
            "$52 ERR Wrong number of args",
        ),
        ("return {double = 1.5}", "$3 1.5"),
        ("return {map = {a = {set = {b = true}}}}", "*2 $1 a *1 $1 b"),
        ("return {1, 2, nil, 4}", "*2 :1 :2"),
        ("return {1, {'x', {ok = 'fine'}}, false, true}", "*4 :1 *2 $1 x +fine $-1 :1"),
        ("return {err = 'MY\\nerror'}", "-MY error"),
        ("redis.setresp(3) return {redis.call('hgetall', 'none'), true}", "*2 *0 :1"),
    ] {
        let found = eval(script);
        assert!(found.starts_with(reply.trim_end()), "{script}: {found}");
    }
}

/// Nearly as many as the C stack of Lua has room for, which is 8000.
#[test]
fn thousands_of_arguments() {
    assert_eq!(
        eval(
            "local a = {} for i = 1, 7999 do a[i] = 1 end \
         return redis.call('lpush', 'l', unpack(a))"
        ),
        ":7999"
    );
}

/// A script that returned more than twenty values ended debug builds in an assertion of Lua, since
/// `pcall` and `xpcall` push one value more than there is room for.
#[test]
fn dozens_of_results() {
    assert_eq!(eval("return unpack({1, 2, 3}, 1, 22)"), ":1");
    assert_eq!(eval("return string.byte(string.rep('x', 1000), 1, 1000)"), ":120");
    for count in [0, 1, 16, 17, 19, 20, 21, 22, 23, 24, 40, 41, 250, 7000] {
        for script in [
            "return select('#', pcall(unpack, {}, 1, N))",
            "return select('#', pcall(pcall, unpack, {}, 1, N)) - 1",
            "return select('#', xpcall(function() return unpack({}, 1, N) end, error))",
            "return select('#', pcall(setmetatable({}, {__call = function(_, n) \
             return unpack({}, 1, n) end}), N))",
            "local t = {} t[N] = N return (select(N + 2, 0, pcall(unpack, t, 1, N))) and N + 1",
            "return select('#', coroutine.resume(coroutine.create(function() \
             return unpack({}, 1, N) end)))",
        ] {
            let script = script.replace('N', &count.to_string());
            assert_eq!(eval(&script), format!(":{}", count + 1), "{script}");
        }
    }
    let many = "return select(18, pcall(unpack, {1, 2, 3, nil, 5, [17] = 'last'}, 1, 30))";
    assert_eq!(eval(many), "$4 last");
    let more = "local function grow(n, ...) if n == 0 then return ... end \
         return grow(n - 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...) end \
         return pcall(grow, 1000)";
    assert!(eval(more).contains("too many results to unpack"), "{}", eval(more));
}

/// A library whose code returns dozens of values, and a function that does, ended likewise.
#[test]
fn dozens_of_results_of_functions() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let code = "#!lua name=many\nserver.register_function('many', \
         function() return unpack({7}, 1, 100) end) return 1";
    let code = code.replace("return 1", &format!("return 1{}", ", 1".repeat(100)));
    assert_eq!(ask(&mut bench, client, &["FUNCTION", "LOAD", &code]), "$4 many");
    assert_eq!(ask(&mut bench, client, &["FCALL", "many", "0"]), ":7");
}

/// Errors keep the places that Lua gives them: none when what raised is called by `pcall` or is the
/// script itself, and no place in the sandbox.
#[test]
fn places_of_errors() {
    for (script, text) in [
        ("return {pcall(function() error('x', 2) end)}", "$1 x"),
        ("return {pcall(function() error('x') end)}", "$16 user_script:1: x"),
        ("return {pcall(nil)}", "attempt to call a nil value"),
        ("return {pcall({})}", "attempt to call a table value"),
        ("return {xpcall(function() error('x', 2) end, function(e) return e end)}", "$1 x"),
        ("return {xpcall(nil, function(e) return e end)}", "attempt to call a nil value"),
        ("error('x', 2)", "-ERR x script: on @user_script:1."),
    ] {
        let reply = eval(script);
        assert!(reply.contains(text) && !reply.contains("sandbox"), "{script}: {reply}");
    }
}

/// Memory that a script takes is bounded; the next one runs.
#[test]
fn a_script_that_takes_too_much_memory_fails_alone() {
    let mut bench = Bench::new(&[("lua-memory-limit", "8mb")]);
    let client = bench.client();
    let greedy = "local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end";
    let reply = ask(&mut bench, client, &["EVAL", greedy, "0"]);
    assert!(reply.contains("not enough memory"), "{reply}");
    assert_eq!(ask(&mut bench, client, &["EVAL", "return 1", "0"]), ":1");
}

/// Nested values are walked by recursion, on the stack of the process's first thread, which is
/// larger than that of a test.
#[test]
fn endless_recursion_ends_in_an_error() {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(recursions);
    thread.expect("a thread").join().expect("it ended well");
}

fn recursions() {
    for script in [
        "local function f() return 1 + f() end return f()",
        "local t = {} for i = 1, 100000 do t = {t} end return t",
        "local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)",
        "return cjson.decode(string.rep('[', 100000))",
        "return setmetatable({}, {__index = function(t, k) return t[k] end}).x",
    ] {
        let reply = eval(script);
        assert!(reply.contains("-ERR"), "{script}: {reply:.100}");
    }
}

/// Handles to values of Lua have 8000 places: more functions than that could not be loaded.
mod places {
    use super::*;

    #[test]
    fn there_may_be_more_functions_and_scripts_than_places() {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        for n in 0..8500 {
            let name = format!("f{n}");
            let library = format!(
                "#!lua name={name}\nserver.register_function('{name}', function() return {n} end)"
            );
            let loaded = ask(&mut bench, client, &["FUNCTION", "LOAD", &library]);
            assert_eq!(loaded, format!("${} {name}", name.len()));
            let loaded = ask(&mut bench, client, &["SCRIPT", "LOAD", &format!("return {n}")]);
            assert!(loaded.starts_with("$40 "), "{loaded}");
        }
        assert_eq!(ask(&mut bench, client, &["FCALL", "f8499", "0"]), ":8499");
        assert_eq!(ask(&mut bench, client, &["FCALL", "f0", "0"]), ":0");
    }

    #[test]
    fn a_list_of_almost_as_many_values_can_be_unpacked() {
        assert_eq!(
            eval("local a = {} for i = 1, 7999 do a[i] = 'e' end return #{unpack(a)}"),
            ":7999"
        );
        let fill = "local a = {} for i = 1, 7900 do a[i] = 'e' .. i end ";
        assert_eq!(eval(&format!("{fill} return server.call('RPUSH', 'l', unpack(a))")), ":7900");
    }

    /// Ends beyond an `int` turned around: a list without end was written over Lua's stack, and the
    /// process ended (the fuzzer's find; the class of CVE-2025-46817).
    #[test]
    fn no_ends_of_a_list_leave_the_stack() {
        let ends =
            ["3e9, 2e9", "2^31 - 1, -2^31", "-5e9, 5e9", "2^31 - 2, 2^31 + 3", "1e300, -1e300"];
        for pair in ends {
            let answer =
                eval(&format!("return {{pcall(function() return #{{unpack({{}}, {pair})}} end)}}"));
            assert!(answer.starts_with('*'), "{pair}: {answer}");
        }
    }
}

#[test]
fn the_insecure_api_comes_and_goes_with_its_directive() {
    let mut bench = Bench::new(&[("enable-protected-configs", "yes")]);
    let client = bench.client();
    for (set, expect) in [("no", "-ERR"), ("yes", "$8 function"), ("no", "-ERR")] {
        ask(&mut bench, client, &["CONFIG", "SET", "lua-enable-insecure-api", set]);
        let found = ask(&mut bench, client, &["EVAL", "return type(getfenv)", "0"]);
        assert!(found.starts_with(expect), "{set}: {found}");
    }
}

/// What a script makes up as errors was counted never, or under any number of names.
#[test]
fn errors_of_scripts_are_counted_under_a_bounded_number_of_names() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let made = "return server.error_reply(ARGV[1] .. ' text')";
    for n in 0..200 {
        let reply = ask(&mut bench, client, &["EVAL", made, "0", &format!("-E{n}")]);
        assert_eq!(reply, format!("-E{n} text"));
    }
    ask(&mut bench, client, &["SET", "k", "v"]);
    ask(&mut bench, client, &["EVAL", "return server.call('INCR', 'k')", "0"]);
    ask(&mut bench, client, &["EVAL", "server.pcall('INCR', 'k')", "0"]);
    let info = ask(&mut bench, client, &["INFO", "errorstats", "commandstats"]);
    for part in [
        "errorstat_E7:count=1",
        "errorstat_ERRORSTATS_OVERFLOW:count=72",
        "errorstat_ERR:count=2",
        "cmdstat_incr:calls=2,",
    ] {
        assert!(info.contains(part), "{part} in {info}");
    }
}
