use super::parts::PAIRS;
use crate::{
    canonical,
    grammar::{Key, Shape, key},
};

/// `NODES.yaml`.
pub(crate) static NODES_FILE: Shape = Shape::Keys(&[
    key("nodes", Shape::List(&Shape::Keys(NODE))),
    key("current", Shape::MapOf(&Shape::Many(&Shape::Maybe(&Shape::Text)))),
]);

const NODE: &[Key] = &[
    key("name", Shape::Text),
    key("count", Shape::Whole(1, 1_000)),
    key("memory", Shape::Size),
    key("cpus", Shape::Cpus),
    key("labels", PAIRS),
    key("arch", Shape::Text),
    key("generic", Shape::MapOf(&Shape::Form(canonical::amount))),
];
