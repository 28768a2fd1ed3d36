//! YAML text to a tree of nodes with their places. The only file that knows the YAML library.
//!
//! Anchors, aliases and merge keys (`<<`) are resolved here; duplicate keys, foreign tags, several documents and
//! anything beyond the limits are errors. Scalars mean what `super::scalar` says.

use super::problems::{Problem, ProblemKind};
use super::scalar::resolve_plain;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// Largest compose file, in bytes.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of maps and lists.
pub(super) const DEPTH_MAX: usize = 32;
/// Most nodes, counting those an alias repeats.
pub(super) const NODES_MAX: usize = 50_000;
/// Most bytes of text in scalars, counting those an alias repeats.
pub(super) const SCALAR_BYTES_MAX: usize = 4 << 20;

/// The meaning of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Between `i64::MIN` and `u64::MAX`.
    Int(i128),
    /// Always finite.
    Float(f64),
    Str(String),
    Seq(Vec<Node>),
    /// In the order of the file; keys are unique; merge keys are already applied.
    Map(Vec<(String, Node)>),
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    /// From 1.
    pub(super) line: u32,
    /// From 1.
    pub(super) column: u32,
}

/// What an anchor stands for, with what repeating it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// A collection being read.
struct Frame {
    kind: FrameKind,
    anchor: usize,
    line: u32,
    column: u32,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

enum FrameKind {
    Seq(Vec<Node>),
    Map { entries: Vec<(String, Node)>, merges: Vec<Node>, key: Option<Key> },
}

enum Key {
    Name(String),
    Merge,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    bytes: usize,
}

/// Reads one document.
///
/// # Errors
/// The first problem, with its place and, for problems of structure, the path of its key.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("{} bytes long; at most {FILE_BYTES_MAX} are accepted", text.len());
        return Err(Problem::new("", ProblemKind::Invalid, message));
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH_MAX * 2;
    options.block_nesting_limit = DEPTH_MAX * 2;
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text.trim_start_matches('\u{feff}'), options) {
        match event {
            Ok((event, span)) => builder.event(event, &span)?,
            Err(error) => {
                let (line, column) = (error.marker().line(), error.marker().col());
                let message = format!("not YAML: {}", error.info());
                return Err(Problem::new("", ProblemKind::Invalid, message)
                    .at(to_u32(line), to_u32(column.saturating_add(1))));
            }
        }
    }
    builder.root.ok_or_else(|| Problem::new("", ProblemKind::Invalid, "the file is empty"))
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let (line, column) =
            (to_u32(span.start.line()), to_u32(span.start.col().saturating_add(1)));
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a second YAML document: put everything into one";
                    return Err(
                        Problem::new("", ProblemKind::Unsupported, message).at(line, column)
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                if self.takes_key() {
                    return self.key(&text, is_plain, tag.as_deref(), (line, column));
                }
                let bytes = text.len();
                let value = self.scalar(text, is_plain, tag.as_deref(), (line, column))?;
                let node = Node { value, line, column };
                self.done(Anchored { node, nodes: 1, bytes, depth: 0 }, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(FrameKind::Seq(Vec::new()), anchor, tag.as_deref(), (line, column))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = FrameKind::Map { entries: Vec::new(), merges: Vec::new(), key: None };
                self.open(kind, anchor, tag.as_deref(), (line, column))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => self.alias(anchor, (line, column))?,
            // Nothing else carries data, and the options above turn the rest off.
            _ => {}
        }
        Ok(())
    }

    /// Path of the node being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.stack {
            match &frame.kind {
                FrameKind::Seq(items) => path.push_str(&format!("[{}]", items.len())),
                FrameKind::Map { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(match key {
                        Key::Name(name) => name,
                        Key::Merge => "<<",
                    });
                }
                FrameKind::Map { key: None, .. } => {}
            }
        }
        path
    }

    fn wrong(&self, at: (u32, u32), message: impl Into<String>) -> Problem {
        Problem::new(self.path(), ProblemKind::Invalid, message).at(at.0, at.1)
    }

    fn takes_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { kind: FrameKind::Map { key: None, .. }, .. }))
    }

    fn key(
        &mut self,
        text: &str,
        is_plain: bool,
        tag: Option<&Tag>,
        at: (u32, u32),
    ) -> Result<(), Problem> {
        let is_merge = text == "<<" && is_plain;
        if !is_merge {
            let value = self.scalar(Cow::Borrowed(text), is_plain, tag, at)?;
            if !matches!(value, Value::Str(_)) {
                let message = format!("the key `{text}` is not a string: put it in quotes");
                return Err(self.wrong(at, message));
            }
        }
        let is_duplicate = match self.stack.last() {
            Some(Frame { kind: FrameKind::Map { entries, merges, .. }, .. }) => {
                if is_merge {
                    !merges.is_empty()
                } else {
                    entries.iter().any(|(name, _)| name == text)
                }
            }
            _ => false,
        };
        if is_duplicate {
            return Err(self.wrong(at, format!("the key `{text}` is given twice")));
        }
        self.spend(1, text.len(), at)?;
        if let Some(Frame { kind: FrameKind::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some(if is_merge { Key::Merge } else { Key::Name(text.to_owned()) });
        }
        Ok(())
    }

    fn scalar(
        &self,
        text: Cow<'_, str>,
        is_plain: bool,
        tag: Option<&Tag>,
        at: (u32, u32),
    ) -> Result<Value, Problem> {
        let resolved = |text: &str| resolve_plain(text).map_err(|why| self.wrong(at, why));
        let Some(tag) = tag else {
            return if is_plain { resolved(&text) } else { Ok(Value::Str(text.into_owned())) };
        };
        if tag.handle().is_empty() && tag.suffix() == "!" {
            return Ok(Value::Str(text.into_owned()));
        }
        let core = tag.core_suffix();
        if core == Some("str") {
            return Ok(Value::Str(text.into_owned()));
        }
        let value = match core {
            Some("null" | "bool" | "int" | "float") => resolved(&text)?,
            _ => return Err(self.foreign_tag(tag, at)),
        };
        let value = match (core, value) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "`!!float` on a whole number asks for exactly this rounding"
            )]
            (Some("float"), Value::Int(number)) => Value::Float(number as f64),
            (_, value) => value,
        };
        let fits = matches!(
            (core, &value),
            (Some("null"), Value::Null)
                | (Some("bool"), Value::Bool(_))
                | (Some("int"), Value::Int(_))
                | (Some("float"), Value::Float(_))
        );
        if fits {
            Ok(value)
        } else {
            Err(self.wrong(at, format!("`{text}` is not what its tag `{}` says", tag.original())))
        }
    }

    fn foreign_tag(&self, tag: &Tag, at: (u32, u32)) -> Problem {
        let message =
            format!("the YAML tag `{}`: write the effective value instead", tag.original());
        Problem::new(self.path(), ProblemKind::Unsupported, message).at(at.0, at.1)
    }

    fn open(
        &mut self,
        kind: FrameKind,
        anchor: usize,
        tag: Option<&Tag>,
        at: (u32, u32),
    ) -> Result<(), Problem> {
        if self.takes_key() {
            return Err(self.wrong(at, "a map or list cannot be a key"));
        }
        if let Some(tag) = tag {
            let expected = match kind {
                FrameKind::Seq(_) => "seq",
                FrameKind::Map { .. } => "map",
            };
            if tag.core_suffix() != Some(expected) {
                return Err(self.foreign_tag(tag, at));
            }
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(self.wrong(at, format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.stack.push(Frame {
            kind,
            anchor,
            line: at.0,
            column: at.1,
            nodes: 1,
            bytes: 0,
            depth: 0,
        });
        self.spend(1, 0, at)
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (line, column) = (frame.line, frame.column);
        let value = match frame.kind {
            FrameKind::Seq(items) => Value::Seq(items),
            FrameKind::Map { mut entries, merges, .. } => {
                for merge in merges {
                    self.merge(&mut entries, merge)?;
                }
                Value::Map(entries)
            }
        };
        let node = Node { value, line, column };
        // Already paid for while it was read.
        let done =
            Anchored { node, nodes: frame.nodes, bytes: frame.bytes, depth: frame.depth + 1 };
        self.place(done, frame.anchor)
    }

    /// Adds what `entries` does not have yet; of a list of maps the earlier wins.
    fn merge(&self, entries: &mut Vec<(String, Node)>, source: Node) -> Result<(), Problem> {
        let at = (source.line, source.column);
        match source.value {
            Value::Map(others) => {
                for (name, node) in others {
                    if !entries.iter().any(|(existing, _)| *existing == name) {
                        entries.push((name, node));
                    }
                }
                Ok(())
            }
            Value::Seq(maps) if maps.iter().all(|map| matches!(map.value, Value::Map(_))) => {
                maps.into_iter().try_for_each(|map| self.merge(entries, map))
            }
            _ => Err(self.wrong(at, "`<<` takes a map or a list of maps")),
        }
    }

    fn alias(&mut self, anchor: usize, at: (u32, u32)) -> Result<(), Problem> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.wrong(at, "an alias inside the thing it stands for"));
        };
        let (nodes, bytes, depth) = (anchored.nodes, anchored.bytes, anchored.depth);
        if self.takes_key() {
            return Err(self.wrong(at, "an alias cannot be a key"));
        }
        if self.stack.len() + depth > DEPTH_MAX {
            return Err(self.wrong(at, format!("nested more than {DEPTH_MAX} levels deep")));
        }
        // Paid for before it is copied: that is what stops a bomb of aliases.
        self.spend(nodes, bytes, at)?;
        let Some(node) = self.anchors.get(&anchor).map(|anchored| anchored.node.clone()) else {
            return Ok(());
        };
        self.place(Anchored { node, nodes, bytes, depth }, 0)
    }

    fn done(&mut self, done: Anchored, anchor: usize) -> Result<(), Problem> {
        self.spend(done.nodes, done.bytes, (done.node.line, done.node.column))?;
        self.place(done, anchor)
    }

    fn spend(&mut self, nodes: usize, bytes: usize, at: (u32, u32)) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values, counting what aliases repeat");
            return Err(self.wrong(at, message));
        }
        if self.bytes > SCALAR_BYTES_MAX {
            let message =
                format!("more than {SCALAR_BYTES_MAX} bytes of text, counting what aliases repeat");
            return Err(self.wrong(at, message));
        }
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, done: Anchored, anchor: usize) -> Result<(), Problem> {
        let (nodes, bytes, depth) = (done.nodes, done.bytes, done.depth);
        let node = done.node;
        if anchor > 0 {
            // The copy costs memory as well.
            self.spend(nodes, bytes, (node.line, node.column))?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, bytes, depth });
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes = frame.nodes.saturating_add(nodes);
        frame.bytes = frame.bytes.saturating_add(bytes);
        frame.depth = frame.depth.max(depth);
        match &mut frame.kind {
            FrameKind::Seq(items) => items.push(node),
            FrameKind::Map { entries, merges, key } => match key.take() {
                Some(Key::Merge) => merges.push(node),
                Some(Key::Name(name)) => entries.push((name, node)),
                None => {}
            },
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "yaml/tests.rs"]
mod tests;
