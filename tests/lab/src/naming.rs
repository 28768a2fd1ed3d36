//! Enumerations whose values have one fixed name each, used in commands, logs and JSON alike.

/// A word that is none of the known ones.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} `{text}`: one of {known}")]
pub struct ParseNameError {
    /// What was being named.
    pub what: &'static str,
    /// What was written.
    pub text: String,
    /// The names that exist.
    pub known: String,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of this table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name used in commands, logs and JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::naming::ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|value| value.name()).collect();
                    $crate::naming::ParseNameError {
                        what: $what, text: text.to_owned(), known: known.join(", "),
                    }
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::naming::ParseNameError;
            fn try_from(text: String) -> Result<Self, Self::Error> { text.parse() }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self { value.name().to_owned() }
        }
    };
}
pub(crate) use named;
