//! `rename-command`: clients know a command by another name, or not at all. Behind the gates every
//! command has its own name, so that streams, files, transactions and other nodes know of none of it.

use crate::client::{Client, Duty};
use crate::resp::{Args, OwnedArgs, errors};

use super::{Engine, Flow};

impl Engine {
    /// As `execute`, where commands were renamed.
    #[cold]
    pub(super) fn execute_renamed(&mut self, client: &mut Client, args: Args<'_>) -> Flow {
        let other = |name: &&(String, String)| args.at(0).eq_ignore_ascii_case(name.1.as_bytes());
        // Other nodes say what they mean.
        let says =
            client.duty == Duty::Commands && !client.is_internal() && client.session.is_none();
        self.names_are_given = says;
        let flow = match self.config.renames.iter().find(other).filter(|_| says) {
            Some((own, _)) => {
                let words = std::iter::once(own.as_bytes()).chain(args.iter().skip(1));
                self.names_are_given = false;
                if let Some(words) = OwnedArgs::composed(words) {
                    self.execute_named(client, words.args())
                } else {
                    client.reply().error(&errors::TOO_LONG.into());
                    Flow::Done
                }
            }
            None => self.execute_named(client, args),
        };
        self.names_are_given = false;
        flow
    }

    /// Whether a client may not call a command by this name.
    pub fn is_renamed(&self, name: &[u8]) -> bool {
        let renames = &self.config.renames;
        !renames.is_empty()
            && renames.iter().any(|(own, _)| name.eq_ignore_ascii_case(own.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Bench;

    /// Configurations that hide dangerous commands from applications ended the start.
    #[test]
    fn renamed_commands_go_by_their_new_name_alone() {
        let mut bench = Bench::new(&[]);
        let renames = [("flushall", ""), ("set", "put")].map(|(a, b)| (a.into(), b.into()));
        bench.engine.config.renames = renames.to_vec();
        let client = bench.client();
        let mut check = |command: &str, expected: &str| {
            let answer = bench.ask(client, command);
            assert!(answer.starts_with(expected), "{command}: {answer}");
        };
        check("FLUSHALL", "-ERR unknown command 'FLUSHALL'");
        check("set k v", "-ERR unknown command 'set'");
        check("PUT k v", "+OK");
        check("GET k", "$1 v");
        check("MULTI", "+OK");
        check("put k w", "+QUEUED");
        check("EXEC", "*1 +OK");
        check("EVAL return(redis.call('flushall')) 0", "-ERR Unknown command called from script");
    }
}
