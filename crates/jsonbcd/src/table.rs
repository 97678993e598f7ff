//! The codes that are defined while a JSON-C document is read. draft-hallambaker-jsonbcd section 5.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dictionary::{Dictionary, Entry};
use crate::error::{ErrorKind, Limit};
use crate::options::Limits;

/// What a code stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Definition<'a> {
    Str(Cow<'a, str>),
    Data(Cow<'a, [u8]>),
}

impl Definition<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::Data(octets) => octets.len(),
        }
    }
}

/// A found definition: of the document itself, or of a dictionary that it loaded.
#[derive(Debug)]
pub(crate) enum Found<'t, 'a> {
    Here(&'t Definition<'a>),
    Loaded(&'t Entry),
}

/// All codes that are defined.
#[derive(Debug, Default)]
pub(crate) struct Table<'a> {
    definitions: BTreeMap<u32, Definition<'a>>,
    loaded: Vec<(u32, Arc<Dictionary>)>,
    octets: usize,
    expanded: usize,
}

impl<'a> Table<'a> {
    fn in_dictionaries(&self, code: u32) -> Option<&Entry> {
        self.loaded.iter().find_map(|(offset, dictionary)| dictionary.get(code.checked_sub(*offset)?))
    }

    /// Defines a code, once.
    pub(crate) fn define(&mut self, code: u32, definition: Definition<'a>, limits: &Limits) -> Result<(), ErrorKind> {
        if self.definitions.contains_key(&code) || self.in_dictionaries(code).is_some() {
            return Err(ErrorKind::RedefinedCode(code));
        }
        if self.definitions.len() >= limits.codes {
            return Err(ErrorKind::Limit(Limit::Codes));
        }
        self.octets = self.octets.saturating_add(definition.len());
        if self.octets > limits.code_octets {
            return Err(ErrorKind::Limit(Limit::CodeOctets));
        }
        self.definitions.insert(code, definition);
        Ok(())
    }

    /// Adds all codes of a dictionary, counted from `offset`.
    pub(crate) fn load(&mut self, offset: u32, dictionary: Arc<Dictionary>, limits: &Limits) -> Result<(), ErrorKind> {
        if self.loaded.len() >= limits.dictionaries {
            return Err(ErrorKind::Limit(Limit::Dictionaries));
        }
        for (code, _) in dictionary.iter() {
            let Some(code) = offset.checked_add(code) else { continue };
            if self.definitions.contains_key(&code) || self.in_dictionaries(code).is_some() {
                return Err(ErrorKind::RedefinedCode(code));
            }
        }
        self.loaded.push((offset, dictionary));
        Ok(())
    }

    /// What a code stands for.
    pub(crate) fn get(&self, code: u32) -> Option<Found<'_, 'a>> {
        let here = self.definitions.get(&code).map(Found::Here);
        here.or_else(|| self.in_dictionaries(code).map(Found::Loaded))
    }

    /// What a code stands for, which counts as inserted.
    pub(crate) fn insert(&mut self, code: u32, limits: &Limits) -> Result<Found<'_, 'a>, ErrorKind> {
        let here = self.definitions.get(&code);
        let len = match here {
            Some(definition) => definition.len(),
            None => self.in_dictionaries(code).ok_or(ErrorKind::UndefinedCode(code))?.len(),
        };
        self.expanded = self.expanded.saturating_add(len);
        if self.expanded > limits.expansion {
            return Err(ErrorKind::Limit(Limit::Expansion));
        }
        self.get(code).ok_or(ErrorKind::UndefinedCode(code))
    }
}
