//! Faults under real nodes with people on them: whatever goes, what was acknowledged is heard by everyone, once and
//! in one order, and who is shown is there.
//!
//! Each case has three nodes, a store, and rooms of people who behave (see `checker::person`). It says what goes
//! wrong; `stage` says what must be true afterwards, which is the same for all.

mod clustered;
mod killed;
mod many;
mod stage;
mod store;
mod way;
