//! Carrying a handover record to its target over a connection of its own, for when the
//! replication link is broken.

use crate::client::{Client, ClientId, Closing};
use crate::handover::{Event, Outcome, Target};
use crate::resp::encode_command;

use super::super::effects::{LinkEvent, LinkOwner};
use super::super::{Engine, hooks};

/// How long one connection may take before another is tried, in milliseconds.
const PATIENCE_MS: u64 = 1_000;

/// The connections under way; at most one that is younger than [`PATIENCE_MS`].
#[derive(Default)]
pub struct Routes {
    open: Vec<Route>,
}

struct Route {
    link: ClientId,
    to: Target,
    blob: String,
    begun_ms: u64,
    answer: Vec<u8>,
}

impl Engine {
    pub(super) fn carry_record(&mut self, to: &Target, blob: &str) {
        let now_ms = self.now.mono_ms();
        let young = |route: &Route| now_ms.saturating_sub(route.begun_ms) < PATIENCE_MS;
        if self.rooms.member.routes.open.iter().any(young) {
            return;
        }
        for old in std::mem::take(&mut self.rooms.member.routes.open) {
            self.clients.close(old.link, Closing::Now);
        }
        let link = self.open_link(LinkOwner::Handover, &to.host, to.port);
        self.rooms.member.routes.open.push(Route {
            link,
            to: to.clone(),
            blob: blob.to_owned(),
            begun_ms: now_ms,
            answer: Vec::new(),
        });
    }

    /// Something happened on such a connection.
    pub(crate) fn route_event(&mut self, client: &mut Client, event: &LinkEvent<'_>) {
        let open = &mut self.rooms.member.routes.open;
        let Some(at) = open.iter().position(|route| route.link == client.id) else {
            client.closing = Closing::Now;
            return;
        };
        match event {
            LinkEvent::Connected => {
                let (to, blob) = (open[at].to.member.clone(), open[at].blob.clone());
                let uid = self.member().identity().uid.clone().unwrap_or_default();
                self.greet(client);
                encode_command(
                    &mut client.out,
                    ["REDISHA", "TAKEOVER", "UID", &uid, "MEMBER", &to, "RECORD", &blob]
                        .map(str::as_bytes),
                );
            }
            LinkEvent::Data(bytes) => {
                open[at].answer.extend_from_slice(bytes);
                let greetings = usize::from(self.greets());
                let route = &mut self.rooms.member.routes.open[at];
                if let Some(line) = nth_line(&route.answer, greetings) {
                    let answer = parse_answer(line);
                    let member = route.to.member.clone();
                    self.rooms.member.routes.open.remove(at);
                    client.closing = Closing::Now;
                    if let Some((accepted, epoch)) = answer {
                        self.member_event(Event::Answer { member, epoch, accepted });
                    }
                }
            }
            LinkEvent::Closed | LinkEvent::Failed(_) => {
                open.remove(at);
            }
        }
    }

    /// Whether members authenticate to each other.
    fn greets(&self) -> bool {
        hooks::node_credentials(self).is_some()
    }

    fn greet(&self, client: &mut Client) {
        if let Some((user, password)) = hooks::node_credentials(self) {
            encode_command(&mut client.out, [b"AUTH".as_slice(), &user, &password]);
        }
    }
}

/// The line with this index, once it is whole, without its end.
fn nth_line(bytes: &[u8], index: usize) -> Option<&[u8]> {
    let mut rest = bytes;
    for at in 0..=index {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        if at == index {
            return Some(&rest[..end]);
        }
        rest = &rest[end + 2..];
    }
    None
}

/// `+ACCEPTED t.h` or `+DECLINED t.h`; anything else decides nothing.
fn parse_answer(line: &[u8]) -> Option<(bool, crate::handover::Epoch)> {
    let text = std::str::from_utf8(line).ok()?.strip_prefix('+')?;
    let (word, epoch) = text.split_once(' ')?;
    let accepted = [(Outcome::Accepted, true), (Outcome::Declined, false)]
        .into_iter()
        .find(|(outcome, _)| outcome.name().eq_ignore_ascii_case(word))?
        .1;
    Some((accepted, epoch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{nth_line, parse_answer};

    #[test]
    fn only_whole_and_known_answers_decide() {
        assert_eq!(nth_line(b"+OK\r\n+ACCEPTED 1.", 1), None);
        let line = nth_line(b"+OK\r\n+ACCEPTED 1.2\r\n", 1).expect("a whole line");
        assert_eq!(parse_answer(line), Some((true, "1.2".parse().expect("an epoch"))));
        assert_eq!(parse_answer(b"+DECLINED 1.2").map(|answer| answer.0), Some(false));
        assert_eq!(parse_answer(b"-WRONGMEMBER this is another member"), None);
        assert_eq!(parse_answer(b"+ABDICATED"), None);
    }
}
