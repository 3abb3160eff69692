//! Between the member's words and the decision's: what the wire does in a real cluster.

use server::handover::{self as member, Outcome, Target, Verb};
use switchover::{Command, Epoch, Handover, Link, Refusal, Replica, Reply, Role, Status};

pub fn epoch_out(epoch: member::Epoch) -> Epoch {
    Epoch::new(epoch.term, epoch.hop)
}

fn epoch_in(epoch: Epoch) -> member::Epoch {
    member::Epoch { term: epoch.term, hop: epoch.hop }
}

/// As it goes over the wire.
fn config_in(config: &switchover::Config) -> member::Config {
    config.text().parse().expect("both sides write configs alike")
}

pub fn verb(command: Command) -> Verb {
    let at = |member, host, port, hostname| Target { member, host, port, hostname };
    match command {
        Command::Bootstrap { term, config } => {
            Verb::Bootstrap { term, config: Some(config_in(&config)) }
        }
        Command::Seal { term } => Verb::Seal { term },
        Command::Promote { term, config, wait_ms } => {
            Verb::Promote { term, config: Some(config_in(&config)), wait_ms }
        }
        Command::Prepare { config } => Verb::Prepare { config: config_in(&config) },
        Command::Commit { config } => Verb::Commit { config: config_in(&config) },
        Command::Follow { epoch, primary, host, port } => {
            Verb::Follow { epoch: epoch_in(epoch), primary: at(primary, host, port, String::new()) }
        }
        Command::Pause { id, timeout_ms, to } => Verb::Pause { id, timeout_ms, to },
        Command::Unpause { id } => Verb::Unpause { id },
        Command::Level { id, to } => Verb::Level { id, to },
        Command::Handover { id, to, host, port, hostname } => {
            Verb::Handover { id, to: at(to, host, port, hostname) }
        }
        Command::Takeover { record } => Verb::Takeover { blob: record },
        Command::Release { id } => Verb::Release { id },
    }
}

pub fn reply(reply: member::Reply) -> Result<Reply, Refusal> {
    Ok(match reply {
        member::Reply::Ok | member::Reply::Level => Reply::Ok,
        member::Reply::Prepared => Reply::Prepared,
        member::Reply::NotLevel => return Err(Refusal::NotLevel("the pause has ended".into())),
        member::Reply::Sealed(status) => Reply::Sealed {
            member: status.member,
            data_epoch: epoch_out(status.data_epoch),
            offset: status.offset,
            empty: status.empty,
            lease_left_ms: status.lease_left_ms,
            restarted: status.restarted,
        },
        member::Reply::Paused { offset, epoch } => {
            Reply::Paused { offset, epoch: epoch_out(epoch) }
        }
        member::Reply::Outcome { outcome, epoch } => match outcome {
            Outcome::Accepted => Reply::Accepted { epoch: epoch_out(epoch) },
            Outcome::Declined => Reply::Declined { epoch: epoch_out(epoch) },
            Outcome::None | Outcome::Pending | Outcome::Abdicated => Reply::Abdicated,
        },
        member::Reply::WrongMember => return Err(Refusal::WrongMember(String::new())),
        member::Reply::Stale { promised } => {
            return Err(Refusal::Stale(format!("promised {promised}")));
        }
        member::Reply::NotReady(text) => return Err(Refusal::NotReady(text)),
    })
}

pub fn status(status: member::Status, link: Link, replicas: Vec<Replica>) -> Status {
    let handover: Handover = status.handover_outcome.name().parse().expect("one set of words");
    let role: Role = status.role.parse().expect("one set of words");
    Status {
        uid: status.uid,
        member: status.member,
        role,
        epoch: epoch_out(status.epoch),
        promised: epoch_out(status.promised),
        data_epoch: epoch_out(status.data_epoch),
        offset: status.offset,
        empty: status.empty,
        primary_member: status.primary.map(|primary| primary.member).unwrap_or_default(),
        link,
        pause_id: status.pause_id,
        pause_left_ms: status.pause_left_ms,
        handover_id: status.handover_id,
        handover_to: status.handover_to,
        handover,
        handover_epoch: epoch_out(status.handover_epoch),
        handover_record: status.handover_record,
        pause_us: status.pause_us,
        draining: status.draining,
        configs: status.configs,
        lease_left_ms: status.lease_left_ms,
        restarted: status.restarted,
        replicas,
        ..Status::default()
    }
}
