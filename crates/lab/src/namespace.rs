//! Handles on namespaces, and threads that work inside them.
//!
//! Namespaces belong to threads, so every visit is a thread of its own: it enters, does one thing and ends. A thread
//! that entered a process namespace cannot start threads (the kernel refuses), only processes; hence two kinds of visit.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, kept alive by this handle.
#[derive(Debug)]
pub(crate) struct NetNamespace(File);

impl NetNamespace {
    /// A new, empty namespace without any process in it.
    pub(crate) fn create() -> Self {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("a network namespace (are you root, or in `unshare -Ur`?)");
            Self::current()
        })
    }

    fn current() -> Self {
        Self(open("/proc/thread-self/ns/net"))
    }

    pub(crate) fn try_clone(&self) -> Self {
        Self(self.0.try_clone().expect("a duplicate of the namespace handle"))
    }

    /// Moves the calling thread in, for good.
    pub(crate) fn enter_for_good(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the network namespace can be entered");
    }

    /// Runs `visit` on a thread inside the namespace; sockets it returns stay inside.
    pub(crate) fn enter<T: Send>(&self, visit: impl FnOnce() -> T + Send) -> T {
        on_thread(|| {
            self.enter_for_good();
            visit()
        })
    }
}

/// The namespaces of a host: network, mounts and processes.
#[derive(Debug)]
pub(crate) struct HostNamespaces {
    pub(crate) net: NetNamespace,
    mounts: File,
    processes: File,
}

impl HostNamespaces {
    /// Makes the namespaces with `init` as their first process.
    pub(crate) fn create(init: &mut Command) -> (Self, Child) {
        // The init mounts a /proc of its own over the one this thread sees, so handles are opened before it starts, and
        // the one that exists only afterwards is opened from outside.
        let (net, mounts, child) = on_thread(|| {
            unshare(
                CloneFlags::CLONE_FS
                    | CloneFlags::CLONE_NEWNS
                    | CloneFlags::CLONE_NEWNET
                    | CloneFlags::CLONE_NEWPID,
            )
            .expect("namespaces for a host (are you root, or in `unshare -Ur`?)");
            let (net, mounts) = (NetNamespace::current(), open("/proc/thread-self/ns/mnt"));
            (
                net,
                mounts,
                init.spawn().expect("the first process of a host starts"),
            )
        });
        let processes = open(format!("/proc/{}/ns/pid", child.id()));
        (
            Self {
                net,
                mounts,
                processes,
            },
            child,
        )
    }

    /// Starts a process inside; its id is the one the lab sees.
    pub(crate) fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_FS).expect("a thread can have its own root directory");
            setns(&self.mounts, CloneFlags::CLONE_NEWNS).expect("the mount namespace can be entered");
            self.net.enter_for_good();
            setns(&self.processes, CloneFlags::CLONE_NEWPID).expect("the process namespace can be entered");
            command.spawn()
        })
    }
}

fn on_thread<T: Send>(visit: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(visit).join() {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn open(path: impl AsRef<Path>) -> File {
    let path = path.as_ref();
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
