//! An entry in each line, as `repute serve` reads them.

use std::path::Path;

use repute_proto::Decoder;

use super::{Broken, Defaults, Lines, Sink};
use crate::exit::Failure;

pub(super) fn read(path: &Path, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
    let mut lines = Lines::open(path)?;
    let decoder = Decoder::new();
    loop {
        let number = lines.number + 1;
        let place = || format!("{}:{number}", path.display());
        let Some(line) = lines.next()? else { return Ok(()) };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |what: String| Failure::usage(what).at(place());
        let read = decoder
            .decode_line(line, &defaults.rater)
            .map_err(|error| wrong(format!("column {}: {}", error.offset + 1, error.kind)))?;
        let Some(mut reputon) = read.reputons.into_iter().next() else {
            return Err(wrong("the object has no members".to_owned()).into());
        };
        let application = read.application.as_deref().unwrap_or(&defaults.application);
        defaults.complete(&mut reputon);
        sink.add(application, &reputon, place)?;
    }
}
