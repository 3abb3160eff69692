//! Rights that were asked for one thing while another was done.

use super::{Bench, ask, check};

/// COPY and MOVE asked for no right to the database that they take from, and COPY for none to its
/// target when another option stood before it.
#[test]
fn copy_and_move_need_both_databases() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass db=0 ~* +@all => +OK
         a: ACL SETUSER sue on nopass db=1 ~* +@all => +OK
         b: AUTH joe x => +OK
         b: SET k v => +OK
         b: COPY k k2 => :1
         b: COPY k k3 DB 0 REPLACE => :1
         b: COPY k k2 DB 1 => -NOPERM No permissions to access database
         b: COPY k k2 REPLACE DB 1 => -NOPERM No permissions to access database
         b: COPY k k2 DB 0 DB 1 => -NOPERM No permissions to access database
         b: COPY k k2 DB => -ERR syntax error
         b: COPY k k2 DB 99 => -ERR DB index is out of range
         b: MOVE k 1 => -NOPERM No permissions to access database
         b: EVAL return{redis.pcall('copy','k','k','REPLACE','DB','1').err} 0 => *1 $…
         c: AUTH sue x => +OK
         c: COPY k stolen DB 1 => -NOPERM No permissions to access database
         c: MOVE k 1 => -NOPERM No permissions to access database
         c: SELECT 1 => +OK
         c: COPY k stolen => :0
         c: EXISTS k k2 stolen => :0",
    );
}

/// The word STREAMS was looked for from the fourth argument on, so that a consumer of that name made
/// it look at other arguments than those that are read.
#[test]
fn xreadgroup_is_asked_for_the_streams_that_it_reads() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass ~STREAMS +@all => +OK
         a: XADD secret 1-1 f v => $3 1-1
         a: XGROUP CREATE secret g 0 => +OK
         a: XGROUP CREATE STREAMS g $ MKSTREAM => +OK
         b: AUTH joe x => +OK
         b: XREADGROUP COUNT 1 GROUP g streams STREAMS secret > => -NOPERM No permissions to access a key
         b: XREADGROUP NOACK GROUP g streams STREAMS secret > => -NOPERM No permissions to access a key
         b: XREADGROUP BLOCK 1 COUNT 1 GROUP streams streams STREAMS secret > => -NOPERM No permissions to access a key
         b: XREADGROUP GROUP streams streams STREAMS STREAMS > => -NOGROUP …
         b: XREADGROUP COUNT 1 GROUP g c STREAMS STREAMS > => *-1
         a: COMMAND GETKEYS XREADGROUP COUNT 1 GROUP g streams STREAMS secret other > > => *2 $6 secret $5 other
         a: XREADGROUP COUNT 1 GROUP g streams STREAMS secret > => *1 *2 $6 secret *1 *2 $3 1-1 *2 $1 f $1 v",
    );
}

/// GEORADIUS with two STOREs asked for the first and wrote the last, as Valkey still writes it.
#[test]
fn georadius_is_asked_for_the_key_that_it_writes() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass ~g ~STORE ~a +@all => +OK
         a: GEOADD g 0 0 m => :1
         b: AUTH joe x => +OK
         b: GEORADIUS g 0 0 1 km STORE a STORE b => -NOPERM No permissions to access a key
         b: GEORADIUS g 0 0 1 km STOREDIST a STORE b => -NOPERM No permissions to access a key
         b: GEORADIUS g 0 0 1 km STORE STORE STORE b => -NOPERM No permissions to access a key
         b: GEORADIUSBYMEMBER g m 1 km STORE a COUNT 1 STOREDIST b => -NOPERM No permissions to access a key
         b: GEORADIUS g 0 0 1 km STORE b STORE a => :1
         b: GEORADIUS g 0 0 1 km STORE STORE => :1
         a: EXISTS b => :0
         a: COMMAND GETKEYS GEORADIUS g 0 0 1 km STORE a STORE b => *2 $1 g $1 b
         a: COMMAND GETKEYS GEORADIUSBYMEMBER g m 1 km ASC STOREDIST a => *2 $1 g $1 a
         a: COMMAND GETKEYS GEORADIUS g 0 0 1 km => *1 $1 g",
    );
}

/// A session runs with the rights of any user, so whoever opens one must have all of them: on a
/// server without an operator it was enough to be the default user.
#[test]
fn sessions_are_opened_by_those_who_may_do_everything() {
    check(
        &[],
        "a: ACL SETUSER admin on >pw ~* &* +@all => +OK
         a: AUTH admin pw => +OK
         a: ACL SETUSER default resetkeys ~x => +OK
         b: GET y => -NOPERM …
         b: REDISHA SESSION user admin db 0 => -NOPERM only members may open sessions gone
         c: AUTH admin pw => +OK
         c: REDISHA SESSION user nobody db 0 => -WRONGPASS the session's user is not known gone
         a: REDISHA SESSION user default db 99 => -ERR DB index is out of range gone",
    );
}

/// A rule with a line break in it, which `ACL SAVE` would have written as a line of its own: the
/// next load gave rights to whomever it named.
#[test]
fn no_rule_is_two_lines_of_a_file() {
    for word in
        ["+get|x\nuser\tevil\ton\tnopass\t+@all", "+get|a b", "+get|a)", "+get|a\0", "~a\nb"]
    {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        for words in [vec![word], vec!["(+set", word, "~k)"], vec!["+@all", "-get", word]] {
            let words: Vec<&str> = ["ACL", "SETUSER", "joe"].into_iter().chain(words).collect();
            let answer = ask(&mut bench, client, &words);
            let selector = words.contains(&"(+set");
            // Between parentheses white space parts words.
            let refused = answer.starts_with("-ERR Error in ACL SETUSER modifier");
            assert!(refused || selector, "{words:?}: {answer}");
            let text = bench.engine.acl.users.to_text();
            assert!(!text.windows(5).any(|part| part == b"\nevil"), "{words:?}");
            assert!(
                text.split(|byte| *byte == b'\n')
                    .all(|line| { line.is_empty() || line.starts_with(b"user ") })
            );
        }
    }
}

/// The logs kept whatever a client said: 128 entries of half a gigabyte each.
#[test]
fn logs_keep_a_part_of_what_is_long() {
    let directives = [("commandlog-execution-slower-than", "0")];
    let mut bench = Bench::new(&directives);
    let (admin, client) = (bench.client(), bench.client());
    let long = "k".repeat(1_000_000);
    bench.ask(admin, "ACL SETUSER joe on nopass ~x +@all");
    bench.ask(client, &format!("CLIENT SETNAME {long}"));
    bench.ask(client, &format!("CLIENT SETINFO lib-name {long}"));
    bench.ask(client, &format!("AUTH {long} wrong"));
    bench.ask(client, "AUTH joe x");
    assert_eq!(bench.ask(client, &format!("GET {long}")), "-NOPERM No permissions to access a key");
    bench.ask(client, &format!("GET x{long}"));
    for command in ["ACL LOG", "SLOWLOG GET 128"] {
        let answer = bench.ask(admin, command);
        assert!(answer.contains("more bytes)"), "{command}: {answer:.1000}");
        assert!(answer.len() < 30_000, "{command}: {}", answer.len());
    }
}
