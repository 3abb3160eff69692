//! A client of one member's `REDISHA` commands, as the internal user.
//!
//! Takes an address and the secret, returns replies as text. Does I/O. Three connections ("lanes")
//! are kept per member, since a reply that the server defers (LEVEL, HANDOVER) would otherwise
//! hold up everything sent behind it, the ending of a pause included.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, Value,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The user that members and the operator speak as.
pub const INTERNAL_USER: &str = "redisha";

/// How long a connection may take to be made, authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TOO_LONG: &str = "the connection took too long";

/// Why a command to a member has no answer, or not the one that was hoped for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent: the command certainly had no effect.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        address: String,
        why: String,
        /// Nobody listens there.
        refused: bool,
    },
    /// It was sent, and whether it had an effect is unknown.
    #[error("{address} did not answer {command}: {why}")]
    Lost {
        address: String,
        command: String,
        why: String,
        /// Its connection has ended.
        broken: bool,
    },
    /// The member answered with an error.
    #[error("{address} refused {command}: {code} {message}")]
    Refused { address: String, command: String, code: String, message: String },
}

/// Which of a member's connections a command goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// `STATUS`, at any time.
    Observe,
    /// Commands that are answered at once.
    Act,
    /// Commands whose answer the server may defer.
    Wait,
}

/// The connections to one member. Cheap to clone; made on first use and again after a failure.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: String,
    port: u16,
    secret: String,
    lanes: [Mutex<Option<Connection>>; 3],
    /// The last handover of this member that was noticed.
    handover: std::sync::Mutex<String>,
    /// It did not answer STATUS when it was asked last.
    silent: AtomicBool,
    broken: Option<Broken>,
}

/// What is called when the connection of `Lane::Observe` ends.
struct Broken(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broken")
    }
}

/// `MultiplexedConnection` has no `Debug` that is worth printing.
struct Connection(MultiplexedConnection);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Client {
    /// A client of the member at `host:port`; connects when it is first used.
    pub fn new(host: &str, port: u16, secret: &str) -> Self {
        Self::made(host, port, secret, None)
    }

    /// As [`Self::new`]; `broken` is called when the connection that STATUS goes by has ended, which
    /// tells of a killed process at once.
    pub fn watched(
        host: &str,
        port: u16,
        secret: &str,
        broken: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::made(host, port, secret, Some(Broken(Box::new(broken))))
    }

