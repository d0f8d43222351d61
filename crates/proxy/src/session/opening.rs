//! From the client's connection to the choice of a backend: who may come in, who he really is, what he speaks, where he
//! wants to go.
//!
//! ```text
//!   Door ──▶ Header ──▶ Tls ──▶ Words ──▶ backend, or mode http
//!   rules    PROXY     hand-    rules that look at what
//!   of the   protocol  shake,   the client says first
//!   connection         rules of the session
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::condition::{Look, within};
use super::connect::millis;
use super::endpoint::tls::Tls;
use super::endpoint::{Handshake, Received, Transport};
use super::tracking::{self, Tracked};
use super::{Common, Spent, Told};
use crate::live::{Backend, Server};
use crate::plan::{self, Condition, Mode, Moment, Sample, SwitchTo, TcpAction};
use crate::proxy_header::{self, Decoded};
use crate::record::{Cause, Phase, Refusal, Termination};
use crate::tls::hello;
use crate::worker::context::Context;

/// How far it is.
#[derive(Debug)]
pub(crate) struct Opening {
    step: Step,
    /// When the client has been silent for too long.
    until: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Door,
    Header,
    Tls,
    Words,
}

/// What [`Opening::advance`] says.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It waits for the client, or for its time to be over.
    Pending,
    /// Octets can be exchanged, and this is spoken.
    Done(Mode),
    /// Nobody comes in.
    Refused(Termination),
}

impl Opening {
    pub(crate) const fn new() -> Self {
        Self {
            step: Step::Door,
            until: None,
        }
    }

    pub(crate) const fn deadline(&self) -> Option<u64> {
        self.until
    }

    /// Goes on as far as it can.
    pub(crate) fn advance(&mut self, common: &mut Common, context: &mut Context) -> Opened {
        let plan = context.plan_of(common.frontend());
        loop {
            let next = match self.step {
                Step::Door => at_the_door(common, context, &plan).map(|()| Some(Step::Header)),
                Step::Header => self.header(common, context, &plan),
                Step::Tls => self.tls(common, context, &plan),
                Step::Words => match self.words(common, context, &plan) {
                    Ok(true) => return Opened::Done(plan.mode),
                    Ok(false) => Ok(None),
                    Err(termination) => Err(termination),
                },
            };
            match next {
                Ok(Some(step)) => {
                    self.until = None;
                    self.step = step;
                }
                Ok(None) => {
                    common.changed = true;
                    return Opened::Pending;
                }
                Err(termination) => return Opened::Refused(termination),
            }
        }
    }

    /// The PROXY protocol's header, if one has to be there.
    fn header(
        &mut self,
        common: &mut Common,
        context: &mut Context,
        plan: &plan::Frontend,
    ) -> Result<Option<Step>, Termination> {
        if is_sent_by_proxy(common) && !take_header(common, context)? {
            return self.wait(common, context, plan, Refusal::HeaderTimeout);
        }
        admit_source(common, context, plan)?;
        if let Some(acceptor) = &common.entrance.tls {
            let tls = Tls::accept(acceptor).map_err(|error| {
                tracing::error!(%error, "TLS cannot begin");
                Termination::new(Cause::Internal, Phase::Request)
            })?;
            context.live.tally.of(context.worker).handshakes.count();
            common
                .client
                .speak(Transport::Tls(Box::new(tls.count(&context.live.encryption))));
        }
        Ok(Some(Step::Tls))
    }

    /// The handshake of TLS, if it is ended here.
    fn tls(
        &mut self,
        common: &mut Common,
        context: &Context,
        plan: &plan::Frontend,
    ) -> Result<Option<Step>, Termination> {
        match common.client.handshake() {
            Handshake::Done => {
                common.spent.handshake = Spent::since(common.accepted, context.now);
                if common.client.tls().is_some_and(Tls::is_newly_agreed) {
                    context.live.encryption.client_keys.count(context.time());
                }
                if !follow(Moment::Session, plan, None, common, context) {
                    return Err(turn_away(common, context));
                }
                begin_session(common, context);
                Ok(Some(Step::Words))
            }
            Handshake::Wait => self.wait(common, context, plan, Refusal::TlsTimeout),
            Handshake::Left => Err(refuse(common, Refusal::TlsClosed)),
            Handshake::Failed(reason) => {
                tracing::debug!(client = ?common.client_address, reason, "TLS handshake failed");
                Err(refuse(common, Refusal::TlsFailure))
            }
        }
    }

    fn wait(
        &mut self,
        common: &mut Common,
        context: &Context,
        plan: &plan::Frontend,
        refusal: Refusal,
    ) -> Result<Option<Step>, Termination> {
        let timeout = plan.timeouts.handshake.or(plan.timeouts.client);
        let until = *self.until.get_or_insert_with(|| {
            timeout.map_or(u64::MAX, |timeout| {
                common.accepted.saturating_add(millis(timeout))
            })
        });
        if until <= context.now {
            return Err(refuse(common, refusal));
        }
        Ok(None)
    }

