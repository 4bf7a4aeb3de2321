//! What the configuration says of objectives, deadlines and seats.

use std::thread::available_parallelism;
use std::time::Duration;

use query::{Class, Contract, Room};

use crate::config::Settings;

/// Threads beside those that may search, so that sockets are read and questions refused while all seats are taken.
const THREADS_BESIDE_SEATS: usize = 2;

/// How fast answers ought to be, when they are too late, and how many searches run at once.
#[derive(Debug, Clone, Copy)]
pub struct ContractConfig {
    contracts: [Contract; Class::ALL.len()],
    room: Room,
}

impl Default for ContractConfig {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let room = Room::new(cores.min(model::limits::QUERY_SEATS_MAX)).expect("the seats are 1 to the limit");
        Self { contracts: Class::ALL.map(Contract::of), room }
    }
}

impl ContractConfig {
    /// Objective and deadline of `class`. Keys `nearest_objective_ms` (default 5) and `nearest_deadline_ms` (100),
    /// `within_objective_ms` (10) and `within_deadline_ms` (250), which hold for lists too; at most 10,000.
    #[must_use]
    pub const fn contract(&self, class: Class) -> Contract {
        self.contracts[class as usize]
    }

    /// Seats. Key `query_seats`, 1 to 1,024: searches of any lane at once; default the number of cores.
    #[must_use]
    pub const fn room(&self) -> Room {
        self.room
    }

    /// How many threads a runtime needs to read sockets while every seat is taken.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.room.seats_in_all() + THREADS_BESIDE_SEATS
    }

    /// Lays settings over this configuration.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub(crate) fn lay(&mut self, settings: &Settings) -> Result<(), (&'static str, String)> {
        let keys = [
            ("nearest_objective_ms", settings.nearest_objective_ms, settings.nearest_deadline_ms, Class::Nearest),
            ("within_objective_ms", settings.within_objective_ms, settings.within_deadline_ms, Class::Within),
        ];
        for (key, objective_ms, deadline_ms, class) in keys {
            let before = self.contract(class);
            let objective = objective_ms.map_or(before.objective(), Duration::from_millis);
            let deadline = deadline_ms.map_or(before.deadline(), Duration::from_millis);
            let wrong = || {
                let (objective_ms, deadline_ms) = (objective.as_millis(), deadline.as_millis());
                let word = class.as_str();
                let rule = format!("must be 1 to `{word}_deadline_ms`, and that at most 10000");
                (key, format!("{objective_ms} with a deadline of {deadline_ms}: {rule}"))
            };
            self.contracts[class as usize] = Contract::new(objective, deadline).ok_or_else(wrong)?;
        }
        self.contracts[Class::List as usize] = self.contract(Class::Within);
        if let Some(seats) = settings.query_seats {
            let max = model::limits::QUERY_SEATS_MAX;
            self.room = Room::new(seats).ok_or_else(|| ("query_seats", format!("{seats} is not 1 to {max}")))?;
        }
        Ok(())
    }
}
