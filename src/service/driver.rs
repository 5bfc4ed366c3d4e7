//! A core with its database and nothing around it: each input is carried out to its end before the next. For commands without
//! a running server, and for tests.

use crate::core::{Command, Core, Effect, Input, Job, Now};
use crate::store::{Engine, StoreError};
use crate::wire::scram::Credentials;

/// A core and its engine.
pub struct Driver<E> {
    /// The core, whose effects the driver carries out.
    pub core: Core,
    /// What the core asks and changes, at once.
    pub engine: E,
}

impl<E: Engine> Driver<E> {
    /// Handles an input and everything that follows from it: commits, questions, hashing. Returns the other effects, in
    /// order. Nothing waits: a timer that is due is not waited for.
    ///
    /// # Errors
    /// When the database refuses a commit or a question.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<Vec<Effect>, StoreError> {
        let mut others = Vec::new();
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.core.handle(now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Commit(number, batch) => {
                        self.engine.commit(&[batch])?;
                        inputs.push_back(Input::Committed(number));
                    }
                    Effect::Ask(job, query) => inputs.push_back(Input::Answer(job, Some(self.engine.query(&query)?))),
                    Effect::Hash(job, password, iterations) => {
                        inputs.push_back(Input::Hashed(job, hash(&password, iterations).ok()));
                    }
                    other => others.push(other),
                }
            }
        }
        Ok(others)
    }

    /// Carries out a command of the owner.
    ///
    /// # Errors
    /// What the core says, or the database.
    pub fn command(&mut self, now: Now, command: Command) -> Result<Vec<String>, String> {
        let job = Job(0);
        let effects = self.handle(now, Input::Command(job, command)).map_err(|e| e.to_string())?;
        effects
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Told(j, answer) if j == job => Some(answer),
                _ => None,
            })
            .unwrap_or_else(|| Err("the server did not answer the command".into()))
    }
}

/// Keys for a password, with a fresh salt.
///
/// # Errors
/// When the password cannot be used, in words.
pub fn hash(password: &str, iterations: u32) -> Result<Credentials, String> {
    let salt = super::random().map_err(|e| e.0)?;
    Credentials::derive(password, &salt[..16], iterations).map_err(|e| format!("this password cannot be used: {}", e.0))
}
