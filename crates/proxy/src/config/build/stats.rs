//! The statistics page.

use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::Report;

use super::{Given, Surroundings};
use crate::config::file::{StatsTable, StatsUse};
use crate::plan::{Mode, StatsPage};

pub(super) fn page(
    report: &mut Report,
    given: &Given<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<Arc<StatsPage>> {
    let file = given.section.stats.as_ref()?;
    let table = match file.get_ref() {
        StatsUse::Switch(false) => return None,
        StatsUse::Switch(true) => &StatsTable::default(),
        StatsUse::Table(table) => table,
    };
    if given.mode != Mode::Http {
        report.error(
            file.span(),
            "the statistics page needs HTTP",
            "write mode = \"http\" in this section",
        );
        return None;
    }
    let own = |name: &Option<String>, default: &Option<String>| match name.as_deref() {
        Some("") => Some(default.clone().unwrap_or_default()),
        given => given.map(str::to_owned),
    };
    let uri = table.uri.clone().unwrap_or_else(|| "/haproxy?stats".to_owned());
    if !uri.starts_with('/') {
        report.error(
            file.span(),
            format!("\"{uri}\" is not a path"),
            "write one that begins with /, such as /stats",
        );
    }
    Some(Arc::new(StatsPage {
        uri,
        realm: table
            .realm
            .clone()
            .unwrap_or_else(|| "HAProxy Statistics".to_owned()),
        users: table
            .users
            .iter()
            .map(|(user, password)| (user.clone(), password.get_ref().clone()))
            .collect(),
        admin: table.admin,
        refresh: table
            .refresh
            .as_ref()
            .map(|refresh| refresh.get_ref().get())
            .filter(|refresh| !refresh.is_zero()),
        hide_version: table.hide_version,
        show_node: own(&table.node, &surroundings.file.node),
        show_description: own(&table.description, &surroundings.file.description),
        show_legends: table.legends,
        scope: table.scope.iter().map(|name| scope(name, given)).collect(),
    }))
}

fn scope(name: &Spanned<String>, given: &Given<'_>) -> String {
    match name.get_ref().as_str() {
        "." => given.name.get_ref().clone(),
        name => name.to_owned(),
    }
}
