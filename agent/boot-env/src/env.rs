//! What the boot environment says about the two slots, and the changes that exist.
//!
//! `good` is committed: GRUB starts it and writes nothing. `trial` has up to three tries, which GRUB counts down.
//! `bad` is not started while anything else can be. No file is touched here.

use crate::block::Block;
use crate::error::{BlockError, EnvError};
use std::fmt;

/// Tries a new slot gets.
pub const TRIES_MAX: u8 = 3;

/// Written last and checked by every reader: a block that was cut off does not have it.
const SENTINEL: &str = "margo_env";

/// The layout described here.
const LAYOUT: &[u8] = b"1";

/// One of the two copies of the device OS. The name is RAUC's bootname.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Partition `root_a`.
    A,
    /// Partition `root_b`.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The one beside this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `A` or `B`; `None` for anything else.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.name() == name)
    }

    /// RAUC's bootname.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What is known of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Committed: it was healthy once and stays.
    Good,
    /// Not committed yet.
    Trial {
        /// Starts that are left, 0 to [`TRIES_MAX`].
        tries: u8,
    },
    /// Half written, or found wanting.
    Bad,
}

impl State {
    /// A slot nobody has started yet.
    pub const FRESH_TRIAL: Self = Self::Trial { tries: TRIES_MAX };

    /// As in the file: `good`, `trial` or `bad`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Trial { .. } => "trial",
            Self::Bad => "bad",
        }
    }

    /// Starts that are left; 0 for anything but a trial.
    #[must_use]
    pub const fn tries(self) -> u8 {
        match self {
            Self::Trial { tries } => tries,
            Self::Good | Self::Bad => 0,
        }
    }

    /// Whether GRUB starts it in its turn.
    #[must_use]
    pub const fn startable(self) -> bool {
        match self {
            Self::Good => true,
            Self::Trial { tries } => tries > 0,
            Self::Bad => false,
        }
    }
}

/// The boot environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Env {
    /// The slot GRUB looks at first; the other one is second.
    pub first: Slot,
    /// State of slot A.
    pub a: State,
    /// State of slot B.
    pub b: State,
    /// 32 lower-case hexadecimal digits, given to systemd at every start.
    pub machine_id: Option<String>,
    /// Variables that are not ours, kept as they are.
    pub foreign: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Env {
    /// What a new image has: slot A committed, nothing in slot B.
    #[must_use]
    pub const fn fresh() -> Self {
        Self {
            first: Slot::A,
            a: State::Good,
            b: State::Bad,
            machine_id: None,
            foreign: Vec::new(),
        }
    }

    /// What GRUB assumes when it can read neither copy.
    #[must_use]
    pub fn grub_defaults() -> Self {
        Self { b: State::Good, ..Self::fresh() }
    }

    /// A slot's state.
    #[must_use]
    pub const fn state(&self, slot: Slot) -> State {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    /// Sets a slot's state and nothing else.
    pub const fn put(&mut self, slot: Slot, state: State) {
        match slot {
            Slot::A => self.a = state,
            Slot::B => self.b = state,
        }
    }

    /// The slots in the order in which GRUB looks at them.
    #[must_use]
    pub const fn order(&self) -> [Slot; 2] {
        [self.first, self.first.other()]
    }

    /// RAUC's `set-state X good`: commits the slot.
    pub const fn commit(&mut self, slot: Slot) {
        self.put(slot, State::Good);
    }

    /// RAUC's `set-state X bad`: the slot is not started any more, for example while it is written.
    pub const fn spoil(&mut self, slot: Slot) {
        self.put(slot, State::Bad);
    }

    /// RAUC's `set-primary X`: the slot comes first. One that was bad, or has used up its tries without running
    /// now, gets a fresh trial; a committed slot stays committed.
    pub fn make_first(&mut self, slot: Slot, booted: Option<Slot>) {
        self.first = slot;
        let used_up = self.state(slot) == (State::Trial { tries: 0 }) && booted != Some(slot);
        if self.state(slot) == State::Bad || used_up {
            self.put(slot, State::FRESH_TRIAL);
        }
    }

    /// RAUC's `get-primary`: what GRUB would start next if every kernel can be loaded.
    #[must_use]
    pub fn primary(&self) -> Slot {
        self.order().into_iter().find(|slot| self.state(*slot).startable()).unwrap_or(self.first)
    }

    /// Reads one copy.
    ///
    /// # Errors
    /// [`EnvError`] exactly where `grub.cfg` takes a copy for damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvError> {
        let block = Block::parse(bytes)?;
        if block.get(SENTINEL) != Some(LAYOUT) {
            return Err(wrong(&block, SENTINEL, "1"));
        }
        let first = match block.get("ORDER") {
            Some(b"A B") => Slot::A,
            Some(b"B A") => Slot::B,
            _ => return Err(wrong(&block, "ORDER", "\"A B\" or \"B A\"")),
        };
        let machine_id = block.get("machine_id").and_then(machine_id);
        let foreign = block.iter().filter(|(name, _)| is_foreign(name));
        Ok(Self {
            first,
            a: state_of(&block, "A_STATE", "A_TRIES")?,
            b: state_of(&block, "B_STATE", "B_TRIES")?,
            machine_id,
            foreign: foreign.map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        })
    }

    /// The bytes of one copy. The same environment always gives the same bytes.
    ///
    /// # Errors
    /// [`BlockError::TooLong`] when foreign variables leave too little room.
    pub fn to_bytes(&self) -> Result<[u8; crate::block::SIZE_BYTES], BlockError> {
        let mut block = Block::default();
        let [first, second] = self.order();
        block.push(b"ORDER", format!("{first} {second}").as_bytes());
        for (slot, state) in [("A", self.a), ("B", self.b)] {
            block.push(format!("{slot}_STATE").as_bytes(), state.name().as_bytes());
            block.push(format!("{slot}_TRIES").as_bytes(), state.tries().to_string().as_bytes());
        }
        if let Some(id) = &self.machine_id {
            block.push(b"machine_id", id.as_bytes());
        }
        for (name, value) in &self.foreign {
            block.push(name, value);
        }
        block.push(SENTINEL.as_bytes(), LAYOUT);
        block.to_bytes()
    }
}

