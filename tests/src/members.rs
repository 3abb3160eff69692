//! Members of a cluster without an operator: tests say to them what the operator would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::resp::{Client, Value};
use crate::server::Server;
use crate::wait;

/// The cluster's uid.
pub const UID: &str = "0f4c1d3e";
const PATIENCE: Duration = Duration::from_secs(20);

/// A managed server and the connection by which the operator speaks to it.
pub struct Member {
    pub server: Server,
    pub operator: Client,
    pub id: String,
}

impl Member {
    /// Starts one, fenced and without data.
    pub fn start(name: &str, directives: &[&str]) -> Result<Self> {
        let server = Server::managed(name, UID, directives)?;
        let mut operator = server.internal()?;
        let id = field(&operator.say("REDISHA STATUS")?, "member")?;
        Ok(Self { server, operator, id })
    }

    /// Kills it and starts another member on what it left in its folder.
    pub fn again(self, name: &str, directives: &[&str]) -> Result<Self> {
        let server = self.server.managed_again(name, UID, directives)?;
        let mut operator = server.internal()?;
        let id = field(&operator.say("REDISHA STATUS")?, "member")?;
        Ok(Self { server, operator, id })
    }

    /// Sends `verb` with this member's own address and the pairs of `rest`.
    pub fn tell(&mut self, verb: &str, rest: &str) -> Result<Value> {
        self.tell_words(verb, &rest.split(' ').collect::<Vec<_>>())
    }

    /// As [`Self::tell`], with pairs that may hold blanks.
    pub fn tell_words(&mut self, verb: &str, rest: &[&str]) -> Result<Value> {
        let head = ["REDISHA", verb, "UID", UID, "MEMBER", &self.id];
        self.operator.call(&[&head, rest].concat())
    }

    /// As [`Self::tell`], and the answer must be this.
    pub fn expect(&mut self, verb: &str, rest: &str, answer: &str) -> Result<()> {
        let got = self.tell(verb, rest)?.text()?;
        ensure!(got == answer, "{verb} {rest}: {got}");
        Ok(())
    }

    /// As [`Self::tell`], and the answer must be an error that begins so.
    pub fn refused(&mut self, verb: &str, rest: &str, code: &str) -> Result<()> {
        match self.tell(verb, rest)? {
            Value::Error(text) if text.starts_with(code) => Ok(()),
            other => bail!("{verb} {rest}: {other:?}, expected {code}"),
        }
    }

    /// A field of STATUS, asked over a connection of its own.
    pub fn status(&self, name: &str) -> Result<String> {
        field(&self.server.internal()?.say("REDISHA STATUS")?, name)
    }

    /// Waits until a field of STATUS is this.
    pub fn until(&self, name: &str, value: &str) -> Result<()> {
        let what = format!("{name} becomes {value}");
        let found = wait::until(&what, PATIENCE, || {
            let now = self.status(name)?;
            Ok((now == value).then_some(()))
        });
        found.with_context(|| format!("{:?}; {}", self.status(name), self.server.log()))
    }

    /// Waits until this member counts the other among those that it sends its stream to. It learns
    /// that after the follower has said that its link is up, and refuses to pause for it before.
    pub fn until_serves(&self, follower: &Member) -> Result<()> {
        wait::until("the primary knows its follower", PATIENCE, || {
            let status = self.server.internal()?.say("REDISHA STATUS")?;
            let Some(Value::Array(replicas)) = status.field("replicas") else { return Ok(None) };
            let is = |replica: &Value, name: &str, value: &str| {
                replica.field(name) == Some(&Value::Text(value.to_owned()))
            };
            let mut served = replicas.iter().filter(|replica| is(replica, "state", "online"));
            Ok(served.any(|replica| is(replica, "member", &follower.id)).then_some(()))
        })
    }

    /// Has this primary obey a config, in the form `v/term/w/durability/whenReplicaLost/id,id,…`, as
    /// if it had been published in between.
    pub fn change_config(&mut self, config: &str) -> Result<()> {
        let config = format!("CONFIG {config}");
        wait::until("the config is prepared", PATIENCE, || {
            Ok((self.tell("PREPARE", &config)?.text()? == "PREPARED").then_some(()))
        })?;
        self.expect("COMMIT", &config, "OK")
    }

    /// FOLLOW.
    pub fn follow(&mut self, epoch: &str, primary: &Member) -> Result<()> {
        let (id, port) = (&primary.id, primary.server.port);
        let rest = format!("EPOCH {epoch} PRIMARY {id} HOST 127.0.0.1 PORT {port}");
        self.expect("FOLLOW", &rest, "OK")
    }

    /// The whole planned switch to `to`, which is the primary then and is followed by this one.
    pub fn moves_to(&mut self, id: &str, to: &Member) -> Result<()> {
        self.moves_to_port(id, to, to.server.port)
    }

