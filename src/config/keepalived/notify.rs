//! `notify_*`: programs, pipes and the users they run as.

use toml::Spanned;

use super::keyword::Arguments;
use crate::config::{Command, Notify};

/// `SCRIPT [USER [GROUP]]`. All programs of one instance run as one user here.
pub(super) fn program(notify: &mut Notify, arguments: &mut Arguments<'_, '_>) -> Option<Spanned<Command>> {
    let word = arguments.required("a program")?;
    if let Some(user) = user(arguments) {
        match &notify.user {
            Some(known) if known.get_ref() != user.get_ref() => {
                let other = known.get_ref().clone();
                arguments.report.conflict(
                    user.span(),
                    "the programs of one instance run as one user",
                    known.span(),
                    format!("`{other}` here"),
                    "give them all the same user, or let one of them change it with e.g. runuser",
                );
            }
            _ => notify.user = Some(user),
        }
    }
    Some(Spanned::new(word.span.clone(), Command::Line(word.text.clone())))
}

/// `[USER [GROUP]]`, as far as it is there.
pub(super) fn user(arguments: &mut Arguments<'_, '_>) -> Option<Spanned<String>> {
    let user = arguments.optional()?;
    let group = arguments.optional();
    let text = match group {
        Some(group) => format!("{}:{}", user.text, group.text),
        None => user.text.clone(),
    };
    let end = group.map_or(user.span.end, |group| group.span.end);
    Some(Spanned::new(user.span.start..end, text))
}

pub(super) fn fifo(notify: &mut Notify, arguments: &mut Arguments<'_, '_>) {
    let Some(path) = arguments.text("the path of a pipe") else {
        return;
    };
    notify.fifo = Some(Spanned::new(path.span(), path.into_inner().into()));
    if let Some(owner) = user(arguments) {
        arguments.report.warn(
            owner.span(),
            "the owner of the pipe is not set",
            "the daemon's own user owns it: let a group read it, or remove the owner",
        );
    }
}

/// keepalived forgets about programs without a user of their own when others have one: here they share it.
pub(super) fn given(notify: Notify) -> Option<Notify> {
    (notify != Notify::default()).then_some(notify)
}