    fn made(host: &str, port: u16, secret: &str, broken: Option<Broken>) -> Self {
        let inner = Inner {
            host: host.to_owned(),
            port,
            secret: secret.to_owned(),
            lanes: [Mutex::new(None), Mutex::new(None), Mutex::new(None)],
            handover: std::sync::Mutex::default(),
            silent: AtomicBool::new(false),
            broken,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether it did not answer STATUS when it was asked last.
    pub fn was_silent(&self) -> bool {
        self.inner.silent.load(Ordering::Relaxed)
    }

    pub fn set_silent(&self, silent: bool) {
        self.inner.silent.store(silent, Ordering::Relaxed);
    }

    /// Whether it is reached at this address.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        (self.inner.host.as_str(), self.inner.port) == (host, port)
    }

    /// Whether this handover of the member is noticed for the first time.
    pub fn first_sight_of(&self, handover: &str) -> bool {
        let mut known = self.inner.handover.lock().expect("no holder of this lock panics");
        let first = *known != handover;
        handover.clone_into(&mut known);
        first
    }

    /// `host:port`, as it is shown in errors.
    pub fn address(&self) -> String {
        format!("{}:{}", self.inner.host, self.inner.port)
    }

    /// Sends one command and waits at most `deadline` for its reply, connecting first if need be.
    pub async fn call(
        &self,
        lane: Lane,
        args: &[String],
        deadline: Duration,
    ) -> Result<Value, CallError> {
        let until = tokio::time::Instant::now() + deadline;
        // Another caller may be making the connection, for longer than this one has time.
        let connection = tokio::time::timeout_at(until, self.connection(lane, deadline));
        let mut connection = connection.await.map_err(|_| self.unreachable(TOO_LONG, false))??;
        let mut command = redis::Cmd::new();
        for arg in args {
            command.arg(arg);
        }
        let answer = tokio::time::timeout_at(until, connection.send_packed_command(&command)).await;
        let name = || args.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ");
        let lost = |why: String, broken| {
            let (address, command) = (self.address(), name());
            CallError::Lost { address, command, why, broken }
        };
        match answer {
            Ok(Ok(Value::ServerError(error))) => Err(CallError::Refused {
                address: self.address(),
                command: name(),
                code: error.code().to_owned(),
                message: error.details().unwrap_or_default().to_owned(),
            }),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.is_io_error() || error.is_connection_dropped() => {
                // Most likely the whole process is gone, and the other connections with it.
                self.forget(&[Lane::Observe, Lane::Act, Lane::Wait]).await;
                Err(lost(error.to_string(), true))
            }
            Ok(Err(error)) => Err(CallError::Refused {
                address: self.address(),
                command: name(),
                code: error.code().unwrap_or("ERR").to_owned(),
                message: error.detail().unwrap_or_default().to_owned(),
            }),
            Err(_) => {
                // The late reply would have to be skipped by the next command: start afresh.
                self.forget(&[lane]).await;
                Err(lost(format!("no reply within {} ms", deadline.as_millis()), false))
            }
        }
    }

    /// Makes the connections that acting will need, so that no pause is spent on making them.
    pub async fn warm(&self) {
        for lane in [Lane::Act, Lane::Wait] {
            // A failure shows again, with its reason, when the lane is used.
            let _ = self.connection(lane, CONNECT_TIMEOUT).await;
        }
    }

    async fn connection(
        &self,
        lane: Lane,
        deadline: Duration,
    ) -> Result<MultiplexedConnection, CallError> {
        let mut slot = self.inner.lanes[lane as usize].lock().await;
        if let Some(connection) = slot.as_ref() {
            return Ok(connection.0.clone());
        }
        let addr = ConnectionAddr::Tcp(self.inner.host.clone(), self.inner.port);
        let mut redis = RedisConnectionInfo::default()
            .set_username(INTERNAL_USER)
            .set_password(&self.inner.secret)
            .set_skip_set_lib_name();
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT.min(deadline)))
            .set_response_timeout(None);
        if lane == Lane::Observe && self.inner.broken.is_some() {
            // The library tells of a connection's end by this protocol only.
            redis = redis.set_protocol(ProtocolVersion::RESP3);
            config = config.set_push_sender(self.teller());
        }
        let failed =
            |error: redis::RedisError| self.unreachable(&error, error.is_connection_refusal());
        let info = addr
            .into_connection_info()
            .map_err(failed)?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(redis);
        let client = redis::Client::open(info).map_err(failed)?;
        let made = client.get_multiplexed_async_connection_with_config(&config);
        let made = timeout(CONNECT_TIMEOUT.min(deadline), made)
            .await
            .map_err(|_| self.unreachable(TOO_LONG, false))?
            .map_err(failed)?;
        *slot = Some(Connection(made.clone()));
        Ok(made)
    }

    fn unreachable(&self, why: impl std::fmt::Display, refused: bool) -> CallError {
        CallError::Unreachable { address: self.address(), why: why.to_string(), refused }
    }

    /// Calls `broken` when the connection has ended.
    fn teller(&self) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static {
        // The connection must not keep itself alive.
        let inner = Arc::downgrade(&self.inner);
        move |news| {
            if news.kind == PushKind::Disconnection
                && let Some(inner) = inner.upgrade()
                && let Some(broken) = &inner.broken
            {
                (broken.0)();
            }
            Ok(())
        }
    }

    async fn forget(&self, lanes: &[Lane]) {
        for lane in lanes {
            *self.inner.lanes[*lane as usize].lock().await = None;
        }
    }
}

/// The text of a reply that is a string of any kind or a number.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::Okay => Some("OK".to_owned()),
        _ => None,
    }
}
