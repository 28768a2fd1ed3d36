//! `margoctl` as a person or a script uses it.

use crate::world::World;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// What a run of `margoctl` came to.
#[derive(Clone, Debug)]
pub struct Told {
    /// Exit code; -1 when a signal ended it.
    pub exit: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Told {
    /// The output as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The output's lines, each as JSON.
    ///
    /// # Panics
    /// When one is none.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let line =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.out.lines().map(line).collect()
    }
}

impl World {
    fn ctl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program("margoctl"));
        command.arg("--socket").arg(self.agent.socket()).args(args);
        command.env("MARGO_ROOT", self.root()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs `margoctl` to its end.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn ctl(&self, args: &[&str]) -> Told {
        let output = self.ctl_command(args).output().await.expect("run margoctl");
        Told {
            exit: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a `margoctl` that goes on until it is killed; its output is piped.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn ctl_follow(&self, args: &[&str]) -> Child {
        let mut command = self.ctl_command(args);
        command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("run margoctl")
    }
}
