//! The form of a data snapshot, seen while it goes by (SPEC-CANTON 3.2, 3.4): which members it has, what the small ones say,
//! how large the large ones are, and whether these are base64.
//!
//! [`Shape`] only notes; what is missing or not as it should be is decided by [`super::judgement`].

mod base64;

use super::lexer::{Container, Fault, Sink, Token};

use base64::Base64;

/// Bytes of a small text, such as a time, that are kept.
const MOST_TEXT_BYTES: usize = 1024;
/// Members of the whole document. A merged dump has five.
const MOST_MEMBERS: usize = 64;
/// Things that are not as they should be, of which each is noted.
const MOST_WRONG: usize = 20;

/// What kind of value a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    Text,
    /// A number, `true` or `false`.
    Scalar,
    /// `null`
    Null,
}

/// A member of the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub name: String,
    /// Where its value begins, bytes.
    pub start: u64,
    /// Where its value ends.
    pub end: u64,
    /// What its value is.
    pub kind: Kind,
}

/// What the `data_snapshot` of an SV, or of a validator, says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `acs_timestamp`.
    pub acs_timestamp: Option<String>,
    /// Bytes that `acs_snapshot` stands for.
    pub acs_bytes: Option<u64>,
    /// Bytes that `genesis_state` stands for.
    pub genesis_bytes: Option<u64>,
    /// How many `dars` there are.
    pub dars: Option<u64>,
    /// Bytes that all DARs stand for.
    pub dar_bytes: u64,
    /// `acs_format`.
    pub acs_format: Option<String>,
    /// Whether `separate_payload_files` is true.
    pub is_in_separate_files: bool,
    /// Whether `synchronizer_was_paused` is true.
    pub was_paused: bool,
    /// `created_at`, which a validator's has inside.
    pub created_at: Option<String>,
    /// `migration_id`, which a validator's has inside too.
    pub migration_id: Option<String>,
    /// `domain_id`, which a validator's has.
    pub domain_id: Option<String>,
    /// Whether there is a `participant`, which a validator's has: its identities.
    pub has_participant: bool,
    /// Whether there are `participant_users`, which a validator's has inside.
    pub has_users: bool,
}

/// What a whole document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether it is an object at all.
    pub is_object: bool,
    /// Its members, in order.
    pub members: Vec<Member>,
    /// `created_at`.
    pub created_at: Option<String>,
    /// `migration_id`, as it is written.
    pub migration_id: Option<String>,
    /// `error`: what services say instead.
    pub error: Option<String>,
    /// `data_snapshot`.
    pub snapshot: Option<Snapshot>,
    /// How many `participant_users.users` there are.
    pub users: Option<u64>,
    /// Whether `participant_users.identityProviders` is there.
    pub has_identity_providers: bool,
    /// What is not as it should be in members that are there.
    pub wrong: Vec<Fault>,
}

impl Found {
    /// A member of the whole document.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    fn snapshot(&mut self) -> &mut Snapshot {
        self.snapshot.get_or_insert_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Document,
    Snapshot,
    Dars,
    Dar,
    Users,
    UserList,
    Other,
}

struct Frame {
    place: Place,
    /// The key whose value comes next; only where the place matters.
    key: String,
    /// The keys there were; only where the place matters.
    keys: Vec<String>,
}

/// What is done with the text that is being read.
enum Taking {
    Nothing,
    Small(Vec<u8>),
    Large(Base64),
}

/// Notes the form of a document as its parts are taken.
pub struct Shape {
    found: Found,
    open: Vec<Frame>,
    taking: Taking,
    text_at: u64,
    whole: Place,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            found: Found::default(),
            whole: Place::Document,
            open: Vec::new(),
            taking: Taking::Nothing,
            text_at: 0,
        }
    }
}

impl Shape {
    /// For a document that is what otherwise is in `data_snapshot`: the file that a validator is given.
    pub fn of_snapshot_alone() -> Shape {
        let mut shape = Shape {
            whole: Place::Snapshot,
            ..Shape::default()
        };
        shape.found.snapshot();
        shape
    }

    /// What was found.
    pub fn finish(self) -> Found {
        self.found
    }

    fn wrong(&mut self, at: u64, what: impl Into<String>) {
        if self.found.wrong.len() < MOST_WRONG {
            self.found.wrong.push(Fault::new(at, what));
        }
    }

