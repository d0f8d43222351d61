//! `userlist`.

use std::collections::BTreeMap;

use toml::Spanned;
use warren_kit::config::Report;

use super::keyword::{Arguments, Entry, Keyword, Places, Statement};

/// All lists, and which one is being read.
#[derive(Default)]
pub(in crate::config) struct Users {
    pub(super) lists: BTreeMap<String, BTreeMap<String, Spanned<String>>>,
    current: String,
}

impl Users {
    pub(super) fn begin(&mut self, report: &mut Report, statement: &Statement) {
        let Some(name) = statement.words.get(1) else {
            report.error(
                statement.whole(),
                "`userlist` needs a name",
                "write `userlist NAME`",
            );
            return;
        };
        if self.lists.insert(name.text.clone(), BTreeMap::new()).is_some() {
            report.error(
                name.span.clone(),
                format!("the userlist `{}` is defined twice", name.text),
                "give one of them another name",
            );
        }
        self.current.clone_from(&name.text);
    }
}

/// Its keywords.
pub(in crate::config) const USERLIST: &[Entry<Users>] = &[
    (
        "group",
        Places::ALL,
        Keyword::Refused("give the group a userlist of its own"),
    ),
    ("user", Places::ALL, Keyword::Read(user)),
];

fn user(users: &mut Users, arguments: &mut Arguments<'_, '_>) {
    let Some(name) = arguments.plain("a name") else {
        return;
    };
    let Some(form) = arguments.required("`insecure-password` and a password") else {
        return;
    };
    let Some(password) = arguments.text("a password") else {
        return;
    };
    match form.text.as_str() {
        "insecure-password" => {
            let list = users.lists.entry(users.current.clone()).or_default();
            list.insert(name, password);
        }
        "password" => arguments.report.error(
            form.span.clone(),
            "passwords as hashes are not supported",
            "write `insecure-password` and the password, in a file that only root may read",
        ),
        _ => arguments.report.error(
            form.span.clone(),
            format!("unknown word `{}` after the user's name", form.text),
            "write `user NAME insecure-password PASSWORD`",
        ),
    }
    if let Some(word) = arguments.peek().filter(|word| word.text == "groups") {
        let span = word.span.clone();
        arguments.rest_words();
        arguments.report.error(
            span,
            "groups of users are not supported",
            "give the group a userlist of its own",
        );
    }
}
