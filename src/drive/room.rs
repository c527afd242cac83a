//! Room for the judgement of a pass, kept from pass to pass.

use gate::scratch::{Holder, Place, Scratch};
use gate::view::ProcessView;

/// Room for the judgement of a pass; it grows with what is judged.
#[derive(Default)]
pub struct Room {
    places: Vec<Place>,
    holders: Vec<Holder>,
}

impl Room {
    /// Enough for these processes.
    pub fn scratch(&mut self, processes: &[ProcessView<'_>]) -> Scratch<'_> {
        let (places, holders) = Scratch::needs(processes);
        self.places.resize(self.places.len().max(places), Place::default());
        self.holders.resize(self.holders.len().max(holders), Holder::default());
        let scratch = Scratch::for_pass(processes, &mut self.places, &mut self.holders);
        scratch.expect("it was made as large as it must be")
    }
}