    fn place(&self) -> Option<Place> {
        self.open.last().map(|frame| frame.place)
    }

    fn key(&self) -> &str {
        self.open.last().map_or("", |frame| frame.key.as_str())
    }

    fn take_key(&mut self, key: &str, at: u64) -> Result<(), Fault> {
        let Some(frame) = self.open.last_mut() else {
            return Ok(());
        };
        if matches!(frame.place, Place::Other | Place::Dars | Place::UserList) {
            return Ok(());
        }
        key.clone_into(&mut frame.key);
        if frame.keys.iter().any(|known| known == key) {
            return Err(Fault::new(
                at,
                format!("the key {key:?} stands there twice: one of the two would be lost"),
            ));
        }
        if frame.keys.len() >= MOST_MEMBERS {
            return Err(Fault::new(at, format!("there are more than {MOST_MEMBERS} members")));
        }
        frame.keys.push(key.to_owned());
        Ok(())
    }

    /// Notes that a value begins; where it is a container, what it is.
    fn value(&mut self, kind: Kind, scalar: &str, at: u64) -> Place {
        let key = self.key().to_owned();
        match self.place() {
            None => {
                self.found.is_object = kind == Kind::Object;
                self.whole
            }
            Some(Place::Document) => self.document_member(key, kind, scalar, at),
            Some(Place::Snapshot) => self.snapshot_member(&key, kind, scalar, at),
            Some(Place::Dars) => {
                let dars = self.found.snapshot().dars.get_or_insert(0);
                *dars += 1;
                if kind != Kind::Object {
                    self.wrong(at, "an element of dars is no object");
                }
                Place::Dar
            }
            Some(Place::Dar) => {
                match (key.as_str(), kind) {
                    ("content", Kind::Text) => self.taking = Taking::Large(Base64::default()),
                    ("hash", Kind::Text) => self.taking = Taking::Small(Vec::new()),
                    ("content" | "hash", _) => self.wrong(at, format!("a DAR's {key} is no text")),
                    _ => {}
                }
                Place::Other
            }
            Some(Place::Users) => {
                match (key.as_str(), kind) {
                    ("users", Kind::Array) => {
                        self.found.users.get_or_insert(0);
                        return Place::UserList;
                    }
                    ("identityProviders", Kind::Array) => self.found.has_identity_providers = true,
                    ("users" | "identityProviders", _) => self.wrong(at, format!("participant_users.{key} is no list")),
                    _ => {}
                }
                Place::Other
            }
            Some(Place::UserList) => {
                let users = self.found.users.get_or_insert(0);
                *users += 1;
                Place::Other
            }
            Some(Place::Other) => Place::Other,
        }
    }

    fn document_member(&mut self, key: String, kind: Kind, scalar: &str, at: u64) -> Place {
        let place = match (key.as_str(), kind) {
            ("created_at" | "error", Kind::Text) => {
                self.taking = Taking::Small(Vec::new());
                Place::Other
            }
            ("migration_id", Kind::Scalar) => {
                self.found.migration_id = Some(scalar.to_owned());
                Place::Other
            }
            ("data_snapshot", Kind::Object) => {
                self.found.snapshot();
                Place::Snapshot
            }
            ("participant_users", Kind::Object) => Place::Users,
            ("identities", Kind::Object) => Place::Other,
            ("created_at" | "migration_id" | "data_snapshot" | "participant_users" | "identities", _) => {
                self.wrong(at, format!("{key} is of another kind than it should be: {kind:?}"));
                Place::Other
            }
            _ => Place::Other,
        };
        let member = Member {
            name: key,
            start: at,
            end: at + scalar.len() as u64,
            kind,
        };
        self.found.members.push(member);
        place
    }

