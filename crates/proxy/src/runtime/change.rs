//! The operator's word reaches a server: its health takes it in, and what follows is done.

use std::sync::Arc;

use warren_balance::health::Input;

use super::Context;
use crate::check::Cause;
use crate::live::{Backend, Server};

/// Tells a server's health something, and does what follows from it.
pub(crate) fn tell(context: &Context, backend: &Arc<Backend>, server: &Arc<Server>, input: &Input) {
    let cause = match input {
        // Only these lines need a reason; the others say themselves what was asked for.
        Input::Health(_) | Input::AgentHealth(_) => Cause::Operator,
        _ => Cause::Silent,
    };
    context.servers.change(backend, server, input, cause);
    server.agent_wake.notify_one();
}
