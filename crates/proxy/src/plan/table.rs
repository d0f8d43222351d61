//! What is remembered of clients: `stick-table`, and who is counted in it.

use std::sync::Arc;
use std::time::Duration;

use warren_balance::Counters;

use super::Template;

/// A table, which has the name of its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Of the proxy.
    pub name: String,
    /// What an entry is found by.
    pub key: TableKey,
    /// Entries at most.
    pub size: u32,
    /// How long after they were seen last; `None` is until there is no room.
    pub expire: Option<Duration>,
    /// What is counted, and for rates over how long.
    pub stored: Vec<(Counter, Option<Duration>)>,
}

/// What entries of a table are found by (`type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKey {
    /// An address of either family.
    Ip,
    /// The same.
    Ipv6,
    /// A number.
    Integer,
    /// So many octets of a text.
    String(usize),
}

impl TableKey {
    /// As it is written after `type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ipv6 => "ipv6",
            Self::Integer => "integer",
            Self::String(_) => "string",
        }
    }
}

macro_rules! counters {
    ($($variant:ident $name:literal,)*) => {
        /// Something that is counted of a client.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
        }

        impl Counter {
            /// All of them by their names, in the order in which HAProxy shows them.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($name, Self::$variant),)*];
        }
    };
}

counters! {
    Gpc0 "gpc0",
    ConnCnt "conn_cnt",
    ConnRate "conn_rate",
    ConnCur "conn_cur",
    HttpReqCnt "http_req_cnt",
    HttpReqRate "http_req_rate",
    HttpErrCnt "http_err_cnt",
    HttpErrRate "http_err_rate",
}

impl Counter {
    /// As it is written after `store`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, counter)| *counter == self)
            .map_or("", |(name, _)| *name)
    }

    /// It is taken over a period.
    #[must_use]
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::ConnRate | Self::HttpReqRate | Self::HttpErrRate)
    }

    /// Its value.
    #[must_use]
    pub fn of(self, counters: &Counters) -> u64 {
        match self {
            Self::Gpc0 => counters.gpc0,
            Self::ConnCnt => counters.conn_cnt,
            Self::ConnRate => counters.conn_rate,
            Self::ConnCur => counters.conn_cur.into(),
            Self::HttpReqCnt => counters.http_req_cnt,
            Self::HttpReqRate => counters.http_req_rate,
            Self::HttpErrCnt => counters.http_err_cnt,
            Self::HttpErrRate => counters.http_err_rate,
        }
    }
}

impl Table {
    /// Over how long a rate is taken; `None` if it is not.
    #[must_use]
    pub fn period(&self, rate: Counter) -> Option<Duration> {
        let mut stored = self.stored.iter();
        stored.find(|(counter, _)| *counter == rate)?.1
    }
}

/// `track-sc0 KEY table NAME`: from here on the client counts in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Under which number conditions ask for it.
    pub slot: u8,
    /// What its entry is found by.
    pub key: TrackKey,
    /// The table's name.
    pub table: Arc<str>,
}

/// What an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackKey {
    /// `src`.
    Source,
    /// What the request says.
    Expression(Template),
}
