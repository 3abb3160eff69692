//! Asks every member for its word at the same time.
//!
//! A look lasts as long as the silence of the primary must be waited for, and no longer: whoever was
//! silent at the last look holds up nobody, but is taken for one that answers again as soon as a late
//! answer comes.

use std::time::Duration;

use switchover::{Handover, Link, Member, Pulse, Role, Settings, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::client::{CallError, Client, Lane};
use super::{View, wire};

/// How long a member may take to answer STATUS. One second was too short on a machine with ten
/// times the load that it can bear, and a request was called off because its target was "silent".
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// The same at the look after one at which it was silent.
const SILENT_BEFORE: Duration = Duration::from_millis(300);
/// How much longer than the last answer a look waits for others where the primary's is missing.
const PRIMARY_MISSING: Duration = Duration::from_millis(700);
/// A process that has not answered for so long is asked whether it lives.
const PROBE_AFTER: Duration = Duration::from_millis(100);

/// How long an answer may wait for the connections that acting will need. Where they cannot be made
/// somebody is lost, and what was answered is wanted at once.
const WARM_WITHIN: Duration = Duration::from_millis(100);

/// How long the record of a switch may wait for the length of its pause.
const MEASURE_WITHIN: Duration = Duration::from_millis(150);

/// One member's own word; the error is a clause for people.
pub async fn status_of(client: &Client) -> Result<Status, String> {
    wire::status(&asked(client).await.map_err(|error| error.to_string())?)
}

async fn asked(client: &Client) -> Result<redis::Value, CallError> {
    let words = ["REDISHA".to_owned(), "STATUS".to_owned()];
    let answer = client.call(Lane::Observe, &words, STATUS_TIMEOUT).await;
    match answer {
        // The connection may have ended long ago; only a new one tells.
        Err(CallError::Lost { broken: true, .. }) => {
            client.call(Lane::Observe, &words, STATUS_TIMEOUT).await
        }
        answer => answer,
    }
}

/// What comes back from one member.
enum News {
    Status(Box<Status>),
    /// It will not answer at this look.
    None,
    /// Nor will it: nobody listens at its address.
    Gone,
    /// It has not answered STATUS, but its process lives.
    Beats,
}

/// Fills in what every member says that answers in time. `primary` is the published one.
pub async fn fill(view: &mut View, clients: Vec<Client>, primary: Option<&Member>) {
    let begun = Instant::now();
    let View { members, settings, .. } = view;
    let mut look = Look {
        primary: primary.and_then(|one| members.iter().position(|seen| seen.name == one.name)),
        silent_before: clients.iter().map(Client::was_silent).collect(),
        awaited: vec![true; members.len()],
        last_answer: Duration::ZERO,
    };
    let (sender, mut news) = unbounded_channel();
    for (index, client) in clients.iter().enumerate() {
        let probe = (members[index].host.clone(), members[index].probe_port);
        tokio::spawn(ask(index, client.clone(), probe, sender.clone()));
    }
    while let Some(patience) = look.patience() {
        let Ok(Some((index, news))) = timeout_at(begun + patience, news.recv()).await else {
            break;
        };
        match news {
            News::Status(status) => {
                if primary.is_some_and(|primary| misses(&status, primary, settings)) {
                    look.primary_is_missed();
                }
                members[index].status = Some(*status);
            }
            News::None => {}
            News::Gone => members[index].pulse = Pulse::Gone,
            News::Beats => {
                members[index].pulse = Pulse::Beats;
                continue;
            }
        }
        look.answered(index, begun.elapsed());
    }
    let silent = look.awaited.iter().zip(&clients).filter(|(awaited, _)| **awaited);
    silent.for_each(|(_, client)| client.set_silent(true));
}

/// Whether a member follows this primary and has not heard it for long: it has listened all the while,
/// when this process may have just begun to look.
fn misses(status: &Status, primary: &Member, settings: &Settings) -> bool {
    status.role == Role::Follower
        && status.primary_member == primary.member
        && (status.link != Link::Up || status.silence_ms >= settings.heard_within_ms)
}

/// Whom a look still waits for, and for how long.
struct Look {
    primary: Option<usize>,
    silent_before: Vec<bool>,
    awaited: Vec<bool>,
    /// From the look's begin.
    last_answer: Duration,
}

impl Look {
    /// How long after its begin the look ends; `None` when everybody has answered.
    fn patience(&self) -> Option<Duration> {
        let missing = self.primary.is_some_and(|index| self.awaited[index]);
        let of = |index: usize| match (self.silent_before[index], missing) {
            (true, _) => SILENT_BEFORE,
            (false, true) => STATUS_TIMEOUT.min(self.last_answer + PRIMARY_MISSING),
            (false, false) => STATUS_TIMEOUT,
        };
        (0..self.awaited.len()).filter(|index| self.awaited[*index]).map(of).max()
    }

    /// Another member's word counts as much as an own look at which it was silent.
    fn primary_is_missed(&mut self) {
        if let Some(index) = self.primary {
            self.silent_before[index] = true;
        }
    }

    fn answered(&mut self, index: usize, after: Duration) {
        self.awaited[index] = false;
        self.last_answer = after;
    }
}

/// Asks one member. Goes on when the look has ended: a late answer counts for the next one.
async fn ask(
    index: usize,
    client: Client,
    probe: (String, u16),
    tell: UnboundedSender<(usize, News)>,
) {
    let status = asked(&client);
    tokio::pin!(status);
    let answer = if let Ok(answer) = timeout(PROBE_AFTER, &mut status).await {
        answer
    } else {
        tokio::spawn(ask_probe(index, probe, tell.clone()));
        status.await
    };
    let refused = matches!(answer, Err(CallError::Unreachable { refused: true, .. }));
    let status = answer.map_err(|error| error.to_string()).and_then(|value| wire::status(&value));
    client.set_silent(status.is_err());
    let news = match status {
        Ok(mut status) => {
            // What is not made now is made when it is needed.
            let _ = timeout(WARM_WITHIN, client.warm()).await;
            await_measure(&client, &mut status).await;
            News::Status(Box::new(status))
        }
        Err(why) => {
            tracing::debug!(member = client.address(), why, "silent");
            if refused { News::Gone } else { News::None }
        }
    };
    // A look that has ended has nobody to tell.
    let _ = tell.send((index, news));
}

/// Asks a member's process, by its own threads, whether it lives.
async fn ask_probe(index: usize, probe: (String, u16), tell: UnboundedSender<(usize, News)>) {
    let beats = async {
        let mut stream = TcpStream::connect((probe.0.as_str(), probe.1)).await?;
        stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await?;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await?;
        std::io::Result::Ok(begin.ends_with(b" 200"))
    };
    if probe.1 > 0 && matches!(timeout(STATUS_TIMEOUT, beats).await, Ok(Ok(true))) {
        // As above.
        let _ = tell.send((index, News::Beats));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The primary is the first of three.
    fn check(silent_before: [bool; 3], answers: &[(usize, u64)], expect: Option<u64>) {
        let mut look = Look {
            primary: Some(0),
            silent_before: silent_before.to_vec(),
            awaited: vec![true; 3],
            last_answer: Duration::ZERO,
        };
        for (index, after_ms) in answers {
            look.answered(*index, Duration::from_millis(*after_ms));
        }
        let case = format!("{silent_before:?} {answers:?}");
        assert_eq!(look.patience(), expect.map(Duration::from_millis), "{case}");
    }

    /// Each of five looks waited two seconds for the one member that was lost, so that a partition
    /// took twelve seconds to be survived.
    #[test]
    fn who_is_silent_holds_up_the_others_for_a_short_time() {
        let none = [false; 3];
        check(none, &[(0, 3), (1, 4), (2, 5)], None);
        check(none, &[(0, 3), (1, 4)], Some(2_000));
        check(none, &[(1, 3), (2, 4)], Some(704));
        check(none, &[(1, 3), (2, 1_900)], Some(2_000));
        check(none, &[], Some(700));
        check([true, false, false], &[(1, 3), (2, 4)], Some(300));
        check([true, false, false], &[(1, 3)], Some(703));
        check([false, false, true], &[(0, 3), (1, 4)], Some(300));
        check([false, true, true], &[(1, 2)], Some(702));
    }

    /// The node of the acting operator was lost with the primary's: its successor waited 0.7 s for a
    /// primary that the others had missed for seconds.
    #[test]
    fn a_primary_that_others_have_missed_for_long_is_not_waited_for_again() {
        let primary = Member { name: "a".into(), member: "m".into() };
        let follows = |link, silence_ms, primary_member: &str| Status {
            role: Role::Follower,
            primary_member: primary_member.into(),
            link,
            silence_ms,
            ..Status::default()
        };
        let check = |status: &Status, expect| {
            assert_eq!(misses(status, &primary, &Settings::default()), expect, "{status:?}");
        };
        check(&follows(Link::Up, 2_000, "m"), true);
        check(&follows(Link::Down, 0, "m"), true);
        check(&follows(Link::Up, 999, "m"), false);
        check(&follows(Link::Up, 2_000, "n"), false);
        check(&Status { role: Role::Fenced, ..follows(Link::Up, 2_000, "m") }, false);

        let mut look = Look {
            primary: Some(0),
            silent_before: vec![false; 3],
            awaited: vec![true, false, false],
            last_answer: Duration::from_millis(4),
        };
        assert_eq!(look.patience(), Some(Duration::from_millis(704)));
        look.primary_is_missed();
        assert_eq!(look.patience(), Some(SILENT_BEFORE));
    }
}
