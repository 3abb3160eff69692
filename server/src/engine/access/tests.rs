use crate::engine::testing::Bench;

/// Commands of three connections (`a`, `b`, `c`) with what each is answered; `…` ends a prefix.
fn check(directives: &[(&str, &str)], script: &str) {
    let mut bench = Bench::new(directives);
    let clients = [bench.client(), bench.client(), bench.client()];
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (who, rest) = line.split_once(": ").expect(line);
        let client = clients[usize::from(who.as_bytes()[0] - b'a')];
        let (command, expected) = rest.split_once(" => ").expect(line);
        let answer =
            if command == "(out)" { bench.out(client) } else { bench.ask(client, command) };
        let expected = if expected == "(nothing)" { "" } else { expected };
        match expected.strip_suffix('…') {
            Some(prefix) => assert!(answer.starts_with(prefix), "{line}: {answer}"),
            None => assert_eq!(answer, expected, "{line}"),
        }
    }
}

#[test]
fn logging_in() {
    check(
        &[("requirepass", "pw")],
        "a: GET k => -NOAUTH Authentication required.
         a: AUTH wrong => -WRONGPASS invalid username-password pair or user is disabled.
         a: AUTH default pw => +OK
         a: ACL SETUSER joe on >one ~j* +@all => +OK
         b: AUTH joe two => -WRONGPASS …
         b: AUTH joe one => +OK
         b: ACL WHOAMI => $3 joe
         b: RESET => +RESET
         b: GET k => -NOAUTH Authentication required.
         b: HELLO 3 AUTH joe one => %7 …
         a: ACL SETUSER joe off => +OK
         b: GET j => _
         c: AUTH joe one => -WRONGPASS …
         a: CONFIG SET requirepass '' => +OK
         c: GET k => $-1
         a: AUTH pw => -ERR AUTH <password> called without any password configured for the default…",
    );
}

#[test]
fn refusals_and_their_log() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass ~j* %R~r* &news +@all -flushall => +OK
         b: AUTH joe x => +OK
         b: FLUSHALL => -NOPERM User joe has no permissions to run the 'flushall' command
         b: SET k v => -NOPERM No permissions to access a key
         b: SET r v => -NOPERM No permissions to access a key
         b: GET r => $-1
         b: SET j v => +OK
         b: PUBLISH other m => -NOPERM No permissions to access a channel
         b: PUBLISH news m => :0
         b: PSUBSCRIBE news => *3 …
         b: UNSUBSCRIBE other => *3 …
         b: PUNSUBSCRIBE => *3 …
         b: NOSUCH => -ERR unknown command…
         a: ACL DRYRUN joe GET k => $49 User joe has no permissions to access the 'k' key
         a: ACL DRYRUN joe GET j => +OK
         a: ACL DRYRUN joe GET => -ERR wrong number of arguments for 'get' command
         a: ACL LOG 1 => *1 *20 $5 count :1 $6 reason $7 channel $7 context $8 toplevel $6 object $5 other…
         a: ACL LOG RESET => +OK
         b: SET k v => -NOPERM …
         b: SET k v => -NOPERM …
         b: MULTI => +OK
         b: SET k v => -NOPERM …
         b: EXEC => -EXECABORT Transaction discarded because of previous errors.
         a: ACL LOG => *2 *20 $5 count :1 $6 reason $3 key $7 context $5 multi…",
    );
}

#[test]
fn rights_are_looked_at_again_when_a_transaction_runs() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass ~* +@all => +OK
         b: AUTH joe x => +OK
         b: MULTI => +OK
         b: SET k v => +QUEUED
         b: GET k => +QUEUED
         a: ACL SETUSER joe -set => +OK
         b: EXEC => *2 -NOPERM ACLs rules changed between the moment the transaction was accumulated…
         b: BLPOP l 0 => (nothing)
         a: ACL SETUSER joe -blpop => +OK
         a: RPUSH l x => :1
         b: (out) => -NOPERM User joe has no permissions to run the 'blpop' command
         a: LLEN l => :1",
    );
}

#[test]
fn who_loses_what_it_listens_to_is_ended() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass ~* &* +@all => +OK
         b: AUTH joe x => +OK
         b: SUBSCRIBE news => *3 …
         c: AUTH joe x => +OK
         a: ACL SETUSER joe resetchannels &n* => +OK
         b: (out) => (nothing)
         a: ACL SETUSER joe resetchannels &sport => +OK
         b: (out) => gone
         c: PING => +PONG
         a: ACL DELUSER joe nobody => :1
         c: (out) => gone
         a: ACL DELUSER default => -ERR The 'default' user cannot be removed",
    );
}

#[test]
fn a_user_may_remove_itself() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass ~* &* +@all => +OK
         b: AUTH joe x => +OK
         b: ACL DELUSER joe => :1 gone",
    );
}

#[test]
fn users_are_shown() {
    check(
        &[("acllog-max-len", "0")],
        "a: ACL LIST => *1 $34 user default on nopass ~* &* +@all
         a: ACL SETUSER joe on ~a (~b +get) => +OK
         a: ACL USERS => *2 $7 default $3 joe
         a: ACL GETUSER joe => *14 $5 flags *1 $2 on $9 passwords *0 $8 commands $5 -@all $4 keys $2 ~a $8 channels $0  $9 databases $6 alldbs $9 selectors *1 *8 $8 commands $10 -@all +get $4 keys $2 ~b…
         a: ACL GETUSER nobody => $-1
         a: ACL SETUSER joe +nosuch => -ERR Error in ACL SETUSER modifier '+nosuch': Unknown command…
         a: ACL GENPASS 5 => $2 …
         a: ACL GENPASS 0 => -ERR ACL GENPASS argument must be the number of bits…
         a: ACL CAT nosuch => -ERR Unknown category 'nosuch'
         a: ACL LOAD => -ERR This instance is not configured to use an ACL file…
         a: ACL LOG => *0",
    );
}

#[test]
fn databases_that_a_transaction_selects_and_keys_that_patterns_find() {
    check(
        &[],
        "a: ACL SETUSER joe on nopass (db=0,1 +@all -@read ~*) (db=2 +@all -@write ~*) => +OK
         b: AUTH joe x => +OK
         b: MULTI => +OK
         b: SET k v => +QUEUED
         b: SELECT 2 => +QUEUED
         b: GET k => +QUEUED
         b: SET k v => -NOPERM …
         b: DISCARD => +OK
         a: ACL SETUSER sue on nopass ~l +sort => +OK
         c: AUTH sue x => +OK
         c: SORT l => *0
         c: SORT l BY w* => -ERR BY option of SORT denied due to insufficient ACL permissions.
         c: SORT l GET w* => -ERR GET option of SORT denied due to insufficient ACL permissions.",
    );
}
