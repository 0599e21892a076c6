//! collabd: a real-time collaboration node.
//!
//! The layers, top down; a folder imports only from lower rows:
//!
//! ```text
//! 5  main → app → config           wiring
//! 4  transport   api   intake      sockets, REST, RabbitMQ
//! 3  node                          carries commands in and events out
//! 2  dialects → domain             wire ⇄ meaning; meaning
//! 1  hub   backplane   records   auth   limits   neighbours   none imports a sibling
//! 0  ids   clock   telemetry   http   bunching
//! ```
//!
//! The words are in ARCHITECTURE.md. Start reading at [`node`], then follow a frame: `transport` reads
//! it, `dialects` makes a command of it, `domain` decides, `backplane` commits, `node::relay` delivers,
//! `hub` writes.

pub mod api;
pub mod app;
pub mod auth;
pub mod backplane;
pub mod bunching;
pub mod clock;
pub mod config;
pub mod dialects;
pub mod domain;
pub mod http;
pub mod hub;
pub mod ids;
pub mod intake;
pub mod limits;
pub mod neighbours;
pub mod node;
pub mod records;
pub mod telemetry;
pub mod transport;
pub mod trust;
