//! `show table`, `set table`, `clear table`: what is remembered of clients.
//!
//! A backend's table (`stick on src`) and a frontend's (limits for each client) have the name of their proxy.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use warren_balance::{Counters, Key, StickTable};

use super::commands::{Answer, Request};
use crate::live::{Backend, Table};
use crate::plan::{Counter, SocketLevel};

/// Whose table it is.
enum Owner {
    Backend(Arc<Backend>),
    Table(Arc<Table>),
}

impl Owner {
    fn all(request: &Request<'_>) -> Vec<Self> {
        let snapshot = request.context.live.snapshot();
        let backends = snapshot.backends.iter().cloned().map(Self::Backend);
        let tables = snapshot.tables.iter().cloned().map(Self::Table);
        backends
            .chain(tables)
            .filter(|owner| owner.with(|_| ()).is_some())
            .collect()
    }

    fn name(&self) -> &str {
        match self {
            Self::Backend(backend) => &backend.name,
            Self::Table(table) => &table.plan.name,
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut StickTable) -> T) -> Option<T> {
        match self {
            Self::Backend(backend) => backend.stick.lock().as_mut().map(what),
            Self::Table(table) => Some(what(&mut table.entries.lock())),
        }
    }

    fn key(&self, word: &str) -> Result<Key, Answer> {
        let address = || {
            word.parse()
                .ok()
                .map(|address: std::net::IpAddr| Key::from(address))
        };
        let key = match self {
            Self::Backend(_) => address(),
            Self::Table(table) => table.key_from(word.as_bytes()),
        };
        key.ok_or_else(|| Answer::line("Invalid key"))
    }

    fn header(&self) -> String {
        let (size, used) = self.with(|table| (table.size(), table.len())).unwrap_or_default();
        let kind = match self {
            Self::Backend(_) => "ip",
            Self::Table(table) => table.plan.key.name(),
        };
        format!(
            "# table: {}, type: {kind}, size:{size}, used:{used}\n",
            self.name()
        )
    }

    fn entry(&self, key: &Key, counters: &Counters, left: Option<std::time::Duration>) -> String {
        let expires = left.map_or(0, |left| left.as_millis());
        let mut text = format!(
            "key={} use={} exp={expires}",
            Table::text_of(key),
            counters.conn_cur
        );
        match self {
            Self::Backend(backend) => {
                let id = counters.gpc0;
                let servers = backend.servers();
                let server = servers.iter().find(|server| u64::from(server.id().0) == id);
                let name = server.map_or("-", |server| &*server.name);
                let _ = write!(text, " server_id={id} server_key={name}");
            }
            Self::Table(table) => {
                for (counter, period) in &table.plan.stored {
                    let _ = write!(text, " {}", counter.name());
                    if let Some(period) = period {
                        let _ = write!(text, "({})", period.as_millis());
                    }
                    let _ = write!(text, "={}", counter.of(counters));
                }
            }
        }
        text
    }
}

/// Which entries are meant.
enum Filter {
    All,
    Key(Key),
    Data {
        field: Data,
        operator: Operator,
        value: u64,
    },
}

#[derive(Clone, Copy)]
enum Data {
    Counter(Counter),
    BytesIn,
    BytesOut,
    ServerId,
}

#[derive(Clone, Copy)]
enum Operator {
    Eq,
    Ne,
    Le,
    Ge,
    Lt,
    Gt,
}

impl Filter {
    /// Nothing, `key <key>`, or `data.<type> <operator> <value>`.
    fn of(words: &[String], owner: &Owner) -> Result<Self, Answer> {
        let word = |place: usize| words.get(place).map_or("", String::as_str);
        match word(0) {
            "" => Ok(Self::All),
            "key" => Ok(Self::Key(owner.key(word(1))?)),
            data => {
                let Some(data) = data.strip_prefix("data.") else {
                    return Err(Answer::line(
                        "Optional argument only supports \"data.<store_data_type>\" or key <key>",
                    ));
                };
                let field = match data {
                    "bytes_in_cnt" => Data::BytesIn,
                    "bytes_out_cnt" => Data::BytesOut,
                    "server_id" => Data::ServerId,
                    name => match Counter::ALL.iter().find(|(known, _)| *known == name) {
                        Some((_, counter)) => Data::Counter(*counter),
                        None => return Err(Answer::line("Unknown data type")),
                    },
                };
                let operator = match word(1) {
                    "eq" => Operator::Eq,
                    "ne" => Operator::Ne,
                    "le" => Operator::Le,
                    "ge" => Operator::Ge,
                    "lt" => Operator::Lt,
                    "gt" => Operator::Gt,
                    _ => {
                        return Err(Answer::line(
                            "Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"",
                        ));
                    }
                };
                let value = word(2)
                    .parse()
                    .map_err(|_| Answer::line("Require a valid integer value to compare against"))?;
                Ok(Self::Data {
                    field,
                    operator,
                    value,
                })
            }
        }
    }

