//! The control socket's end inside the daemon: requests go to the one loop that owns the state, and wait for it.

use std::path::PathBuf;

use tokio::sync::{broadcast, mpsc, oneshot};
use warren_api::vrrp::{Event, Refused, Reply, Request, State, refusal};
use warren_kit::control::{Gone, Peer, Problem, Replies, Service};

use crate::history::concerns;
use crate::neighbour;

/// Requests that may wait for the daemon.
pub(crate) const ASKS_MAX: usize = 64;

/// A request and the way back.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) peer: Peer,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What the daemon answers.
#[derive(Debug)]
pub(crate) enum Answer {
    One(Box<Reply>),
    Events {
        past: Vec<Event>,
        future: Option<broadcast::Receiver<Event>>,
        router: Option<String>,
    },
}

impl Answer {
    pub(crate) fn done(message: impl Into<String>, warnings: Vec<String>) -> Self {
        Self::One(Box::new(Reply::Done {
            message: message.into(),
            warnings,
        }))
    }

    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::One(Box::new(refused(code, message)))
    }
}

fn refused(code: &str, message: impl Into<String>) -> Reply {
    Reply::Refused(Refused {
        code: code.to_owned(),
        message: message.into(),
    })
}

/// Who may connect is decided by the socket's mode and group; who has connected may ask for anything.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) asks: mpsc::Sender<Ask>,
    /// Control socket of the proxy on this host, if there is one.
    pub(crate) proxy: PathBuf,
}

impl Desk {
    /// `None`: the daemon is stopping.
    async fn ask(&self, peer: Peer, request: Request) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            request,
            peer,
            answer,
        };
        self.asks.send(ask).await.ok()?;
        answered.await.ok()
    }

    /// Before a role is given away on purpose, clients hear of it from the proxy.
    async fn warn_clients(&self, peer: Peer, router: &str) {
        let Some(Answer::One(reply)) = self.ask(peer, Request::Status {}).await else {
            return;
        };
        let Reply::Status(status) = *reply else { return };
        let active = status
            .routers
            .iter()
            .filter(|it| it.name == router && it.state == State::Active);
        let addresses = active
            .flat_map(|router| &router.addresses)
            .filter_map(|it| it.address);
        neighbour::release(&self.proxy, addresses.collect()).await;
    }
}

impl Service for Desk {
    type Request = Request;
    type Reply = Reply;

    async fn call(&self, peer: Peer, request: Request, replies: &mut Replies<'_, Reply>) -> Result<(), Gone> {
        if let Request::Drain { router } = &request {
            self.warn_clients(peer, router).await;
        }
        match self.ask(peer, request).await {
            Some(Answer::One(reply)) => replies.send(&reply).await,
            Some(Answer::Events { past, future, router }) => {
                for event in past {
                    replies.send(&Reply::Event(event)).await?;
                }
                follow(future, router.as_deref(), replies).await
            }
            None => {
                replies
                    .send(&refused(
                        refusal::FAILED,
                        "the daemon is stopping; ask again later",
                    ))
                    .await
            }
        }
    }

    fn refused(&self, problem: Problem) -> Reply {
        refused(refusal::BAD_REQUEST, problem.to_string())
    }
}

async fn follow(
    future: Option<broadcast::Receiver<Event>>,
    router: Option<&str>,
    replies: &mut Replies<'_, Reply>,
) -> Result<(), Gone> {
    let Some(mut future) = future else { return Ok(()) };
    loop {
        match future.recv().await {
            Ok(event) if concerns(&event, router) => replies.send(&Reply::Event(event)).await?,
            // The reader was too slow; the gap shows in the numbers.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}
