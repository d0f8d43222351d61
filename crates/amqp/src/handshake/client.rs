//! A client that only wants to know whether it could.
//!
//! ```text
//!   header ▶ start ─┬─ Depth::Greeting: done, the caller hangs up
//!                   └─▶ start-ok ▶ tune ▶ tune-ok, open ▶ open-ok ▶ close ▶ close-ok: done
//! ```
//!
//! It says goodbye whenever there is somebody to say it to, since brokers log a warning for each client that does not.

use bytes::BytesMut;
use thiserror::Error;

use super::{Tuning, plain};
use crate::connection::{Close, CloseOk, Method, Open, OpenOk, Start, StartOk, Tune, TuneOk};
use crate::frame::{Frame, FrameKind, FrameMax, Item, TooLarge};
use crate::method::{MethodError, MethodId};
use crate::protocol::ProtocolHeader;
use crate::table::{Table, Value};
use crate::text::{Secret, ShortString, TooLong};

/// How far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Until the server has greeted.
    Greeting,
    /// Until a virtual host was opened and the connection closed.
    Open,
}

/// What it says.
#[derive(Clone, Debug)]
pub struct Settings {
    depth: Depth,
    response: Secret,
    virtual_host: ShortString,
    product: &'static str,
}

impl Settings {
    /// To look no further than the greeting.
    #[must_use]
    pub const fn greeting() -> Self {
        Self {
            depth: Depth::Greeting,
            response: Secret::empty(),
            virtual_host: ShortString::from_static(""),
            product: "",
        }
    }

    /// To log in with PLAIN and open a virtual host. The product is what the broker will show in its list of
    /// connections.
    pub fn open(
        user: &str,
        password: &str,
        virtual_host: &str,
        product: &'static str,
    ) -> Result<Self, TooLong> {
        Ok(Self {
            depth: Depth::Open,
            response: plain(user, password),
            virtual_host: ShortString::try_from(virtual_host)?,
            product,
        })
    }
}

/// How it stands after an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// There is more to come.
    Going,
    /// It went well; what the server said about itself.
    Done(Table),
}

/// Why the server is not well, or not ours.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The server answered with the header of what it speaks.
    #[error("the server speaks {0} only: check its port")]
    Refused(ProtocolHeader),
    /// The server does not let us log in with a password.
    #[error("the server offers the mechanisms {0:?} and not PLAIN: enable PLAIN for the check's user")]
    NoPlain(String),
    /// The server closed the connection.
    #[error(
        "the server closed the connection with {code} {text:?} for method {method}: see the server's log"
    )]
    Closed {
        /// The reply code.
        code: u16,
        /// The reply text.
        text: String,
        /// The method that was at fault.
        method: MethodId,
    },
    /// A method that has no place here.
    #[error("method {got} came while waiting for {wanted}: check what listens on that port")]
    Unexpected {
        /// What came.
        got: MethodId,
        /// What should have come.
        wanted: MethodId,
    },
    /// Something other than a method on channel 0.
    #[error(
        "a {kind:?} frame came on channel {channel} while waiting for a method: check what listens on that port"
    )]
    NoMethod {
        /// What came.
        kind: FrameKind,
        /// On which channel.
        channel: u16,
    },
    /// A method that cannot be read.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// Names and password are longer than a frame may be before limits are agreed.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The server offers frames smaller than AMQP allows.
    #[error("the server offers a frame_max of {0}: configure 4096 or more there")]
    FrameMax(u32),
}

/// The client. Each item that comes goes into [`Client::handle`]; what it appends to `out` goes to the server, also
/// when it fails: the answer to a close is owed in any case.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    waiting_for: MethodId,
    server: Table,
    frame_max: FrameMax,
}

impl Client {
    /// Begins: the protocol header is the first thing to send.
    #[must_use]
    pub fn start(settings: Settings, out: &mut BytesMut) -> Self {
        out.extend_from_slice(&ProtocolHeader::AMQP_0_9_1.encode());
        Self {
            settings,
            waiting_for: Start::ID,
            server: Table::new(),
            frame_max: FrameMax::MIN,
        }
    }