    /// Rules that look at what the client says first. True once they are done.
    fn words(
        &mut self,
        common: &mut Common,
        context: &mut Context,
        plan: &plan::Frontend,
    ) -> Result<bool, Termination> {
        if plan.mode == Mode::Http {
            return Ok(true);
        }
        let name = if looks_for_name(plan, context) {
            let delay = plan.inspect_delay.map_or(0, millis);
            let until = *self
                .until
                .get_or_insert_with(|| context.now.saturating_add(delay));
            match server_name(common, context) {
                Hello::Complete(name) => name,
                Hello::Incomplete if until > context.now => return Ok(false),
                Hello::Incomplete => None,
            }
        } else {
            None
        };
        if !follow(Moment::Content, plan, name.as_deref(), common, context) {
            let cells = common.frontend().tally.of(context.worker);
            cells.denied_requests.count();
            return Err(Termination::new(Cause::Proxy, Phase::Request));
        }
        let look = Look {
            server_name: name.as_deref(),
            ..Look::at_session(common, context)
        };
        let chosen = plan.switches.iter().find(|switch| switch.condition.holds(&look));
        let chosen = chosen.and_then(|switch| match &switch.backend {
            SwitchTo::Backend(backend) => Some(backend),
            // The configuration has these for mode http only.
            SwitchTo::Named(_) => None,
        });
        let chosen = chosen.or(plan.default_backend.as_ref());
        let backend = chosen.and_then(|backend| context.snapshot().backend_named(backend).cloned());
        let Some(backend) = backend else {
            return Err(Termination::new(Cause::ServerAborted, Phase::Connect));
        };
        let backend_plan = context.plan_of_backend(&backend);
        common.wanted = use_server(&backend_plan, &backend, name.as_deref(), common, context);
        common.enter(backend, context);
        common.key = match common.client_address {
            Some(address) => warren_balance::hash::of_address(address.ip()),
            None => 0,
        };
        Ok(true)
    }
}

/// `use-server`: the first that holds and whose server may be used.
fn use_server(
    plan: &plan::Backend,
    backend: &Backend,
    server_name: Option<&str>,
    common: &Common,
    context: &Context,
) -> Option<Arc<Server>> {
    let look = Look {
        server_name,
        ..Look::at_session(common, context)
    };
    let held = plan
        .server_rules
        .iter()
        .filter(|rule| rule.condition.holds(&look));
    let mut servers = held.filter_map(|rule| backend.server_named(rule.server.constant()?));
    servers.find(|server| plan.use_down || server.is_there())
}

/// Rules that need nothing but the connection. Who is turned away here is no session and is not logged.
fn at_the_door(common: &mut Common, context: &Context, plan: &plan::Frontend) -> Result<(), Termination> {
    if plan.tcp_rules.is_empty() && plan.switches.is_empty() {
        return Ok(());
    }
    if follow(Moment::Connection, plan, None, common, context) {
        Ok(())
    } else {
        Err(turn_away(common, context))
    }
}

/// Follows the rules of one moment until one decides. False: the client does not come in.
fn follow(
    moment: Moment,
    plan: &plan::Frontend,
    server_name: Option<&str>,
    common: &mut Common,
    context: &Context,
) -> bool {
    for rule in plan.tcp_rules.iter().filter(|rule| rule.moment == moment) {
        let look = Look {
            server_name,
            ..Look::at_session(common, context)
        };
        if !rule.condition.holds(&look) {
            continue;
        }
        match &rule.action {
            TcpAction::Accept => return true,
            TcpAction::Reject => return false,
            TcpAction::Track(track) => tracking::connection(track, common, context),
        }
    }
    true
}

/// It does not come in, and the log says why.
fn refuse(common: &mut Common, why: Refusal) -> Termination {
    common.rare().refusal = Some(why);
    Termination::new(Cause::Proxy, Phase::Request)
}

/// Whether a header has to be there: on this door always, or from whoever comes from these networks.
fn is_sent_by_proxy(common: &Common) -> bool {
    let bind = &common.entrance.bind;
    let is_trusted = |address: IpAddr| {
        let mut networks = bind.proxy_from.iter();
        networks.any(|(network, length)| within(address, *network, *length))
    };
    bind.accept_proxy
        || common
            .client_address
            .is_some_and(|address| is_trusted(address.ip()))
}

