use futures::FutureExt as _;
use model::ServiceSpec;

use super::*;
use crate::{
    runtime::{Order, fake::FakeEngine},
    testing::assignment,
};

const TASK: TaskId = TaskId::new(1);
const NODE: NodeId = NodeId::new(1);

/// A strict singleton that is made, and not started yet.
fn order() -> Order {
    let mut spec = ServiceSpec::new("image");
    spec.strict_singleton = true;
    Order {
        cluster: "c1".to_owned(),
        node: NODE,
        assignment: Arc::new(assignment(TASK.raw(), spec)),
        binds: BTreeMap::new(),
    }
}

#[tokio::test]
async fn what_gets_its_lease_and_starts_while_the_engine_is_asked_is_not_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let engine = FakeEngine::new().with_image("image");
    let id = engine.create(&order()).await.unwrap();
    let record = LeaseRecord::new(directory.path(), clock::boot_id());
    let config = GuardConfig {
        data_dir: directory.path().to_owned(),
        docker_host: String::new(),
        cluster: "c1".to_owned(),
        node: NODE,
    };
    let mut guard = Guard {
        config,
        runtime: Arc::new(engine.clone()),
        record: record.clone(),
        sent: BTreeMap::new(),
        blind: false,
        guarded: Vec::new(),
        ending: Arc::default(),
    };
    let ending = Arc::clone(&guard.ending);
    let ends = || ending.lock().unwrap().clone();
    let begins = {
        let (engine, record) = (engine.clone(), record.clone());
        move || {
            record.write(&[(TASK, clock::awake())].into()).unwrap();
            engine.start(&id).now_or_never().unwrap().unwrap();
        }
    };
    engine.during_look(begins);
    assert_eq!(guard.look().await, Some(true));
    assert_eq!(ends(), BTreeSet::new());
    // Without it, it is.
    record.write(&BTreeMap::new()).unwrap();
    assert_eq!(guard.look().await, Some(true));
    assert_eq!(ends().len(), 1);
}
