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
