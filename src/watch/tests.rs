//! Sentences that the judge must keep, over looks that are made up; all recorded answers of real nodes; and a seeded cluster in which
//! the truth is known.

mod attacks;
mod looking;
mod made_up;
mod recorded;
mod remembered;
mod sentences;
