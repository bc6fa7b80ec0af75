//! The tree as JSON, for `config`.

use serde_json::{Map as Object, Number, Value as Json};

use crate::{
    project::Project,
    tree::{Map, Node, Value},
};

impl Project {
    /// The whole stack, keys sorted.
    pub(crate) fn to_json(&self) -> Json {
        object(&self.tree)
    }
}

fn object(map: &Map) -> Json {
    let pairs = map.entries.iter().map(|entry| (entry.key.clone(), value(&entry.value)));
    Json::Object(pairs.collect::<Object<_, _>>())
}

fn value(node: &Node) -> Json {
    match &node.value {
        Value::Null | Value::Broken => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::Number((*number).into()),
        Value::Float(number) => {
            Number::from_f64(*number).map_or_else(|| Json::String(number.to_string()), Json::Number)
        }
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(value).collect()),
        Value::Map(map) => object(map),
    }
}

/// The same tree with `$` as `$$` in every text, so that it reads as itself again.
pub(crate) fn escape_variables(tree: &Json) -> Json {
    match tree {
        Json::String(text) => Json::String(text.replace('$', "$$")),
        Json::Array(items) => Json::Array(items.iter().map(escape_variables).collect()),
        Json::Object(map) => {
            let pairs = map.iter().map(|(key, value)| (key.clone(), escape_variables(value)));
            Json::Object(pairs.collect())
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => tree.clone(),
    }
}
