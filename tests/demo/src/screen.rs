//! What the person watching sees: chapters, lines with the time since the start, a timeline at the end.

use std::io::Write;
use std::time::Instant;

/// The screen.
#[derive(Debug)]
pub(crate) struct Screen {
    began: Instant,
    chapter: usize,
    colours: bool,
    timeline: Vec<(f64, String)>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let colours = std::env::var_os("NO_COLOR").is_none()
            && std::io::IsTerminal::is_terminal(&std::io::stdout());
        Self { began: Instant::now(), chapter: 0, colours, timeline: Vec::new() }
    }

    /// Begins a chapter: what is about to be shown, and what to look for.
    pub(crate) fn chapter(&mut self, title: &str, watch: &str) {
        self.chapter += 1;
        let title = format!("{}. {title}", self.chapter);
        self.put(&format!("\n{}\n   {watch}", self.paint("1", &title)));
        self.timeline.push((self.seconds(), title));
    }

    /// Something happened.
    pub(crate) fn line(&self, text: &str) {
        let time = format!("{:7.1} s ", self.seconds());
        self.put(&format!("{} {text}", self.paint("2", &time)));
    }

    /// Something happened that is worth remembering.
    pub(crate) fn good(&mut self, text: &str) {
        let mark = self.paint("32", "ok");
        self.line(&format!("{mark} {text}"));
        self.timeline.push((self.seconds(), format!("   {text}")));
    }

    /// The end: all that was worth remembering.
    pub(crate) fn end(&self) {
        self.put(&self.paint("1", "\nTimeline"));
        for (seconds, text) in &self.timeline {
            self.put(&format!("{seconds:7.1} s  {text}"));
        }
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn put(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A closed terminal ends the show by itself.
        let _ = writeln!(out, "{text}");
    }
}
