//! What a bystander learns from a connection's methods on channel 0.
//!
//! A frame that cannot be understood tells nothing, and harms nothing: refusing it is for the peer it is meant for.

use super::{Tuning, amqplain_user, plain_user};
use crate::connection::{Method, StartOk};
use crate::frame::{Frame, FrameKind};
use crate::table::Table;

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    FromClient,
    /// The server.
    FromServer,
}

/// What a peer says about the program it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub product: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What its user calls this connection; clients only.
    pub connection_name: Option<String>,
}

impl Identity {
    /// The longest text that is kept of what a stranger says.
    const TEXT_MAX: usize = 255;

    fn of(properties: &Table) -> Self {
        let text = |name| properties.text(name).map(Self::cut);
        Self {
            product: text("product"),
            version: text("version"),
            connection_name: text("connection_name"),
        }
    }

    fn cut(mut text: String) -> String {
        text.truncate(text.floor_char_boundary(Self::TEXT_MAX));
        text
    }
}

/// Something that was not known before this frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The server greeted.
    Server(Identity),
    /// The client tries to log in.
    Client {
        /// As whom, if the mechanism says so openly. The password is not looked at.
        user: Option<String>,
        /// By which mechanism.
        mechanism: String,
        /// The program.
        identity: Identity,
        /// Whether it wants to be told that the server takes no messages.
        wants_blocked: bool,
    },
    /// The limits from here on. The login was accepted, or the server would not have come so far.
    Tuned(Tuning),
    /// The client wants this virtual host.
    Asked {
        /// Its name.
        virtual_host: String,
    },
    /// It got it: the handshake is over.
    Opened,
    /// The server takes no messages.
    Blocked {
        /// Why.
        reason: String,
    },
    /// It takes them again.
    Unblocked,
    /// One side ends the connection.
    Closing {
        /// Which side.
        by: Direction,
        /// The reply code.
        code: u16,
        /// The reply text.
        text: String,
    },
    /// The other side agreed.
    Closed,
}

/// Looks on. It holds nothing: what matters is in the facts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observer;

impl Observer {
    /// What this frame tells, if it tells anything.
    #[must_use]
    pub fn observe(self, from: Direction, frame: &Frame) -> Option<Fact> {
        if (frame.kind, frame.channel) != (FrameKind::Method, 0) {
            return None;
        }
        let method = Method::decode(&frame.payload).ok()?;
        let sides = match from {
            Direction::FromServer => Self::from_server(&method),
            Direction::FromClient => Self::from_client(&method),
        };
        sides.or_else(|| Self::from_either(from, &method))
    }

    fn from_server(method: &Method) -> Option<Fact> {
        if let Method::Start(start) = method {
            Some(Fact::Server(Identity::of(&start.server_properties)))
        } else if let Method::OpenOk(_) = method {
            Some(Fact::Opened)
        } else if let Method::Blocked(blocked) = method {
            let reason = blocked.reason.to_text();
            Some(Fact::Blocked { reason })
        } else if let Method::Unblocked(_) = method {
            Some(Fact::Unblocked)
        } else {
            None
        }
    }

    fn from_client(method: &Method) -> Option<Fact> {
        if let Method::StartOk(start_ok) = method {
            Some(Self::login(start_ok))
        } else if let Method::TuneOk(tune_ok) = method {
            Some(Fact::Tuned(Tuning::from(tune_ok)))
        } else if let Method::Open(open) = method {
            let virtual_host = open.virtual_host.to_text();
            Some(Fact::Asked { virtual_host })
        } else {
            None
        }
    }

    fn from_either(by: Direction, method: &Method) -> Option<Fact> {
        if let Method::Close(close) = method {
            Some(Fact::Closing {
                by,
                code: close.reply_code,
                text: close.reply_text.to_text(),
            })
        } else if let Method::CloseOk(_) = method {
            Some(Fact::Closed)
        } else {
            None
        }
    }

    fn login(start_ok: &StartOk) -> Fact {
        let user = match start_ok.mechanism.as_bytes() {
            b"PLAIN" => plain_user(&start_ok.response),
            b"AMQPLAIN" => amqplain_user(&start_ok.response),
            _ => None,
        };
        Fact::Client {
            user: user.map(Identity::cut),
            mechanism: start_ok.mechanism.to_text(),
            identity: Identity::of(&start_ok.client_properties),
            wants_blocked: start_ok.client_properties.can("connection.blocked"),
        }
    }
}