/// A machine id as systemd takes it: 32 lower-case hexadecimal digits that are not all zero.
#[must_use]
pub fn machine_id(text: &[u8]) -> Option<String> {
    let digits = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let usable = digits && text.len() == 32 && text.iter().any(|byte| *byte != b'0');
    usable.then(|| String::from_utf8_lossy(text).into_owned())
}

/// A slot's state out of its two variables. The tries must be there whatever the state, so that a reader need not
/// know which of them counts.
fn state_of(block: &Block, state: &'static str, tries: &'static str) -> Result<State, EnvError> {
    let left = match block.get(tries) {
        Some([digit @ b'0'..=b'3']) => digit - b'0',
        _ => return Err(wrong(block, tries, "0, 1, 2 or 3")),
    };
    match block.get(state) {
        Some(b"good") => Ok(State::Good),
        Some(b"trial") => Ok(State::Trial { tries: left }),
        Some(b"bad") => Ok(State::Bad),
        _ => Err(wrong(block, state, "good, trial or bad")),
    }
}

/// Variables that are kept: neither ours nor something only damage could have made.
fn is_foreign(name: &[u8]) -> bool {
    const OURS: [&str; 7] =
        ["ORDER", "A_STATE", "A_TRIES", "B_STATE", "B_TRIES", "machine_id", SENTINEL];
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    plain && !name.is_empty() && !OURS.iter().any(|ours| ours.as_bytes() == name)
}

/// An error that names the variable and what it holds.
fn wrong(block: &Block, name: &'static str, expected: &'static str) -> EnvError {
    let found = block.get(name).map_or_else(
        || "missing".to_owned(),
        |value| format!("{:?}", String::from_utf8_lossy(value.get(..32).unwrap_or(value))),
    );
    EnvError::Variable { name, found, expected }
}

#[cfg(test)]
mod tests {
    use super::{Env, Slot, State, machine_id};
    use crate::block::{Block, HEADER};
    use crate::error::{BlockError, EnvError};
    use proptest::prelude::*;