    fn snapshot_member(&mut self, key: &str, kind: Kind, scalar: &str, at: u64) -> Place {
        match (key, kind) {
            // An absent option may be written as null.
            (_, Kind::Null) => {}
            ("acs_snapshot" | "genesis_state", Kind::Text) => self.taking = Taking::Large(Base64::default()),
            ("acs_timestamp" | "acs_format" | "created_at" | "domain_id", Kind::Text) => {
                self.taking = Taking::Small(Vec::new());
            }
            ("dars", Kind::Array) => {
                self.found.snapshot().dars.get_or_insert(0);
                return Place::Dars;
            }
            ("synchronizer_was_paused", Kind::Scalar) => self.found.snapshot().was_paused = scalar == "true",
            ("separate_payload_files", Kind::Scalar) => self.found.snapshot().is_in_separate_files = scalar == "true",
            ("migration_id", Kind::Scalar) => self.found.snapshot().migration_id = Some(scalar.to_owned()),
            ("participant", Kind::Object) => self.found.snapshot().has_participant = true,
            ("participant_users", Kind::Object) => self.found.snapshot().has_users = true,
            (
                "acs_snapshot"
                | "genesis_state"
                | "acs_timestamp"
                | "acs_format"
                | "created_at"
                | "domain_id"
                | "dars"
                | "synchronizer_was_paused"
                | "separate_payload_files"
                | "migration_id"
                | "participant"
                | "participant_users",
                _,
            ) => self.wrong(
                at,
                format!("data_snapshot.{key} is of another kind than it should be: {kind:?}"),
            ),
            _ => {}
        }
        Place::Other
    }

    fn text_end(&mut self) {
        let at = self.text_at;
        let (place, key) = (self.place(), self.key().to_owned());
        match std::mem::replace(&mut self.taking, Taking::Nothing) {
            Taking::Nothing => {}
            Taking::Small(bytes) => {
                let text = Some(String::from_utf8_lossy(&bytes).into_owned());
                match (place, key.as_str()) {
                    (Some(Place::Document), "created_at") => self.found.created_at = text,
                    (Some(Place::Document), "error") => self.found.error = text,
                    (Some(Place::Snapshot), "acs_timestamp") => self.found.snapshot().acs_timestamp = text,
                    (Some(Place::Snapshot), "acs_format") => self.found.snapshot().acs_format = text,
                    (Some(Place::Snapshot), "created_at") => self.found.snapshot().created_at = text,
                    (Some(Place::Snapshot), "domain_id") => self.found.snapshot().domain_id = text,
                    (Some(Place::Dar), "hash") if bytes.is_empty() => self.wrong(at, "a DAR's hash is empty"),
                    _ => {}
                }
            }
            Taking::Large(checked) => match (place, key.as_str(), checked.finish()) {
                (_, _, None) => self.wrong(at, format!("{key} is no base64, or not all of it")),
                (Some(Place::Snapshot), "acs_snapshot", size) => self.found.snapshot().acs_bytes = size,
                (Some(Place::Snapshot), "genesis_state", size) => self.found.snapshot().genesis_bytes = size,
                (_, _, Some(0)) => self.wrong(at, "a DAR has no content"),
                (_, _, Some(size)) => self.found.snapshot().dar_bytes += size,
            },
        }
    }

    fn value_ends(&mut self, end: u64) {
        if self.place() == Some(Place::Document)
            && let Some(member) = self.found.members.last_mut()
        {
            member.end = end;
        }
    }
}

impl Sink for Shape {
    fn take(&mut self, token: Token<'_>, at: u64) -> Result<(), Fault> {
        match token {
            Token::Key(key) => self.take_key(key, at)?,
            Token::Open(container) => {
                let kind = match container {
                    Container::Object => Kind::Object,
                    Container::Array => Kind::Array,
                };
                let place = self.value(kind, "", at);
                self.open.push(Frame {
                    place,
                    key: String::new(),
                    keys: Vec::new(),
                });
            }
            Token::Close(_) => {
                if let Some(frame) = self.open.pop()
                    && frame.place == Place::Dar
                    && !["hash", "content"]
                        .iter()
                        .all(|key| frame.keys.iter().any(|known| known == key))
                {
                    self.wrong(at, "a DAR lacks its hash or its content");
                }
                self.value_ends(at + 1);
            }
            Token::TextStart => {
                self.text_at = at;
                self.value(Kind::Text, "", at);
            }
            Token::TextPiece(piece) => match &mut self.taking {
                Taking::Nothing => {}
                Taking::Small(kept) => kept.extend(piece.iter().take(MOST_TEXT_BYTES.saturating_sub(kept.len()))),
                Taking::Large(checked) => checked.take(piece),
            },
            Token::TextEnd => {
                self.text_end();
                self.value_ends(at + 1);
            }
            Token::Scalar(text) => {
                let kind = if text == "null" { Kind::Null } else { Kind::Scalar };
                self.value(kind, text, at);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
