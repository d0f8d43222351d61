//! Definitions into a node and out of it: for command lines, and for `load_definitions` at the start.

use warren_model::definitions::{self, Definitions, Export, InvalidDefinitions, Look};
use warren_model::meta::Command;
use warren_model::{Meta, Name, Refusal};

use crate::node::Node;
use crate::password;

/// What became of definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Commands that were carried out, those included that found everything as it was to be.
    pub done: usize,
    /// What the broker did not take, each with its name: `queue 'orders' in vhost '/': inequivalent arg …`.
    pub refused: Vec<String>,
}

impl Node {
    /// Reads definitions. A vhost is given for a file of one vhost, whose objects need not name theirs.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn read_definitions(
        &self,
        text: &str,
        vhost: Option<&Name>,
    ) -> Result<Definitions, InvalidDefinitions> {
        definitions::read(text, vhost, &mut |password| self.hash_password(password))
    }

    /// The same, and adds what they say to what there is; nothing is taken away. All of it is on disk when this returns: not for a
    /// thread that serves clients.
    ///
    /// # Errors
    /// They cannot be read; nothing has changed.
    pub fn import_definitions(
        &self,
        text: &str,
        vhost: Option<&Name>,
    ) -> Result<Imported, InvalidDefinitions> {
        let read = self.read_definitions(text, vhost)?;
        Ok(self.add_definitions(read))
    }

    /// Adds what was read.
    pub(crate) fn add_definitions(&self, definitions: Definitions) -> Imported {
        let mut imported = Imported::default();
        let mut last = None;
        for (object, command) in definitions.commands {
            if let Command::PutUser {
                password: Some(kept), ..
            } = &command
                && !kept.hash.is_empty()
                && !password::is_whole(kept)
            {
                let reason = format!(
                    "no password matches his password_hash as {}: set it anew",
                    kept.algorithm
                );
                tracing::warn!(%object, reason, "definition lets nobody log in");
                imported.refused.push(format!("{object}: {reason}"));
            }
            match self.change(command) {
                Ok((_, ticket)) => {
                    imported.done += 1;
                    last = ticket.or(last);
                }
                Err(Refusal { text, .. }) => {
                    tracing::warn!(%object, reason = %text, "definition was not taken");
                    imported.refused.push(format!("{object}: {text}"));
                }
            }
        }
        let added = self.add_delaying_queues();
        if let Err(refusal) = added.and_then(|added| self.wait(added.or(last))) {
            imported.refused.push(format!("all of it: {}", refusal.text));
        }
        imported
    }

    /// Definitions of all there is, or of one vhost. `None`: there is no such vhost.
    #[must_use]
    pub fn export_definitions(&self, vhost: Option<&str>) -> Option<Export> {
        let Some(vhost) = vhost else {
            return Some(definitions::export(self));
        };
        let definitions = definitions::export_vhost(self, vhost)?;
        let lost = Vec::new();
        Some(Export { definitions, lost })
    }
}

impl Look for Node {
    fn look<T>(&self, look: impl FnOnce(&Meta) -> T) -> T {
        self.read(look)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use warren_cluster::Member;
    use warren_store::{Options, SimulatedDisk};

    use crate::{Node, Settings};

    #[test]
    fn an_exchange_that_delays_messages_does_so_as_soon_as_it_is_imported() {
        let node = Node::new("rabbit@test".to_owned(), Settings::default());
        let file = serde_json::json!({
            "vhosts": [{"name": "v"}],
            "exchanges": [{"name": "later", "vhost": "v", "type": "x-delayed-message", "arguments": {"x-delayed-type": "direct"}}],
        });
        let imported = node.import_definitions(&file.to_string(), None).unwrap();
        assert_eq!((imported.done, imported.refused), (2, vec![]));
        node.read(|meta| assert_eq!(meta.vhost("v").unwrap().without_delaying_queue().count(), 0));
    }

    #[test]
    fn a_hash_that_no_password_matches_is_named() {
        let node = Node::new("rabbit@test".to_owned(), Settings::default());
        let (whole, cut) = (
            "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
            "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgx",
        );
        for (hash, is_named) in [(whole, false), ("", false), (cut, true), ("!!!", true)] {
            let file = serde_json::json!({"users": [{"name": "eve", "password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}]});
            let imported = node.import_definitions(&file.to_string(), None).unwrap();
            assert_eq!(imported.done, 1, "he is there");
            assert_eq!(
                imported.refused.len(),
                usize::from(is_named),
                "{:?}",
                imported.refused
            );
        }
    }

    #[test]
    fn what_is_imported_is_on_disk_at_once_and_what_is_refused_is_named() {
        let disk = SimulatedDisk::default();
        let directory = std::path::Path::new("/data");
        let open = || {
            let disk = Arc::new(disk.clone());
            let name = "rabbit@test".to_owned();
            let member = Member::alone_on(disk, directory, Options::default()).unwrap();
            Node::open(name, Settings::default(), member).unwrap().0
        };
        let node = open();
        let queues: Vec<_> = (0..2000)
            .map(|number| serde_json::json!({"name": format!("q{number}"), "vhost": "v"}))
            .collect();
        let mut file = serde_json::json!({
            "vhosts": [{"name": "v"}],
            "queues": queues,
            "policies": [{"name": "p", "vhost": "v", "pattern": "^q7$", "definition": {"max-length": 3}}],
        });
        let before = Instant::now();
        let imported = node.import_definitions(&file.to_string(), None).unwrap();
        assert_eq!(
            (imported.done, imported.refused.len()),
            (2002, 0),
            "{:?}",
            before.elapsed()
        );
        file["queues"] = serde_json::json!([{"name": "q1", "vhost": "v", "durable": false}]);
        let imported = node.import_definitions(&file.to_string(), None).unwrap();
        assert_eq!(
            imported.refused,
            [
                "queue 'q1' in vhost 'v': inequivalent arg 'durable' for queue 'q1' in vhost 'v': received 'false' but current is 'true'"
            ]
        );
        assert!(node.import_definitions("{\"queues\": 1}", None).is_err());
        let written = node.export_definitions(None).unwrap().definitions;
        drop(node);
        assert_eq!(open().export_definitions(None).unwrap().definitions, written);
        assert!(open().export_definitions(Some("none")).is_none());
    }
}
