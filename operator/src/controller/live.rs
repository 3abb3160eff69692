//! Directives that a running server takes by CONFIG SET: a change of them restarts nobody.
//!
//! What must be said to which pod is a pure question; saying it goes through the executor's client.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;

use super::build::{FILES, KEEP_ID, KEEPS_IDS};
use super::validate::Plan;
use crate::api::REDIS_PORT;
use crate::executor::client::{CallError, Client, Lane, text};
use crate::trigger::{Facts, PodFacts};

/// Name, and the server's default, to which a directive returns when it is taken out of the
/// specification. Any other directive is rolled out.
const LIVE: [(&str, &str); 20] = [
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("hz", "10"),
    ("list-compress-depth", "0"),
    ("list-max-listpack-size", "-2"),
    ("loglevel", "notice"),
    ("maxclients", "10000"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("repl-backlog-size", "10mb"),
    ("repl-timeout", "60"),
    ("save", "3600 1 300 100 60 10000"),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("stop-writes-on-bgsave-error", "yes"),
    ("tcp-keepalive", "300"),
    ("timeout", "0"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
];

/// The password of `NAME-auth`, which a person may change at any time; never shown in a log.
const PASSWORD: &str = "requirepass";

const DEADLINE: Duration = Duration::from_secs(2);

type Config = BTreeMap<String, String>;

/// Whether a change of this directive needs no restart.
pub fn is_live(name: &str) -> bool {
    LIVE.iter().any(|(live, _)| *live == name)
}

/// What each process has been told. A container that was started again has read its file, which is
/// mounted minutes after it was changed.
#[derive(Debug, Default)]
pub struct Told(HashMap<Process, Config>);

/// A pod's UID, and how often its container was started again.
type Process = (String, i32);

fn process(pod: &PodFacts) -> Process {
    (pod.uid.clone(), pod.restarts)
}

impl Told {
    /// Tells every pod that does not know yet, all at the same time. A pod that cannot be reached is told
    /// next time; one that refuses a value is the error, as a sentence.
    pub async fn tell(&mut self, plan: &Plan, pods: &[PodFacts]) -> Result<(), String> {
        self.0.retain(|told, _| pods.iter().any(|pod| process(pod) == *told));
        let wanted = wanted(&plan.config, &plan.password, plan.keeps_ids);
        let secret = &plan.internal_password;
        let answers = pods.iter().filter(|pod| !pod.terminating).filter_map(|pod| {
            let ip = pod.ip.as_ref()?;
            let news = news(self.0.get(&process(pod)), &wanted, &plan.config);
            Some(async move { (process(pod), tell_one(ip, secret, &pod.name, &news).await) })
        });
        let mut refused = Ok(());
        for (process, answer) in join_all(answers).await {
            match answer {
                Ok(true) => drop(self.0.insert(process, wanted.clone())),
                Ok(false) => {}
                Err(why) => refused = refused.and(Err(why)),
            }
        }
        refused
    }

    /// Whether every pod that there should be keeps its member's id, and has append-only files from
    /// which it would start.
    pub async fn have_files(&self, plan: &Plan, facts: &Facts) -> bool {
        let keeps = |pod: &&PodFacts| {
            let told = self.0.get(&process(pod)).and_then(|told| told.get(KEEP_ID));
            pod.ordinal < facts.wanted && !pod.terminating && told.is_some_and(|told| told == "yes")
        };
        let keepers: Vec<_> = facts.pods.iter().filter(keeps).collect();
        if keepers.len() as i32 != facts.wanted {
            return false;
        }
        for pod in keepers {
            let Some(ip) = &pod.ip else { return false };
            let client = Client::new(ip, REDIS_PORT, &plan.internal_password);
            let words = ["INFO", "persistence"].map(str::to_owned);
            let answer = client.call(Lane::Act, &words, DEADLINE).await.ok();
            if !answer.and_then(|answer| text(&answer)).is_some_and(|text| tells_of_files(&text)) {
                return false;
            }
        }
        true
    }
}

/// Whether `INFO persistence` tells of append-only files that a start would find.
fn tells_of_files(info: &str) -> bool {
    let says = |wanted: &str| info.lines().any(|line| line.trim_end() == wanted);
    says("aof_enabled:1") && says("aof_pending_rewrite:0") && says("aof_last_write_status:ok")
}

fn wanted(config: &Config, password: &str, keeps_ids: bool) -> Config {
    let live = config.iter().filter(|(name, _)| is_live(name));
    let live = live.map(|(name, value)| (name.as_str(), value.as_str()));
    let kept = KEEPS_IDS.into_iter().filter(|_| keeps_ids);
    let all = live.chain(kept).chain([(PASSWORD, password)]);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a pod must be told. One that was told nothing has read its file, which may have been older
/// than the specification. `config` is the user's.
fn news(told: Option<&Config>, wanted: &Config, config: &Config) -> Vec<(String, String)> {
    let none = Config::new();
    let told = told.unwrap_or(&none);
    let changed = wanted.iter().filter(|(name, value)| told.get(*name) != Some(value));
    let changed = changed.map(|(name, value)| (name.as_str(), value.as_str()));
    // An id is kept no more before anything happens to the files that it is kept with. They stay
    // where there is a volume, and without one no id is kept.
    let files = config.get(FILES).map_or("yes", String::as_str);
    let dropped = [(KEEP_ID, "no"), (FILES, files)]
        .into_iter()
        .chain(LIVE)
        .filter(|(name, _)| told.contains_key(*name) && !wanted.contains_key(*name));
    let all = changed.chain(dropped);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// True when the pod has taken everything; false when it cannot be reached now.
async fn tell_one(
    ip: &str,
    secret: &str,
    pod: &str,
    news: &[(String, String)],
) -> Result<bool, String> {
    let client = Client::new(ip, REDIS_PORT, secret);
    for (name, value) in news {
        let shown = if name == PASSWORD { "(a password)" } else { value };
        let words = ["CONFIG", "SET", name, value].map(str::to_owned);
        match client.call(Lane::Act, &words, DEADLINE).await {
            Ok(_) => tracing::info!(pod, name, value = shown, "directive set"),
            Err(CallError::Refused { code, message, .. }) => {
                let ours = KEEPS_IDS.iter().any(|(ours, _)| ours == name);
                let what = if ours {
                    format!("spec.durability: {pod} refuses `{name} {shown}`")
                } else {
                    format!("spec.config.{name}: {pod} refuses `{shown}`")
                };
                return Err(format!("{what}: {code} {message}"));
            }
            Err(error) => {
                tracing::debug!(pod, %error, "not told yet");
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> Config {
        entries.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn check(told: Option<&[(&str, &str)]>, asked: &[(&str, &str)], expect: &[(&str, &str)]) {
        let told = told.map(config);
        let asked = config(asked);
        let mut wanted = wanted(&asked, "word", false);
        wanted.remove(PASSWORD);
        let made = news(told.as_ref(), &wanted, &asked);
        let expect: Vec<_> =
            expect.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(made, expect);
    }

    #[test]
    fn a_pod_is_told_what_it_does_not_know() {
        let asked = [("maxmemory", "1gb"), ("timeout", "5")];
        check(None, &asked, &asked);
        check(Some(&asked), &asked, &[]);
        check(Some(&[("maxmemory", "1gb")]), &asked, &[("timeout", "5")]);
        check(Some(&[("maxmemory", "2gb"), ("timeout", "5")]), &asked, &[("maxmemory", "1gb")]);
    }

    #[test]
    fn what_is_taken_out_returns_to_the_servers_default() {
        check(Some(&[("maxmemory", "1gb")]), &[], &[("maxmemory", "0")]);
        check(None, &[], &[]);
    }

    /// A changed password of `NAME-auth` reached nobody who was already running.
    #[test]
    fn a_changed_password_is_told() {
        let none = config(&[]);
        let (old, new) = (wanted(&none, "old", false), wanted(&none, "new", false));
        let expect = vec![(PASSWORD.to_owned(), "new".to_owned())];
        assert_eq!(news(Some(&old), &new, &none), expect);
        assert_eq!(news(None, &new, &none), expect);
        assert_eq!(news(Some(&old), &old, &none), []);
    }

    /// An id that is kept without its files would come back without what it promised.
    #[test]
    fn ids_are_kept_after_files_are_there_and_given_up_before() {
        let asked = config(&[]);
        let mut keeping = wanted(&asked, "word", true);
        keeping.remove(PASSWORD);
        let told = |told: Option<&Config>, wanted: &Config, asked: &Config| {
            let news = news(told, wanted, asked);
            let lines = news.iter().map(|(name, value)| format!("{name} {value}"));
            lines.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(told(None, &keeping, &asked), "appendonly yes, keep-member-id yes");
        let none = Config::new();
        assert_eq!(told(Some(&keeping), &none, &asked), "keep-member-id no, appendonly yes");
        let asked = config(&[("appendonly", "no")]);
        assert_eq!(told(Some(&keeping), &none, &asked), "keep-member-id no, appendonly no");
    }

    #[test]
    fn files_count_once_a_start_would_find_them() {
        let info = "# Persistence\r\naof_enabled:1\r\naof_last_write_status:ok\r\n";
        assert!(!tells_of_files(info));
        assert!(!tells_of_files(&format!("{info}aof_pending_rewrite:1\r\n")));
        assert!(tells_of_files(&format!("{info}aof_pending_rewrite:0\r\n")));
        assert!(!tells_of_files("aof_enabled:0\r\n"));
    }

    #[test]
    fn what_needs_a_restart_is_never_said() {
        check(None, &[("databases", "32"), ("hz", "20")], &[("hz", "20")]);
    }
}
