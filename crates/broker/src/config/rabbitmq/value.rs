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

/// A part of the memory: `0.4`.
pub(super) fn part(line: &Line) -> Result<Spanned<f64>, Wrong> {
    match line.text().parse::<f64>() {
        Ok(part) if (0.0..=99.0).contains(&part) => Ok(line.spanned(part)),
        _ => Err(wrong(line, "no part of the memory", "write one such as 0.4")),
    }
}

/// `1000`, `500MB`, `2GiB`, and what else RabbitMQ understands. Fewer than 1000 are what a thousand are.
pub(super) fn octets(line: &Line) -> Result<Spanned<f64>, Wrong> {
    const UNITS: [(&str, f64); 13] = [
        ("", 1.0),
        ("k", 1024.0),
        ("kiB", 1024.0),
        ("kB", 1e3),
        ("KB", 1e3),
        ("M", 1_048_576.0),
        ("MiB", 1_048_576.0),
        ("MB", 1e6),
        ("G", 1_073_741_824.0),
        ("GiB", 1_073_741_824.0),
        ("GB", 1e9),
        ("TiB", 1_099_511_627_776.0),
        ("TB", 1e12),
    ];
    let text = line.text();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    // Exact up to 9 PB.
    let number = digits
        .trim()
        .parse::<f64>()
        .ok()
        .filter(|_| digits.trim().bytes().all(|it| it.is_ascii_digit()));
    match (number, unit) {
        (Some(number), Some((_, octets))) => Ok(line.spanned((number * octets).max(1000.0))),
        _ => Err(wrong(
            line,
            "no number of octets",
            "write one such as 500MB or 2GiB",
        )),
    }
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
