//! What members and auditors read. Recovery specification, section 3.3.

use hyper::Method;

use super::answers::TxStatus;
use super::{answer, consensus, gov_handler};
use crate::governance::answers::{self, Paged};
use crate::governance::parameters::{ApiVersion, api_version};
use crate::governance::views::{self, code};
use crate::http::{ApiResult, QueryParameter, Request, Response, Route, schema};
use crate::node::shared::Node;

/// The parameter that every `/gov` endpoint requires.
pub(super) const API_VERSION: &[QueryParameter] = &[API_VERSION_PARAMETER];
const API_VERSION_PARAMETER: QueryParameter = QueryParameter {
    name: "api-version",
    required: true,
    description: "The version of the API",
    schema: schema::<ApiVersion>,
};

/// The parameter of the application's description.
const CASE: &[QueryParameter] = &[
    API_VERSION_PARAMETER,
    QueryParameter {
        name: "case",
        required: false,
        description: "original: fields as they were submitted",
        schema: schema::<String>,
    },
];

pub(super) fn routes() -> Vec<Route<Node>> {
    let get = |pattern, summary, handler| {
        Route::new(Method::GET, pattern, summary, handler)
            .query(API_VERSION)
            .since(ApiVersion::Preview.name())
    };
    let v1 = |route: Route<Node>| route.since(ApiVersion::V1.name());
    vec![
        get("/gov/service/info", "The service", gov_handler!(service_info)).returns::<answers::Service>(),
        get(
            "/gov/service/constitution",
            "The constitution",
            gov_handler!(constitution),
        )
        .returns_bytes("text/javascript"),
        get("/gov/service/members", "The consortium", gov_handler!(members)).returns::<Paged<answers::Member>>(),
        get("/gov/service/members/{member_id}", "A member", gov_handler!(member)).returns::<answers::Member>(),
        get("/gov/service/users", "The users", gov_handler!(users)).returns::<Paged<answers::User>>(),
        get("/gov/service/users/{user_id}", "A user", gov_handler!(user)).returns::<answers::User>(),
        get("/gov/service/nodes", "The nodes", gov_handler!(nodes)).returns::<Paged<answers::ServiceNode>>(),
        get("/gov/service/nodes/{node_id}", "A node", gov_handler!(node_by_id)).returns::<answers::ServiceNode>(),
        get("/gov/service/jwk", "JWT issuers and keys", gov_handler!(jwk)).returns::<answers::JwkInfo>(),
        get(
            "/gov/service/join-policy",
            "Which nodes may join",
            gov_handler!(join_policy),
        )
        .returns::<answers::JoinPolicies>(),
        v1(get(
            "/gov/service/javascript-app",
            "The JavaScript application",
            gov_handler!(javascript_app),
        ))
        .query(CASE)
        .returns::<answers::JsApp>(),
        v1(get(
            "/gov/service/javascript-modules",
            "Its modules",
            gov_handler!(javascript_modules),
        ))
        .returns::<Paged<answers::JsModuleName>>(),
        v1(get(
            "/gov/service/javascript-modules/{module_name}",
            "A module",
            gov_handler!(javascript_module),
        ))
        .returns_bytes("text/javascript"),
        get(
            "/gov/service/transactions/commit",
            "The last committed transaction",
            gov_handler!(commit),
        )
        .returns::<answers::Transaction<TxStatus>>(),
        get(
            "/gov/service/transactions/{transaction_id}",
            "Status of a transaction",
            gov_handler!(transaction),
        )
        .returns::<answers::Transaction<TxStatus>>(),
        get("/gov/members/proposals", "Every proposal", gov_handler!(proposals))
            .returns::<Paged<answers::Proposal<'_>>>(),
        get(
            "/gov/members/proposals/{proposal_id}",
            "A proposal",
            gov_handler!(proposal),
        )
        .returns::<answers::Proposal<'_>>(),
        get(
            "/gov/members/proposals/{proposal_id}/actions",
            "A proposal as it was submitted",
            gov_handler!(actions),
        )
        .returns::<answers::ProposalActions>(),
        get(
            "/gov/members/proposals/{proposal_id}/ballots/{member_id}",
            "A member's ballot",
            gov_handler!(ballot),
        )
        .returns_bytes("text/javascript"),
        get(
            "/gov/members/state-digests/{member_id}",
            "The state digest that a member last asked for",
            gov_handler!(state_digest),
        )
        .returns::<answers::StateDigest<'_>>(),
        get(
            "/gov/recovery/encrypted-shares/{member_id}",
            "A member's recovery share, encrypted for that member",
            gov_handler!(encrypted_share),
        )
        .returns::<answers::EncryptedShare<'_>>(),
    ]
}

