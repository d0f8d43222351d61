//! The control socket: what operators ask of a running node, in RabbitMQ's words.
//!
//! Listings are made of what is there at the moment and go out in pieces, so that a broker with very many queues neither
//! holds a lock for long nor has a second copy of everything in memory.

mod acts;
mod cells;
mod deeds;
mod health;
mod listings;
mod settings;
mod status;

use std::io;
use std::sync::Arc;

use warren_api::broker::{Refused, Reply, Request, refusal};
use warren_kit::control::{ControlSocket, Gone, Limits, Peer, Problem, Replies, Service};

use crate::about::About;
use crate::node::Node;

/// Answers operators until dropped.
///
/// # Errors
/// The socket cannot be listened on.
pub async fn serve(node: Arc<Node>, about: Arc<About>, socket: ControlSocket) -> io::Result<()> {
    let limits = Limits {
        // A file of definitions may be sent in one request.
        request_bytes_max: 64 << 20,
        ..Limits::default()
    };
    warren_kit::control::serve(socket, limits, Control { node, about }).await
}

struct Control {
    node: Arc<Node>,
    about: Arc<About>,
}

impl Service for Control {
    type Request = Request;
    type Reply = Reply;

    async fn call(&self, peer: Peer, request: Request, replies: &mut Replies<'_, Reply>) -> Result<(), Gone> {
        let reply = match request {
            Request::Status {} => Reply::Status(Box::new(status::status(&self.node, &self.about))),
            Request::Health {} => Reply::Health(Box::new(health::health(&self.node, &self.about).await)),
            Request::List { listing, columns } => {
                return listings::list(&self.node, &listing, &columns, replies).await;
            }
            request => {
                let deed = deeds::of(&request);
                let done = acts::act(&self.node, request).await;
                let reply = done.unwrap_or_else(Reply::Refused);
                deeds::say(peer, deed, &reply);
                reply
            }
        };
        replies.send(&reply).await
    }

    fn refused(&self, problem: Problem) -> Reply {
        Reply::Refused(refused(refusal::BAD_REQUEST, problem))
    }
}

fn refused(code: &str, message: impl std::fmt::Display) -> Refused {
    Refused {
        code: code.to_owned(),
        message: message.to_string(),
    }
}
