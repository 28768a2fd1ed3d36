//! Commands of the image tools, run by one shell that stays: a thousand states would mean a thousand starts otherwise.

use crate::error::ReplayError;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The shell.
#[derive(Debug)]
pub struct Tools {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    dir: PathBuf,
}

/// What a command did.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
}

impl Tools {
    /// Starts the shell: `tools` runs its arguments where the image tools are. `dir` is a directory it sees.
    ///
    /// # Errors
    /// [`ReplayError::Tools`]
    pub fn start(tools: &Path, dir: &Path) -> Result<Self, ReplayError> {
        let command = tools.display().to_string();
        let failed = |why: String| ReplayError::Tools { command: command.clone(), why };
        let mut child = Command::new(tools)
            .arg("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("no pipes".to_owned()));
        };
        Ok(Self { child, commands, answers: BufReader::new(answers), dir: dir.to_path_buf() })
    }

    /// Runs one line of shell. `{dir}` stands for the directory.
    ///
    /// # Errors
    /// [`ReplayError::Tools`] when the shell is gone; a command's own failure is in its status.
    pub fn run(&mut self, line: &str) -> Result<Output, ReplayError> {
        let failed = |why: String| ReplayError::Tools { command: line.to_owned(), why };
        let out = self.dir.join("answer");
        let text = line.replace("{dir}", &format!("'{}'", self.dir.display()));
        let asked = writeln!(
            self.commands,
            "{{ {text}; }} </dev/null >'{0}' 2>'{0}.err'; echo $?",
            out.display()
        );
        asked.map_err(|error| failed(error.to_string()))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| failed(error.to_string()))?;
        let status = answer.trim().parse().map_err(|_| failed("the shell ended".to_owned()))?;
        let stdout = fs::read(&out).map_err(|error| failed(error.to_string()))?;
        Ok(Output { status, stdout })
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        // It ends with its input anyway; nobody can act on a failure here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
