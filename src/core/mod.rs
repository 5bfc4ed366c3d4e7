//! STATE: who is here, what may they do, where does it go. A value without a socket, clock, thread, random source or disk.

pub mod effect;
pub mod settings;

pub use effect::{Command, Effect, Input, Job, Now, Sid};
pub use settings::Settings;

use crate::store::{Engine, StoreError};

/// The server.
pub struct Core {}

impl Core {
    /// The server as the database has it: reads all accounts, rosters and block lists. `seed`: unpredictable, from the system.
    /// `extensions`: the pipeline, see `ext::all`. First effects (work to be resumed) come with the first input.
    pub fn open(
        settings: Settings,
        seed: [u8; 32],
        extensions: Vec<Box<dyn std::any::Any + Send>>,
        engine: &mut dyn Engine,
    ) -> Result<Core, StoreError> {
        let _ = (settings, seed, extensions, engine);
        todo!()
    }

    /// The one entrance.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let _ = (now, input, effects);
        todo!()
    }

    /// Other settings from now on.
    pub fn configure(&mut self, settings: Settings) {
        let _ = settings;
        todo!()
    }

    /// Stream features of the extensions after authentication, for `stream::Terms`.
    pub fn stream_features(&self) -> Vec<&'static str> {
        todo!()
    }
}
