//! How channels end, and the connection: told to by the client, for what he did wrong, for what he has had for too long, because the broker
//! stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval_at};
use warren_amqp::{Exception, MethodId, ReplyCode, channel, connection};

use super::throttle::Throttle;
use super::{Connection, Wire};
use crate::channel::Around;
use crate::ledger::Ledger;
use crate::overdue;
use crate::registry::State;

/// How long a client may take to answer that its connection closes, or to take something of what is left for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: Wire> Connection<S> {
    /// The client did something wrong on a channel: the channel ends.
    pub(super) fn close_channel(&mut self, number: u16, exception: &Exception) {
        tracing::warn!(user = %self.client.user, vhost = %self.client.vhost, channel = number, reason = %exception.text, "channel closed");
        let mut around = Around {
            client: &self.client,
            batch: &mut self.batch,
            confirms: &mut self.confirms,
        };
        around.flush();
        if let Some(change) = &mut around.batch.change {
            change.answer.take_if(|(channel, _)| *channel == number);
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.end(&mut around);
            channel.closing = true;
        }
        self.client
            .output
            .lock()
            .method(number, channel::Close::from(exception));
    }

    /// Channels whose client has had messages for too long end.
    pub(super) fn close_overdue(&mut self) {
        let channels = std::mem::take(&mut self.client.output.lock().overdue);
        for number in channels {
            if self.channels.get(&number).is_some_and(|channel| !channel.closing) {
                let timeout = self.client.node.settings().consumer_timeout;
                self.close_channel(number, &overdue::exception(number, timeout));
            }
        }
    }

    /// The client closes a channel.
    pub(super) fn end_channel(&mut self, number: u16) {
        if let Some(mut channel) = self.channels.remove(&number) {
            self.count_channels(0).ok();
            self.around().flush();
            channel.end(&mut self.around());
        }
    }

    /// The broker stops: the connection closes once its client has heard what became of its messages, or when it is told
    /// again.
    pub(super) fn leave(&mut self) {
        self.around().flush();
        // What is not safe by now never will be, if the node may not serve any more.
        if !self.leaving && !self.is_settled() && self.client.node.session.holds() {
            self.leaving = true;
            return;
        }
        self.close(&Exception::new(
            ReplyCode::ConnectionForced,
            "broker forced connection closure with reason 'shutdown'",
            MethodId::NONE,
        ));
    }

    /// Nothing that was published waits for its confirm, and nothing that was changed for its answer.
    pub(super) fn is_settled(&self) -> bool {
        let all_confirmed = || self.confirms.values().all(|confirms| confirms.unconfirmed() == 0);
        self.batch.change.is_none() && all_confirmed()
    }

    /// The connection has to end: the client is told why.
    pub(super) fn close(&mut self, exception: &Exception) {
        if self.closing.is_some() || self.done {
            return;
        }
        tracing::warn!(user = %self.client.user, vhost = %self.client.vhost, reason = %exception.text, "connection closes");
        self.end();
        self.client
            .output
            .lock()
            .method(0, connection::Close::from(exception));
        // The answer has to be read.
        self.throttle = Throttle::default();
        self.client.entry.set_state(State::Closing);
        self.grant();
    }

    /// So long the client has from now on.
    pub(super) fn grant(&mut self) {
        let until = Instant::now() + CLOSE_TIMEOUT;
        self.closing = Some(until);
        // Somebody has to look at the time, and no heartbeats are sent any more.
        self.tick = Some(interval_at(until, CLOSE_TIMEOUT));
    }

    /// The same, once, and after others have had their turn if that is much.
    pub(super) async fn end_in_turn(&mut self) {
        if self.seat.is_none() {
            return;
        }
        let node = Arc::clone(&self.client.node);
        let _turn = match self.has_something() {
            true => node.turn_to_end().await,
            false => None,
        };
        self.end();
    }

    /// There are consumers, messages that the client has, or queues that are its alone.
    fn has_something(&self) -> bool {
        let waiting = self.client.output.lock();
        waiting.ledgers.values().any(Ledger::is_open) || self.client.node.has_queues_of(self.client.number)
    }

    /// Everything that the client had goes back, and what was its alone goes.
    pub(super) fn end(&mut self) {
        let mut channels = std::mem::take(&mut self.channels);
        self.around().flush();
        // What comes back from one channel is not for another, which is about to end.
        channels.values().for_each(|channel| channel.block());
        let mut ledgers = std::mem::take(&mut self.client.output.lock().ledgers);
        for (number, channel) in &mut channels {
            channel.end_with(ledgers.remove(number), &mut self.around());
        }
        self.seat = None;
        self.around().flush();
        // Nobody is left to hear of it.
        self.batch.change = None;
        self.client.node.forget_connection(self.client.number);
    }
}
