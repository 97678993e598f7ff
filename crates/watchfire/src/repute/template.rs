//! `repute template`: what a template is worth, and what it says with values.

use std::path::Path;

use repute_proto::{Template, Value, Variables};
use serde::de::{MapAccess, SeqAccess, Visitor};

use crate::cli::{ExpandArgs, LintArgs, TemplateCommand};
use crate::exit::Failure;
use crate::{input, out};

/// Octets of the largest file of variables.
const VARS: u64 = 1 << 20;

/// Runs a command.
///
/// # Errors
/// A text that is no template (exit 4), something that should be looked at (exit 1), variables that cannot be read.
pub(super) fn run(command: &TemplateCommand, json: bool) -> Result<(), Failure> {
    match command {
        TemplateCommand::Lint(args) => lint(args, json),
        TemplateCommand::Expand(args) => expand(args, json),
    }
}

fn parse(text: &str) -> Result<Template, Failure> {
    text.parse().map_err(|error| Failure::misbehaved(format!("not a template of RFC 6570: {error}")))
}

fn lint(args: &LintArgs, json: bool) -> Result<(), Failure> {
    let template = parse(&args.template)?;
    let lints = template.lint();
    for lint in &lints {
        let line = if json { serde_json::json!({ "lint": lint.to_string() }).to_string() } else { lint.to_string() };
        out::line(&line)?;
    }
    match lints.len() {
        0 => Ok(()),
        count => Err(Failure::refused(format!("{count} thing(s) to look at"))),
    }
}

fn expand(args: &ExpandArgs, json: bool) -> Result<(), Failure> {
    let template = parse(&args.template)?;
    let mut variables = match &args.vars {
        Some(path) => read(path)?,
        None => Variables::new(),
    };
    for value in &args.values {
        let (name, value) = value.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            let failure = Failure::usage(format!("`{value}` is no variable"));
            failure.remedy("write NAME=VALUE")
        })?;
        variables.set(name, value);
    }
    let uri =
        template.expand(&variables).map_err(|error| Failure::misbehaved(format!("cannot be expanded: {error}")))?;
    out::line(&if json { serde_json::json!({ "uri": uri }).to_string() } else { uri })
}

/// Variables from a JSON object, in its order; numbers and truth values are taken for their texts.
fn read(path: &Path) -> Result<Variables, Failure> {
    let at = |line: usize| format!("{}:{line}", path.display());
    let octets = input::read(path, VARS, "read the variables")?;
    let text = String::from_utf8(octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
    let value: Node =
        serde_json::from_str(&text).map_err(|error| Failure::usage(error.to_string()).at(at(error.line())))?;
    let Node::Map(object) = value else {
        return Err(Failure::usage("not a JSON object").at(path.display()).remedy("write {\"NAME\": \"VALUE\", ..}"));
    };
    let mut variables = Variables::new();
    for (name, value) in object {
        let wrong = || Failure::usage(format!("{name}: lists and maps hold strings")).at(path.display());
        let value = match value {
            // RFC 6570 calls it undefined.
            Node::Null => continue,
            Node::Scalar(text) => Value::Text(text),
            Node::List(items) => {
                let items = items.into_iter().filter(|item| !matches!(item, Node::Null));
                Value::List(items.map(|item| item.scalar().ok_or_else(wrong)).collect::<Result<_, _>>()?)
            }
            Node::Map(pairs) => {
                let pairs = pairs.into_iter().filter(|(_, value)| !matches!(value, Node::Null));
                let pairs = pairs.map(|(key, value)| Ok((key, value.scalar().ok_or_else(wrong)?)));
                Value::Map(pairs.collect::<Result<_, Failure>>()?)
            }
        };
        variables.set(&name, value);
    }
    Ok(variables)
}

/// JSON with the order of its members, which expansions keep.
enum Node {
    Null,
    Scalar(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Node {
    fn scalar(self) -> Option<String> {
        match self {
            Self::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> serde::Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("strings, lists and maps")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Node, E> {
        Ok(Node::Scalar(truth.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Scalar(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Scalar(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Scalar(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Scalar(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some((name, value)) = pairs.next_entry::<String, Node>()? {
            if !names.insert(name.clone()) {
                return Err(serde::de::Error::custom(format_args!("{name:?} is there twice")));
            }
            map.push((name, value));
        }
        Ok(Node::Map(map))
    }
}
