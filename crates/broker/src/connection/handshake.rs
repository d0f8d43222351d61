//! From the protocol header to `connection.open-ok`: who the client is, and what both sides agree on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use warren_amqp::frame::{FrameError, FrameKind, Item, Splitter};
use warren_amqp::outbox::Outbox;
use warren_amqp::protocol::ProtocolHeader;
use warren_amqp::{Exception, FrameMax, Method, ReplyCode, connection};
use warren_model::Name;

use crate::arrival::Arrival;
use crate::auth::{LoginRefused, mechanisms};
use crate::client::{Client, Rights};
use crate::clock::time_of_day;
use crate::node::Node;
use crate::output::Output;
use crate::registry::Facts;
use crate::seats::Seat;

/// How long a client that was refused keeps its connection, unless it closes it.
const SILENCE: Duration = Duration::from_secs(3);

/// Octets taken from the socket at once: all that a client says in one go.
const READ: usize = 1024;

/// A connection that is open.
pub(super) struct Opened {
    pub(super) client: Arc<Client>,
    pub(super) seat: Seat,
    pub(super) splitter: Splitter,
    pub(super) input: BytesMut,
    pub(super) channel_max: u16,
    pub(super) frame_max: FrameMax,
    /// Zero: none.
    pub(super) heartbeat: Duration,
}

