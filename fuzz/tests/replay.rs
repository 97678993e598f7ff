//! Every seed and every regression, on any compiler: `cargo test --no-default-features`.

use std::fs;
use std::path::Path;

use watchfire_fuzz::{TARGETS, Target, unpack};

/// Runs all files of a folder; gives how many there were.
fn replay(folder: &str, name: &str, target: Target) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
    let Ok(entries) = fs::read_dir(&folder) else { return 0 };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    for path in &paths {
        let octets = fs::read(path).expect("a readable file");
        let result = std::panic::catch_unwind(|| target(&octets));
        assert!(result.is_ok(), "{} failed", path.display());
    }
    paths.len()
}

#[test]
fn every_seed_passes() {
    for (name, target) in TARGETS {
        assert!(replay("seeds", name, target) > 0, "{name} has no seeds: see the README");
    }
}

#[test]
fn every_regression_passes() {
    for (name, target) in TARGETS {
        replay("regressions", name, target);
    }
}

/// What fuzzers found worth keeping, where it is small enough to be kept.
#[test]
fn every_packed_input_passes() {
    let mut replayed = 0;
    for (name, target) in TARGETS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(format!("{name}.bin"));
        let Ok(packed) = fs::read(path) else { continue };
        for (number, input) in unpack(&packed).into_iter().enumerate() {
            let result = std::panic::catch_unwind(|| target(input));
            assert!(result.is_ok(), "{name}: input {number} failed: {input:?}");
            replayed += 1;
        }
    }
    assert!(replayed > 1000, "only {replayed}");
}

#[test]
fn nothing_and_noise_pass() {
    for (_, target) in TARGETS {
        for octets in [&[][..], &[0; 64], &[0xff; 64], b"\r\n\r\n"] {
            target(octets);
        }
    }
}
