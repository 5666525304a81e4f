//! The OpenAPI 3.0 document of a table of routes, as `/node/api` and `/gov/api` give it.

use serde_json::{Map, Value, json};

use super::router::{Route, Router};

impl<S> Router<S> {
    /// Documents every route of `tag` (`node`); paths in it are relative to the server `/node`.
    pub fn openapi(&self, tag: &str, title: &str, version: &str) -> Value {
        let mut paths = Map::new();
        let mut names = std::collections::BTreeSet::new();
        for route in self.routes().iter().filter(|route| route.tag() == tag) {
            names.extend(route.request_schema.into_iter().chain(route.response_schema));
            let path = route.pattern.strip_prefix('/').and_then(|path| path.strip_prefix(tag));
            let path = paths.entry(path.unwrap_or(route.pattern)).or_insert_with(|| json!({}));
            let Value::Object(path) = path else { continue };
            path.insert(route.method.as_str().to_ascii_lowercase(), operation(route, tag));
            if route.also_head {
                path.insert("head".to_owned(), operation(route, tag));
            }
            let captures: Vec<Value> = route.captures().map(path_parameter).collect();
            if !captures.is_empty() {
                path.insert("parameters".to_owned(), Value::Array(captures));
            }
        }
        // A schema that nobody described says that anything may come: a reference must lead somewhere.
        let schemas: Map<String, Value> = names
            .into_iter()
            .map(|name| (name.to_owned(), self.schemas.get(name).cloned().unwrap_or(json!({}))))
            .chain(
                self.schemas
                    .iter()
                    .map(|(name, schema)| ((*name).to_owned(), schema.clone())),
            )
            .collect();
        json!({
            "components": {"schemas": schemas},
            "info": {"title": title, "version": version},
            "openapi": "3.0.0",
            "paths": paths,
            "servers": [{"url": format!("/{tag}")}],
        })
    }
}

fn operation<S>(route: &Route<S>, tag: &str) -> Value {
    let mut answer = json!({"description": route.summary});
    let schema = route.response_schema.map_or(json!({}), reference);
    if let (false, Value::Object(answer)) = (route.status == hyper::StatusCode::NO_CONTENT, &mut answer) {
        answer.insert("content".to_owned(), json!({route.content_type: {"schema": schema}}));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "responses": {
            route.status.as_str(): answer,
            "default": {"description": "An error: code, message and, where there are any, details."},
        },
        "summary": route.summary,
        "tags": [tag],
    });
    let Value::Object(fields) = &mut operation else {
        return operation;
    };
    if let Some(content_type) = route.request_type {
        let schema = route.request_schema.map_or(json!({}), reference);
        let body = json!({"content": {content_type: {"schema": schema}}, "required": true});
        fields.insert("requestBody".to_owned(), body);
    }
    if !route.query.is_empty() {
        let parameter = |parameter: &super::router::QueryParameter| {
            json!({
                "description": parameter.description, "in": "query", "name": parameter.name,
                "required": parameter.required, "schema": {"type": "string"},
            })
        };
        fields.insert("parameters".to_owned(), route.query.iter().map(parameter).collect());
    }
    operation
}

/// Letters and digits of the method and the pattern: `GetNodeNetworkNodesNodeId`.
fn operation_id<S>(route: &Route<S>) -> String {
    let method = route.method.as_str().to_ascii_lowercase();
    let words = route.pattern.split(|c: char| !c.is_ascii_alphanumeric());
    let capitalised = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase())
            .into_iter()
            .chain(letters)
            .collect::<String>()
    };
    std::iter::once(method.as_str()).chain(words).map(capitalised).collect()
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn path_parameter(name: &str) -> Value {
    json!({"in": "path", "name": name, "required": true, "schema": {"type": "string"}})
}

#[cfg(test)]
mod tests {
    use super::super::router::tests::table;
    use super::*;

    #[test]
    fn every_route_of_the_tag_is_documented_once_and_every_reference_leads_somewhere() {
        let router = table().with_schema("Node", json!({"type": "object"}));
        for tag in ["node", "gov"] {
            let document = router.openapi(tag, "T", "1.0");
            assert_eq!(document["openapi"], "3.0.0");
            assert_eq!(document["servers"], json!([{"url": format!("/{tag}")}]));
            let mut ids = std::collections::BTreeSet::new();
            for route in router.routes().iter().filter(|route| route.tag() == tag) {
                let path = route.pattern.strip_prefix(&format!("/{tag}")).unwrap();
                let method = route.method.as_str().to_lowercase();
                let operation = &document["paths"][path][&method];
                assert_eq!(operation["summary"], route.summary, "{document:#}");
                assert!(ids.insert(operation["operationId"].to_string()));
                for name in [route.request_schema, route.response_schema].into_iter().flatten() {
                    assert!(document["components"]["schemas"][name].is_object(), "{name}");
                }
            }
        }
        let document = router.openapi("gov", "T", "1.0");
        let ballot = &document["paths"]["/members/proposals/{proposal_id}/ballots/{member_id}:submit"];
        assert_eq!(ballot["parameters"][1]["name"], "member_id");
        let content = ballot["post"]["requestBody"]["content"].as_object().unwrap();
        assert!(content.keys().eq(["application/cose"]));
        assert_eq!(
            router.openapi("node", "T", "1")["components"]["schemas"]["Node"]["type"],
            "object"
        );
    }
}
