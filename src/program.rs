//! Programs the operator gives us: track scripts and notify programs. Who they run as, where they are found, and
//! whether they may run at all.
//!
//! Preparing resolves the user (through the name service: at start and reload only). Whether a program that runs as root
//! can be changed by somebody else is looked at before every run, a few `stat` calls, so that both `chmod 777` and its
//! repair take effect without a reload.
//!
//! What a program does may hang for as long as it likes. Its own file should be on a local disk: finding and starting it
//! is done on the control thread.

pub(crate) mod security;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access, getegid, geteuid};
use rustix::thread::CapabilitySet;
use tokio::sync::watch;
use tokio::time::timeout;
use warren_kit::accounts::{self, AccountError, Identity};
use warren_kit::child::{Outcome, RunError, Spec};

use crate::config::plan::{Plan, UserPlan};

/// How much of the end of a program's output is kept and shown.
pub const OUTPUT_BYTES_MAX: usize = 4096;

/// Where programs named without a slash are looked for; ours may come from anywhere.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to do about a program that runs as root and that others may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptSecurity {
    /// It is not run: every attempt fails with the reason.
    Enforce,
    /// It is run, with a warning.
    Warn,
}

/// The rules all programs run under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramPolicy {
    pub security: ScriptSecurity,
    /// For programs that name no user; `None` = ourselves.
    pub default_user: Option<UserPlan>,
}

/// The user that keepalived's scripts run as where it exists and none is named.
const CUSTOMARY_USER: &str = "keepalived_script";

impl ProgramPolicy {
    /// The rules of a plan. As with keepalived, root hands programs that name no user to `keepalived_script` where that
    /// user exists; any other user runs them itself.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        // Looks an account up: not to be done while neighbours wait for an advert.
        let exists = geteuid().is_root() && accounts::identity(CUSTOMARY_USER, None).is_ok();
        Self {
            security: if plan.script_security {
                ScriptSecurity::Enforce
            } else {
                ScriptSecurity::Warn
            },
            default_user: exists.then(|| UserPlan {
                user: CUSTOMARY_USER.to_owned(),
                group: None,
            }),
        }
    }
}

/// Why a program is not run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("it cannot run as {user}: {source}")]
    Account { user: String, source: AccountError },
    #[error(
        "it cannot run as {user}: this process is uid {uid} without {missing}; start it as root, \
         or make the script's user this one"
    )]
    User {
        user: String,
        uid: u32,
        missing: &'static str,
    },
    #[error("{0} is in none of {SEARCH_PATH}: install it, or write its full path")]
    NotFound(String),
    #[error("{path} cannot be looked at: {source}; check the path", path = .path.display())]
    Path { path: PathBuf, source: std::io::Error },
    #[error("not run as root, because {0}, or let another user run it")]
    Insecure(Weak),
    #[error("it is not run beside its killed predecessor, which has not died: look for processes in state D")]
    Undead,
    #[error(transparent)]
    Run(#[from] RunError),
}

impl ProgramError {
    /// The program or its user is not there, whoever asks.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Account { .. } | Self::NotFound(_) | Self::Path { .. })
    }
}

/// A place where others could change what root runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weak(security::Weakness);

impl fmt::Display for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A program ready to run any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    words: Vec<String>,
    identity: Option<Identity>,
    security: ScriptSecurity,
    /// Runs that were killed and have not died yet.
    dying: watch::Sender<usize>,
}

impl Program {
    /// Finds out who `words` will run as, and whether we can make it so.
    pub(crate) fn prepare(
        words: &[String],
        user: Option<&UserPlan>,
        policy: &ProgramPolicy,
    ) -> Result<Self, ProgramError> {
        let identity = match user.or(policy.default_user.as_ref()) {
            Some(user) => obtainable(user)?,
            None => None,
        };
        Ok(Self {
            words: words.to_vec(),
            identity,
            security: policy.security,
            dying: watch::Sender::new(0),
        })
    }

    /// Runs it with `extra` arguments to its end or the deadline. The warning is for [`ScriptSecurity::Warn`].
    ///
    /// A run that was killed and cannot die (a hung disk) is given until the deadline; there is never a second beside it.
    pub(crate) async fn run(
        &self,
        extra: &[&str],
        deadline: Duration,
    ) -> Result<(Outcome, Option<Weak>), ProgramError> {
        let mut dying = self.dying.subscribe();
        if timeout(deadline, dying.wait_for(|count| *count == 0))
            .await
            .is_err()
        {
            return Err(ProgramError::Undead);
        }
        let (spec, weak) = self.spec(extra, deadline)?;
        Ok((warren_kit::child::run(&spec).await?, weak))
    }

