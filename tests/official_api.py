"""Judges documents and answers of a node with validators that know nothing of it.

argv: a directory with node.json, gov.json, 2023-06-01-preview.json, 2024-07-01.json (documents as they were served) and
answers.jsonl: one answer a line, with the document and the path in it. Prints what is wrong and which operations were
answered with which status, as JSON. Objects are closed first: a field that no document knows is wrong, too.
"""

import copy
import json
import pathlib
import sys

from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

BODILESS = (204, 304)


def closed(node):
    """The same schema, without room for what it does not name; Swagger's extension for null as OpenAPI has it."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("x-nullable"), bool):
        node["nullable"] = node.pop("x-nullable")
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        node.setdefault("additionalProperties", False)
    return node


class Document:
    def __init__(self, document, is_closed):
        self.is_swagger = "swagger" in document
        validator = OpenAPIV2SpecValidator if self.is_swagger else OpenAPIV30SpecValidator
        self.invalid = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator(document).iter_errors()]
        self.paths = document["paths"]
        self.document = document
        self.schemas = copy.deepcopy({key: document[key] for key in ("components", "definitions") if key in document})
        if is_closed:
            self.schemas = closed(self.schemas)

    def resolve(self, node):
        while "$ref" in node:
            found = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def operations(self):
        return [(path, method) for path, item in self.paths.items() for method in item if method != "parameters"]

    def judge(self, answer):
        """What is wrong with an answer."""
        method, status = answer["method"], answer["status"]
        operation = self.paths[answer["path"]][method]
        responses = operation["responses"]
        response = responses.get(str(status))
        if response is None:
            if status < 400:
                yield f"status {status} is not documented"
                return
            response = responses["default"]
        response = self.resolve(response)
        for name, header in response.get("headers", {}).items():
            if header.get("required") and name not in answer["headers"]:
                yield f"header {name} is missing"
        content = self.content(operation, response, status)
        if method == "head":
            return
        if not content:
            if answer["body"]:
                yield f"a body that is not documented: {answer['body'][:80]}"
            return
        content_type = answer["headers"].get("content-type", "")
        if content_type not in content:
            yield f"content type {content_type!r}, documented: {sorted(content)}"
            return
        if content_type != "application/json":
            return
        schema = dict(self.schemas, allOf=[content[content_type]])
        for error in OAS30Validator(schema).iter_errors(json.loads(answer["body"])):
            yield f"{error.json_path}: {error.message[:300]}"

    def content(self, operation, response, status):
        if not self.is_swagger:
            return {name: media["schema"] for name, media in response.get("content", {}).items()}
        if "schema" not in response:
            return {}
        produces = operation.get("produces", ["application/json"])
        return {produces[0] if status < 400 else "application/json": response["schema"]}


def main():
    directory, is_closed = pathlib.Path(sys.argv[1]), sys.argv[2] == "closed"
    names = ["node", "gov", "2023-06-01-preview", "2024-07-01"]
    documents = {name: Document(json.loads((directory / f"{name}.json").read_text()), is_closed) for name in names}
    wrong = [f"{name}: {why}" for name, document in documents.items() for why in document.invalid]
    seen = {f"{name} {method} {path}": [] for name in names for path, method in documents[name].operations()}
    count = 0
    for line in (directory / "answers.jsonl").read_text().split("\n"):
        answer = json.loads(line)
        name, path, method = answer["document"], answer["path"], answer["method"]
        wrong += [f"{name} {method} {path}: {why}" for why in documents[name].judge(answer)]
        statuses = seen[f"{name} {method} {path}"]
        if answer["status"] not in statuses:
            statuses.append(answer["status"])
        count += 1
    print(json.dumps({"answers": count, "wrong": wrong, "seen": seen}))


main()
