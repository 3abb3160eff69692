//! Asks every member for its word at the same time.

use std::time::Duration;

use switchover::{Handover, Seen, Status};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::{Client, Lane};
use super::wire;

/// How long a member may take to answer STATUS. One second was too short on a machine with ten
/// times the load that it can bear, and a request was called off because its target was "silent".
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the record of a switch may wait for the length of its pause.
const MEASURE_WITHIN: Duration = Duration::from_millis(150);

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
            let mut status = status_of(&client).await;
            if let Ok(seen) = &mut status {
                client.warm().await;
                await_measure(&client, seen).await;
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

/// An old primary knows the length of its pause when the first command that it held has its answer
/// from the new one, which may be a moment after the switch. That moment is waited for once.
async fn await_measure(client: &Client, status: &mut Status) {
    if status.handover != Handover::Accepted || !client.first_sight_of(&status.handover_id) {
        return;
    }
    let until = Instant::now() + MEASURE_WITHIN;
    while status.pause_us == 0 && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
        match status_of(client).await {
            Ok(again) => *status = again,
            Err(_) => return,
        }
    }
}
