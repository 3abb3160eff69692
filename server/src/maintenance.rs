//! Maintenance notifications: telling a client in advance that its primary is about to move.
//!
//! Pure: builds the RESP3 pushes of the protocol that redis-py, go-redis, node-redis, Jedis and
//! Lettuce ask for with `CLIENT MAINT_NOTIFICATIONS ON [moving-endpoint-type TYPE]`. `FAILING_OVER`
//! relaxes a client's timeouts, `MOVING` moves it, `FAILED_OVER` restores its timeouts.

use crate::relay::Target;

/// Seconds a client is given to move. One that asked for no endpoint reconnects to its configured
/// address after half of it, by which time the Service must lead to the new primary.
pub const MOVING_SECONDS: u64 = 6;

/// Which form of address a client wants to be told in `MOVING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointType {
    /// None: the client reconnects to the address that it was configured with.
    None,
    /// The pod's address.
    InternalIp,
    /// The pod's name in the cluster's DNS.
    InternalFqdn,
}

impl EndpointType {
    /// Reads the handshake's word; external addresses are not known to a server, so they are
    /// refused, upon which a client falls back to doing without notifications.
    pub fn parse(word: &[u8]) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"none" => Some(Self::None),
            b"internal-ip" => Some(Self::InternalIp),
            b"internal-fqdn" => Some(Self::InternalFqdn),
            _ => None,
        }
    }
}

/// Whether a library can be told to move a connection while it uses it.
///
/// go-redis (9.23 and before) hands a connection to a worker that reads the new socket's handshake
/// through the same reader as the command that runs: now and then a command gets a piece of the
/// handshake as its answer. Without `MOVING` it stays on the relay until its connection ends between
/// two commands, which it survives without an error.
pub fn can_be_moved(library: &[u8]) -> bool {
    !library.starts_with(b"go-redis")
}

/// Writes are held from now on, and the primary will be another within `seconds`.
pub fn failing_over(sequence: u64, seconds: u64) -> Vec<u8> {
    format!(">3\r\n$12\r\nFAILING_OVER\r\n:{sequence}\r\n:{seconds}\r\n").into_bytes()
}

/// The switch is over, whether the primary is another one or the same.
pub fn failed_over(sequence: u64) -> Vec<u8> {
    format!(">2\r\n$11\r\nFAILED_OVER\r\n:{sequence}\r\n").into_bytes()
}

/// The client should move to `target` within [`MOVING_SECONDS`]. `always` is an address that leads to
/// the primary whichever node it is, or empty; a client that keeps what it is told keeps that.
pub fn moving(sequence: u64, target: &Target, wanted: EndpointType, always: &str) -> Vec<u8> {
    let host = match wanted {
        EndpointType::None => None,
        EndpointType::InternalIp => Some(&target.host),
        // A member without a DNS name is reached by its address.
        EndpointType::InternalFqdn => target.hostname.as_ref().or(Some(&target.host)),
    };
    let endpoint = match host {
        None => "_\r\n".to_owned(),
        Some(host) => {
            let own = || format!("{host}:{}", target.port);
            let address = if always.is_empty() { own() } else { always.to_owned() };
            format!("${}\r\n{address}\r\n", address.len())
        }
    };
    format!(">4\r\n$6\r\nMOVING\r\n:{sequence}\r\n:{MOVING_SECONDS}\r\n{endpoint}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: EndpointType, hostname: Option<&str>, always: &str, endpoint: &str) {
        let target = Target {
            host: "10.1.2.3".into(),
            port: 6379,
            hostname: hostname.map(Into::into),
            member: None,
        };
        let push = moving(7, &target, wanted, always);
        let text = String::from_utf8(push).expect("ascii");
        assert_eq!(text, format!(">4\r\n$6\r\nMOVING\r\n:7\r\n:6\r\n{endpoint}\r\n"));
    }

    #[test]
    fn moving_names_the_endpoint_that_was_asked_for() {
        check(EndpointType::None, Some("a.pods"), "", "_");
        check(EndpointType::InternalIp, Some("a.pods"), "", "$13\r\n10.1.2.3:6379");
        check(EndpointType::InternalFqdn, Some("a.pods"), "", "$11\r\na.pods:6379");
        check(EndpointType::InternalFqdn, None, "", "$13\r\n10.1.2.3:6379");
    }

    /// Behind one door clients were told the port of a node, where they stayed when it was no
    /// primary any more.
    #[test]
    fn an_address_that_always_leads_to_the_primary_is_named_instead() {
        check(EndpointType::InternalIp, None, "127.0.0.1:7000", "$14\r\n127.0.0.1:7000");
        check(EndpointType::InternalFqdn, Some("a"), "127.0.0.1:7000", "$14\r\n127.0.0.1:7000");
        check(EndpointType::None, None, "127.0.0.1:7000", "_");
    }

    /// Of 360 hand-offs of go-redis 9.23 under load, two commands were answered with a piece of
    /// the new connection's handshake.
    #[test]
    fn a_library_that_confuses_its_answers_is_not_told_to_move() {
        assert!(!can_be_moved(b"go-redis(,go1.26.8)"));
        assert!(can_be_moved(b"node-redis"));
        assert!(can_be_moved(b""));
    }

    #[test]
    fn external_endpoints_are_refused() {
        assert_eq!(EndpointType::parse(b"INTERNAL-IP"), Some(EndpointType::InternalIp));
        assert_eq!(EndpointType::parse(b"external-ip"), None);
    }
}
