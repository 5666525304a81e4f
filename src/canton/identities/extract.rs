//! A node out of a dump, byte for byte as it stands there: what `jq .identities.participant` was meant to do.

use std::ops::Range;
use std::path::Path;

use super::json::Value;
use super::shape::{self, Shape, Slot};
use super::{BYTE_ORDER_MARK, node, parse};
use crate::canton::{Code, Finding, Findings};
use crate::report::Severity;

/// A node that was found in a dump.
pub struct Extracted {
    /// Where it stands in the dump.
    pub span: Range<usize>,
    /// The shape of the dump.
    pub shape: Shape,
    /// What was found of it.
    pub node: node::Node,
    /// What is wrong with it, or worth to be known.
    pub findings: Findings,
}

/// Why nothing is extracted.
pub struct Refused {
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// Whether the node is there, and only what is in it is wrong.
    pub is_there: bool,
    /// Where the node stands, where it is there.
    pub span: Option<Range<usize>>,
}

impl Refused {
    fn because(finding: Finding, file: &Path) -> Box<Refused> {
        Box::new(Refused {
            findings: vec![finding.file(file)],
            is_there: false,
            span: None,
        })
    }
}

/// Where the object that holds an SV's nodes stands in a dump (of shape A or D inside `identities`, of B all of it): what
/// `identities` is in a migration dump.
///
/// # Errors
/// A finding: the document is no dump of an SV's nodes.
pub fn document(bytes: &[u8]) -> Result<(Shape, Range<usize>), Box<Finding>> {
    let top = parse(bytes)?;
    let known = shape::recognise(&top)?;
    match known.shape {
        Shape::Node => {
            let message = "the file holds one node's identities, and the full dump with participant, sequencer and mediator \
                           was expected";
            Err(Box::new(Finding::new(Code::OnlyOneNode, message)))
        }
        _ if known.is_validators => {
            let message = "the file is a validator's dump, and an SV's identities were expected";
            Err(Box::new(Finding::new(Code::NotIdentities, message)))
        }
        shape => Ok((shape, in_file(bytes, known.holder))),
    }
}

fn in_file(bytes: &[u8], value: &Value<'_>) -> Range<usize> {
    let before = if bytes.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    let span = value.span();
    span.start + before..span.end + before
}

/// Finds a node in a dump, and checks it.
///
/// # Errors
/// [`Refused`]: the node is not there, or [`Refused::is_there`] and wrong.
pub fn extract(bytes: &[u8], slot: Slot, file: &Path) -> Result<Extracted, Box<Refused>> {
    let top = parse(bytes).map_err(|finding| Refused::because(*finding, file))?;
    let known = shape::recognise(&top).map_err(|finding| Refused::because(*finding, file))?;
    if known.shape == Shape::Node {
        let message = "the file is one node's identities already: there is nothing to take out of it";
        let finding = Finding::new(Code::OnlyOneNode, message).next("use the file as it is");
        return Err(Refused::because(finding, file));
    }
    let holder = known.holder;
    let twice = |holder: &Value<'_>, name: &str| holder.members().iter().filter(|(known, _)| known == name).count() > 1;
    if twice(&top, "identities") || twice(holder, slot.name()) {
        let message = format!(
            "the {} is written more than once, and which one is meant can't be told",
            slot.name()
        );
        return Err(Refused::because(Finding::new(Code::DuplicateField, message), file));
    }
    let value = match holder.get(slot.name()) {
        Some(value) if value.is_object() => value,
        other => {
            let found = other.map_or("not there", Value::called);
            let message = format!("the {} is {found}, and its identities were expected", slot.name());
            let finding = Finding::new(Code::FieldMissing, message).of(slot.name());
            return Err(Refused::because(finding, file));
        }
    };
    let mut findings = Findings::default();
    let finder = node::Finder::of(bytes, Some(file));
    super::duplicates(value, &mut format!(".{}", slot.name()), &finder, &mut findings);
    let node = node::check(value, slot, &finder, &mut findings);
    let span = in_file(bytes, value);
    match findings.any_at_least(Severity::Error) {
        true => Err(Box::new(Refused {
            findings: findings.finish(),
            is_there: true,
            span: Some(span),
        })),
        false => Ok(Extracted {
            span,
            shape: known.shape,
            node,
            findings,
        }),
    }
}
