//! A consortium member's client: keys, signed requests, proposals, ballots, shares.
