//! What each command does.

use super::args::{Args, Command};
use super::check_app::{self, AppChecker};
use super::error::{CtlError, Exit};
use super::terminal::{Style, Terminal};
use super::{codes, manual, show_deployment, show_lines, show_status};
use crate::compose::model::HostPolicy;
use crate::config::Sources;
use crate::local_api::{Client, LogsRequest, Request, Response, SOCKET_NAME};
use crate::logging::ErrorChain;
use clap::Parser as _;
use serde::Serialize;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

const SOCKET_VARIABLE: &str = "MARGO_SOCKET";
const RUNTIME_DIR_DEFAULT: &str = "/run/margo-agent";

/// Runs `margoctl` with these arguments (the first is the program's name).
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    terminal: &mut Terminal,
    checker: Option<AppChecker>,
) -> Exit {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return usage(&error, terminal),
    };
    let mut ctl = Ctl { json: args.json, socket: args.socket, terminal, checker };
    match ctl.command(args.command) {
        Ok(exit) => exit,
        // The reader has seen enough, as in `margoctl logs | head`.
        Err(CtlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            tell(ctl.terminal, &error);
            error.exit()
        }
    }
}

/// Help goes to the output and is no error; mistakes go to the error output.
fn usage(error: &clap::Error, terminal: &mut Terminal) -> Exit {
    let text = error.render().to_string();
    // Nothing is left to tell when this cannot be written.
    if error.use_stderr() {
        let _ = terminal.err.write_all(text.as_bytes());
        Exit::Usage
    } else {
        let _ = terminal.text(&text);
        Exit::Done
    }
}

fn tell(terminal: &mut Terminal, error: &CtlError) {
    // Nothing is left to tell when this cannot be written.
    let _ = writeln!(terminal.err, "margoctl: {}", ErrorChain(error));
    if let Some(hint) = error.hint() {
        let _ = writeln!(terminal.err, "margoctl: {hint}");
    }
}

pub(super) struct Ctl<'a> {
    pub(super) json: bool,
    socket: Option<PathBuf>,
    pub(super) terminal: &'a mut Terminal,
    checker: Option<AppChecker>,
}

