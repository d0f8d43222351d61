//! Class tx: what a client publishes and settles is done when it commits, together.
//!
//! Who may publish where is checked at once, and so is whether there is a message to be settled. What is settled stays with
//! the client until it commits: a rollback leaves it there, and so does the channel's end.

use warren_amqp::{ReplyCode, content, tx};
use warren_model::Refusal;

use super::confirm::Confirms;
use super::settle::How;
use super::{Around, Channel, Mode, unimplemented};
use crate::batch::Prepared;
use crate::client::precondition;
use crate::ledger::{Ledger, UnknownTag, Unsettled};

/// Octets of the messages of one transaction; beyond that it is refused.
const OCTETS_MAX: usize = 256 << 20;

/// What waits for a commit.
#[derive(Default)]
pub(crate) struct Transaction {
    messages: Vec<Prepared>,
    octets: usize,
    /// By tag.
    settled: Vec<(u64, Unsettled, How)>,
}

impl Transaction {
    /// How many messages.
    pub(crate) const fn messages(&self) -> usize {
        self.messages.len()
    }

    /// How many messages are settled.
    pub(crate) const fn settled(&self) -> usize {
        self.settled.len()
    }
}

impl Channel {
    pub(super) fn transaction(&mut self, method: tx::Method, around: &mut Around<'_>) -> Result<(), Refusal> {
        match (method, self.mode) {
            (tx::Method::Select(_), Mode::Confirm) => {
                Err(precondition("cannot switch from confirm to tx mode"))
            }
            (tx::Method::Select(_), Mode::Plain | Mode::Transaction) => {
                self.mode = Mode::Transaction;
                around
                    .confirms
                    .entry(self.number)
                    .or_insert_with(Confirms::of_commits);
                self.answer(around, tx::SelectOk {})
            }
            (_, Mode::Plain | Mode::Confirm) => Err(precondition("channel is not transactional")),
            (tx::Method::Commit(_), Mode::Transaction) => self.commit(around),
            (tx::Method::Rollback(_), Mode::Transaction) => {
                if let Some(ledger) = around.client.output.lock().ledgers.get_mut(&self.number) {
                    self.roll_back(ledger);
                }
                self.answer(around, tx::RollbackOk {})
            }
            (other, Mode::Transaction) => Err(unimplemented(other.id())),
        }
    }

    /// A message to be published at the commit.
    pub(super) fn publish_later(
        &mut self,
        content: content::Message,
        around: &mut Around<'_>,
    ) -> Result<(), Refusal> {
        self.transaction.octets += content.size();
        if self.transaction.octets > OCTETS_MAX {
            return Err(Refusal::new(
                ReplyCode::ResourceError,
                format_args!("transaction is larger than {OCTETS_MAX} octets: commit more often"),
            ));
        }
        let prepared = around.batch.prepare(around.client, content)?;
        self.transaction.messages.push(prepared);
        Ok(())
    }

    /// Messages to be settled at the commit.
    pub(super) fn settle_later(
        &mut self,
        tag: u64,
        multiple: bool,
        how: How,
        around: &Around<'_>,
    ) -> Result<(), Refusal> {
        let mut waiting = around.client.output.lock();
        let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
            return Ok(());
        };
        let held = &mut self.transaction.settled;
        ledger
            .hold(tag, multiple, |tag, one| held.push((tag, one, how)))
            .map_err(|UnknownTag(tag)| precondition(format_args!("unknown delivery tag {tag}")))
    }

    fn commit(&mut self, around: &mut Around<'_>) -> Result<(), Refusal> {
        let Transaction {
            messages, settled, ..
        } = std::mem::take(&mut self.transaction);
        for prepared in messages {
            around.batch.add_later(around.client, self.number, prepared);
        }
        self.settle_held(settled, around);
        let written = around.batch.flush(around.client, around.confirms);
        let ticket = written.map_err(|error| {
            tracing::error!(%error, "transaction is not on disk");
            Refusal::new(ReplyCode::InternalError, "the transaction cannot be written")
        })?;
        if around.batch.failed.refused {
            return Err(precondition("partial tx completion"));
        }
        if let Some(commits) = around.confirms.get_mut(&self.number) {
            let number = commits.next();
            commits.done(number, false, ticket);
        }
        around.batch.say(around.client, around.confirms);
        Ok(())
    }

    /// What was settled and not committed is with the client again.
    pub(super) fn roll_back(&mut self, ledger: &mut Ledger) {
        let Transaction { settled, .. } = std::mem::take(&mut self.transaction);
        settled.into_iter().for_each(|(tag, ..)| ledger.restore(tag));
    }

    fn settle_held(&mut self, held: Vec<(u64, Unsettled, How)>, around: &mut Around<'_>) {
        let mut rest = held.into_iter().peekable();
        while let Some((_, one, how)) = rest.next() {
            self.settled.push(one);
            if rest.peek().is_some_and(|(_, _, next)| *next == how) {
                continue;
            }
            let full = {
                let mut waiting = around.client.output.lock();
                let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
                    return;
                };
                ledger.let_go(self.settled.len());
                ledger.is_full()
            };
            self.settle_with(how, around);
            if full {
                self.unblock(around);
            }
        }
        if let Some(ledger) = around.client.output.lock().ledgers.get_mut(&self.number) {
            ledger.trim();
        }
    }
}