    fn spec(&self, extra: &[&str], deadline: Duration) -> Result<(Spec, Option<Weak>), ProgramError> {
        let name = self.words.first().map_or("", String::as_str);
        let path = find(name)?;
        let weak = if self.runs_as_root() {
            self.weakness(&path)?
        } else {
            None
        };
        if let (ScriptSecurity::Enforce, Some(weak)) = (self.security, &weak) {
            return Err(ProgramError::Insecure(weak.clone()));
        }
        let words = std::iter::once(OsString::from(path))
            .chain(self.words.iter().skip(1).map(OsString::from))
            .chain(extra.iter().map(OsString::from));
        let spec = Spec {
            identity: self.identity,
            deadline,
            output_bytes_max: OUTPUT_BYTES_MAX,
            dying: Some(self.dying.clone()),
            ..Spec::new(words)
        };
        Ok((spec, weak))
    }

    fn runs_as_root(&self) -> bool {
        self.identity
            .map_or_else(|| geteuid().is_root(), |identity| identity.uid == 0)
    }

    fn weakness(&self, path: &Path) -> Result<Option<Weak>, ProgramError> {
        let script = interpreted(path, &self.words).map(Path::new);
        for file in std::iter::once(path).chain(script) {
            let steps = security::walk(file).map_err(|source| ProgramError::Path {
                path: file.to_owned(),
                source,
            })?;
            if let Some(weakness) = security::weakness(&steps, security::outsiders()) {
                return Ok(Some(Weak(weakness)));
            }
        }
        Ok(None)
    }
}

/// Why `words` will not run on this host as it is now.
pub(crate) fn problem(
    words: &[String],
    user: Option<&UserPlan>,
    policy: &ProgramPolicy,
) -> Option<ProgramError> {
    let found = || {
        let path = find(words.first().map_or("", String::as_str))?;
        match std::fs::metadata(&path) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(ProgramError::Path { path, source })
            }
            // What we may not see, the program's user may.
            _ => Ok(()),
        }
    };
    Program::prepare(words, user, policy).and_then(|_| found()).err()
}

/// The identity to switch to; `None` if we are that user already.
fn obtainable(plan: &UserPlan) -> Result<Option<Identity>, ProgramError> {
    let user = || match &plan.group {
        Some(group) => format!("{}:{group}", plan.user),
        None => plan.user.clone(),
    };
    let identity = accounts::identity(&plan.user, plan.group.as_deref())
        .map_err(|source| ProgramError::Account { user: user(), source })?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if (identity.uid, identity.gid) == (uid, gid) {
        return Ok(None);
    }
    let effective = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let missing = if identity.uid != uid && !effective.contains(CapabilitySet::SETUID) {
        "CAP_SETUID"
    } else if identity.gid != gid && !effective.contains(CapabilitySet::SETGID) {
        "CAP_SETGID"
    } else {
        return Ok(Some(identity));
    };
    Err(ProgramError::User {
        user: user(),
        uid,
        missing,
    })
}

fn find(name: &str) -> Result<PathBuf, ProgramError> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    SEARCH_PATH
        .split(':')
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
        .ok_or_else(|| ProgramError::NotFound(name.to_owned()))
}

