//! Codes of JSON-C: documents made of operations, beside a model that knows what every code stands for.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use jsonbcd::dictionary::{Dictionaries, Dictionary, Entry, Loaded};
use jsonbcd::stream::{Reader, Step, ValueBuilder};
use jsonbcd::{Decoder, Dialect, Encoder, Error, ErrorKind, Limit, Limits, Object, Value, Writer};

/// What stands in the array that the document is.
#[derive(Debug, Arbitrary)]
enum Operation {
    /// A silent definition, before an empty array.
    Define { code: u8, data: bool, content: Vec<u8> },
    /// A definition that stands here too.
    DefineHere { code: u8, content: String },
    /// What a code stands for.
    Refer { code: u16 },
    /// The same as the name of a member.
    Name { code: u16 },
    /// A dictionary, before an empty array.
    Load { offset: u8 },
}

#[derive(Debug, Arbitrary)]
struct Script {
    codes: u8,
    octets: u8,
    expansion: u16,
    dictionary: Vec<(u8, String)>,
    operations: Vec<Operation>,
    noise: Vec<u8>,
}

/// What every code stands for, and what is spent.
struct Model {
    limits: Limits,
    table: BTreeMap<u32, Entry>,
    own: usize,
    octets: usize,
    expanded: usize,
    loaded: usize,
}

const DIGEST: &[u8] = b"known to both";

/// Runs the script that `data` is.
pub fn run(data: &[u8]) {
    noise(data);
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut dictionary = Dictionary::new();
    for (code, text) in &script.dictionary {
        dictionary.insert(u32::from(*code), Entry::Str(text.as_str().into()));
    }
    assert_eq!(Dictionary::decode(&dictionary.encode()).as_ref(), Ok(&dictionary));
    let limits = Limits::DEFAULT
        .with_codes(script.codes.into(), script.octets.into())
        .with_expansion(script.expansion.into())
        .with_dictionaries(2);
    let mut known = Dictionaries::new();
    known.register(DIGEST, dictionary.clone());
    let decoder = Decoder::new().with_dialect(Dialect::C).with_limits(limits).with_dictionaries(known);

    let mut model = Model { limits, table: BTreeMap::new(), own: 0, octets: 0, expanded: 0, loaded: 0 };
    let mut octets = Vec::new();
    let mut writer = Writer::new(&mut octets);
    let mut expected = Vec::new();
    let mut failure = None;
    writer.array_start().expect("a vector is never full");
    for operation in &script.operations {
        match write(&mut writer, operation, &dictionary, &mut model) {
            Ok(value) => expected.push(value),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    writer.array_end().expect("a vector is never full");

    let whole = decoder.from_slice::<Value>(&octets);
    match (&whole, failure) {
        (Ok(value), None) => assert_eq!(value, &Value::Array(expected)),
        (Err(error), Some(kind)) => assert_eq!(error.kind(), &kind, "{script:?}"),
        (_, failure) => panic!("{whole:?} instead of {failure:?}: {script:?} {octets:02x?}"),
    }
    for len in [1, 3] {
        let pieces = in_pieces(&decoder, &octets, len);
        assert_eq!(pieces.as_ref().ok(), whole.as_ref().ok());
        assert_eq!(pieces.as_ref().map_err(Error::kind).err(), whole.as_ref().map_err(Error::kind).err());
    }
    if let Ok(value) = &whole {
        compressed(value, &dictionary);
    }
    // Spoiled, it may be anything, but the same to both.
    for (place, octet) in script.noise.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))) {
        if let Some(at) = usize::from(place).checked_rem(octets.len()) {
            octets[at] = octet;
        }
    }
    let whole = decoder.from_slice::<Value>(&octets);
    let pieces = in_pieces(&decoder, &octets, 2);
    assert_eq!(pieces.is_ok(), whole.is_ok(), "{pieces:?} {whole:?}");
}

