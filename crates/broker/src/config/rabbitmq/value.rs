//! Values as RabbitMQ writes them.

use std::time::Duration;

use toml::Spanned;
use warren_kit::duration::HumanDuration;

use super::Line;

/// What is wrong, and what to do.
pub(super) type Wrong = (String, String);

fn wrong(line: &Line, is: &str, help: &str) -> Wrong {
    (format!("\"{}\" is {is}", line.text()), help.to_owned())
}

/// Written out.
pub(super) fn text(line: &Line) -> Spanned<String> {
    line.spanned(line.text().to_owned())
}

/// A whole number.
pub(super) fn number(line: &Line) -> Result<Spanned<i64>, Wrong> {
    let number = line.text().parse();
    let number = number.map_err(|_| wrong(line, "no whole number", "write digits"))?;
    Ok(line.spanned(number))
}

/// A whole number of `unit`.
pub(super) fn duration(line: &Line, unit: Duration) -> Result<Spanned<HumanDuration>, Wrong> {
    let count = line.text().parse::<u32>();
    let count = count.map_err(|_| {
        wrong(
            line,
            "no time",
            "write a number of milliseconds or seconds, as the key has it",
        )
    })?;
    Ok(line.spanned(HumanDuration::new(unit * count)))
}

/// `true` or `false`.
pub(super) fn switch(line: &Line) -> Result<bool, Wrong> {
    match line.text() {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(wrong(line, "neither true nor false", "write one of those")),
    }
}

/// `5672`, `127.0.0.1:5672` or `::1:5672`, as the same with brackets.
pub(super) fn listener(line: &Line) -> Result<Spanned<String>, Wrong> {
    let text = line.text();
    let address = match text.rsplit_once(':') {
        None => text.to_owned(),
        Some((ip, port)) if ip.contains(':') && !ip.starts_with('[') => format!("[{ip}]:{port}"),
        Some(_) => text.to_owned(),
    };
    super::super::listen_address(&address, 0)
        .map(|_| line.spanned(address))
        .map_err(|help| wrong(line, "nothing to listen on", help))
}
