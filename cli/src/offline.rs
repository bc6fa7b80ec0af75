//! Machines of `NODES.yaml`, on which stacks are imagined without a cluster.

use std::{collections::BTreeSet, path::Path};

use model::{ImaginedNode, NodeName, ServiceName, StackSpec};
use scheduler_core::{Seat, Unimaginable};
use stackfile::NodesFile;

use crate::{client::suggest, error::Error, stack_input::read_file};

/// What the file says.
#[derive(Debug)]
pub struct Machines {
    /// The machines.
    pub nodes: Vec<ImaginedNode>,
    file: String,
    current: NodesFile,
}

impl Machines {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = read_file(path)?;
        let mut current = stackfile::nodes(&file).map_err(Error::Stack)?;
        let nodes = std::mem::take(&mut current.nodes);
        Ok(Self { nodes, file: file.name, current })
    }

    /// Refuses a name that none of them has, with the nearest.
    pub fn must_have(&self, name: &NodeName) -> Result<(), Error> {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.to_string()).collect();
        if names.iter().any(|known| known == name.as_str()) {
            return Ok(());
        }
        let error = Error::input(format!("`{name}` is none of the nodes of {}", self.file));
        Err(suggest(error, name.as_str(), "node", &names))
    }

    /// Where replicas of these stacks run by its `current`. A service may be called by its name alone while
    /// only one of them has it.
    pub fn seats(&self, stacks: &[StackSpec]) -> Result<Vec<Seat>, Error> {
        let mut seats = Vec::new();
        let mut known = BTreeSet::new();
        for (name, places) in &self.current.current {
            let (spec, service) = self.named(name, stacks)?;
            if !known.insert((&spec.name, service)) {
                return Err(self.wrong(name, "is named twice"));
            }
            for (slot, node) in (1..).zip(places) {
                let Some(node) = node.clone() else { continue };
                seats.push(Seat { stack: spec.name.clone(), service: service.clone(), slot, node });
            }
        }
        Ok(seats)
    }

    fn named<'s>(
        &self,
        name: &str,
        stacks: &'s [StackSpec],
    ) -> Result<(&'s StackSpec, &'s ServiceName), Error> {
        let (stack, service) = match name.split_once('/') {
            Some((stack, service)) => (Some(stack), service),
            None => (None, name),
        };
        let mut found = stacks
            .iter()
            .filter(|spec| stack.is_none_or(|stack| spec.name.as_str() == stack))
            .filter_map(|spec| {
                let (service, _) =
                    spec.services.iter().find(|(known, _)| known.as_str() == service)?;
                Some((spec, service))
            });
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => {
                Err(self.wrong(name, "is in several stacks").hint("write STACK/SERVICE"))
            }
            (None, _) => Err(self.wrong(name, "is no service of the stack")),
        }
    }

    fn wrong(&self, name: &str, what: &str) -> Error {
        Error::input(format!("{}: current: `{name}` {what}", self.file))
    }
}

/// What is wrong with what was to be imagined.
pub fn unimaginable(why: &Unimaginable) -> Error {
    match why {
        Unimaginable::Rejected(rejection) if !rejection.is_input_error() => {
            Error::cluster(rejection)
        }
        _ => Error::input(why),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use model::{ServiceSpec, StackName};

    use super::*;

    fn stack(name: &str, services: &[&str]) -> StackSpec {
        let services = services
            .iter()
            .map(|service| (ServiceName::new(service).unwrap(), ServiceSpec::new("x")));
        StackSpec {
            name: StackName::new(name).unwrap(),
            services: services.collect(),
            volumes: [].into(),
            networks: [].into(),
        }
    }

    fn seats(current: &str, stacks: &[StackSpec]) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("nodes.yaml");
        let text = format!("nodes: [{{name: a, memory: 1g}}]\ncurrent: {current}\n");
        fs::write(&file, text).unwrap();
        let seats = Machines::read(&file).unwrap().seats(stacks).map_err(|why| why.to_string())?;
        let seat =
            |seat: &Seat| format!("{}/{}.{} {}", seat.stack, seat.service, seat.slot, seat.node);
        Ok(seats.iter().map(seat).collect())
    }

    #[test]
    fn a_service_is_called_by_its_name_while_only_one_stack_has_it() {
        let shop = stack("shop", &["web", "db"]);
        assert_eq!(
            seats("{web: [a, null, a], db: a}", std::slice::from_ref(&shop)).unwrap(),
            ["shop/db.1 a", "shop/web.1 a", "shop/web.3 a"]
        );
        let both = [shop, stack("blog", &["web"])];
        assert_eq!(seats("{blog/web: a}", &both).unwrap(), ["blog/web.1 a"]);
        for (current, said) in [
            ("{web: a}", "`web` is in several stacks"),
            ("{cache: a}", "`cache` is no service"),
            ("{blog/db: a}", "`blog/db` is no service"),
            ("{db: a, shop/db: a}", "`shop/db` is named twice"),
        ] {
            let error = seats(current, &both).unwrap_err();
            assert!(error.contains(said), "{current}: {error}");
        }
    }
}
