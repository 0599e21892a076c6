//! The shapes of load: how many rooms, members and senders, how often, and whether messages bunch.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::Result;
use crate::door::Event;
use crate::pace::{Pace, Phase};

/// One shape of load.
#[derive(Debug, Clone, Serialize)]
pub struct Shape {
    pub name: String,
    pub rooms: usize,
    pub members: usize,
    /// Of a room's members, how many send.
    pub senders: usize,
    /// Messages per second and sender.
    pub rate: f64,
    pub phase: Phase,
    pub seconds: u64,
    /// Bytes of a message's text.
    pub payload: usize,
}

/// The shapes measured by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Named {
    /// 1 room × 1000 members, one sender, 20/s: 20,000 deliveries/s.
    Hall,
    /// 200 rooms × 10 members, one sender each, 20/s, evenly spread: 40,000 deliveries/s, singly. Of code half as many.
    Singles,
    /// 200 rooms × 10 members, all send at 5/s, a room's members in the same instant: 100,000 deliveries/s. Not of code.
    Bunches,
}

/// Which shapes to run: the named ones, or one of your own.
#[derive(Debug, Clone, clap::Args)]
pub struct ShapeOptions {
    /// Only this named shape; may be repeated [default: all three].
    #[arg(long, value_enum)]
    shape: Vec<Named>,
    /// A shape of your own: number of rooms.
    #[arg(long)]
    rooms: Option<usize>,
    /// Members of each room.
    #[arg(long)]
    members: Option<usize>,
    /// Senders in each room.
    #[arg(long)]
    senders: Option<usize>,
    /// Messages per second and sender.
    #[arg(long)]
    rate: Option<f64>,
    /// How the senders' instants lie.
    #[arg(long, value_enum)]
    phase: Option<Phase>,
    /// Length of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Measurements of each server; the figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeat: u32,
}

impl ShapeOptions {
    /// The shapes to measure an event in. Of changes of a text that bunch only the newest is heard, so these are
    /// measured singly; and in fewer places at once, because a server that is behind leaves older ones out, too.
    pub fn shapes(&self, event: Event) -> Result<Vec<Shape>> {
        let own = self.rooms.is_some()
            || self.members.is_some()
            || self.senders.is_some()
            || self.rate.is_some();
        let shapes = if own || self.phase.is_some() {
            vec![self.own_shape()]
        } else if self.shape.is_empty() {
            let named = Named::value_variants().iter();
            let fit = named.filter(|named| event == Event::Chat || **named != Named::Bunches);
            fit.map(|&named| self.named_shape(named, event)).collect()
        } else {
            let named = self.shape.iter();
            named.map(|&named| self.named_shape(named, event)).collect()
        };
        let bunched = |shape: &&Shape| shape.senders > 1 && shape.phase != Phase::Even;
        match shapes.iter().find(bunched) {
            Some(shape) if event == Event::Code => {
                let (name, right) = (&shape.name, "one sender in a room, or --phase even");
                let why = "of changes that bunch only the newest is heard";
                Err(format!("{name}: {why}; right is {right}").into())
            }
            _ => Ok(shapes),
        }
    }

    fn own_shape(&self) -> Shape {
        let (rooms, members) = (
            self.rooms.unwrap_or(1).max(1),
            self.members.unwrap_or(10).max(1),
        );
        let senders = self.senders.unwrap_or(1).clamp(1, members);
        let rate = self.rate.filter(|rate| *rate > 0.0).unwrap_or(20.0);
        let phase = self.phase.unwrap_or(Phase::Even);
        let name =
            format!("{rooms} × {members}, {senders} send {rate}/s, {phase:?}").to_lowercase();
        self.shape_of(name, rooms, members, senders, rate, phase)
    }

    fn named_shape(&self, named: Named, event: Event) -> Shape {
        match named {
            Named::Singles if event == Event::Code => self.shape_of(
                "200 × 10, one sends 10/s".into(),
                200,
                10,
                1,
                10.0,
                Phase::Even,
            ),
            Named::Hall => self.shape_of(
                "1 × 1000, one sends 20/s".into(),
                1,
                1000,
                1,
                20.0,
                Phase::Even,
            ),
            Named::Singles => self.shape_of(
                "200 × 10, one sends 20/s".into(),
                200,
                10,
                1,
                20.0,
                Phase::Even,
            ),
            Named::Bunches => self.shape_of(
                "200 × 10, all send 5/s, bunched".into(),
                200,
                10,
                10,
                5.0,
                Phase::Room,
            ),
        }
    }

    fn shape_of(
        &self,
        name: String,
        rooms: usize,
        members: usize,
        senders: usize,
        rate: f64,
        phase: Phase,
    ) -> Shape {
        Shape {
            name,
            rooms,
            members,
            senders,
            rate,
            phase,
            seconds: self.seconds.max(1),
            payload: self.payload,
        }
    }
}

/// What a room is called.
pub fn room(number: usize) -> String {
    format!("rig-{number:05}")
}

impl Shape {
    pub fn sockets(&self) -> usize {
        self.rooms * self.members
    }

    /// Who sits where: room and user of each socket, rooms one after another.
    pub fn places(&self) -> impl Iterator<Item = (String, String)> {
        let members = self.members;
        (0..self.sockets()).map(move |socket| (room(socket / members), format!("u{socket:05}")))
    }

    pub fn room_names(&self) -> Vec<String> {
        (0..self.rooms).map(room).collect()
    }

    /// The schedule for about `seconds`; at least one message of every sender.
    pub fn pace(&self, seconds: f64) -> Pace {
        let rooms: Vec<Vec<usize>> = (0..self.rooms)
            .map(|room| (room * self.members..room * self.members + self.senders).collect())
            .collect();
        let rounds = (self.rate * seconds).round().max(1.0) as u64;
        Pace::new(
            &rooms,
            self.phase,
            Duration::from_secs_f64(1.0 / self.rate),
            rounds,
        )
    }
}
