use super::{parts::PAIRS, service::SERVICE};
use crate::{
    canonical,
    grammar::{Key, Shape, key},
};

/// A stack file.
pub(crate) static STACK: Shape = Shape::Keys(&[
    key("name", Shape::Text),
    key("version", Shape::Word).weaker("it is ignored: the format has no versions any more"),
    key("services", Shape::Maybe(&Shape::MapOf(&Shape::Keys(SERVICE)))),
    key("volumes", Shape::Maybe(&Shape::MapOf(&Shape::Maybe(&Shape::Keys(VOLUME))))),
    key("networks", Shape::Maybe(&Shape::MapOf(&Shape::Maybe(&Shape::Keys(NETWORK))))),
    key("secrets", Shape::Any).refused(
        "secrets are not distributed to the nodes yet",
        "give the value with `environment`, or as a file on a named volume",
    ),
    key("configs", Shape::Any).refused(
        "configuration files are not distributed to the nodes yet",
        "build the file into the image, or give its values with `environment`",
    ),
    key("models", Shape::Any)
        .refused("models are not run by the cluster", "run the model in a service of its own"),
    key("include", Shape::Any).unread(
        "`include` is not read yet",
        "give the files together: `-f first.yaml -f second.yaml`",
    ),
]);

const VOLUME: &[Key] = &[
    key("name", Shape::Text),
    key("external", Shape::Form(canonical::external)),
    key("labels", PAIRS).weaker("labels of volumes stay in the stack file"),
    key("driver", Shape::Text),
    key("driver_opts", Shape::MapOf(&Shape::Word)).refused(
        "options of volume drivers are not passed to the nodes",
        "use a plain named volume; it lives on the node its task is placed on",
    ),
];

const NETWORK: &[Key] = &[
    key("name", Shape::Text).weaker("the network is called siso_STACK_NETWORK on every node"),
    key("external", Shape::Form(canonical::external)),
    key("internal", Shape::Flag)
        .weaker("containers on this network reach the outside all the same"),
    key("labels", PAIRS).weaker("labels of networks stay in the stack file"),
    key("driver", Shape::Text)
        .weaker_as("overlay", "every node has a network of its own; none goes between nodes yet"),
    key("attachable", Shape::Flag).weaker("it has no effect"),
    key("driver_opts", Shape::MapOf(&Shape::Word))
        .weaker("options of network drivers have no effect"),
    key("ipam", Shape::Any).weaker("the addresses of a stack's network are chosen by the node"),
    key("enable_ipv4", Shape::Flag).weaker_as("false", "the network has IPv4 all the same"),
    key("enable_ipv6", Shape::Flag).weaker("it has no effect"),
];
