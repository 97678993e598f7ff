//! What a process needs at a moment, by its own account.

use crate::site::Process;

/// Levels of one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Resident octets.
    pub(crate) memory: f64,
    /// Open descriptors.
    pub(crate) descriptors: i64,
    /// Tasks that are alive.
    pub(crate) tasks: i64,
}

impl Sample {
    pub(crate) fn of(process: &Process) -> Self {
        let text = process.metrics();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().expect("a number")
        };
        Self {
            memory: value("process_resident_memory_bytes"),
            descriptors: value("process_open_fds") as i64,
            tasks: value("watchfire_tasks") as i64,
        }
    }
}
