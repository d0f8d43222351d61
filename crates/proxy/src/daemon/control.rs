//! The control socket: answers about what is at once, and passes wishes on to the daemon's loop.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use warren_api::proxy::{Refused, Reply, Request, refusal};
use warren_kit::control::{Gone, Peer, Problem, Replies, Service};

use super::answers;
use crate::live::Live;
use crate::worker::Workers;

/// What only the daemon's loop can do, and where its answer goes.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Reply>,
}

pub(super) struct Control {
    pub(super) live: Arc<Live>,
    pub(super) workers: Workers,
    pub(super) wishes: mpsc::Sender<Wish>,
}

impl Service for Control {
    type Request = Request;
    type Reply = Reply;

    async fn call(&self, _: Peer, request: Request, replies: &mut Replies<'_, Reply>) -> Result<(), Gone> {
        let reply = match request {
            Request::Ready { backend } => self.ready(backend.as_deref()),
            Request::Sessions {} => Reply::Sessions {
                sessions: self
                    .workers
                    .sessions()
                    .await
                    .iter()
                    .map(answers::session)
                    .collect(),
            },
            request => self.wish(request).await,
        };
        replies.send(&reply).await
    }

    fn refused(&self, problem: Problem) -> Reply {
        refused(refusal::BAD_REQUEST, problem.to_string())
    }
}

impl Control {
    fn ready(&self, backend: Option<&str>) -> Reply {
        match answers::without_server(&self.live, backend) {
            None => refused(
                refusal::NO_SUCH_SERVER,
                format!(
                    "there is no backend {}; see warren proxy status",
                    backend.unwrap_or_default()
                ),
            ),
            Some(empty) if empty.is_empty() => Reply::Done {
                message: "every backend in use has a server".into(),
                warnings: Vec::new(),
            },
            Some(empty) => refused(
                refusal::NOT_READY,
                format!(
                    "no server is usable in {}; see warren proxy why",
                    empty.join(", ")
                ),
            ),
        }
    }

    async fn wish(&self, request: Request) -> Reply {
        let (answer, answered) = oneshot::channel();
        if self.wishes.send(Wish { request, answer }).await.is_err() {
            return refused(refusal::FAILED, "the proxy is ending".into());
        }
        answered
            .await
            .unwrap_or_else(|_| refused(refusal::FAILED, "the proxy ended before it was done".into()))
    }
}

pub(super) fn refused(code: &str, message: String) -> Reply {
    Reply::Refused(Refused {
        code: code.to_owned(),
        message,
    })
}
