//! The merged tree to the model. Shapes have been checked: what is read here is there, or its
//! absence has been reported.

use std::collections::BTreeMap;

use model::{ServiceName, ServiceSpec, StackSpec};

use crate::{diagnostic::Report, project::Project};

/// The stack a project asks for; `None` when something has been reported.
pub(crate) fn stack(project: &Project, report: &mut Report) -> Option<StackSpec> {
    let mut services = BTreeMap::new();
    for entry in &project.tree.map("services")?.entries {
        match ServiceName::new(&entry.key) {
            Ok(name) => {
                let image = entry.value.as_map().and_then(|service| service.text("image"));
                services.insert(name, ServiceSpec::new(image.unwrap_or_default()));
            }
            Err(error) => {
                report.error(entry.key_at, error.to_string());
            }
        }
    }
    let name = project.name.clone();
    Some(StackSpec { name, services, volumes: BTreeMap::new(), networks: BTreeMap::new() })
}
