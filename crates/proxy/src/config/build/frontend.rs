//! Where clients come in.

use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::{
    Given, Surroundings, actions, address, answer, bind, limit, log, positive, rules, stats, timeouts,
};
use crate::config::file::{ForwardForTable, ForwardForUse};
use crate::logs::Format;
use crate::plan::{BackendName, Capture, ForwardFor, Frontend, Mode, SourceLimits, Template};

pub(super) fn frontend(report: &mut Report, given: &Given<'_>, surroundings: &Surroundings<'_>) -> Frontend {
    let section = given.section;
    let scope = rules::Scope::new(report, given, surroundings);
    Frontend {
        name: given.name.get_ref().clone(),
        id: given.id,
        mode: given.mode,
        disabled: section.disabled,
        binds: bind::binds(report, &section.bind),
        maxconn: positive(report, "maxconn", section.maxconn.as_ref()).unwrap_or(surroundings.maxconn),
        rate_limit: limit(report, "rate_limit", section.rate_limit.as_ref()),
        source_limits: section.per_source.as_ref().map(|limits| SourceLimits {
            connections: positive(report, "connections", limits.get_ref().connections.as_ref()),
            rate: positive(report, "rate", limits.get_ref().rate.as_ref()),
        }),
        switches: scope.switches(report),
        default_backend: default_backend(report, given, surroundings),
        tcp_rules: scope.tcp_rules(report),
        request_rules: scope.request_rules(report),
        response_rules: scope.response_rules(report),
        after_rules: scope.after_rules(report),
        forwardfor: header_with_address(report, section.forwardfor.as_ref(), "X-Forwarded-For"),
        originalto: header_with_address(report, section.originalto.as_ref(), "X-Original-To"),
        stats_admin: scope.stats_admin(report),
        stats: stats::page(report, given, surroundings),
        request_captures: captures(report, &section.request_captures),
        response_captures: captures(report, &section.response_captures),
        cookie_capture: section.cookie_capture.as_ref().map(|capture| {
            let length = actions::capture_length(report, capture.get_ref().length.as_ref());
            (capture.get_ref().name.clone(), length)
        }),
        unique_id: section
            .unique_id_format
            .as_ref()
            .and_then(|format| unique_id(report, format)),
        unique_id_header: section.unique_id_header.clone().map(Spanned::into_inner),
        tarpit: section
            .timeouts
            .tarpit
            .as_ref()
            .map(|wait| wait.get_ref().get())
            .filter(|wait| !wait.is_zero()),
        monitor_fail: scope.monitor_fail(report),
        monitor_uri: section.monitor_uri.clone().map(Spanned::into_inner),
        http_close: section.http_close,
        error_pages: answer::error_pages(report, section),
        timeouts: timeouts::of_frontend(report, given, surroundings),
        keepalive: timeouts::keepalive(report, section.client_keepalive.as_ref()),
        log: log::logging(report, given, surroundings),
        inspect_delay: section
            .inspect_delay
            .as_ref()
            .map(|delay| delay.get_ref().get())
            .filter(|delay| !delay.is_zero()),
        description: section.description.clone(),
        socket_stats: section.socket_stats,
    }
}

/// The most headers that are captured of one side.
const CAPTURES_MAX: usize = 64;

fn captures(report: &mut Report, files: &[Spanned<crate::config::file::Capture>]) -> Vec<Capture> {
    if let Some(last) = files.last() {
        report.at_most(last.span(), "captures of one side", files.len(), CAPTURES_MAX);
    }
    let mut capture = |file: &Spanned<crate::config::file::Capture>| Capture {
        header: file.get_ref().header.clone(),
        length: actions::capture_length(report, file.get_ref().length.as_ref()),
    };
    files.iter().map(&mut capture).collect()
}

fn unique_id(report: &mut Report, format: &Spanned<String>) -> Option<Template> {
    match Format::compile_template(format.get_ref()) {
        Ok(compiled) => Some(Arc::new(compiled)),
        Err(error) => {
            let help = "write such as %{+X}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid";
            report.error(format.span(), error.to_string(), help);
            None
        }
    }
}

fn default_backend(
    report: &mut Report,
    given: &Given<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<BackendName> {
    let Some(name) = &given.section.default_backend else {
        // The other half of a `listen`, if there is anything to it.
        let (own, _) = surroundings.backend(given.name.get_ref())?;
        return (given.back && !given.section.servers.0.is_empty()).then_some(own);
    };
    backend_called(report, name, given, surroundings)
}

/// A backend by its name, which has to fit.
pub(super) fn backend_called(
    report: &mut Report,
    name: &Spanned<String>,
    given: &Given<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<BackendName> {
    let Some((backend, mode)) = surroundings.backend(name.get_ref()) else {
        report.error(
            name.span(),
            format!("there is no backend called `{}`", name.get_ref()),
            suggestion(name.get_ref(), surroundings.backend_names()),
        );
        return None;
    };
    if mode != given.mode && (mode == Mode::Http || given.mode == Mode::Http) {
        report.error(
            name.span(),
            format!(
                "`{}` speaks {} and the backend `{}` {}",
                given.name.get_ref(),
                mode_name(given.mode),
                name.get_ref(),
                mode_name(mode)
            ),
            "give both the same mode",
        );
    }
    Some(backend)
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcp => "tcp",
        Mode::Http => "http",
        Mode::Amqp => "amqp",
    }
}

/// `option forwardfor`, `option originalto`
pub(super) fn header_with_address(
    report: &mut Report,
    file: Option<&Spanned<ForwardForUse>>,
    usual: &str,
) -> Option<ForwardFor> {
    let table = match file?.get_ref() {
        ForwardForUse::Switch(false) => return None,
        ForwardForUse::Switch(true) => &ForwardForTable::default(),
        ForwardForUse::Table(table) => table,
    };
    let except = table.except.as_ref().and_then(|network| {
        let parsed = address::network(network.get_ref());
        if parsed.is_none() {
            report.error(
                network.span(),
                format!("\"{}\" is not a network", network.get_ref()),
                "write one such as 127.0.0.0/8",
            );
        }
        parsed
    });
    Some(ForwardFor {
        header: table.header.clone().unwrap_or_else(|| usual.to_owned()),
        except,
        if_none: table.if_none,
    })
}