pub(super) fn check_version(request: &Request) -> ApiResult<()> {
    api_version(request.query_value("api-version"), ApiVersion::Preview)?;
    Ok(())
}

macro_rules! view {
    ($name:ident, |$transaction:ident, $request:ident| $body:expr) => {
        view!($name since Preview, |$transaction, $request| $body);
    };
    ($name:ident since $version:ident, |$transaction:ident, $request:ident| $body:expr) => {
        fn $name(node: &Node, $request: &Request) -> ApiResult<Response> {
            api_version($request.query_value("api-version"), ApiVersion::$version)?;
            answer(node, |$transaction| Ok(Response::document(&$body)))
        }
    };
}

fn service_info(node: &Node, request: &Request) -> ApiResult<Response> {
    check_version(request)?;
    answer(node, |transaction| {
        Ok(Response::document(&views::service_info(transaction, |seqno| {
            node.status.view_of(seqno)
        })?))
    })
}

fn constitution(node: &Node, request: &Request) -> ApiResult<Response> {
    check_version(request)?;
    answer(node, |transaction| Ok(script(views::constitution(transaction)?)))
}

fn script(text: String) -> Response {
    Response::bytes("text/javascript", text)
}

view!(members, |transaction, request| views::members(transaction));
view!(member, |transaction, request| views::member(
    transaction,
    request.param("member_id")
)?);
view!(users, |transaction, request| views::users(transaction));
view!(user, |transaction, request| views::user(
    transaction,
    request.param("user_id")
)?);
view!(nodes, |transaction, request| code::nodes(transaction));
view!(node_by_id, |transaction, request| code::node(
    transaction,
    request.param("node_id")
)?);
view!(jwk, |transaction, request| code::jwk(transaction));
view!(join_policy, |transaction, request| code::join_policy(transaction));
view!(javascript_app since V1, |transaction, request| code::javascript_app(
    transaction,
    request.query_value("case")
)?);
view!(javascript_modules since V1, |transaction, request| {
    code::javascript_modules(transaction)
});
view!(proposals, |transaction, request| views::proposals(transaction));
view!(proposal, |transaction, request| views::proposal(
    transaction,
    request.param("proposal_id")
)?);
view!(state_digest, |transaction, request| views::state_digest(
    transaction,
    request.param("member_id")
)?);
view!(encrypted_share, |transaction, request| views::encrypted_share(
    transaction,
    request.param("member_id")
)?);

fn javascript_module(node: &Node, request: &Request) -> ApiResult<Response> {
    api_version(request.query_value("api-version"), ApiVersion::V1)?;
    answer(node, |transaction| {
        let name = request.param("module_name");
        let module = code::javascript_module(transaction, name)?;
        Ok(Response::bytes("text/javascript", module))
    })
}

fn actions(node: &Node, request: &Request) -> ApiResult<Response> {
    check_version(request)?;
    answer(node, |transaction| {
        let body = views::actions(transaction, request.param("proposal_id"))?;
        Ok(Response::bytes("application/json", body))
    })
}

fn ballot(node: &Node, request: &Request) -> ApiResult<Response> {
    check_version(request)?;
    answer(node, |transaction| {
        let (proposal, member) = (request.param("proposal_id"), request.param("member_id"));
        Ok(script(views::ballot(transaction, proposal, member)?))
    })
}

fn commit(node: &Node, request: &Request) -> ApiResult<Response> {
    check_version(request)?;
    let txid = consensus::committed(node)?;
    Ok(Response::json(&answers::Transaction {
        status: TxStatus::Committed,
        transaction_id: txid,
    }))
}

fn transaction(node: &Node, request: &Request) -> ApiResult<Response> {
    check_version(request)?;
    let txid = consensus::parse_transaction_id(request.param("transaction_id"))?;
    Ok(Response::json(&answers::Transaction {
        status: consensus::status_of(node, txid),
        transaction_id: txid,
    }))
}