/// Takes the header and believes it. False if it is not whole yet.
fn take_header(common: &mut Common, context: &mut Context) -> Result<bool, Termination> {
    let room = context.buffer.len().min(proxy_header::V2_LENGTH_MAX);
    let buffer = &mut context.buffer[..room];
    let count = match common.client.peek(buffer) {
        Received::Data(count) => count,
        Received::Wait => return Ok(false),
        Received::End | Received::Failed(_) => return Err(refuse(common, Refusal::HeaderAbsent)),
    };
    let header = match proxy_header::decode(buffer.get(..count).unwrap_or_default()) {
        Ok(Decoded::Header(header)) => header,
        // What follows may never come if the sender is done.
        Ok(Decoded::Incomplete) if common.client.has_hung_up() => {
            return Err(refuse(common, Refusal::HeaderTruncated));
        }
        Ok(Decoded::Incomplete) => return Ok(false),
        Err(error) => {
            tracing::debug!(client = ?common.client_address, %error, "PROXY header was refused");
            let why = match error {
                proxy_header::Error::Missing => Refusal::NoHeader,
                proxy_header::Error::Protocol => Refusal::HeaderProtocol,
                _ => Refusal::HeaderInvalid,
            };
            return Err(refuse(common, why));
        }
    };
    let taken = common
        .client
        .recv(buffer.get_mut(..header.length).unwrap_or_default());
    if taken != Received::Data(header.length) {
        return Err(refuse(common, Refusal::HeaderTruncated));
    }
    // What follows the header has come with it, and no event will tell.
    common.client.readable = true;
    if let Some(source) = header.source {
        common.client_address = Some(source);
        common.rare().told = Some(Told {
            local: header.destination,
        });
    }
    Ok(true)
}

/// Limits of one client's connections, once it is known who he is.
fn admit_source(common: &mut Common, context: &Context, plan: &plan::Frontend) -> Result<(), Termination> {
    let (Some(limits), Some(address)) = (plan.source_limits, common.client_address) else {
        return Ok(());
    };
    let Some(table) = context.snapshot().table(&plan.name) else {
        return Ok(());
    };
    let key = warren_balance::Key::from(address.ip());
    // A table full of connected clients: better to let in one who is not counted.
    let Some((tracked, counters)) = Tracked::begin(0, table, key, context.time()) else {
        return Ok(());
    };
    common.rare().tracked.push(tracked);
    let too_many = limits
        .connections
        .is_some_and(|most| counters.conn_cur > most.get());
    let too_fast = limits
        .rate
        .is_some_and(|most| counters.conn_rate > u64::from(most.get()));
    if too_many || too_fast {
        return Err(turn_away(common, context));
    }
    Ok(())
}

fn turn_away(common: &mut Common, context: &Context) -> Termination {
    let cells = common.frontend().tally.of(context.worker);
    cells.denied_connections.count();
    if let Some(socket) = &common.entrance.socket {
        socket.tally.of(context.worker).denied_connections.count();
    }
    common.unlogged = true;
    Termination::new(Cause::Proxy, Phase::Request)
}

/// From here on it counts as a session.
fn begin_session(common: &Common, context: &Context) {
    let frontend = common.frontend();
    frontend.session_rate.count(context.time());
    frontend.tally.of(context.worker).sessions.count();
    if let Some(socket) = &common.entrance.socket {
        socket.tally.of(context.worker).sessions.count();
    }
    frontend.last_session.store(context.now, Relaxed);
    context.live.session_rate.count(context.time());
    context.live.tally.of(context.worker).sessions.count();
}

/// Whether a rule on the way to a server looks at the name that a client's TLS asks for.
fn looks_for_name(plan: &plan::Frontend, context: &Context) -> bool {
    let rules = plan
        .tcp_rules
        .iter()
        .filter(|rule| rule.moment == Moment::Content);
    let switches = plan.switches.iter();
    let switched = switches.clone().filter_map(|switch| match &switch.backend {
        SwitchTo::Backend(backend) => Some(backend),
        SwitchTo::Named(_) => None,
    });
    let snapshot = context.snapshot();
    let mut backends = switched
        .chain(&plan.default_backend)
        .filter_map(|backend| snapshot.backend_named(backend));
    let asks = |backend: &Arc<Backend>| {
        let plan = backend.plan();
        let mut rules = plan.server_rules.iter();
        rules.any(|rule| wants_server_name(&rule.condition))
    };
    rules
        .map(|rule| &rule.condition)
        .chain(switches.map(|switch| &switch.condition))
        .any(wants_server_name)
        || backends.any(asks)
}

fn wants_server_name(condition: &Condition) -> bool {
    let mut terms = condition.any.iter().flatten();
    terms.any(|term| term.test.sample == Sample::Sni)
}

/// What a client has said so far of the name it wants.
enum Hello {
    /// Its first message is whole, or is something else: there may be a name.
    Complete(Option<String>),
    Incomplete,
}

/// The name that a client of plain TCP asks for inside its TLS handshake, which stays where it is.
fn server_name(common: &mut Common, context: &mut Context) -> Hello {
    if !common.client.is_plain() {
        return Hello::Complete(common.tls_facts().and_then(|facts| facts.sni.map(str::to_owned)));
    }
    let buffer = &mut *context.buffer;
    let count = match common.client.peek(buffer) {
        Received::Data(count) => count,
        Received::Wait => return Hello::Incomplete,
        Received::End | Received::Failed(_) => return Hello::Complete(None),
    };
    match hello::parse(buffer.get(..count).unwrap_or_default()) {
        Ok(None) => Hello::Incomplete,
        Ok(Some(hello)) => Hello::Complete(hello.server_name),
        Err(_) => Hello::Complete(None),
    }
}
