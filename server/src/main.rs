//! `redisha-server [FILE] [--directive value]…`: reads the configuration, binds, serves.

use std::process::ExitCode;

use server::config::Config;
use server::engine::Engine;
use server::log::{self, Level};
use server::net::{Net, health};

#[global_allocator]
static ALLOCATOR: server::memory::Counting = server::memory::Counting;

const USAGE: &str = "usage: redisha-server [FILE] [--DIRECTIVE VALUE]...
Directives are those of redis.conf; FILE is in its syntax. Examples:
  redisha-server --port 6380 --replicaof '127.0.0.1 6379'
  redisha-server /etc/redis.conf --requirepass secret";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some("--version" | "-v") => {
            println!("redisha-server {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    abort_on_panic();
    server::memory::this_thread_executes();
    let config = match Config::from_args(&args) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("redisha-server: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(config) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log::write_last(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The first line of `internal-secret-file`, by which members trust each other.
fn internal_secret(config: &Config) -> anyhow::Result<Option<Vec<u8>>> {
    let path = &config.internal_secret_file;
    if path.is_empty() {
        anyhow::ensure!(config.cluster_uid.is_empty(), "cluster-uid needs internal-secret-file");
        return Ok(None);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("cannot read internal-secret-file {path}: {error}"))?;
    let line = text.lines().next().unwrap_or("").trim();
    anyhow::ensure!(!line.is_empty(), "internal-secret-file {path} begins with an empty line");
    Ok(Some(line.as_bytes().to_vec()))
}

/// A panic ends the process at once: a node in an unknown state must not go on answering.
fn abort_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        std::process::abort();
    }));
}

/// A folder that cannot be written is told at the start, not when the data is to be saved.
fn check_writable(dir: &str) -> anyhow::Result<()> {
    let probe = format!(".redisha-{}.probe", std::process::id());
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| anyhow::anyhow!("cannot write to directory {dir}: {error}"))
}

fn run(mut config: Config) -> anyhow::Result<u8> {
    std::env::set_current_dir(&config.dir)
        .map_err(|error| anyhow::anyhow!("cannot use directory {}: {error}", config.dir))?;
    log::start(&config)
        .map_err(|error| anyhow::anyhow!("cannot open logfile {}: {error}", config.logfile))?;
    check_writable(&config.dir)?;
    if let Ok(dir) = std::env::current_dir() {
        config.dir = dir.display().to_string();
    }
    let mut net = Net::bind(&config)?;
    let probes = match config.health_port {
        0 => Vec::new(),
        port => net.bind_blocking(&config, port)?,
    };
    let secret = internal_secret(&config)?;
    let mut engine = Engine::new(config, net.clock().now());
    if let Some(secret) = secret {
        engine.set_internal_secret(secret);
    }
    engine.start_tls()?;
    engine.wake = Some(net.waker());
    health::serve(probes, &engine.health)?;
    net.start(&mut engine)?;
    for (port, readonly) in net.ports() {
        let kind = if readonly { " (read-only)" } else { "" };
        let text = format!("Ready to accept connections on port {port}{kind}");
        log::write(Level::Notice, &text);
    }
    let pidfile = std::mem::take(&mut engine.config.pidfile);
    if !pidfile.is_empty() {
        // As every Redis does, the server goes on without it.
        if let Err(error) = std::fs::write(&pidfile, format!("{}\n", std::process::id())) {
            log::write(Level::Warning, &format!("cannot write pidfile {pidfile}: {error}"));
        }
    }
    engine.config.pidfile.clone_from(&pidfile);
    let code = net.run(&mut engine)?;
    if !pidfile.is_empty() {
        // It may be gone already; nothing depends on it.
        let _ = std::fs::remove_file(&pidfile);
    }
    Ok(u8::try_from(code).unwrap_or(1))
}
