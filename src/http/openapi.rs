//! The OpenAPI 3.0 document of a table of routes, as `/node/api` gives it.
//!
//! Schemas are made from the types that are answered ([`super::router::schema`]); what the table says of a route is all
//! that is said here. Documents of single versions of an API are in the module `swagger`.

use hyper::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::error::ErrorAnswer;
use super::forwarded::Forwarding;
use super::router::{Answer, QueryParameter, Route, Router, schema};

/// What a document says of itself.
pub struct About<'a> {
    /// Its title.
    pub title: &'a str,
    /// What the API is for.
    pub description: &'a str,
    /// The version of the API.
    pub version: &'a str,
}

impl<S> Router<S> {
    /// Documents every route of `tag` (`node`) whose answer does not depend on a version that the request names.
    pub fn openapi(&self, tag: &str, about: &About<'_>) -> Value {
        let mut generator = generator("/components/schemas");
        let mut paths = Map::new();
        let routes = self.routes().iter();
        for route in routes.filter(|route| route.tag() == tag && route.since.is_none()) {
            let path = paths.entry(route.pattern).or_insert_with(|| json!({}));
            let Value::Object(path) = path else { continue };
            for method in methods(route) {
                let name = method.as_str().to_ascii_lowercase();
                path.insert(name, operation(route, &method, &mut generator));
            }
            let captures: Vec<Value> = route.captures().map(path_parameter).collect();
            if !captures.is_empty() {
                path.insert("parameters".to_owned(), Value::Array(captures));
            }
        }
        let error = schema::<ErrorAnswer>(&mut generator);
        let mut document = json!({
            "components": {
                "responses": {"default": {
                    "content": {"application/json": {"schema": error}},
                    "description": "An error: a code for programs, a message for people, details where there are any.",
                }},
                "schemas": generator.take_definitions(true),
                "x-ccf-forwarding": {
                    "always": {"description": "A node that is not the primary sends the request to it.", "value": "always"},
                    "never": {"description": "Every node answers for itself.", "value": "never"},
                    "sometimes": {
                        "description": "A node answers for itself, unless it has sent an earlier request of the same \
                                        session to the primary.",
                        "value": "sometimes",
                    },
                },
            },
            "info": {"description": about.description, "title": about.title, "version": about.version},
            "openapi": "3.0.0",
            "paths": paths,
            "servers": [],
        });
        simplify(&mut document);
        document
    }
}

/// A generator of schemas of what is written, with references to `definitions`.
pub(super) fn generator(definitions: &'static str) -> SchemaGenerator {
    let settings = SchemaSettings::openapi3().for_serialize();
    let settings = settings.with(|settings| settings.definitions_path = definitions.into());
    settings.into_generator()
}

/// Its own method, and HEAD where that is answered too.
pub(super) fn methods<S>(route: &Route<S>) -> impl Iterator<Item = Method> {
    let head = route.also_head.then_some(Method::HEAD);
    std::iter::once(route.method.clone()).chain(head)
}

fn operation<S>(route: &Route<S>, method: &Method, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/default"}));
    let own = std::iter::once((route.status, route.summary));
    for (status, meaning) in own.chain(route.others.iter().copied()) {
        let has_body = status == route.status || status == hyper::StatusCode::PARTIAL_CONTENT;
        let answer = match has_body {
            true => response(route, method, meaning, generator),
            false => json!({"description": meaning}),
        };
        responses.insert(status.as_str().to_owned(), answer);
    }
    let forwarding = match route.forwarding {
        Forwarding::Always => "always",
        Forwarding::Sometimes => "sometimes",
        Forwarding::Never => "never",
    };
    let mut operation = json!({
        "operationId": operation_id(route, method),
        "responses": responses,
        "summary": route.summary,
        "tags": [route.tag()],
        "x-ccf-forwarding": {"$ref": format!("#/components/x-ccf-forwarding/{forwarding}")},
    });
    let Value::Object(fields) = &mut operation else {
        return operation;
    };
    if let Some(content_type) = route.takes {
        let body = json!({"content": {content_type: {"schema": binary()}}, "required": true});
        fields.insert("requestBody".to_owned(), body);
    }
    if !route.query.is_empty() {
        let parameters = route
            .query
            .iter()
            .map(|parameter| query_parameter(parameter, generator));
        fields.insert("parameters".to_owned(), parameters.collect());
    }
    operation
}