    /// Takes what the server sent.
    pub fn handle(&mut self, item: &Item, out: &mut BytesMut) -> Result<Progress, Failure> {
        match item {
            Item::Protocol(header) => Err(Failure::Refused(*header)),
            Item::Frame(frame) => self.frame(frame, out),
        }
    }

    fn frame(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<Progress, Failure> {
        match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, _) => Ok(Progress::Going),
            (FrameKind::Method, 0) => self.method(Method::decode(&frame.payload)?, out),
            (kind, channel) => Err(Failure::NoMethod { kind, channel }),
        }
    }

    fn method(&mut self, method: Method, out: &mut BytesMut) -> Result<Progress, Failure> {
        let (got, wanted) = (method.id(), self.waiting_for);
        match method {
            Method::Close(close) => return Err(self.closed(&close, out)),
            // A broker may say at any time that it takes no messages; we have none.
            Method::Blocked(_) | Method::Unblocked(_) => return Ok(Progress::Going),
            _ if got != wanted => return Err(Failure::Unexpected { got, wanted }),
            Method::Start(start) => return self.greeted(start, out),
            Method::Tune(tune) => self.tuned(Tuning::from(&tune), out)?,
            Method::OpenOk(_) => self.send(Close::normal("check done"), CloseOk::ID, out)?,
            Method::CloseOk(_) => return Ok(Progress::Done(std::mem::take(&mut self.server))),
            Method::StartOk(_)
            | Method::Secure(_)
            | Method::SecureOk(_)
            | Method::TuneOk(_)
            | Method::Open(_)
            | Method::UpdateSecret(_)
            | Method::UpdateSecretOk(_) => return Err(Failure::Unexpected { got, wanted }),
        }
        Ok(Progress::Going)
    }

    fn greeted(&mut self, start: Start, out: &mut BytesMut) -> Result<Progress, Failure> {
        if self.settings.depth == Depth::Greeting {
            return Ok(Progress::Done(start.server_properties));
        }
        if !start
            .mechanisms
            .split(|octet| *octet == b' ')
            .any(|name| name == b"PLAIN")
        {
            let offered = String::from_utf8_lossy(&start.mechanisms).into_owned();
            return Err(Failure::NoPlain(offered));
        }
        self.server = start.server_properties;
        // With this capability a refused login is answered in words.
        let capabilities = Table::new().with("authentication_failure_close", Value::Bool(true));
        let start_ok = StartOk {
            client_properties: Table::new()
                .with("product", Value::text(self.settings.product))
                .with("capabilities", Value::Table(capabilities)),
            mechanism: ShortString::from_static("PLAIN"),
            response: self.settings.response.clone(),
            locale: ShortString::from_static("en_US"),
        };
        self.send(start_ok, Tune::ID, out)?;
        Ok(Progress::Going)
    }

    fn tuned(&mut self, offered: Tuning, out: &mut BytesMut) -> Result<(), Failure> {
        let wanted = Tuning {
            channel_max: 1,
            frame_max: FrameMax::MIN.octets(),
            heartbeat: 0,
        };
        let taken = Tuning {
            // A check is over before a sign of life is due, whatever the server offers.
            heartbeat: 0,
            ..wanted.within(offered)
        };
        self.frame_max = FrameMax::new(taken.frame_max).map_err(|invalid| Failure::FrameMax(invalid.0))?;
        self.send(TuneOk::from(taken), OpenOk::ID, out)?;
        let open = Open {
            virtual_host: self.settings.virtual_host.clone(),
            ..Open::default()
        };
        self.send(open, OpenOk::ID, out)
    }

    fn closed(&self, close: &Close, out: &mut BytesMut) -> Failure {
        let failure = Failure::Closed {
            code: close.reply_code,
            text: close.reply_text.to_text(),
            method: MethodId::new(close.class_id, close.method_id),
        };
        match Method::from(CloseOk {}).encode(0, self.frame_max, out) {
            Ok(()) => failure,
            Err(too_large) => too_large.into(),
        }
    }

    fn send(&mut self, method: impl Into<Method>, then: MethodId, out: &mut BytesMut) -> Result<(), Failure> {
        method.into().encode(0, self.frame_max, out)?;
        self.waiting_for = then;
        Ok(())
    }
}
