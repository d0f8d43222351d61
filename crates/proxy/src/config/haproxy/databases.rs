//! Checks of databases, as scripts: what HAProxy sends, octet by octet, and what it wants to hear.

use super::check::script;
use super::keyword::Arguments;
use super::proxy::Draft;
use crate::config::words;

/// `option mysql-check [user NAME [post-41|pre-41]]`: the server greets, and lets this user in who has no password.
pub(super) fn mysql(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let mut steps = Vec::new();
    if arguments.peek().is_some() {
        let Some(user) = user(arguments) else { return };
        let login = match arguments.optional().map(|word| (word, word.text.as_str())) {
            None | Some((_, "post-41")) => [
                // Capabilities (CLIENT_PROTOCOL_41 and the like), the longest packet, the character set, and nothing.
                &b"\x00\x82\x00\x00\x00\x80\x00\x01\x21"[..],
                &[0; 23],
                user.as_bytes(),
                &[0, 0],
            ]
            .concat(),
            Some((_, "pre-41")) => [&b"\x00\x80\x00\x00\x01"[..], user.as_bytes(), &[0, 0]].concat(),
            Some((word, other)) => {
                arguments.report.error(
                    word.span.clone(),
                    format!("unknown word `{other}` after the user"),
                    "write post-41 or pre-41, or nothing",
                );
                return;
            }
        };
        let length = u8::try_from(login.len()).unwrap_or(u8::MAX);
        // The login is packet 1, and what follows it (COM_QUIT) begins a new count.
        let sent = [&[length, 0, 0, 1][..], &login, &[1, 0, 0, 0, 1]].concat();
        steps.push(send(&sent));
        steps.push("mysql greeting".to_owned());
        steps.push("mysql login".to_owned());
    } else {
        steps.push("mysql greeting".to_owned());
    }
    script(draft, arguments, &steps);
}

/// `option pgsql-check user NAME`: the server asks this user for something, or for nothing.
pub(super) fn pgsql(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(user) = user(arguments) else { return };
    let body = [&b"\x00\x03\x00\x00user\0"[..], user.as_bytes(), &[0, 0]].concat();
    let length = u8::try_from(body.len() + 4).unwrap_or(u8::MAX);
    let sent = [&[0, 0, 0, length][..], &body].concat();
    let wanted = r"(?s-u)^R\x00\x00\x00.\x00\x00\x00[\x00\x02-\x07\x09\x0a]";
    script(
        draft,
        arguments,
        &[send(&sent), words::join(["expect", "rstring", wanted])],
    );
}

/// `option ldap-check`: an anonymous bind succeeds (RFC 4511 4.2).
pub(super) fn ldap(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let length = r"(?:[\x00-\x7f]|\x81.|\x82.{2}|\x83.{3}|\x84.{4})";
    let wanted = format!(r"(?s-u)^0{length}\x02\x01\x01a{length}\x0a\x01\x00");
    let steps = [
        "send-binary 300C020101600702010304008000".to_owned(),
        words::join(["expect", "rstring", &wanted]),
    ];
    script(draft, arguments, &steps);
}

fn user(arguments: &mut Arguments<'_, '_>) -> Option<String> {
    // Their packets have a length of one octet here.
    const LENGTH_MAX: usize = 128;
    if !arguments.optional_word("user") {
        arguments.required("`user` and a name");
        arguments.rest_words();
        return None;
    }
    let word = arguments.required("a name")?;
    if word.text.len() > LENGTH_MAX || word.text.contains('\0') {
        arguments.report.error(
            word.span.clone(),
            format!("`{}` is no name of a user", word.text),
            format!("write one of at most {LENGTH_MAX} octets"),
        );
        return None;
    }
    Some(word.text.clone())
}

fn send(octets: &[u8]) -> String {
    let digits = octets.iter().map(|octet| format!("{octet:02x}"));
    format!("send-binary {}", digits.collect::<String>())
}
