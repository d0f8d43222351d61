//! A table of clients as it is.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use warren_balance::{Instant, Key, Periods, StickTable};

use crate::plan::{self, Counter, TableKey};

/// Who is counted.
#[derive(Debug)]
pub struct Table {
    /// How it is laid out.
    pub plan: Arc<plan::Table>,
    /// The entries.
    pub entries: Mutex<StickTable>,
}

impl Table {
    /// Nobody has been counted yet.
    #[must_use]
    pub fn new(plan: Arc<plan::Table>) -> Self {
        let period = |rate| {
            let period = plan.period(rate).unwrap_or(Duration::from_secs(1));
            let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
            NonZeroU32::new(millis).unwrap_or(NonZeroU32::MIN)
        };
        let periods = Periods {
            conn: period(Counter::ConnRate),
            http_req: period(Counter::HttpReqRate),
            http_err: period(Counter::HttpErrRate),
        };
        let entries = Mutex::new(StickTable::new(plan.size as usize, plan.expire, periods));
        Self { plan, entries }
    }

    /// What is counted of a key: nothing if it is not known. `None`: this is not counted here.
    pub fn count(&self, now: Instant, key: &Key, counter: Counter) -> Option<u64> {
        let mut stored = self.plan.stored.iter();
        stored.find(|(stored, _)| *stored == counter)?;
        let known = self.entries.lock().get(now, key).unwrap_or_default();
        Some(counter.of(&known))
    }

    /// The key of a client.
    #[must_use]
    pub fn key_of(&self, address: IpAddr) -> Option<Key> {
        match self.plan.key {
            TableKey::Ip | TableKey::Ipv6 => Some(Key::from(address)),
            TableKey::Integer => match address.to_canonical() {
                IpAddr::V4(address) => Some(Key::Integer(address.to_bits())),
                IpAddr::V6(_) => None,
            },
            TableKey::String(length) => {
                Some(Key::string(address.to_canonical().to_string().as_bytes(), length))
            }
        }
    }

    /// The key that a text stands for, if it is one.
    #[must_use]
    pub fn key_from(&self, text: &[u8]) -> Option<Key> {
        if let TableKey::String(length) = self.plan.key {
            return Some(Key::string(text, length)).filter(|_| !text.is_empty());
        }
        let text = str::from_utf8(text).ok()?.trim();
        match self.plan.key {
            TableKey::Integer => text.parse().ok().map(Key::Integer),
            _ => text.parse().ok().map(|address: IpAddr| Key::from(address)),
        }
    }

    /// What a key is written as, here and by [`Table::key_from`].
    #[must_use]
    pub fn text_of(key: &Key) -> String {
        match key {
            Key::Ip(address) => address.to_string(),
            Key::Ipv6(address) => address.to_string(),
            Key::Integer(number) => number.to_string(),
            Key::String(text) => String::from_utf8_lossy(text).into_owned(),
        }
    }
}