fn response<S>(route: &Route<S>, method: &Method, meaning: &str, generator: &mut SchemaGenerator) -> Value {
    let mut response = json!({"description": meaning});
    let content = match route.answer {
        _ if method == Method::HEAD => None,
        Answer::Nothing => None,
        Answer::Json(schema) => Some(json!({"application/json": {"schema": schema(generator)}})),
        Answer::Bytes(content_type) => Some(json!({content_type: {"schema": bytes(content_type)}})),
    };
    if let Value::Object(fields) = &mut response {
        fields.extend(content.map(|content| ("content".to_owned(), content)));
        if !route.headers.is_empty() {
            let header = |name: &&str| {
                (
                    (*name).to_owned(),
                    json!({"required": true, "schema": {"type": "string"}}),
                )
            };
            fields.insert(
                "headers".to_owned(),
                Value::Object(route.headers.iter().map(header).collect()),
            );
        }
    }
    response
}

fn binary() -> Value {
    json!({"format": "binary", "type": "string"})
}

/// The schema of a body that is not JSON.
pub(super) fn bytes(content_type: &str) -> Value {
    match content_type.starts_with("text/") {
        true => json!({"type": "string"}),
        false => binary(),
    }
}

fn query_parameter(parameter: &QueryParameter, generator: &mut SchemaGenerator) -> Value {
    json!({
        "description": parameter.description, "in": "query", "name": parameter.name,
        "required": parameter.required, "schema": (parameter.schema)(generator),
    })
}

fn path_parameter(name: &str) -> Value {
    json!({"in": "path", "name": name, "required": true, "schema": {"type": "string"}})
}

/// Letters and digits of the method and the pattern: `GetNodeNetworkNodesNodeId`.
pub(super) fn operation_id<S>(route: &Route<S>, method: &Method) -> String {
    let method = method.as_str().to_ascii_lowercase();
    let words = route.pattern.split(|c: char| !c.is_ascii_alphanumeric());
    std::iter::once(method.as_str()).chain(words).map(capitalised).collect()
}

/// A word with a capital at its beginning.
pub(super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Writes a choice of texts, each with its description, as the list of them, as CCF does: older generators of clients
/// know nothing else.
pub(super) fn simplify(document: &mut Value) {
    match document {
        Value::Object(object) => {
            let texts = object
                .get("oneOf")
                .and_then(Value::as_array)
                .and_then(|choices| texts_of(choices));
            if let Some(texts) = texts {
                object.remove("oneOf");
                object.insert("type".to_owned(), json!("string"));
                object.insert("enum".to_owned(), Value::Array(texts));
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// The texts that are allowed, if every choice is one or a list of them.
fn texts_of(choices: &[Value]) -> Option<Vec<Value>> {
    let mut texts = Vec::new();
    for choice in choices {
        let choice = choice
            .as_object()
            .filter(|choice| choice.get("type") == Some(&json!("string")))?;
        texts.extend(choice.get("enum")?.as_array()?.iter().cloned());
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::super::router::tests::table;
    use super::*;

    const ABOUT: About<'_> = About {
        title: "T",
        description: "D",
        version: "1.0",
    };

    #[test]
    fn every_route_of_the_tag_is_documented_under_its_whole_path_with_an_id_of_its_own() {
        let router = table();
        let document = router.openapi("node", &ABOUT);
        assert_eq!(
            (&document["openapi"], &document["servers"]),
            (&json!("3.0.0"), &json!([]))
        );
        let mut ids = std::collections::BTreeSet::new();
        let mut count = 0;
        for route in router.routes().iter().filter(|route| route.tag() == "node") {
            for method in methods(route) {
                let operation = &document["paths"][route.pattern][method.as_str().to_lowercase()];
                assert_eq!(operation["summary"], route.summary, "{document:#}");
                assert!(ids.insert(operation["operationId"].to_string()), "{operation}");
                count += 1;
            }
        }
        assert_eq!(count, 4);
        // What depends on a version of the API is elsewhere.
        let paths = router.openapi("gov", &ABOUT)["paths"].as_object().unwrap().clone();
        assert!(paths.contains_key("/gov/commit") && !paths.contains_key("/gov/members/proposals"));
    }

    #[test]
    fn schemas_are_those_of_the_types_and_every_reference_leads_somewhere() {
        let document = table().openapi("node", &ABOUT);
        let node = &document["components"]["schemas"]["Node"];
        assert_eq!(node["required"], json!(["id", "data", "state"]));
        assert_eq!(node["properties"]["data"]["nullable"], true);
        assert_eq!(document["components"]["schemas"]["State"]["enum"], json!(["Off", "On"]));
        let text = document.to_string();
        let mut references = 0;
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            references += 1;
        }
        assert!(references > 10);
        let primary = &document["paths"]["/node/primary"];
        assert!(primary["head"]["responses"]["200"].get("content").is_none());
        let own = &document["paths"]["/node/network/nodes/self"]["get"];
        assert_eq!(own["x-ccf-forwarding"]["$ref"], "#/components/x-ccf-forwarding/never");
    }
}
