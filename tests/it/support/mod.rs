//! What the tests start: real servers on free ports, in folders of their own.

pub mod chaos;
pub mod cluster;
pub mod deaf;
pub mod ears;
pub mod nodes;
pub mod postgres;
pub mod redis;
pub mod secured;
pub mod sentinel;
