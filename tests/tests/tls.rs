//! TLS with real processes: clients and members over it through a planned switch, and certificates
//! that change under load.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, Writer};
use tests::ports::free_port;
use tests::resp::Value;
use tests::server::Server;
use tests::tls::Authority;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// A member at that TLS port, which reaches others over TLS only.
fn member(name: &str, authority: &Authority, port: u16) -> Result<Member> {
    let mut all = authority.directives(port);
    all.extend(["--tls-replication".to_owned(), "yes".to_owned()]);
    Member::start(name, &all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Clients over TLS at the old primary are relayed over TLS to the new one, and the stream between
/// members is TLS, too: at the followed port nobody speaks anything else.
#[test]
fn clients_over_tls_do_not_notice_a_planned_switch() -> Result<()> {
    let authority = Authority::new("switch")?;
    let ports = [free_port()?, free_port()?];
    let mut a = member("a", &authority, ports[0])?;
    let mut b = member("b", &authority, ports[1])?;
    a.expect("BOOTSTRAP", "TERM 1", "OK")?;
    let follow = format!("EPOCH 1.0 PRIMARY {} HOST 127.0.0.1 PORT {}", a.id, ports[0]);
    b.expect("FOLLOW", &follow, "OK")?;
    b.until("link", "up")?;
    a.until_serves(&b)?;
    let start = |key| -> Result<Writer> { Ok(Writer::on(authority.client(ports[0])?, key)) };
    let writers = [start("w0")?, start("w1")?];
    let mut idle = authority.client(ports[0])?;
    let grows = |client: &mut tests::resp::Client, by: i64| -> Result<()> {
        let before: i64 = client.say("GET w1")?.text()?.parse().unwrap_or(0);
        wait::until("writes go on", PATIENCE, || {
            let now: i64 = client.say("GET w1")?.text()?.parse()?;
            Ok((now > before + by).then_some(()))
        })
    };
    grows(&mut idle, 100)?;
    // What is no TLS is refused at that port.
    let plain = tests::resp::Client::connect(("127.0.0.1", ports[0]))?.say("PING");
    ensure!(plain.is_err(), "the TLS port answers {plain:?}");

    a.moves_to_port("s1", &b, ports[1])?;
    // Connections that were there are relayed, and so are new ones.
    grows(&mut idle, 100)?;
    grows(&mut authority.client(ports[0])?, 20)?;
    ensure!(a.status("relayed")?.parse::<u64>()? > 0, "nobody was relayed");
    for (writer, key) in writers.into_iter().zip(["w0", "w1"]) {
        let acknowledged = writer.end()?;
        let kept = authority.client(ports[1])?.call(&["GET", key])?.text()?;
        ensure!(kept == acknowledged.to_string(), "{key}: {acknowledged} answers, {kept} kept");
    }
    ensure!(b.server.info("sync_full")? == "0", "the old primary was sent all data");
    Ok(())
}

/// New connections are shown the new certificate, those that stand go on, and a file that is none
/// changes nothing.
#[test]
fn a_certificate_is_renewed_under_load() -> Result<()> {
    let authority = Authority::new("renewal")?;
    let port = free_port()?;
    let mut directives = authority.directives(port);
    directives.extend(["--tls-auto-reload-interval".to_owned(), "1".to_owned()]);
    let server =
        Server::start("renewal", &directives.iter().map(String::as_str).collect::<Vec<_>>())?;
    let writer = Writer::on(authority.client(port)?, "count");
    let first = authority.shown(port)?;
    authority.renew()?;
    wait::until("the new certificate is shown", PATIENCE, || {
        Ok((authority.shown(port)? != first).then_some(()))
    })
    .with_context(|| server.log())?;
    let second = authority.shown(port)?;

    let (file, kept) = (authority.folder.join("tls.crt"), authority.folder.join("kept"));
    fs::rename(&file, &kept)?;
    fs::write(&file, "no certificate")?;
    wait::until("the server complains", PATIENCE, || {
        Ok(server.log().contains("tls.crt").then_some(()))
    })?;
    fs::rename(&kept, &file)?;
    ensure!(authority.shown(port)? == second, "another certificate is shown");
    let acknowledged = writer.end()?;
    ensure!(acknowledged > 0, "the writer was never answered");
    let kept = authority.client(port)?.say("GET count")?;
    ensure!(kept == Value::Text(acknowledged.to_string()), "{acknowledged} answers, {kept:?} kept");
    Ok(())
}
