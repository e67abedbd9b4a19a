//! The known fastest candidates, and their serialization. A file can only select among legal candidates, so it can cost time but
//! not change a result.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of this crate, and of the file: kernels and their labels change between versions.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The size of the largest accepted file, in bytes.
const MOST_BYTES: usize = 4 << 20;

/// The largest number of entries.
const MOST_ENTRIES: usize = 16_384;

/// The greatest length of an op's class and of a label, in bytes.
const LONGEST: usize = 1024;

/// The machine that times depend on: measurements are valid for one adapter with one driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub adapter: String,
    /// The driver's name and its version.
    pub driver: String,
    pub backend: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { adapter, driver, backend } = self;
        f.write_str(if adapter.is_empty() { "an adapter without a name" } else { adapter })?;
        // Browsers name no driver.
        match driver.trim() {
            "" => write!(f, " ({backend})"),
            _ => write!(f, " ({backend}, {driver})"),
        }
    }
}

/// The label of the fastest candidate of each class of ops, on one machine.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    machine: Machine,
    labels: BTreeMap<String, String>,
}

/// ```json
/// { "lowbit": "0.1.0",
///   "entries": [{ "adapter": "…", "driver": "…", "backend": "…", "op": "…", "kernel": "…" }] }
/// ```
#[derive(Debug, Serialize, Deserialize)]
struct File {
    lowbit: String,
    entries: Vec<Entry>,
}

/// The fields of [`Machine`] are repeated here because a flattened struct would be parsed through a tree of values.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    adapter: String,
    driver: String,
    backend: String,
    op: String,
    kernel: String,
}

impl Tuning {
    /// A tuning without entries.
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, labels: BTreeMap::new() }
    }

    /// The machine.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The label of the fastest candidate of a class, if known. It may be the label of a candidate that is not legal.
    pub(crate) fn get(&self, class: &str) -> Option<&str> {
        self.labels.get(class).map(String::as_str)
    }

    /// Stores the fastest candidate of a class. True if there was room for it.
    pub(crate) fn insert(&mut self, class: String, label: String) -> bool {
        let room = self.labels.len() < MOST_ENTRIES || self.labels.contains_key(&class);
        if room {
            self.labels.insert(class, label);
        }
        room
    }

    /// All entries, as JSON.
    pub(crate) fn save(&self) -> String {
        let entry = |(op, kernel): (&String, &String)| {
            let Machine { adapter, driver, backend } = self.machine.clone();
            Entry { adapter, driver, backend, op: op.clone(), kernel: kernel.clone() }
        };
        let file = File { lowbit: VERSION.into(), entries: self.labels.iter().map(entry).collect() };
        serde_json::to_string_pretty(&file).expect("strings and a list are always JSON")
    }

    /// Loads the entries of a file for this version and this machine; they replace known entries of equal class. Returns their
    /// number. Everything else is ignored with a warning.
    pub(crate) fn load(&mut self, json: &str) -> usize {
        if json.len() > MOST_BYTES {
            log::warn!("tuning ignored: the file has {} bytes, but at most {MOST_BYTES} are read", json.len());
            return 0;
        }
        let file: File = match serde_json::from_str(json) {
            Ok(file) => file,
            Err(error) => {
                log::warn!("tuning ignored: the file is not one that was saved: {}", short(&error.to_string()));
                return 0;
            }
        };
        if file.lowbit != VERSION {
            log::warn!("tuning ignored: it was saved by lowbit {}, and this is {VERSION}", short(&file.lowbit));
            return 0;
        }
        let (mut taken, mut strangers, mut unsound, mut too_many) = (0, 0, 0, 0);
        for Entry { adapter, driver, backend, op, kernel } in file.entries {
            if (Machine { adapter, driver, backend }) != self.machine {
                strangers += 1;
            } else if !sound(&op) || !sound(&kernel) {
                unsound += 1;
            } else if self.insert(op, kernel) {
                taken += 1;
            } else {
                too_many += 1;
            }
        }
        for (count, why) in [
            (strangers, "are of another adapter or driver"),
            (unsound, "have no sound names"),
            (too_many, "are more than are kept"),
        ] {
            if count > 0 {
                log::warn!("{count} entries of the tuning ignored: they {why}");
            }
        }
        taken
    }
}

/// True if a text is a valid class or label.
fn sound(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
}

/// A text of unknown origin, escaped and shortened for a log.
pub(crate) fn short(text: &str) -> String {
    let start: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    let rest = if text.chars().nth(80).is_some() { "…" } else { "" };
    format!("\"{start}{rest}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(adapter: &str) -> Machine {
        Machine { adapter: adapter.into(), driver: "driver 1".into(), backend: "vulkan".into() }
    }

    fn known() -> Tuning {
        let mut tuning = Tuning::new(machine("card"));
        tuning.insert("matmul int8[8, 16]".into(), "registers 4 x 1".into());
        tuning.insert("add \"quoted\"".into(), "groups of 64".into());
        tuning
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let mut loaded = Tuning::new(machine("card"));
        assert_eq!(loaded.load(&known().save()), 2);
        assert_eq!(loaded.labels, known().labels);
        assert_eq!(loaded.save(), known().save());
    }

    #[test]
    fn files_of_others_are_ignored() {
        let saved = known().save();
        assert_eq!(Tuning::new(machine("another card")).load(&saved), 0);
        let newer = Machine { driver: "driver 2".into(), ..machine("card") };
        assert_eq!(Tuning::new(newer).load(&saved), 0);
        let other_version = saved.replace(VERSION, "999.0.0");
        assert_eq!(Tuning::new(machine("card")).load(&other_version), 0);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut tuning = known();
        for i in 0..2 * MOST_ENTRIES {
            tuning.insert(format!("op {i}"), "label".into());
        }
        assert_eq!(tuning.labels.len(), MOST_ENTRIES);
        assert!(tuning.insert("op 0".into(), "another label".into()), "what is known can still be replaced");
    }

    #[test]
    fn a_log_line_stays_one_line() {
        assert_eq!(short("a\nb\u{1b}[31m"), "\"a\\nb\\u{1b}[31m\"");
        assert_eq!(short(&"ä".repeat(1000)).chars().count(), 83);
    }
}