    fn takes(&self, key: &Key, counters: &Counters) -> bool {
        match self {
            Self::All => true,
            Self::Key(wanted) => wanted == key,
            Self::Data {
                field,
                operator,
                value,
            } => {
                let found = match field {
                    Data::Counter(counter) => counter.of(counters),
                    Data::BytesIn => counters.bytes_in,
                    Data::BytesOut => counters.bytes_out,
                    Data::ServerId => counters.gpc0,
                };
                match operator {
                    Operator::Eq => found == *value,
                    Operator::Ne => found != *value,
                    Operator::Le => found <= *value,
                    Operator::Ge => found >= *value,
                    Operator::Lt => found < *value,
                    Operator::Gt => found > *value,
                }
            }
        }
    }
}

pub(super) fn show(request: &Request<'_>) -> Answer {
    let owners = Owner::all(request);
    let name = request.argument(0);
    if name.is_empty() {
        return Answer::Text(owners.iter().map(Owner::header).collect());
    }
    let Some(owner) = owners.iter().find(|owner| owner.name() == name) else {
        return Answer::line("No such table");
    };
    let mut text = owner.header();
    if request.level < SocketLevel::Operator {
        text.push_str("# contents not dumped due to insufficient privileges\n");
        return Answer::Text(text);
    }
    let filter = match Filter::of(request.arguments.get(1..).unwrap_or_default(), owner) {
        Ok(filter) => filter,
        Err(answer) => return answer,
    };
    let now = request.context.live.time(Instant::now());
    let entries = owner.with(|table| {
        let taken = table
            .entries(now)
            .filter(|(key, counters, _)| filter.takes(key, counters));
        taken
            .map(|(key, counters, left)| (key.clone(), counters, left))
            .collect::<Vec<_>>()
    });
    let mut lines: Vec<String> = entries
        .unwrap_or_default()
        .iter()
        .map(|(key, counters, left)| owner.entry(key, counters, *left))
        .collect();
    lines.sort_unstable();
    for (place, line) in lines.iter().enumerate() {
        let _ = writeln!(text, "{:#x}: {line}", place + 1);
    }
    Answer::Text(text)
}

const REQUIRED: &str =
    "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>";

fn owner(request: &Request<'_>) -> Result<Owner, Answer> {
    match request.argument(0) {
        "" => Err(Answer::line(REQUIRED)),
        name => {
            let owner = Owner::all(request).into_iter().find(|owner| owner.name() == name);
            owner.ok_or_else(|| Answer::line("No such table"))
        }
    }
}

pub(super) fn clear(request: &Request<'_>) -> Answer {
    let found = owner(request).and_then(|owner| {
        let filter = Filter::of(request.arguments.get(1..).unwrap_or_default(), &owner)?;
        Ok((owner, filter))
    });
    let (owner, filter) = match found {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let now = request.context.live.time(Instant::now());
    let in_use = owner.with(|table| {
        let taken = table
            .entries(now)
            .filter(|(key, counters, _)| filter.takes(key, counters));
        let taken: Vec<Key> = taken.map(|(key, ..)| key.clone()).collect();
        let kept = taken.iter().filter(|key| !table.remove(key));
        kept.count()
    });
    match (filter, in_use) {
        (Filter::Key(_), Some(1)) => Answer::line("Entry currently in use, cannot remove"),
        _ => Answer::nothing(),
    }
}

pub(super) fn set(request: &Request<'_>) -> Answer {
    let owner = match owner(request) {
        Ok(owner) => owner,
        Err(answer) => return answer,
    };
    if request.argument(1) != "key" {
        return Answer::line(REQUIRED);
    }
    let key = match owner.key(request.argument(2)) {
        Ok(key) => key,
        Err(answer) => return answer,
    };
    if !request.argument(3).is_empty() {
        return Answer::line("Data type not stored in this table");
    }
    let now = request.context.live.time(Instant::now());
    match owner.with(|table| table.keep(now, &key)) {
        Some(Err(full)) => Answer::line(full),
        Some(Ok(())) | None => Answer::nothing(),
    }
}
