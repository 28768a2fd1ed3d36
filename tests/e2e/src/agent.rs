//! The real agent as a process: started, asked, killed.

use margo_agent::local_api::{Client, DeploymentStatus, Event, Request, Response, Status};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// A place in the agent's output; what comes later is looked at with [`Agent::log_since`].
#[derive(Clone, Copy, Debug)]
pub struct LogMark(usize);

/// What the tests want to vary of the agent's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Seconds between polls.
    pub poll_interval_secs: u64,
    /// Further TOML, appended as a fragment of its own.
    pub extra: String,
    /// The engine's socket.
    pub engine_socket: String,
    /// Where the durable state goes; below the root when absent.
    pub state_dir: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let socket = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = socket.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned();
        Self { poll_interval_secs: 1, extra: String::new(), engine_socket: socket, state_dir: None }
    }
}

/// An agent with its own root directory; running or not.
#[derive(Debug)]
pub struct Agent {
    root: PathBuf,
    settings: Settings,
    child: Option<Child>,
}

impl Agent {
    /// Writes the configuration below `root`. Nothing is started.
    ///
    /// # Panics
    /// When the directory cannot be written.
    pub fn new(root: &Path, wfm_url: &str, registry: &str, settings: Settings) -> Self {
        let agent = Self { root: root.to_owned(), settings, child: None };
        std::fs::create_dir_all(agent.config_dir()).expect("configuration directory");
        std::fs::create_dir_all(agent.identity_dir()).expect("identity directory");
        agent.write_fragment("50-test.toml", &agent.config(wfm_url, registry));
        agent.write_fragment("60-extra.toml", &agent.settings.extra);
        agent
    }

    /// Where its configuration's fragments are.
    pub fn config_dir(&self) -> PathBuf {
        self.root.join("etc/margo-agent/config.d")
    }

    /// Writes or replaces a fragment of the configuration.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_fragment(&self, name: &str, text: &str) {
        std::fs::write(self.config_dir().join(name), text).expect("write a fragment");
    }

    fn config(&self, wfm_url: &str, registry: &str) -> String {
        format!(
            "[device]\nid = \"lab-device\"\nvendor = \"Lab\"\nmodel_number = \"L1\"\n\
             serial_number = \"1\"\notel_collector = true\n\
             otel_http_endpoint = \"http://127.0.0.1:4318\"\n\
             [wfm]\nurl = \"{wfm_url}\"\nidentity_dir = \"{identity}\"\n\
             poll_interval_secs = {poll}\nconnect_timeout_secs = 5\nrequest_timeout_secs = 20\n\
             [retry]\ninitial_ms = 200\nmax_ms = 2000\n\
             [engine]\nsocket = \"{socket}\"\n\
             [paths]\nstate_dir = \"{state}\"\nruntime_dir = \"{run}\"\npreload_dir = \"{preload}\"\n\
             [[registry]]\nhost = \"{registry}\"\ninsecure = true\n",
            identity = self.identity_dir().display(),
            poll = self.settings.poll_interval_secs,
            socket = self.settings.engine_socket,
            state = self.state_dir().display(),
            run = self.root.join("run").display(),
            preload = self.root.join("preload").display(),
        )
    }

    /// Where the SVID, its key and the trust bundle belong.
    pub fn identity_dir(&self) -> PathBuf {
        self.root.join("etc/margo-agent/identity")
    }

    /// Where the durable state is.
    pub fn state_dir(&self) -> PathBuf {
        self.settings.state_dir.clone().unwrap_or_else(|| self.root.join("state"))
    }

    /// The agent's output so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("agent.log")).unwrap_or_default()
    }

    /// Where the output ends now.
    pub fn log_mark(&self) -> LogMark {
        LogMark(self.log().len())
    }

    /// The output since then.
    pub fn log_since(&self, mark: LogMark) -> String {
        self.log().get(mark.0..).unwrap_or_default().to_owned()
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.root.join("run").join(margo_agent::local_api::SOCKET_NAME)
    }

    /// Starts the process.
    ///
    /// # Panics
    /// When the binary is missing: `cargo build -p margo-agent` makes it.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the agent already runs");
        let log = File::options().create(true).append(true).open(self.root.join("agent.log"));
        let log = log.expect("agent log");
        let child = Command::new(binary("margo-agent"))
            .arg("--root")
            .arg(&self.root)
            .env("MARGO_LOG", std::env::var("MARGO_LOG").unwrap_or_else(|_| "debug".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.expect("margo-agent starts; build it with `cargo build`"));
    }

    /// Pulls the plug.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("kill the agent");
        }
    }

    /// Pulls the plug where nothing can be waited for.
    pub(crate) fn kill_now(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.start_kill();
        }
    }

    /// Ends it in good order.
    ///
    /// # Panics
    /// When it does not end well.
    pub async fn stop(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.signal("TERM").await;
        assert!(self.ended().await.success(), "{}", self.log());
    }

    /// Sends a signal, by its name without `SIG`.
    ///
    /// # Panics
    /// When the process is not there.
    pub async fn signal(&self, name: &str) {
        let pid = self.pid().expect("a running process").to_string();
        let told = Command::new("kill").args([&format!("-{name}"), &pid]).status().await;
        assert!(told.expect("kill").success(), "signal {name}");
    }

    /// Waits for its end, which it comes to by itself.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("a started agent");
        let status = tokio::time::timeout(crate::PATIENCE, child.wait()).await;
        status.expect("the agent ends").expect("wait")
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Asks over the control socket. Blocking, so it runs on a thread of its own.
    async fn ask(&self, request: Request) -> Result<Response, String> {
        let socket = self.socket();
        let asked = tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(&socket).map_err(|error| error.to_string())?;
            client.call(request).map_err(|error| error.to_string())
        });
        asked.await.map_err(|error| error.to_string())?
    }

    /// What `margoctl status` shows.
    ///
    /// # Errors
    /// The agent does not answer (yet).
    pub async fn status(&self) -> Result<Status, String> {
        match self.ask(Request::Status).await? {
            Response::Status(status) => Ok(*status),
            other => Err(format!("strange answer: {other:?}")),
        }
    }

    /// What `margoctl deployments` shows.
    ///
    /// # Errors
    /// The agent does not answer (yet).
    pub async fn deployments(&self) -> Result<Vec<DeploymentStatus>, String> {
        match self.ask(Request::Deployments).await? {
            Response::Deployments(deployments) => Ok(deployments),
            other => Err(format!("strange answer: {other:?}")),
        }
    }

    /// What `margoctl events` shows.
    ///
    /// # Errors
    /// The agent does not answer (yet).
    pub async fn events(&self) -> Result<Vec<Event>, String> {
        let socket = self.socket();
        let asked = tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(&socket).map_err(|error| error.to_string())?;
            let mut events = Vec::new();
            let request = Request::Events { since: None, follow: false };
            let asked = client.stream(request, false, |response| {
                if let Response::Event(event) = response {
                    events.push(event);
                }
                true
            });
            asked.map(|()| events).map_err(|error| error.to_string())
        });
        asked.await.map_err(|error| error.to_string())?
    }
}

/// A binary of this workspace, built beside the test.
///
/// # Panics
/// When the test's own path is unknown.
pub(crate) fn binary(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("MARGO_BIN_DIR") {
        return PathBuf::from(dir).join(name);
    }
    let own = std::env::current_exe().expect("own path");
    let dir = own.parent().expect("target directory");
    // Tests are in `deps`, below the binaries.
    let dir = if dir.ends_with("deps") { dir.parent().expect("target directory") } else { dir };
    dir.join(name)
}
