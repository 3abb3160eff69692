//! Where a drill takes place: an environment of its own, or a `RedisHA` in a cluster.

use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::{Api, Client, ResourceExt};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use switchover::{LastSwitchover, Outcome};
use tokio::time::{Instant, sleep};

use crate::api::{Names, PASSWORD_KEY, REDIS_PORT};
use crate::executor::remote::Remote;
use crate::executor::status_of;
use crate::local::control;
use crate::local::directory::Labels;
use crate::local::layout::Layout;
use crate::local::world::World;

/// A switch in a cluster must be answered by then.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// The old primary must know by then how long its pause was.
const PAUSE_KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// Something with a primary that can be moved.
pub enum Place {
    Local(Box<World>),
    Cluster(Box<Cluster>),
}

/// A `RedisHA` and what a client needs to reach it.
pub struct Cluster {
    remote: Remote,
    host: String,
    password: String,
}

impl Cluster {
    /// Finds the object's Service and password. Clients reach the Service by its cluster address,
    /// so this must run where that is reachable: in a pod or on a node.
    pub async fn find(name: &str, namespace: Option<&str>) -> anyhow::Result<Self> {
        let remote = Remote::connect(name, namespace).await?;
        let names = Names::of(&remote.get().await?);
        let client = Client::try_default().await?;
        let services: Api<Service> = Api::namespaced(client.clone(), &names.namespace);
        let service = services.get(&names.name).await.context("cannot read the Service")?;
        let host = service.spec.and_then(|spec| spec.cluster_ip);
        let host = host.with_context(|| format!("Service {name} has no address"))?;
        let secrets: Api<Secret> = Api::namespaced(client, &names.namespace);
        let secret = secrets.get(&names.auth_secret()).await.context("cannot read the password")?;
        let password = secret.data.unwrap_or_default().remove(PASSWORD_KEY);
        let password = password.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        Ok(Self { remote, host, password: password.unwrap_or_default() })
    }
}

impl Place {
    /// What a user would connect with.
    pub fn client(&self) -> anyhow::Result<redis::Client> {
        let info: ConnectionInfo = match self {
            Self::Local(world) => {
                ConnectionAddr::Tcp("127.0.0.1".to_owned(), world.port).into_connection_info()?
            }
            Self::Cluster(cluster) => ConnectionAddr::Tcp(cluster.host.clone(), REDIS_PORT)
                .into_connection_info()?
                .set_redis_settings(RedisConnectionInfo::default().set_password(&cluster.password)),
        };
        Ok(redis::Client::open(info)?)
    }

    /// Waits until the primary and all its replicas are in sync.
    pub async fn ready(&self, within: Duration) -> anyhow::Result<()> {
        match self {
            Self::Local(world) => world.ready(within).await.map_err(anyhow::Error::msg),
            Self::Cluster(cluster) => {
                let until = Instant::now() + within;
                while !cluster.in_sync().await? {
                    if Instant::now() >= until {
                        bail!("not all pods are in sync within {} s", within.as_secs());
                    }
                    sleep(Duration::from_millis(200)).await;
                }
                Ok(())
            }
        }
    }

    /// Moves the primary to the next member in turn; returns the outcome, whether it went where
    /// it should, and the pause in microseconds.
    pub async fn switch(&self) -> anyhow::Result<(LastSwitchover, u64)> {
        match self {
            Self::Local(world) => switch_local(world).await,
            Self::Cluster(cluster) => cluster.switch().await,
        }
    }

    /// Ends what was started for the drill.
    pub async fn end(self) {
        match self {
            Self::Local(world) => world.end().await,
            Self::Cluster(_) => {}
        }
    }
}

impl Cluster {
    async fn in_sync(&self) -> anyhow::Result<bool> {
        let redisha = self.remote.get().await?;
        let wanted = redisha.spec.replicas as usize;
        Ok(redisha.status.is_some_and(|status| status.sync_set.len() == wanted))
    }

    async fn switch(&self) -> anyhow::Result<(LastSwitchover, u64)> {
        let redisha = self.remote.get().await?;
        let names = Names::of(&redisha);
        let status = redisha.status.as_ref();
        let from = status.and_then(|status| status.primary.clone());
        let from = from.with_context(|| format!("{} has no primary", redisha.name_any()))?;
        let ordinal = names.ordinal(&from).context("the primary is no pod of this object")?;
        let to = names.pod((ordinal + 1) % redisha.spec.replicas);
        let id = self.remote.request(Some(&to)).await?;
        let last = self.remote.answer(&id, ANSWER_WITHIN).await?;
        let pause_us = last.pause_ms.unwrap_or_default() * 1_000;
        Ok((last, pause_us))
    }
}

async fn switch_local(world: &World) -> anyhow::Result<(LastSwitchover, u64)> {
    let layout = &world.layout;
    let from = Labels::read(layout).address.context("there is no primary")?;
    let names = Layout::names();
    let at = names.iter().position(|name| *name == from).context("an unknown primary")?;
    let to = &names[(at + 1) % names.len()];
    let id = control::request(layout, Some(to))?;
    world.nudge();
    let last = control::answer(layout, &id).await?;
    if last.outcome == Outcome::Aborted {
        return Ok((last, 0));
    }
    // The old primary's own word is finer than the milliseconds of the record. It has one as soon
    // as the first held command was answered, which may be after the switch was recorded.
    let old = world.recipe().client(&from);
    let until = Instant::now() + PAUSE_KNOWN_WITHIN;
    loop {
        let why = match status_of(&old).await {
            Ok(status) if status.pause_us > 0 => return Ok((last, status.pause_us)),
            Ok(_) => "it shows no pause".to_owned(),
            Err(why) => why,
        };
        if Instant::now() >= until {
            bail!("the length of the pause of {from}: {why}");
        }
        sleep(Duration::from_millis(2)).await;
    }
}
