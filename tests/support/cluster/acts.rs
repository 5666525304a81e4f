//! What members do to one service, each time once: whoever led may have died meanwhile.

use rekindle::member::Session;
use serde_json::json;

use super::process::{client, get};
use super::promises::Members;
use crate::node::an_hour_ago;

/// Members propose to open the service, once.
pub async fn accept_once(members: &Members, urls: &[String]) {
    for url in urls {
        let network = get(url, "/node/network").await.unwrap_or_default();
        let previous = get(url, "/node/service/previous_identity").await.unwrap_or_default();
        let opening = json!({"name": "transition_service_to_open", "args": {
            "next_service_identity": network["service_certificate"],
            "previous_service_identity": previous["previous_service_identity"],
        }});
        if members.pass(std::slice::from_ref(url), &opening, 0).await.is_ok() {
            return;
        }
    }
}

pub async fn trust_once(members: &Members, urls: &[String], id: &str) -> bool {
    let arguments = json!({"node_id": id, "valid_from": an_hour_ago()});
    let action = json!({"name": "transition_node_to_trusted", "args": arguments});
    members.pass(urls, &action, 1).await.is_ok()
}

pub async fn remove_once(members: &Members, urls: &[String], id: &str) -> bool {
    members
        .pass(urls, &json!({"name": "remove_node", "args": {"node_id": id}}), 2)
        .await
        .is_ok()
}

/// Members submit their shares, at any node, until so many have or there are enough.
pub async fn submit_shares(members: &Members, urls: &[String], limit: Option<usize>) {
    let mut submitted = 0;
    for (turn, keys) in members.keys.iter().enumerate() {
        let Some(encryption) = &keys.encryption else { continue };
        let client = client(&urls[turn % urls.len()]);
        if Session::new(&client, &keys.member)
            .submit_share(encryption)
            .await
            .is_ok()
        {
            submitted += 1;
        }
        if Some(submitted) == limit {
            return;
        }
    }
}
