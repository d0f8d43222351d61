//! How a program ends: its exit code, and the chain of causes it prints.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::config::{ConfigError, Invalid};
use crate::logging::LoggingError;

/// Exit codes, from BSD's sysexits where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Success = 0,
    Runtime = 1,
    Usage = 64,
    Permission = 77,
    Config = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The error of a whole program. Any error becomes one by `?`; it implements no `Error` itself, as nothing is above it.
pub struct Report {
    code: Code,
    error: Box<dyn Error + Send + Sync>,
}

impl Report {
    pub fn new(code: Code, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    /// A mistake in the command line.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Usage, error)
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// Says `program: error: ...` on standard error and gives the code to exit with.
    pub fn print(&self, program: &str, colour: bool) -> ExitCode {
        // With a closed standard error there is nobody left to tell.
        match self.error.downcast_ref::<Invalid>() {
            // Diagnostics come with their own "error:" and place.
            Some(invalid) => drop(write_stderr(&invalid.render(colour))),
            None => drop(write_stderr(&format!("{program}: error: {self}\n"))),
        }
        self.code.into()
    }
}

fn write_stderr(text: &str) -> io::Result<()> {
    io::Write::write_all(&mut io::stderr(), text.as_bytes())
}

impl<E: Error + Send + Sync + 'static> From<E> for Report {
    fn from(error: E) -> Self {
        let code = code_of(&error);
        let mut error: Box<dyn Error + Send + Sync> = Box::new(error);
        // Unwrapped so that it prints with colour, too.
        if let Some(ConfigError::Invalid(_)) = error.downcast_ref::<ConfigError>() {
            error = match error.downcast::<ConfigError>() {
                Ok(config) => match *config {
                    ConfigError::Invalid(invalid) => Box::new(invalid),
                    other => Box::new(other),
                },
                Err(error) => error,
            };
        }
        Self { code, error }
    }
}

fn code_of(error: &(dyn Error + 'static)) -> Code {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let code = causes.find_map(|cause| {
        if cause.is::<ConfigError>() || cause.is::<Invalid>() {
            return Some(Code::Config);
        }
        if let Some(LoggingError::Filter { .. }) = cause.downcast_ref::<LoggingError>() {
            return Some(Code::Usage);
        }
        let io = cause.downcast_ref::<io::Error>()?;
        (io.kind() == io::ErrorKind::PermissionDenied).then_some(Code::Permission)
    });
    code.unwrap_or(Code::Runtime)
}

impl fmt::Display for Report {
    /// `error: cause: cause`, without the causes that an error's own text already says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.error.to_string();
        f.write_str(&said)?;
        let mut source = self.error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};
    use crate::diagnostics::{Diagnostic, SourceFile};

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("the link eth0 is unusable")]
        Silent { source: Inner },
        #[error("the link eth0 is unusable: {source}")]
        Talkative { source: Inner },
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no socket")]
    struct Inner(#[source] io::Error);

    fn inner(kind: io::ErrorKind) -> Inner {
        Inner(io::Error::new(kind, "the kernel said so"))
    }

    #[test]
    fn the_chain_of_causes_is_printed_and_none_twice() {
        let silent = Report::from(Outer::Silent {
            source: inner(io::ErrorKind::Other),
        });
        let talkative = Report::from(Outer::Talkative {
            source: inner(io::ErrorKind::Other),
        });
        let expected = "the link eth0 is unusable: no socket: the kernel said so";
        assert_eq!(silent.to_string(), expected);
        assert_eq!(talkative.to_string(), expected);
        assert_eq!(silent.code(), Code::Runtime);
    }

    #[test]
    fn the_code_follows_from_the_cause() {
        let denied = Outer::Silent {
            source: inner(io::ErrorKind::PermissionDenied),
        };
        assert_eq!(Report::from(denied).code(), Code::Permission);
        let unreadable = config::read("/nonexistent".as_ref()).unwrap_err();
        assert_eq!(Report::from(unreadable).code(), Code::Config);
        let file = SourceFile::new("f", "x");
        let invalid = Invalid::new(Sources::single(file), vec![Diagnostic::error(0..1, "wrong")]);
        let report = Report::from(ConfigError::from(invalid));
        assert_eq!(report.code(), Code::Config);
        assert!(report.error.is::<Invalid>());
        let filter = "loud".parse::<crate::logging::Filter>().unwrap_err();
        assert_eq!(Report::from(filter).code(), Code::Usage);
        assert_eq!(Report::usage("--frob is no option").code(), Code::Usage);
    }
}
