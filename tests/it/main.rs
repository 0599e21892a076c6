//! The integration tests of the crate: one binary, so that it is linked once.

mod contract;
mod frames;
mod joins;
mod neighbours;
mod outage;
mod packets;
mod records;
mod sim;
mod support;
mod tidy;
