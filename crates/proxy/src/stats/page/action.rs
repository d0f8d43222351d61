//! Forms that change something, with the names HAProxy's have, so that scripts that post them go on working:
//! `s` a server (any number of times), `b` the backend by name or `#` and number, `action` what to do.

use std::sync::Arc;

use warren_balance::Admin;
use warren_balance::health::{Input, Operation};
use warren_kit::form::decoded;

use crate::live::{Backend, Server};
use crate::plan::StatsPage;
use crate::record::Cause;
use crate::runtime::{Context, tell};
use crate::worker::{Command, End, Ending, Scope, SessionInfo};

/// What became of it, as HAProxy codes it in the address it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]

pub(super) enum Told {
    Done,
    Nothing,
    Partly,
    Invalid,
    Denied,
}

impl Told {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::Nothing => "NONE",
            Self::Partly => "PART",
            Self::Invalid => "ERRP",
            Self::Denied => "DENY",
        }
    }
}

/// What is done to servers, with the words that forms say it in.
pub(super) const ACTIONS: &[&str] = &[
    "ready", "drain", "maint", "dhlth", "ehlth", "hrunn", "hnolb", "hdown", "dagent", "eagent", "arunn",
    "adown", "shutdown",
];

/// Does what a form says, to what the page shows.
pub(super) async fn perform(context: &Context, page: &StatsPage, form: &str) -> Told {
    let mut servers = Vec::new();
    let (mut backend, mut action, mut session) = (None, None, None);
    for part in form.trim().split('&') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "s" => servers.push(decoded(value)),
            "b" => backend = Some(decoded(value)),
            "action" => action = Some(decoded(value)),
            "session" => session = decoded(value).parse::<u64>().ok(),
            _ => {}
        }
    }
    if let (Some("end-session"), Some(session)) = (action.as_deref(), session) {
        let sessions = context.workers.sessions().await;
        let shown = |one: &SessionInfo| one.id == session && page.shows(&one.frontend);
        if !sessions.iter().any(shown) {
            return Told::Nothing;
        }
        end(context, Scope::Session(session));
        return Told::Done;
    }
    let backend = backend.and_then(|name| find(context, &name));
    let backend = backend.filter(|backend| page.shows(&backend.name));
    let action = action.filter(|action| ACTIONS.contains(&action.as_str()));
    let (Some(backend), Some(action)) = (backend, action) else {
        return Told::Invalid;
    };
    let mut done = 0;
    for name in &servers {
        let Some(server) = backend.server_named(name) else {
            continue;
        };
        act(context, &backend, &server, &action);
        done += 1;
    }
    match (done, servers.len()) {
        (_, 0) => Told::Nothing,
        (done, asked) if done == asked => Told::Done,
        _ => Told::Partly,
    }
}

fn find(context: &Context, name: &str) -> Option<Arc<Backend>> {
    let snapshot = context.live.snapshot();
    match name.strip_prefix('#') {
        Some(number) => {
            let number: u32 = number.parse().ok()?;
            let mut backends = snapshot.backends.iter();
            backends.find(|backend| backend.plan().id.0 == number).cloned()
        }
        None => snapshot.backend_named(name).cloned(),
    }
}

fn act(context: &Context, backend: &Arc<Backend>, server: &Arc<Server>, action: &str) {
    let input = match action {
        "ready" => Input::Admin(Admin::Ready),
        "drain" => Input::Admin(Admin::Drain),
        "maint" => Input::Admin(Admin::Maint),
        "dhlth" => Input::Checked(false),
        "ehlth" => Input::Checked(true),
        "hrunn" => Input::Health(Operation::Running),
        "hnolb" => Input::Health(Operation::Stopping),
        "hdown" => Input::Health(Operation::Stopped),
        "dagent" => Input::AgentAsked(false),
        "eagent" => Input::AgentAsked(true),
        "arunn" => Input::AgentHealth(true),
        "adown" => Input::AgentHealth(false),
        _ => {
            end(context, Scope::Server(Arc::clone(server)));
            return;
        }
    };
    tell(context, backend, server, &input);
}

fn end(context: &Context, scope: Scope) {
    context.workers.broadcast(&Command::End(End {
        scope,
        how: Ending::Now(Cause::Killed),
    }));
}