    fn any_state() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Good),
            Just(State::Bad),
            (0..=3_u8).prop_map(|tries| State::Trial { tries }),
        ]
    }

    fn any_env() -> impl Strategy<Value = Env> {
        let foreign = proptest::collection::vec(
            ("[a-z_]{1,8}x", proptest::collection::vec(1..=255_u8, 0..20)),
            0..6,
        );
        let id = proptest::option::of("[1-9a-f]{32}");
        (any::<bool>(), any_state(), any_state(), id, foreign).prop_map(
            |(a_first, a, b, machine_id, foreign)| Env {
                first: if a_first { Slot::A } else { Slot::B },
                a,
                b,
                machine_id,
                foreign: foreign
                    .into_iter()
                    .map(|(name, value)| (name.into_bytes(), value))
                    .collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(env in any_env()) {
            let bytes = env.to_bytes().unwrap();
            prop_assert_eq!(Env::parse(&bytes), Ok(env));
            prop_assert!(bytes[512..].iter().all(|byte| *byte == b'#'), "all that changes is in one sector");
        }

        #[test]
        fn any_bytes_are_an_environment_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..1100),
                                                    headed in any::<bool>()) {
            if headed {
                bytes.splice(..0, HEADER.iter().copied());
            }
            if let Ok(env) = Env::parse(&bytes) {
                prop_assert_eq!(Env::parse(&env.to_bytes().unwrap()), Ok(env));
            }
        }

        #[test]
        fn a_block_that_was_cut_off_is_damaged(env in any_env(), at in 0..1024_usize) {
            let bytes = env.to_bytes().unwrap();
            let used = bytes.iter().rposition(|byte| *byte != b'#').unwrap() + 1;
            let mut cut = bytes.to_vec();
            cut[at..].fill(0);
            prop_assert_eq!(Env::parse(&cut).is_ok(), at >= used);
        }
    }

    #[test]
    fn too_many_foreign_variables_are_refused() {
        let foreign = vec![(b"big".to_vec(), vec![b'x'; 500])];
        let env = Env { foreign, ..Env::fresh() };
        assert!(matches!(env.to_bytes(), Err(BlockError::TooLong { .. })));
    }

    #[test]
    fn an_error_names_the_variable_and_what_it_holds() {
        let text = String::from_utf8(Env::fresh().to_bytes().unwrap().to_vec()).unwrap();
        let error =
            Env::parse(text.replace("A_STATE=good", "A_STATE=gone").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the variable A_STATE is \"gone\", not good, trial or bad");
        assert_eq!(Env::parse(b"x"), Err(EnvError::Block(BlockError::NoHeader)));
    }

    #[test]
    fn an_order_makes_a_trial_of_a_bad_slot_and_leaves_a_committed_one() {
        let mut env = Env { b: State::Bad, ..Env::fresh() };
        env.make_first(Slot::B, Some(Slot::A));
        assert_eq!((env.first, env.b, env.primary()), (Slot::B, State::FRESH_TRIAL, Slot::B));
        env.commit(Slot::B);
        env.make_first(Slot::A, Some(Slot::B));
        assert_eq!((env.first, env.a, env.b), (Slot::A, State::Good, State::Good));
    }

    #[test]
    fn a_running_trial_does_not_get_new_tries_by_being_ordered_again() {
        let used_up = State::Trial { tries: 0 };
        let mut env = Env { first: Slot::B, b: used_up, ..Env::fresh() };
        assert_eq!(env.primary(), Slot::A);
        env.make_first(Slot::B, Some(Slot::B));
        assert_eq!(env.b, used_up);
        env.make_first(Slot::B, Some(Slot::A));
        assert_eq!(env.b, State::FRESH_TRIAL);
    }

    #[test]
    fn a_machine_id_is_32_hexadecimal_digits() {
        assert!(machine_id(&[b'7'; 32]).is_some());
        for wrong in [[b'0'; 32].as_slice(), &[b'A'; 32], &[b'7'; 31], b"uninitialized", b""] {
            assert_eq!(machine_id(wrong), None);
        }
    }

    #[test]
    fn a_name_of_ours_twice_is_read_like_grub_does_and_written_once() {
        let mut block = Block::parse(&Env::fresh().to_bytes().unwrap()).unwrap();
        block.push(b"B_STATE", b"good");
        let env = Env::parse(&block.to_bytes().unwrap()).unwrap();
        assert_eq!(env.b, State::Good);
        assert_eq!(env, Env::parse(&env.to_bytes().unwrap()).unwrap());
    }
}