/// The script of `sh /path/script`: what is really run, and as easily changed.
fn interpreted<'a>(path: &Path, words: &'a [String]) -> Option<&'a str> {
    let name = path.file_name()?.to_str()?;
    let interpreter =
        ["sh", "bash", "dash", "ksh", "zsh", "perl", "ruby"].contains(&name) || name.starts_with("python");
    let first = words
        .iter()
        .skip(1)
        .map(String::as_str)
        .find(|word| !word.starts_with('-'))?;
    (interpreter && first.starts_with('/') && Path::new(first).is_file()).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn policy(security: ScriptSecurity) -> ProgramPolicy {
        ProgramPolicy {
            security,
            default_user: None,
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_a_problem_before_it_runs() {
        let policy = policy(ScriptSecurity::Warn);
        let of = |program: &str| problem(&words(&[program]), None, &policy).map(|error| error.to_string());
        assert_eq!(of("true"), None);
        assert_eq!(of("/bin/sh"), None);
        assert!(of("/no/such/program").unwrap().contains("/no/such/program"));
        assert!(of("no-such-program").unwrap().contains("install it"));
    }

    /// In a user namespace of one user there is nobody else to be.
    fn may_take_users() -> bool {
        geteuid().is_root() && security::outsiders().is_none()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_script_that_anybody_may_change_runs_as_root_only_with_a_warning() {
        if !may_take_users() {
            return crate::skip::skip("there is no other user to be");
        }
        let directory = tempfile::tempdir().unwrap();
        let surroundings = security::walk(directory.path()).unwrap();
        if let Some(weakness) = security::weakness(&surroundings, security::outsiders()) {
            crate::skip::skip(&weakness.to_string());
            return;
        }
        let script = directory.path().join("check");
        // Written by another process: one of ours that forks meanwhile would make the script busy.
        let write = ["-c", "echo '#!/bin/sh' > \"$0\"", script.to_str().unwrap()];
        assert!(
            std::process::Command::new("sh")
                .args(write)
                .status()
                .unwrap()
                .success()
        );
        fs::set_permissions(&script, Permissions::from_mode(0o777)).unwrap();
        for command in [
            words(&[script.to_str().unwrap()]),
            words(&["sh", script.to_str().unwrap()]),
        ] {
            let enforced = Program::prepare(&command, None, &policy(ScriptSecurity::Enforce)).unwrap();
            let error = enforced
                .run(&[], Duration::from_secs(5))
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains("writable by everyone: run `chmod go-w"), "{error}");

            let warned = Program::prepare(&command, None, &policy(ScriptSecurity::Warn)).unwrap();
            let (outcome, weak) = warned.run(&[], Duration::from_secs(5)).await.unwrap();
            assert!(outcome.success() && weak.is_some());
        }

        let nobody = UserPlan {
            user: "nobody".into(),
            group: None,
        };
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let program = Program::prepare(
            &words(&[script.to_str().unwrap()]),
            Some(&nobody),
            &policy(ScriptSecurity::Enforce),
        );
        let (outcome, weak) = program.unwrap().run(&[], Duration::from_secs(5)).await.unwrap();
        assert!(
            outcome.success() && weak.is_none(),
            "what does not run as root is the user's own business"
        );
    }

    #[tokio::test]
    async fn a_program_runs_as_its_user_with_the_arguments_added() {
        if !may_take_users() {
            return crate::skip::skip("there is no other user to be");
        }
        let user = UserPlan {
            user: "nobody".into(),
            group: None,
        };
        let program = Program::prepare(
            &words(&["sh", "-c", "id -u; id -G; echo $0 $1"]),
            Some(&user),
            &policy(ScriptSecurity::Enforce),
        );
        let (outcome, _) = program
            .unwrap()
            .run(&["one", "two"], Duration::from_secs(5))
            .await
            .unwrap();
        let nobody = accounts::identity("nobody", None).unwrap();
        assert_eq!(
            outcome.text(),
            format!("{}\n{}\none two\n", nobody.uid, nobody.gid)
        );
    }

    /// Nothing but a hung kernel cannot die of SIGKILL, so the test says that something has not.
    #[tokio::test]
    async fn nothing_runs_beside_a_killed_run_that_cannot_die() {
        let program = Program::prepare(&words(&["true"]), None, &policy(ScriptSecurity::Warn)).unwrap();
        program.dying.send_replace(1);
        for _ in 0..2 {
            let result = program.run(&[], Duration::from_millis(50)).await;
            assert!(
                matches!(result, Err(ProgramError::Undead)),
                "a failure at every deadline: {result:?}"
            );
        }
        let (result, ()) = tokio::join!(program.run(&[], Duration::from_secs(5)), async {
            tokio::task::yield_now().await;
            program.dying.send_replace(0);
        });
        assert!(result.unwrap().0.success());
    }

    #[test]
    fn an_unknown_user_is_named_when_the_program_is_prepared() {
        let user = UserPlan {
            user: "no-such-user".into(),
            group: None,
        };
        let error = Program::prepare(&words(&["true"]), Some(&user), &policy(ScriptSecurity::Enforce));
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("it cannot run as no-such-user: there is no user"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_where_it_was_looked_for() {
        let program = Program::prepare(
            &words(&["no-such-program"]),
            None,
            &policy(ScriptSecurity::Enforce),
        );
        let error = program
            .unwrap()
            .run(&[], Duration::from_secs(5))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("no-such-program is in none of /usr/local/sbin:"),
            "{error}"
        );
    }
}
