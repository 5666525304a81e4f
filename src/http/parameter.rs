//! Parameters of queries, and schemas of types, for the documentation.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Makes the JSON schema of a type, for the documentation.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The [`SchemaOf`] of a type: the one that is served, so that the two can't differ.
pub fn schema<T: JsonSchema + ?Sized>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A parameter of the query, for the documentation.
#[derive(Clone, Copy, Debug)]
pub struct QueryParameter {
    /// Its name.
    pub name: &'static str,
    /// Whether the handler refuses a request without it.
    pub required: bool,
    /// What it is for.
    pub description: &'static str,
    /// What it may be: a type without parts.
    pub schema: SchemaOf,
}
