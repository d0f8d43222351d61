//! Listeners.

use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::Report;

use super::global::permissions;
use super::{address, timeouts, tls};
use crate::config::file::{Bind as File, BindTable};
use crate::plan::Bind;

const BINDS_MAX: usize = 1024;

/// One for every address of every line.
pub(super) fn binds(report: &mut Report, files: &[Spanned<File>]) -> Vec<Bind> {
    let mut binds = Vec::new();
    for file in files {
        let short;
        let table = match file.get_ref() {
            File::Short(address) => {
                short = BindTable {
                    address: address.clone(),
                    ..BindTable::default()
                };
                &short
            }
            File::Long(table) => table,
        };
        binds.extend(of_table(report, file, table));
    }
    if let Some(last) = files.last() {
        report.at_most(last.span(), "listeners of one frontend", binds.len(), BINDS_MAX);
    }
    binds
}

fn of_table(report: &mut Report, at: &Spanned<File>, table: &BindTable) -> Vec<Bind> {
    let addresses = match address::bind_addresses(&table.address) {
        Ok(addresses) => addresses,
        Err(help) => {
            report.error(
                at.span(),
                format!("\"{}\" is nothing to listen on", table.address),
                help,
            );
            return Vec::new();
        }
    };
    let mut proxy_from = Vec::new();
    for network in &table.proxy_from {
        match address::network(network.get_ref()) {
            Some(network) => proxy_from.push(network),
            None => report.error(
                network.span(),
                format!("\"{}\" is not a network", network.get_ref()),
                "write one such as \"10.0.0.0/8\"",
            ),
        }
    }
    if table.accept_proxy && !proxy_from.is_empty() {
        report.error(
            at.span(),
            "`accept_proxy` and `proxy_from` exclude each other",
            "keep `proxy_from` if some clients come without the header",
        );
    }
    let tls = table
        .tls
        .as_ref()
        .map(|file| Arc::new(tls::of_bind(report, at, file)));
    let bind = |address| Bind {
        address,
        name: table.name.clone(),
        tls: tls.clone(),
        accept_proxy: table.accept_proxy,
        proxy_from: proxy_from.clone(),
        backlog: None,
        maxconn: None,
        v6only: table.v6only,
        interface: table.interface.clone(),
        user_timeout: None,
        unix: (table.user.clone(), table.group.clone(), None),
    };
    let mut binds: Vec<Bind> = addresses.into_iter().map(bind).collect();
    let backlog = super::limit(report, "backlog", table.backlog.as_ref());
    let maxconn = super::limit(report, "maxconn", table.maxconn.as_ref());
    let user_timeout = timeouts::user(report, table.user_timeout.as_ref());
    let mode = table.mode.as_ref().and_then(|mode| permissions(report, at, mode));
    for bind in &mut binds {
        bind.backlog = backlog;
        bind.maxconn = maxconn;
        bind.user_timeout = user_timeout;
        bind.unix.2 = mode;
    }
    binds
}
