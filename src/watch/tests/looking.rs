//! Looks at names that lead to several places.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::made_up::settings;
use crate::watch::answers::{Failure, Observation, Outcome};
use crate::watch::clock::Clock;
use crate::watch::poll::{Looks, Wanted};

fn looks() -> Looks {
    let clock = Clock::new(Instant::now(), Duration::from_secs(60));
    Looks::new(settings(), Arc::new(Mutex::new(clock))).unwrap()
}

/// A place whose queue is full: as a machine that does not answer. With what fills it.
async fn silent() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        fill.push(connected.unwrap());
    }
    (address, (listener, fill))
}

async fn refuses() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// What came of a look in the end.
async fn look(looks: &Looks, name: &str) -> Outcome {
    let last = Mutex::new(None);
    let wanted = Wanted {
        service: None,
        is_thorough: false,
    };
    let tell = |seen: Observation| *last.lock().unwrap() = Some(seen.outcome);
    looks.look(name, &wanted, tell).await;
    last.into_inner().unwrap().unwrap()
}

#[tokio::test]
async fn of_several_places_the_one_that_answers_is_found_whichever_comes_first() {
    let name = "two.invalid:1";
    let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (silent, _full) = silent().await;
    let (there_at, refuses) = (there.local_addr().unwrap(), refuses().await);
    for others in [silent, refuses] {
        for order in [vec![others, there_at], vec![there_at, others]] {
            let looks = looks();
            looks.names.lead(name, order);
            assert!(looks.is_there(name).await, "{others}");
        }
    }
}

#[tokio::test]
async fn a_place_that_takes_connections_and_hangs_up_does_not_hide_the_other() {
    let name = "two.invalid:1";
    let hangs_up = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = hangs_up.local_addr().unwrap();
    let ends = tokio::spawn(async move {
        loop {
            drop(hangs_up.accept().await.unwrap());
        }
    });
    let (silent, _full) = silent().await;
    let looks = looks();
    looks.names.lead(name, vec![first, silent]);
    assert!(matches!(look(&looks, name).await, Outcome::Failed(Failure::Closed, _)));
    // Now the other one is tried, which a look that begins with the first would never come to.
    assert!(matches!(
        look(&looks, name).await,
        Outcome::Failed(Failure::Unreachable, _)
    ));
    ends.abort();
}

#[tokio::test]
async fn where_none_takes_a_connection_what_says_least_counts_unless_the_node_was_at_the_other() {
    let name = "two.invalid:1";
    let (silent, _full) = silent().await;
    let refuses = refuses().await;
    let looks = looks();
    looks.names.lead(name, vec![refuses, silent]);
    assert!(matches!(
        look(&looks, name).await,
        Outcome::Failed(Failure::Unreachable, _)
    ));
    looks.names.answers(name, refuses);
    assert!(matches!(look(&looks, name).await, Outcome::Failed(Failure::Refused, _)));
}
