//! What frames say, carried out in the order in which they come: those of the connection itself, and those of its channels.

use tokio::time::Instant;
use warren_amqp::content::Accepted;
use warren_amqp::frame::{Chunk, FrameError, FrameKind, Place, unexpected};
use warren_amqp::hot::Hot;
use warren_amqp::reply::Weight;
use warren_amqp::{Exception, Method, MethodId, ReplyCode, basic, channel, connection};
use warren_model::Refusal;

use super::throttle::Waits;
use super::{Connection, Turn, Wire};
use crate::batch::LOOK_UP;
use crate::channel::settle::How;
use crate::channel::{Around, Channel, unimplemented};
use crate::client::exception;

impl<S: Wire> Connection<S> {
    /// Does what the frames say that have been read.
    pub(super) fn process(&mut self) {
        self.turn.get_or_insert_with(|| Turn::begin(Instant::now()));
        while !self.done && self.batch.change.is_none() {
            let (chunk, first) = match self.throttle.take_held() {
                Some((chunk, place)) => (chunk, Some(place)),
                None => match self.chunk() {
                    Ok(Some(chunk)) => (chunk, None),
                    Ok(None) => break,
                    Err(error) => {
                        match FrameError::exception(&error) {
                            Some(exception) => self.close(&exception),
                            None => self.done = true,
                        }
                        // There is no way to find the next frame.
                        self.input.clear();
                        break;
                    }
                },
            };
            if let Err(exception) = self.frames(chunk, first) {
                self.close(&exception);
            }
            if self.throttle.holds() {
                break;
            }
        }
        self.around().flush();
        if std::mem::take(&mut self.batch.failed).lost {
            self.close(&Exception::new(
                ReplyCode::InternalError,
                "messages cannot be written",
                MethodId::NONE,
            ));
        }
    }

    /// Frames of a chunk, from the first on.
    fn frames(&mut self, mut chunk: Chunk, mut first: Option<Place>) -> Result<(), Exception> {
        while let Some(place) = first.take().or_else(|| chunk.next()) {
            if self.closing.is_some() {
                // Nothing counts any more but the answer, or that the client closes, too.
                if place.channel == 0 && place.kind == FrameKind::Method {
                    self.while_closing(&chunk, place);
                }
                continue;
            }
            if self.has_to_wait(&chunk, place) {
                self.block(chunk, place);
                return Ok(());
            }
            if self.has_to_wait_for_log(&chunk, place) {
                self.hold(chunk, place, Waits::Log);
                return Ok(());
            }
            if self.has_to_wait_for_client(&chunk, place) {
                self.hold(chunk, place, Waits::Client);
                return Ok(());
            }
            match place.channel {
                0 => self.own_frame(&chunk, place)?,
                _ => self.channel_frame(&mut chunk, place)?,
            }
            if self.done {
                break;
            }
            if (self.turn_is_over() || self.batch.change.is_some())
                && let Some(next) = chunk.next()
            {
                self.throttle.pause(chunk, next);
                break;
            }
        }
        Ok(())
    }

    /// A frame of the connection itself.
    fn own_frame(&mut self, chunk: &Chunk, place: Place) -> Result<(), Exception> {
        if place.kind == FrameKind::Heartbeat {
            return Ok(());
        }
        if place.kind != FrameKind::Method {
            return Err(unexpected(place.kind, chunk.payload(place)));
        }
        let method = chunk.method(place).map_err(|error| error.exception())?;
        let id = method.id();
        match method {
            Method::Connection(connection::Method::Close(_)) => {
                self.around().flush();
                (self.done, self.takes_leave) = (true, true);
                Ok(())
            }
            Method::Connection(connection::Method::CloseOk(_)) => {
                self.done = true;
                Ok(())
            }
            Method::Connection(connection::Method::UpdateSecret(_)) => {
                self.client.output.lock().method(0, connection::UpdateSecretOk {});
                Ok(())
            }
            Method::Connection(_) => Err(Exception::new(
                ReplyCode::CommandInvalid,
                "unimplemented method",
                id,
            )),
            _ => Err(Exception::new(
                ReplyCode::ChannelError,
                "unexpected method in connection state running",
                id,
            )),
        }
    }

    fn channel_frame(&mut self, chunk: &mut Chunk, place: Place) -> Result<(), Exception> {
        if place.kind == FrameKind::Heartbeat {
            return Err(Exception::new(
                ReplyCode::UnexpectedFrame,
                "type 8, all octets = <<>>",
                MethodId::NONE,
            ));
        }
        let Some(channel) = self.channels.get_mut(&place.channel) else {
            return self.open_channel(chunk, place);
        };
        if channel.closing {
            self.while_channel_closes(chunk, place);
            return Ok(());
        }
        let mut around = Around {
            client: &self.client,
            batch: &mut self.batch,
            confirms: &mut self.confirms,
        };
        let accepted = match channel.assembly.accept(chunk, place) {
            Ok(accepted) => accepted,
            Err(error) => return self.refused(place.channel, error.exception()),
        };
        let (id, done) = match accepted {
            Accepted::Part => return Ok(()),
            Accepted::Message(message) => match message.id() {
                basic::Publish::ID => (basic::Publish::ID, channel.publish(message, &mut around)),
                other => (other, Err(unimplemented(other))),
            },
            Accepted::Method => {
                let hot = Hot::read(chunk.payload(place)).map_err(|error| error.exception())?;
                let (id, tag, multiple, how) = match hot {
                    Hot::Ack(ack) => (basic::Ack::ID, ack.delivery_tag, ack.multiple, How::Ack),
                    Hot::Nack(nack) => {
                        let how = How::unwanted(nack.requeue);
                        (basic::Nack::ID, nack.delivery_tag, nack.multiple, how)
                    }
                    Hot::Reject(reject) => {
                        let how = How::unwanted(reject.requeue);
                        (basic::Reject::ID, reject.delivery_tag, false, how)
                    }
                    Hot::Publish(_) | Hot::Deliver(_) | Hot::Other(_) => {
                        return self.channel_method(chunk, place);
                    }
                };
                (id, channel.settle(tag, multiple, how, &mut around))
            }
        };
        match done {
            Ok(()) => Ok(()),
            Err(refusal) => self.refused(place.channel, exception(refusal, id)),
        }
    }