/// Why a connection was not opened.
#[derive(Debug, Error)]
pub(super) enum NotOpened {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the client closed the connection during the handshake")]
    Closed,
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Method(#[from] warren_amqp::MethodError),
    #[error("the client speaks {0:?} and was told to speak AMQP 0-9-1")]
    Protocol(ProtocolHeader),
    #[error("expected {expected}, got something else")]
    Unexpected { expected: &'static str },
    #[error("{}", .0.text)]
    Refused(Box<Exception>),
}

/// The conversation before a connection is open.
struct Talk<'a, S> {
    stream: &'a mut S,
    splitter: Splitter,
    input: BytesMut,
    out: Outbox,
}

/// Opens a connection.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    arrival: &Arrival,
    node: &Arc<Node>,
) -> Result<Opened, NotOpened> {
    let mut talk = Talk {
        stream,
        splitter: Splitter::of_client(),
        input: BytesMut::new(),
        out: Outbox::new(FrameMax::DEFAULT),
    };
    talk.splitter.set_frame_max(FrameMax::MIN);
    talk.protocol().await?;
    let greeting = node
        .greeting
        .frame(node.cluster_name(), mechanisms(node, arrival));
    talk.stream
        .write_all(&greeting.map_err(io::Error::other)?)
        .await?;
    let Method::Connection(connection::Method::StartOk(start)) = talk.hear().await? else {
        return Err(NotOpened::Unexpected {
            expected: "connection.start-ok",
        });
    };
    let mechanism = start.mechanism.to_text();
    let user = match node.login(&mechanism, start.response.reveal(), arrival).await {
        Ok(user) => user,
        Err(refused) => return Err(talk.refuse_login(&start, &refused).await),
    };
    let properties = Facts::octets(&start.client_properties);
    let consumer_cancel_notify = start.client_properties.can("consumer_cancel_notify");
    let blocked_notify = start.client_properties.can("connection.blocked");
    // What is read next goes where it was.
    drop(start);
    let settings = node.settings();
    talk.say(connection::Tune {
        channel_max: settings.channel_max,
        frame_max: settings.frame_max.octets(),
        heartbeat: settings.heartbeat,
    })
    .await?;
    let Method::Connection(connection::Method::TuneOk(tune)) = talk.hear().await? else {
        return Err(NotOpened::Unexpected {
            expected: "connection.tune-ok",
        });
    };
    let frame_max = negotiate_frame_max(tune.frame_max, settings.frame_max)?;
    let channel_max = negotiate_channel_max(tune.channel_max, settings.channel_max)?;
    talk.splitter.set_frame_max(frame_max);
    talk.out.set_frame_max(frame_max);
    let Method::Connection(connection::Method::Open(open)) = talk.hear().await? else {
        return Err(NotOpened::Unexpected {
            expected: "connection.open",
        });
    };
    let seat = match choose_vhost(&open.virtual_host.to_text(), &user, node) {
        Ok(seat) => seat,
        Err(text) => {
            let exception = Exception::new(ReplyCode::NotAllowed, text, connection::Open::ID);
            return Err(talk.refuse(exception).await);
        }
    };
    let vhost = seat.vhost().clone();
    let number = node.connection_number();
    let output = Arc::new(Output::new(frame_max));
    // Sent with the first that is written: who hears it is known here already, and hears of a stop, too.
    output.lock().method(0, connection::OpenOk::default());
    let facts = Facts {
        number,
        peer: arrival.peer,
        local: arrival.local,
        user: user.clone(),
        vhost: vhost.clone(),
        mechanism,
        tls: arrival.tls.clone(),
        frame_max: frame_max.octets(),
        channel_max,
        heartbeat: tune.heartbeat,
        since: time_of_day(),
        properties,
    };
    let client = Client {
        number,
        user,
        vhost,
        rights: Rights::default(),
        consumer_cancel_notify,
        blocked_notify,
        node: Arc::clone(node),
        entry: node.registry.opened(facts, Arc::clone(&output)),
        output,
    };
    if node.firehose.is_on(&client.vhost) {
        client.entry.tap(true);
    }
    Ok(Opened {
        client: Arc::new(client),
        seat,
        splitter: talk.splitter,
        // Mostly nothing is left: an idle connection keeps no room for it.
        input: match talk.input.is_empty() {
            true => BytesMut::new(),
            false => talk.input,
        },
        channel_max,
        frame_max,
        heartbeat: Duration::from_secs(tune.heartbeat.into()),
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn protocol(&mut self) -> Result<(), NotOpened> {
        let asked = match self.item().await {
            Ok(Item::Protocol(header)) => header,
            Ok(Item::Frame(_)) => {
                return Err(NotOpened::Unexpected {
                    expected: "a protocol header",
                });
            }
            Err(NotOpened::Frame(FrameError::NotAmqp)) => {
                self.stream
                    .write_all(&ProtocolHeader::AMQP_0_9_1.encode())
                    .await?;
                return Err(NotOpened::Frame(FrameError::NotAmqp));
            }
            Err(error) => return Err(error),
        };
        if let Err(instead) = asked.judge() {
            self.stream.write_all(&instead.encode()).await?;
            return Err(NotOpened::Protocol(asked));
        }
        Ok(())
    }

    async fn item(&mut self) -> Result<Item, NotOpened> {
        loop {
            if let Some(item) = self.splitter.next(&mut self.input)? {
                return Ok(item);
            }
            // Else a read takes as much as happens to have room, and two methods need two.
            self.input.reserve(READ);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(NotOpened::Closed);
            }
        }
    }

    /// The next method on channel 0.
    async fn hear(&mut self) -> Result<Method, NotOpened> {
        loop {
            let Item::Frame(frame) = self.item().await? else {
                return Err(NotOpened::Unexpected { expected: "a frame" });
            };
            match frame.kind {
                FrameKind::Heartbeat => {}
                FrameKind::Method if frame.channel == 0 => return Ok(Method::decode(&frame.payload)?),
                FrameKind::Method | FrameKind::Header | FrameKind::Body => {
                    return Err(NotOpened::Unexpected {
                        expected: "a method on channel 0",
                    });
                }
            }
        }
    }

    async fn say(&mut self, method: impl Into<Method>) -> io::Result<()> {
        if let Err(error) = self.out.method(0, method) {
            return Err(io::Error::other(error));
        }
        while self.out.has_remaining() {
            self.stream.write_buf(&mut self.out).await?;
        }
        self.stream.flush().await
    }

    /// Clients that understand it hear that it was refused; others find the connection closed. Neither can try again
    /// here before a while has passed.
    async fn refuse_login(&mut self, start: &connection::StartOk, refused: &LoginRefused) -> NotOpened {
        let since = Instant::now();
        let exception = Exception::new(
            ReplyCode::AccessRefused,
            format_args!(
                "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                start.mechanism.to_text()
            ),
            warren_amqp::MethodId::NONE,
        );
        let told = !matches!(refused, LoginRefused::Malformed { .. })
            && start.client_properties.can("authentication_failure_close");
        if told && let Err(error) = self.say(connection::Close::from(&exception)).await {
            return error.into();
        }
        // What the client sends meanwhile is of no interest, nor that it goes.
        let mut ignored = [0; 512];
        let until = since + SILENCE;
        while let Ok(Ok(1..)) = timeout_at(until, self.stream.read(&mut ignored)).await {}
        NotOpened::Refused(Box::new(exception))
    }

    async fn refuse(&mut self, exception: Exception) -> NotOpened {
        if let Err(error) = self.say(connection::Close::from(&exception)).await {
            return error.into();
        }
        // The answer, or the end of the connection.
        while let Ok(method) = self.hear().await {
            if matches!(method, Method::Connection(connection::Method::CloseOk(_))) {
                break;
            }
        }
        NotOpened::Refused(Box::new(exception))
    }
}

/// The vhost, and places in it and among the user's connections.
fn choose_vhost(name: &str, user: &Name, node: &Arc<Node>) -> Result<Seat, String> {
    let (vhost, limits, may) = node.read(|meta| {
        let Some((vhost, known)) = meta.vhost_entry(name) else {
            return Err(format!("vhost {name} not found"));
        };
        let user = meta.user(user);
        let limits = (
            known.limits.connections,
            user.and_then(|user| user.limits.connections),
        );
        let may = user.is_some_and(|user| user.permissions.contains_key(name));
        Ok((vhost.clone(), limits, may))
    })?;
    // Who finds no place hears of that, whether he may come in or not.
    let seat = Seat::take(node, &vhost, user, limits).map_err(|full| full.to_string())?;
    match may {
        true => Ok(seat),
        false => Err(format!("access to vhost '{name}' refused for user '{user}'")),
    }
}

fn negotiate_frame_max(asked: u32, most: FrameMax) -> Result<FrameMax, NotOpened> {
    match asked {
        0 => Ok(most),
        _ if asked > most.octets() => Err(NotOpened::Unexpected {
            expected: "a frame_max of no more than was offered",
        }),
        _ => FrameMax::new(asked).map_err(|_| NotOpened::Unexpected {
            expected: "a frame_max of 4096 or more",
        }),
    }
}

fn negotiate_channel_max(asked: u16, most: u16) -> Result<u16, NotOpened> {
    match asked {
        0 => Ok(most),
        _ if most > 0 && asked > most => Err(NotOpened::Unexpected {
            expected: "a channel_max of no more than was offered",
        }),
        _ => Ok(asked),
    }
}
