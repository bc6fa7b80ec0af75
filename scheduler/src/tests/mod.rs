//! The scheduler as others meet it: over TLS, with certificates, through its API.

mod agent;
mod authorities;
mod doors;
mod hostile;
mod life;
mod members;
mod moves;
mod needs;
mod operators;
mod places;
mod replicas;
mod tokens;
mod voters;
mod world;
