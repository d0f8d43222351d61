//! The page that says what becomes of each key.

use std::fmt::Write;

use super::keys::{Effect, KEYS};

/// `docs/rabbitmq.md`
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# rabbitmq.conf\n\n\
         Made by `scripts/gen` from the program. `warren broker -f rabbitmq.conf` runs a rabbitmq.conf as it is, and so does\n\
         `rabbitmq-server`; `warren import rabbitmq.conf` prints the warren.toml it means. A key that is not listed here is an\n\
         error, with its place.\n\n\
         The environment counts, too: `RABBITMQ_DEFAULT_USER`, `RABBITMQ_DEFAULT_PASS`, `RABBITMQ_DEFAULT_VHOST`,\n\
         `RABBITMQ_NODENAME`, `RABBITMQ_NODE_PORT`, `RABBITMQ_NODE_IP_ADDRESS`, `RABBITMQ_CONFIG_FILE`, `RABBITMQ_MNESIA_DIR`,\n\
         `RABBITMQ_PID_FILE` and `RABBITMQ_ERLANG_COOKIE`. Others that begin with `RABBITMQ_` have no effect, which is a warning.\n\n\
         ## What has an effect\n\n\
         | key | in warren.toml, below `[broker]` |\n|---|---|\n",
    );
    for key in KEYS {
        if let Effect::Set(_) = key.effect {
            let _ = writeln!(page, "| `{}` | {} |", key.name, key.about);
        }
    }
    page += "\n## What is accepted, with a warning\n\n| key | why it has no effect |\n|---|---|\n";
    for key in KEYS {
        if let Effect::None(why) = key.effect {
            let _ = writeln!(page, "| `{}` | {why} |", key.name);
        }
    }
    page += "\n## What is refused\n\n| key | what to do instead |\n|---|---|\n";
    for key in KEYS {
        if let Effect::Refused(instead) = key.effect {
            let _ = writeln!(page, "| `{}` | {instead} |", key.name);
        }
    }
    page
}
