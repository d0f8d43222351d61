//! A disk that does what a test says: a library between the broker and its libc, which looks into a file whenever something is synced.

use std::path::{Path, PathBuf};
use std::process::Command;

const SHIM: &str = "
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static char wish(void) {
    FILE *file = fopen(getenv(\"DISK\"), \"r\");
    int said = file ? fgetc(file) : EOF;
    if (file) fclose(file);
    return said;
}
static int asked(long call, int file) {
    while (wish() == 'w') usleep(2000);
    if (wish() == 'l') usleep(50000);
    if (wish() == 'f') { errno = EIO; return -1; }
    return syscall(call, file);
}
int fdatasync(int file) { return asked(SYS_fdatasync, file); }
int fsync(int file) { return asked(SYS_fsync, file); }
";

/// What the disk of a broker does.
pub(super) struct Disk {
    wish: PathBuf,
    library: PathBuf,
}

impl Disk {
    /// One that works; what it needs is in this directory.
    pub(super) fn new(directory: &Path) -> Self {
        let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
        std::fs::write(&source, SHIM).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
        let compiled = compile
            .status()
            .expect("there is a compiler, which also links this test");
        assert!(compiled.success());
        let disk = Self {
            wish: directory.join("wish"),
            library,
        };
        disk.works();
        disk
    }

    /// A broker with this disk.
    pub(super) fn put_under(&self, broker: &mut Command) {
        broker.env("LD_PRELOAD", &self.library).env("DISK", &self.wish);
    }

    pub(super) fn works(&self) {
        self.does("syncs");
    }

    /// Nothing is synced until it works again.
    pub(super) fn waits(&self) {
        self.does("waits");
    }

    /// Each time something is synced takes 50 ms.
    pub(super) fn lingers(&self) {
        self.does("lingers");
    }

    /// Whoever syncs hears that it failed.
    pub(super) fn fails(&self) {
        self.does("fails");
    }

    fn does(&self, what: &str) {
        let new = self.wish.with_extension("new");
        std::fs::write(&new, what).unwrap();
        std::fs::rename(new, &self.wish).unwrap();
    }
}
