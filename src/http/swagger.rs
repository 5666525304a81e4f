//! The Swagger 2.0 document of one version of an API, as `/gov/api?api-version=…` gives it. As [`super::openapi`].

use hyper::Method;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::error::ErrorAnswer;
use super::openapi::{About, bytes, capitalised, generator, methods, operation_id, simplify};
use super::router::{Answer, Route, Router, schema};

/// The parameter in which a request names the version.
const VERSION_PARAMETER: &str = "api-version";

impl<S> Router<S> {
    /// Documents every route of `tag` (`gov`) that exists in the version of the API which `about` names.
    pub fn swagger(&self, tag: &str, about: &About<'_>) -> Value {
        let version = about.version;
        let mut generator = generator("/definitions");
        let mut paths = Map::new();
        let routes = self.routes().iter();
        for route in routes.filter(|route| route.tag() == tag && route.since.is_some_and(|since| since <= version)) {
            let path = paths.entry(camel_case(route)).or_insert_with(|| json!({}));
            let Value::Object(path) = path else { continue };
            for method in methods(route) {
                let name = method.as_str().to_ascii_lowercase();
                path.insert(name, operation(route, &method, &mut generator));
            }
        }
        let error = schema::<ErrorAnswer>(&mut generator);
        let mut document = json!({
            "consumes": ["application/json"],
            "definitions": generator.take_definitions(true),
            "info": {"description": about.description, "title": about.title, "version": version},
            "parameters": {"ApiVersion": {
                "description": "The version of the API.", "enum": [version], "in": "query",
                "name": VERSION_PARAMETER, "required": true, "type": "string",
            }},
            "paths": paths,
            "produces": ["application/json"],
            "responses": {"Error": {
                "description": "An error: a code for programs, a message for people, details where there are any.",
                "schema": error,
            }},
            "schemes": ["https"],
            "swagger": "2.0",
        });
        simplify(&mut document);
        rename_nullable(&mut document);
        document
    }
}

fn operation<S>(route: &Route<S>, method: &Method, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    responses.insert("default".to_owned(), json!({"$ref": "#/responses/Error"}));
    for (status, meaning) in &route.others {
        responses.insert(status.as_str().to_owned(), json!({"description": meaning}));
    }
    let mut response = json!({"description": route.summary});
    let (body, produces) = match route.answer {
        Answer::Nothing => (None, None),
        Answer::Json(schema) => (Some(schema(generator).to_value()), Some("application/json")),
        Answer::Bytes(content_type) => (Some(bytes(content_type)), Some(content_type)),
    };
    if let Value::Object(fields) = &mut response {
        fields.extend(body.map(|schema| ("schema".to_owned(), schema)));
    }
    responses.insert(route.status.as_str().to_owned(), response);
    let mut parameters = vec![json!({"$ref": "#/parameters/ApiVersion"})];
    parameters.extend(
        route
            .captures()
            .map(|name| json!({"in": "path", "name": camel(name), "required": true, "type": "string"})),
    );
    parameters.extend(
        route
            .query
            .iter()
            .filter(|query| query.name != VERSION_PARAMETER)
            .map(|query| {
                let mut parameter = (query.schema)(generator).to_value();
                if let Value::Object(fields) = &mut parameter {
                    fields.insert("description".to_owned(), json!(query.description));
                    fields.insert("in".to_owned(), json!("query"));
                    fields.insert("name".to_owned(), json!(query.name));
                    fields.insert("required".to_owned(), json!(query.required));
                }
                parameter
            }),
    );
    let body = json!({
        "description": "A signed message (COSE_Sign1)", "in": "body", "name": "body", "required": true,
        "schema": {"format": "binary", "type": "string"},
    });
    parameters.extend(route.takes.map(|_| body));
    let mut operation = json!({
        "operationId": operation_id(route, method),
        "parameters": parameters,
        "responses": responses,
        "summary": route.summary,
    });
    if let Value::Object(fields) = &mut operation {
        fields.extend(
            route
                .takes
                .map(|content_type| ("consumes".to_owned(), json!([content_type]))),
        );
        // Errors are JSON wherever a success is something else.
        let produces = produces.filter(|content_type| *content_type != "application/json");
        fields.extend(produces.map(|content_type| ("produces".to_owned(), json!([content_type, "application/json"]))));
    }
    operation
}

/// The pattern with its captures written as clients of CCF know them: `{proposalId}`.
fn camel_case<S>(route: &Route<S>) -> String {
    let named = |path: String, name: &str| path.replace(&format!("{{{name}}}"), &format!("{{{}}}", camel(name)));
    route.captures().fold(route.pattern.to_owned(), named)
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &capitalised(word))
}

/// Swagger 2.0 has no `nullable`; who reads it knows the extension.
fn rename_nullable(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(nullable) = object.get("nullable").filter(|nullable| nullable.is_boolean()).cloned() {
                object.remove("nullable");
                object.insert("x-nullable".to_owned(), nullable);
            }
            object.values_mut().for_each(rename_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(rename_nullable),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::router::tests::table;
    use super::*;

    fn document(version: &str) -> Value {
        let about = About {
            title: "T",
            description: "D",
            version,
        };
        table().swagger("gov", &about)
    }

    #[test]
    fn a_document_has_the_routes_of_its_version_and_no_others() {
        let paths = |version: &str| -> Vec<String> {
            document(version)["paths"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        let preview = [
            "/gov/members/proposals",
            "/gov/members/proposals/{proposalId}",
            "/gov/members/proposals:create",
        ];
        assert_eq!(paths("2023-06-01-preview"), preview);
        let later = paths("2024-07-01");
        assert_eq!(later.len(), 4);
        assert!(later.contains(&"/gov/members/proposals/{proposalId}/ballots/{memberId}:submit".to_owned()));
    }

    #[test]
    fn every_parameter_of_a_path_is_declared_and_signed_requests_are_bodies() {
        let document = document("2024-07-01");
        let path = "/gov/members/proposals/{proposalId}/ballots/{memberId}:submit";
        let vote = &document["paths"][path]["post"];
        let names: Vec<&str> = vote["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(names, ["proposalId", "memberId", "body"]);
        assert_eq!(vote["consumes"], json!(["application/cose"]));
        assert_eq!(document["parameters"]["ApiVersion"]["enum"], json!(["2024-07-01"]));
    }
}
