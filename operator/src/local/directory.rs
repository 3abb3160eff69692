//! The members of a local environment, their labels, and a person's requests, all as files.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};
use switchover::{Arbiter, Label, Notice, Reason, Request, Seen, Settings};

use super::layout::{Layout, replace};
use crate::api::Durability;
use crate::executor::{Directory, View, WorldError};

/// Where clients are led, and the label of each server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// The server that was labelled primary last: the front door leads there.
    pub address: Option<String>,
    /// `primary` or `replica` by name.
    pub roles: BTreeMap<String, String>,
}

impl Labels {
    /// As written last; empty before the first.
    pub fn read(layout: &Layout) -> Self {
        let text = fs::read(layout.labels()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn of(&self, name: &str) -> Label {
        match self.roles.get(name).map(String::as_str) {
            Some("primary") => Label::Primary,
            Some("replica") => Label::Replica,
            _ => Label::None,
        }
    }

    fn set(&mut self, name: &str, label: Label) {
        match label.as_str() {
            Some(role) => self.roles.insert(name.to_owned(), role.to_owned()),
            None => self.roles.remove(name),
        };
        if label == Label::Primary {
            self.address = Some(name.to_owned());
        }
    }
}

/// A person's wish for another primary, as it lies in the folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    pub id: String,
    pub to: Option<String>,
}

impl Wish {
    pub fn write(&self, layout: &Layout) -> std::io::Result<()> {
        replace(&layout.request(), &serde_json::to_string(self)?)
    }

    fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_slice(&fs::read(layout.request()).ok()?).ok()
    }
}

/// What is told to people, line by line.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// The directory of one local environment.
pub struct Files {
    layout: Layout,
    settings: Settings,
    tell: Tell,
}

impl Files {
    pub fn new(layout: &Layout, durability: Durability, tell: Tell) -> Self {
        // Nobody waits for a pod here: look more often, and act sooner, than in a cluster.
        let settings = Settings {
            failover_after_ms: 1_000,
            poll_ms: 200,
            durability: durability.into(),
            ..Settings::default()
        };
        Self { layout: layout.clone(), settings, tell }
    }
}

impl Directory for Files {
    async fn view(&self, arbiter: &Arbiter) -> Result<View, WorldError> {
        let labels = Labels::read(&self.layout);
        let members = Layout::names()
            .into_iter()
            .map(|name| Seen {
                host: "127.0.0.1".to_owned(),
                port: self.layout.port(&name).unwrap_or_default(),
                probe_port: self.layout.health_port(&name).unwrap_or_default(),
                eligible: true,
                label: labels.of(&name),
                name,
                ..Seen::default()
            })
            .collect();
        let request = Wish::read(&self.layout)
            .filter(|wish| !arbiter.has_answered(&wish.id))
            .map(|wish| Request { id: wish.id, reason: Reason::Request, to: wish.to });
        Ok(View { settings: self.settings, members, request })
    }

    async fn label(&self, name: &str, label: Label) -> bool {
        let mut labels = Labels::read(&self.layout);
        labels.set(name, label);
        let written = serde_json::to_string(&labels)
            .map_err(std::io::Error::from)
            .and_then(|text| replace(&self.layout.labels(), &text));
        if let Err(error) = &written {
            tracing::warn!(%error, "the labels cannot be written");
        }
        written.is_ok()
    }

    async fn notify(&self, notice: Notice) {
        (self.tell)(&sentence(&notice));
    }
}

/// One line for people.
fn sentence(notice: &Notice) -> String {
    match notice {
        Notice::Bootstrapped { primary } => format!("{primary} is the first primary"),
        Notice::SwitchoverStarted { intent } => {
            format!("switching from {} to {} ({})", intent.from.name, intent.to.name, intent.reason)
        }
        Notice::SwitchoverCompleted { from, to, pause_ms, .. } => match pause_ms {
            Some(ms) => format!("switched from {from} to {to}; writes waited at most {ms} ms"),
            None => format!("switched from {from} to {to}"),
        },
        Notice::SwitchoverAborted { from, why, .. } => {
            format!("not switched, {from} remains the primary: {why}")
        }
        Notice::FailoverStarted { lost, .. } => {
            format!("{lost} does not answer: electing another primary")
        }
        Notice::FailoverCompleted { to, .. } => format!("{to} is the primary now"),
        Notice::Held { why, .. } => format!("the request waits: {why}"),
        Notice::Waiting { why } => format!("waiting: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While both are labelled primary, clients are led to the newer one, and unlabelling the old
    /// one leads nobody back.
    #[test]
    fn the_address_is_the_newest_primary() {
        let mut labels = Labels::default();
        labels.set("a", Label::Primary);
        labels.set("b", Label::Primary);
        labels.set("a", Label::Replica);
        assert_eq!(labels.address.as_deref(), Some("b"));
        assert_eq!((labels.of("a"), labels.of("b")), (Label::Replica, Label::Primary));
        assert_eq!(labels.of("c"), Label::None);
    }
}