impl Ctl<'_> {
    fn command(&mut self, command: Command) -> Result<Exit, CtlError> {
        match command {
            Command::Status => match self.ask(Request::Status)? {
                Response::Status(status) => {
                    self.print(&status, |style| show_status::status(style, &status))
                }
                _ => Err(CtlError::Unexpected),
            },
            Command::Deployments => match self.ask(Request::Deployments)? {
                Response::Deployments(deployments) => {
                    self.print(&deployments, |style| show_deployment::list(style, &deployments))
                }
                _ => Err(CtlError::Unexpected),
            },
            Command::Deployment { deployment } => {
                match self.ask(Request::Deployment { deployment })? {
                    Response::Deployment(deployment) => self
                        .print(&deployment, |style| show_deployment::details(style, &deployment)),
                    _ => Err(CtlError::Unexpected),
                }
            }
            Command::Events { follow, since } => {
                self.follow(Request::Events { since, follow }, follow)
            }
            Command::Logs { deployment, component, service, follow, tail } => {
                let request = LogsRequest { deployment, component, service, follow, tail };
                self.follow(Request::Logs(request), follow)
            }
            Command::Sync => self.order(Request::SyncNow),
            Command::Retry { deployment } => self.order(Request::Retry { deployment }),
            Command::Firmware(command) => self.firmware(command),
            Command::CheckApp { path, parameters, policy_from_config } => {
                self.check_app(&path, parameters, policy_from_config)
            }
            Command::Provision(args) => self.provision(args),
            Command::Explain { code } => self.explain(code.as_deref()),
            Command::Completion { shell } => self.bytes(&manual::completion(shell)),
            Command::Man { command } => {
                let page = manual::page(command.as_deref())?;
                self.bytes(&page)
            }
        }
    }

    /// The socket from the command line, the environment, or the configuration. A wrong configuration does not
    /// keep a person from looking at the agent that runs.
    fn socket(&self) -> PathBuf {
        let named =
            self.socket.clone().or_else(|| std::env::var_os(SOCKET_VARIABLE).map(PathBuf::from));
        named.unwrap_or_else(|| {
            let settings = Sources::system().load();
            let dir = settings.map_or_else(|_| RUNTIME_DIR_DEFAULT.into(), |s| s.paths.runtime_dir);
            dir.join(SOCKET_NAME)
        })
    }

    pub(super) fn ask(&self, request: Request) -> Result<Response, CtlError> {
        Ok(Client::connect(&self.socket())?.call(request)?)
    }

    pub(super) fn print<T: Serialize>(
        &mut self,
        value: &T,
        show: impl FnOnce(Style) -> String,
    ) -> Result<Exit, CtlError> {
        let printed = if self.json {
            self.terminal.json(value)
        } else {
            let text = show(self.terminal.style);
            self.terminal.text(&text)
        };
        printed.map(|()| Exit::Done).map_err(CtlError::Output)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<Exit, CtlError> {
        self.terminal.out.write_all(bytes).map_err(CtlError::Output)?;
        Ok(Exit::Done)
    }

    pub(super) fn order(&mut self, request: Request) -> Result<Exit, CtlError> {
        match self.ask(request)? {
            Response::Accepted(accepted) => self
                .print(&accepted, |_| format!("{}\n", super::terminal::clean(&accepted.message))),
            _ => Err(CtlError::Unexpected),
        }
    }

    /// Prints a stream until its end, or until the reader has seen enough.
    fn follow(&mut self, request: Request, is_endless: bool) -> Result<Exit, CtlError> {
        let mut client = Client::connect(&self.socket())?;
        let mut outcome = Ok(Exit::Done);
        client.stream(request, is_endless, |response| match self.item(&response) {
            Ok(()) => true,
            Err(error) => {
                outcome = Err(error);
                false
            }
        })?;
        outcome
    }

    fn item(&mut self, response: &Response) -> Result<(), CtlError> {
        let style = self.terminal.style;
        let printed = match response {
            Response::Event(event) if self.json => self.terminal.json_line(event),
            Response::Event(event) => self.terminal.text(&show_lines::event(style, event)),
            Response::Log(line) if self.json => self.terminal.json_line(line),
            Response::Log(line) => self.terminal.text(&show_lines::log(style, line)),
            Response::EventsLost(count) => {
                writeln!(
                    self.terminal.err,
                    "margoctl: {count} events came too fast and are missing"
                )
            }
            Response::Status(_)
            | Response::Deployments(_)
            | Response::Deployment(_)
            | Response::Firmware(_)
            | Response::Accepted(_)
            | Response::Error(_)
            | Response::End => return Err(CtlError::Unexpected),
        };
        printed.map_err(CtlError::Output)
    }

    fn check_app(
        &mut self,
        path: &Path,
        parameters: Vec<(String, String)>,
        policy_from_config: bool,
    ) -> Result<Exit, CtlError> {
        let checker = self.checker.ok_or(CtlError::NoChecker)?;
        std::fs::metadata(path)
            .map_err(|source| CtlError::ReadApp { path: path.display().to_string(), source })?;
        let policy = if policy_from_config {
            Sources::system().load().map_err(CtlError::Config)?.engine.host_policy
        } else {
            HostPolicy::default()
        };
        let report = checker(path, &parameters.into_iter().collect(), &policy);
        self.print(&report, |style| check_app::show(style, &report))?;
        Ok(if report.is_accepted() { Exit::Done } else { Exit::Refused })
    }

    fn explain(&mut self, name: Option<&str>) -> Result<Exit, CtlError> {
        let explained = match name {
            Some(name) => vec![codes::find(name)?],
            None => codes::all(),
        };
        self.print(&explained, |_| {
            explained.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        })
    }
}
