//! QEMU's control channel. Everything said on it is kept in `qmp.log`.

use crate::error::{Doing as _, Outcome, Trouble};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// QEMU answers at once, except when the host is very busy.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// An open channel.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Qmp {
    /// Takes over a connected socket.
    pub(crate) fn open(stream: UnixStream, log: &Path) -> Outcome<Self> {
        let reader = stream.try_clone().doing("QMP")?;
        let log = File::options().create(true).append(true).open(log).doing("QMP log")?;
        let (sender, answers) = channel();
        let events = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&events);
        std::thread::spawn(move || {
            let mut log = log;
            for line in BufReader::new(reader).lines() {
                let Ok(line) = line else { break };
                // A log that cannot be written must not stop the machine.
                let _ = writeln!(log, "{line}");
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                if let Some(event) = value.get("event").and_then(Value::as_str) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(event.to_owned());
                } else if value.get("QMP").is_none() && sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut qmp = Self { stream, answers, events };
        qmp.ask("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Sends a command and returns its answer.
    pub(crate) fn ask(&mut self, command: &str, arguments: Value) -> Outcome<Value> {
        let text = json!({"execute": command, "arguments": arguments}).to_string();
        writeln!(self.stream, "{text}").doing(format!("QMP {command}"))?;
        match self.answers.recv_timeout(ANSWER_MAX) {
            Ok(answer) => match answer.get("error") {
                Some(error) => Err(Trouble::new(format!("QMP {command}: {error}"))),
                None => Ok(answer.get("return").cloned().unwrap_or_default()),
            },
            Err(RecvTimeoutError::Timeout) => {
                Err(Trouble::new(format!("QMP {command}: no answer in {ANSWER_MAX:?}")))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Trouble::new(format!("QMP {command}: QEMU has ended")))
            }
        }
    }

    /// How often an event has come so far.
    pub(crate) fn count(&self, event: &str) -> usize {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|seen| *seen == event).count()
    }

    /// Asks until the answer is as wanted.
    pub(crate) fn ask_until(
        &mut self,
        command: &str,
        timeout: Duration,
        is_it: impl Fn(&Value) -> Outcome<bool>,
    ) -> Outcome {
        let began = Instant::now();
        loop {
            let answer = self.ask(command, json!({}))?;
            if is_it(&answer)? {
                return Ok(());
            }
            if began.elapsed() > timeout {
                return Err(Trouble::new(format!("QMP {command}: still {answer}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
