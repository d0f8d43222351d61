//! A client, without its socket: for shovels, federation, load generators and tests.
//!
//! ```text
//!   read into input() ──▶ event() ──▶ Event: opened, method, message, heartbeat
//!   write from outbox() ◀── methods and messages of the caller, answers that are owed
//! ```
//!
//! It logs in, puts messages together, and answers when the server closes a channel or the connection. Which methods
//! to send is for the caller: each is a struct, `outbox().method(1, queue::Declare { .. })`, and publishing is
//! [`Outbox::publish`] or [`Outbox::message`]. [`Confirms`] knows what of it is still unconfirmed.
//!
//! Absent on purpose: time, reconnecting, and knowledge of which answer belongs to which question; they come in order.

mod confirms;

use std::collections::BTreeMap;

use bytes::BytesMut;
use thiserror::Error;

use crate::channel;
use crate::connection::{self, CloseOk, Open, OpenOk, Start, StartOk, Tune, TuneOk};
use crate::content::{Accepted, Assembly, BODY_SIZE_MAX, ContentError, Message};
use crate::frame::{Chunk, Frame, FrameError, FrameKind, FrameMax, Item, Place, Splitter, TooLarge};
use crate::handshake::{Failure, Tuning, plain};
use crate::method::{Method, MethodError, MethodId};
use crate::outbox::Outbox;
use crate::protocol::ProtocolHeader;
use crate::table::{Table, Value};
use crate::text::{Secret, ShortString, TooLong};

pub use confirms::Confirms;

/// What a client says when it logs in.
#[derive(Clone, Debug)]
pub struct Login {
    /// How it logs in: `PLAIN`, `AMQPLAIN`, `EXTERNAL`.
    pub mechanism: ShortString,
    /// As whom, by the rules of the mechanism.
    pub response: Secret,
    /// Where to.
    pub virtual_host: ShortString,
    /// What it says about itself; `capabilities` is a table in it.
    pub properties: Table,
    /// The limits it wants. It takes the smaller of these and the server's.
    pub wanted: Tuning,
}

impl Login {
    /// By user and password, with every capability that there is. The product is what the server will show in its list
    /// of connections.
    pub fn plain(user: &str, password: &str, virtual_host: &str, product: &str) -> Result<Self, TooLong> {
        let capabilities = [
            "authentication_failure_close",
            "basic.nack",
            "connection.blocked",
            "consumer_cancel_notify",
            "exchange_exchange_bindings",
            "publisher_confirms",
        ];
        let capabilities = capabilities
            .into_iter()
            .map(|name| (ShortString::from_static(name), Value::Bool(true)))
            .collect();
        Ok(Self {
            mechanism: ShortString::from_static("PLAIN"),
            response: plain(user, password),
            virtual_host: ShortString::try_from(virtual_host)?,
            properties: Table::new()
                .with("product", Value::text(product))
                .with("capabilities", Value::Table(capabilities)),
            wanted: Tuning {
                channel_max: 2047,
                frame_max: FrameMax::DEFAULT.octets(),
                heartbeat: 60,
            },
        })
    }

    /// All that it says until the connection is open, for who does not wait for answers: start-ok, tune-ok and open, with the limits
    /// that it wants whatever is offered. The protocol header comes before.
    #[must_use]
    pub fn methods(&self) -> [Method; 3] {
        [
            self.start_ok().into(),
            TuneOk::from(self.wanted).into(),
            self.open().into(),
        ]
    }

    fn start_ok(&self) -> StartOk {
        StartOk {
            client_properties: self.properties.clone(),
            mechanism: self.mechanism.clone(),
            response: self.response.clone(),
            locale: ShortString::from_static("en_US"),
        }
    }

    fn open(&self) -> Open {
        Open {
            virtual_host: self.virtual_host.clone(),
            ..Open::default()
        }
    }
}

/// What came from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The connection is open: what the server said about itself, and the limits from here on.
    Opened {
        /// The server's properties.
        server: Table,
        /// The limits.
        tuning: Tuning,
    },
    /// A method without content. A close has been answered already.
    Method {
        /// 0 is the connection.
        channel: u16,
        /// The method.
        method: Method,
    },
    /// A message: delivered, got or returned, as [`Message::id`] says.
    Message {
        /// On which channel.
        channel: u16,
        /// The message.
        message: Message,
    },
    /// A sign of life.
    Heartbeat,
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// What came is not AMQP, or too large.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What came is not a whole message.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The server does not let us log in as we would.
    #[error("the server offers the mechanisms {offered:?} and not {wanted}: enable that or use one of those")]
    Mechanism {
        /// The one that was wanted.
        wanted: String,
        /// Those there are.
        offered: String,
    },
    /// The login did not lead to an open connection.
    #[error(transparent)]
    Login(#[from] Failure),
}

impl From<MethodError> for ClientError {
    fn from(error: MethodError) -> Self {
        Self::Content(error.into())
    }
}

impl From<TooLarge> for ClientError {
    fn from(error: TooLarge) -> Self {
        Self::Login(error.into())
    }
}

/// One connection, from the protocol header to its end.
#[derive(Clone, Debug)]
pub struct Connection {
    login: Login,
    /// The next method of the handshake, or none when it is over.
    waiting_for: Option<MethodId>,
    server: Table,
    tuning: Tuning,
    splitter: Splitter,
    input: BytesMut,
    chunk: Chunk,
    channels: BTreeMap<u16, Assembly>,
    outbox: Outbox,
}

