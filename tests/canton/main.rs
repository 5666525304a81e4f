//! `rekindle canton`, as operators run it: one file a command.
#![cfg(feature = "canton")]

mod agreement;
mod backup;
mod documented;
mod dumps;
mod fetch;
mod full_disk;
mod identities;
mod kubernetes;
mod logs;
mod merge;
mod postgres;
mod runbook;
mod sv_app;
mod verification;
