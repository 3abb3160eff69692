//! Asks every member for its word at the same time.

use std::time::Duration;

use switchover::{Seen, Status};
use tokio::task::JoinSet;

use super::client::{Client, Lane};
use super::wire;

/// How long a member may take to answer STATUS; an executing thread that is busy for longer is as
/// good as silent to the decision, which has a longer bound of its own before it acts on that.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// One member's own word; the error is a clause for people.
pub async fn status_of(client: &Client) -> Result<Status, String> {
    let words = ["REDISHA".to_owned(), "STATUS".to_owned()];
    let answer = client.call(Lane::Observe, &words, STATUS_TIMEOUT).await;
    wire::status(&answer.map_err(|error| error.to_string())?)
}

/// Fills in the status of every member that answers in time.
pub async fn fill(members: &mut [Seen], clients: Vec<Client>) {
    let mut asked = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        asked.spawn(async move {
            let status = status_of(&client).await;
            if status.is_ok() {
                client.warm().await;
            }
            (index, status)
        });
    }
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((index, Ok(status))) => members[index].status = Some(status),
            Ok((index, Err(why))) => tracing::debug!(member = members[index].name, why, "silent"),
            Err(error) => tracing::error!(%error, "asking a member failed"),
        }
    }
}
