//! What a register of findings is made of: one line a code, from which everything that is said of it follows.

/// Declares `Code`, the kinds of findings of one part of this program: of each its meaning, its stable text, how bad it
/// is, and what to do next. Codes are never reused.
macro_rules! register {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $severity:ident, $next:literal;)*) => {
        /// What kind of finding it is. Serialised as its code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Code {
            $($(#[doc = $doc])* #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The stable text: a letter and four digits.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code),* }
            }

            /// How bad a finding of this kind is.
            pub fn severity(self) -> $crate::report::Severity {
                match self { $(Code::$name => $crate::report::Severity::$severity),* }
            }

            /// What to do next.
            pub fn next(self) -> &'static str {
                match self { $(Code::$name => $next),* }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),*).trim_ascii()),* }
            }
        }
    };
}

pub(crate) use register;
