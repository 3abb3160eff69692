//! Sources that speak TLS.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, cluster};
use tests::ports::free_port;
use tests::programs;
use tests::resp::{Client, Value, ok};
use tests::server::Server;
use tests::tls::Authority;
use tests::wait;

use super::{PATIENCE, arrives, fails, fill, full_resyncs, move_in};

const STOCK: [&str; 2] = ["REDISHA_VALKEY", "REDISHA_REDIS"];

/// A source that speaks TLS at a port of its own: ours, or that variable's.
fn source(
    variable: Option<&str>,
    authority: &Authority,
    more: &[&str],
) -> Result<Option<(Server, u16)>> {
    let named = variable.map(|variable| env::var_os(variable).map(PathBuf::from));
    let Some(program) = named.unwrap_or_else(|| Some(programs::server())) else {
        assert!(env::var_os("CI").is_none(), "{variable:?} is not set");
        eprintln!("SKIPPED: {variable:?} is not set");
        return Ok(None);
    };
    let port = free_port()?;
    let mut all = authority.directives(port);
    all.extend(more.iter().map(|word| (*word).to_owned()));
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    Ok(Some((Server::start_program(&program, "secured", &words)?, port)))
}

/// What is said of a source by TLS.
struct Said(Vec<String>);

impl Said {
    /// Of a source at that port, whose certificate this authority signed.
    fn new(port: u16, authority: &Authority) -> Result<Self> {
        let port = port.to_string();
        let said = Self(["TLS-HOST", "127.0.0.1", "PORT", &port].map(str::to_owned).to_vec());
        Ok(said.and("TLS-CA", &authority.pem("ca.crt")?))
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        self.0.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// With a certificate to show.
    fn showing(self, authority: &Authority) -> Result<Self> {
        let (certificate, key) = (authority.pem("tls.crt")?, authority.pem("tls.key")?);
        Ok(self.and("TLS-CERT", &certificate).and("TLS-KEY", &key))
    }

    fn words(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    fn begins(&self, member: &mut Member) -> Result<()> {
        super::begins_by(member, &self.words())
    }
}

/// The replication link and the questions of the cut-over go by TLS: at that port, with a certificate
/// that the source asks for, nobody speaks anything else. A stock source follows in the end, and
/// ours redirects.
#[test]
fn a_source_is_taken_over_by_tls() -> Result<()> {
    let authority = Authority::new("moves-in")?;
    for (variable, word) in
        [(None, "REDIRECT"), (Some(STOCK[0]), "READONLY"), (Some(STOCK[1]), "READONLY")]
    {
        let Some((source, port)) = source(variable, &authority, &[])? else { continue };
        let said = Said::new(port, &authority)?.showing(&authority)?;
        let (acknowledged, ended, count) = move_in(&source, &said.words())?;
        let why = ended.context("the source goes on taking writes")?;
        ensure!(why.starts_with(word), "{variable:?}: {why}");
        assert_eq!(count, acknowledged, "{variable:?}");
    }
    Ok(())
}

/// Whatever is wrong is told, the data stay, and what is mended is taken up at the point at which it
/// was left. A failed handshake was told as a connection that the source had closed.
#[test]
fn what_is_wrong_is_told_and_can_be_mended() -> Result<()> {
    let [authority, stranger] = [Authority::new("right")?, Authority::new("wrong")?];
    for variable in [None, Some(STOCK[0])] {
        let Some((source, port)) = source(variable, &authority, &[])? else { continue };
        let mut outside = fill(&source)?;
        let (mut a, _) = cluster(0, &[])?;
        let right = || Said::new(port, &authority)?.showing(&authority);

        Said::new(port, &stranger)?.showing(&authority)?.begins(&mut a)?;
        fails(&a, "signed by none of the CA's that are trusted")?;
        right()?.and("TLS-NAME", "old.example").begins(&mut a)?;
        fails(&a, "its certificate is for 127.0.0.1, and not for 'old.example'")?;
        Said::new(port, &authority)?.begins(&mut a)?;
        fails(&a, "it asks for a client certificate")?;
        let clear = format!("HOST 127.0.0.1 PORT {port}");
        super::begins(&mut a, &clear)?;
        fails(&a, "does it want TLS at this port?")?;
        a.until("migration", "copying")?;
        super::refused(&mut a)?;

        right()?.begins(&mut a)?;
        a.until("migration", "following")?;
        // What cannot be used at all changes nothing.
        let broken = Said::new(port, &authority)?.and("TLS-CERT", "x").and("TLS-KEY", "y");
        let line = broken.words();
        match a.tell_words("MIGRATE", &line)? {
            Value::Error(why) if why.starts_with("BADTLS client certificate") => {}
            other => anyhow::bail!("no certificate was taken for one: {other:?}"),
        }
        outside.say("SET late word")?;
        let mut here = a.server.client()?;
        arrives(&mut here, "late", "word")?;

        Said::new(port, &stranger)?.showing(&authority)?.begins(&mut a)?;
        fails(&a, "signed by none of the CA's that are trusted")?;
        super::refused(&mut a)?;
        outside.say("SET later word")?;
        ensure!(here.say("GET late")?.text()? == "word", "the data are gone");
        // Whatever name it has, it is the CA's.
        right()?.and("TLS-NAME", "old.example").and("TLS-VERIFY", "ca").begins(&mut a)?;
        arrives(&mut here, "later", "word")?;
        ensure!(full_resyncs(&source)? == 1, "all data were sent again");
    }
    Ok(())
}

/// Who speaks no TLS may wait for the rest of what it takes for a command: it is not waited for.
#[test]
fn a_source_that_speaks_no_tls_is_told_so() -> Result<()> {
    let authority = Authority::new("plain")?;
    let source = Server::start("outside", &[])?;
    let (mut a, _) = cluster(0, &[])?;
    Said::new(source.port, &authority)?.begins(&mut a)?;
    fails(&a, "this port")?;
    super::begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
    a.until("migration", "following")
}

/// A key is in no record, no file and no answer, and a successor that has none does not go on in the
/// clear: it waits until it is told again.
#[test]
fn a_key_is_never_shown_and_said_again() -> Result<()> {
    let authority = Authority::new("secret")?;
    let more = ["--tls-auth-clients", "yes"];
    let Some((source, port)) = source(None, &authority, &more)? else { return Ok(()) };
    let mut outside = fill(&source)?;
    let files = ["--appendonly", "yes", "--slowlog-log-slower-than", "0"];
    let (mut a, mut others) = cluster(1, &files)?;
    let mut b = others.pop().context("b")?;
    let mut monitor = a.server.client()?;
    ok(&mut monitor, "MONITOR")?;
    let said = Said::new(port, &authority)?.showing(&authority)?;
    said.begins(&mut a)?;
    a.until("migration", "following")?;
    a.until_serves(&b)?;
    // Nor when somebody says it who may not.
    let mut stranger = a.server.client()?;
    let head = ["REDISHA", "MIGRATE", "UID", tests::members::UID, "MEMBER", &a.id];
    let words = [&head[..], &said.words()].concat();
    ensure!(matches!(stranger.call(&words)?, Value::Error(_)), "a stranger moves in");
    no_key_in(&a.server, &mut monitor)?;

    a.moves_to("s1", &b)?;
    b.until("migration-error", "the source's password or certificates are to be said again")?;
    let mut here = b.server.client()?;
    ensure!(here.say("SAVE")?.text()? == "OK");
    for server in [&a.server, &b.server] {
        for file in files_in(&server.directory)? {
            let bytes = fs::read(&file)?;
            let found = bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
            ensure!(!found, "a key in {}", file.display());
        }
    }
    said.begins(&mut b)?;
    outside.say("SET late word")?;
    arrives(&mut here, "late", "word")
}

const KEY: &str = "PRIVATE KEY";

/// Neither logs nor answers show a key.
fn no_key_in(server: &Server, monitor: &mut Client) -> Result<()> {
    let mut client = server.internal()?;
    for line in [
        "SLOWLOG GET -1",
        "ACL LOG",
        "CLIENT LIST",
        "INFO everything",
        "REDISHA STATUS",
        "ECHO end",
    ] {
        let answer = format!("{:?}", client.say(line)?);
        ensure!(!answer.contains(KEY), "{line} shows a key");
    }
    ok(&mut server.client()?, "ECHO end")?;
    let shown = wait::until("the monitor shows the end", PATIENCE, || {
        let line = monitor.receive()?.text()?;
        ensure!(!line.contains(KEY), "MONITOR shows a key");
        Ok(line.contains("\"end\"").then_some(()))
    });
    shown?;
    ensure!(!server.log().contains(KEY), "the log shows a key");
    Ok(())
}

/// All files below a folder.
fn files_in(folder: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_in(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
