//! Placing and scaling against an API server that a real `kubectl` accepts.

#[path = "api_server/mod.rs"]
pub mod api_server;
#[path = "kubernetes/kubectl.rs"]
mod kubectl;
#[path = "kubernetes/place.rs"]
mod place;
#[path = "kubernetes/scale.rs"]
mod scale;
#[path = "kubernetes/scale_killed.rs"]
mod scale_killed;
