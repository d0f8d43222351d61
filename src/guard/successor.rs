//! Replacing the running binary: the guard becomes the new one by exec, keeping its process id and what it holds.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{close, execve};

use super::WorkerCommand;
use super::custody::Custody;

/// Environment variable that names the descriptor with the custody of the process before.
pub(super) const VARIABLE: &str = "WARREN_GUARD_CUSTODY";

/// Executes the installed binary in this process. Returns only if that fails.
pub(super) fn replace(command: &WorkerCommand, custody: &Custody) -> io::Error {
    match try_replace(command, custody) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_replace(command: &WorkerCommand, custody: &Custody) -> io::Result<std::convert::Infallible> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let program = text(command.program.as_os_str().as_bytes())?;
    let mut arguments = vec![text(command.name.as_bytes())?];
    for argument in &command.arguments {
        arguments.push(text(argument.as_bytes())?);
    }

    let mut file = File::from(memfd_create("warren-custody", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&postcard::to_stdvec(custody).map_err(io::Error::other)?)?;
    let mut environment = vec![text(format!("{VARIABLE}={}", file.as_raw_fd()).as_bytes())?];
    for (name, value) in std::env::vars_os().filter(|(name, _)| name != VARIABLE) {
        environment.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat())?);
    }
    // Only now may it survive an exec; no other child is started in between.
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(execve(&program, &arguments, &environment)?)
}

/// What the process before held, if this one took its place.
pub(super) fn inherited_custody() -> io::Result<Option<Custody>> {
    let Some(descriptor) = std::env::var(VARIABLE)
        .ok()
        .and_then(|value| value.parse::<RawFd>().ok())
    else {
        return Ok(None);
    };
    // A descriptor number is not ours to own until it is reopened by name.
    let mut bytes = Vec::new();
    File::open(format!("/proc/self/fd/{descriptor}"))?.read_to_end(&mut bytes)?;
    close(descriptor)?;
    postcard::from_bytes(&bytes).map(Some).map_err(io::Error::other)
}
