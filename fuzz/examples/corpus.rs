//! Packs a folder of inputs into one file, and unpacks it: a corpus of a thousand small files is one file in the
//! repository. `cargo run --no-default-features --example corpus -- pack|unpack iap_pair <folder>`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, target, folder] = &arguments[..] else {
        eprintln!("usage: corpus pack|unpack <target> <folder>");
        std::process::exit(2);
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(format!("{target}.bin"));
    if mode == "pack" {
        let mut inputs = Vec::new();
        for entry in fs::read_dir(folder)? {
            inputs.push(fs::read(entry?.path())?);
        }
        inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        fs::write(file, watchfire_fuzz::pack(&inputs))
    } else {
        fs::create_dir_all(folder)?;
        for (number, input) in watchfire_fuzz::unpack(&fs::read(file)?).iter().enumerate() {
            fs::write(Path::new(folder).join(format!("{number:05}")), input)?;
        }
        Ok(())
    }
}