/// Writes an operation; gives what it is read as, or why it is not.
fn write(
    writer: &mut Writer<&mut Vec<u8>>,
    operation: &Operation,
    dictionary: &Dictionary,
    model: &mut Model,
) -> Result<Value, ErrorKind> {
    let full = "a vector is never full";
    match operation {
        Operation::Define { code, data, content } => {
            let entry = match std::str::from_utf8(content) {
                Ok(text) if !data => Entry::Str(text.into()),
                _ => Entry::Data(content.as_slice().into()),
            };
            writer.define(u32::from(*code), &entry).expect(full);
            let defined = model.define(u32::from(*code), entry);
            writer.array_start().expect(full);
            writer.array_end().expect(full);
            defined.map(|()| Value::Array(Vec::new()))
        }
        Operation::DefineHere { code, content } => {
            let code = u32::from(*code);
            writer.define_and_insert(code, content).expect(full);
            model.define(code, Entry::Str(content.as_str().into()))?;
            model.refer(code).map(|entry| value(&entry))
        }
        Operation::Refer { code } => {
            writer.reference(u32::from(*code)).expect(full);
            model.refer(u32::from(*code)).map(|entry| value(&entry))
        }
        Operation::Name { code } => {
            writer.object_start().expect(full);
            writer.reference(u32::from(*code)).expect(full);
            writer.null().expect(full);
            writer.object_end().expect(full);
            match model.refer(u32::from(*code))? {
                Entry::Str(name) => {
                    let mut object = Object::new();
                    object.insert(name, Value::Null);
                    Ok(object.into())
                }
                Entry::Data(_) => Err(ErrorKind::DataAsName(u32::from(*code))),
            }
        }
        Operation::Load { offset } => {
            writer.dictionary(u32::from(*offset), DIGEST).expect(full);
            let loaded = model.load(u32::from(*offset), dictionary);
            writer.array_start().expect(full);
            writer.array_end().expect(full);
            loaded.map(|()| Value::Array(Vec::new()))
        }
    }
}

fn len(entry: &Entry) -> usize {
    match entry {
        Entry::Str(text) => text.len(),
        Entry::Data(octets) => octets.len(),
    }
}

fn value(entry: &Entry) -> Value {
    match entry {
        Entry::Str(text) => (&**text).into(),
        Entry::Data(octets) => (&**octets).into(),
    }
}

impl Model {
    fn define(&mut self, code: u32, entry: Entry) -> Result<(), ErrorKind> {
        if self.table.contains_key(&code) {
            return Err(ErrorKind::RedefinedCode(code));
        }
        if self.own >= self.limits.codes {
            return Err(ErrorKind::Limit(Limit::Codes));
        }
        self.own += 1;
        self.octets += len(&entry);
        if self.octets > self.limits.code_octets {
            return Err(ErrorKind::Limit(Limit::CodeOctets));
        }
        self.table.insert(code, entry);
        Ok(())
    }

    fn refer(&mut self, code: u32) -> Result<Entry, ErrorKind> {
        let entry = self.table.get(&code).cloned().ok_or(ErrorKind::UndefinedCode(code))?;
        self.expanded += len(&entry);
        if self.expanded > self.limits.expansion {
            return Err(ErrorKind::Limit(Limit::Expansion));
        }
        Ok(entry)
    }

    fn load(&mut self, offset: u32, dictionary: &Dictionary) -> Result<(), ErrorKind> {
        if self.loaded >= self.limits.dictionaries {
            return Err(ErrorKind::Limit(Limit::Dictionaries));
        }
        self.loaded += 1;
        for (code, entry) in dictionary.iter() {
            if self.table.insert(offset + code, entry.clone()).is_some() {
                return Err(ErrorKind::RedefinedCode(offset + code));
            }
        }
        Ok(())
    }
}

fn in_pieces(decoder: &Decoder, octets: &[u8], len: usize) -> Result<Value, Error> {
    let mut reader = Reader::new(decoder.clone());
    let mut builder = ValueBuilder::new();
    let mut value = None;
    for piece in octets.chunks(len) {
        reader.feed(piece)?;
        while let Step::Event(event) = reader.step()? {
            value = builder.push(event)?;
        }
    }
    reader.finish();
    while let Step::Event(event) = reader.step()? {
        value = builder.push(event)?;
    }
    match value {
        Some(value) if reader.rest().is_empty() => Ok(value),
        _ => decoder.from_slice(octets),
    }
}

/// Our own writer's codes are read by our own reader, with a dictionary and without.
fn compressed(value: &Value, dictionary: &Dictionary) {
    let encoder = Encoder::new().with_dialect(Dialect::C);
    let octets = encoder.to_vec(value).expect("it has a form in json-c");
    let canonical = Decoder::new().with_canonical(true);
    assert_eq!(canonical.from_slice::<Value>(&octets).as_ref(), Ok(value));
    let encoder = encoder.with_dictionary(Loaded::new(DIGEST, 512, dictionary).expect("codes below 1024"));
    let octets = encoder.to_vec(value).expect("it has a form in json-c");
    let mut known = Dictionaries::new();
    known.register(DIGEST, dictionary.clone());
    let decoder = canonical.with_dictionaries(known);
    assert_eq!(decoder.from_slice::<Value>(&octets).as_ref(), Ok(value));
}

/// Any octets as a dictionary.
fn noise(octets: &[u8]) {
    if let Ok(dictionary) = Dictionary::decode(octets) {
        assert_eq!(Dictionary::decode(&dictionary.encode()).as_ref(), Ok(&dictionary));
        let size: usize = dictionary.iter().map(|(_, entry)| len(entry)).sum();
        assert!(size <= octets.len());
    }
}