    /// A method other than those that come with every message, on a channel that is open.
    fn channel_method(&mut self, chunk: &Chunk, place: Place) -> Result<(), Exception> {
        let method = chunk.method(place).map_err(|error| error.exception())?;
        let (number, id) = (place.channel, method.id());
        self.batch.work += LOOK_UP;
        match method {
            Method::Channel(channel::Method::Close(_)) => {
                self.end_channel(number);
                self.around().answer(number, channel::CloseOk {});
                return Ok(());
            }
            Method::Channel(channel::Method::Open(_)) => {
                return Err(Exception::new(
                    ReplyCode::ChannelError,
                    "second 'channel.open' seen",
                    id,
                ));
            }
            _ => {}
        }
        let mut around = Around {
            client: &self.client,
            batch: &mut self.batch,
            confirms: &mut self.confirms,
        };
        let Some(channel) = self.channels.get_mut(&number) else {
            return Ok(());
        };
        match channel.method(method, &mut around) {
            Ok(()) => Ok(()),
            Err(refusal) => self.refused(number, exception(refusal, id)),
        }
    }

    /// The channel ends, or the connection has to, by the weight of what is wrong.
    fn refused(&mut self, channel: u16, exception: Exception) -> Result<(), Exception> {
        match exception.code.weight() {
            Weight::Connection => Err(exception),
            Weight::None | Weight::Channel => {
                self.close_channel(channel, &exception);
                Ok(())
            }
        }
    }

    fn open_channel(&mut self, chunk: &Chunk, place: Place) -> Result<(), Exception> {
        if place.kind != FrameKind::Method {
            return Err(Exception::new(
                ReplyCode::UnexpectedFrame,
                "expected method frame, got non method frame instead",
                MethodId::NONE,
            ));
        }
        let method = chunk.method(place).map_err(|error| error.exception())?;
        self.batch.work += LOOK_UP;
        match method {
            Method::Channel(channel::Method::Open(_))
                // Channels are counted; which numbers they have is the client's business.
                if self.channel_max > 0 && self.channels.len() >= self.channel_max.into() =>
            {
                Err(Exception::new(
                    ReplyCode::NotAllowed,
                    format_args!(
                        "number of channels opened ({}) has reached the negotiated channel_max ({})",
                        self.channels.len(),
                        self.channel_max
                    ),
                    MethodId::NONE,
                ))
            }
            Method::Channel(channel::Method::Open(_)) => {
                self.count_channels(1)
                    .map_err(|refusal| exception(refusal, channel::Open::ID))?;
                let channel = Box::new(Channel::new(place.channel, &self.client));
                self.channels.insert(place.channel, channel);
                self.client
                    .output
                    .lock()
                    .method(place.channel, channel::OpenOk::default());
                Ok(())
            }
            // What a client answers to a close that crossed its own.
            Method::Channel(channel::Method::CloseOk(_)) => Ok(()),
            Method::Connection(method) => Err(Exception::new(
                ReplyCode::CommandInvalid,
                "unimplemented method",
                method.id(),
            )),
            other => Err(Exception::new(
                ReplyCode::ChannelError,
                "expected 'channel.open'",
                other.id(),
            )),
        }
    }

    fn while_channel_closes(&mut self, chunk: &Chunk, place: Place) {
        if place.kind != FrameKind::Method {
            return;
        }
        match MethodId::of(chunk.payload(place)) {
            Some(channel::CloseOk::ID) => {
                self.channels.remove(&place.channel);
                self.count_channels(0).ok();
            }
            Some(channel::Close::ID) => self
                .client
                .output
                .lock()
                .method(place.channel, channel::CloseOk {}),
            _ => {}
        }
    }

    fn while_closing(&mut self, chunk: &Chunk, place: Place) {
        match MethodId::of(chunk.payload(place)) {
            Some(connection::CloseOk::ID) => self.done = true,
            Some(connection::Close::ID) => {
                self.client.output.lock().method(0, connection::CloseOk {});
                self.done = true;
            }
            _ => {}
        }
    }

    /// There are so many channels, and `more` to come.
    pub(super) fn count_channels(&mut self, more: usize) -> Result<(), Refusal> {
        let count = self.channels.len() + more;
        self.seat.as_mut().map_or(Ok(()), |seat| seat.set_channels(count))
    }
}
