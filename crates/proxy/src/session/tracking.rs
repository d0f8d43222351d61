//! Who is counted in a table of clients (`track-sc0`): a connection from then on, or one request of it.
//!
//! HAProxy's rules: under each number there is one entry, and that of the request comes before that of the connection.

use std::sync::Arc;

use warren_balance::{Counters, Instant, Key};

use super::Common;
use super::http::{Exchange, express};
use crate::live::Table;
use crate::plan::{Counter, Track, TrackKey};
use crate::worker::context::Context;

/// Counts in a table until [`Tracked::end`].
#[derive(Debug)]
pub(crate) struct Tracked {
    slot: u8,
    table: Arc<Table>,
    key: Key,
}

impl Tracked {
    /// One more connection of this key, and what is known of it now. `None`: the table is full of others that are connected,
    /// and this one is not counted.
    pub(crate) fn begin(slot: u8, table: &Arc<Table>, key: Key, now: Instant) -> Option<(Self, Counters)> {
        let counters = table.entries.lock().open(now, &key).ok()?;
        let table = Arc::clone(table);
        Some((Self { slot, table, key }, counters))
    }

    /// It is over, having carried so many octets each way.
    pub(crate) fn end(&self, now: Instant, [bytes_in, bytes_out]: [u64; 2]) {
        self.table
            .entries
            .lock()
            .close(now, &self.key, bytes_in, bytes_out);
    }

    /// Number, table and key, to be found again in another process.
    pub(crate) fn written(&self) -> (u8, String, String) {
        (self.slot, self.table.plan.name.clone(), Table::text_of(&self.key))
    }

    /// The same there.
    pub(crate) fn again((slot, table, key): &(u8, String, String), context: &Context) -> Option<Self> {
        let table = context.snapshot().table(table)?;
        let key = table.key_from(key.as_bytes())?;
        Self::begin(*slot, table, key, context.time()).map(|(tracked, _)| tracked)
    }
}

/// What a rule says of a connection.
pub(crate) fn connection(track: &Track, common: &mut Common, context: &Context) {
    if !has(common.tracked(), track.slot) {
        let tracked = begin(track, None, common, context);
        common.rare().tracked.extend(tracked);
    }
}

/// What a rule says of a request. True if it is counted from here on.
pub(crate) fn request(track: &Track, exchange: &mut Exchange, common: &Common, context: &Context) -> bool {
    if has(&exchange.tracked, track.slot) {
        return false;
    }
    let tracked = begin(track, Some(exchange), common, context);
    let begun = tracked.is_some();
    exchange.tracked.extend(tracked);
    begun
}

fn has(tracked: &[Tracked], slot: u8) -> bool {
    tracked.iter().any(|tracked| tracked.slot == slot)
}

fn begin(track: &Track, exchange: Option<&Exchange>, common: &Common, context: &Context) -> Option<Tracked> {
    let table = context.snapshot().table(&track.table)?;
    let key = match (&track.key, exchange) {
        (TrackKey::Source, _) => table.key_of(common.client_address?.ip()),
        (TrackKey::Expression(format), Some(exchange)) => {
            table.key_from(&express(format, exchange, None, common, context)?)
        }
        (TrackKey::Expression(_), None) => None,
    };
    Tracked::begin(track.slot, table, key?, context.time()).map(|(tracked, _)| tracked)
}

/// Who counts under this number.
fn at<'a>(slot: u8, exchange: Option<&'a Exchange>, common: &'a Common) -> Option<&'a Tracked> {
    let of_request = exchange.map_or(&[][..], |exchange| &exchange.tracked);
    let all = of_request.iter().chain(common.tracked());
    let mut all = all.filter(|tracked| tracked.slot == slot);
    all.next()
}

/// `sc_http_req_rate(0)`, or the same of another table. `None`: nobody is counted under this number, or this is not counted there.
pub(crate) fn count(
    (slot, table): (u8, Option<&str>),
    counter: Counter,
    exchange: Option<&Exchange>,
    common: &Common,
    context: &Context,
) -> Option<u64> {
    let tracked = at(slot, exchange, common)?;
    let table = match table {
        Some(name) => context.snapshot().table(name)?,
        None => &tracked.table,
    };
    table.count(context.time(), &tracked.key, counter)
}

/// `src_http_req_rate`
pub(crate) fn count_source(table: &str, counter: Counter, common: &Common, context: &Context) -> Option<u64> {
    let table = context.snapshot().table(table)?;
    let key = table.key_of(common.client_address?.ip())?;
    table.count(context.time(), &key, counter)
}

/// Something that happens to who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request has come.
    Request,
    /// It was the client's mistake, or is not wanted.
    Error,
}

/// Counts it under every number. Nearly always there is none.
pub(crate) fn happened(event: Event, exchange: Option<&Exchange>, common: &Common, context: &Context) {
    let of_request = exchange.map_or(&[][..], |exchange| &exchange.tracked);
    for tracked in of_request {
        tracked.happened(event, context.time());
    }
    for tracked in common.tracked() {
        if !has(of_request, tracked.slot) {
            tracked.happened(event, context.time());
        }
    }
}

/// One more request of who has just begun to be counted.
pub(crate) fn first(slot: u8, exchange: &Exchange, common: &Common, context: &Context) {
    if let Some(tracked) = at(slot, Some(exchange), common) {
        tracked.happened(Event::Request, context.time());
    }
}

/// `sc-inc-gpc0(0)`
pub(crate) fn increment(slot: u8, exchange: &Exchange, common: &Common, context: &Context) {
    if let Some(tracked) = at(slot, Some(exchange), common) {
        tracked
            .table
            .entries
            .lock()
            .add_gpc0(context.time(), &tracked.key, 1);
    }
}

impl Tracked {
    fn happened(&self, event: Event, now: Instant) {
        let mut entries = self.table.entries.lock();
        match event {
            Event::Request => entries.add_request(now, &self.key),
            Event::Error => entries.add_error(now, &self.key),
        }
    }
}