impl Connection {
    /// Begins: the outbox holds the protocol header.
    #[must_use]
    pub fn start(login: Login) -> Self {
        let mut outbox = Outbox::new(FrameMax::MIN);
        outbox.octets(&ProtocolHeader::AMQP_0_9_1.encode());
        Self {
            tuning: login.wanted,
            login,
            waiting_for: Some(Start::ID),
            server: Table::new(),
            splitter: Splitter::of_server(),
            input: BytesMut::new(),
            chunk: Chunk::default(),
            channels: BTreeMap::new(),
            outbox,
        }
    }

    /// Where to append what was read. After that [`Connection::event`] until there is nothing more.
    pub const fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// What waits to be written, and where to put more.
    pub const fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether the handshake is over.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.waiting_for.is_none()
    }

    /// What came next, if there is a whole of it. After an error the connection is of no more use.
    pub fn event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            let event = if let Some(wanted) = self.waiting_for {
                let Some(item) = self.splitter.next(&mut self.input)? else {
                    return Ok(None);
                };
                self.handshake(&item, wanted)?
            } else if let Some(place) = self.chunk.next() {
                self.frame(place)?
            } else if let Some(chunk) = self.splitter.chunk(&mut self.input)? {
                self.chunk = chunk;
                None
            } else {
                // Nothing of what was taken out is needed any more.
                self.chunk = Chunk::default();
                return Ok(None);
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn handshake(&mut self, item: &Item, wanted: MethodId) -> Result<Option<Event>, ClientError> {
        let frame = match item {
            Item::Protocol(header) => return Err(Failure::Refused(*header).into()),
            Item::Frame(Frame {
                kind: FrameKind::Heartbeat,
                ..
            }) => return Ok(None),
            Item::Frame(frame) => frame,
        };
        let (kind, channel) = (frame.kind, frame.channel);
        if (kind, channel) != (FrameKind::Method, 0) {
            return Err(Failure::NoMethod { kind, channel }.into());
        }
        let method = connection::Method::decode(&frame.payload)?;
        let got = method.id();
        if let connection::Method::Close(close) = method {
            self.outbox.method(0, CloseOk {})?;
            return Err(ClientError::Login(Failure::Closed {
                code: close.reply_code,
                text: close.reply_text.to_text(),
                method: MethodId::new(close.class_id, close.method_id),
            }));
        }
        if got != wanted {
            return Err(Failure::Unexpected { got, wanted }.into());
        }
        if let connection::Method::Start(start) = method {
            self.greeted(start)?;
        } else if let connection::Method::Tune(tune) = method {
            self.tuned(Tuning::from(&tune))?;
        } else {
            self.waiting_for = None;
            return Ok(Some(Event::Opened {
                server: std::mem::take(&mut self.server),
                tuning: self.tuning,
            }));
        }
        Ok(None)
    }

    fn greeted(&mut self, start: Start) -> Result<(), ClientError> {
        let mechanism = self.login.mechanism.as_bytes();
        let mut offered = start.mechanisms.split(|octet| *octet == b' ');
        if !offered.any(|name| name == mechanism) {
            return Err(ClientError::Mechanism {
                wanted: self.login.mechanism.to_text(),
                offered: String::from_utf8_lossy(&start.mechanisms).into_owned(),
            });
        }
        self.server = start.server_properties;
        self.outbox.method(0, self.login.start_ok())?;
        self.waiting_for = Some(Tune::ID);
        Ok(())
    }

    fn tuned(&mut self, offered: Tuning) -> Result<(), ClientError> {
        self.tuning = self.login.wanted.within(offered);
        if self.tuning.frame_max == 0 {
            // Whole frames are kept while they are read: without a limit of either side there has to be one.
            self.tuning.frame_max = FrameMax::DEFAULT.octets();
        }
        let frame_max =
            FrameMax::new(self.tuning.frame_max).map_err(|invalid| Failure::FrameMax(invalid.0))?;
        self.outbox.method(0, TuneOk::from(self.tuning))?;
        self.outbox.method(0, self.login.open())?;
        self.outbox.set_frame_max(frame_max);
        self.splitter.set_frame_max(frame_max);
        self.waiting_for = Some(OpenOk::ID);
        Ok(())
    }

    fn frame(&mut self, place: Place) -> Result<Option<Event>, ClientError> {
        let channel = place.channel;
        if place.kind == FrameKind::Heartbeat {
            return Ok(Some(Event::Heartbeat));
        }
        let assembly = self
            .channels
            .entry(channel)
            .or_insert_with(|| Assembly::new(BODY_SIZE_MAX));
        match assembly.accept(&mut self.chunk, place)? {
            Accepted::Part => Ok(None),
            Accepted::Message(message) => Ok(Some(Event::Message { channel, message })),
            Accepted::Method => {
                let method = self.chunk.method(place)?;
                self.answer(channel, &method)?;
                Ok(Some(Event::Method { channel, method }))
            }
        }
    }

    /// What is owed to a server that closes.
    fn answer(&mut self, channel: u16, method: &Method) -> Result<(), TooLarge> {
        match method.id() {
            connection::Close::ID => self.outbox.method(0, CloseOk {}),
            channel::Close::ID => {
                self.channels.remove(&channel);
                self.outbox.method(channel, channel::CloseOk {})
            }
            channel::CloseOk::ID => {
                self.channels.remove(&channel);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
