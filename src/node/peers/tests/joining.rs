use std::net::TcpListener;
use std::time::Duration;

use super::stack::*;
use crate::journal::Shelf;
use crate::node::peers::{Entries, Peers, Settings};

#[test]
fn who_joins_speaks_with_whomever_the_service_has_endorsed_and_with_nobody_else() {
    let joins = Settings {
        takes_the_endorsed: true,
        ..settings()
    };
    let nodes = strangers(2, 30, &joins, &[]);
    let (leader, joiner) = (&nodes[0], &nodes[1]);
    let address = joiner.peers.address().to_string();
    let own = owns(1, 31, 2000).remove(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = Peers::start(settings(), own, listener, Shelf::new(Vec::new()), |_| {}).unwrap();
    other.know(joiner.id(), &address);
    other.send(joiner.id(), frame(0, 0), Entries::none());
    let dropped = |node: &Node| node.peers.figures().dropped.values().sum::<u64>();
    joiner.until("the node of another service is refused", |node| dropped(node) > 0);

    leader.peers.know(joiner.id(), &address);
    leader.reaches(joiner, 1);
    // It answers where it was spoken to: it knows no address.
    joiner.reaches(leader, 2);
    assert!(joiner.said_within(Duration::from_millis(200)).is_none());
    assert_eq!(joiner.peers.figures().connections - joiner.peers.figures().strangers, 1);
}
