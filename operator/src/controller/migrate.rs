//! `spec.migrateFrom`: tells the primary to take over another server's data, and asks how far it is.
//!
//! The primary does the work and guards it; saying the same again has no effect there, so that this
//! needs no memory but the status. What is to be said, and what an answer means, is pure.

mod credentials;

use std::time::Duration;

use kube::runtime::events::EventType;
use redis::Value;
use switchover::Member;

use super::context::Context;
use super::validate::Plan;
use crate::api::{
    MigrateFrom, Migration, MigrationPhase, REDIS_PORT, RedisHA, SourceAfter, Verify,
};
use crate::executor::client::{CallError, Client, Lane, text};
use crate::executor::wire;
use crate::trigger::PodFacts;

use credentials::Credentials;

const DEADLINE: Duration = Duration::from_secs(2);
/// For how long the cut-over may pause the source.
const PAUSE: Duration = Duration::from_secs(10);

/// Who is told.
pub struct Told<'a> {
    pub plan: &'a Plan,
    pub redisha: &'a RedisHA,
    pub primary: Option<&'a Member>,
    pub pods: &'a [PodFacts],
}

impl Told<'_> {
    /// One step; the answer is what the status is to say.
    pub async fn step(&self, context: &Context) -> Option<Migration> {
        let before = self.redisha.status.as_ref().and_then(|status| status.migration.clone());
        let over = before.as_ref().is_some_and(|m| m.phase == MigrationPhase::CutOver);
        let wish = self.redisha.spec.migrate_from.as_ref();
        if wish.is_none() && (over || before.is_none()) {
            // What was cut over stays so, whatever becomes of the wish.
            return before;
        }
        let address = self.primary.and_then(|primary| {
            let pod = self.pods.iter().find(|pod| pod.name == primary.name)?;
            Some((pod.ip.clone()?, primary.member.clone()))
        });
        let Some((ip, member)) = address else { return before };
        let client = Client::new(&ip, REDIS_PORT, &self.plan.internal_password);
        // A primary that knows of no takeover would begin one; this one may have to be told to end it
        // again, if a crash under `async` has lost its predecessor's last word.
        if over && !ask_status(&client).await.is_ok_and(|status| still_moves(&status)) {
            return before;
        }
        let Some(wish) = wish else {
            let words = stop(&self.plan.uid, &member);
            // The mark stays until the primary has been told.
            return client.call(Lane::Act, &words, DEADLINE).await.err().and(before);
        };
        let credentials = Credentials::read(context, &self.plan.names.namespace, wish).await;
        let credentials = match credentials {
            Ok(credentials) => credentials,
            Err(why) => return Some(failed(wish, before, why)),
        };
        let begin = begin(&self.plan.uid, &member, wish, &credentials);
        let found = match client.call(Lane::Act, &begin, DEADLINE).await {
            Ok(answer) => match read(&answer, wish) {
                Some(found) => found,
                None => return Some(failed(wish, before, format!("a strange answer: {answer:?}"))),
            },
            Err(error) => return Some(failed(wish, before, sentence(error))),
        };
        let (found, may_cut_over) = match ask_status(&client).await {
            Ok(status) => counted(found, unapplied(&status)),
            Err(error) => return Some(failed(wish, before, sentence(error))),
        };
        if found.phase != MigrationPhase::Following || !wish.cut_over || !may_cut_over {
            return Some(found);
        }
        let words = cut_over(self.plan, &member, wish.source);
        match client.call(Lane::Wait, &words, PAUSE + DEADLINE).await {
            Ok(_) => Some(Migration { phase: MigrationPhase::CutOver, lag_bytes: 0, ..found }),
            Err(error) => Some(Migration { message: Some(sentence(error)), ..found }),
        }
    }
}

async fn ask_status(client: &Client) -> Result<Value, CallError> {
    let words = ["REDISHA".to_owned(), "STATUS".to_owned()];
    client.call(Lane::Observe, &words, DEADLINE).await
}

/// An Event of a migration.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    pub type_: EventType,
    pub reason: &'static str,
    pub note: String,
}

/// What has become so between two looks.
pub fn news(before: Option<&Migration>, found: Option<&Migration>) -> Vec<News> {
    let Some(now) = found else { return Vec::new() };
    let mut news = Vec::new();
    if before.map(|before| before.phase) != Some(now.phase) {
        let (reason, what) = match now.phase {
            MigrationPhase::Copying => ("MigrationStarted", "copying the data of"),
            MigrationPhase::Following => ("MigrationFollowing", "following"),
            MigrationPhase::CutOver => ("MigrationCutOver", "writes are taken here and no more by"),
        };
        let note = format!("{what} {}", now.source);
        news.push(News { type_: EventType::Normal, reason, note });
    }
    // Once: what more is left out stands in the status, and a source may write a lot of it.
    if before.and_then(Migration::missing).is_none()
        && let Some(note) = now.missing()
    {
        news.push(News { type_: EventType::Warning, reason: "MigrationIncomplete", note });
    }
    news
}

