//! One run of the agent's process, with an environment of our choosing.

use crate::Fault;
use crate::options::Options;
use margo_agent::local_api::{Client, Event, Request, Response, SOCKET_NAME};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// What becomes of the agent's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// As on a device, but thrown away, so that what it writes is not counted as the agent's.
    Dropped,
    /// As on a device, appended to `agent.log` in the root directory.
    Kept,
    /// Everything, appended to `agent.log`.
    Detailed,
}

/// A running agent; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    root: PathBuf,
}

impl Process {
    /// Starts the agent on a root directory.
    ///
    /// # Errors
    /// The program is missing: `cargo build --release -p margo-agent` makes it.
    pub(crate) fn start(options: &Options, root: &Path, log: Log) -> Result<Self, Fault> {
        Self::start_notifying(options, root, log, OsStr::new(""))
    }

    /// The same, telling a socket when it is ready.
    ///
    /// # Errors
    /// As for [`Process::start`].
    pub(crate) fn start_notifying(
        options: &Options,
        root: &Path,
        log: Log,
        notify: &OsStr,
    ) -> Result<Self, Fault> {
        let program = options.bin_dir.join("margo-agent");
        let level = if log == Log::Detailed { "debug" } else { "info" };
        let stderr = match log {
            Log::Dropped => Stdio::null(),
            Log::Kept | Log::Detailed => {
                File::options().create(true).append(true).open(root.join("agent.log"))?.into()
            }
        };
        let mut command = Command::new(&program);
        command.arg("--root").arg(root).env("MARGO_LOG", level).env_remove("NOTIFY_SOCKET");
        if !notify.is_empty() {
            command.env("NOTIFY_SOCKET", notify);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { child, root: root.to_owned() })
    }

    /// The process id.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn pid(&self) -> Result<u32, Fault> {
        self.child.id().ok_or_else(|| "the agent has ended".into())
    }

    /// A connection to the control socket.
    ///
    /// # Errors
    /// The agent does not listen (yet).
    pub(crate) fn client(&self) -> Result<Client, Fault> {
        Ok(Client::connect(&self.root.join("run").join(SOCKET_NAME))?)
    }

    /// Makes the agent ask the fleet manager now.
    ///
    /// # Errors
    /// The agent does not answer.
    pub(crate) fn sync(&self) -> Result<(), Fault> {
        self.client()?.call(Request::SyncNow)?;
        Ok(())
    }

    /// What the agent remembers having done.
    ///
    /// # Errors
    /// The agent does not answer.
    pub(crate) fn events(&self) -> Result<Vec<Event>, Fault> {
        let mut events = Vec::new();
        self.client()?.stream(Request::Events { since: None, follow: false }, false, |line| {
            if let Response::Event(event) = line {
                events.push(event);
            }
            true
        })?;
        Ok(events)
    }

    /// Pulls the plug.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub(crate) async fn kill(mut self) -> Result<(), Fault> {
        Ok(self.child.kill().await?)
    }
}
