//! Tables: the first line names the members, every other one is an entry.

use std::path::Path;

use repute_proto::Decoder;
use serde_json::{Map, Value};

use super::{Broken, Defaults, Sink, open};
use crate::exit::Failure;

/// Members that are numbers.
const NUMBERS: [&str; 8] =
    ["rating", "confidence", "normal-rating", "rater-authenticity", "sample-size", "generated", "updated", "expires"];

pub(super) fn read(path: &Path, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(open(path)?);
    let failed = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        Failure::usage(error.to_string()).at(format!("{}:{line}", path.display()))
    };
    let names: Vec<String> = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    if !names.iter().any(|name| name == "rated") {
        let failure = Failure::usage("no column is named rated").at(format!("{}:1", path.display()));
        return Err(failure.remedy("write the members' names into the first line").into());
    }
    if let Some(name) = names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name)) {
        return Err(Failure::usage(format!("two columns are named {name}")).at(format!("{}:1", path.display())).into());
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        let line = record.position().map_or(0, csv::Position::line);
        let place = || format!("{}:{line}", path.display());
        let mut object = Map::new();
        for (name, text) in names.iter().zip(record.iter()).filter(|(_, text)| !text.is_empty()) {
            let value = if NUMBERS.contains(&name.as_str()) {
                let number = text.parse::<serde_json::Number>();
                Value::Number(number.map_err(|_| Failure::usage(format!("{name}: not a number")).at(place()))?)
            } else {
                Value::from(text)
            };
            object.insert(name.clone(), value);
        }
        object.entry("assertion").or_insert_with(|| defaults.assertion.as_str().into());
        object.entry("application").or_insert_with(|| defaults.application.as_str().into());
        if let Some(rating) = &defaults.rating {
            object.entry("rating").or_insert_with(|| rating.value().into());
        }
        let object = Value::Object(object).to_string();
        let read = Decoder::new()
            .decode_line(object.as_bytes(), &defaults.rater)
            .map_err(|error| Failure::usage(error.kind.to_string()).at(place()))?;
        for mut reputon in read.reputons {
            defaults.complete(&mut reputon);
            sink.add(read.application.as_deref().unwrap_or(&defaults.application), &reputon, place)?;
        }
    }
    Ok(())
}
