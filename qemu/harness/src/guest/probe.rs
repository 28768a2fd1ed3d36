//! The shell inside the device.

use crate::error::{Doing as _, Outcome, Trouble};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const MARK: &str = "margo-probe";
/// Beyond the command's own time limit: the shell itself may be slow.
const GRACE: Duration = Duration::from_secs(20);

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Exit code; 124 when its time was up.
    pub(crate) exit: i64,
    /// What it printed.
    pub(crate) output: String,
}

/// A line from the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The shell began: the boot's id.
    Hello(String),
    /// A command ended.
    Ended { id: u64, ran: Ran },
}

/// Reads one line; what is no frame is nothing.
pub(crate) fn frame(line: &str) -> Option<Frame> {
    let mut words = line.split(MARK).last().filter(|_| line.contains(MARK))?.split_whitespace();
    let first = words.next()?;
    if first == "hello" {
        return Some(Frame::Hello(words.next()?.to_owned()));
    }
    let id = first.parse().ok()?;
    let exit = words.next()?.parse().ok()?;
    let bytes = STANDARD.decode(words.next().unwrap_or_default()).ok()?;
    let output = String::from_utf8_lossy(&bytes).into_owned();
    Some(Frame::Ended { id, ran: Ran { exit, output } })
}

/// The open port.
#[derive(Debug)]
pub(crate) struct Probe {
    stream: UnixStream,
    frames: Receiver<Frame>,
    next_id: u64,
    boot_id: Option<String>,
}

impl Probe {
    /// Takes over a connected socket.
    pub(crate) fn open(stream: UnixStream) -> Outcome<Self> {
        let reader = stream.try_clone().doing("probe port")?;
        let (sender, frames) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            // A cut or a reset leaves a broken line behind: it is no frame.
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                if let Some(frame) = frame(&String::from_utf8_lossy(&line))
                    && sender.send(frame).is_err()
                {
                    break;
                }
                line.clear();
            }
        });
        Ok(Self { stream, frames, next_id: 1, boot_id: None })
    }

    /// The boot the shell belongs to, as far as it has said hello.
    pub(crate) fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }

    /// Waits until the shell of another boot than `before` says hello.
    pub(crate) fn hello(&mut self, before: Option<&str>, timeout: Duration) -> Outcome<String> {
        let began = Instant::now();
        while let Some(left) = timeout.checked_sub(began.elapsed()) {
            match self.frames.recv_timeout(left) {
                Ok(Frame::Hello(id)) => {
                    self.boot_id = Some(id.clone());
                    if before != Some(id.as_str()) {
                        return Ok(id);
                    }
                }
                Ok(Frame::Ended { .. }) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::new("QEMU ended while the device was booting"));
                }
            }
        }
        Err(Trouble::new(format!("the device's test shell did not answer within {timeout:?}")))
    }

    /// Goes on with a shell that said hello before this program was connected.
    pub(crate) fn adopt(&mut self, boot_id: String) {
        self.boot_id = Some(boot_id);
        // Requests of a former program may still be answered.
        self.next_id = 1_000_000;
    }

    /// Runs a shell command.
    pub(crate) fn run(&mut self, command: &str, timeout: Duration) -> Outcome<Ran> {
        let id = self.next_id;
        self.next_id += 1;
        let (limit, text) = (timeout.as_secs().max(1), STANDARD.encode(command));
        let sent = writeln!(self.stream, "{id} {limit} {text}");
        sent.doing("cannot reach the device's test shell")?;
        let (began, timeout) = (Instant::now(), timeout + GRACE);
        while let Some(left) = timeout.checked_sub(began.elapsed()) {
            match self.frames.recv_timeout(left) {
                Ok(Frame::Ended { id: ended, ran }) if ended == id => return Ok(ran),
                Ok(Frame::Ended { .. }) => {}
                Ok(Frame::Hello(boot)) => {
                    self.boot_id = Some(boot);
                    return Err(Trouble::new("the device rebooted while a command ran"));
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::new("QEMU ended while a command ran"));
                }
            }
        }
        Err(Trouble::new(format!("the device's test shell hangs: no answer in {timeout:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_any_output() {
        let output = "two\nlines, \"quotes\" and margo-probe 3 0 eA==";
        let line = format!("margo-probe 7 1 {}\n", STANDARD.encode(output));
        let ran = Ran { exit: 1, output: output.to_owned() };
        assert_eq!(frame(&line), Some(Frame::Ended { id: 7, ran }));
        let empty = Ran { exit: 0, output: String::new() };
        assert_eq!(frame("margo-probe 8 0 \n"), Some(Frame::Ended { id: 8, ran: empty }));
    }

    #[test]
    fn a_hello_after_a_torn_line_counts_and_noise_does_not() {
        let hello = Some(Frame::Hello("abc".to_owned()));
        assert_eq!(frame("margo-probe 3 0 c29tZXRmargo-probe hello abc\n"), hello);
        for noise in
            ["", "\n", "kernel: hi", "margo-probe", "margo-probe x 0 eA==", "margo-probe 1 0 ***"]
        {
            assert_eq!(frame(noise), None, "{noise:?}");
        }
    }

    #[test]
    fn a_command_gets_its_own_answer_and_a_reboot_is_told() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut probe = Probe::open(ours).unwrap();
        writeln!(theirs, "margo-probe hello one").unwrap();
        assert_eq!(probe.hello(None, Duration::from_secs(5)).unwrap(), "one");
        writeln!(theirs, "margo-probe 99 0 eA==\nmargo-probe 1 5 eQ==").unwrap();
        let ran = probe.run("true", Duration::from_secs(5)).unwrap();
        assert_eq!((ran.exit, ran.output.as_str()), (5, "y"));
        writeln!(theirs, "margo-probe hello two").unwrap();
        let error = probe.run("true", Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains("rebooted"), "{error}");
        assert_eq!(probe.boot_id(), Some("two"));
    }
}
