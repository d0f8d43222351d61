//! The control socket's end inside the daemon: requests go to the one loop that owns the state, and wait for it.

use tokio::sync::{broadcast, mpsc, oneshot};
use warren_api::vrrp::{Event, Refused, Reply, Request, refusal};
use warren_kit::control::{Gone, Peer, Problem, Replies, Service};

use crate::history::concerns;

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
pub(crate) struct Desk(pub(crate) mpsc::Sender<Ask>);

impl Service for Desk {
    type Request = Request;
    type Reply = Reply;

    async fn call(&self, peer: Peer, request: Request, replies: &mut Replies<'_, Reply>) -> Result<(), Gone> {
        let (answer, answered) = oneshot::channel();
        let asked = self
            .0
            .send(Ask {
                request,
                peer,
                answer,
            })
            .await;
        match (asked, answered.await) {
            (Ok(()), Ok(Answer::One(reply))) => replies.send(&reply).await,
            (Ok(()), Ok(Answer::Events { past, future, router })) => {
                for event in past {
                    replies.send(&Reply::Event(event)).await?;
                }
                follow(future, router.as_deref(), replies).await
            }
            _ => {
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
