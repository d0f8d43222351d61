//! `stats ...` in proxies.

use toml::Spanned;

use super::keyword::Arguments;
use super::proxy::Draft;
use crate::config::file::StatsTable;

/// Every `stats` line but `stats admin` switches the page on.
pub(super) fn enabled(draft: &mut Draft) -> &mut StatsTable {
    draft.stats.get_or_insert_default()
}

/// `stats auth USER:PASSWORD`
pub(super) fn auth(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("user:password") else {
        return;
    };
    let Some((user, password)) = word.text.split_once(':') else {
        arguments.report.error(
            word.span.clone(),
            "a user without a password",
            "write `stats auth USER:PASSWORD`",
        );
        return;
    };
    let start = (word.span.start + user.len() + 1).min(word.span.end);
    let password = Spanned::new(start..word.span.end, password.to_owned());
    enabled(draft).users.insert(user.to_owned(), password);
}

/// `stats admin { if | unless } CONDITION`
pub(super) fn admin(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(condition) = arguments.rest() else {
        arguments.required("`if TRUE`");
        return;
    };
    let words = arguments.statement.words.iter().skip(2);
    let words: Vec<&str> = words.map(|word| word.text.as_str()).collect();
    let table = enabled(draft);
    match words.as_slice() {
        ["if", "TRUE"] | ["unless", "FALSE"] => {
            table.admin = true;
            table.admin_if.clear();
        }
        ["if", "FALSE"] | ["unless", "TRUE"] => {}
        // It is for everybody already.
        _ if table.admin && table.admin_if.is_empty() => {}
        _ => {
            table.admin = true;
            table.admin_if.push(condition);
        }
    }
}

/// `stats show-node [NAME]`
pub(super) fn show_node(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let name = arguments.optional().map(|word| word.text.clone());
    enabled(draft).node = Some(name.unwrap_or_default());
}

/// `stats show-desc [TEXT]`
pub(super) fn show_description(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let words = arguments.rest_words().iter().map(|word| word.text.as_str());
    enabled(draft).description = Some(words.collect::<Vec<_>>().join(" "));
}