fn source(wish: &MigrateFrom) -> String {
    format!("{}:{}", wish.host, wish.port)
}

fn failed(wish: &MigrateFrom, before: Option<Migration>, why: String) -> Migration {
    let fresh = Migration {
        source: source(wish),
        phase: MigrationPhase::Copying,
        lag_bytes: 0,
        unapplied: 0,
        message: None,
    };
    let before = before.filter(|before| before.source == fresh.source);
    Migration { message: Some(why), ..before.unwrap_or(fresh) }
}

fn sentence(error: CallError) -> String {
    match error {
        CallError::Refused { code, message, .. } if code == "BADTLS" => {
            format!("spec.migrateFrom.tls: {message}")
        }
        // A member that does not know the word by which a source is named that speaks TLS.
        CallError::Refused { message, .. } if message == "host is missing" => {
            "spec.migrateFrom.tls: the server's image does not know it; take a newer spec.image"
                .to_owned()
        }
        CallError::Refused { message, .. } => message,
        other => other.to_string(),
    }
}

fn command(name: &str, uid: &str, member: &str, rest: &[(&str, &str)]) -> Vec<String> {
    let head = ["REDISHA", name, "UID", uid, "MEMBER", member].map(str::to_owned);
    let rest = rest.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]);
    head.into_iter().chain(rest).collect()
}

/// A source that speaks TLS is named by a word of its own, so that no member of an older version
/// sends it a password in the clear.
fn begin(uid: &str, member: &str, wish: &MigrateFrom, credentials: &Credentials) -> Vec<String> {
    let port = wish.port.to_string();
    let host = if wish.tls.is_some() { "TLS-HOST" } else { "HOST" };
    let mut rest = vec![(host, wish.host.as_str()), ("PORT", port.as_str())];
    if let Some(password) = &credentials.password {
        rest.extend(wish.username.as_deref().map(|user| ("USER", user)));
        rest.push(("PASSWORD", password));
    }
    if let Some(tls) = &wish.tls {
        rest.extend(credentials.authorities.as_deref().map(|pem| ("TLS-CA", pem)));
        rest.extend(tls.server_name.as_deref().map(|name| ("TLS-NAME", name)));
        rest.extend((tls.verify == Verify::Ca).then_some(("TLS-VERIFY", "ca")));
        if let Some((certificate, key)) = &credentials.own {
            rest.extend([("TLS-CERT", certificate.as_str()), ("TLS-KEY", key)]);
        }
    }
    command("MIGRATE", uid, member, &rest)
}

fn stop(uid: &str, member: &str) -> Vec<String> {
    command("MIGRATE", uid, member, &[("HOST", ""), ("PORT", "0")])
}

fn cut_over(plan: &Plan, member: &str, after: SourceAfter) -> Vec<String> {
    let timeout = PAUSE.as_millis().to_string();
    let names = &plan.names;
    let host = format!("{}.{}.svc.{}", names.name, names.namespace, plan.cluster_domain);
    let port = REDIS_PORT.to_string();
    let mut rest = vec![("TIMEOUT", timeout.as_str())];
    if after == SourceAfter::Redirect {
        // A source that follows logs in as users do.
        rest.extend([("HOST", host.as_str()), ("PORT", &port)]);
        rest.extend([("USER", "default"), ("PASSWORD", &plan.password)]);
    }
    command("CUTOVER", &plan.uid, member, &rest)
}

/// Whether a member's STATUS says that another server's data are being taken over.
fn still_moves(status: &Value) -> bool {
    let word = wire::texts(status).unwrap_or_default();
    let word = word.into_iter().find(|(name, _)| name == "migration");
    word.is_some_and(|(_, word)| !matches!(word.as_str(), "none" | "done"))
}

/// How many commands of the source STATUS says could not be executed; nothing, if that member is of
/// a version that leaves them out without a word.
fn unapplied(status: &Value) -> Option<i64> {
    let pairs = wire::texts(status).unwrap_or_default();
    let (_, count) = pairs.into_iter().find(|(name, _)| name == "migration-unapplied")?;
    count.parse().ok()
}

