//! What the sensor's spool may stand on: redb, fjall and SQLite as a durable queue, measured alike.
//!
//! `cargo bench -p watchfire-benches --bench spool -- all DIR` prints the table of `README.md`. Each figure comes
//! from a fresh process, so that resident memory is that store's alone.

mod harness;
mod stores;

fn main() {
    // `cargo bench` adds `--bench`; without a command there is nothing to measure, which also keeps `cargo test` quick.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["all", dir] => harness::all(dir.as_ref()),
        ["append", store, dir, batch] => harness::append(store, dir.as_ref(), batch),
        ["fill", store, dir, mib] => harness::fill(store, dir.as_ref(), mib),
        ["reopen", store, dir] => harness::reopen(store, dir.as_ref()),
        ["through", store, dir, mib] => harness::through(store, dir.as_ref(), mib),
        ["full", store, dir] => harness::full(store, dir.as_ref()),
        _ => {
            println!(
                "usage: spool all DIR | append STORE DIR BATCH | fill STORE DIR MIB | reopen STORE DIR \
                 | through STORE DIR MIB | full STORE SMALL_MOUNT\nstores: {}",
                stores::NAMES.join(" ")
            );
            Ok(())
        }
    };
    if let Err(error) = outcome {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
