//! Making a container with what it needs, so that doing it twice makes one.

use std::collections::HashMap;

use bollard::{
    Docker,
    models::{
        EndpointSettings, Network, NetworkConnectRequest, NetworkCreateRequest, VolumeCreateRequest,
    },
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, ListContainersOptions, ListNetworksOptions,
    },
};
use model::spec::MountSource;

use super::{
    LABEL_CLUSTER, LABEL_NETWORK, LABEL_STACK, QUICK, SLOW, body, connection::DockerEngine, shown,
    within,
};
use crate::runtime::{ContainerId, Order, RuntimeError};

/// The network of a service that names none.
const DEFAULT_NETWORK: &str = "default";
/// How much of the cluster's id tells two clusters on one engine apart.
const CLUSTER_CHARS: usize = 8;

/// See [`crate::runtime::Runtime::create`].
pub(super) async fn create(
    engine: &DockerEngine,
    docker: &Docker,
    order: &Order,
) -> Result<ContainerId, RuntimeError> {
    volumes(docker, order).await?;
    let networks = networks(engine, docker, order).await?;
    let first = networks.first().map(String::as_str);
    let body = body::container(order, first, engine.cores())?;
    for name in names(order) {
        let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
        let request = docker.create_container(Some(options), body.clone());
        match within(SLOW, request).await {
            Ok(made) => {
                connect(docker, order, &made.id, networks.get(1..).unwrap_or_default()).await?;
                return Ok(ContainerId(made.id));
            }
            Err(RuntimeError::Absent { what }) if what.contains("No such image") => {
                return Err(RuntimeError::ImageAbsent {
                    image: order.assignment.spec.image.clone(),
                });
            }
            Err(RuntimeError::Absent { what }) => {
                return Err(RuntimeError::Refused { message: what });
            }
            Err(error @ RuntimeError::Refused { .. }) => {
                // The name may be taken: by this very task, made before our answer got lost, or by
                // somebody else, who keeps it.
                match shown(docker, &order.cluster, &name).await? {
                    Some(found) if found.task == order.assignment.task => {
                        connect_missing(docker, order, &found.id, &networks).await?;
                        return Ok(found.id);
                    }
                    _ if is_conflict(&error) => {}
                    _ => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    let message = format!("the container names {} are taken", names(order).join(" and "));
    Err(RuntimeError::Refused { message })
}

fn is_conflict(error: &RuntimeError) -> bool {
    matches!(error, RuntimeError::Refused { message } if message.contains("already in use"))
}

/// The container's name, and the one it gets on an engine that it shares with a cluster that has a
/// stack of the same name.
fn names(order: &Order) -> [String; 2] {
    let task = order.assignment.as_ref();
    let name = format!("siso-{}-{}-{}-e{}", task.stack, task.service, task.slot, task.epoch);
    let own = format!("{name}-{}", cluster_part(order));
    [name, own]
}

fn cluster_part(order: &Order) -> String {
    order.cluster.chars().filter(char::is_ascii_alphanumeric).take(CLUSTER_CHARS).collect()
}

/// Makes the named volumes that may be made; a volume that has to be there and is not is an error.
async fn volumes(docker: &Docker, order: &Order) -> Result<(), RuntimeError> {
    let task = order.assignment.as_ref();
    for mount in &task.spec.mounts {
        let MountSource::Volume { name, .. } = &mount.source else { continue };
        let Some(volume) = task.volumes.get(name) else { continue };
        match within(QUICK, docker.inspect_volume(&volume.engine_name)).await {
            Ok(found) => {
                let owner = found.labels.get(LABEL_CLUSTER);
                if owner.is_none_or(|owner| *owner != order.cluster) {
                    let volume = &volume.engine_name;
                    tracing::warn!(volume, ?owner, "using a volume that this cluster did not make");
                }
                if !volume.external {
                    not_in_use_elsewhere(docker, order, &volume.engine_name).await?;
                }
                continue;
            }
            Err(RuntimeError::Absent { .. }) => {}
            Err(error) => return Err(error),
        }
        let missing = |why| RuntimeError::VolumeAbsent { volume: volume.engine_name.clone(), why };
        if volume.external {
            return Err(missing("is external and does not exist"));
        }
        if volume.must_exist {
            return Err(missing("held data on this machine and is gone"));
        }
        let labels = [
            (LABEL_CLUSTER, order.cluster.clone()),
            (LABEL_STACK, task.stack.to_string()),
            ("siso.volume", name.to_string()),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value));
        let request = VolumeCreateRequest {
            name: Some(volume.engine_name.clone()),
            labels: Some(labels.into()),
            ..Default::default()
        };
        within(SLOW, docker.create_volume(request)).await?;
    }
    Ok(())
}

/// A volume that somebody else made may be taken over: who founds a cluster anew, or comes from
/// Compose, finds the data again. One that another's container uses now would have two writers.
async fn not_in_use_elsewhere(
    docker: &Docker,
    order: &Order,
    volume: &str,
) -> Result<(), RuntimeError> {
    let filters = Some([("volume".to_owned(), vec![volume.to_owned()])].into());
    let running = ListContainersOptions { filters, ..Default::default() };
    for row in within(QUICK, docker.list_containers(Some(running))).await? {
        let owner = row.labels.as_ref().and_then(|labels| labels.get(LABEL_CLUSTER));
        if owner == Some(&order.cluster) {
            continue;
        }
        let whose = if let Some(owner) = owner {
            format!("cluster {owner} on the same engine; stop that cluster's stack")
        } else {
            let names = row.names.unwrap_or_default();
            let name = names.first().map_or("?", |name| name.trim_start_matches('/'));
            format!("container {name}, which this cluster did not make; stop it first")
        };
        let message =
            format!("volume {volume} is in use by {whose}, or name the volume differently");
        return Err(RuntimeError::Refused { message });
    }
    Ok(())
}

/// The engine's ids of the networks the container is on, made where they are missing.
async fn networks(
    engine: &DockerEngine,
    docker: &Docker,
    order: &Order,
) -> Result<Vec<String>, RuntimeError> {
    let task = order.assignment.as_ref();
    if task.spec.privileges.host_network {
        return Ok(Vec::new());
    }
    let mut wanted: Vec<&str> =
        task.spec.networks.iter().map(model::name::NetworkName::as_str).collect();
    if wanted.is_empty() {
        wanted.push(DEFAULT_NETWORK);
    }
    let _turn = engine.network_turn().await;
    let mut ids = Vec::new();
    for network in wanted {
        ids.push(match find_network(docker, order, network).await? {
            Some(id) => id,
            None => make_network(docker, order, network).await?,
        });
    }
    Ok(ids)
}

/// The stack's network of this cluster. One whose name another network has too is of no use: the
/// engine resolves names when it starts a container, even where it was given an id.
async fn find_network(
    docker: &Docker,
    order: &Order,
    network: &str,
) -> Result<Option<String>, RuntimeError> {
    let wanted = network_labels(order, network);
    let all = all_networks(docker).await?;
    let ours = all.iter().filter(|(_, _, labels)| {
        wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|found| found == value))
    });
    let unique = |name: &str| all.iter().filter(|(_, other, _)| other == name).count() == 1;
    let mut usable: Vec<_> = ours.filter(|(_, name, _)| unique(name)).collect();
    usable.sort_by_key(|(id, ..)| id);
    Ok(usable.first().map(|(id, ..)| id.clone()))
}

/// Every network of the engine: id, name, labels.
async fn all_networks(
    docker: &Docker,
) -> Result<Vec<(String, String, HashMap<String, String>)>, RuntimeError> {
    let listed = within(QUICK, docker.list_networks(None::<ListNetworksOptions>)).await?;
    let row = |row: Network| Some((row.id?, row.name?, row.labels.unwrap_or_default()));
    Ok(listed.into_iter().filter_map(row).collect())
}

fn network_labels(order: &Order, network: &str) -> [(&'static str, String); 3] {
    let stack = order.assignment.stack.to_string();
    [
        (LABEL_CLUSTER, order.cluster.clone()),
        (LABEL_STACK, stack),
        (LABEL_NETWORK, network.to_owned()),
    ]
}

/// Makes a network under the stack's name or, where another cluster's stack has it, under one with
/// the cluster's id. Engines before 25 allow twins, so whoever makes one at the same moment is
/// noticed afterwards.
async fn make_network(
    docker: &Docker,
    order: &Order,
    network: &str,
) -> Result<String, RuntimeError> {
    let plain = format!("siso_{}_{network}", order.assignment.stack);
    let own = format!("{plain}_{}", cluster_part(order));
    let named = |all: &[(String, String, HashMap<String, String>)]| {
        all.iter().filter(|(_, name, _)| *name == plain).count()
    };
    if named(&all_networks(docker).await?) == 0 {
        match request_network(docker, order, network, plain.clone()).await {
            Ok(id) if named(&all_networks(docker).await?) == 1 => return Ok(id),
            Ok(id) => within(SLOW, docker.remove_network(&id)).await?,
            Err(RuntimeError::Refused { message }) if message.contains("already exists") => {}
            Err(error) => return Err(error),
        }
    }
    request_network(docker, order, network, own).await
}

async fn request_network(
    docker: &Docker,
    order: &Order,
    network: &str,
    name: String,
) -> Result<String, RuntimeError> {
    let labels = network_labels(order, network).map(|(key, value)| (key.to_owned(), value));
    let request = NetworkCreateRequest {
        name,
        driver: Some("bridge".to_owned()),
        labels: Some(labels.into()),
        ..Default::default()
    };
    Ok(within(SLOW, docker.create_network(request)).await?.id)
}

async fn connect(
    docker: &Docker,
    order: &Order,
    container: &str,
    networks: &[String],
) -> Result<(), RuntimeError> {
    for network in networks {
        let aliases = Some(body::aliases(&order.assignment));
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings { aliases, ..Default::default() }),
        };
        within(SLOW, docker.connect_network(network, request)).await?;
    }
    Ok(())
}

/// Connects a container that was made before to the networks its maker did not get to.
async fn connect_missing(
    docker: &Docker,
    order: &Order,
    container: &ContainerId,
    networks: &[String],
) -> Result<(), RuntimeError> {
    let request = docker.inspect_container(&container.0, None::<InspectContainerOptions>);
    let shown = within(QUICK, request).await?;
    let settings = shown.network_settings.and_then(|settings| settings.networks);
    let on: Vec<String> =
        settings.unwrap_or_default().into_values().filter_map(|end| end.network_id).collect();
    // Before its first start the engine shows the id under which the first was asked for.
    let mode = shown.host_config.and_then(|host| host.network_mode).unwrap_or_default();
    let missing: Vec<String> =
        networks.iter().filter(|id| !on.contains(id) && **id != mode).cloned().collect();
    connect(docker, order, &container.0, &missing).await
}
