//! One viewer of a room, from its first greeting to its end.

use std::collections::HashSet;

use crate::{Greeting, Mark, Position};

#[derive(Debug, Default)]
pub struct Viewer {
    pub stages: Vec<Stage>,
    pub resumes: u64,
    /// Heard before any greeting, or told twice within a stage without having come back.
    pub misheard: Vec<(u64, Mark)>,
    pub is_gone: bool,
    pub settled: Option<(Position, Option<(u64, u64)>)>,
    returning: bool,
}

/// From one greeting to the next.
#[derive(Debug)]
pub struct Stage {
    pub from: Position,
    pub history: HashSet<Mark>,
    /// In the order in which they came.
    pub heard: Vec<(u64, Mark)>,
    /// The furthest it was told to be.
    pub upto: u64,
}

impl Viewer {
    pub fn greeted(&mut self, greeting: Greeting) {
        self.returning = false;
        self.stages.push(Stage {
            from: greeting.at,
            upto: greeting.at.seq,
            history: greeting.history.into_iter().collect(),
            heard: Vec::new(),
        });
    }

    pub fn heard(&mut self, seq: u64, mark: Mark) {
        match self.stages.last_mut() {
            Some(stage) => {
                stage.heard.push((seq, mark));
                stage.upto = stage.upto.max(seq);
            }
            None => self.misheard.push((seq, mark)),
        }
    }

    pub fn returns(&mut self, since: Position) {
        if let Some(stage) = self.stages.last_mut()
            && stage.from.epoch == since.epoch
        {
            self.returning = true;
            stage.heard.retain(|(seq, _)| *seq <= since.seq);
            stage.upto = since.seq;
        }
    }

    pub fn told(&mut self, at: Position) {
        if std::mem::take(&mut self.returning) {
            self.resumes += 1;
        }
        if let Some(stage) = self.stages.last_mut()
            && stage.from.epoch == at.epoch
        {
            stage.upto = stage.upto.max(at.seq);
        }
    }

    pub fn gone(&mut self) {
        self.is_gone = true;
    }

    pub fn settled(&mut self, at: Position, text: Option<(u64, u64)>) {
        self.told(at);
        self.settled = Some((at, text));
    }

    /// Whether the viewer ought to know of an event at this place.
    pub fn is_owed(&self, at: Position) -> bool {
        if !self.is_gone {
            return true;
        }
        self.stages
            .iter()
            .any(|stage| stage.from.epoch == at.epoch && at.seq <= stage.upto)
    }
}