/// Completes what was found by that count, and tells whether it may be cut over as far as it goes:
/// the primary itself refuses while it knows of anything that is missing.
fn counted(found: Migration, unapplied: Option<i64>) -> (Migration, bool) {
    const UNCOUNTED: &str = "the server's image does not tell whether all that the source wrote was \
                             executed, so nobody cuts over: take a newer spec.image";
    match unapplied {
        Some(unapplied) => (Migration { unapplied, ..found }, true),
        None if found.phase == MigrationPhase::CutOver => (found, false),
        None => {
            let message = found.message.or_else(|| Some(UNCOUNTED.to_owned()));
            (Migration { message, ..found }, false)
        }
    }
}

/// The primary's answer: state, lag in bytes, last error.
fn read(answer: &Value, wish: &MigrateFrom) -> Option<Migration> {
    let Value::Array(items) = answer else { return None };
    let [state, lag, error] = items.as_slice() else { return None };
    let phase = match text(state)?.as_str() {
        "done" => MigrationPhase::CutOver,
        "following" | "cutting-over" => MigrationPhase::Following,
        _ => MigrationPhase::Copying,
    };
    let message = Some(text(error)?).filter(|error| !error.is_empty());
    let lag_bytes = text(lag)?.parse().ok()?;
    Some(Migration { source: source(wish), phase, lag_bytes, unapplied: 0, message })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::validate::fixture;

    fn wish(more: &serde_json::Value) -> MigrateFrom {
        let mut wish = json!({"host": "old", "cutOver": false});
        for (name, value) in more.as_object().unwrap() {
            wish[name] = value.clone();
        }
        serde_json::from_value(wish).unwrap()
    }

    #[test]
    fn a_primary_is_told_all_that_it_needs() {
        let check = |more: serde_json::Value, credentials: Credentials, expect: &str| {
            let said = begin("u", "m", &wish(&more), &credentials).join(" ");
            assert_eq!(said, format!("REDISHA MIGRATE UID u MEMBER m {expect}"));
        };
        let none = Credentials::default();
        let password = Credentials { password: Some("word".into()), ..none.clone() };
        let authorities = Credentials { authorities: Some("CA".into()), ..none.clone() };
        let own = Some(("CERT".into(), "KEY".into()));
        let all = Credentials { authorities: Some("CA".into()), own, ..password.clone() };
        check(json!({}), none, "HOST old PORT 6379");
        check(
            json!({"port": 7000, "username": "mover"}),
            password,
            "HOST old PORT 7000 USER mover PASSWORD word",
        );
        check(
            json!({"tls": {"caSecret": {"name": "old"}}}),
            authorities.clone(),
            "TLS-HOST old PORT 6379 TLS-CA CA",
        );
        check(
            json!({"tls": {"caConfigMap": {"name": "old"}, "verify": "ca"}}),
            authorities,
            "TLS-HOST old PORT 6379 TLS-CA CA TLS-VERIFY ca",
        );
        check(
            json!({"tls": {
                "caSecret": {"name": "old"},
                "serverName": "old.example",
                "clientCertificateSecret": {"name": "mine"},
            }}),
            all,
            "TLS-HOST old PORT 6379 PASSWORD word TLS-CA CA TLS-NAME old.example \
             TLS-CERT CERT TLS-KEY KEY",
        );
    }

    #[test]
    fn a_cut_over_names_where_clients_go() {
        let mut plan = fixture::plan(&json!({}));
        plan.password = "word".to_owned();
        assert_eq!(
            cut_over(&plan, "m", SourceAfter::Redirect).join(" "),
            "REDISHA CUTOVER UID uid-1 MEMBER m TIMEOUT 10000 \
             HOST cache.shop.svc.cluster.local PORT 6379 USER default PASSWORD word"
        );
        assert_eq!(
            cut_over(&plan, "m", SourceAfter::Pause).join(" "),
            "REDISHA CUTOVER UID uid-1 MEMBER m TIMEOUT 10000"
        );
    }

    #[test]
    fn an_answer_becomes_a_status() {
        let answer = |state: &str, error: &str| {
            let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
            Value::Array(vec![bulk(state), bulk("12"), bulk(error)])
        };
        let wish = wish(&json!({}));
        let found = read(&answer("following", ""), &wish).unwrap();
        assert_eq!((found.phase, found.lag_bytes), (MigrationPhase::Following, 12));
        assert_eq!((found.source.as_str(), found.message), ("old:6379", None));
        let found = read(&answer("copying", "refused"), &wish).unwrap();
        assert_eq!(found.phase, MigrationPhase::Copying);
        assert_eq!(found.message.as_deref(), Some("refused"));
        assert_eq!(read(&answer("done", ""), &wish).unwrap().phase, MigrationPhase::CutOver);
        assert_eq!(read(&Value::Okay, &wish), None);
    }

    #[test]
    fn a_refusal_is_told_with_its_field() {
        let check = |code: &str, message: &str, expect: &str| {
            let refused = CallError::Refused {
                address: "10.0.0.1:6379".into(),
                command: "REDISHA MIGRATE".into(),
                code: code.into(),
                message: message.into(),
            };
            assert_eq!(sentence(refused), expect);
        };
        let named = "CA bundle: it holds no certificate in PEM";
        check("BADTLS", named, &format!("spec.migrateFrom.tls: {named}"));
        check("NOTREADY", "this member has 3 keys", "this member has 3 keys");
        check(
            "ERR",
            "host is missing",
            "spec.migrateFrom.tls: the server's image does not know it; take a newer spec.image",
        );
    }

    #[test]
    fn a_tls_block_is_completed_as_the_definition_does() {
        let tls = wish(&json!({"tls": {"caSecret": {"name": "old"}}})).tls.unwrap();
        assert_eq!(tls.ca_secret.unwrap().key, "ca.crt");
        assert_eq!((tls.verify, tls.ca_config_map), (Verify::Full, None));
    }

    /// A cut-over that a crash took back was never told to a primary again, which refused writes for
    /// ever.
    #[test]
    fn a_member_says_whether_it_still_moves_in() {
        let check = |word: &str, expect| {
            assert_eq!(still_moves(&status(&[("migration", word)])), expect, "{word}");
        };
        for (word, expect) in
            [("none", false), ("done", false), ("copying", true), ("following", true)]
        {
            check(word, expect);
        }
        assert!(!still_moves(&Value::Array(Vec::new())));
    }

    fn following() -> Migration {
        Migration {
            source: "old:6379".into(),
            phase: MigrationPhase::Following,
            lag_bytes: 0,
            unapplied: 0,
            message: None,
        }
    }

    fn status(pairs: &[(&str, &str)]) -> Value {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(pairs.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect())
    }

    /// A member of a version that counts nothing leaves out what it cannot execute, and cut over all
    /// the same when it was told to.
    #[test]
    fn nobody_cuts_over_who_does_not_count_what_is_left_out() {
        let check = |pairs: &[(&str, &str)], expect: Option<i64>| {
            let (found, may) = counted(following(), unapplied(&status(pairs)));
            assert_eq!(may, expect.is_some(), "{pairs:?}");
            assert_eq!(found.unapplied, expect.unwrap_or(0), "{pairs:?}");
            assert_eq!(found.message.is_some(), expect.is_none(), "{pairs:?}");
        };
        check(&[("migration", "following"), ("migration-unapplied", "0")], Some(0));
        check(&[("migration-unapplied", "3")], Some(3));
        check(&[("migration", "following")], None);
        let lost = Migration { message: Some("lost".into()), ..following() };
        assert_eq!(counted(lost.clone(), None), (lost, false));
    }

    #[test]
    fn what_has_become_so_is_an_event() {
        let incomplete = |unapplied| Migration { unapplied, ..following() };
        let check = |before: Option<Migration>, now: Option<Migration>, expect: &[&str]| {
            let found = news(before.as_ref(), now.as_ref());
            let found: Vec<_> = found.iter().map(|news| news.reason).collect();
            assert_eq!(found, expect);
        };
        let copying = Migration { phase: MigrationPhase::Copying, ..following() };
        check(None, Some(copying.clone()), &["MigrationStarted"]);
        check(Some(copying.clone()), Some(following()), &["MigrationFollowing"]);
        check(Some(following()), Some(following()), &[]);
        check(Some(following()), Some(incomplete(1)), &["MigrationIncomplete"]);
        check(Some(copying), Some(incomplete(1)), &["MigrationFollowing", "MigrationIncomplete"]);
        check(Some(incomplete(1)), Some(incomplete(2)), &[]);
        check(Some(incomplete(2)), Some(following()), &[]);
        check(Some(incomplete(2)), None, &[]);
        let told = news(Some(&following()), Some(&incomplete(1))).remove(0);
        assert_eq!(told.type_, EventType::Warning);
        assert_eq!(Some(told.note), incomplete(1).missing());
    }

    #[test]
    fn an_error_keeps_how_far_it_was() {
        let wish = wish(&json!({}));
        let following = Migration { lag_bytes: 3, unapplied: 2, ..following() };
        let found = failed(&wish, Some(following.clone()), "lost".into());
        assert_eq!((found.phase, found.lag_bytes), (MigrationPhase::Following, 3));
        assert_eq!(found.unapplied, 2);
        let elsewhere = Migration { source: "other:1".into(), ..following };
        let found = failed(&wish, Some(elsewhere), "lost".into());
        assert_eq!(found.phase, MigrationPhase::Copying);
    }
}