    /// As [`Self::moves_to`], to a member that is reached at this port.
    pub fn moves_to_port(&mut self, id: &str, to: &Member, port: u16) -> Result<()> {
        self.pause(id, to)?;
        let rest = format!("ID {id} TO {} HOST 127.0.0.1 PORT {port}", to.id);
        let answer = self.tell("HANDOVER", &rest)?.text()?;
        ensure!(answer.starts_with("ACCEPTED"), "{answer}");
        to.until("role", "primary")?;
        self.until("link", "up")
    }

    /// Pauses under `id` until `to` is level. A follower whose link is up may be one that its primary
    /// has not heard of yet, and so refuses to pause for: that is waited for.
    pub fn pause(&mut self, id: &str, to: &Member) -> Result<()> {
        self.until_serves(to)?;
        let paused = self.tell("PAUSE", &format!("ID {id} TIMEOUT 10000 TO {}", to.id))?;
        paused.field("offset").with_context(|| format!("PAUSE: {paused:?}"))?;
        self.expect("LEVEL", &format!("ID {id} TO {}", to.id), "LEVEL")
    }
}

/// A text field of a map.
pub fn field(status: &Value, name: &str) -> Result<String> {
    status.field(name).cloned().with_context(|| format!("no {name} in {status:?}"))?.text()
}

/// The arguments of HANDOVER to that member.
pub fn handover(id: &str, to: &Member) -> String {
    format!("ID {id} TO {} HOST 127.0.0.1 PORT {}", to.id, to.server.port)
}

/// A primary of 1.0 and its followers, all up.
pub fn cluster(followers: usize, directives: &[&str]) -> Result<(Member, Vec<Member>)> {
    let mut a = Member::start("a", directives)?;
    a.expect("BOOTSTRAP", "TERM 1", "OK")?;
    let mut others = Vec::new();
    for name in ["b", "c"].into_iter().take(followers) {
        let mut member = Member::start(name, directives)?;
        member.follow("1.0", &a)?;
        member.until("link", "up")?;
        a.until_serves(&member)?;
        others.push(member);
    }
    Ok((a, others))
}

/// Three members of a config with W 2; the first is the primary. `rule` is the durability.
pub fn three(rule: &str) -> Result<[Member; 3]> {
    three_with(rule, &[])
}

/// As [`three`], each with these directives.
pub fn three_with(rule: &str, directives: &[&str]) -> Result<[Member; 3]> {
    let start = |name: &str| Member::start(name, directives);
    joined(rule, [start("a")?, start("b")?, start("c")?])
}

/// As [`three`], of members that were just started.
pub fn joined(rule: &str, [mut a, mut b, mut c]: [Member; 3]) -> Result<[Member; 3]> {
    a.expect("BOOTSTRAP", &format!("TERM 1 CONFIG 1/1/1/{rule}/block/{}", a.id), "OK")?;
    for follower in [&mut b, &mut c] {
        follower.follow("1.0", &a)?;
        follower.until("link", "up")?;
        a.until_serves(follower)?;
    }
    a.change_config(&format!("2/1/2/{rule}/block/{},{},{}", a.id, b.id, c.id))?;
    Ok([a, b, c])
}

/// Seals both, and makes the first the primary of term 2; they change places if the second holds
/// more.
pub fn elect(b: &mut Member, c: &mut Member) -> Result<()> {
    let mut held = Vec::new();
    for member in [&mut *b, &mut *c] {
        let sealed = member.tell("SEAL", "TERM 2")?;
        held.push(field(&sealed, "offset")?.parse::<u64>()?);
    }
    if held[1] > held[0] {
        std::mem::swap(b, c);
    }
    let config = format!("3/2/2/replicated/block/{},{}", b.id, c.id);
    b.expect("PROMOTE", &format!("TERM 2 CONFIG {config} WAIT 700"), "OK")?;
    c.follow("2.0", b)?;
    c.until("link", "up")
}

/// A plain client that increments a counter until it is told to stop, and counts the answers.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<i64>>,
}

impl Writer {
    /// Connects and begins.
    pub fn start(server: &Server, key: &'static str) -> Result<Self> {
        Ok(Self::on(server.client()?, key))
    }

    /// Begins on this connection.
    pub fn on(mut client: Client, key: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut acknowledged = 0;
            while !told.load(Ordering::Relaxed) {
                let value = client.call(&["INCR", key])?.int()?;
                acknowledged += 1;
                ensure!(value == acknowledged, "{key}: {value} after {acknowledged} answers");
            }
            Ok(acknowledged)
        });
        Self { stop, thread }
    }

    /// How many writes were acknowledged.
    pub fn end(self) -> Result<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?
    }
}
